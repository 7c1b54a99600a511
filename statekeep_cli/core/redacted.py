"""Contexts of which parts were left out: what a redacted snapshot can still decide.

A snapshot made with `--redact` keeps the paths it was told to and says which these are. Whether a JSON Schema
looks only at those is judged from the schema alone, and carefully: a keyword that is not known here to be
answered by what was kept counts as one that needs what was removed. So an actor may count as undetermined
although a closer look would decide it, and never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from statekeep_cli.core.migration import Migration
from statekeep_cli.core.model import Path, join_path, split_path

WHOLE = "the whole context"
LISTED = 5  # paths named in one sentence

# Keywords that say nothing about the value, or nothing about an object.
_ANNOTATIONS = frozenset(
    ("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples",
     "deprecated", "readOnly", "writeOnly")
)  # fmt: skip
_SILENT = _ANNOTATIONS | frozenset(
    ("format", "contentEncoding", "contentMediaType", "minimum", "maximum", "exclusiveMinimum",
     "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "items", "prefixItems",
     "additionalItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains")
)  # fmt: skip
_ALL_OF = ("allOf", "anyOf", "oneOf")
_ONE = ("not", "if", "then", "else")


class Kept:
    """The paths of one record that were kept. `is_object` is False where the context itself was removed
    because it was no object."""

    def __init__(self, paths: Iterable[str], is_object: bool):
        self.paths = tuple(split_path(p) for p in paths) if is_object else ()
        self._on_the_way = {p[:n] for p in self.paths for n in range(len(p))}
        if is_object:
            self._on_the_way.add(())

    def whole(self, path: Path) -> bool:
        """Is everything at this path as it was, its absence included?"""
        return any(path[: len(p)] == p for p in self.paths)

    def outline(self, path: Path) -> bool:
        """Is it known that an object stands here, or nothing?"""
        return path in self._on_the_way

    def missing(self, schema: Any) -> list[str]:
        """The paths that a schema looks at and that were removed; [] where it can be decided."""
        return list(dict.fromkeys(join_path(p) if p else WHOLE for p in self._missing(schema, ())))

    def _missing(self, schema: Any, at: Path) -> Iterator[Path]:
        if self.whole(at) or not isinstance(schema, Mapping):
            return
        if not self.outline(at):
            if not schema.keys() <= _ANNOTATIONS:
                yield at
            return
        for keyword, value in schema.items():
            if keyword in _SILENT or keyword == "type":
                continue
            if keyword == "properties" and isinstance(value, Mapping):
                for key, inner in value.items():
                    if inner is False and not self.known(at, key):
                        yield (*at, key)
                    yield from self._missing(inner, (*at, key))
            elif keyword == "required" and isinstance(value, list):
                yield from ((*at, key) for key in value if not self.known(at, key))
            elif keyword in _ALL_OF and isinstance(value, list):
                for inner in value:
                    yield from self._missing(inner, at)
            elif keyword in _ONE:
                yield from self._missing(value, at)
            else:
                yield at

    def known(self, at: Path, key: str) -> bool:
        """Is it known whether there is something at this key?"""
        path = (*at, key)
        return self.whole(path) or self.outline(path)

    def missing_for_edits(self, m: Migration) -> list[str]:
        """The paths that the block's edits turn on: a rename fails where it would overwrite a value. What
        `remove` and `defaults` do to a part that a schema looks at is the schema's question."""
        if (m.context_rename or m.context_remove or m.context_defaults) and not self.outline(()):
            return [WHOLE]
        ends = (p for pair in m.context_rename.items() for p in pair)
        return list(dict.fromkeys(p for p in ends if not self.whole(split_path(p))))


def sentence(paths: Iterable[str]) -> str:
    """Why an actor is undetermined, and the next step; "" where nothing is missing."""
    missing = list(dict.fromkeys(paths))
    if not missing:
        return ""
    if WHOLE in missing:
        return "its context was redacted, and the decision looks at all of it; preview it where it is whole"
    more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
    return f"its context was redacted; keep {', '.join(missing[:LISTED])}{more} in the snapshot to decide"
