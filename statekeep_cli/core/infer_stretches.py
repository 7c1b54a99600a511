"""Known transitions, and what they say about a stretch of events without recorded states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

# (state before, event, state after), states by number.
Triple = tuple[int, str | None, int]


class Known:
    """Transitions by (state, event), forwards and backwards."""

    def __init__(self, triples: Iterable[Triple]):
        self.after: dict[tuple[int, str | None], set[int]] = {}
        self.before: dict[tuple[int, str | None], set[int]] = {}
        for triple in triples:
            self.learn(triple)

    def learn(self, triple: Triple) -> None:
        before, event, after = triple
        self.after.setdefault((before, event), set()).add(after)
        self.before.setdefault((after, event), set()).add(before)

    def forwards(self, before: int, events: Sequence[str | None]) -> list[set[int]]:
        """Where one may be before the first event, after it, and so on."""
        found = [{before}]
        for event in events:
            found.append({b for a in found[-1] for b in self.after.get((a, event), ())})
        return found

    def backwards(self, events: Sequence[str | None], after: int) -> list[set[int]]:
        """The same, from the end."""
        found = [{after}]
        for event in reversed(events):
            found.append({a for b in found[-1] for a in self.before.get((b, event), ())})
        return found[::-1]

    def explains(self, before: int, events: Sequence[str | None], after: int) -> bool:
        """Does some way lead through the stretch?"""
        return after in self.forwards(before, events)[-1]

    def missing(
        self, before: int, events: Sequence[str | None], after: int, alternatives: bool
    ) -> Triple | None:
        """The one transition that would explain a stretch that nothing explains, the latest if several
        would; None where there is none, or no need."""
        there = self.forwards(before, events)
        if after in there[-1]:
            return None
        back = self.backwards(events, after)
        for i in range(len(events) - 1, -1, -1):
            if len(there[i]) == 1 and len(back[i + 1]) == 1:
                a, b = next(iter(there[i])), next(iter(back[i + 1]))
                if alternatives or (a, events[i]) not in self.after:
                    return a, events[i], b
        return None

    def path(
        self, before: int, events: Sequence[str | None], after: int, times: Callable[[Triple], int]
    ) -> list[Triple] | None:
        """A way through a stretch, by the most frequent transitions; None where there is none."""
        back = self.backwards(events, after)
        if before not in back[0]:
            return None
        at, path = before, []
        for event, possible in zip(events, back[1:], strict=True):
            found = self.after[at, event] & possible
            best = max(found, key=lambda s: (times((at, event, s)), -s))
            path.append((at, event, best))
            at = best
        return path
