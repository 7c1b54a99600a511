"""Actors that need rescue, as text and as JSON: groups, pages, one of them, and a manual decision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from statekeep_cli.core.decision import Decision, Hazard, Place
from statekeep_cli.core.report import FORMAT_VERSION
from statekeep_cli.render import words
from statekeep_cli.render.explain import hazard_text
from statekeep_cli.render.tables import Table, item
from statekeep_cli.render.terminal import Paint, inert, shown, wrap

MAX_ROWS = 200  # rows of a preview that are shown
CELL = 200  # columns of one id

# What `--json` may be asked for.
GROUP_FIELDS = (
    "state", "reason", "count", "definition", "version", "details", "rules", "landings", "runs", "targets",
    "sample",
)  # fmt: skip
ACTOR_FIELDS = (
    "id", "state", "reason", "definition", "version", "detail", "rule", "landings", "run", "target", "at",
)  # fmt: skip


# --- values ------------------------------------------------------------------------------------------------


def group_json(g: Any) -> dict[str, Any]:
    """A `stores.rescue.Group` as plain values, with the keys of `GROUP_FIELDS`."""
    known = [e for e, _ in g.evidence if e is not None]
    return {
        "state": json.loads(g.state),
        "reason": g.reason,
        "count": g.count,
        "definition": g.definition,
        "version": g.version,
        "details": g.details,
        "rules": list(dict.fromkeys(e.decision.rule for e in known if e.decision.rule)),
        "landings": [x.as_json() for x in g.landings],
        "runs": sorted({e.run.run for e in known}),
        "targets": list(dict.fromkeys(e.target for e in known)),
        "sample": g.sample,
    }


def actor_json(x: Any) -> dict[str, Any]:
    """A `stores.rescue.Rescued` as plain values, with the keys of `ACTOR_FIELDS`."""
    e = x.evidence
    return {
        "id": x.id,
        "state": json.loads(x.state),
        "reason": x.reason,
        "definition": x.definition,
        "version": x.version,
        "detail": None if e is None else e.decision.detail,
        "rule": None if e is None else e.decision.rule or None,
        "landings": [] if e is None else [landing.as_json() for landing in e.decision.landings],
        "run": None if e is None else e.run.run,
        "target": None if e is None else e.target,
        "at": None if e is None else e.at,
    }


def lines_of(objects: Sequence[dict[str, Any]]) -> str:
    """A JSON array, an object per line; ASCII only, so that it prints anywhere."""
    return "[" + ",\n ".join(json.dumps(x) for x in objects) + "]\n"


def whole(kind: str, objects: Sequence[dict[str, Any]]) -> str:
    """`--format json`: the objects with the format's version."""
    return f'{{"formatVersion": {FORMAT_VERSION},\n "{kind}": {lines_of(objects).rstrip()}}}\n'


# --- lists -------------------------------------------------------------------------------------------------


def groups_text(groups: Sequence[Any], place: str, next_command: str, width: int, color: bool) -> str:
    """Grouped by state value and reason, the largest first, each with its details and landings."""
    paint, total = Paint(color), sum(g.count for g in groups)
    if not groups:
        return f"no actor needs rescue in {inert(place)}\n"
    lines = wrap(f"{_needs(total)} in {inert(place)}, grouped by state value", width)
    head = ["actors", "state", "version", "reason", "since"]
    rows = [[f"{g.count:,}", inert(words.state_text(g.state)), _version(g), inert(g.reason or "-"), _since(g)]
            for g in groups]  # fmt: skip
    table = Table.fit([head, *rows], width)
    lines += [paint(line, "bold") for line in table.lines(head)]
    for g, row in zip(groups, rows, strict=True):
        lines += table.lines(row)
        for said in _group_notes(g):
            lines += wrap(inert(said), width, "     - ", "       ")
    return "\n".join(lines) + "\n" + _next(next_command, paint)


def page_text(found: Sequence[Any], more: str, next_command: str, width: int, color: bool) -> str:
    """One page of actors by id; `more` is the command for the next page, "" on the last."""
    paint = Paint(color)
    if not found:
        return "no actor needs rescue (or none that these filters take)\n"
    head = ["actor", "state", "version", "reason", "run"]
    rows = [
        [shown(x.id, CELL), inert(words.state_text(x.state)), _version(x), inert(x.reason or "-"),
         str(x.evidence.run.run) if x.evidence else "-"]
        for x in found
    ]  # fmt: skip
    table = Table.fit([head, *rows], width)
    lines = [paint(line, "bold") for line in table.lines(head)]
    for row in rows:
        lines += table.lines(row)
    return "\n".join(lines) + "\n" + _next(more or next_command, paint)


def _needs(n: int) -> str:
    return f"{words.actors(n)} need{'s' if n == 1 else ''} rescue"


def _version(x: Any) -> str:
    return inert(f"{x.definition}@{x.version}" if x.definition else str(x.version))


def _since(g: Any) -> str:
    found = {e.run.run: e for e, _ in g.evidence if e is not None}
    return ", ".join(f"run {run} ({inert(found[run].target)})" for run in sorted(found)) or "-"


def _group_notes(g: Any) -> Iterator[str]:
    known = [(e, n) for e, n in g.evidence if e is not None]
    for e, n in known:
        part = f" ({n:,} of them)" if len(known) > 1 else ""
        said = e.decision.detail or words.MEANINGS.get(e.decision.reason, "")
        if said:
            yield f"{said}{part}"
    if g.landings:
        landings = " or ".join(words.landing_text(x.state, x.stuck) for x in g.landings)
        yield f"their histories land in {landings}"
    if not known:
        yield "no recorded decision is about them"


def _next(command: str, paint: Paint) -> str:
    return f"{paint('next: ', 'bold')}{inert(command)}\n" if command else ""


# --- one actor ---------------------------------------------------------------------------------------------


def head_text(id: str, row: Any, rescued: Any, width: int, color: bool) -> str:
    """How an actor stands, and the evidence of the decision that stranded it."""
    paint = Paint(color)
    label = f"{row.definition}@{row.version}" if row.definition else f"version {row.version}"
    where = f"{label} in {words.state_text(row.state)}"
    if rescued is None:
        return (
            "\n".join(wrap(f"{inert(id)} does not need rescue: {inert(row.status)}, {inert(where)}", width))
            + "\n"
        )
    e = rescued.evidence
    title = f"{id} needs rescue ({rescued.reason or 'no reason given'}): {where}"
    lines = [paint(line, "bold") for line in wrap(inert(title), width)]
    if e is None:
        return "\n".join([*lines, *wrap("no recorded decision is about it", width)]) + "\n"
    user = f" by {e.run.os_user}" if e.run.os_user else ""
    since = f"since run {e.run.run} ({e.run.kind} of {e.target}), {e.at}{user}"
    lines += wrap(inert(since), width)
    for said in _evidence(e.decision):
        lines += item(inert(said), width)
    return "\n".join(lines) + "\n"


def _evidence(d: Decision) -> Iterator[str]:
    why = d.detail or words.MEANINGS.get(d.reason, "")
    yield f"{d.reason}: {why}" if why else d.reason
    if d.rule:
        yield f"rule: {d.rule}"
    if d.landings:
        yield "its history lands in " + " or ".join(words.landing_text(x.state, x.stuck) for x in d.landings)
    if d.anchors:
        yield f"anchors that held: {', '.join(d.anchors)}"
    for hazard in d.hazards:
        yield hazard_text(hazard, str)


def missing_text(missing: str, width: int) -> str:
    """Why there is no timeline."""
    said = f"no timeline: {missing}"
    return "\n".join(wrap(inert(said), width)) + "\n"


def next_text(commands: Sequence[str], width: int, color: bool) -> str:
    """The commands that may follow, one per line, not wrapped: they are there to be copied."""
    paint = Paint(color)
    return "".join(f"{paint('next: ', 'bold')}{inert(command)}\n" for command in commands)


# --- a manual decision -------------------------------------------------------------------------------------


def resolve_text(
    checked: Sequence[tuple[str, Place, tuple[Hazard, ...]]], to: Place, why: str, width: int, color: bool
) -> str:
    """What is about to be written: (actor, from, hazards) each, all to one state."""
    paint = Paint(color)
    there = inert(f"{words.state_text(to.state)} ({words.label(to)})")
    head = ["actor", "from", "to"]
    rows = [[shown(id, CELL), inert(f"{words.state_text(p.state)} ({words.label(p)})"), there]
            for id, p, _ in checked[:MAX_ROWS]]  # fmt: skip
    table = Table.fit([head, *rows], width)
    lines = [paint(line, "bold") for line in table.lines(head)]
    for row in rows:
        lines += table.lines(row)
    left = len(checked) - len(rows)
    if left > 0:
        lines.append(f" and {left:,} more")
    lines += [line for said in _hazards(checked) for line in wrap(said, width, "hazard: ", "  ")]
    lines += wrap(inert(f"reason: {why}"), width)
    return "\n".join(lines) + "\n"


def _hazards(checked: Sequence[tuple[str, Place, tuple[Hazard, ...]]]) -> Iterator[str]:
    """Each hazard once, with its states: whoever decides by hand is to know them, and accepts them."""
    found: dict[tuple[str, str, str | None], dict[str, int]] = {}
    for _, _, hazards in checked:
        for h in hazards:
            places = found.setdefault((h.hazard, h.detail, h.accepted), {})
            places[h.state] = places.get(h.state, 0) + 1
    for (name, detail, accepted), places in found.items():
        n = max(places.values())
        at = f" at {', '.join(map(inert, places))}" if any(places) else ""
        said = inert(detail) if detail else words.HAZARD_MEANINGS.get(name, "")
        said = said if accepted is None else f"accepted, {inert(accepted)}"
        yield f"{words.actors(n)}, {name}{at}: {said}"
