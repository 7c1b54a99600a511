"""`--baseline FILE` and `--write-baseline FILE`: findings that a team has looked at and accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from statekeep_cli.core.baseline import Entry
    from statekeep_cli.core.report import Report

Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="FILE", help="Accept the findings in this file; list them as accepted."
    ),
]
WriteBaseline = Annotated[
    str | None,
    typer.Option("--write-baseline", metavar="FILE", help="Write the findings of this run as a baseline."),
]


@dataclass(frozen=True, slots=True)
class Accepting:
    """What one run accepts; `write` is where its findings are written to, if anywhere."""

    entries: tuple[Entry, ...] = ()
    write: str | None = None
    given: bool = False

    @classmethod
    def read(cls, baseline: str | None, write: str | None) -> Self:
        """Reads the baseline; of one that is about to be written, the words people gave are kept."""
        if baseline is None and write is None:
            return cls()
        from statekeep_cli.readers.baseline import earlier, read_baseline

        known = read_baseline(baseline)
        if write is not None:
            known += earlier(write)
        return cls(tuple(known), write, baseline is not None)

    def of(self, report: Report) -> tuple[Report, Report]:
        """The report with what was accepted in its notes, and the report as the gate sees it."""
        if not (self.entries or self.write):
            return report, report
        from statekeep_cli.core.baseline import accept, entries_of

        known = list(self.entries)
        if self.write is not None:
            known = self.written(entries_of(report), ("check",))
        found = accept(report, known)
        return replace(report, notes=(*report.notes, *found.notes)), found.beyond

    def written(self, entries: Iterable[Entry], others: tuple[str, ...]) -> list[Entry]:
        """Writes the file: these entries, and of the kinds `others` what it had."""
        from statekeep_cli.core.baseline import as_json
        from statekeep_cli.render.atomic import replacing

        assert self.write is not None
        found = [*entries, *(e for e in self.entries if e.kind in others)]
        with replacing(self.write) as file:
            text = json.dumps(as_json(found, self.entries), indent=2, ensure_ascii=False)
            file.write((text + "\n").encode())
        return found
