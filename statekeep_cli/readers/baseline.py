"""A baseline's file -> entries (`core/baseline.py`)."""

from __future__ import annotations

import os

from statekeep_cli.core.baseline import FORMAT_VERSION, Entry
from statekeep_cli.errors import InputUnreadable
from statekeep_cli.readers.source import read_document

NEXT = "write it anew with --write-baseline, and look at what changes"


def read_baseline(path: str | None) -> list[Entry]:
    """The entries of a file; none without one. Raises `InputUnreadable`, located."""
    if path is None:
        return []
    document = read_document(path)
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("accepted"), list):
        problem = document.problem("SK012", (), "is no baseline: it has no list 'accepted'", NEXT)
        raise InputUnreadable.of(problem)
    if value.get("formatVersion") != FORMAT_VERSION:
        message = f"its formatVersion is not {FORMAT_VERSION}"
        raise InputUnreadable.of(document.problem("SK013", ("formatVersion",), message, NEXT))
    found = []
    for i, one in enumerate(value["accepted"]):
        try:
            if not isinstance(one, dict):
                raise ValueError("is no entry")
            found.append(Entry.of_json(one))
        except ValueError as error:
            raise InputUnreadable.of(document.problem("SK012", ("accepted", i), str(error), NEXT)) from None
    return found


def earlier(path: str) -> list[Entry]:
    """The entries of a file that is about to be replaced; none where there is no such file yet."""
    return read_baseline(path) if os.path.exists(path) else []
