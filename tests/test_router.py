"""The tables: growth, flushing, and that nothing but the actor itself decides about it."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Definition, build
from statekeep_cli.core.router import Limits, Router
from statekeep_cli.core.trace import Symbols
from statekeep_cli.readers.records import Block, Records
from tests.support import actor_of

SMALL = Limits(positions=40, words=1 << 12, facts=16, steps=16, hashed=64, heads=64, decisions=64, misses=4)


def loan(version: int, **more: Any) -> dict[str, Any]:
    return {
        "id": "loan",
        "version": version,
        "initial": "draft",
        "states": {
            "draft": {"on": {"SUBMIT": "submitted"}},
            "submitted": {"on": {"PAY": "docs" if version == 1 else "income", "WAIVE": "docs"}},
            "income": {"on": {"VERIFIED": "docs"}},
            "docs": {"on": {"UPLOAD": "docs", "SEND": "review"}},
            "review": {"on": {"APPROVE": "approved", "MORE": "docs"}},
            "approved": {"on": {"PAY_OUT": "done", "MORE": "docs"}},
            "done": {"type": "final"},
        },
        **more,
    }


def regions(version: int, count: int, extra: int = 0, **more: Any) -> dict[str, Any]:
    """A parallel machine of `count` regions that each go through two steps."""
    return {
        "id": "wide",
        "version": version,
        "type": "parallel",
        "states": {
            f"r{i}": {
                "initial": "a",
                "states": {"a": {"on": {f"E{i}": "b"}}, "b": {"on": {f"F{i}": "c"}}, "c": {}},
            }
            for i in range(count + extra)
        },
        **more,
    }


def walk(d: dict[str, Any], length: int, rng: random.Random) -> tuple[list[str], str]:
    """A random trace through a flat machine, and where it ends."""
    at, trace = d["initial"], []
    for _ in range(length):
        events = {e: t for e, t in d["states"][at].get("on", {}).items() if t != "done"}
        if not events:
            break
        event = rng.choice(list(events))
        trace.append(event)
        at = events[event]
    return trace, at


def interleaved(count: int, rng: random.Random) -> tuple[list[str], dict[str, str]]:
    """Some steps of every region, in a random order."""
    steps = {i: rng.randint(0, 2) for i in range(count)}
    order = [i for i, n in steps.items() for _ in range(n)]
    rng.shuffle(order)
    seen: dict[int, int] = {}
    trace = []
    for i in order:
        trace.append(f"{'EF'[seen.get(i, 0)]}{i}")
        seen[i] = seen.get(i, 0) + 1
    return trace, {f"r{i}": "abc"[steps[i]] for i in range(count)}


def loans(n: int, seed: int) -> list[dict[str, Any]]:
    rng, d = random.Random(seed), loan(1)
    actors = []
    for i in range(n):
        trace, state = walk(d, rng.randint(0, 12), rng)
        actors.append(
            {"id": str(i), "state": state, "history": trace, "context": {"amount": rng.randint(0, 9)}}
        )
    return actors


def decided(router: Router, actors: Iterable[dict[str, Any]], size: int) -> list[Decision]:
    found, batch = [], [actor_of(a) for a in actors]
    for start in range(0, len(batch), size):
        routed = router.route(batch[start : start + size])
        assert sum(routed.counts.values()) == len(routed.ids)
        found += [routed[i] for i in range(len(routed.ids))]
    return found


MIGRATION = {
    "anchors": {
        "paid": {"event": "PAY"},
        "twice": {"count": {"of": {"event": "MORE"}, "atLeast": 2}},
        "fresh": {"since": {"of": {"event": "UPLOAD"}, "reset": {"event": "MORE"}}},
        "sent": {"sequence": [{"event": "UPLOAD"}, {"state": "review"}], "resume": "review"},
    },
    "routes": [
        {
            "from": "docs",
            "when": {"all": ["paid"], "context": {"properties": {"amount": {"minimum": 5}}}},
            "to": "income",
        },
        {"from": "approved", "when": {"any": ["twice"]}, "stay": True},
    ],
}


@pytest.mark.parametrize("loops", ["keep", "erase"])
def test_decisions_depend_on_nothing_but_the_actor(loops: str) -> None:
    """Law 5: batch size, order, and table flushes change no decision."""
    sources, target = [build(loan(1))], build(loan(2, migration={**MIGRATION, "policy": {"loops": loops}}))
    actors = loans(400, 7)
    expected = decided(Router(Deployment(sources, target)), actors, 400)
    assert len({d.outcome for d in expected}) > 1
    assert decided(Router(Deployment(sources, target)), actors, 1) == expected
    assert decided(Router(Deployment(sources, target)), reversed(actors), 37) == expected[::-1]
    small = Router(Deployment(sources, target), limits=SMALL)
    assert decided(small, actors, 25) == expected
    assert small.flushes > 0


@pytest.mark.parametrize("loops", ["keep", "erase"])
def test_tables_are_flushed_and_decisions_stay(loops: str) -> None:
    """Nearly distinct traces through twelve regions, with tables far smaller than they need."""
    rng = random.Random(3)
    sources, target = [build(regions(1, 12))], build(regions(2, 12, migration={"policy": {"loops": loops}}))
    actors = []
    for i in range(60):
        trace, state = interleaved(12, rng)
        actors.append({"id": str(i), "state": state, "history": trace})
    small = Router(Deployment(sources, target), limits=SMALL)
    found = decided(small, actors, 20)
    assert small.flushes > 0
    assert {d.outcome for d in found} == {"migrate"}
    assert [d.target.value for d in found if d.target] == [a["state"] for a in actors]


def test_a_trace_larger_than_the_tables() -> None:
    sources, target = [build(regions(1, 12))], build(regions(2, 12))
    tiny = Limits(positions=4, words=1 << 10, facts=4, steps=4, hashed=8, heads=8, decisions=8, misses=2)
    router = Router(Deployment(sources, target), limits=tiny)
    trace = [f"E{i}" for i in range(12)]
    actor = actor_of({"id": "1", "state": {f"r{i}": "b" for i in range(12)}, "history": trace})
    assert router.route([actor])[0].outcome == "migrate"
    assert router.flushes > 0


@pytest.mark.parametrize("loops", ["keep", "erase"])
def test_a_very_long_trace(loops: str) -> None:
    sources, target = [build(loan(1))], build(loan(2, migration={"policy": {"loops": loops}}))
    trace = ["SUBMIT", "WAIVE"] + ["UPLOAD", "SEND", "MORE"] * 33_333
    actor = actor_of({"id": "1", "state": "docs", "history": trace})
    assert router_decides(sources, target, actor).outcome == "migrate"


def test_a_large_machine() -> None:
    states = {f"s{i}": {"on": {f"E{i}": f"s{i + 1}"}} for i in range(499)} | {"s499": {}}
    config = {"id": "long", "version": 1, "initial": "s0", "states": states}
    sources, target = [build(config)], build({**config, "version": 2})
    actor = actor_of({"id": "1", "state": "s499", "history": [f"E{i}" for i in range(499)]})
    assert router_decides(sources, target, actor).outcome == "migrate"


def router_decides(sources: list[Definition], target: Definition, actor: Any) -> Decision:
    return Router(Deployment(sources, target)).route([actor])[0]


def test_event_types_never_seen_before_are_no_obstacle() -> None:
    sources, target = [build(loan(1))], build(loan(2))
    trace = [f"UNKNOWN_{i}" for i in range(500)] + ["SUBMIT"]
    actor = actor_of({"id": "1", "state": "submitted", "history": trace})
    assert router_decides(sources, target, actor).outcome == "migrate"


def test_letters_and_items_decide_alike() -> None:
    """The readers' two ways to hold a trace: interned event types, and whole items."""
    symbols = Symbols()
    sources, target = [build(loan(1))], build(loan(2, migration=MIGRATION))
    actors = loans(200, 11)
    data = b"".join(json.dumps(a).encode() + b"\n" for a in actors)
    batch = Records(symbols).batch(Block(data, 1, len(actors) + 1))
    assert batch.plain
    plain = Router(Deployment(sources, target), symbols).route(batch.actors, batch.plain)
    whole = Router(Deployment(sources, target)).route([actor_of(a) for a in actors])
    assert [plain[i] for i in range(200)] == [whole[i] for i in range(200)]


def test_routers_in_threads() -> None:
    """Routers share definitions and deployments' values, not tables: each thread has its own."""
    sources, target = [build(loan(1))], build(loan(2, migration=MIGRATION))
    actors = [actor_of(a) for a in loans(100, 5)]
    routed = Router(Deployment(sources, target)).route(actors)
    expected = [routed[i] for i in range(100)]
    results: dict[int, list[Decision]] = {}

    def work(number: int) -> None:
        routed = Router(Deployment(sources, target)).route(actors)
        results[number] = [routed[i] for i in range(100)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(results[i] == expected for i in range(2))


def test_a_definition_against_itself_moves_everyone_to_where_they_are() -> None:
    """Law 7, on a machine whose guards change within one macrostep, the first one included."""
    config = {
        "id": "m",
        "version": 1,
        "initial": "start",
        "states": {
            "start": {
                "on": {"GO": {"target": "mid", "guard": "g"}},
                "always": [{"target": "mid", "guard": "g"}],
            },
            "mid": {"always": {"target": "far", "guard": "g"}, "on": {"BACK": "start"}},
            "far": {"on": {"BACK": "mid"}},
        },
    }
    sources, target = [build(config)], build({**config, "version": 2})
    for trace in ([], ["GO"], ["GO", "BACK"], ["BACK", "BACK", "GO"]):
        for state in ("start", "mid", "far"):
            actor = actor_of({"id": "1", "state": state, "history": trace})
            decision = router_decides(sources, target, actor)
            if decision.reason == "history_inconsistent":
                continue  # this trace cannot end there
            assert decision.outcome == "migrate", (state, trace, decision)
            assert decision.target is not None
            assert decision.target.value == state
