"""A statechart as SVG: nested boxes, regions parted by dashed lines, transitions beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from statekeep_cli.core.charts import Arrow, Box, Chart, Mark
from statekeep_cli.render.html_layout import GAP, HEAD, LINE, MONO, ROW, SANS, SMALL, Layout, Track
from statekeep_cli.render.html_text import esc, fitted
from statekeep_cli.render.terminal import cells, shown

SIGNS: dict[Mark, str] = {"": "", "added": "+", "removed": "\u2212", "changed": "~"}


def svg(chart: Chart, name: str, before: bool) -> tuple[str, float]:
    """The picture and its height in pixels; `name` is a prefix for ids, `before` whether its counts are those
    before the deployment."""
    drawing = _Drawing(chart, name, before)
    return drawing.svg(), drawing.plan.size[1]


class _Drawing:
    def __init__(self, chart: Chart, name: str, before: bool):
        self.boxes, self.name, self.label, self.before = chart.boxes, name, chart.label, before
        self.plan = Layout(chart.boxes)

    def svg(self) -> str:
        plan = self.plan
        wide, high = (_n(length) for length in plan.size)
        parts = [
            f'<svg class="chart" role="img" aria-labelledby="{self.name}-t {self.name}-d" '
            f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}">',
            f'<title id="{self.name}-t">{esc(self.label)}</title>',
            f'<desc id="{self.name}-d">{self._described()}</desc>',
            *(self._box(i) for i in range(len(self.boxes))),
        ]
        arrows = [*self._straights(), *self._routed(plan.right, 1), *self._routed(plan.left, -1)]
        parts += [path for _, path in sorted(arrows, key=lambda a: bool(a[0]))]
        return "".join((*parts, "</svg>"))

    def _described(self) -> str:
        arrows = [a for b in self.boxes for a in b.arrows]
        said = [f"{len(self.boxes) - 1:,} states and {len(arrows):,} transitions"]
        for mark in ("added", "removed", "changed"):
            names = [b.name or b.key for b in self.boxes if b.mark == mark]
            if names:
                more = f" and {len(names) - 12:,} more" if names[12:] else ""
                said.append(f"states {mark}: {', '.join(esc(n, 80) for n in names[:12])}{more}")
            count = sum(a.mark == mark for a in arrows)
            if count:
                said.append(f"transitions {mark}: {count:,}")
        when = "before" if self.before else "after"
        said.append(f"numbers are actors {when} the deployment")
        return "; ".join(said) + ". The same is in the table of states."

    def _box(self, i: int) -> str:
        box, x, y, wide = self.boxes[i], self.plan.x[i], self.plan.y[i], self.plan.wide(i)
        parts = [f'<g class="{self._classes(box)}"><title>{self._tip(box)}</title>']
        if box.kind == "history":
            parts.append(
                f'<rect class="b ghost" x="{_n(x)}" y="{_n(y)}" {_size(wide, self.plan.height[i])} rx="7"/>'
            )
            parts.append(f'<circle class="h" cx="{_n(x + 16)}" cy="{_n(y + HEAD / 2)}" r="9"/>')
            sign = "H*" if box.deep else "H"
            parts.append(f'<text class="hs" x="{_n(x + 16)}" y="{_n(y + HEAD / 2 + 4)}">{sign}</text>')
        else:
            parts.append(
                f'<rect class="b" x="{_n(x)}" y="{_n(y)}" {_size(wide, self.plan.height[i])} rx="7"/>'
            )
        if box.kind == "final":
            size = _size(wide - 6, self.plan.height[i] - 6)
            parts.append(f'<rect class="fin" x="{_n(x + 3)}" y="{_n(y + 3)}" {size} rx="5"/>')
        indent = 30.0 if box.kind == "history" else 10.0
        if box.parent >= 0 and self.boxes[box.parent].initial == i:
            parts.append(f'<circle class="dot" cx="{_n(x + 13)}" cy="{_n(y + HEAD / 2)}" r="4"/>')
            indent = 24.0
        right = x + wide - 9
        if box.count:
            text = f"{box.count:,}"
            chip = len(text) * 7.4 + 14
            parts.append(
                f'<rect class="chip" x="{_n(right - chip)}" y="{_n(y + 5)}" {_size(chip, 18)} rx="9"/>'
                f'<text class="n" x="{_n(right - chip / 2)}" y="{_n(y + 18)}">{text}</text>'
            )
            right -= chip + 6
        if box.mark:
            text = f"{SIGNS[box.mark]} {box.mark}"
            parts.append(f'<text class="tag" x="{_n(right)}" y="{_n(y + 18)}">{text}</text>')
            right -= len(text) * SMALL + 8
        name = fitted(box.key, right - x - indent, SANS)
        parts.append(f'<text class="name" x="{_n(x + indent)}" y="{_n(y + 18.5)}">{name}</text>')
        for k, (kind, text) in enumerate(self.plan.remarks[i]):
            at = y + HEAD + LINE * k + 9
            parts.append(
                f'<text class="{kind}" x="{_n(x + 10)}" y="{_n(at)}">{fitted(text, wide - 20, SMALL)}</text>'
            )
        for k, arrow in enumerate(box.arrows):
            parts.append(self._transition(i, box, arrow, y + self.plan.rows_from(i) + ROW * k))
        if box.kind == "parallel":
            for above in self.plan.order[i][:-1]:
                at = self.plan.y[above] + self.plan.height[above] + (GAP + 8) / 2
                parts.append(f'<path class="regions" d="M{_n(x)} {_n(at)}h{_n(wide)}"/>')
        return "".join((*parts, "</g>"))

    def _transition(self, i: int, box: Box, arrow: Arrow, y: float) -> str:
        x, wide = self.plan.x[i], self.plan.wide(i)
        what, where = self.plan.row(box, arrow)
        sign = f'<text class="sign" x="{_n(x + 10)}" y="{_n(y + 12)}">{SIGNS[arrow.mark]}</text>'
        room = wide - 40
        half = max(room * 0.42, room - cells(shown(what)) * MONO)
        to = fitted(where, half, MONO)
        left = room - min(half, cells(shown(where)) * MONO)
        tip = f"<title>{self._arrow_tip(arrow)}</title>"
        return (
            f'<g class="t{" " + arrow.mark if arrow.mark else ""}">{tip}{sign if arrow.mark else ""}'
            f'<text class="ev" x="{_n(x + 22)}" y="{_n(y + 12)}">{fitted(what, left, MONO)}</text>'
            f'<text class="to" x="{_n(x + wide - 9)}" y="{_n(y + 12)}">{to}</text></g>'
        )

    def _tip(self, box: Box) -> str:
        said = [f"{box.name or box.key} ({box.kind})"]
        said += [box.mark] if box.mark else []
        said += box.notes
        when = "before" if self.before else "after"
        said += [f"{box.count:,} actors {when} the deployment"] if box.count else []
        return esc("; ".join(said), 400)

    def _arrow_tip(self, arrow: Arrow) -> str:
        what = f"{arrow.event} [{arrow.guard}]" if arrow.guard else arrow.event
        where = " + ".join(self.boxes[t].name or self.label for t in arrow.targets) or "stays"
        more = f"; {arrow.mark}{', ' + arrow.note if arrow.note else ''}" if arrow.mark else ""
        return esc(f"{what}: {where}{more}", 400)

    @staticmethod
    def _classes(box: Box) -> str:
        return " ".join(("s", box.kind, *([box.mark] if box.mark else []), *(["live"] if box.count else [])))

    def _straights(self) -> Iterator[tuple[Mark, str]]:
        for here, below in sorted(self.plan.straight):
            marks = {a.mark for a in self.boxes[here].arrows if below in a.targets}
            y1, y2 = self.plan.y[here] + self.plan.height[here], self.plan.y[below]
            for k, mark in enumerate(sorted(marks)):
                x = self.plan.x[here] + 30 + 12 * k
                line = f'<path class="e" d="M{_n(x)} {_n(y1)}V{_n(y2 - 5)}"/>'
                head = f'<path class="a" d="M{_n(x - 4)} {_n(y2 - 7)}l4 6.5l4 -6.5z"/>'
                yield mark, f'<g class="edge {mark}">{line}{head}</g>'

    def _routed(self, tracks: Iterable[Track], side: int) -> Iterator[tuple[Mark, str]]:
        for track in tracks:
            end = self.plan.end(track.target) if side > 0 else self.plan.x[track.target]
            parts = []
            for x, y in track.ports:
                parts.append(f"M{_n(x)} {_n(y)}{self._bend(track.x, y, track.at, side)}H{_n(end + side * 6)}")
            head = f"M{_n(end + side * 7)} {_n(track.at - 4)}l{_n(-side * 6.5)} 4l{_n(side * 6.5)} 4z"
            yield (
                track.mark,
                f'<g class="edge {track.mark}"><path class="e" d="{"".join(parts)}"/>'
                f'<path class="a" d="{head}"/></g>',
            )

    @staticmethod
    def _bend(x: float, y: float, at: float, side: int) -> str:
        """Out to a lane, along it, and round again."""
        r = min(5.0, abs(at - y) / 2)
        down = 1 if at > y else -1
        return (
            f"H{_n(x - side * r)}Q{_n(x)} {_n(y)} {_n(x)} {_n(y + down * r)}"
            f"V{_n(at - down * r)}Q{_n(x)} {_n(at)} {_n(x - side * r)} {_n(at)}"
        )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _size(width: float, height: float) -> str:
    return f'width="{_n(width)}" height="{_n(height)}"'
