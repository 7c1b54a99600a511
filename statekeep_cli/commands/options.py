"""What several commands take, and how they read it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.errors import UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.core.report import DefinitionRef
    from statekeep_cli.readers.definitions import Definitions as Known

Definitions = Annotated[
    list[str], typer.Argument(metavar="SOURCE... TARGET", help="Definition files; the last is the target.")
]
Actors = Annotated[
    str,
    typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
]
History = Annotated[
    str | None,
    typer.Option("--history", metavar="FILE", help="Histories in a second file, a row per event."),
]
Migration = Annotated[
    str | None,
    typer.Option("--migration", metavar="FILE", help="Routing metadata of the target in a side file."),
]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="FMT[=PATH]", help="text (default), json or markdown; repeatable."),
]
TextFormats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="FMT[=PATH]", help="text (default) or json; repeatable."),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="postgresql://… or an SQLite file; else STATEKEEP_DATABASE_URL, DATABASE_URL.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Where your tables are (default: statekeep.yaml)."),
]
Where = Annotated[
    str, typer.Option("--where", metavar="SQL", help="With --db: only actors that meet this condition.")
]
ReportFormats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="FMT[=PATH]",
        help="text (default), json, jsonl, markdown, html, github, gitlab, junit or sarif; repeatable.",
    ),
]
MaxStrand = Annotated[
    str, typer.Option("--max-strand", metavar="N|N%|all", help="Strands allowed before exit code 3.")
]
AllowHazards = Annotated[
    bool, typer.Option("--allow-hazards", help="Accept unaccepted hazards for this run.")
]
ShowIds = Annotated[bool, typer.Option("--show-ids", help="Name actors in formats made to be shared.")]
DefinitionFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--definition", metavar="FILE", help="Repeatable, for your tables: the definitions, the target last."
    ),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Count unreadable records and go on (exit code 3).")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def split(definitions: Sequence[str]) -> tuple[list[str], str]:
    """Sources and target, as `cp` reads them."""
    if len(definitions) < 2:
        raise UsageMistake(
            "a source and a target definition are needed; give the old file first, then the new one"
        )
    return list(definitions[:-1]), definitions[-1]


def references(known: Known) -> list[DefinitionRef]:
    """The definitions of a run, as reports name them."""
    from statekeep_cli.core.report import DefinitionRef

    return [
        DefinitionRef(role, x.definition.id, x.definition.version, x.definition.digest, x.path)
        for role, files in (("source", known.sources), ("target", (known.target,)))
        for x in files
    ]


def command_line(
    command: str,
    definitions: Sequence[str],
    actors: str | None = None,
    history: str | None = None,
    migration: str | None = None,
    *more: str,
) -> str:
    """A command on the same files, to be shown as the next one. Empty where standard input is used up."""
    if actors == "-":
        return ""
    words = ["statekeep", command, *definitions]
    for option, value in (("--actors", actors), ("--history", history), ("--migration", migration)):
        words += [option, value] if value else []
    return shlex.join([*words, *more])


def same_database(database: str | None, config: str | None) -> list[str]:
    """The options that name the same database; a URL may hold a password and is not repeated."""
    secret = database is not None and ("@" in database or "password" in database.lower())
    url = ["--db", "URL" if secret else database] if database else []
    return [*url, *(["--config", config] if config else [])]
