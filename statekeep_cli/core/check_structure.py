"""Structure: the published JSON Schema's errors, said for people.

Findings about meaning come after it and need a config of the right shape. So each part that is
wrong is cut out of a copy, and `Structure` remembers what was cut: the rest can still be checked,
and nothing is said about a hole that this made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from statekeep_cli.core.check_finding import Finding, Pointer, closest, listed, pointer_in

_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
    "null": "nothing",
}
_MISSING = {
    "id": "add one, for example id: loan",
    "version": "add one, for example version: 1",
    "states": "a definition has its states under 'states'",
    "type": "a guard is a name, or has a type",
    "reason": "say why the hazard is accepted",
    "hazard": "name the hazard, as the report shows it",
    "state": "name the target state that carries the hazard",
    "of": "give the pattern that is meant",
    "reset": "give the pattern that voids it",
}
_STRINGIFIED = "this looks like JSON.stringify(machine); export JSON.stringify(machine.config) instead"
_UNKNOWN = {
    "in": "XState v4's 'in' cannot be followed; write a named guard instead",
    "onEntry": "did you mean 'entry'?",
    "onExit": "did you mean 'exit'?",
    "parallel": "write type: parallel",
    "route": "XState's routes cannot be followed; write transitions instead",
    "transitions": _STRINGIFIED,
    "source": _STRINGIFIED,
    "eventType": _STRINGIFIED,
}
DEFINITION = "the definition"
# Lists whose items are looked at one by one, so that a hole in them may stay.
_HOLES = {"routes", "accept", "all", "any", "none", "sequence", "always", "onDone", "onError", "onSnapshot"}
_ROUNDS = 5
MAX_ERRORS = 1_000  # of one file; each costs a message


@dataclass(frozen=True, slots=True)
class Structure:
    """Findings, and the config without what they are about (None where nothing usable is left)."""

    findings: tuple[Finding, ...]
    config: dict[str, Any] | None
    cut: frozenset[Pointer]


def schema_findings(value: Any, schema: dict[str, Any], whole: str) -> list[Finding]:
    """Where `value` does not meet a published schema other than the definitions'; `whole` is what it is
    called as a whole ("the configuration")."""
    meant: set[Pointer] = set()
    errors = islice(_validator(schema).iter_errors(value), MAX_ERRORS)
    found = [f for e in errors for f in _findings(e, schema, value, meant, whole)]
    return _without_echoes(found, meant)


def _validator(schema: dict[str, Any]) -> Any:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def check_structure(config: Any, schema: dict[str, Any]) -> Structure:
    """Validates against the published schema of definitions."""
    validator = _validator(schema)
    findings: list[Finding] = []
    cut: set[Pointer] = set()
    rest = config
    for turn in range(_ROUNDS):
        every = validator.iter_errors(rest)
        errors = list(islice((e for e in every if pointer_in(rest, e.instance_path) not in cut), MAX_ERRORS))
        if not errors:
            return Structure(tuple(findings), rest, frozenset(cut))
        meant: set[Pointer] = set()
        found = [f for e in errors for f in _findings(e, schema, rest, meant)]
        if turn == 0:  # later rounds see only what the cuts left incomplete
            findings = _without_echoes(found, meant)
            cut |= meant
            rest = json.loads(json.dumps(rest))  # a copy, aliases written out
        if (
            not isinstance(rest, dict)
            or not isinstance(rest.get("states"), dict)
            or len(errors) >= MAX_ERRORS
        ):
            break
        for pointer in sorted({f.pointer for f in found}, key=len, reverse=True):
            _cut(rest, pointer, cut)
    return Structure(tuple(findings), None, frozenset(cut))


# --- one error ---------------------------------------------------------------------------------------


def _findings(
    error: Any, schema: dict[str, Any], config: Any, cut: set[Pointer], whole: str = DEFINITION
) -> list[Finding]:
    pointer = pointer_in(config, error.instance_path)
    keyword = str(error.schema_path[-1])
    within: Any = schema
    for step in error.schema_path[:-1]:
        within = within[step]
    if keyword == "additionalProperties":
        keys = error.kind.unexpected[:MAX_ERRORS]
        return [_unknown(key, pointer, within, schema, cut, whole) for key in keys]
    name = _name(pointer, whole)
    hint = _about(within)
    if keyword == "required":
        missing = error.kind.property
        where = f"{name} has no '{missing}'" if pointer else f"'{missing}' is missing"
        said = _MISSING.get(missing, "") if whole == DEFINITION else _about(within, missing)
        return [Finding("SK011", (*pointer, missing), where, said, "key")]
    if keyword == "type":
        return [Finding("SK012", pointer, _type_message(name, within["type"], _at(config, pointer)), hint)]
    if keyword in ("enum", "const"):
        values = within["enum"] if keyword == "enum" else [within["const"]]
        return [_not_allowed(name, pointer, values, _at(config, pointer))]
    if keyword in ("oneOf", "anyOf"):
        return [_one_of(name, pointer, within, keyword, _at(config, pointer))]
    if keyword in ("minimum", "maximum"):
        bound = f"at {'least' if keyword == 'minimum' else 'most'} {within[keyword]}"
        return [Finding("SK013", pointer, f"{name} must be {bound}", hint)]
    if keyword == "propertyNames" or "propertyNames" in error.schema_path:
        return [Finding("SK013", (*pointer, ""), f"{name} has an empty key", "give it a name", "key")]
    if keyword.startswith("min"):
        return [Finding("SK013", pointer, f"{name} must not be empty", hint or "fill it in or leave it out")]
    return [Finding("SK012", pointer, f"{name}: {error.message}", hint)]


def _about(within: Any, key: str = "") -> str:
    """A schema's description as a hint, or that of one of its keys."""
    part = within.get("properties", {}).get(key) if key else within
    about = part.get("description", "") if isinstance(part, Mapping) else ""
    return about[:1].lower() + about[1:].rstrip(".") if about else ""


def _unknown(
    key: str, pointer: Pointer, within: Any, schema: dict[str, Any], cut: set[Pointer], whole: str
) -> Finding:
    known = list(within.get("properties", {}))
    near = closest(key, known)
    if key in _UNKNOWN and whole == DEFINITION:
        hint = _UNKNOWN[key]
    elif not pointer and key in schema["$defs"].get("migration", {}).get("properties", {}):
        hint = "it belongs under 'migration'"
    elif pointer == ("migration",) and key in schema["properties"]:
        hint = "it belongs at the top of the definition"
    elif near:
        cut.add((*pointer, near))  # what was meant is not missing
        hint = f"did you mean '{near}'?"
    elif key.isupper() and "on" in known:
        hint = "an event belongs under 'on'"
    else:
        hint = f"known here: {listed(known, 'and', 12)}; keys of your own start with x-"
    return Finding("SK010", (*pointer, key), f"unknown key '{key}' in {_name(pointer, whole)}", hint, "key")


def _name(pointer: Pointer, whole: str) -> str:
    """A part as people would call it: the key, or the list it is an item of."""
    if not pointer:
        return whole
    last = pointer[-1]
    if isinstance(last, int):
        owner = next((str(p) for p in reversed(pointer) if isinstance(p, str)), "the list")
        return f"item {last + 1} of '{owner}'"
    return f"'{last}'"


def _at(config: Any, pointer: Pointer) -> Any:
    for step in pointer:
        config = config[step]
    return config


def _type_message(name: str, expected: str | list[str], value: Any) -> str:
    types = [expected] if isinstance(expected, str) else expected
    wanted = listed([_NAMES[t] for t in types if t != "null" or len(types) == 1], "or")
    if value is None:
        found = "nothing"
    elif isinstance(value, bool):
        found = str(value).lower()
    elif isinstance(value, int | float):
        found = str(value) if len(str(value)) < 30 else "a number"
    else:
        found = "text" if isinstance(value, str) else "a mapping" if isinstance(value, dict) else "a list"
    return f"{name} must be {wanted}, not {found}"


def _not_allowed(name: str, pointer: Pointer, values: list[Any], value: Any) -> Finding:
    words = [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
    shown = f"'{value}'" if isinstance(value, str) and len(value) < 60 else "this"
    near = closest(value, words) if isinstance(value, str) else None
    allowed = f"allowed: {listed(words, 'or', 12)}"
    hint = f"did you mean '{near}'?" if near else allowed
    return Finding("SK013", pointer, f"{name} cannot be {shown}", hint)


def _one_of(name: str, pointer: Pointer, within: Any, keyword: str, value: Any) -> Finding:
    keys = [option["required"][0] for option in within[keyword]]
    given = [k for k in keys if isinstance(value, dict) and k in value]
    how = "exactly one" if keyword == "oneOf" else "at least one"
    said = f"has {listed(given)}" if given else "has none of them"
    return Finding("SK014", pointer, f"{name} needs {how} of {listed(keys, 'and', 12)}; it {said}")


# --- cutting -----------------------------------------------------------------------------------------


def _without_echoes(found: list[Finding], cut: set[Pointer]) -> list[Finding]:
    """Without "missing" where a misspelt key was meant to be there."""
    misspelt = {f.pointer[:-1] for f in found if f.code == "SK010"}
    kept: dict[tuple[str, Pointer], Finding] = {}
    for f in found:
        if f.code == "SK011" and f.pointer in cut:
            continue
        if f.code == "SK014" and f.pointer in misspelt and "has none" in f.message:
            continue
        kept.setdefault((f.code, f.pointer), f)
    return list(kept.values())


def _cut(config: dict[str, Any], pointer: Pointer, cut: set[Pointer]) -> None:
    """Takes the value out, or puts a harmless one there if others may refer to it by name."""
    cut.add(pointer)
    parent: Any = config
    for step in pointer[:-1]:
        try:
            parent = parent[step]
        except (LookupError, TypeError):
            return  # a part around it is gone already
    last, above = pointer[-1], pointer[:-1]
    if isinstance(parent, list):
        if isinstance(last, int) and (above[-1] in _HOLES or above[-2:-1] in (("on",), ("after",))):
            parent[last] = None
        else:
            _cut(config, above, cut)
    elif not isinstance(parent, dict):
        return
    elif not above and last in ("id", "version"):
        parent[str(last)] = "?"
    elif last not in parent:  # required: without it the mapping around it is of no use
        if above:
            _cut(config, above, cut)
    elif above[-1:] == ("states",):
        parent[last] = {}
    elif above == ("migration", "anchors"):
        parent[last] = {"path": []}
    else:
        del parent[last]
