"""`statekeep suggest`: the smallest routing metadata that helps, with evidence; read-only."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.errors import Findings, InputUnreadable

if TYPE_CHECKING:
    from statekeep_cli.core.trace import Symbols
    from statekeep_cli.readers.actors import Complaints
    from statekeep_cli.readers.history import Spool
    from statekeep_cli.readers.records import Batch


def suggest(
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
        typer.Option("--format", metavar="FMT[=PATH]", help="text (default), json or markdown; repeatable."),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Count unreadable records and go on (exit code 3).")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Propose routing metadata for those who strand, without touching anyone else.

    Every line is checked by deciding all actors again with it in place. Changes nothing; exits 0
    whether or not everyone could be helped.

    Example: statekeep suggest v1.yaml v2.yaml --actors actors.jsonl
    """
    from statekeep_cli.commands.pages import Pages
    from statekeep_cli.commands.preview import references, split
    from statekeep_cli.core import suggest as core
    from statekeep_cli.core.apv import Deployment
    from statekeep_cli.core.trace import Symbols
    from statekeep_cli.readers.actors import Complaints
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.readers.history import spooled
    from statekeep_cli.render import suggest as render
    from statekeep_cli.render.suggest_words import Frame, unreadable

    pages = Pages.parse(formats)
    known = read_definitions(*split(definitions), migration)
    deployment = Deployment([s.definition for s in known.sources], known.target.definition)
    symbols, complaints = Symbols(), Complaints(actors, keep_going)
    with _rereadable(actors) as path, spooled(history) as spool:
        batches = _Reads(path, spool, symbols, complaints, quiet)
        proposal = core.suggest(deployment, batches, symbols)
    frame = Frame(
        definitions=references(known),
        unreadable=complaints.count,
        beside=migration is not None,
        as_json=(migration or known.target.path).endswith(".json"),
        merge=bool(known.target.definition.migration),
        next_command=_next_command(bool(proposal.entries), definitions, actors, history, migration),
    )
    pages.write(
        {
            "text": lambda width, color: render.text(proposal, frame, width, color),
            "json": lambda width, color: render.json(proposal, frame),
            "markdown": lambda width, color: render.markdown(proposal, frame),
        }
    )
    if complaints.count:
        raise Findings(unreadable(frame))


class _Reads:
    """Reads all actors, as often as it is called; records that cannot be read are counted the first time."""

    def __init__(self, path: str, spool: Spool | None, symbols: Symbols, complaints: Complaints, quiet: bool):
        self.path = path
        self.spool = spool
        self.symbols = symbols
        self.complaints = complaints
        self.quiet = quiet
        self.times = 0

    def __call__(self) -> Iterator[Batch]:
        from statekeep_cli.readers.actors import read_actors, size_of
        from statekeep_cli.readers.history import History
        from statekeep_cli.render.terminal import Progress

        self.times += 1
        joined = None if self.spool is None else History(self.spool, self.symbols)
        label = "reading" if self.times == 1 else "checking the proposal"
        with Progress(label, size_of(self.path), "bytes", quiet=self.quiet) as progress:
            for batch in read_actors(
                self.path, symbols=self.symbols, history=joined, keep_going=self.complaints.keep_going
            ):
                if self.times == 1:
                    self.complaints.add(batch.unreadable)
                progress.update(batch.taken)
                yield batch


@contextmanager
def _rereadable(actors: str) -> Iterator[str]:
    """The path of the export; standard input is kept in a temporary file, since it is read more than once."""
    if actors != "-":
        yield actors
        return
    with tempfile.NamedTemporaryFile(prefix="statekeep-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        try:
            yield copy.name
        except InputUnreadable as error:
            problems = tuple(replace(p, path="<stdin>") if p.path == copy.name else p for p in error.problems)
            raise InputUnreadable(error.message.replace(copy.name, "<stdin>"), problems) from None


def _next_command(
    proposed: bool, definitions: list[str], actors: str, history: str | None, migration: str | None
) -> str:
    """Preview, once the lines are pasted."""
    import shlex

    if actors == "-" or not proposed:
        return ""
    command = ["statekeep", "preview", *definitions, "--actors", actors]
    command += ["--history", history] if history else []
    command += ["--migration", migration] if migration else []
    return shlex.join(command)
