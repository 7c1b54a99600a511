"""Counted transitions -> a machine that explains them (`statekeep infer`).

A state value is a tree; where trees have several keys at one place, that place is parallel. A transition
between two trees becomes one move for each region that changed, listed at the innermost state that every
reading of it leaves. Where one event led to several places, the candidates carry placeholder guards, the
most frequent first; the last has none unless the event was also seen to leave that state alone. So the
machine allows what was observed, of each region by itself, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from statekeep_cli.core.infer import START, Count, Observations
from statekeep_cli.core.infer_stretches import Triple
from statekeep_cli.core.infer_trees import (
    NotInferable,
    leaves_of,
    moves_of,
    nodes_of,
    shape_of,
    text_of,
    tree_of,
)
from statekeep_cli.core.inferred import Candidate, Inferred, Listed, Node, Start, walk
from statekeep_cli.core.model import Builder, Path, StateValue, join_path

# Characters of an invented name's part; what is longer is cut, and made unique with a number.
LONGEST_PART = 60

Owner = tuple[Path, str]  # a state and an event
Move = tuple[Path, str, tuple[Path, ...]]  # the state it is listed at, the event, the leaves it enters


# --- names -------------------------------------------------------------------------------------------


def _part(text: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return "_".join(words)[:LONGEST_PART] or "STATE"


def _places(targets: Sequence[Path]) -> str:
    return "_and_".join(_part(" ".join(t)) for t in targets)[: 2 * LONGEST_PART]


class _Names:
    """Unique names: the first that asks gets the plain one, later ones a number."""

    def __init__(self, taken: Iterable[str] = ()):
        self.taken = set(taken)
        self.given: dict[Any, str] = {}

    def of(self, key: Any, *wanted: str) -> str:
        if key not in self.given:
            free = (w for w in wanted if w not in self.taken)
            numbered = (f"{wanted[-1]}_{n}" for n in range(2, len(self.taken) + 3))
            name = next(free, "") or next(n for n in numbered if n not in self.taken)
            self.taken.add(name)
            self.given[key] = name
        return self.given[key]


# --- the whole ---------------------------------------------------------------------------------------


def infer(
    seen: Observations,
    machine_id: str,
    *,
    initial: StateValue = "",
    min_count: int = 1,
    min_share: float = 0.0,
) -> Inferred:
    """The machine that explains what was observed; uses the observations up.

    `initial` names the state before the first item, for logs that never record it. Transitions seen fewer
    than `min_count` times, or in less than `min_share` (0 to 1) of the steps out of their state, are left
    out. Raises `NotInferable`.
    """
    given = seen.number(tree_of(initial)) if initial else START
    merged = seen.merge_dotted()
    seen.settle_single()
    start, number = _start(seen, merged.get(given, given))
    first = {(event, after): c.times for (before, event, after), c in seen.counts.items() if before == START}
    seen.rename({START: number})
    seen.work_out()
    regions = shape_of(seen.trees)
    made = _Moves(seen, number, first)
    made.prune(min_count, min_share)
    root = _Tree(seen, made, regions, number).root()
    result = Inferred(
        id=machine_id,
        root=root,
        start=start,
        totals=seen.totals,
        states=sum(1 for n in walk(root) if not n.children),
        transitions=len(made.kept),
        left_out=len(made.moves) - len(made.kept),
        left_out_times=sum(c.times for m, c in made.moves.items() if m not in made.kept),
        unlisted=made.unlisted,
    )
    for error in Builder(result.config()).duplicates:
        raise NotInferable(f"{error.message} by states whose names differ in dots only; rename one of them")
    return result


def _start(seen: Observations, given: int) -> tuple[Start, int]:
    firsts = seen.firsts()
    if given != START:
        number, why, actors = given, "given", _seen_in(seen, given)
    elif seen.untouched:
        number, actors = max(seen.untouched.items(), key=lambda x: (x[1], -x[0]))
        why = "empty"
    elif firsts:
        number, actors = max(firsts.items(), key=lambda x: (x[1], -x[0]))
        why = "first"
    elif seen.counts or seen.stretches:
        raise NotInferable(
            "no history records the state after its first item, so nobody knows where the machine starts; "
            "name it with --initial STATE"
        )
    else:
        raise NotInferable(
            "no history records a state, so there is nothing to infer from; export the state after each event"
        )
    others = sorted(((n, s) for s, n in firsts.items() if s != number), key=lambda x: (-x[0], x[1]))
    named = tuple((text_of(seen.trees[s]), n) for n, s in others)
    return Start(why, text_of(seen.trees[number]), actors, named), number  # type: ignore[arg-type]


def _seen_in(seen: Observations, state: int) -> int:
    """How often a state is recorded."""
    return sum(c.times for (a, _, b), c in seen.counts.items() if state in (a, b)) + (
        seen.here[state].actors if state in seen.here else 0
    )


class _Moves:
    """Moves with their counts, and which of them must be able to stay away."""

    def __init__(self, seen: Observations, initial: int, first: dict[tuple[str | None, int], int]):
        self.moves: dict[Move, Count] = {}
        self.first: dict[Move, int] = {}
        self.invented: set[str] = set()
        self.unlisted = 0
        self.of_triple: dict[Triple, list[Move]] = {}
        types = {event for _, event, _ in seen.counts if event is not None}
        for event in types:
            if event == "*" or event.endswith(".*") or not event:
                called = f"the event type '{event}'" if event else "an event type without a name"
                raise NotInferable(f"{called} means something else in a definition; rename it in the log")
        names = _Names(types)
        for triple, count in seen.counts.items():
            before, type, after = triple
            a, b = seen.trees[before], seen.trees[after]
            found = moves_of(a, b)
            if not found:
                leaves = leaves_of(a)
                if len(leaves) == 1 or type is None:
                    # On a leaf, a target of itself leaves and enters nothing: the event is heard, no more.
                    found = [(leaves[0], (leaves[0],))]
                else:
                    self.unlisted += count.times
            if type is None:
                entered = leaves_of(b) if a == b else [t for _, targets in found for t in targets]
                event = names.of(tuple(entered), f"TO_{_places(entered).upper()}")
                self.invented.add(event)
            else:
                event = type
            mine = self.of_triple[triple] = [(owner, event, targets) for owner, targets in found]
            for move in mine:
                total = self.moves.setdefault(move, Count())
                several = total.times > 0  # one actor may have made the move beside different regions
                total.add(count)
                total.most |= several
                if before == initial and (type, after) in first:
                    self.first[move] = self.first.get(move, 0) + first[type, after]
            if not mine:
                self.of_triple[triple] = [((), event, ())]  # nothing fires, and so nothing listed may
        self.may_stay = self._may_stay(seen)
        self.kept = dict(self.moves)

    def _may_stay(self, seen: Observations) -> set[Owner]:
        """The (state, event) that were active in some step on that event without being what fired."""
        listed = {(owner, event) for owner, event, _ in self.moves}
        found: set[Owner] = set()
        for (before, _, _), moves in self.of_triple.items():
            event = moves[0][1]
            fired = {owner for owner, _, _ in moves}
            for path in nodes_of(seen.trees[before]):
                if path not in fired and (path, event) in listed:
                    found.add((path, event))
        return found

    def prune(self, min_count: int, min_share: float) -> None:
        """Leaves out what is rarer than both thresholds allow."""
        total: dict[Path, int] = {}
        for (owner, _, _), count in self.moves.items():
            total[owner] = total.get(owner, 0) + count.times
        self.kept = {
            move: count
            for move, count in self.moves.items()
            if count.times >= min_count and count.times >= min_share * total[move[0]]
        }


@dataclass(slots=True)
class _Tree:
    """Makes the nodes of the machine."""

    seen: Observations
    made: _Moves
    regions: dict[Path, tuple[str, ...]]
    initial: int
    children: dict[Path, dict[str, int]] = field(
        default_factory=dict
    )  # how often each was entered from outside
    by_owner: dict[Path, dict[str, list[Move]]] = field(default_factory=dict)
    here: dict[Path, tuple[int, int]] = field(default_factory=dict)
    starts: set[Path] = field(default_factory=set)
    guards: _Names = field(default_factory=_Names)

    def root(self) -> Node:
        seen, made = self.seen, self.made
        trees = [self.initial]
        for (before, _, after), moves in made.of_triple.items():
            if any(m in made.kept for m in moves):
                trees += [before, after]
        if len(made.kept) == len(made.moves):
            trees += seen.here
        for number in dict.fromkeys(trees):
            for path in nodes_of(seen.trees[number]):
                self.children.setdefault(path[:-1], {}).setdefault(path[-1], 0)
        self.starts = set(nodes_of(seen.trees[self.initial]))
        for move, count in made.kept.items():
            self.by_owner.setdefault(move[0], {}).setdefault(move[1], []).append(move)
            for target in move[2]:
                for i in range(1, len(target)):
                    if move[0][:i] != target[:i]:  # entered from outside
                        self.children[target[:i]][target[i]] += count.times
        for number, here in seen.here.items():
            for path in nodes_of(seen.trees[number]):
                actors, done = self.here.get(path, (0, 0))
                self.here[path] = (actors + here.actors, done + here.done)
        rank = self._ranks()
        return self._node((), rank)

    def _ranks(self) -> dict[Path, int]:
        """Where each state comes: along the most frequent ways from the start, then by first appearance."""
        order: dict[Path, None] = {}
        pending = deque(leaves_of(self.seen.trees[self.initial]))
        while pending:
            leaf = pending.popleft()
            if leaf in order:
                continue
            order[leaf] = None
            for i in range(len(leaf), 0, -1):
                events = self.by_owner.get(leaf[:i], {})
                moves = [m for moves in events.values() for m in moves]
                moves.sort(key=lambda m: (-self.made.kept[m].times, m[1], m[2]))
                pending.extend(t for m in moves for t in m[2])
        rank: dict[Path, int] = {}
        for n, leaf in enumerate(order):
            for i in range(len(leaf), 0, -1):
                rank.setdefault(leaf[:i], n)
        return rank

    def _node(self, path: Path, rank: dict[Path, int]) -> Node:
        inside = self.children.get(path, {})
        last = len(rank)
        keys = sorted(inside, key=lambda key: rank.get((*path, key), last))
        if path in self.regions:
            keys = [key for key in self.regions[path] if key in inside]
        initial = ""
        if keys and path not in self.regions:
            at_start = [key for key in keys if (*path, key) in self.starts]
            initial = join_path((at_start[0] if at_start else max(keys, key=lambda key: inside[key]),))
        actors, done = self.here.get(path, (0, 0))
        left = any(move[0] == path for move in self.made.moves)
        is_end = not left and path not in self.starts and 0 < actors == done
        kind: Literal["atomic", "compound", "parallel", "final"] = (
            "parallel"
            if path in self.regions
            else "compound"
            if keys
            # Only the machine's own end is a matter of the actor's status.
            else "final"
            if is_end and len(path) == 1 and () not in self.regions
            else "atomic"
        )
        children = tuple(self._node((*path, key), rank) for key in keys)
        return Node(path, kind, initial, children, self._events(path), actors, done, left)

    def _events(self, path: Path) -> tuple[Listed, ...]:
        found = []
        for event, moves in self.by_owner.get(path, {}).items():
            moves = sorted(moves, key=lambda m: (-self.made.kept[m].times, m[2]))
            always = (path, event) not in self.made.may_stay
            candidates = []
            for i, move in enumerate(moves):
                count = self.made.kept[move]
                free = always and i == len(moves) - 1
                candidates.append(
                    Candidate(
                        move[2],
                        "" if free else self._guard(move),
                        count.times,
                        count.actors,
                        count.most,
                        self.made.first.get(move, 0),
                    )
                )
            found.append(Listed(event, event in self.made.invented, tuple(candidates)))
        return tuple(sorted(found, key=lambda e: (-e.times, e.event)))

    def _guard(self, move: Move) -> str:
        owner, event, targets = move
        plain = f"{_part(event)}_leads_to_{_places(targets)}"
        return self.guards.of(move, plain, f"{plain}_from_{_part(' '.join(owner))}")
