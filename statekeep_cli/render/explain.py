"""An explanation as text, Markdown or JSON: the decision, the timeline, and what the decision rests on."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.explain import AnchorFact, Carried, Explanation, Shown
from statekeep_cli.core.report import FORMAT_VERSION, DefinitionRef
from statekeep_cli.core.timeline import Beside, Moment, Standing
from statekeep_cli.render import words
from statekeep_cli.render.markdown import code, fenced
from statekeep_cli.render.tables import Table, item
from statekeep_cli.render.terminal import Paint, inert, wrap

WHOLE = 1 << 30  # a limit for user text: none of it is cut
MAX_SIDES = 8  # positions shown beside one step
MAX_EXAMPLE = 16  # events of an example history
NARROW = 60  # columns below which times stand under their event
LEGEND = {
    "*": "the state is recorded in the log",
    "~": "erased: part of a loop, and policy.loops: erase counts no loops",
    ".": "settled by a later anchor point",
    "?": "not explained by the source definition",
}
NOT_ACCEPTED = "; nobody has accepted it yet"
MARKS = {"kept": "", "erased": "~", "settled": "."}


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known besides the explanation. `as_json`: the file that lines are pasted into is JSON."""

    definitions: Sequence[DefinitionRef]
    as_json: bool = False
    next_command: str = ""

    @property
    def target(self) -> str:
        return words.definition_label(self.definitions[-1])

    def source(self, lane: int | None) -> str:
        """The actor's source definition, or all of them where it is of none."""
        sources = [words.definition_label(d) for d in self.definitions[:-1]]
        return ", ".join(sources) if lane is None else sources[lane]


def text(e: Explanation, frame: Frame, width: int = 80, color: bool = False) -> str:
    """The decision, the timeline, landings, anchors, placement, hazards, and what would help, for a person.
    No line but those to copy is wider than `width` (at least 40)."""
    page = _Page(e, frame, max(width, 40), Paint(color))
    sections = [
        page.head(),
        page.timeline(),
        page.landings(),
        page.placement(),
        page.anchors(),
        page.hazards(),
        page.notes(),
        page.remedy(),
        page.next(),
    ]
    return "\n\n".join("\n".join(lines) for s in sections if (lines := list(s))) + "\n"


class _Page:
    def __init__(self, e: Explanation, frame: Frame, width: int, paint: Paint):
        self.e, self.frame, self.width, self.paint = e, frame, width, paint
        self.labelled = several_versions(e)

    def head(self) -> Iterator[str]:
        e = self.e
        title = f"{e.actor}: {self.frame.source(e.lane)} -> {self.frame.target}"
        yield from (self.paint(line, "bold") for line in self.wrapped(title))
        style = {"migrate": "green", "strand": "red", "stay": "cyan", "skip": "dim"}[e.decision.outcome]
        yield from (self.paint(line, style) for line in self.wrapped(e.sentence))

    # --- the timeline ---

    def timeline(self) -> Iterator[str]:
        e = self.e
        if not e.timeline:
            if e.trace == "none":
                yield from self.wrapped("It has no history; every path of the source was followed instead.")
            elif e.gap and e.gap not in e.sentence:
                yield from self.wrapped(e.gap)
            return
        with_times = any(m.at for m in e.timeline)
        narrow = self.width < NARROW
        head = ["#", *(["time"] if with_times and not narrow else []), "event"]
        routed = any(m.sides for m in e.timeline)
        if routed:
            source = "source" if self.labelled else self.frame.source(e.lane)
            head += [inert(source), inert(self.frame.target)]
        rows = [(m, self.rows(m, with_times, narrow, routed)) for m in e.timeline]
        table = Table.fit([head, *(row for _, found in rows for row in found)], self.width)
        yield from (self.paint(line, "bold") for line in table.lines(head))
        marks = ""
        before: Moment | None = None
        for m, found in rows:
            for row in found:
                yield from table.lines(row)
            indent = " " * (table.sizes[0] + 3)
            for note in remarks(m, before, e, self.frame.target):
                yield from wrap(inert(note), self.width, f"{indent}- ", f"{indent}  ")
            marks += MARKS[m.way] + ("*" if is_recorded(m) else "") + ("" if m.explained else "?")
            before = m if m.way == "kept" else before
        for mark in LEGEND:
            if mark in marks:
                yield from wrap(LEGEND[mark], self.width, f" {mark} ")
        if e.gap and e.gap not in e.sentence:
            yield from self.wrapped(e.gap)

    def rows(self, m: Moment, with_times: bool, narrow: bool, routed: bool) -> list[list[str]]:
        number = f"{m.number}{MARKS[m.way]}{'' if m.explained else '?'}"
        event = inert(event_text(m))
        if narrow and m.at:
            event = f"{event} {inert(m.at)}"
        first = [number, *([inert(m.at)] if with_times and not narrow else []), event]
        if not routed:
            return [first]
        sides = side_rows(m, self.labelled)
        blank = [""] * len(first)
        return [[*(blank if i else first), *map(inert, pair)] for i, pair in enumerate(sides)]

    # --- the rest ---

    def landings(self) -> Iterator[str]:
        if not self.e.landings:
            return
        alone = self.e.trace == "none"
        yield self.paint("landings, each with a shortest history" if alone else "landings", "bold")
        for x in self.e.landings:
            yield from self.item(inert(landing_text(x)))

    def placement(self) -> Iterator[str]:
        if self.e.placement:
            yield self.paint("placement", "bold")
        for c in self.e.placement:
            yield from self.item(inert(placement_text(c)))

    def anchors(self) -> Iterator[str]:
        if self.e.anchors:
            yield self.paint("anchors", "bold")
        for a in self.e.anchors:
            yield from self.item(inert(f"{a.name}: {anchor_text(a)}"))

    def hazards(self) -> Iterator[str]:
        if self.e.decision.hazards:
            yield self.paint("hazards", "bold")
        for h in self.e.decision.hazards:
            yield from self.item(hazard_text(h, inert) + (NOT_ACCEPTED if h.is_finding else ""))

    def notes(self) -> Iterator[str]:
        for note in self.e.notes:
            yield from wrap(inert(note), self.width, "note: ", "  ")

    def remedy(self) -> Iterator[str]:
        r = self.e.remedy
        if r is None:
            return
        if not r.lines:
            yield from self.wrapped(f"what is missing: {r.words}")
            return
        to = f" in {words.place_text(r.to)}" if r.to is not None else ""
        yield from self.wrapped(f"to place it{to}, paste into the definition {self.frame.target}:")
        for line in pasted(self.e, self.frame):
            yield self.paint(inert(line), "cyan")
        yield from self.wrapped(r.words)

    def next(self) -> Iterator[str]:
        if self.frame.next_command:
            yield self.paint("next: ", "bold") + inert(self.frame.next_command)

    def wrapped(self, said: str) -> list[str]:
        return wrap(inert(said), self.width)

    def item(self, said: str) -> list[str]:
        return item(said, self.width)


# --- words -----------------------------------------------------------------------------------------------


def several_versions(e: Explanation) -> bool:
    """Did the actor run on more than one source definition?"""
    return len({words.label(s.source) for m in e.timeline for s in m.sides}) > 1


def event_text(m: Moment) -> str:
    """What happened; in parentheses where it is no event that the log names."""
    if m.kind == "event":
        return m.event if m.event is not None else f"({' or '.join(m.inferred) or 'some event'})"
    return {"manual": "(set by hand)"}.get(m.kind, f"({m.kind})")


def is_recorded(m: Moment) -> bool:
    return m.kind == "event" and bool(m.recorded)


def side_rows(m: Moment, labelled: bool) -> list[tuple[str, str]]:
    """Source and target beside each other, one row per target position."""
    if not m.sides:
        return [(words.state_text(m.recorded) + " *" if is_recorded(m) else "", "")]
    found = []
    for side in m.sides:
        source = _source_text(side, labelled) + (" *" if is_recorded(m) else "")
        for standing in side.targets:
            found.append((source, standing_text(standing)))
            source = ""
    left = len(found) - MAX_SIDES
    return [*found[:MAX_SIDES], *([("", f"and {left:,} more")] if left > 0 else [])]


def _source_text(side: Beside, labelled: bool) -> str:
    state = words.place_text(side.source)
    return f"{state} ({words.label(side.source)})" if labelled else state


def standing_text(s: Standing) -> str:
    if s.state is None:
        return "(nowhere yet)"
    return words.state_text(s.state) + (f" (stuck at {s.stuck})" if s.stuck else "")


def remarks(m: Moment, before: Moment | None, e: Explanation, target: str) -> Iterator[str]:
    """What is remarkable about a step; `before` is the last one on the path before it."""
    if m.why:
        yield f"set by hand: {m.why}"
    if m.heard:
        yield f"{target} hears it as {m.heard}"
    if m.dropped:
        yield "the source takes no transition on it"
    if m.retired:
        yield f"{target} listens to it no more, so it was passed over there"
    stuck = [s for side in m.sides for s in side.targets if s.stuck]
    if m.refused and stuck:
        where = dict.fromkeys(words.state_text(s.state) for s in stuck if s.state is not None)
        yield f"refused: {target} in {' or '.join(where)} does not accept {stuck[0].stuck}"
    for name in m.cut:
        yield f"anchor point {name}: the path begins anew here"
    for name in m.began:
        yield f"anchor {name} holds from here on"
    for name in m.ended:
        yield f"anchor {name} holds no longer"
    if e.parted is not None and m.number == e.parted and m.sides:
        yield "source and target part here"
    elif before is not None and before.apart and m.way == "kept" and not m.apart and m.sides and not m.cut:
        yield "source and target are together again"


def landing_text(x: Shown) -> str:
    landing = words.landing_text(x.landing.state, x.landing.stuck)
    return landing if x.example is None else f"{landing}, by {example_text(x.example)}"


def example_text(events: Sequence[str]) -> str:
    """A history in a line; a long one without its middle, which is said."""
    if not events:
        return "an empty history"
    if len(events) <= MAX_EXAMPLE:
        return ", ".join(events)
    ends = MAX_EXAMPLE // 2
    left = len(events) - 2 * ends
    return ", ".join((*events[:ends], f"({left:,} more)", *events[-ends:]))


def placement_text(c: Carried) -> str:
    return f"{c.leaf} -> {' + '.join(c.to)}, by {c.how}"


def anchor_text(a: AnchorFact) -> str:
    if a.holds is None:
        return "unknown"
    if not a.holds:
        return "does not hold"
    return "holds" if not a.since else f"holds since step {a.since}"


def hazard_text(h: Hazard, show: Callable[[str], str]) -> str:
    said = words.HAZARD_MEANINGS.get(h.hazard, "")
    if h.detail:
        said = f"{show(h.detail)}: {said}" if said else show(h.detail)
    if h.accepted is not None:
        said = f"accepted, {show(h.accepted)}"
    return f"{h.hazard}{f' at {show(h.state)}' if h.state else ''}: {said}"


def pasted(e: Explanation, frame: Frame) -> list[str]:
    """The remedy's lines in the notation of the file they go into."""
    if e.remedy is None or not e.remedy.lines:
        return []
    if not frame.as_json:
        return e.remedy.lines.split("\n")
    return _json.dumps(_json.loads(e.remedy.block), indent=2, ensure_ascii=False).splitlines()[1:-1]


# --- Markdown --------------------------------------------------------------------------------------------


def markdown(e: Explanation, frame: Frame, show_ids: bool = False) -> str:
    """The same for a pull-request comment; the id and the timeline only where asked for."""
    return "\n\n".join(_sections(e, frame, show_ids)) + "\n"


def _sections(e: Explanation, frame: Frame, show_ids: bool) -> Iterator[str]:
    who = code(e.actor, WHOLE) if show_ids else "one actor"
    yield f"### StateKeep explain: {who}, {code(frame.source(e.lane), WHOLE)} → {code(frame.target, WHOLE)}"
    yield f"**{e.decision.outcome}** {code(e.sentence, WHOLE)}"
    if e.timeline and show_ids:
        yield _timeline(e, frame)
    elif e.timeline:
        yield "The id and the timeline are left out; `--show-ids` puts them in."
    lists = {
        "Landings": [code(landing_text(x), WHOLE) for x in e.landings],
        "Placement": [code(placement_text(c), WHOLE) for c in e.placement],
        "Anchors": [f"{code(a.name, WHOLE)} {anchor_text(a)}" for a in e.anchors],
        "Hazards": [
            hazard_text(h, lambda t: code(t, WHOLE)) + (NOT_ACCEPTED if h.is_finding else "")
            for h in e.decision.hazards
        ],
        "Notes": [code(n, WHOLE) for n in e.notes],
    }
    for title, items in lists.items():
        if items:
            yield f"**{title}**\n\n" + "\n".join(f"- {item}" for item in items)
    if e.remedy is not None and e.remedy.lines:
        yield f"To paste into the target definition; {e.remedy.words}:"
        yield fenced("\n".join(pasted(e, frame)))
    elif e.remedy is not None:
        yield f"What is missing: {e.remedy.words}."


def _timeline(e: Explanation, frame: Frame) -> str:
    times = any(m.at for m in e.timeline)
    head = ["#", *(["time"] if times else []), "event", "source", "target", ""]
    lines = [f"| {' | '.join(head)} |", "|---:" + "|---" * (len(head) - 1) + "|"]
    before: Moment | None = None
    labelled = several_versions(e)
    for m in e.timeline:
        notes = [*remarks(m, before, e, frame.target)]
        if m.way != "kept":
            notes.append(m.way)
        if not m.explained:
            notes.append("not explained")
        before = m if m.way == "kept" else before
        for i, (source, target) in enumerate(side_rows(m, labelled)):
            first = [str(m.number), *([_cell(m.at)] if times else []), _cell(event_text(m))]
            start = first if i == 0 else [""] * len(first)
            said = "; ".join(notes) if i == 0 else ""
            lines.append(f"| {' | '.join((*start, _cell(source), _cell(target), _cell(said)))} |")
    if e.gap:
        lines += ["", code(e.gap, WHOLE)]
    return "\n".join(lines)


def _cell(said: str) -> str:
    return code(said, WHOLE).replace("|", "\\|") if said else ""


# --- JSON ------------------------------------------------------------------------------------------------


def json(e: Explanation, frame: Frame) -> str:
    """One object, a key per line and a step per line; ASCII only, so that it prints anywhere."""
    keys = as_json(e, frame)
    return "{\n" + ",\n".join(f' "{k}": {_lines(v)}' for k, v in keys.items()) + "\n}\n"


def _lines(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join("  " + _json.dumps(x) for x in value) + "\n ]"
    return _json.dumps(value)


def as_json(e: Explanation, frame: Frame) -> dict[str, Any]:
    """The explanation as plain values, in the product's words."""
    return {
        "formatVersion": FORMAT_VERSION,
        "definitions": [
            {"role": d.role, "id": d.id, "version": d.version, "digest": d.digest, "path": d.path}
            for d in frame.definitions
        ],
        "actor": e.actor,
        **e.decision.as_json(),
        "sentence": e.sentence,
        "trace": e.trace or None,
        "timeline": [_moment(m) for m in e.timeline],
        "path": [m.number for m in e.timeline if m.way == "kept" and m.number and m.explained and m.sides],
        "parted": e.parted,
        "gap": e.gap or None,
        "landings": [
            {**x.landing.as_json(), **({} if x.example is None else {"example": list(x.example)})}
            for x in e.landings
        ],
        "anchorFacts": [{"anchor": a.name, "holds": a.holds, "since": a.since} for a in e.anchors],
        "placement": [{"from": c.leaf, "by": c.how, "to": list(c.to)} for c in e.placement],
        "notes": list(e.notes),
        "suggestion": _remedy(e),
    }


def _moment(m: Moment) -> dict[str, Any]:
    return {
        "step": m.number,
        "kind": m.kind,
        "event": m.event,
        "at": m.at or None,
        "recorded": _json.loads(m.recorded) if m.recorded else None,
        "positions": [
            {
                "source": side.source.as_json(),
                "targets": [
                    {
                        "state": None if s.state is None else _json.loads(s.state),
                        "stuck": s.stuck or None,
                        "anchor": s.anchor or None,
                    }
                    for s in side.targets
                ],
            }
            for side in m.sides
        ],
        "inferred": list(m.inferred),
        "heardAs": m.heard or None,
        "dropped": m.dropped,
        "retired": m.retired,
        "refused": m.refused,
        "anchorPoints": list(m.cut),
        "began": list(m.began),
        "ended": list(m.ended),
        "path": m.way,
        "apart": m.apart,
        "explained": m.explained,
    }


def _remedy(e: Explanation) -> dict[str, Any] | None:
    r = e.remedy
    if r is None:
        return None
    return {
        "lines": r.lines or None,
        "block": _json.loads(r.block) if r.block else None,
        "to": None if r.to is None else r.to.as_json(),
        "words": r.words,
    }
