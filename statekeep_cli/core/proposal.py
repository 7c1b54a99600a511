"""What `suggest` says, as values: entries of routing metadata with what supports them, and what is left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Hazard, Landing, Place
from statekeep_cli.core.suggest_renames import with_renames


@dataclass(frozen=True, slots=True)
class Entry:
    """One proposed entry. `source` and `to` are a state and its place, or an event's old and new name; `to`
    and `when` are canonical JSON. `anchors` are the (name, pattern) pairs a route needs besides those that
    exist."""

    kind: Literal["rename", "mapping", "route"]
    source: str
    to: str
    when: str = ""
    anchors: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """A proposed entry that was confirmed: how many actors it frees, and how many of those have no history
    (every path of the source leads them there)."""

    entry: Entry
    freed: int
    without_history: int = 0

    @property
    def histories(self) -> int:
        return self.freed - self.without_history


@dataclass(frozen=True, slots=True)
class Dropped:
    """An entry that was not confirmed, and why: `touches` and `unfounded` with the number of actors, `idle`
    with the reason for which those it would place strand then."""

    entry: Entry
    why: Literal["touches", "unfounded", "idle"]
    count: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unhelped:
    """Strands that the proposal leaves: a person must decide. `landings` counts where their histories land.
    `unspoken`: the target's block does not speak for their version. `by_hand`: they were moved by hand.
    `without_history` have none; `erasable` would migrate under `loops: erase`. `then` is the reason for
    which they strand where the proposal would place them, "" where it does not."""

    source: Place | None
    reason: str
    detail: str
    count: int
    landings: tuple[tuple[Landing, int], ...]
    then: str = ""
    unspoken: bool = False
    by_hand: bool = False
    without_history: int = 0
    erasable: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What `suggest` says. `before` and `after` count actors by outcome, without and with the proposal;
    `findings` are hazards of the first group that it brings, with the number of actors."""

    entries: tuple[Support, ...]
    dropped: tuple[Dropped, ...]
    unhelped: tuple[Unhelped, ...]
    findings: tuple[tuple[Hazard, int], ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    block: Mapping[str, Any] = field(default_factory=dict)

    @property
    def freed(self) -> int:
        return self.before["strand"] - self.after["strand"]


# --- entries as a block ------------------------------------------------------------------------------


def value_of(text: str) -> Any:
    """An entry's `to`, `when` or pattern."""
    return json.loads(text)


def block_of(entries: Iterable[Entry]) -> dict[str, Any]:
    """Entries as a `migration:` block."""
    block: dict[str, Any] = {}
    for entry in entries:
        to = value_of(entry.to)
        if entry.kind == "rename":
            block.setdefault("rename", {}).setdefault("events", {})[entry.source] = to
        elif entry.kind == "mapping":
            block.setdefault("stateMapping", {})[entry.source] = to
        else:
            for name, pattern in entry.anchors:
                block.setdefault("anchors", {})[name] = value_of(pattern)
            route = {"from": entry.source, "when": value_of(entry.when), "to": to}
            block.setdefault("routes", []).append(route)
    order = ("rename", "anchors", "routes", "stateMapping")
    return {key: block[key] for key in order if key in block}


def amended(deployment: Deployment, entries: Sequence[Entry]) -> Deployment:
    """The deployment with these entries in the target's block: routes behind its own, keys beside its own."""
    if not entries:
        return deployment
    target = deployment.target
    renames = {e.source: value_of(e.to) for e in entries if e.kind == "rename"}
    if renames:
        target = with_renames(target, renames)
    block = dict(target.migration)
    more = block_of(e for e in entries if e.kind != "rename")
    for key in ("anchors", "stateMapping"):
        if key in more:
            block[key] = {**(block.get(key) or {}), **more[key]}
    if "routes" in more:
        block["routes"] = [*(block.get("routes") or []), *more["routes"]]
    target = replace(target, migration=block)
    return Deployment(deployment.sources, target, erase_loops=deployment.erase_loops)
