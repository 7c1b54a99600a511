"""Where the actors go: old states at the left, new states and `needs_rescue` at the right, width by count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from statekeep_cli.core.charts import Chart, Flow, Pair
from statekeep_cli.render import words
from statekeep_cli.render.html_text import compact, esc, fitted

RESCUE = "needs_rescue"
UNKNOWN = "(unknown state)"
MOST = 16  # states drawn per side; smaller ones are taken together
BAR, TALL, SLOT, BETWEEN = 10.0, 300.0, 17.0, 9.0
CELL = 6.9  # pixels per cell of the labels' font


@dataclass(slots=True)
class _End:
    """One state at one side: its label, its count, and where it is drawn."""

    label: str
    kind: str
    rank: tuple[int, tuple[int, ...], str]
    short: str
    count: int = 0
    y: float = 0.0
    bar: float = 0.0
    top: float = 0.0
    used: float = 0.0


@dataclass(slots=True)
class _Ribbon:
    source: _End
    target: _End
    kind: str
    count: int = 0
    thick: float = 0.0


@dataclass(slots=True)
class _Picture:
    left: dict[str, _End] = field(default_factory=dict)
    right: dict[str, _End] = field(default_factory=dict)
    ribbons: dict[tuple[str, str, str], _Ribbon] = field(default_factory=dict)


def source_text(flow: Flow) -> str:
    return UNKNOWN if flow.source is None else words.state_text(flow.source)


def target_text(flow: Flow, pair: Pair) -> str:
    if flow.outcome == "strand":
        return RESCUE
    return f"stays on {pair.before.label}" if flow.target is None else words.state_text(flow.target)


def kind_of(flow: Flow) -> str:
    """`keep`, `move`, `strand` or `stay`."""
    if flow.outcome == "migrate":
        return "keep" if flow.source == flow.target else "move"
    return flow.outcome


def svg(pair: Pair, name: str, width: int) -> str:
    """The picture at a width in pixels; "" where nobody moves. `name` is a prefix for ids."""
    picture = _picture(pair)
    if not picture.ribbons:
        return ""
    total = sum(r.count for r in picture.ribbons.values())
    scale = TALL / total
    for ribbon in picture.ribbons.values():
        ribbon.thick = max(ribbon.count * scale, 1.2)
        ribbon.source.bar += ribbon.thick
        ribbon.target.bar += ribbon.thick
    left = sorted(picture.left.values(), key=lambda e: e.rank)
    right = sorted(picture.right.values(), key=lambda e: e.rank)
    height = max(_stack(left), _stack(right))
    for side in (left, right):  # the shorter side stands in the middle
        lower = (height - (side[-1].y + max(side[-1].bar, SLOT))) / 2
        for end in side:
            end.y += lower
            end.top = end.y + max(SLOT - end.bar, 0) / 2
    parts = [
        f'<svg class="flow" role="img" aria-labelledby="{name}-t {name}-d" '
        f'viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}">'
        f'<title id="{name}-t">Where {words.actors(total)} go</title>'
        f'<desc id="{name}-d">States of {esc(pair.before.label)} at the left, of {esc(pair.after.label)} and '
        f"{RESCUE} at the right. The same numbers are in the table below the picture.</desc>"
        f'<defs><pattern id="{name}-p" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect class="hatch0" width="6" height="6"/>'
        f'<rect class="hatch1" width="2.4" height="6"/></pattern></defs>'
    ]
    ribbons = sorted(picture.ribbons.values(), key=lambda r: (r.source.rank, r.target.rank))
    starts: dict[int, float] = {}
    for r in sorted(ribbons, key=lambda r: (r.target.rank, r.source.rank)):
        starts[id(r)] = r.target.used
        r.target.used += r.thick
    for r in ribbons:
        parts.append(_ribbon(r, r.source.top + r.source.used, r.target.top + starts[id(r)], width, name))
        r.source.used += r.thick
    room = width / 2 - BAR - 12
    for end in left:
        parts.append(_label(end, 0, BAR + 6, "", room))
    for end in right:
        parts.append(_label(end, width - BAR, width - BAR - 6, " end", room))
    return "".join((*parts, "</svg>"))


def _picture(pair: Pair) -> _Picture:
    sources = _named(pair, [source_text(f) for f in pair.flows], pair.flows)
    targets = _named(pair, [target_text(f, pair) for f in pair.flows], pair.flows)
    ranks = (_ranks(pair.before), _ranks(pair.after))
    picture = _Picture()
    for flow, source, target in zip(pair.flows, sources, targets, strict=True):
        kind = kind_of(flow)
        far = {"strand": 2, "stay": 1}.get(kind, 0)
        left = picture.left.setdefault(
            source, _End(source, "state", (0, _rank(source, ranks[0]), source), _short(flow.source, source))
        )
        right = picture.right.setdefault(
            target,
            _End(
                target,
                kind if far else "state",
                (far, _rank(target, ranks[1]), target),
                _short(flow.target, target),
            ),
        )
        ribbon = picture.ribbons.setdefault((source, target, kind), _Ribbon(left, right, kind))
        for counted in (left, right, ribbon):
            counted.count += flow.count
    return picture


def _named(pair: Pair, labels: list[str], flows: Sequence[Flow]) -> list[str]:
    """The labels, those of the smallest states replaced by one for all of them."""
    counts: dict[str, int] = {}
    for label, flow in zip(labels, flows, strict=True):
        counts[label] = counts.get(label, 0) + flow.count
    if len(counts) <= MOST:
        return labels
    special = {target_text(f, pair) for f in flows if f.outcome != "migrate"}
    kept = {*sorted(counts, key=lambda x: (x not in special, -counts[x], x))[: MOST - 1]}
    rest = f"{len(counts) - len(kept):,} smaller states"
    return [x if x in kept else rest for x in labels]


def _ranks(chart: Chart) -> dict[str, int]:
    return {box.name: i for i, box in enumerate(chart.boxes)}


def _rank(label: str, ranks: dict[str, int]) -> tuple[int, ...]:
    return tuple(ranks.get(leaf, len(ranks)) for leaf in label.split(" + "))


def _short(state: str | None, label: str) -> str:
    """A label's short form, unless it stands for several states."""
    return compact(state) if state is not None and words.state_text(state) == label else label


def _stack(ends: list[_End]) -> float:
    y = 2.0
    for end in ends:
        end.y = y
        y += max(end.bar, SLOT) + BETWEEN
    return y - BETWEEN + 4


def _ribbon(r: _Ribbon, y1: float, y2: float, width: int, name: str) -> str:
    x1, x2, thick = BAR, width - BAR, r.thick
    a, b = x1 + (x2 - x1) * 0.45, x1 + (x2 - x1) * 0.55
    d = (
        f"M{x1:.0f} {y1:.1f}C{a:.0f} {y1:.1f} {b:.0f} {y2:.1f} {x2:.0f} {y2:.1f}v{thick:.1f}"
        f"C{b:.0f} {y2 + thick:.1f} {a:.0f} {y1 + thick:.1f} {x1:.0f} {y1 + thick:.1f}z"
    )
    fill = f' fill="url(#{name}-p)"' if r.kind == "strand" else ""
    tip = f"{r.source.label} to {r.target.label}: {words.actors(r.count)}"
    return f'<path class="r {r.kind}" d="{d}"{fill}><title>{esc(tip, 400)}</title></path>'


def _label(end: _End, bar_x: float, x: float, anchor: str, room: float) -> str:
    count = f"{end.count:,}"
    name = fitted(end.short, room - len(count) * 7 - 10, CELL)
    y = end.y + max(end.bar, SLOT) / 2 + 4.5
    return (
        f'<rect class="end {end.kind}" x="{bar_x:.0f}" y="{end.top:.1f}" width="{BAR:.0f}" '
        f'height="{end.bar:.1f}" rx="2"/><text class="lab{anchor}" x="{x:.0f}" y="{y:.1f}">'
        f"<title>{esc(end.label, 400)}</title>{name} <tspan>{count}</tspan></text>"
    )


def rows(pair: Pair) -> Iterator[tuple[str, str, int, str]]:
    """The same as a table: from, to, actors, and what becomes of them; the largest first."""
    said = {"keep": "keeps its state", "move": "moves", "strand": "needs rescue", "stay": "stays"}
    for flow in sorted(pair.flows, key=lambda f: (-f.count, source_text(f))):
        yield source_text(flow), target_text(flow, pair), flow.count, said[kind_of(flow)]
