"""Every finding about one definition: structure first, then meaning.

`check` never raises for what a config holds. Codes and what they stand for are in `CODES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from statekeep_cli.core.check_finding import CODES, Code, Finding, Pointer
from statekeep_cli.core.check_routing import check_routing
from statekeep_cli.core.check_statechart import check_statechart
from statekeep_cli.core.check_stepping import check_entered, check_settles
from statekeep_cli.core.check_structure import check_structure
from statekeep_cli.core.model import Builder, Definition, DefinitionError, as_list, build, split_path

__all__ = ["CODES", "Checked", "Code", "Finding", "check"]

# Bounds for definitions that come from a stranger.
MAX_FINDINGS = 1_000
MAX_STATES = 10_000  # a set of states is one int with as many bits, and every state has two


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings, and the definition where none of them is an error."""

    findings: tuple[Finding, ...]
    definition: Definition | None


def check(
    config: Any,
    schema: dict[str, Any],
    sources: Sequence[Definition] = (),
    others: Sequence[Definition] = (),
) -> Checked:
    """All findings about a plain config, sorted by nothing: the reader knows where they stand.

    `schema` is the published JSON Schema of definitions. `sources` are what its routing metadata
    speaks about; without any, what names a source is not checked. `others` are definitions of the
    same run that must differ in id or version.
    """
    structure = check_structure(config, schema)
    findings = list(structure.findings)
    definition = None
    if structure.config is not None:
        more, definition = _meaning(structure.config, structure.cut, sources, not structure.findings)
        known = {f.pointer for f in findings} | structure.cut
        findings += [f for f in more if f.pointer not in known or f.pointer == ()]
    if definition is not None and not any(f.severity == "error" for f in findings):
        findings += _same_name(definition, [*sources, *others])
    if any(f.severity == "error" for f in findings):
        definition = None
    if len(findings) > MAX_FINDINGS:
        message = f"more than {MAX_FINDINGS} findings; the rest is left out"
        findings[MAX_FINDINGS:] = [Finding("SK007", (), message, "mend these first")]
    return Checked(tuple(findings), definition)


def _meaning(
    config: dict[str, Any], cut: frozenset[Pointer], sources: Sequence[Definition], whole: bool
) -> tuple[list[Finding], Definition | None]:
    builder = Builder(config)
    if len(builder.raw) > MAX_STATES:
        message = f"{len(builder.raw)} states; a definition may have {MAX_STATES}"
        return [Finding("SK008", ("states",), message, "check that it is the right file", "key")], None
    findings = [*_versions(config), *islice(check_statechart(builder, cut), MAX_FINDINGS)]
    definition = None
    if not any(f.severity == "error" for f in findings) and whole:
        try:
            definition = build(config)
        except DefinitionError as error:
            findings.append(Finding("SK034", error.pointer, error.message))
    findings += islice(check_routing(config, builder, definition, sources, cut), MAX_FINDINGS)
    if definition is not None:
        findings += islice(check_entered(definition, builder.pointers, _placed(definition)), MAX_FINDINGS)
        findings += check_settles(definition, builder.pointers)
    return findings, definition


def _versions(config: Mapping[str, Any]) -> list[Finding]:
    """JSON Schema takes 1.0 for a whole number; as a version it is neither 1 nor the text "1.0"."""
    found = []
    listed = (config.get("migration") or {}).get("from")
    for version, at in (
        (config.get("version"), ("version",)),
        *((v, ("migration", "from", i)) for i, v in enumerate(as_list(listed))),
    ):
        if isinstance(version, float):
            pointer: Pointer = at if isinstance(listed, list) or at[0] == "version" else ("migration", "from")
            message = f"the version {version} is neither text nor a whole number"
            found.append(
                Finding("SK012", pointer, message, f'write "{version}" in quotes, or {int(version)}')
            )
    return found


def _placed(d: Definition) -> int:
    """The nodes that routing metadata names as a place for actors, as a set."""
    block, nodes = d.migration, 0
    places = list((block.get("stateMapping") or {}).values())
    places += [r.get("to") for r in block.get("routes") or []]
    places += [a.get("resume") for a in (block.get("anchors") or {}).values()]
    pending: list[tuple[tuple[str, ...], Any]] = [((), p) for p in places if p is not None]
    while pending:
        path, value = pending.pop()
        if isinstance(value, str):
            index = d.by_path.get((*path, *split_path(value)), d.by_path.get((*path, value)))
            nodes |= 1 << index if index is not None else 0
        else:
            pending.extend(((*path, k), v) for k, v in value.items())
            pending.extend((path, k) for k, v in value.items() if not v)
    return nodes


def _same_name(definition: Definition, others: Sequence[Definition]) -> list[Finding]:
    for other in others:
        same = (other.id, str(other.version)) == (definition.id, str(definition.version))
        if same and other.digest != definition.digest:
            message = f"{definition.label} is given twice, with different content"
            return [Finding("SK070", ("version",), message, "give each its own version")]
    return []
