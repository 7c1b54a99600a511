"""`statekeep schema`: the JSON Schemas of files and output, for editors and pipelines."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer


def schema(
    kind: Annotated[
        Literal["definition", "actor", "report", "decision", "config"],
        typer.Argument(metavar="KIND", help="definition, actor, report, decision or config."),
    ],
) -> None:
    """Print a JSON Schema (draft 2020-12).

    KIND is definition (with its routing metadata), actor (one record of an export), report
    (preview --format json), decision (one line of preview --format jsonl) or config (statekeep.yaml).

    Example: statekeep schema definition
    """
    from statekeep_cli import schemas

    sys.stdout.write(schemas.text(kind))
