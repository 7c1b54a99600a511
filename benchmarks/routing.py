"""Routing alone: the native call over warm tables, decisions and counting included."""

from __future__ import annotations

import gc
import time
from array import array
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, median
from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.router import PENDING, Router, ffi, lib
from statekeep_cli.core.trace import Symbols
from statekeep_cli.readers.actors import read_actors
from statekeep_cli.readers.definitions import read_definition

# p50 of the engine in the article that StateKeep comes from, per actor.
ARTICLE = 1.26e-6


def router(folder: Path, erase: bool) -> tuple[Router, Symbols]:
    symbols = Symbols()
    source = read_definition(str(folder / "v1.json")).definition
    target = read_definition(str(folder / "v2.json"), sources=[source]).definition
    return Router(Deployment([source], target, erase_loops=erase), symbols), symbols


class Encoded:
    """A whole export as the native router takes it: one batch."""

    def __init__(self, routed_by: Router, symbols: Symbols, actors: Path):
        traces: list[bytes] = []
        self.heads = array("I")
        started = time.perf_counter()
        for batch in read_actors(str(actors), symbols=symbols):
            routed_by.route(batch.actors, batch.plain)  # builds the tables
            traces += [routed_by.trace(a.history or (), batch.plain) for a in batch.actors]
            self.heads.extend(routed_by.head(a, batch.plain) for a in batch.actors)
        self.first_pass = time.perf_counter() - started
        self.actors = len(traces)
        self.distinct = len(set(traces))
        self.symbols = b"".join(traces)
        self.offsets = array("Q", [0])
        for trace in traces:
            self.offsets.append(self.offsets[-1] + len(trace) // 4)

    def seconds(self, routed_by: Router) -> float:
        """One native call over everything."""
        tables = routed_by.tables
        decisions = array("I", [PENDING]) * self.actors
        counts = array("Q", [0]) * routed_by.limits.decisions
        misses = ffi.new("sk_miss[]", routed_by.limits.misses)
        batch = ffi.new("sk_batch *")
        batch.actors, batch.symbol_count = self.actors, len(self.symbols) // 4
        keep: list[Any] = [
            ffi.from_buffer("uint32_t[]", self.symbols),
            ffi.from_buffer("uint64_t[]", self.offsets),
            ffi.from_buffer("uint32_t[]", self.heads),
            ffi.from_buffer("uint32_t[]", decisions),
            ffi.from_buffer("uint64_t[]", counts),
        ]
        batch.symbols, batch.offsets, batch.heads, batch.decisions, batch.counts = keep
        batch.count_room, batch.misses, batch.miss_room = len(counts), misses, routed_by.limits.misses
        result = ffi.new("sk_result *")
        started = time.perf_counter()
        lib.sk_route(tables.native, tables.scratch, batch, result)
        taken = time.perf_counter() - started
        assert result.pending == 0, "the tables were not warm"
        assert sum(counts) + result.open == self.actors
        return taken

    def walked(self) -> float:
        """The yardstick: a plain Python dictionary of dictionaries, a look-up per symbol."""
        sample = min(self.actors, 20_000)
        table: dict[int, dict[int, int]] = {0: dict.fromkeys(range(4096), 0)}
        symbols = memoryview(self.symbols).cast("I")
        started = time.perf_counter()
        for i in range(sample):
            at = 0
            for symbol in symbols[self.offsets[i] : self.offsets[i + 1]]:
                at = table[at][symbol]
        return (time.perf_counter() - started) / sample


def batches(folder: Path, profile: str, runs: int) -> list[Row]:
    """Nanoseconds per actor, with loops kept and erased."""
    rows = []
    bars = {("loan", False): 40, ("loan", True): 70, ("interleaved", False): 80, ("interleaved", True): 140}
    for erase in (False, True):
        routed_by, symbols = router(folder, erase)
        encoded = Encoded(routed_by, symbols, folder / "actors.jsonl")
        gc.collect()
        encoded.seconds(routed_by)
        each = median([encoded.seconds(routed_by) for _ in range(max(runs, 5))]) / encoded.actors
        bar = bars[(profile, erase)]
        yardstick = encoded.walked()
        share = f"{100 * encoded.distinct / encoded.actors:.0f}% distinct"
        rows.append(
            Row(
                f"routing, {profile} ({share}), loops {'erased' if erase else 'kept'}",
                f"{each * 1e9:.1f} ns per actor",
                f"{yardstick / each:.0f} times a Python dictionary walk",
                f"{bar} ns",
                each * 1e9 <= bar,
            )
        )
    return rows


def single(folder: Path, calls: int = 50_000) -> list[Row]:
    """One actor from Python, the crossing included; an encoded one, and from its event names."""
    routed_by, symbols = router(folder, False)
    batch = next(iter(read_actors(str(folder / "actors.jsonl"), symbols=symbols)))
    routed_by.route(batch.actors, batch.plain)
    plain = next(iter(read_actors(str(folder / "actors.jsonl"))))
    routed_by.route(plain.actors)
    encoded = [
        (routed_by.trace(a.history or (), batch.plain), routed_by.head(a, batch.plain), a)
        for a in batch.actors[:1000]
    ]
    named = list(plain.actors[:1000])

    def spread(call: Any, items: list[Any]) -> list[int]:
        clock, times = time.perf_counter_ns, []
        for i in range(calls):
            item = items[i % len(items)]
            started = clock()
            call(item)
            times.append(clock() - started)
        return sorted(times)

    rows = []
    for what, call, items, bar in (
        ("one actor from Python, encoded", lambda x: routed_by.decide_trace(*x), encoded, ARTICLE),
        ("one actor from Python, as it was read", routed_by.route_one, named, None),
    ):
        times = spread(call, items)
        p50, p95, p99 = (times[int(len(times) * q)] for q in (0.5, 0.95, 0.99))
        rows.append(
            Row(
                what,
                f"p50 {p50} ns, p95 {p95} ns, p99 {p99} ns",
                f"the article's engine, p50 {ARTICLE * 1e9:.0f} ns" if bar else "",
                f"p50 {bar * 1e9:.0f} ns" if bar else "none",
                bar is None or p50 <= bar * 1e9,
            )
        )
    return rows
