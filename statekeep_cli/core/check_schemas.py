"""JSON Schemas inside definitions: contexts and predicates.

They may come from a stranger, so they are compiled without ever fetching anything, patterns run on
an engine with linear time, and references may not multiply.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from statekeep_cli.core.check_finding import Finding, Pointer, pointer_in

MAX_PATTERN = 1 << 20  # bytes of a compiled pattern
MAX_EXPANSION = 100_000  # subschemas, references followed

# Keywords whose value is one schema, a list of them, or a mapping of them (drafts 4 to 2020-12).
_ONE = {
    "not", "if", "then", "else", "contains", "propertyNames", "additionalProperties", "unevaluatedProperties",
    "unevaluatedItems", "additionalItems", "contentSchema",
}  # fmt: skip
_MANY = {"allOf", "anyOf", "oneOf", "prefixItems"}
_NAMED = {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def compile_schema(schema: Any) -> Any:
    """A validator (`is_valid`, `iter_errors`) of a schema that `check_schema` finds nothing in.

    Raises `ValueError` for what is no valid JSON Schema or refers outside itself.
    """
    import jsonschema_rs

    # `offline` refuses every retrieval; the schema's own $schema chooses the draft, 2020-12 else.
    validator: Any = jsonschema_rs.validator_for(
        schema, offline=True, pattern_options=jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN)
    )
    return validator


def check_schema(schema: Any, pointer: Pointer) -> list[Finding]:
    """Findings about one JSON Schema that stands at `pointer`."""
    findings: list[Finding] = []
    for at, part in subschemas(schema, pointer):
        findings += _references(part, at)
        findings += _patterns(part, at)
    if not findings:
        findings += _meaning(schema, pointer)
    if not findings and _expansion(schema) > MAX_EXPANSION:
        message = f"its references expand to more than {MAX_EXPANSION} parts"
        findings.append(Finding("SK063", pointer, message, "refer to a part fewer times"))
    return findings


def subschemas(schema: Any, pointer: Pointer) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """Every part of a schema that is itself a schema with keywords, with its place."""
    pending: list[tuple[Pointer, Any]] = [(pointer, schema)]
    while pending:
        at, part = pending.pop()
        if not isinstance(part, dict):
            continue
        yield at, part
        for key, value in part.items():
            if key in _ONE or (key == "items" and not isinstance(value, list)):
                pending.append(((*at, key), value))
            elif (key in _MANY or key == "items") and isinstance(value, list):
                pending.extend(((*at, key, i), v) for i, v in enumerate(value))
            elif (key in _NAMED or key == "dependencies") and isinstance(value, dict):
                pending.extend(((*at, key, k), v) for k, v in value.items())


def _references(part: dict[str, Any], at: Pointer) -> Iterator[Finding]:
    for key in _REFERENCES:
        target = part.get(key)
        if isinstance(target, str) and not target.startswith("#"):
            yield Finding(
                "SK061",
                (*at, key),
                f"the reference '{target}' leaves the schema; nothing is ever fetched",
                "put that schema under $defs and refer to it as #/$defs/name",
            )


@cache
def _pattern(pattern: str) -> str:
    """What is wrong with a pattern: "", "invalid", or "slow" where only backtracking could run it."""
    import jsonschema_rs

    linear = jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN)
    for options, verdict in ((linear, ""), (jsonschema_rs.FancyRegexOptions(), "slow")):
        try:
            jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options)
            return verdict
        except ValueError:
            continue
    return "invalid"


def _patterns(part: dict[str, Any], at: Pointer) -> Iterator[Finding]:
    written: list[tuple[Pointer, str]] = []
    if isinstance(part.get("pattern"), str):
        written.append(((*at, "pattern"), part["pattern"]))
    if isinstance(part.get("patternProperties"), dict):
        written += [((*at, "patternProperties", k), k) for k in part["patternProperties"]]
    for where, pattern in written:
        verdict = _pattern(pattern)
        which = "key" if where[-1] == pattern and where[-2:-1] == ("patternProperties",) else "value"
        if verdict == "slow":
            yield Finding(
                "SK062",
                where,
                "this pattern cannot run in linear time, or is too large",
                "write it without look-around, back-references and large counted repetition",
                "key" if which == "key" else "value",
            )
        elif verdict:
            yield Finding("SK060", where, "this is no valid pattern", "check its brackets and escapes",
                          "key" if which == "key" else "value")  # fmt: skip


def _meaning(schema: Any, pointer: Pointer) -> Iterator[Finding]:
    import jsonschema_rs

    if not isinstance(schema, dict) or "$schema" not in schema:
        meta = jsonschema_rs.Draft202012Validator({"$ref": "https://json-schema.org/draft/2020-12/schema"})
        errors = list(meta.iter_errors(schema))
        for error in errors:
            yield _invalid(error, schema, pointer)
        if errors:
            return
    try:
        compile_schema(schema)
    except ValueError as error:
        yield _invalid(error, schema, pointer)


def _invalid(error: Any, schema: Any, pointer: Pointer) -> Finding:
    where = (*pointer, *pointer_in(schema, getattr(error, "instance_path", ())))
    message = getattr(error, "message", str(error)).splitlines()[0]
    return Finding(
        "SK060", where, f"no valid JSON Schema: {message}", "see https://json-schema.org/draft/2020-12"
    )


def _expansion(schema: Any) -> int:
    """How many parts there are with every local reference written out; a recursive one counts once."""
    sizes: dict[int, int] = {}
    open_parts: set[int] = set()
    by_anchor = {
        part[key]: part
        for _, part in subschemas(schema, ())
        for key in ("$anchor", "$dynamicAnchor")
        if isinstance(part.get(key), str)
    }

    def parts_of(part: dict[str, Any]) -> list[Any]:
        found: list[Any] = []
        for key, value in part.items():
            if key in _ONE or (key == "items" and isinstance(value, dict)):
                found.append(value)
            elif (key in _MANY or key == "items") and isinstance(value, list):
                found.extend(value)
            elif key in _NAMED and key not in ("$defs", "definitions") and isinstance(value, dict):
                found.extend(value.values())
            elif key in _REFERENCES and isinstance(value, str):
                found.append(by_anchor.get(value[1:]) or _resolve(schema, value))
        return found

    # An explicit stack: references can chain further than Python's own reaches.
    stack: list[tuple[Any, bool]] = [(schema, False)]
    while stack:
        part, ready = stack.pop()
        if not isinstance(part, dict) or id(part) in sizes:
            continue
        if ready:
            open_parts.discard(id(part))
            size = 1 + sum(sizes.get(id(p), 1) for p in parts_of(part))
            sizes[id(part)] = min(size, MAX_EXPANSION + 1)
        elif id(part) not in open_parts:
            open_parts.add(id(part))
            stack.append((part, True))
            stack.extend((p, False) for p in parts_of(part))
    return sizes.get(id(schema), 1)


def _resolve(schema: Any, reference: str) -> Any:
    from urllib.parse import unquote

    part = schema
    for step in unquote(reference[1:]).split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            part = part[int(step)] if isinstance(part, list) else part[step]
        except (LookupError, TypeError, ValueError):
            return None
    return part
