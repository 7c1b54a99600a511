"""`statekeep check`: every finding about definitions, offline."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from statekeep_cli.commands.options import Migration
from statekeep_cli.errors import Findings, InputUnreadable

if TYPE_CHECKING:
    from statekeep_cli.readers.definitions import Reading


def check(
    definitions: Annotated[
        list[str],
        typer.Argument(metavar="DEFINITION", help="JSON or YAML files; of several, the last is the target."),
    ],
    migration: Migration = None,
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How findings are written.")
    ] = "text",
) -> None:
    """Check definitions: schema and meaning, all findings at once, each with its place and a hint.

    With several definitions the last is checked against the others, as the target they migrate to.
    Exits 0 when there are no errors, 3 when there are, 1 when a file cannot be read.

    Example: statekeep check v1.yaml v2.yaml
    """
    from statekeep_cli.readers.definitions import examine_all

    readings = examine_all(definitions, migration)
    problems = [p for r in readings for p in r.problems]
    if format == "json":
        print(json.dumps(_as_json(readings), indent=2, ensure_ascii=False))
    else:
        from statekeep_cli.render.problems import problems_summary, render_problems
        from statekeep_cli.render.terminal import wants_color, width_of

        sys.stdout.write(render_problems(problems, width_of(sys.stdout), wants_color(sys.stdout)))
        print(problems_summary(problems, len(readings)))
    if any(r.unreadable for r in readings):
        raise InputUnreadable
    if any(p.severity == "error" for p in problems):
        raise Findings


def _as_json(readings: Sequence[Reading]) -> dict[str, Any]:
    problems = [p for r in readings for p in r.problems]
    definitions = []
    for r in readings:
        d = r.loaded.definition if r.loaded else None
        definitions.append(
            {
                "path": r.path,
                "id": d.id if d else None,
                "version": d.version if d else None,
                "digest": d.digest if d else None,
            }
        )
    return {
        "formatVersion": 1,
        "definitions": definitions,
        "errors": sum(p.severity == "error" for p in problems),
        "warnings": sum(p.severity == "warning" for p in problems),
        "findings": [
            {
                "code": p.code,
                "severity": p.severity,
                "path": p.path,
                "line": p.line or None,
                "column": p.column or None,
                "endColumn": p.end_column or None,
                "message": p.message,
                "hint": p.hint,
            }
            for p in problems
        ],
    }
