"""A diff as text, Markdown or JSON: a verdict per source state, then what changed."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.changes import Change
from statekeep_cli.core.decision import Decision, Hazard
from statekeep_cli.core.diff import Diff, Ending, SourceDiff, StateVerdict
from statekeep_cli.core.report import FORMAT_VERSION, DefinitionRef
from statekeep_cli.render import words
from statekeep_cli.render.explain import WHOLE, example_text, hazard_text
from statekeep_cli.render.markdown import code
from statekeep_cli.render.tables import Table, item
from statekeep_cli.render.terminal import Paint, inert, wrap

MAX_STATES = 60  # states listed one by one; more are grouped by active leaf
MAX_ENDINGS = 5  # ways to fare shown per state
MAX_CHANGES = 200
MAX_HAZARDS = 50
LIMIT = 65_000  # characters of Markdown
VERDICTS = {
    "safe": "safe",
    "depends_on_history": "depends on history",
    "depends_on_context": "depends on context",
    "stranded": "stranded",
    "undecided": "undecided",
    "stays": "stays",
    "done": "done",
}
COLORS = {"safe": "green", "stranded": "red", "undecided": "yellow", "done": "dim"}
HEAD = ("state", "verdict", "goes to", "by")


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known besides the diff."""

    definitions: Sequence[DefinitionRef]
    next_command: str = ""


# --- text ------------------------------------------------------------------------------------------------


def text(d: Diff, frame: Frame, width: int = 80, color: bool = False) -> str:
    """Per source: the counts of verdicts, a row per state, hazards, then the structural changes. No line is
    wider than `width` (at least 40) but the command at the end."""
    page = _Page(d, max(width, 40), Paint(color))
    sections = [lines for s in d.sources for lines in page.source(s)]
    sections += [page.notes(), page.next(frame.next_command)]
    return "\n\n".join("\n".join(found) for s in sections if (found := list(s))) + "\n"


class _Page:
    def __init__(self, d: Diff, width: int, paint: Paint):
        self.d, self.width, self.paint = d, width, paint

    def source(self, s: SourceDiff) -> Iterator[Iterator[str]]:
        yield self.counts(s)
        yield self.states(s) if len(s.states) <= MAX_STATES else self.by_leaf(s)
        yield self.hazards(s)
        yield self.changes(s)

    def counts(self, s: SourceDiff) -> Iterator[str]:
        yield from (self.paint(x, "bold") for x in self.wrapped(f"{s.label} -> {self.d.target}"))
        found = s.counts()
        size = max(len(f"{n:,}") for n in (len(s.states), *found.values())) + 2
        for verdict, n in found.items():
            line = f"{n:>{size},}  {VERDICTS[verdict]}"
            yield self.paint(line, COLORS[verdict]) if verdict in COLORS else line
        yield self.paint(f"{len(s.states):>{size},}  {'state' if len(s.states) == 1 else 'states'}", "bold")
        if s.bound:
            yield from self.wrapped(bound_text(s.bound))

    def states(self, s: SourceDiff) -> Iterator[str]:
        rows = [tuple(map(inert, row_of(v))) for v in s.states]
        table = Table.fit([HEAD, *rows], self.width)
        yield from (self.paint(line, "bold") for line in table.lines(HEAD))
        for v, row in zip(s.states, rows, strict=True):
            yield from table.lines(row)
            for said in details(v):
                yield from wrap(inert(said), self.width, "   - ")

    def by_leaf(self, s: SourceDiff) -> Iterator[str]:
        grouped = leaf_rows(s)
        rows = [tuple(map(inert, row)) for row in grouped[:MAX_STATES]]
        head = ("active", "states", "verdicts")
        table = Table.fit([head, *rows], self.width)
        yield from (self.paint(line, "bold") for line in table.lines(head))
        for row in rows:
            yield from table.lines(row)
        if grouped[MAX_STATES:]:
            yield from wrap(f"and {len(grouped) - MAX_STATES:,} more", self.width, " ")
        said = f"{len(s.states):,} states, grouped by what is active in them; --format json has each"
        yield from wrap(said, self.width, " ")

    def hazards(self, s: SourceDiff) -> Iterator[str]:
        for i, (title, found) in enumerate(hazards_of(s)):
            if i:
                yield ""
            yield self.paint(title, "bold")
            for hazard, states in found[:MAX_HAZARDS]:
                said = f"{hazard_text(hazard, inert)}; from {states_text(states, inert)}"
                yield from item(said, self.width)
            if found[MAX_HAZARDS:]:
                yield f"  and {len(found) - MAX_HAZARDS:,} more"

    def changes(self, s: SourceDiff) -> Iterator[str]:
        if not s.changes:
            yield "nothing changed in the structure"
            return
        yield self.paint("what changed", "bold")
        for change in s.changes[:MAX_CHANGES]:
            sign, said = change_text(change, inert)
            yield from wrap(said, self.width, f"  {sign} ")
        if s.changes[MAX_CHANGES:]:
            yield f"  and {len(s.changes) - MAX_CHANGES:,} more; --format json has all"

    def notes(self) -> Iterator[str]:
        for note in self.d.notes:
            yield from wrap(inert(note), self.width, "note: ", "  ")

    def next(self, command: str) -> Iterator[str]:
        if command:
            yield self.paint("next: ", "bold") + inert(command)

    def wrapped(self, said: str) -> list[str]:
        return wrap(inert(said), self.width)


# --- words -----------------------------------------------------------------------------------------------


def bound_text(bound: int) -> str:
    return (
        f"more than {bound:,} kinds of histories lead through this definition, too many to follow: verdicts "
        "are those of actors without a history, and only states that were met are listed"
    )


def row_of(v: StateVerdict) -> tuple[str, str, str, str]:
    """A state's row: its verdict, and where it goes by which rule where that is the same for all."""
    state = words.place_text(v.source)
    decisions = [e.decision for e in v.endings]
    targets = list(dict.fromkeys(words.place_text(d.target) for d in decisions if d.target))
    rules = list(dict.fromkeys(d.rule for d in decisions if d.rule))
    to = targets[0] if len(targets) == 1 and v.verdict == "safe" else ""
    by = ", ".join(rules) if v.verdict in ("safe", "stays") or len(v.endings) == 1 else ""
    return state, verdict_text(v), to, by


def verdict_text(v: StateVerdict) -> str:
    """The verdict; strands with all their reasons."""
    if v.verdict != "stranded":
        return VERDICTS[v.verdict]
    reasons = dict.fromkeys(e.decision.reason for e in v.endings)
    return f"stranded ({', '.join(reasons)})"


def details(v: StateVerdict) -> Iterator[str]:
    """What a row cannot hold: why, each way to fare with an example, and who needs a history."""
    if not v.reachable:
        yield "no history leads here"
    if len(v.endings) == 1:
        only = v.endings[0].decision
        if only.outcome == "strand" and only.detail:
            yield only.detail
        elif only.outcome == "stay":
            yield "not eligible" if only.reason == "not_eligible" else "declared by the target"
    else:
        yield from (ending_text(e) for e in v.endings[:MAX_ENDINGS])
        if v.endings[MAX_ENDINGS:]:
            yield f"and {len(v.endings) - MAX_ENDINGS:,} more ways; --format json has all"
    alone = v.without_history
    if v.needs_history and alone is not None:
        yield f"without a history: {fate_text(alone)}"


def ending_text(e: Ending) -> str:
    """One way to fare, after an example of a history that ends so."""
    said = fate_text(e.decision)
    if e.context:
        said = f"if {condition_text(e)}: {said}"
    return said if e.example is None else f"{said}; after {example_text(e.example)}"


def condition_text(e: Ending) -> str:
    said = (f"the context {'fits' if fits else 'does not fit'} {name}" for name, fits in e.context)
    return " and ".join(said)


def fate_text(d: Decision) -> str:
    by = f" ({d.rule})" if d.rule else ""
    if d.outcome == "migrate":
        return f"goes to {words.place_text(d.target)}{by}"
    if d.outcome == "stay":
        return "stays, not eligible" if d.reason == "not_eligible" else f"stays{by}"
    return f"strands ({d.reason}): {d.detail}" if d.detail else f"strands ({d.reason})"


def leaf_rows(s: SourceDiff) -> list[tuple[str, str, str]]:
    """The states grouped by active leaf: (leaf, number of states, counts of verdicts)."""
    found: dict[str, dict[str, int]] = {}
    for v in s.states:
        for leaf in v.leaves:
            counts = found.setdefault(leaf, {})
            counts[verdict_text(v)] = counts.get(verdict_text(v), 0) + 1
    return [
        (leaf, f"{sum(counts.values()):,}", ", ".join(f"{n:,} {verdict}" for verdict, n in counts.items()))
        for leaf, counts in found.items()
    ]


def hazards_of(s: SourceDiff) -> Iterator[tuple[str, list[tuple[Hazard, list[str]]]]]:
    """Hazards with the states they come from: first those that nobody accepted, then those that inform."""
    found: dict[Hazard, list[str]] = {}
    for v in s.states:
        for hazard in v.hazards:
            found.setdefault(hazard, []).append(words.place_text(v.source))
    for title, findings in (("hazards that nobody has accepted yet", True), ("notices", False)):
        some = [(h, states) for h, states in found.items() if h.is_finding is findings]
        if some:
            yield title, some


def states_text(states: Sequence[str], show: Callable[[str], str]) -> str:
    few = ", ".join(map(show, states[:5]))
    return f"{few} and {len(states) - 5:,} more states" if states[5:] else few


def change_text(c: Change, show: Callable[[str], str]) -> tuple[str, str]:
    """A sign (`+`, `-`, `~`) and a change in words; `show` presents user text."""
    state = show(c.state) if c.state else "the machine"
    on, before, after = show(c.on), show(c.before), show(c.after)
    said = {
        "state_added": ("+", f"state {state} ({after})"),
        "state_removed": ("-", f"state {state} ({before})"),
        "state_renamed": ("~", f"state {state} is now {after}"),
        "state_moved": ("~", f"state {state}: its actors are placed in {after}"),
        "kind_changed": ("~", f"state {state}: {before} became {after}"),
        "region_added": ("+", f"region {state}"),
        "region_removed": ("-", f"region {state}"),
        "initial_changed": ("~", f"{state} starts in {after} instead of {before}"),
        "history_changed": ("~", f"history {state}: {before} became {after}"),
        "transition_added": ("+", f"{state} on {on} -> {after}"),
        "transition_removed": ("-", f"{state} on {on} -> {before}"),
        "transition_retargeted": ("~", f"{state} on {on} -> {after} instead of {before}"),
        "guard_changed": ("~", f"{state} on {on}: guard {after} instead of {before}"),
        "order_changed": ("~", f"{state} on {on}: tried as {after} instead of {before}"),
        "timer_added": ("+", f"timer {after} in {state}"),
        "timer_removed": ("-", f"timer {before} in {state}"),
        "timer_changed": ("~", f"timer in {state}: {after} instead of {before}"),
        "invoke_added": ("+", f"invoke {after} in {state}"),
        "invoke_removed": ("-", f"invoke {before} in {state}"),
        "invoke_changed": ("~", f"invoke in {state}: {after} instead of {before}"),
        "event_new": ("+", f"event {after}"),
        "event_retired": ("-", f"event {before}: nothing listens to it any more"),
        "event_renamed": ("~", f"event {before} is now {after}"),
        "guard_new": ("+", f"guard {after}"),
        "guard_dropped": ("-", f"guard {before}"),
        "guard_renamed": ("~", f"guard {before} is now {after}"),
        "guard_redefined": ("~", f"guard {before} means something else now"),
        "context_schema_changed": ("~", f"contextSchema: {after} instead of {before}"),
    }
    return said[c.kind]


# --- Markdown --------------------------------------------------------------------------------------------


def markdown(d: Diff, frame: Frame) -> str:
    """The same for a pull-request comment; fewer states and changes where it would be too long."""
    found = ""
    for most in (MAX_STATES, 20, 5, 0):
        found = "\n\n".join(part for s in d.sources for part in _sections(d, s, most)) + "\n"
        if len(found) <= LIMIT:
            break
    return found


def _sections(d: Diff, s: SourceDiff, most: int) -> Iterator[str]:
    yield f"### StateKeep diff: {_code(s.label)} → {_code(d.target)}"
    counts = [*((VERDICTS[v], n) for v, n in s.counts().items()), ("states", len(s.states))]
    yield "\n".join(
        (
            "| " + " | ".join(name for name, _ in counts) + " |",
            "|" + "---:|" * len(counts),
            "| " + " | ".join(f"{n:,}" for _, n in counts) + " |",
        )
    )
    if s.bound:
        yield bound_text(s.bound)
    if len(s.states) <= MAX_STATES:
        yield _table(s, most)
    else:
        yield _leaves(s, most)
    for title, found in hazards_of(s):
        items = [f"- {hazard_text(h, _code)}; from {states_text(x, _code)}" for h, x in found[:most]]
        if found[most:]:
            items.append(f"- and {len(found) - most:,} more")
        yield f"**{title}**\n\n" + "\n".join(items)
    changes = [change_text(c, _code) for c in s.changes]
    lines = [f"- `{sign}` {said}" for sign, said in changes[: 3 * most]]
    if changes[3 * most :]:
        lines.append(f"- and {len(changes) - 3 * most:,} more")
    yield "**What changed**\n\n" + "\n".join(lines) if lines else "Nothing changed in the structure."


def _table(s: SourceDiff, most: int) -> str:
    lines = [f"| {' | '.join((*HEAD, ''))} |", "|---|---|---|---|---|"]
    for v in s.states[:most]:
        cells = [*map(_cell, row_of(v)), "<br>".join(_cell(x) for x in details(v))]
        lines.append(f"| {' | '.join(cells)} |")
    if s.states[most:]:
        lines += ["", f"{len(s.states) - most:,} more states are left out here."]
    return "\n".join(lines)


def _leaves(s: SourceDiff, most: int) -> str:
    grouped = leaf_rows(s)
    lines = ["| active | states | verdicts |", "|---|---:|---|"]
    lines += [f"| {_cell(leaf)} | {n} | {verdicts} |" for leaf, n, verdicts in grouped[:most]]
    if grouped[most:]:
        lines += ["", f"{len(grouped) - most:,} more are left out here."]
    return "\n".join(lines)


def _code(said: str) -> str:
    return code(said, WHOLE)


def _cell(said: str) -> str:
    return _code(said).replace("|", "\\|") if said else ""


# --- JSON ------------------------------------------------------------------------------------------------


def json(d: Diff, frame: Frame) -> str:
    """One object, a state and a change per line; ASCII only, so that it prints anywhere.

    `endings` are the ways in which actors of a state fare, `example` a shortest history for each (null where
    there is no need of one), `bound` is 0 where all histories were told apart.
    """
    head = {
        "formatVersion": FORMAT_VERSION,
        "definitions": [
            {"role": x.role, "id": x.id, "version": x.version, "digest": x.digest, "path": x.path}
            for x in frame.definitions
        ],
        "target": d.target,
        "hasChanges": d.has_changes,
        "notes": list(d.notes),
    }
    keys = [f' "{k}": {_json.dumps(v)}' for k, v in head.items()]
    sources = ",\n".join(_source(s) for s in d.sources)
    return "{\n" + ",\n".join((*keys, f' "sources": [\n{sources}\n ]')) + "\n}\n"


def _source(s: SourceDiff) -> str:
    head = {"label": s.label, "counts": s.counts(), "bound": s.bound}
    keys = [f'   "{k}": {_json.dumps(v)}' for k, v in head.items()]
    for name, rows in (("states", map(_state, s.states)), ("changes", map(_change, s.changes))):
        found = ",\n".join(f"    {_json.dumps(row)}" for row in rows)
        keys.append(f'   "{name}": [\n{found}\n   ]' if found else f'   "{name}": []')
    return "  {\n" + ",\n".join(keys) + "\n  }"


def _state(v: StateVerdict) -> dict[str, Any]:
    return {
        "from": v.source.as_json(),
        "leaves": list(v.leaves),
        "verdict": v.verdict,
        "reachable": v.reachable,
        "needsHistory": v.needs_history,
        "unchanged": v.unchanged,
        "endings": [
            {
                **_decision(e.decision),
                "example": None if e.example is None else list(e.example),
                "context": [{"schema": name, "fits": fits} for name, fits in e.context],
            }
            for e in v.endings
        ],
        "withoutHistory": None if v.without_history is None else _decision(v.without_history),
    }


def _decision(d: Decision) -> dict[str, Any]:
    whole = d.as_json()
    return {k: whole[k] for k in ("outcome", "reason", "rule", "detail", "to", "landings", "hazards")}


def _change(c: Change) -> dict[str, Any]:
    return {"kind": c.kind, "state": c.state, "on": c.on, "before": c.before, "after": c.after}
