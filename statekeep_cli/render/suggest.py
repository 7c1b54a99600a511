"""A proposal as text, Markdown or JSON: lines to paste, what supports them, what is left to a person."""

from __future__ import annotations

import json as _json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.proposal import Entry, Proposal, Support, Unhelped
from statekeep_cli.core.report import FORMAT_VERSION
from statekeep_cli.render import suggest_words as say
from statekeep_cli.render import words
from statekeep_cli.render.markdown import code, fenced
from statekeep_cli.render.suggest_words import Frame
from statekeep_cli.render.terminal import Paint, inert, shown, wrap

MAX_GROUPS = 40
MAX_PLACES = 20
MAX_LANDINGS = 6
LIMIT = 65_000  # characters of Markdown

# --- for a person at a terminal ------------------------------------------------------------------------


def text(proposal: Proposal, frame: Frame, width: int = 80, color: bool = False) -> str:
    """The lines to paste first, at the left margin and unwrapped; the next command last."""
    page = _Page(proposal, frame, max(width, 40), Paint(color))
    sections = [
        page.title(),
        page.lines(),
        page.counts(),
        page.findings(),
        page.dropped(),
        *page.unhelped(),
        page.unreadable(),
        page.next(),
    ]
    return "\n\n".join("\n".join(lines) for s in sections if (lines := list(s))) + "\n"


class _Page:
    def __init__(self, proposal: Proposal, frame: Frame, width: int, paint: Paint):
        self.proposal = proposal
        self.frame = frame
        self.width = width
        self.paint = paint

    def bold(self, said: str) -> Iterator[str]:
        yield from (self.paint(line, "bold") for line in wrap(said, self.width))

    def item(self, said: str) -> list[str]:
        return wrap(said, self.width, "  ", "    ")

    def title(self) -> Iterator[str]:
        source, target = self.frame.title
        yield from self.bold(f"{shown(source)} -> {shown(target)}")

    def lines(self) -> Iterator[str]:
        if not self.proposal.entries:
            return
        yield from self.bold(f"{shown(say.where(self.frame))}:")
        yield from say.pasted(self.proposal, self.frame)
        if self.frame.as_json:  # JSON has no comments
            for s in self.proposal.entries:
                yield from self.item(f"{shown(say.entry_text(s.entry))}: {say.evidence(s)}")

    def counts(self) -> Iterator[str]:
        yield from wrap(say.confirmed(self.proposal), self.width)
        for name, count in say.changes(self.proposal):
            yield f"  {name:<7}  {count}"

    def findings(self) -> Iterator[str]:
        found = self.proposal.findings
        if not found:
            return
        yield from self.bold("hazards that this brings")
        for hazard, n in found:
            yield from self.item(words.hazard_text(hazard, n, shown))
        yield from self.item(f"once looked at, {shown(say.where(self.frame))}, with your reasons:")
        yield from words.accept_lines(h for h, _ in found)

    def dropped(self) -> Iterator[str]:
        if self.proposal.dropped:
            yield from self.bold("tried, and not proposed")
        for d in self.proposal.dropped:
            yield from self.item(shown(say.dropped_text(d), 400))

    def unhelped(self) -> Iterator[Iterable[str]]:
        groups = say.gathered(self.proposal.unhelped)
        if groups:
            yield self.bold("left for a person to decide")
        for group in groups[:MAX_GROUPS]:
            yield self.left(group)
        rest = groups[MAX_GROUPS:]
        if rest:
            count = words.actors(sum(map(say.total, rest)))
            yield wrap(f"{len(rest):,} more groups with {count}; --format json has all", self.width)

    def left(self, group: Sequence[Unhelped]) -> Iterator[str]:
        first = group[0]
        count = words.actors(say.total(group))
        if len(group) == 1:
            yield from wrap(f"{count} in {shown(say.place(first, self.frame))}: {first.reason}", self.width)
        else:
            yield f"{count}: {first.reason}"
            yield from self.counted(
                [(u.count, say.place(u, self.frame)) for u in group], MAX_PLACES, "states"
            )
        yield from self.item(f"why: {shown(say.why(first), 600)}")
        landings = say.landings(group)
        if landings:
            yield "  their histories land in"
            yield from self.counted(landings, MAX_LANDINGS, "places")
        yield from self.item(f"to decide: {say.decision_left(first)}")
        if any(u.erasable for u in group):
            yield from self.item(say.erased(group))

    def counted(self, rows: Sequence[tuple[int, str]], most: int, what: str) -> Iterator[str]:
        size = max(len(f"{n:,}") for n, _ in rows)
        for n, said in rows[:most]:
            yield from wrap(shown(said), self.width, f"    {n:>{size},}  ")
        if rows[most:]:
            yield f"    and {len(rows) - most:,} more {what}"

    def unreadable(self) -> Iterator[str]:
        if self.frame.unreadable:
            yield say.unreadable(self.frame)

    def next(self) -> Iterator[str]:
        if self.frame.next_command:
            # Copied, so never wrapped.
            yield self.paint("next: ", "bold") + inert(self.frame.next_command)


# --- for a pull-request comment ------------------------------------------------------------------------


def markdown(proposal: Proposal, frame: Frame) -> str:
    """The same as GitHub Markdown; user text stands in code spans and blocks."""
    source, target = frame.title
    parts = [f"### StateKeep suggest: {code(source)} → {code(target)}"]
    if proposal.entries:
        lines = fenced("\n".join(say.pasted(proposal, frame)))
        parts.append(f"What helps, {code(say.where(frame))}:")
        parts.append(lines.replace("yaml", "json", 1) if frame.as_json else lines)
        if frame.as_json:
            parts.append(
                "\n".join(f"- {code(say.entry_text(s.entry))}: {say.evidence(s)}" for s in proposal.entries)
            )
    said = say.confirmed(proposal)
    parts.append(f"{said[0].upper()}{said[1:]}.")
    parts.append("\n".join(f"- {name}: {count}" for name, count in say.changes(proposal)))
    if proposal.findings:
        rows = "\n".join(f"- {words.hazard_text(h, n, code)}" for h, n in proposal.findings)
        parts += ["**Hazards that this brings**", rows, "Once looked at, to paste too, with your reasons:"]
        parts.append(fenced("\n".join(words.accept_lines(h for h, _ in proposal.findings))))
    if proposal.dropped:
        rows = "\n".join(f"- {code(say.dropped_text(d), 400)}" for d in proposal.dropped)
        parts += ["**Tried, and not proposed**", rows]
    if proposal.unhelped:
        parts.append("**Left for a person to decide**")
        parts += _some(say.gathered(proposal.unhelped), LIMIT - len("\n\n".join(parts)) - 500, frame)
    if frame.unreadable:
        parts.append(f"{say.unreadable(frame)}.")
    return "\n\n".join(parts) + "\n"


def _some(groups: Sequence[Sequence[Unhelped]], room: int, frame: Frame) -> Iterator[str]:
    """As many groups as fit."""
    for i, group in enumerate(groups):
        said = "\n".join(_left(group, frame))
        room -= len(said) + 2
        if room < 0:
            count = words.actors(sum(map(say.total, groups[i:])))
            yield f"{len(groups) - i:,} more groups with {count} are left out here."
            return
        yield said


def _left(group: Sequence[Unhelped], frame: Frame) -> Iterator[str]:
    first = group[0]
    yield f"{words.actors(say.total(group))}: `{first.reason}`"
    yield ""
    for u in group[:MAX_PLACES]:
        yield f"- {u.count:,} in {code(say.place(u, frame))}"
    if group[MAX_PLACES:]:
        yield f"- and {len(group) - MAX_PLACES:,} more states"
    yield f"- why: {code(say.why(first), 600)}"
    found = say.landings(group)
    places = "; ".join(f"{n:,} in {code(place)}" for n, place in found[:MAX_LANDINGS])
    if found:
        more = f"; and {len(found) - MAX_LANDINGS:,} more places" if found[MAX_LANDINGS:] else ""
        yield f"- their histories land: {places}{more}"
    yield f"- to decide: {say.decision_left(first)}"
    if any(u.erasable for u in group):
        yield f"- {say.erased(group)}"


# --- for a machine -------------------------------------------------------------------------------------


def json(proposal: Proposal, frame: Frame) -> str:
    """One object: the block to add as `migration`, what supports each entry, and the rest; ASCII only."""
    whole = {
        "formatVersion": FORMAT_VERSION,
        "definitions": [
            {"role": d.role, "id": d.id, "version": d.version, "digest": d.digest, "path": d.path}
            for d in frame.definitions
        ],
        "migration": proposal.block,
        "entries": [_support(s) for s in proposal.entries],
        "before": _counts(proposal.before),
        "after": _counts(proposal.after),
        "findings": _hazards(proposal.findings),
        "dropped": [
            {"entry": _entry(d.entry), "why": d.why, "count": d.count, "reason": d.reason}
            for d in proposal.dropped
        ],
        "unhelped": [_unhelped(u) for u in proposal.unhelped],
        "unreadable": frame.unreadable,
    }
    return "{\n" + ",\n".join(f" {_json.dumps(k)}: {_lines(v)}" for k, v in whole.items()) + "\n}\n"


def _lines(value: Any) -> str:
    """A list with an item per line."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {_json.dumps(x)}" for x in value) + "\n ]"
    return _json.dumps(value)


def _counts(outcomes: Mapping[str, int]) -> dict[str, int]:
    names = {"wouldMigrate": "migrate", "wouldStrand": "strand", "wouldStay": "stay", "skipped": "skip"}
    return {name: outcomes[o] for name, o in names.items()}


def _entry(entry: Entry) -> dict[str, Any]:
    plain = {"kind": entry.kind, "from": entry.source, "to": _json.loads(entry.to)}
    return {**plain, "when": _json.loads(entry.when)} if entry.when else plain


def _support(s: Support) -> dict[str, Any]:
    return {
        **_entry(s.entry),
        "freed": s.freed,
        "histories": s.histories,
        "withoutHistory": s.without_history,
    }


def _hazards(found: Iterable[tuple[Hazard, int]]) -> list[dict[str, Any]]:
    return [{**hazard.as_json(), "count": n} for hazard, n in found]


def _unhelped(u: Unhelped) -> dict[str, Any]:
    return {
        "from": None if u.source is None else u.source.as_json(),
        "reason": u.reason,
        "detail": u.detail,
        "count": u.count,
        "withoutHistory": u.without_history,
        "movedByHand": u.by_hand,
        "landings": [{**landing.as_json(), "count": n} for landing, n in u.landings],
        "then": u.then,
        "freedByErase": u.erasable,
        "decide": say.decision_left(u),
    }
