"""Contexts: the predicates that look at them, and their edits (apv.md sections 2 and 7).

Schemas are JSON Schema, checked by a validator that never fetches a reference and whose patterns run
in linear time, since definitions may come from a stranger.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from statekeep_cli.core.migration import Migration
from statekeep_cli.core.model import split_path
from statekeep_cli.core.redacted import Kept, sentence

if TYPE_CHECKING:
    import jsonschema_rs


class Validator(Protocol):
    """What is used of a compiled schema."""

    def is_valid(self, instance: Any) -> bool: ...

    def iter_errors(self, instance: Any) -> Any: ...


def validator(schema: Any) -> Validator:
    """A compiled schema. Raises `ValueError` where it is none, or refers outside itself."""
    import jsonschema_rs  # a large extension module: only for runs that look at contexts

    if schema is True or schema is False:
        schema = {} if schema else {"not": {}}
    try:
        compiled: Validator = jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    return compiled


def _error_path(error: jsonschema_rs.ValidationError) -> str:
    return ".".join(str(x) for x in error.instance_path) or "the context"


class Look(NamedTuple):
    """What a context says: the predicates' outcomes (None: unknown), and what is wrong with the edited one.

    Of a redacted context, `redacted` says what the unknown outcomes would need, and `unchecked` what the
    edited one would; "" where nothing is missing.
    """

    schemas: tuple[bool | None, ...] = ()
    error: str = ""
    redacted: str = ""
    unchecked: str = ""


class Contexts:
    """The context schemas of one deployment, compiled: predicates in order, and the target's own."""

    def __init__(self, schemas: list[str], context_schema: Any):
        self.sources = [json.loads(s) for s in schemas]
        self.predicates = [validator(s) for s in self.sources]
        self.schema = context_schema
        self.target = None if context_schema is None else validator(context_schema)
        self._missing = lru_cache(1 << 10)(self._missing_from)

    def needed_by(self, m: Migration) -> bool:
        """Must a context be looked at for actors under this block?"""
        return self.opened_by(m) or bool(m.context_remove or m.context_defaults)

    def opened_by(self, m: Migration) -> bool:
        """Does what is in it matter, and not only that it is an object?"""
        return bool(self.predicates) or self.target is not None or bool(m.context_rename)

    def look(self, context: Any, m: Migration) -> Look:
        """The outcomes of the predicates on the context as stored, and what is wrong with the edited one."""
        return Look(*self._look(context, m))

    def look_redacted(self, context: Any, kept: tuple[str, ...], m: Migration) -> Look:
        """The same for a context of which only some paths were kept; None where nothing is left of it."""
        missing, for_target = self._missing(kept, context is not None)
        edits = m.context_rename or m.context_remove or m.context_defaults
        for_edits = Kept(kept, context is not None).missing_for_edits(m) if edits else []
        outcomes, error = self._look({} if context is None else context, m)
        known = tuple(None if lost else o for lost, o in zip(missing, outcomes, strict=True))
        unchecked = sentence([*for_edits, *for_target])
        asked = sentence([path for lost in missing for path in lost])
        return Look(known, "" if unchecked else error, asked, unchecked)

    def _missing_from(self, kept: tuple[str, ...], is_object: bool) -> tuple[list[list[str]], list[str]]:
        """What was removed of what each predicate, and the target's schema, looks at."""
        left = Kept(kept, is_object)
        target = [] if self.target is None else left.missing(self.schema)
        return [left.missing(schema) for schema in self.sources], target

    def _look(self, context: Any, m: Migration) -> tuple[tuple[bool, ...], str]:
        outcomes = tuple(p.is_valid(context) for p in self.predicates)
        if not isinstance(context, dict) and (m.context_rename or m.context_remove or m.context_defaults):
            return outcomes, "the context is no object, so it cannot be edited"
        try:
            edited = edit(context, m)
        except ValueError as error:
            return outcomes, str(error)
        if self.target is not None and not self.target.is_valid(edited):
            first = next(iter(self.target.iter_errors(edited)))
            return outcomes, f"the target's contextSchema refuses {_error_path(first)}"
        return outcomes, ""


def edit(context: Any, m: Migration) -> Any:
    """The context (an object) after `rename`, then `remove`, then `defaults`. Raises `ValueError` where a
    rename would overwrite a value or pass through one."""
    if not (m.context_rename or m.context_remove or m.context_defaults):
        return context
    edited = dict(context)
    for old, new in m.context_rename.items():
        found, value = _take(edited, split_path(old))
        if not found:
            continue
        if not _put(edited, split_path(new), value):
            raise ValueError(f"context.rename {old} -> {new} would overwrite a value")
    for path in m.context_remove:
        _take(edited, split_path(path))
    for path, value in m.context_defaults.items():
        _put(edited, split_path(path), copy.deepcopy(value))
    return edited


def _take(context: dict[str, Any], path: tuple[str, ...]) -> tuple[bool, Any]:
    """Take a value out; the objects on the way are copied, since others may hold them."""
    at = context
    for key in path[:-1]:
        inner = at.get(key)
        if not isinstance(inner, dict):
            return False, None
        at[key] = at = dict(inner)
    if path[-1] not in at:
        return False, None
    return True, at.pop(path[-1])


def _put(context: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    """Set a value where none is; False where there is one already, or no room for one."""
    at = context
    for key in path[:-1]:
        inner = at.get(key, {})
        if not isinstance(inner, dict):
            return False
        at[key] = at = dict(inner)
    if path[-1] in at:
        return False
    at[path[-1]] = value
    return True
