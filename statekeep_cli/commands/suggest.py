"""`statekeep suggest`: the smallest routing metadata that helps, with evidence; read-only."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from statekeep_cli.commands.git_base import GitBase, with_base
from statekeep_cli.commands.options import (
    Actors,
    Definitions,
    Formats,
    History,
    KeepGoing,
    Migration,
    Quiet,
    command_line,
    references,
    split,
)
from statekeep_cli.errors import Findings, InputUnreadable

if TYPE_CHECKING:
    from statekeep_cli.core.trace import Symbols
    from statekeep_cli.readers.actors import Complaints
    from statekeep_cli.readers.history import Spool
    from statekeep_cli.readers.records import Batch


def suggest(
    definitions: Definitions,
    actors: Actors,
    history: History = None,
    migration: Migration = None,
    formats: Formats = None,
    keep_going: KeepGoing = False,
    git_base: GitBase = None,
    quiet: Quiet = False,
) -> None:
    """Propose routing metadata for those who strand, without touching anyone else.

    Every line is checked by deciding all actors again with it in place. Changes nothing; exits 0
    whether or not everyone could be helped.

    Example: statekeep suggest v1.yaml v2.yaml --actors actors.jsonl
    """
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core import suggest as core
    from statekeep_cli.core.apv import Deployment
    from statekeep_cli.core.trace import Symbols
    from statekeep_cli.readers.actors import Complaints
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.readers.history import spooled
    from statekeep_cli.render import suggest as render
    from statekeep_cli.render.suggest_words import Frame, unreadable

    pages = Pages.parse(formats)
    definitions = with_base(definitions, git_base, migration)
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
        next_command=(
            command_line("preview", definitions, actors, history, migration) if proposal.entries else ""
        ),
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
