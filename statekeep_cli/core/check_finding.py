"""Findings about a definition, and the table of their codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Pointer = tuple[str | int, ...]
Severity = Literal["error", "warning"]
Part = Literal["key", "value"]


@dataclass(frozen=True, slots=True)
class Code:
    """What a code stands for. An error stops every command that reads the definition."""

    severity: Severity
    meaning: str


_E: Severity = "error"
_W: Severity = "warning"

# Stable: a code keeps its meaning for good, and a retired one is not used again.
CODES: dict[str, Code] = {
    "SK001": Code(_E, "the file cannot be opened"),
    "SK002": Code(_E, "the file is not UTF-8"),
    "SK003": Code(_E, "the file is no valid JSON or YAML 1.2"),
    "SK004": Code(_E, "the file is too large, too deep, or its aliases expand to too much"),
    "SK005": Code(_E, "a mapping has the same key twice"),
    "SK006": Code(_E, "routing metadata is given in two places"),
    "SK007": Code(_E, "more findings than are worth showing"),
    "SK008": Code(_E, "more states than a definition may have"),
    "SK010": Code(_E, "a key that does not exist here"),
    "SK011": Code(_E, "a key that is required is missing"),
    "SK012": Code(_E, "a value of the wrong type"),
    "SK013": Code(_E, "a value that is not one of those allowed"),
    "SK014": Code(_E, "exactly one of several keys is needed"),
    "SK020": Code(_E, "a transition target that does not exist"),
    "SK021": Code(_E, "a compound state without its initial state"),
    "SK022": Code(_E, "an initial state that does not exist"),
    "SK023": Code(_E, "an id that is used twice"),
    "SK024": Code(_E, "a history node, or what belongs to one, used wrongly"),
    "SK025": Code(_E, "a type that contradicts what the state contains"),
    "SK026": Code(_W, "an event descriptor that never matches"),
    "SK027": Code(_E, "an empty event name"),
    "SK028": Code(_W, "a transition that is never tried"),
    "SK029": Code(_W, "a state that is never entered"),
    "SK030": Code(_W, "a final state with transitions"),
    "SK031": Code(_E, "a step that never settles"),
    "SK032": Code(_W, "guards whose bodies are code and stay invisible"),
    "SK033": Code(_W, "targets that cannot be active together"),
    "SK034": Code(_E, "a definition that no XState machine can be built from"),
    "SK040": Code(_E, "a source state that does not exist"),
    "SK041": Code(_E, "a target state that does not exist"),
    "SK042": Code(_E, "a place that is no legal configuration"),
    "SK043": Code(_E, "an anchor that does not exist"),
    "SK044": Code(_E, "anchors that refer to each other in a circle"),
    "SK045": Code(_E, "a route that is never reached"),
    "SK046": Code(_E, "a version that none of the sources has"),
    "SK047": Code(_W, "a version that is not among the sources given"),
    "SK048": Code(_W, "an event that nothing listens to"),
    "SK049": Code(_W, "a guard that nothing uses"),
    "SK050": Code(_E, "bounds that nothing can satisfy"),
    "SK060": Code(_E, "no valid JSON Schema"),
    "SK061": Code(_E, "a reference that leaves the schema"),
    "SK062": Code(_E, "a pattern that cannot run in linear time"),
    "SK063": Code(_E, "references that expand to too much"),
    "SK070": Code(_E, "two different definitions with the same id and version"),
    "SK071": Code(_W, "a finding that is ignored without a reason"),
    "SK072": Code(_W, "an ignore that ignores nothing"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding at `pointer`, keys and indexes from the top of the definition.

    `part` says whether the key or the value there is meant. `hint` is the next step, or empty.
    """

    code: str
    pointer: Pointer
    message: str
    hint: str = ""
    part: Part = "value"

    @property
    def severity(self) -> Severity:
        return CODES[self.code].severity


def pointer_in(value: Any, path: Iterable[str | int]) -> Pointer:
    """A validator's path as a pointer: it takes every key that looks like a number for an index."""
    found: list[str | int] = []
    for step in path:
        key: Any = str(step) if isinstance(value, dict) else step
        found.append(key)
        value = value[key] if isinstance(value, dict | list) else None
    return tuple(found)


def closest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, if any is near enough."""
    known = [n for n in dict.fromkeys(names) if n != name]
    if len(known) > 1_000:
        return None  # a guess among so many costs more than it is worth
    folded = {n.casefold().replace("_", "").replace("-", ""): n for n in known}
    same = folded.get(name.casefold().replace("_", "").replace("-", ""))
    if same:
        return same
    # difflib is quadratic in the length of what it compares
    near = difflib.get_close_matches(name[:100], [n for n in known if len(n) <= 100], 1, 0.6)
    return near[0] if near else None


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """A hint: `did you mean 'x'?`, or `otherwise`."""
    near = closest(name, names)
    return f"did you mean '{near}'?" if near else otherwise


def listed(names: Iterable[str], word: str = "and", most: int = 8) -> str:
    """`a, b and c`; past `most` names the rest is counted."""
    items = list(names)
    if len(items) > most:
        items = [*items[: most - 1], f"{len(items) - most + 1} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}" if items else ""
