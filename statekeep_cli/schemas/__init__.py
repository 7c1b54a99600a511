"""The published JSON Schemas (draft 2020-12), as package data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KINDS = {
    "definition": "a definition, with its routing metadata",
    "actor": "one record of an actor export",
    "report": "what `preview --format json` prints",
    "decision": "one line of `preview --format jsonl`",
    "config": "statekeep.yaml: where a team's own tables keep actors and histories",
}


def text(kind: str) -> str:
    """A schema as published; `kind` is one of `KINDS`."""
    return Path(__file__).with_name(f"{kind}.json").read_text(encoding="utf-8")


def load(kind: str) -> dict[str, Any]:
    """A schema as a value."""
    schema: dict[str, Any] = json.loads(text(kind))
    return schema
