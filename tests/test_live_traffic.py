"""An apply on tables that others go on writing to; and two applies at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from statekeep_cli import cli
from statekeep_cli.errors import RunLocked
from statekeep_cli.stores import runs
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.runs import STALE_SECONDS, Lease
from tests.databases import Database
from tests.forked import Child, Forker, forker
from tests.orders import STEPS, Orders, Seen, decisions_of, recorded, records

MANY = {"postgres": 50_000, "sqlite": 4_000}
WRITERS = {"postgres": 3, "sqlite": 2}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    with forker(tmp_path_factory.mktemp("said")) as found:
        yield found


# --- writers: a team's application, which knows nothing about StateKeep ---


def write(kind: str, where: str, ids: list[int], seed: int, said: str) -> None:
    """One writer: advances orders until it is told to stop (SIGTERM); says what it has committed.

    State, revision and event go in one transaction, by compare-and-set on the revision. It waits for no
    lock longer than 5 seconds.
    """
    stopping: list[int] = []
    began_by = os.getppid()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    rng = random.Random(seed)
    connection: Any
    if kind == "postgres":
        connection = psycopg.connect(where, autocommit=True)
        connection.execute("SET lock_timeout = '5s'")
        connection.execute("SET statement_timeout = '10s'")
        place, begin = "%s", "BEGIN"
    else:
        connection = sqlite3.connect(where, timeout=5, isolation_level=None)
        place, begin = "?", "BEGIN IMMEDIATE"
    found: dict[str, Any] = {"written": [], "missed": 0, "failed": []}
    while not stopping and os.getppid() == began_by:
        order = rng.choice(ids)
        try:
            state, version, revision, why = connection.execute(
                f"SELECT state, ver, rev, why FROM orders WHERE id = {place}", (order,)
            ).fetchone()
            steps = [s for s in STEPS.get((version, state), []) if s[0] != "CANCEL"]
            if not steps or why is not None:
                continue
            event, target = rng.choice(steps)
            connection.execute(begin)
            changed = connection.execute(
                f"UPDATE orders SET state = {place}, rev = rev + 1 WHERE id = {place} AND rev = {place}",
                (target, order, revision),
            ).rowcount
            if changed:
                connection.execute(
                    f"INSERT INTO orders_log (order_id, event) VALUES ({place}, {place})", (order, event)
                )
                connection.execute("COMMIT")
                found["written"].append([order, event])
                time.sleep(0.001)  # or all orders are delivered before the apply begins
            else:
                connection.execute("ROLLBACK")
                found["missed"] += 1
        except (psycopg.Error, sqlite3.Error) as error:
            found["failed"].append(f"{type(error).__name__}: {error}")
            with suppress(psycopg.Error, sqlite3.Error):
                connection.execute("ROLLBACK")
    connection.close()
    Path(said).write_text(json.dumps(found))


class Writers:
    """Writers in processes of their own."""

    def __init__(self, orders: Orders, database: Database, folder: Path):
        self.where = str(database.path) if database.path else database.url
        self.kind, self.folder = database.kind, folder
        self._processes: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, count: int, ids: list[int]) -> None:
        path = self.folder / "ids.json"
        path.write_text(json.dumps(ids))
        for n in range(count):
            said = self.folder / f"writer-{n}.json"
            code = (
                "import json, sys; from pathlib import Path; from tests.test_live_traffic import write;"
                "kind, where, ids, seed, said = sys.argv[1:];"
                "write(kind, where, json.loads(Path(ids).read_text()), int(seed), said)"
            )
            command = [sys.executable, "-c", code, self.kind, self.where, str(path), str(n), str(said)]
            process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
            self._processes.append((process, said))

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        for process, _said in self._processes:
            process.kill()
            process.wait()

    def stop(self) -> list[dict[str, Any]]:
        for process, _ in self._processes:
            process.terminate()
        found = []
        for process, said in self._processes:
            assert process.wait(60) == 0
            found.append(json.loads(said.read_text()))
        return found


def populate(database: Database, folder: Path, count: int) -> tuple[Orders, list[int]]:
    """Orders with columns of their own; those that may move, as numbers."""
    orders = Orders("column", database.url, folder)
    store = database.connect()
    orders.create(store, [])
    found = [r for r in records(count, 3) if r.get("history") is not None and r["version"] == 1]
    rows, log = [], []
    for r in found:
        snapshot = r.get("snapshot")
        state = snapshot["value"] if snapshot else r["state"]
        context = snapshot["context"] if snapshot else r.get("context")
        rows.append((int(r["id"]), state, None if context is None else json.dumps(context), 1))
        log += [(int(r["id"]), event) for event in r["history"]]
    if database.kind == "postgres":
        with psycopg.connect(database.url) as connection, connection.cursor() as cursor:
            with cursor.copy("COPY orders (id, state, data, ver) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            with cursor.copy("COPY orders_log (order_id, event) FROM STDIN") as copy:
                for entry in log:
                    copy.write_row(entry)
            cursor.execute("ANALYZE")
    else:
        with sqlite3.connect(str(database.path)) as connection:
            connection.executemany("INSERT INTO orders (id, state, data, ver) VALUES (?, ?, ?, ?)", rows)
            connection.executemany("INSERT INTO orders_log (order_id, event) VALUES (?, ?)", log)
    return orders, [row[0] for row in rows]


def until(child: Child, what: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if what():
            return
        if Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.01)
    raise AssertionError(f"it never came to that: {child.said}")


# --- live traffic ---


@pytest.mark.parametrize("gated", [False, True], ids=["open", "gated"])
def test_traffic_all_through_an_apply(gated: bool, database: Database, forks: Forker, tmp_path: Path) -> None:
    """Behind a gate everybody is decided before the first write, and many move in between."""
    orders, ids = populate(database, tmp_path, MANY[database.kind] * 5 // 4)
    if gated:
        orders.plain()
    assert len(ids) >= MANY[database.kind]
    store = database.connect()
    contexts = {i: s.context for i, s in orders.seen(store).items()}
    starts, logged = orders.seen(store), orders.events(store)
    pace = ["--max-rate", "3000", "--batch-size", "200"] if database.kind == "sqlite" else []
    with Writers(orders, database, tmp_path) as writers:
        writers.start(WRITERS[database.kind], ids)
        until_written(store, 20)
        ended = forks.run(*orders.apply("--jobs", "2", *pace, *(["--max-strand", "99%"] if gated else [])))
        until_written(store, 200)
        written = writers.stop()
    assert ended.code in (0, 7), ended.said

    assert [w["failed"] for w in written] == [[]] * len(written)
    assert all(len(w["written"]) > 10 for w in written)
    events = orders.events(store)
    added: dict[str, int] = defaultdict(int)
    for w in written:
        for order, _ in w["written"]:
            added[str(order)] += 1
    for order, trace in events.items():
        assert len(trace) == len(logged.get(order, [])) + added[order], order
    after, decided = orders.seen(store), decisions_with_events(store)
    moved = sum(1 for order, (_, seen) in decided.items() if seen < len(events.get(order, [])))
    between = sum(1 for order, (_, seen) in decided.items() if seen > len(logged.get(order, [])))
    print(f"{sum(added.values())} events, {between} orders moved before their decision, {moved} after it;"
          f" {sum(w['missed'] for w in written)} writes missed")  # fmt: skip
    assert between
    assert moved
    lines, states = [], {}
    for order, (decision, seen) in decided.items():
        trace = events.get(order, [])
        # The state in which the decision found it: from where it began, as far as its events led by then.
        state = starts[order].state
        for event in trace[len(logged.get(order, [])) : seen]:
            state = dict(STEPS[(1, state)])[event]
        record = {"id": order, "definition": "order", "version": 1, "state": state}
        if trace[:seen]:  # without a row an order has no history
            record["history"] = trace[:seen]
        if contexts[order] is not None:
            record["context"] = contexts[order]
        lines.append(json.dumps(record) + "\n")
        # ... and where it is by now: what came after it, from where it was put.
        version = 1
        if decision["outcome"] == "migrate":
            state, version = decision["to"]["state"], 2
        for event in trace[seen:]:
            state = dict(STEPS[(version, state)])[event]
        states[order] = (state, str(version))
    assert states == {order: (after[order].state, after[order].version) for order in decided}
    export, found = tmp_path / "as-they-were.jsonl", tmp_path / "decisions.jsonl"
    export.write_text("".join(lines))
    arguments = ["--actors", str(export), "--max-strand", "all", "--allow-hazards", "--quiet"]
    assert cli.main(["preview", orders.v1, orders.v2, *arguments, "--format", f"jsonl={found}"]) == 0
    assert decisions_of(found) == {order: decision for order, (decision, _) in decided.items()}
    assert_done(after, decided)


def assert_done(after: dict[str, Seen], decided: dict[str, Any]) -> None:
    """Whoever has no decision is at its end."""
    assert set(decided) <= set(after)
    assert {after[order].state for order in after.keys() - decided.keys()} <= {"delivered", "cancelled"}


def until_written(store: Store, more: int) -> None:
    """Until writers have written so much more."""
    before = store.rows("SELECT max(n) FROM orders_log")[0][0]
    for _ in range(3_000):
        if store.rows("SELECT max(n) FROM orders_log")[0][0] > before + more:
            return
        time.sleep(0.01)
    raise AssertionError("nobody writes")


def decisions_with_events(store: Store) -> dict[str, tuple[Any, int]]:
    """actor -> (decision of the only run, how many items of the trace it has seen)."""
    found = recorded(store)
    rows = store.rows("SELECT actor, events FROM {decisions}")
    assert len(rows) == len(found)
    return {actor: (found[actor], events) for actor, events in rows}


# --- actors that come meanwhile ---


def keep_coming(kind: str, where: str, first: int, count: int) -> None:
    """Old processes: `count` new orders of version 1, with ids before all others, one every while."""
    connection: Any
    if kind == "postgres":
        connection, place = psycopg.connect(where, autocommit=True), "%s"
    else:
        connection, place = sqlite3.connect(where, timeout=10, isolation_level=None), "?"
    for n in range(count):
        connection.execute(
            f"INSERT INTO orders (id, state, ver) VALUES ({place}, 'created', 1)", (first - n,)
        )
        time.sleep(0.002)
    connection.close()


def coming(database: Database, count: int) -> multiprocessing.process.BaseProcess:
    where = str(database.path) if database.path else database.url
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=keep_coming, args=(database.kind, where, 900, count))
    process.start()
    return process


def test_actors_that_come_for_a_while(database: Database, forks: Forker, tmp_path: Path) -> None:
    orders, _ = populate(database, tmp_path, 400)
    child = forks.start(*orders.apply("--batch-size", "20", "--max-rate", "400"))
    store = database.connect()
    until(child, lambda: store.rows("SELECT count(*) FROM {decisions}")[0][0] > 20)
    for n in range(10):
        store.execute("INSERT INTO orders (id, state, ver) VALUES (%s, 'created', 1)", (900 - n,))
    ended = child.wait()
    assert ended.code == 0, ended.said
    assert {s.version for s in orders.seen(store).values() if s.status == "active"} <= {"1", "2"}
    decided = recorded(store)
    assert all(str(900 - n) in decided for n in range(10))
    assert store.rows("SELECT status FROM {runs}") == [("done",)]


def test_actors_that_keep_coming(database: Database, forks: Forker, tmp_path: Path) -> None:
    orders, _ = populate(database, tmp_path, 100)
    process = coming(database, 1_000_000)
    store = database.connect()
    try:
        for _ in range(3_000):
            if store.rows("SELECT count(*) FROM orders WHERE id <= 900")[0][0] > 5:
                break
            time.sleep(0.01)
        ended = forks.run(*orders.apply("--batch-size", "10", "--max-rate", "500"))
    finally:
        process.terminate()
        process.join()
    assert ended.code == 7, ended.said
    assert "came while it ran" in ended.said
    assert store.rows("SELECT status FROM {runs}") == [("stopped",)]
    ended = forks.run(*orders.apply())
    assert ended.code == 0, ended.said
    assert store.rows("SELECT status FROM {runs}") == [("done",)]
    assert_done(orders.seen(store), recorded(store))


# --- two at once ---


@pytest.fixture
def orders(database: Database, tmp_path: Path) -> Orders:
    found = Orders("column", database.url, tmp_path)
    found.create(database.connect(), records(60, 5))
    return found


def test_two_applies_at_once(database: Database, orders: Orders, forks: Forker) -> None:
    store = database.connect()
    child = forks.start(*orders.apply("--batch-size", "3", "--max-rate", "40"))
    until(child, lambda: store.rows("SELECT count(*) FROM {decisions}")[0][0] > 3)
    other = forks.run(*orders.apply())
    assert other.code == 6, other.said
    assert f"process {child.pid} on {os.uname().nodename}" in other.said
    assert orders.preview(orders.folder / "meanwhile.jsonl")  # reading is free
    ended = child.wait()
    assert ended.code == 0, ended.said
    assert store.rows("SELECT status FROM {runs}") == [("done",)]


def test_a_dead_holder_is_nobody(database: Database, orders: Orders, forks: Forker) -> None:
    store = database.connect()
    child = forks.start(*orders.apply("--batch-size", "3", "--max-rate", "40"))
    until(child, lambda: store.rows("SELECT count(*) FROM {decisions}")[0][0] > 3)
    child.signal(signal.SIGKILL)
    assert child.wait().code == -signal.SIGKILL
    holder = store.rows("SELECT token, pid FROM {populations} WHERE token IS NOT NULL")
    assert [pid for _, pid in holder] == [child.pid]
    ended = forks.run(*orders.apply())
    assert ended.code == 0, ended.said
    assert "going on with run 1" in ended.said


# --- leases ---


def elsewhere(store: Store, population: int, **more: Any) -> None:
    """The holder is a process of another host, of which only its heartbeat is known."""
    values = {"host": "elsewhere.example", "pid": 1, "boot": None, "locked": False, **more}
    names = ", ".join(f"{name} = %s" for name in values)
    store.execute(f"UPDATE {{populations}} SET {names} WHERE population = %s", [*values.values(), population])


@pytest.fixture
def pooled(database: Database, orders: Orders) -> Callable[[], Any]:
    """Connections behind a transaction pooler: a session's lock means nothing there."""

    def connected() -> Any:
        store: Any = database.connect()
        store.pooled = True
        return store

    return connected


def population_of(store: Store, name: str = "orders") -> int:
    found = runs.population(store, name)
    assert found is not None
    return found


def test_a_living_holder_behind_a_pooler_is_named(pooled: Callable[[], Any]) -> None:
    one, other = pooled(), pooled()
    number = population_of(one)
    lease = Lease(one, number, "orders", stale=0.2)
    assert not lease.locks
    with pytest.raises(RunLocked, match=rf"process {os.getpid()} on {os.uname().nodename} since 2"):
        Lease(other, number, "orders", stale=0.2)
    lease.release()
    Lease(other, number, "orders", stale=0.2).release()


def test_a_heartbeat_keeps_a_lease(pooled: Callable[[], Any]) -> None:
    one, other = pooled(), pooled()
    number = population_of(one)
    lease = Lease(one, number, "orders", stale=5)
    elsewhere(one, number)
    stop = threading.Event()

    def beating() -> None:
        store = pooled()
        while not stop.wait(0.05):
            assert runs.beat(store, number, lease.token)

    thread = threading.Thread(target=beating)
    thread.start()
    try:
        with pytest.raises(RunLocked, match=r"process 1 on elsewhere\.example"):
            Lease(other, number, "orders", stale=5)
    finally:
        stop.set()
        thread.join()


def test_a_holder_whose_heart_stands_still_is_gone(pooled: Callable[[], Any]) -> None:
    one, other = pooled(), pooled()
    number = population_of(one)
    lease = Lease(one, number, "orders", stale=0.2)
    elsewhere(one, number)
    taken = Lease(other, number, "orders", stale=0.2)
    with pytest.raises(RunLocked):
        lease.beat()
    run = runs.begin(other, number, "apply", "order", "2", {})
    with pytest.raises(RunLocked, match="taken over"), one.transaction():
        runs.control(one, number, run.run, lease.token)
    with other.transaction():
        assert runs.control(other, number, run.run, taken.token) == "go"


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z"])
def test_a_clock_that_jumps_frees_nothing_and_keeps_nothing(pooled: Callable[[], Any], clock: str) -> None:
    one, other = pooled(), pooled()
    number = population_of(one)
    Lease(one, number, "orders", stale=0.2)
    one.execute("UPDATE {populations} SET beat_at = %s, since = %s", (clock, clock))
    with pytest.raises(RunLocked):  # this very process, which lives
        Lease(other, number, "orders", stale=0.2)
    elsewhere(one, number, beat_at=clock)
    Lease(other, number, "orders", stale=0.2).release()


def test_a_batch_that_is_being_written_keeps_its_lease(pooled: Callable[[], Any], database: Database) -> None:
    """Whoever takes over a lease waits for what its holder has begun."""
    if database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    one, other = pooled(), pooled()
    number = population_of(one)
    lease = Lease(one, number, "orders", stale=0.2)
    elsewhere(one, number)
    run = runs.begin(one, number, "apply", "order", "2", {})
    taken: list[Lease] = []
    with one.transaction():
        assert runs.control(one, number, run.run, lease.token) == "go"
        thread = threading.Thread(target=lambda: taken.append(Lease(other, number, "orders", stale=0.1)))
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        waiting += " WHERE NOT l.granted AND a.datname = current_database()"
        for _ in range(500):
            if pooled().rows(waiting) == [(1,)]:
                break
            time.sleep(0.01)
        assert not taken
    thread.join()
    assert taken


def test_a_session_of_a_dead_process_lingers(postgres: Database, tmp_path: Path, forks: Forker) -> None:
    """The server has not noticed yet that the holder is gone: its lock is waited for."""
    orders = Orders("column", postgres.url, tmp_path)
    store = postgres.connect()
    orders.create(store, records(30, 5))
    number = population_of(store)
    lingering = postgres.connect()
    lease = Lease(lingering, number, "orders")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store.execute("UPDATE {populations} SET pid = %s WHERE token = %s", (dead.pid, lease.token))
    child = forks.start(*orders.apply())
    trying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory_lock%%'"
    trying += " AND application_name = 'statekeep' AND pid <> pg_backend_pid()"
    until(child, lambda: store.rows(trying)[0][0] > 0)
    lingering.close()
    ended = child.wait()
    assert ended.code == 0, ended.said


def test_stale_is_longer_than_a_beat() -> None:
    assert STALE_SECONDS > 3 * runs.BEAT_SECONDS
