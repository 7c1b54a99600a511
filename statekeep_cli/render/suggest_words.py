"""The words and the lines to paste of a proposal, for every format of `suggest`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.decision import Landing
from statekeep_cli.core.proposal import Dropped, Entry, Proposal, Support, Unhelped
from statekeep_cli.core.remedy import MISSING, ORIGIN, OTHERWISE
from statekeep_cli.core.report import DefinitionRef, yaml_scalar
from statekeep_cli.core.suggest_places import RESOLVED_BY_PLACE
from statekeep_cli.render import words
from statekeep_cli.render.terminal import inert

BY_HAND = (
    "they were moved by hand, and where their histories stand says nothing about that move: a stateMapping, "
    "a route or an anchor point has to place them"
)
UNKNOWN = (
    "without histories nobody can say which: they have to be given, or a stateMapping has to decide for all "
    "of them"
)
MIXED = (
    "nothing in their histories, no event or state, tells apart who belongs where: a stateMapping or a route "
    "has to decide for all of them"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known besides the proposal.

    `beside`: routing metadata lives in a side file. `as_json`: the file the lines belong in is JSON, not
    YAML. `merge`: there is routing metadata already.
    """

    definitions: Sequence[DefinitionRef]
    unreadable: int = 0
    beside: bool = False
    as_json: bool = False
    merge: bool = False
    next_command: str = ""

    @property
    def title(self) -> tuple[str, str]:
        """Sources and target."""

        def named(role: str) -> str:
            return ", ".join(words.definition_label(d) for d in self.definitions if d.role == role)

        return named("source"), named("target")

    @property
    def several(self) -> bool:
        return sum(d.role == "source" for d in self.definitions) > 1


# --- lines to paste ------------------------------------------------------------------------------------


def pasted(proposal: Proposal, frame: Frame) -> list[str]:
    """The proposed block as it stands in the target definition, or in its side file."""
    block = proposal.block
    short = set(block) <= {"stateMapping"}
    if frame.as_json:
        whole = block if short or frame.beside else {"migration": block}
        return json.dumps(whole, indent=2, ensure_ascii=True).splitlines()[1:-1]
    indent = "" if short or frame.beside else "  "
    head = [] if short or frame.beside else ["migration:"]
    return [*head, *(indent + line for line in _yaml(proposal))]


def _yaml(proposal: Proposal) -> Iterator[str]:
    block = proposal.block
    by_kind = {k: [s for s in proposal.entries if s.entry.kind == k] for k in ("rename", "route", "mapping")}
    if by_kind["rename"]:
        yield "rename:"
        yield "  events:"
        for s in by_kind["rename"]:
            yield f"    {_scalar(s.entry.source)}: {_flow(json.loads(s.entry.to))} # {evidence(s)}"
    if "anchors" in block:
        yield "anchors:"
        for name, pattern in block["anchors"].items():
            yield f"  {_scalar(name)}: {_flow(pattern)}"
    if by_kind["route"]:
        yield "routes:"
        for s in by_kind["route"]:
            yield f"  - from: {_scalar(s.entry.source)} # {evidence(s)}"
            yield f"    when: {_flow(json.loads(s.entry.when))}"
            yield f"    to: {_flow(json.loads(s.entry.to))}"
    if by_kind["mapping"]:
        yield "stateMapping:"
        for s in by_kind["mapping"]:
            yield f"  {_scalar(s.entry.source)}: {_flow(json.loads(s.entry.to))} # {evidence(s)}"


def _scalar(text: str) -> str:
    return inert(yaml_scalar(text))


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


# --- words ---------------------------------------------------------------------------------------------


def evidence(s: Support) -> str:
    """`10 histories`, `10 histories, and 2 actors without one that have no other way`."""
    one = s.histories == 1
    said = f"{s.histories:,} {'history' if one else 'histories'}"
    if not s.without_history:
        return said
    proven = f"{words.actors(s.without_history)} without history, proven for every path"
    return f"{said}, and {proven}" if s.histories else proven


def entry_text(entry: Entry) -> str:
    to = words.state_text(entry.to) if entry.kind != "rename" else json.loads(entry.to)
    if entry.kind == "rename":
        return f"rename.events {entry.source}: {to}"
    if entry.kind == "mapping":
        return f"stateMapping {entry.source}: {to}"
    return f"the route from {entry.source} to {to} when {_flow(json.loads(entry.when))}"


def dropped_text(d: Dropped) -> str:
    count = words.actors(d.count)
    reason = {
        "touches": f"{count} not stranded would be decided differently",
        "unfounded": f"it would also move {count} whose histories do not lead there",
        "idle": f"those it would place strand then, {d.reason}" if d.reason else "it frees nobody",
    }[d.why]
    return f"{entry_text(d.entry)}: {reason}"


def decision_left(u: Unhelped) -> str:
    """What a person must decide or supply."""
    if u.unspoken:
        return "migration.from does not name this version, so nothing in the block holds for it"
    if u.then:
        missing = MISSING.get(u.then, OTHERWISE)
        return f"the proposal would place them, and they strand there, {u.then}: {missing}"
    if u.by_hand:
        return BY_HAND
    free = [landing for landing, _ in u.landings if not landing.stuck]
    if u.reason in RESOLVED_BY_PLACE and free:
        return UNKNOWN if u.without_history == u.count else MIXED
    if u.reason == "history_required" and not u.landings:
        return ORIGIN
    if u.reason in RESOLVED_BY_PLACE and u.landings:
        return MISSING["event_refused"]
    return MISSING.get(u.reason, OTHERWISE)


def place(u: Unhelped, frame: Frame) -> str:
    if u.source is None:
        return "no state that could be read"
    state = words.place_text(u.source)
    return f"{state} ({words.label(u.source)})" if frame.several else state


def gathered(unhelped: Iterable[Unhelped]) -> list[list[Unhelped]]:
    """Groups about which the same is to be said, in the order of their first."""
    found: dict[tuple[object, ...], list[Unhelped]] = {}
    for u in unhelped:
        places = frozenset(landing for landing, _ in u.landings)
        found.setdefault((u.reason, why(u), places, decision_left(u)), []).append(u)
    return list(found.values())


def landings(groups: Sequence[Unhelped]) -> list[tuple[int, str]]:
    """Where their histories land, with counts, the most frequent first."""
    counts: Counter[Landing] = Counter()
    for u in groups:
        counts.update(dict(u.landings))
    order = sorted(counts.items(), key=lambda x: (-x[1], x[0].state, x[0].stuck or ""))
    return [(n, words.landing_text(landing.state, landing.stuck)) for landing, n in order]


def total(groups: Iterable[Unhelped]) -> int:
    return sum(u.count for u in groups)


def why(u: Unhelped) -> str:
    return u.detail or words.MEANINGS.get(u.reason, "")


def erased(groups: Sequence[Unhelped]) -> str:
    n = sum(u.erasable for u in groups)
    return (
        f"policy.loops: erase would free {n:,} of them; it consents to a loop having passed a gate that they "
        "never meet then"
    )


def changes(proposal: Proposal) -> list[tuple[str, str]]:
    """The counts before and after, by outcome."""
    names = ("migrate", "strand", "stay")
    rows = [(name, proposal.before[name], proposal.after[name]) for name in names]
    if not proposal.entries:
        return [(name, f"{n:,}") for name, n, _ in rows if n]
    return [(name, f"{n:,} -> {after:,}") for name, n, after in rows if n or after]


def confirmed(proposal: Proposal) -> str:
    """What the second read has shown."""
    if not proposal.before["strand"]:
        return "nobody strands; there is nothing to suggest"
    if not proposal.entries:
        return "no routing metadata would help those who strand without touching others"
    freed = words.actors(proposal.freed)
    return (
        f"decided again with these lines in place: {freed} freed, nobody who does not strand is decided "
        "differently"
    )


def where(frame: Frame) -> str:
    """What is to be done with the lines."""
    verb = "merge" if frame.merge else "paste"
    return f"to {verb} into {'the side file' if frame.beside else f'the definition {frame.title[1]}'}"


def unreadable(frame: Frame) -> str:
    """How many records are missing from all this."""
    n = frame.unreadable
    return "1 record could not be read" if n == 1 else f"{n:,} records could not be read"
