"""The router: lazily built tables in the native core, filled by the compiler (apv.md section 9).

Only this module knows `statekeep_cli._native`. A batch of actors is encoded (a symbol per trace item,
a head for everything else an actor brings) and led through the tables in one native call. Where an
entry is missing, the router walks that actor's trace itself, adds every entry the trace needs, and
routes again. Past their limits the tables are flushed and rebuilt; decisions do not change.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, repeat
from sys import byteorder
from typing import Any, NamedTuple

from statekeep_cli._native import ffi, lib
from statekeep_cli.core import positions
from statekeep_cli.core.alphabet import is_internal
from statekeep_cli.core.anchors import Facts, Letters
from statekeep_cli.core.apv import Deployment, FollowMore
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.positions import General, Lost, Position, Simple
from statekeep_cli.core.record import Intake, Opened, item_of
from statekeep_cli.core.replay import Event, Item
from statekeep_cli.core.trace import Actor, Symbols
from statekeep_cli.core.trace import Item as RecordedItem

PENDING: int = lib.SK_PENDING
OPEN: int = lib.SK_OPEN
SPLIT: int = lib.SK_SPLIT
# Looked up once: a single actor's call is short enough for the difference to show.
route_one, from_buffer = lib.sk_route_one, ffi.from_buffer


@dataclass(frozen=True, slots=True)
class Limits:
    """How large the tables may grow before they are flushed. Entries, except `words` (of 8 bytes)."""

    positions: int = 1 << 15
    words: int = 1 << 22
    facts: int = 1 << 12
    steps: int = 1 << 9
    hashed: int = 1 << 17
    heads: int = 1 << 16
    decisions: int = 1 << 16
    misses: int = 1 << 8
    open_traces: int = 1 << 14


class Full(Exception):
    """The tables have no room for another entry."""


class Columns(NamedTuple):
    """What routing needs of a plain batch, where its actors are made only when somebody asks for one.

    `traces` are lists of letters, None without a history; `keys` are (definition, version, status, state as
    raw JSON, no history?).
    """

    traces: Sequence[Sequence[Any] | None]
    keys: Sequence[tuple[str | None, Any, str, bytes, bool]]


@dataclass(frozen=True, slots=True)
class Routed:
    """One batch, decided: `decisions[ids[i]]` is the decision of actor i, `counts` how many got it."""

    ids: array[int]
    counts: dict[int, int]
    decisions: Sequence[Decision]

    def __getitem__(self, index: int) -> Decision:
        return self.decisions[self.ids[index]]


class _Tables:
    """The native tables and what their numbers stand for; forgotten together when flushed."""

    def __init__(self, router: Router, limits: Limits, symbols: int):
        self.router = router
        self.erase = router.erase
        positions = max(2, min(limits.positions, limits.words // (symbols + 2)))
        facts = max(2, min(limits.facts, limits.words // (limits.steps + 1)))
        sizes = ffi.new(
            "sk_limits *",
            {
                "positions": positions,
                "symbols": symbols,
                "steps": limits.steps,
                "facts": facts,
                "heads": limits.heads,
                "decisions": limits.decisions,
                "loops": positions,
                "sparse": limits.hashed,
                "splits": limits.hashed,
                "cuts": limits.hashed,
                "decided": limits.hashed,
                "erase": int(self.erase),
            },
        )
        error = ffi.new("sk_error *")
        self.native = self._own(lib.sk_tables_new(sizes, error), lib.sk_tables_free, error)
        self.scratch = self._own(
            lib.sk_scratch_new(self.native, limits.misses, error), lib.sk_scratch_free, error
        )
        self.max_facts, self.max_steps = facts, limits.steps
        self.positions: list[Position] = []
        self.position_ids: dict[Position, int] = {}
        self.loops: dict[Any, int] = {}
        self.facts: list[tuple[int, Facts]] = [(-1, ())]  # 0: the facts are in the position
        self.fact_ids: dict[tuple[int, Facts], int] = {}
        self.steps: list[Letters] = [Letters()]  # 0: changes no facts
        self.step_ids: dict[Letters, int] = {Letters(): 0}
        self.cuts: list[tuple[int, str]] = [(-1, "")]  # 0: none
        self.cut_ids: dict[tuple[int, str], int] = {}
        self.heads = 0
        self.one = ffi.new("uint32_t *")
        self._a = ffi.new("uint32_t *")
        self._b = ffi.new("uint32_t *")

    @staticmethod
    def _own(pointer: Any, free: Any, error: Any) -> Any:
        if pointer == ffi.NULL:
            raise MemoryError(ffi.string(error.message).decode())
        return ffi.gc(pointer, free)

    # numbers

    def position(self, p: Position) -> int:
        found = self.position_ids.get(p)
        if found is None:
            found = len(self.positions)
            loop = self.loops.setdefault(self._loop_key(p), len(self.loops)) if self.erase else 0
            _add(lib.sk_add_position(self.native, found, loop, isinstance(p, Lost)))
            self.positions.append(p)
            self.position_ids[p] = found
        return found

    def fact(self, lane: int, facts: Facts) -> int:
        found = self.fact_ids.get((lane, facts))
        if found is None:
            found = len(self.facts)
            if found >= self.max_facts:
                raise Full
            self.facts.append((lane, facts))
            self.fact_ids[(lane, facts)] = found
        return found

    def step(self, letters: Letters) -> int:
        found = self.step_ids.get(letters)
        if found is None:
            found = len(self.steps)
            if found >= self.max_steps:
                raise Full
            self.steps.append(letters)
            self.step_ids[letters] = found
        return found

    def cut(self, lane: int, anchor: str) -> int:
        found = self.cut_ids.get((lane, anchor))
        if found is None:
            found = self.cut_ids[(lane, anchor)] = len(self.cuts)
            self.cuts.append((lane, anchor))
        return found

    # entries: looked up, or compiled and added

    def move(self, position: int, symbol: int) -> tuple[int, int]:
        if lib.sk_get_move(self.native, position, symbol, self._a, self._b) == lib.SK_OK:
            return self._a[0], self._b[0]
        p, item = self.positions[position], self.router.item(symbol)
        lane = self.router.deployment.lanes[p.lane]
        compiled = (p, Letters()) if item is None else positions.follow(lane, p, item)
        if compiled is None:
            after, step = 0, SPLIT
        else:
            after, step = self.position(compiled[0]), self.step(compiled[1])
        _add(lib.sk_add_move(self.native, position, symbol, after, step))
        return after, step

    def split(self, position: int, facts: int, symbol: int) -> int:
        if lib.sk_get_split(self.native, position, facts, symbol, self._a) == lib.SK_OK:
            return int(self._a[0])
        p, item = self.positions[position], self.router.item(symbol)
        assert isinstance(p, Simple)
        assert item is not None
        lane = self.router.deployment.lanes[p.lane]
        after = self.position(positions.split(lane, p, self.facts[facts][1], item))
        _add(lib.sk_add_split(self.native, position, facts, symbol, after))
        return after

    def advance_facts(self, facts: int, step: int) -> tuple[int, int]:
        if lib.sk_get_fact(self.native, facts, step, self._a, self._b) == lib.SK_OK:
            return self._a[0], self._b[0]
        lane, known = self.facts[facts]
        after, fired = self.router.deployment.lanes[lane].anchors.step(known, self.steps[step])
        fact = self.fact(lane, after)
        cut = self.cut(lane, fired) if fired else 0
        _add(lib.sk_add_fact(self.native, facts, step, fact, cut))
        return fact, cut

    def cut_at(self, position: int, cut: int) -> int:
        if lib.sk_get_cut(self.native, position, cut, self._a) == lib.SK_OK:
            return int(self._a[0])
        p = self.positions[position]
        assert isinstance(p, Simple)
        lane, anchor = self.cuts[cut]
        after = self.position(positions.cut(self.router.deployment.lanes[lane], p, anchor))
        _add(lib.sk_add_cut(self.native, position, cut, after))
        return after

    def decision(self, position: int, facts: int, head: int) -> int:
        if lib.sk_get_decision(self.native, position, facts, head, self._a) == lib.SK_OK:
            return int(self._a[0])
        opened = self.router.opened[head]
        assert isinstance(opened, Opened)
        if opened.case.trace == "none":
            ends = self.router.deployment.ends_without_history(opened.case.lane, opened.case.configuration)
        else:
            lane = self.router.deployment.lanes[opened.case.lane]
            p, known = self.positions[position], self.facts[facts][1]
            ends = positions.ends(lane, p, known, opened.case.configuration)
        decision = self.router.decision(self.router.deployment.decide(opened.case, ends))
        _add(lib.sk_add_decision(self.native, position, facts, head, decision))
        return decision

    # heads

    def add_heads(self) -> None:
        """Enter the heads that the router knows and these tables do not."""
        for head in range(self.heads, len(self.router.opened)):
            opened = self.router.opened[head]
            if isinstance(opened, Decision):
                _add(lib.sk_add_decided_head(self.native, head, self.router.decision(opened)))
            else:
                position, facts = self._start(opened)
                _add(lib.sk_add_head(self.native, head, position, facts))
            self.heads = head + 1

    def _start(self, opened: Opened) -> tuple[int, int]:
        if opened.begin is None:
            return self.position(Lost(opened.case.lane, opened.why)), 0
        lane = self.router.deployment.lanes[opened.case.lane]
        p, facts = positions.starting(lane, lane.start(opened.begin))
        return self.position(p), 0 if facts is None else self.fact(lane.index, facts)

    # a whole trace

    def walk(self, symbols: Sequence[int], head: int) -> int:
        """Lead one trace through the tables, adding what is missing. Returns its decision or OPEN."""
        opened = self.router.opened[head]
        if isinstance(opened, Decision):
            return self.router.decision(opened)
        position, facts = self._start(opened)
        if self.erase and isinstance(self.positions[position], General):
            return OPEN
        stack = [position]
        depths = {self._loop(position): 0}
        for symbol in symbols:
            after, step = self.move(position, symbol)
            if step == SPLIT:
                if self.erase:
                    return OPEN
                position, facts = self.split(position, facts, symbol), 0
                continue
            cut = 0
            if step:
                facts, cut = self.advance_facts(facts, step)
            if cut:
                position = self.cut_at(after, cut)
                stack, depths = [position], {self._loop(position): 0}
            elif self.erase:
                position = self._push(stack, depths, after)
            else:
                position = after
            if isinstance(self.positions[position], Lost):
                break
        return self.decision(position, facts, head)

    def _push(self, stack: list[int], depths: dict[Any, int], position: int) -> int:
        """The stack of section 3, after a step to `position`; returns the top."""
        loop = self._loop(position)
        depth = depths.get(loop)
        if depth is None:
            depths[loop] = len(stack)
            stack.append(position)
        elif depth == len(stack) - 1:
            stack[-1] = position
        else:
            for popped in stack[depth + 1 :]:
                del depths[self._loop(popped)]
            del stack[depth + 1 :]
        return stack[-1]

    def _loop(self, position: int) -> int:
        return self.loops[self._loop_key(self.positions[position])] if self.erase else 0

    def _loop_key(self, p: Position) -> Any:
        """What a loop comes back to. Where a lane keeps its loops, that is the position itself: to pop
        back to it changes nothing."""
        lane = self.router.deployment.lanes[p.lane]
        if isinstance(p, Simple) and lane.migration.erase_loops:
            return p.lane, lane.loop_key(p.version, p.source)
        return p


def _add(status: int) -> None:
    if status == lib.SK_FULL:
        raise Full
    if status != lib.SK_OK:
        raise RuntimeError(
            f"the native tables refused an entry: {ffi.string(lib.sk_message(status)).decode()}"
        )


# --- the router ----------------------------------------------------------------------------------------


class Router:
    """Decides batches of actors for one deployment. Not shared between threads: it grows its tables.

    `symbols` is the space of symbol codes that the reader of the actors uses.
    """

    def __init__(self, deployment: Deployment, symbols: Symbols | None = None, limits: Limits = Limits()):
        self.deployment = deployment
        self.intake = Intake(deployment)
        self.erase = any(lane.migration.erase_loops for lane in deployment.lanes)
        self.limits = limits
        self.symbols = Symbols() if symbols is None else symbols
        for name in event_names(deployment):
            self.symbols.code(name)
        self.dense = len(self.symbols) + 16
        self.flushes = 0
        self.generation = 0  # how often decisions were numbered afresh
        self.decisions: list[Decision] = []
        self._decision_ids: dict[Decision, int] = {}
        self.opened: list[Decision | Opened] = []
        self._head_ids: dict[Any, int] = {}
        self._heads_of_records: dict[Any, int] = {}
        self._items: dict[int, Item | None] = {}
        self._recorded: dict[tuple[str | None, bytes], int] = {}
        self._types: dict[str, int] = {}
        self._open_traces: dict[tuple[int, bytes], int] = {}
        self._symbols_of = self.symbols.generation
        self._look_closer = any(self.intake.contexts.needed_by(lane.migration) for lane in deployment.lanes)
        # What every batch needs, made once.
        self._counts = array("Q", [0]) * limits.decisions
        self._misses = ffi.new("sk_miss[]", limits.misses)
        self._batch, self._result = ffi.new("sk_batch *"), ffi.new("sk_result *")
        self._batch.count_room = limits.decisions
        self._batch.misses, self._batch.miss_room = self._misses, limits.misses
        self.tables = _Tables(self, limits, self.dense)

    # numbers

    def decision(self, decision: Decision) -> int:
        found = self._decision_ids.get(decision)
        if found is None:
            found = len(self.decisions)
            if found >= self.limits.decisions:
                raise Full
            self.decisions.append(decision)
            self._decision_ids[decision] = found
        return found

    def item(self, symbol: int) -> Item | None:
        """The trace item a symbol stands for; None for what is part of a macrostep."""
        if symbol not in self._items:
            key = self.symbols.keys[symbol]
            if isinstance(key, str):
                self._items[symbol] = None if is_internal(key) else Event(key)
            else:
                self._items[symbol] = key  # type: ignore[assignment]
        return self._items[symbol]

    def _code(self, recorded: Any) -> int:
        """The symbol of one trace item that is more than an event type."""
        if isinstance(recorded, str):
            found = self._types[recorded] = self.symbols.code(recorded)
            return found
        if not isinstance(recorded, RecordedItem):  # an event whose type is a letter
            return int.from_bytes(recorded.type, byteorder)
        if recorded.type in ("migrated", "manual"):
            return self.symbols.code(item_of(recorded))
        key = (recorded.type, bytes(recorded.state))
        known = self._recorded.get(key)
        if known is None:
            item = item_of(recorded)
            plain = isinstance(item, Event) and not item.state and item.type is not None
            known = self._recorded[key] = self.symbols.code(recorded.type if item is None or plain else item)
        return known

    def trace(self, history: Sequence[Any], plain: bool = False) -> bytes:
        """A trace as symbols, 32 bits each, in native order; `plain` as for `route`."""
        if plain:
            return b"".join([item.type for item in history])
        if history and type(history[0]) is str:
            try:
                return array("I", [self._types[item] for item in history]).tobytes()
            except (KeyError, TypeError):
                pass  # a type not met before, or items among the strings
        return array("I", [self._code(item) for item in history]).tobytes()

    # heads

    def head(self, actor: Actor[Any, Any], plain: bool = False) -> int:
        """The number of what an actor brings besides its trace."""
        if actor.snapshot or actor.origin or not (plain or _all_events(actor.history)):
            return self._open(actor)
        key = (actor.definition, actor.version, actor.status, bytes(actor.state), actor.history is None)
        found = self._heads_of_records.get(key)
        if found is None:
            found = self._open(actor)
            closer = self._look_closer and isinstance(self.opened[found], Opened)
            self._heads_of_records[key] = -1 - found if closer else found
        elif found < 0:
            found = self._with_context(actor, -1 - found)
        return found

    def _with_context(self, actor: Actor[Any, Any], alike: int) -> int:
        """The head of an actor that differs from an earlier one in its context only."""
        opened = self.opened[alike]
        assert isinstance(opened, Opened)
        seen, case = self.intake.look(opened.case.lane, actor), opened.case
        if seen == (case.schemas, case.context_error, case.redacted, case.unchecked):
            return alike
        schemas, error, redacted, unchecked = seen
        changed = replace(case, schemas=schemas, context_error=error, redacted=redacted, unchecked=unchecked)
        return self._number(replace(opened, case=changed))

    def _open(self, actor: Actor[Any, Any]) -> int:
        opened = self.intake.open(actor)
        # The items are the trace's; they are not what tells heads apart.
        return self._number(replace(opened, items=()) if isinstance(opened, Opened) else opened)

    def _number(self, opened: Decision | Opened) -> int:
        found = self._head_ids.get(opened)
        if found is None:
            found = self._head_ids[opened] = len(self.opened)
            self.opened.append(opened)
        return found

    # routing

    def route(
        self,
        actors: Sequence[Actor[Any, Any]],
        plain: bool = False,
        states: Sequence[bytes] | None = None,
        columns: Columns | None = None,
    ) -> Routed:
        """Decide a batch of at most half of `limits.heads` actors.

        `plain`, `states` and `columns` are as in `readers.records.Batch`: every item has a letter as its
        type, the raw states as bytes, and a plain batch by columns. The result's ids are good until the
        next call.
        """
        if len(actors) > self.limits.heads // 2:
            raise ValueError(f"at most {self.limits.heads // 2:,} actors in one batch")
        self._make_room(len(actors))
        if plain:
            if columns is None:
                states = states or [bytes(a.state) for a in actors]
                keys = [
                    (a.definition, a.version, a.status, state, a.history is None)
                    for a, state in zip(actors, states, strict=True)
                ]
                columns = Columns([a.history for a in actors], keys)
            histories = columns.traces
            symbols = _joined(histories)
            lengths = [len(history) if history else 0 for history in histories]
            heads = self._plain_heads(actors, columns.keys)
        else:
            traces = [self.trace(a.history) if a.history else b"" for a in actors]
            symbols, lengths = b"".join(traces), [len(t) >> 2 for t in traces]
            heads = array("I", [self.head(a) for a in actors])
        return self._route(symbols, lengths, heads, actors)

    def route_one(self, actor: Actor[Any, Any]) -> Decision:
        """Decide a single actor, without the cost of setting up a batch."""
        if max(len(self.decisions), len(self.opened)) + 1 >= min(self.limits.decisions, self.limits.heads):
            self._make_room(1)
        history = actor.history or ()
        try:
            trace, plain = array("I", [self._types[item] for item in history]).tobytes(), True
        except (KeyError, TypeError):
            trace, plain = self.trace(history), False
        return self.decide_trace(trace, self.head(actor, plain), actor)

    def decide_trace(self, trace: bytes, head: int, actor: Actor[Any, Any]) -> Decision:
        """One native call for an actor that is encoded already (`trace` and `head` of this router)."""
        tables = self.tables
        if head < tables.heads:
            symbols = from_buffer("uint32_t[]", trace)
            route_one(tables.native, tables.scratch, symbols, len(trace) >> 2, head, tables.one)
            number: int = tables.one[0]
            if number < OPEN:
                return self.decisions[number]
        return self._route(trace, [len(trace) >> 2], array("I", [head]), [actor])[0]

    def _plain_heads(self, actors: Sequence[Actor[Any, Any]], keys: Sequence[Any]) -> array[int]:
        """`head` for a whole batch of actors without snapshots, origins and markers."""
        heads = list(map(self._heads_of_records.get, keys, repeat(-1)))
        if min(heads, default=0) < 0:
            for i, head in enumerate(heads):
                if head < 0:
                    heads[i] = self.head(actors[i], True)
        return array("I", heads)

    def _make_room(self, actors: int) -> None:
        fresh = self.symbols.generation != self._symbols_of
        crowded = max(len(self.decisions), len(self.opened)) + actors >= min(
            self.limits.decisions, self.limits.heads
        )
        if not (fresh or crowded):
            return
        self._symbols_of = self.symbols.generation
        self.generation += 1
        self.decisions, self._decision_ids = [], {}
        self.opened, self._head_ids, self._heads_of_records = [], {}, {}
        self._items, self._recorded, self._types, self._open_traces = {}, {}, {}, {}
        for name in event_names(self.deployment):
            self.symbols.code(name)
        self.flush()

    def flush(self) -> None:
        """Start the tables afresh. Heads and decisions keep their numbers."""
        self.flushes += 1
        self._open_traces = {}
        self.tables = _Tables(self, self.limits, self.dense)
        self.tables.add_heads()

    def _route(
        self, symbols: bytes, lengths: Sequence[int], heads: array[int], actors: Sequence[Actor[Any, Any]]
    ) -> Routed:
        n = len(heads)
        offsets = array("Q", accumulate(lengths, initial=0))

        def trace(i: int) -> bytes:
            return symbols[offsets[i] << 2 : offsets[i + 1] << 2]

        ids = array("I", [PENDING]) * n
        counts = self._counts
        batch, result = self._batch, self._result
        batch.actors, batch.symbol_count = n, len(symbols) >> 2
        held = [
            from_buffer("uint32_t[]", symbols),
            from_buffer("uint64_t[]", offsets),
            from_buffer("uint32_t[]", heads),
            from_buffer("uint32_t[]", ids),
            from_buffer("uint64_t[]", counts),
        ]
        batch.symbols, batch.offsets, batch.heads, batch.decisions, batch.counts = held
        misses = self._misses
        while True:
            self._attempt(self.tables.add_heads)
            if lib.sk_route(self.tables.native, self.tables.scratch, batch, result) != lib.SK_OK:
                raise RuntimeError(ffi.string(result.message).decode())
            if result.pending == 0:
                break
            for i in range(result.misses):
                at = misses[i].actor
                if ids[at] == PENDING:
                    found = self._walk(trace(at), heads[at])
                    if found is not None:
                        ids[at] = found
                        if found != OPEN:
                            counts[found] += 1
        if result.open or OPEN in ids:
            for i in range(n):
                if ids[i] == OPEN:
                    ids[i] = self._by_general_form(trace(i), heads[i], actors[i])
                    counts[ids[i]] += 1
        totals = {}
        for number in range(len(self.decisions)):
            if counts[number]:
                totals[number], counts[number] = counts[number], 0
        return Routed(ids, totals, self.decisions)

    def _attempt(self, fill: Callable[[], None]) -> None:
        try:
            fill()
        except Full:
            self.flush()

    def _walk(self, trace: bytes, head: int) -> int | None:
        """Fill in what one trace needs. None: route it again; else its decision (or OPEN)."""
        symbols = memoryview(trace).cast("I")
        for _ in range(2):
            try:
                return self.tables.walk(symbols, head)
            except Full:
                self.flush()
            except FollowMore as more:
                self.deployment.follow(more.lane, more.paths)
                self.flush()
                return None
        return OPEN  # one trace alone needs more room than there is

    def _by_general_form(self, trace: bytes, head: int, actor: Actor[Any, Any]) -> int:
        key = (head, trace)
        found = self._open_traces.get(key)
        if found is None:
            if len(self._open_traces) >= self.limits.open_traces:
                self._open_traces.clear()
            found = self._open_traces[key] = self.decision(self.decide(actor))
        return found

    def decide(self, actor: Actor[Any, Any]) -> Decision:
        """One actor by the general form, without tables."""
        while True:
            opened = self.intake.open(actor)
            if isinstance(opened, Decision):
                return opened
            try:
                return self.deployment.decide(opened.case, self.intake.ends(opened))
            except FollowMore as more:
                self.deployment.follow(more.lane, more.paths)
                self.flush()


def _joined(traces: Sequence[Sequence[Any] | None]) -> bytes:
    """The letters of plain traces, which are symbols; events that are objects have theirs as `type`."""
    try:
        return b"".join(chain.from_iterable([trace or () for trace in traces]))
    except TypeError:
        return b"".join([item.type for trace in traces if trace for item in trace])


def event_names(deployment: Deployment) -> list[str]:
    """Every event type the definitions spell out, in a fixed order."""
    names = {
        d for s in (*deployment.sources, deployment.target) for d in s.descriptors() if not d.endswith("*")
    }
    for lane in deployment.lanes:
        names |= set(lane.migration.rename_events)
    return sorted(names)


def _all_events(history: Sequence[Any] | None) -> bool:
    return not history or not any(isinstance(i, RecordedItem) and i.type == "migrated" for i in history)


# --- repeated ids: the native core's two other functions ---------------------------------------------------


def partition(hashes: bytes, base: int, parts: int, part: int) -> tuple[bytes, bytes]:
    """Those of the packed 64-bit hashes that fall into one of `parts` parts of their range, and their
    ordinals counted from `base`."""
    n = len(hashes) // 8
    chosen, ordinals = bytearray(8 * n), bytearray(8 * n)
    found = ffi.new("uint64_t *")
    _done(lib.sk_partition(_words(hashes), n, base, parts, part, _words(chosen), _words(ordinals), n, found))
    return bytes(chosen[: 8 * found[0]]), bytes(ordinals[: 8 * found[0]])


def find_repeats(hashes: bytearray, ordinals: bytearray) -> tuple[bytes, bytes]:
    """For each record whose hash an earlier one has, the ordinal of the first such and its own; sorts
    both arguments in place."""
    n = len(hashes) // 8
    firsts, agains = bytearray(8 * n), bytearray(8 * n)
    found = ffi.new("uint64_t *")
    _done(lib.sk_repeats(_words(hashes), _words(ordinals), n, _words(firsts), _words(agains), n, found))
    return bytes(firsts[: 8 * found[0]]), bytes(agains[: 8 * found[0]])


def _words(buffer: bytes | bytearray) -> Any:
    return ffi.cast("uint64_t *", ffi.from_buffer(buffer))


def _done(status: int) -> None:
    if status != lib.SK_OK:
        raise RuntimeError(ffi.string(lib.sk_message(status)).decode())


__all__ = ["Columns", "Limits", "Routed", "Router"]
