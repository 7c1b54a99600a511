"""An apply that is killed, cut off, refused or told to stop: never half, and finished by running it again.

`STATEKEEP_KILLS=300 pytest tests/test_never_half.py -k killed` does it 300 times per store; `STATEKEEP_SEED`
repeats one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from statekeep_cli.stores.connect import connect
from statekeep_cli.stores.interface import Store
from tests.databases import Database, Server, own_server
from tests.forked import Child, Forker, forker
from tests.orders import LAYOUTS, Orders, Seen, recorded, records, verify

KILLS = int(os.environ.get("STATEKEEP_KILLS", "40"))
SEED = int(os.environ.get("STATEKEEP_SEED", "0")) or time.time_ns() % 1_000_000
SIZE = 60


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    with forker(tmp_path_factory.mktemp("said")) as found:
        yield found


@dataclass(slots=True)
class Prepared:
    """A population ready to be applied to, and what preview says about it."""

    orders: Orders
    before: dict[str, Seen]
    expected: dict[str, Any]

    @property
    def held(self) -> str:
        """SQL that locks an order in the middle, which is to be migrated."""
        moving = sorted(i for i, d in self.expected.items() if d["outcome"] == "migrate")
        return f"SELECT 1 FROM orders WHERE id = {moving[len(moving) // 2]} FOR UPDATE"

    def check(self, forks: Forker) -> None:
        """The run is complete and right, and once more changes nothing."""
        store = connect(self.orders.url)
        try:
            runs = store.rows("SELECT run, status FROM {runs} ORDER BY run")
            assert {status for _, status in runs} == {"done"}
            verify(self.orders, store, self.before, self.expected, runs[0][0])
            for run, _ in runs[1:]:  # killed between its last word and its end, and run again: all as it was
                assert recorded(store, run) == {
                    i: d for i, d in self.expected.items() if d["outcome"] in ("strand", "stay")
                }
            whole = self.orders.seen(store), recorded(store)
            again = forks.run(*self.orders.apply("--format", f"json={os.devnull}"))
            assert again.code == 0, again.said
            assert "nothing to do" in again.said
            assert (self.orders.seen(store), recorded(store)) == whole
            assert store.rows("SELECT token FROM {populations} WHERE token IS NOT NULL") == []
        finally:
            store.close()


def prepare(layout: str, url: str, folder: Path, seed: int, size: int = SIZE) -> Prepared:
    orders = Orders(layout, url, folder)
    store = connect(url)
    try:
        orders.create(store, records(size, seed))
        before = orders.seen(store)
    finally:
        store.close()
    return Prepared(orders, before, orders.preview(folder / "expected.jsonl"))


class Copies:
    """Copies of a prepared database, quickly."""

    def __init__(self, database: Database, server: Server | None, folder: Path):
        self.database, self.server, self.folder = database, server, folder

    @contextmanager
    def one(self, prepared: Prepared) -> Iterator[None]:
        """Work on a copy, which is then thrown away."""
        original = prepared.orders.url
        if self.server is None:
            assert self.database.path is not None
            copy = self.folder / "copy.db"
            for path in self.folder.glob("copy.db*"):
                path.unlink()
            with sqlite3.connect(self.database.path) as source:
                source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copy(self.database.path, copy)
            prepared.orders.url = f"sqlite:///{copy}"
            try:
                yield
            finally:
                prepared.orders.url = original
            return
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            name = psycopg.conninfo.conninfo_to_dict(original)["dbname"]
            copy_name = f"{name}_copy"
            template = f'CREATE DATABASE "{copy_name}" TEMPLATE "{name}" STRATEGY FILE_COPY'
            connection.execute(template.encode())
            prepared.orders.url = self.server.url(copy_name)
            try:
                yield
            finally:
                prepared.orders.url = original
                connection.execute(f'DROP DATABASE "{copy_name}" WITH (FORCE)'.encode())


@pytest.fixture
def copies(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Copies:
    server = request.getfixturevalue("postgres_server") if database.kind == "postgres" else None
    return Copies(database, server, tmp_path)


SMALL = ("--batch-size", "7", "--jobs", "2")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_killed_at_any_moment(
    database: Database, copies: Copies, forks: Forker, tmp_path: Path, layout: str
) -> None:
    seed = SEED + LAYOUTS.index(layout)
    print(f"STATEKEEP_SEED={SEED}")
    rng = random.Random(seed)
    prepared = prepare(layout, database.url, tmp_path, seed)
    command = list[str]()
    with copies.one(prepared):
        command = prepared.orders.apply(*SMALL)
        whole = forks.run(*command)
        assert whole.code == 0, whole.said
        prepared.check(forks)
    wanted = KILLS // len(LAYOUTS) + (LAYOUTS.index(layout) < KILLS % len(LAYOUTS))
    killed = 0
    while killed < wanted:
        with copies.one(prepared):
            command = prepared.orders.apply(*SMALL)
            if rng.random() < 0.3:  # counts first, and holds against the gate
                command = prepared.orders.apply(*SMALL, "--format", f"json={os.devnull}")
            for _ in range(rng.randint(1, 4)):
                ended = forks.run(*command, kill_after=rng.uniform(0, whole.seconds))
                assert ended.code in (0, -signal.SIGKILL), ended.said
                killed += ended.code != 0
            last = forks.run(*command)
            assert last.code == 0, last.said
            prepared.check(forks)
    print(f"{killed} kills of {layout} on {database.kind}")


# --- the server, and what it says no to ---


class Watch:
    """Starts an apply of a prepared population and waits for moments in it."""

    def __init__(self, forks: Forker, prepared: Prepared):
        self.forks, self.prepared = forks, prepared

    def slowly(self, *more: str, constants: dict[str, Any] | None = None) -> Child:
        """An apply that takes a while, and goes on by itself."""
        command = self.prepared.orders.apply("--batch-size", "3", "--jobs", "2", "--max-rate", "40", *more)
        return self.forks.start(*command, constants=constants)

    def until(self, child: Child, what: Callable[[Store], bool], url: str = "") -> None:
        """Until something is so in the database, while the child runs."""
        store = connect(url or self.prepared.orders.url)
        try:
            for _ in range(3_000):
                if what(store):
                    return
                if Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    break  # it has ended
                time.sleep(0.01)
            raise AssertionError(f"it never came to that: {child.said}")
        finally:
            store.close()

    def working(self, child: Child, decided: int = 6) -> None:
        """Until it has written some of its decisions, and not yet all."""
        self.until(child, lambda s: s.rows("SELECT count(*) FROM {decisions}")[0][0] >= decided)

    def finish(self, child: Child) -> None:
        """It ends well by itself, and everything is as it should be."""
        ended = child.wait()
        assert ended.code == 0, ended.said
        self.prepared.check(self.forks)


@pytest.fixture
def prepared(database: Database, tmp_path: Path) -> Prepared:
    return prepare("column", database.url, tmp_path, seed=7)


@pytest.fixture
def watch(forks: Forker, prepared: Prepared) -> Watch:
    return Watch(forks, prepared)


@pytest.fixture
def on_postgres(forks: Forker, postgres: Database, tmp_path: Path) -> Watch:
    return Watch(forks, prepare("column", postgres.url, tmp_path, seed=7))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_server_that_is_restarted(forks: Forker, tmp_path: Path, layout: str) -> None:
    with own_server() as server, server.database() as database:
        watch = Watch(forks, prepare(layout, database.url, tmp_path, seed=8))
        child = watch.slowly()
        watch.working(child)
        server.stop()
        server.start()
        watch.finish(child)


def test_connections_that_are_cut(on_postgres: Watch, postgres: Database) -> None:
    child = on_postgres.slowly()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for decided in (6, 20, 35):
            on_postgres.working(child, decided)
            cut = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'statekeep' AND datname = current_database()"
            ).fetchall()
            assert cut
    on_postgres.finish(child)


def test_only_the_connection_with_the_lock_is_cut(on_postgres: Watch, postgres: Database) -> None:
    child = on_postgres.slowly()
    on_postgres.working(child, 20)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        holders = (
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database"
        )
        holders += " WHERE datname = current_database())"
        cut = connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({holders}) x".encode()).fetchall()
    assert cut == [(True,)]
    on_postgres.finish(child)


def test_deadlocks(on_postgres: Watch, postgres: Database) -> None:
    """Others lock orders from the last to the first, in each of their transactions."""
    with psycopg.connect(postgres.url) as connection:
        connection.execute("SET deadlock_timeout = '20ms'")
        child = on_postgres.slowly("--max-rate", "4000", "--batch-size", "30")
        for _ in range(40):
            try:
                for order in range(1059, 999, -1):
                    connection.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", (order,))
            except psycopg.errors.DeadlockDetected:
                pass  # it was the one to give way
            connection.rollback()
    on_postgres.finish(child)


def test_a_deadlock_for_certain(on_postgres: Watch, postgres: Database) -> None:
    """The session holds the last order of the batch and then asks for the first, which the batch holds."""
    with psycopg.connect(postgres.url) as connection:
        connection.execute("SET deadlock_timeout = '10s'")  # the apply is the one to notice
        connection.execute("SELECT 1 FROM orders WHERE id = 1059 FOR UPDATE")
        child = on_postgres.forks.start(
            *on_postgres.prepared.orders.apply("--batch-size", "1000", "--jobs", "1"),
            constants={"stores.postgres.LOCK_MS": 30_000},
        )
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        waiting += " AND application_name = 'statekeep' AND datname = current_database()"
        on_postgres.until(child, lambda s: s.rows(waiting) == [(1,)])
        connection.execute("SELECT count(*) FROM (SELECT 1 FROM orders WHERE id < 1059 FOR UPDATE) x")
        connection.rollback()
    on_postgres.finish(child)
    assert "trying again: " in child.said
    assert "deadlock detected" in child.said


def test_a_lock_that_takes_too_long(on_postgres: Watch, postgres: Database) -> None:
    constants = {"stores.postgres.LOCK_MS": 100}
    with psycopg.connect(postgres.url) as connection:
        connection.execute(on_postgres.prepared.held.encode())
        child = on_postgres.slowly(constants=constants)
        on_postgres.until(child, lambda s: "lock timeout" in child.said)
        connection.rollback()
    on_postgres.finish(child)


def test_a_lock_that_is_never_let_go(on_postgres: Watch, postgres: Database) -> None:
    constants = {"stores.postgres.LOCK_MS": 20, "applying.TRIES": 3}
    with psycopg.connect(postgres.url) as connection:
        connection.execute(on_postgres.prepared.held.encode())
        ended = on_postgres.slowly(constants=constants).wait()
    assert ended.code == 7
    assert "run again to go on" in ended.said
    store = postgres.connect()
    assert store.rows("SELECT status FROM {runs}") == [("stopped",)]
    decided = store.rows("SELECT count(*) FROM {decisions}")[0][0]
    assert decided < len(on_postgres.prepared.expected)
    on_postgres.finish(on_postgres.slowly())


def test_a_statement_timeout(on_postgres: Watch, postgres: Database) -> None:
    """Updates are slow for a while: statements are cancelled and tried again."""
    store = postgres.connect()
    store.script(
        """CREATE TABLE slowness (seconds float); INSERT INTO slowness VALUES (1);
        CREATE FUNCTION slowed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(seconds) FROM slowness; RETURN NEW; END $$;
        CREATE TRIGGER slowed BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION slowed()"""
    )
    child = on_postgres.slowly(constants={"stores.postgres.STATEMENT_MS": 200})
    on_postgres.until(child, lambda s: "statement timeout" in child.said)
    store.execute("UPDATE slowness SET seconds = 0")
    on_postgres.finish(child)


def test_another_process_that_writes(forks: Forker, sqlite: Database, tmp_path: Path) -> None:
    """SQLite: one writer at a time; the apply waits for it, within bounds."""
    watch = Watch(forks, prepare("column", sqlite.url, tmp_path, seed=7))
    connection = sqlite3.connect(str(sqlite.path), isolation_level=None)
    constants = {"stores.sqlite.BUSY_SECONDS": 0.1}
    child = watch.slowly(constants=constants)
    watch.working(child)
    connection.execute("BEGIN IMMEDIATE")
    watch.until(child, lambda s: "database is locked" in child.said)
    connection.execute("ROLLBACK")
    watch.finish(child)
    connection.close()


def test_another_process_that_writes_for_ever(forks: Forker, sqlite: Database, tmp_path: Path) -> None:
    watch = Watch(forks, prepare("column", sqlite.url, tmp_path, seed=7))
    connection = sqlite3.connect(str(sqlite.path), isolation_level=None)
    child = watch.slowly(constants={"stores.sqlite.BUSY_SECONDS": 0.02, "applying.TRIES": 3})
    watch.working(child)
    connection.execute("BEGIN IMMEDIATE")
    ended = child.wait()
    assert ended.code == 7, ended.said
    assert "database is locked" in ended.said
    connection.execute("ROLLBACK")
    connection.close()
    watch.finish(watch.slowly())


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_the_batch(watch: Watch, number: int) -> None:
    child = watch.slowly()
    watch.working(child)
    child.signal(number)
    ended = child.wait()
    assert ended.code == 7, ended.said
    assert "was stopped; run again to go on" in ended.said
    store = connect(watch.prepared.orders.url)
    assert store.rows("SELECT status FROM {runs}") == [("stopped",)]
    store.close()
    watch.finish(watch.slowly())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_interrupts(on_postgres: Watch, postgres: Database, number: int, code: int) -> None:
    with psycopg.connect(postgres.url) as connection:
        connection.execute(on_postgres.prepared.held.encode())
        child = on_postgres.slowly(constants={"stores.postgres.LOCK_MS": 60_000})
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        waiting += " AND application_name = 'statekeep' AND datname = current_database()"
        on_postgres.until(child, lambda s: s.rows(waiting) == [(1,)])
        child.signal(number)
        time.sleep(0.3)  # two signals at once are one
        child.signal(number)
        ended = child.wait()
        assert ended.code == code, ended.said
        connection.rollback()
    on_postgres.finish(on_postgres.slowly())


def test_killed_and_not_yet_buried(watch: Watch) -> None:
    """A killed process of which nobody has asked how it ended is no holder of anything."""
    child = watch.slowly()
    watch.working(child)
    child.signal(signal.SIGKILL)
    watch.until(child, lambda s: "Z" in Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2])
    watch.finish(watch.slowly())
    assert child.wait().code == -signal.SIGKILL
