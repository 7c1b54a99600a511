"""A statechart as SVG: nested boxes in one column, regions parted by dashed lines, transitions as tracks.

States stand below each other in the order in which they are reached. A transition to the next state is a
short arrow; every other one runs in a gutter, forward ones at the right and backward ones at the left, and
those with the same target share a track. So no line crosses a box it does not leave or enter, no label covers
another, and a chart of any size has the width of a phone or little more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from statekeep_cli.core.charts import Arrow, Box, Chart, Mark
from statekeep_cli.render.html_text import esc, fitted
from statekeep_cli.render.terminal import cells, shown

HEAD, ROW, LINE = 28, 17, 15  # heights: a box's title, a transition, a remark
INSET, GAP, ARROW_GAP = 10, 10, 24
NARROW, WIDE = 250, 400  # the column, without what nesting takes
MONO, SANS, SMALL = 6.65, 7.6, 6.0  # pixels per cell of the fonts in report.css
TRACK, TRACKS = 9.0, 240.0  # pixels between tracks, and for all of them
SIGNS: dict[Mark, str] = {"": "", "added": "+", "removed": "\u2212", "changed": "~"}


@dataclass(slots=True)
class _Track:
    """Transitions that share a vertical line: from rows at `ports` to a target."""

    target: int
    mark: Mark
    at: float
    ports: list[tuple[float, float]] = field(default_factory=list)  # x, y where a row leaves its box
    x: float = 0.0

    @property
    def span(self) -> tuple[float, float]:
        ys = [self.at, *(y for _, y in self.ports)]
        return min(ys), max(ys)


def svg(chart: Chart, name: str, before: bool) -> tuple[str, float]:
    """The picture and its height in pixels; `name` is a prefix for ids, `before` whether its counts are those
    before the deployment."""
    drawing = _Drawing(chart, name, before)
    return drawing.svg(), drawing.height[0]


class _Drawing:
    def __init__(self, chart: Chart, name: str, before: bool):
        self.boxes, self.name, self.label, self.before = chart.boxes, name, chart.label, before
        self.depth = [0] * len(self.boxes)
        for i, box in enumerate(self.boxes):
            if box.parent >= 0:
                self.depth[i] = self.depth[box.parent] + 1
        self.order = [self._ordered(i) for i in range(len(self.boxes))]
        self.width = self._width()
        self.remarks = [list(self._remarks(b)) for b in self.boxes]
        self.straight = self._straight()
        self.height = [0.0] * len(self.boxes)
        for i in range(len(self.boxes) - 1, -1, -1):
            self.height[i] = self._height(i)
        self.x = [0.0] * len(self.boxes)
        self.y = [0.0] * len(self.boxes)

    # order and sizes

    def _ordered(self, parent: int) -> list[int]:
        """Children as they are reached from the initial one (reverse postorder); regions as written."""
        box = self.boxes[parent]
        if box.kind == "parallel" or len(box.children) < 2:
            return list(box.children)
        after: dict[int, dict[int, None]] = {c: {} for c in box.children}
        for child in box.children:
            todo = [child]
            while todo:
                at = todo.pop()
                todo.extend(self.boxes[at].children)
                for arrow in self.boxes[at].arrows:
                    for target in arrow.targets:
                        sibling = self._under(target, parent)
                        if sibling is not None and sibling != child:
                            after[child][sibling] = None
        found: list[int] = []
        seen: set[int] = set()
        first = [box.initial] if box.initial in after else []
        for start in (*(c for c in reversed(box.children) if c not in first), *first):
            if start in seen or (start not in first and self._reached(start, first, after)):
                continue
            seen.add(start)
            stack = [(start, iter(sorted(after[start], reverse=True)))]
            while stack:
                at, rest = stack[-1]
                step = next((s for s in rest if s not in seen), None)
                if step is None:
                    found.append(at)
                    stack.pop()
                else:
                    seen.add(step)
                    stack.append((step, iter(sorted(after[step], reverse=True))))
        return found[::-1]

    @staticmethod
    def _reached(node: int, first: list[int], after: dict[int, dict[int, None]]) -> bool:
        seen, todo = set(first), list(first)
        while todo:
            for step in after[todo.pop()]:
                if step not in seen:
                    seen.add(step)
                    todo.append(step)
        return node in seen

    def _under(self, node: int, parent: int) -> int | None:
        """The child of `parent` that holds a node."""
        while node >= 0 and self.boxes[node].parent != parent:
            node = self.boxes[node].parent
        return node if node >= 0 else None

    def _width(self) -> float:
        need = 0.0
        for i, box in enumerate(self.boxes):
            rows = [self._row(box, a) for a in box.arrows]
            lines = [(cells(shown(a)) + cells(shown(b)) + 5) * MONO + 18 for a, b in rows]
            lines.append(cells(shown(box.key)) * SANS + 26 + len(f"{box.count:,}") * 8 + 60 * bool(box.mark))
            need = max(need, max(lines) + 2 * INSET * self.depth[i])
        deepest = max(self.depth)
        return max(NARROW, min(need, WIDE + 2 * INSET * max(deepest - 1, 0)))

    def _remarks(self, box: Box) -> Iterator[tuple[str, str]]:
        for note in box.notes:
            yield "note", f"~ {shown(note, 120)}"
        above = self.boxes[box.parent] if box.parent > 0 else None
        if box.stranded and (above is None or above.stranded < above.count):  # else it is said there
            which = "all strand" if box.stranded == box.count else f"{box.stranded:,} strand"
            yield "warn", f"\u25b2 {which}"
        if box.idle and box.parent >= 0:
            yield "dim", f"{box.idle:,} done, not moved"

    def _straight(self) -> set[tuple[int, int]]:
        """(state, next state) where a transition leads to what stands right below."""
        found = set()
        for parent, order in enumerate(self.order):
            if self.boxes[parent].kind != "parallel":
                for here, below in pairwise(order):
                    if any(below in a.targets for a in self.boxes[here].arrows):
                        found.add((here, below))
        return found

    def _height(self, i: int) -> float:
        box, order = self.boxes[i], self.order[i]
        total = float(HEAD + LINE * len(self.remarks[i]) + ROW * len(box.arrows))
        if box.arrows or self.remarks[i]:
            total += 5
        if order:
            total += sum(self.height[c] for c in order) + self._gaps(order) + INSET + 4
        return total

    def _gaps(self, order: list[int]) -> float:
        return sum(self._gap(a, b) for a, b in pairwise(order))

    def _gap(self, here: int, below: int) -> float:
        if (here, below) in self.straight:
            return ARROW_GAP
        return GAP + 8 if self.boxes[self.boxes[here].parent].kind == "parallel" else GAP

    # places

    def _place(self, left: float) -> None:
        self.x[0], self.y[0] = left, 1.0
        for i in range(len(self.boxes)):  # parents come first
            y = self.y[i] + self._rows_from(i) + ROW * len(self.boxes[i].arrows)
            y += 5 if self.boxes[i].arrows or self.remarks[i] else 0
            order = self.order[i]
            for k, child in enumerate(order):
                self.x[child], self.y[child] = self.x[i] + INSET, y
                y += self.height[child] + (self._gap(child, order[k + 1]) if k + 1 < len(order) else 0)

    def _rows_from(self, i: int) -> float:
        return HEAD + LINE * len(self.remarks[i])

    def _right(self, i: int) -> float:
        return self.x[i] + self._wide(i)

    def _wide(self, i: int) -> float:
        return self.width - 2 * INSET * self.depth[i]

    # tracks

    def _tracks(self) -> tuple[list[_Track], list[_Track]]:
        """Forward ones at the right, backward ones at the left."""
        right: dict[tuple[int, Mark], _Track] = {}
        left: dict[tuple[int, Mark], _Track] = {}
        for i, box in enumerate(self.boxes):
            for k, arrow in enumerate(box.arrows):
                y = self.y[i] + self._rows_from(i) + ROW * k + ROW / 2
                for target in arrow.targets:
                    if target == i or (i, target) in self.straight:
                        continue
                    forward = self.y[target] > self.y[i]
                    side = right if forward else left
                    key = (target, arrow.mark)
                    track = side.get(key)
                    if track is None:
                        twins = sum(t == target for t, _ in side)
                        at = self.y[target] + HEAD / 2 + (0, 6, -6, 3)[twins % 4]
                        track = side[key] = _Track(target, arrow.mark, at)
                    track.ports.append((self._right(i) if forward else self.x[i], y))
        return list(right.values()), list(left.values())

    @staticmethod
    def _spread(tracks: list[_Track]) -> int:
        """Give each track a lane, short ones inside; how many lanes there are."""
        lanes: list[list[tuple[float, float]]] = []
        for track in sorted(tracks, key=lambda t: (t.span[1] - t.span[0], t.span)):
            low, high = track.span
            lane = next(
                (k for k, taken in enumerate(lanes) if all(high + 4 < a or b + 4 < low for a, b in taken)),
                None,
            )
            if lane is None:
                lane = len(lanes)
                lanes.append([])
            lanes[lane].append((low, high))
            track.x = float(lane)
        return len(lanes)

    # drawing

    def svg(self) -> str:
        self._place(0.0)
        right, left = self._tracks()
        lanes_right, lanes_left = self._spread(right), self._spread(left)
        step_right, step_left = (min(TRACK, TRACKS / max(n, 1)) for n in (lanes_right, lanes_left))
        margin = 16 + lanes_left * step_left if lanes_left else 4
        end = margin + self.width
        total = end + (18 + lanes_right * step_right if lanes_right else 4)
        self._place(margin)
        right, left = self._tracks()
        self._spread(right)
        self._spread(left)
        for track in right:
            track.x = end + 12 + track.x * step_right
        for track in left:
            track.x = margin - 12 - track.x * step_left
        bottom = self.height[0] + 2
        parts = [
            f'<svg class="chart" role="img" aria-labelledby="{self.name}-t {self.name}-d" '
            f'viewBox="0 0 {_n(total)} {_n(bottom)}" width="{_n(total)}" height="{_n(bottom)}">',
            f'<title id="{self.name}-t">{esc(self.label)}</title>',
            f'<desc id="{self.name}-d">{self._described()}</desc>',
            *(self._box(i) for i in range(len(self.boxes))),
        ]
        arrows = [*self._straights(), *self._routed(right, 1), *self._routed(left, -1)]
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
        box, x, y, wide = self.boxes[i], self.x[i], self.y[i], self._wide(i)
        parts = [f'<g class="{self._classes(box)}"><title>{self._tip(box)}</title>']
        if box.kind == "history":
            parts.append(
                f'<rect class="b ghost" x="{_n(x)}" y="{_n(y)}" {_size(wide, self.height[i])} rx="7"/>'
            )
            parts.append(f'<circle class="h" cx="{_n(x + 16)}" cy="{_n(y + HEAD / 2)}" r="9"/>')
            sign = "H*" if box.deep else "H"
            parts.append(f'<text class="hs" x="{_n(x + 16)}" y="{_n(y + HEAD / 2 + 4)}">{sign}</text>')
        else:
            parts.append(f'<rect class="b" x="{_n(x)}" y="{_n(y)}" {_size(wide, self.height[i])} rx="7"/>')
        if box.kind == "final":
            size = _size(wide - 6, self.height[i] - 6)
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
        for k, (kind, text) in enumerate(self.remarks[i]):
            at = y + HEAD + LINE * k + 9
            parts.append(
                f'<text class="{kind}" x="{_n(x + 10)}" y="{_n(at)}">{fitted(text, wide - 20, SMALL)}</text>'
            )
        for k, arrow in enumerate(box.arrows):
            parts.append(self._transition(i, box, arrow, y + self._rows_from(i) + ROW * k))
        if box.kind == "parallel":
            for above in self.order[i][:-1]:
                at = self.y[above] + self.height[above] + (GAP + 8) / 2
                parts.append(f'<path class="regions" d="M{_n(x)} {_n(at)}h{_n(wide)}"/>')
        return "".join((*parts, "</g>"))

    def _transition(self, i: int, box: Box, arrow: Arrow, y: float) -> str:
        x, wide = self.x[i], self._wide(i)
        what, where = self._row(box, arrow)
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

    def _row(self, box: Box, arrow: Arrow) -> tuple[str, str]:
        """A transition's two ends in words: the event and its guard; where it leads."""
        what = f"{arrow.event} [{arrow.guard}]" if arrow.guard else arrow.event
        if not arrow.targets:
            return what, "stays"
        return what, "\u2192 " + " + ".join(self._called(box, self.boxes[t]) for t in arrow.targets)

    def _called(self, box: Box, target: Box) -> str:
        return target.key if target.parent == box.parent or target.parent < 0 else target.name

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
        for here, below in sorted(self.straight):
            marks = {a.mark for a in self.boxes[here].arrows if below in a.targets}
            y1, y2 = self.y[here] + self.height[here], self.y[below]
            for k, mark in enumerate(sorted(marks)):
                x = self.x[here] + 30 + 12 * k
                line = f'<path class="e" d="M{_n(x)} {_n(y1)}V{_n(y2 - 5)}"/>'
                head = f'<path class="a" d="M{_n(x - 4)} {_n(y2 - 7)}l4 6.5l4 -6.5z"/>'
                yield mark, f'<g class="edge {mark}">{line}{head}</g>'

    def _routed(self, tracks: Iterable[_Track], side: int) -> Iterator[tuple[Mark, str]]:
        for track in tracks:
            end = self._right(track.target) if side > 0 else self.x[track.target]
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
