"""Where a statechart's boxes and transitions stand, before anything is drawn.

States stand below each other in the order in which they are reached. A transition to the next state is a
short arrow; every other one runs in a gutter, forward ones at the right and backward ones at the left, and
those with the same target share a track. So no line crosses a box it does not leave or enter, no label covers
another, and a chart of any size has the width of a phone or little more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from statekeep_cli.core.charts import Arrow, Box, Mark
from statekeep_cli.render.terminal import cells, shown

HEAD, ROW, LINE = 28, 17, 15  # heights: a box's title, a transition, a remark
INSET, GAP, ARROW_GAP = 10, 10, 24
NARROW, WIDE = 250, 400  # the column, without what nesting takes
MONO, SANS, SMALL = 6.65, 7.6, 6.0  # pixels per cell of the fonts in report.css
TRACK, TRACKS = 9.0, 240.0  # pixels between tracks, and for all of them


@dataclass(slots=True)
class Track:
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


class Layout:
    """Where everything of a chart stands, in pixels from the picture's upper left corner.

    Per box: `x`, `y` and `height`, `wide(i)`, its children in drawing `order`, and `remarks` under its title,
    a CSS class and a text each. `straight` are pairs (state, the next state below) joined by a short arrow;
    `right` and `left` are the tracks of all other transitions. `size` is the whole picture's.
    """

    def __init__(self, boxes: Sequence[Box]):
        self.boxes = boxes
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
        self._place()
        self.right, self.left = self._tracks()
        self.size = self._spread_all()

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
            rows = [self.row(box, a) for a in box.arrows]
            lines = [(cells(shown(a)) + cells(shown(b)) + 5) * MONO + 18 for a, b in rows]
            lines.append(cells(shown(box.key)) * SANS + 26 + len(f"{box.count:,}") * 8 + 60 * bool(box.mark))
            need = max(need, max(lines) + 2 * INSET * self.depth[i])
        deepest = max(self.depth)
        return max(NARROW, min(need, WIDE + 2 * INSET * max(deepest - 1, 0)))

    def _remarks(self, box: Box) -> Iterator[tuple[str, str]]:
        for note in box.notes:
            yield "note", f"~ {shown(note, 120)}"
        above = self.boxes[box.parent] if box.parent >= 0 else None
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

    def _place(self) -> None:
        self.y[0] = 1.0
        for i in range(len(self.boxes)):  # parents come first
            y = self.y[i] + self.rows_from(i) + ROW * len(self.boxes[i].arrows)
            y += 5 if self.boxes[i].arrows or self.remarks[i] else 0
            order = self.order[i]
            for k, child in enumerate(order):
                self.x[child], self.y[child] = self.x[i] + INSET, y
                y += self.height[child] + (self._gap(child, order[k + 1]) if k + 1 < len(order) else 0)

    def rows_from(self, i: int) -> float:
        """How far below its top a box has its first transition."""
        return HEAD + LINE * len(self.remarks[i])

    def end(self, i: int) -> float:
        """A box's right side."""
        return self.x[i] + self.wide(i)

    def wide(self, i: int) -> float:
        """A box's width."""
        return self.width - 2 * INSET * self.depth[i]

    # tracks

    def _tracks(self) -> tuple[list[Track], list[Track]]:
        """Forward ones at the right, backward ones at the left."""
        right: dict[tuple[int, Mark], Track] = {}
        left: dict[tuple[int, Mark], Track] = {}
        for i, box in enumerate(self.boxes):
            for k, arrow in enumerate(box.arrows):
                y = self.y[i] + self.rows_from(i) + ROW * k + ROW / 2
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
                        track = side[key] = Track(target, arrow.mark, at)
                    track.ports.append((self.end(i) if forward else self.x[i], y))
        return list(right.values()), list(left.values())

    @staticmethod
    def _spread(tracks: list[Track]) -> int:
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

    def _spread_all(self) -> tuple[float, float]:
        """Put the tracks beside the boxes, and make room for those at the left."""
        right, left = self._spread(self.right), self._spread(self.left)
        step_right, step_left = (min(TRACK, TRACKS / max(lanes, 1)) for lanes in (right, left))
        margin = 16 + left * step_left if left else 4
        end = margin + self.width
        self.x = [x + margin for x in self.x]
        for track in (*self.right, *self.left):
            track.ports = [(x + margin, y) for x, y in track.ports]
        for track in self.right:
            track.x = end + 12 + track.x * step_right
        for track in self.left:
            track.x = margin - 12 - track.x * step_left
        return end + (18 + right * step_right if right else 4), self.height[0] + 2

    # words

    def row(self, box: Box, arrow: Arrow) -> tuple[str, str]:
        """A transition's two ends in words: the event and its guard; where it leads."""
        what = f"{arrow.event} [{arrow.guard}]" if arrow.guard else arrow.event
        if not arrow.targets:
            return what, "stays"
        return what, "\u2192 " + " + ".join(self._called(box, self.boxes[t]) for t in arrow.targets)

    @staticmethod
    def _called(box: Box, target: Box) -> str:
        return target.key if target.parent == box.parent or target.parent < 0 else target.name
