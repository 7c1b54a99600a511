"""`statekeep preview`: decide every actor against a new definition; read-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.errors import ChangesPending, Findings, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.core.report import DefinitionRef, Report
    from statekeep_cli.readers.definitions import Definitions


def preview(
    definitions: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE... TARGET", help="Definition files; the last is the target."),
    ],
    actors: Annotated[
        str,
        typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
    ],
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help="Histories in a second file, a row per event."),
    ] = None,
    migration: Annotated[
        str | None,
        typer.Option("--migration", metavar="FILE", help="Routing metadata of the target in a side file."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="FMT[=PATH]", help="text (default), json, jsonl or markdown; repeatable."
        ),
    ] = None,
    max_strand: Annotated[
        str, typer.Option("--max-strand", metavar="N|N%|all", help="Strands allowed before exit code 3.")
    ] = "0",
    allow_hazards: Annotated[
        bool, typer.Option("--allow-hazards", help="Accept unaccepted hazards for this run.")
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 4 when clean and someone would migrate.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Count unreadable records and go on (exit code 3).")
    ] = False,
    show_ids: Annotated[
        bool, typer.Option("--show-ids", help="Name actors in formats made to be shared (markdown).")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Processes to use.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Decide every actor of an export against a new definition, by its history; changes nothing.

    Exits 0 within the gate, 3 past it (strands beyond --max-strand, unaccepted hazards, unreadable
    records), 1 when input cannot be read.

    Example: statekeep preview v1.yaml v2.yaml --actors actors.jsonl
    """
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.deciding import Task, decide_all
    from statekeep_cli.readers.actors import size_of
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.readers.history import spooled
    from statekeep_cli.render.terminal import Progress

    try:
        gate = Gate.parse(max_strand, allow_hazards)
    except ValueError as error:
        raise UsageMistake(f"--max-strand: {error}") from None
    outputs = Outputs.parse(formats or ["text"], show_ids)
    known = read_definitions(*split(definitions), migration)
    with spooled(history) as histories, outputs:
        task = Task(
            sources=tuple(s.definition for s in known.sources),
            target=known.target.definition,
            actors=actors,
            history=histories,
            keep_going=keep_going,
            lines=outputs.has_lines,
        )
        with Progress("deciding", size_of(actors), "bytes", quiet=quiet) as progress:
            decided = decide_all(
                task,
                jobs,
                on_part=lambda taken, done: progress.update(taken, f"{done:,} actors"),
                write=outputs.write_lines,
            )
        report = decided.tally.report(
            references(known), decided.unreadable, decided.first_unreadable, decided.notes
        )
        outputs.write_report(report, next_command(report, definitions, actors, history, migration))
    refusals = gate.refusals(report)
    if refusals:
        raise Findings("; ".join(refusals))
    if detailed_exitcode and report.would_migrate:
        raise ChangesPending


def references(known: Definitions) -> list[DefinitionRef]:
    """The definitions of a run, as reports name them."""
    from statekeep_cli.core.report import DefinitionRef

    return [
        DefinitionRef(role, x.definition.id, x.definition.version, x.definition.digest, x.path)
        for role, files in (("source", known.sources), ("target", (known.target,)))
        for x in files
    ]


def split(definitions: Sequence[str]) -> tuple[list[str], str]:
    """Sources and target, as `cp` reads them."""
    if len(definitions) < 2:
        raise UsageMistake(
            "a source and a target definition are needed; give the old file first, then the new one"
        )
    return list(definitions[:-1]), definitions[-1]


def next_command(
    report: Report, definitions: Sequence[str], actors: str, history: str | None, migration: str | None
) -> str:
    """What to run next: `suggest` where actors strand, else `explain` for one that migrates."""
    import shlex

    if actors == "-":
        return ""
    files = [*definitions, "--actors", actors]
    files += ["--history", history] if history else []
    files += ["--migration", migration] if migration else []
    if report.would_strand:
        return shlex.join(["statekeep", "suggest", *files])
    moving = next((g for g in report.groups if g.outcome == "migrate"), None)
    return shlex.join(["statekeep", "explain", *files, "--id", moving.sample[0]]) if moving else ""
