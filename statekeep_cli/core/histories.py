"""All histories of a source, as far as decisions tell them apart (apv.md section 5, last part)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from statekeep_cli.core.replay import Event, Lane, Reading, TooWide

MAX_HISTORIES = 10_000  # classes of histories of one source
WIDTH = 4  # readings that a class may hold on average

Class = frozenset[Reading]


class Histories:
    """Classes of histories: sets of readings that share the source state, the facts and what loops compare.

    A class is what a log with states can tell apart: guards that lead to one source state leave several
    readings in it. Found breadth first, so that examples are shortest. `bound` is the number of classes at
    which the search stopped, or 0 where it is complete; `on_class` is told their number now and then.
    """

    def __init__(self, lane: Lane, limit: int = MAX_HISTORIES, on_class: Callable[[int], None] | None = None):
        self.lane = lane
        self.came: dict[Class, tuple[Class, str] | None] = {}
        self.bound = 0
        for found in _classes(lane.start((lane.index, -1))):
            self.came[found] = None
        events = [(event, Event(event)) for event in lane.events(lane.index)]
        pending = deque(self.came)
        readings = sum(map(len, pending))
        while pending:
            here = pending.popleft()
            if on_class is not None:
                on_class(len(self.came))
            for event, item in events:
                try:
                    after = lane.advance(here, item)
                except TooWide:
                    self.bound = len(self.came)
                    return
                for found in _classes(after):
                    if found not in self.came:
                        readings += len(found)
                        if len(self.came) >= limit or readings > WIDTH * limit:
                            self.bound = len(self.came)
                            return
                        self.came[found] = (here, event)
                        pending.append(found)

    @property
    def places_repeat(self) -> bool:
        """Do facts or loops make the classes many, rather than the places? Then a proof is much smaller."""
        places = {(r.source, r.pair) for found in self.came for r in found}
        return 4 * len(places) < len(self.came)

    def by_configuration(self) -> dict[int, list[Class]]:
        """The classes, by the source's configuration."""
        found: dict[int, list[Class]] = {}
        for readings in self.came:
            found.setdefault(next(iter(readings)).source.configuration, []).append(readings)
        return found

    def path_to(self, found: Class) -> tuple[str, ...]:
        """A shortest history of a class, as event types."""
        path: list[str] = []
        came = self.came[found]
        while came is not None:
            path.append(came[1])
            came = self.came[came[0]]
        return tuple(path[::-1])


def _classes(readings: Iterable[Reading]) -> list[Class]:
    found: dict[object, set[Reading]] = {}
    for r in readings:
        # Which events were dropped would tell too many histories apart; the changes list them.
        if any(pair.retired for _, pair in r.stack):
            r = replace(r, stack=tuple((key, replace(pair, retired=frozenset())) for key, pair in r.stack))
        alike = (r.source, r.facts, tuple(key for key, _ in r.stack))
        found.setdefault(alike, set()).add(r)
    return [frozenset(one) for one in found.values()]
