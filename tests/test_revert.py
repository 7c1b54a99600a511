"""`statekeep revert`: what a run did is put back, exactly, in every layout; who moved is left alone."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli import cli, reverting
from statekeep_cli.stores import runs
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.runs import Lease
from tests.databases import Database
from tests.forked import Forker, forker
from tests.orders import LAYOUTS, Orders, records, verify

Command = Callable[..., int]


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    with forker(tmp_path_factory.mktemp("said")) as found:
        yield found


@pytest.fixture(params=LAYOUTS)
def orders(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Orders:
    """A population with every kind of decision."""
    found = Orders(request.param, database.url, tmp_path)
    found.create(database.connect(), records(80, 7))
    return found


def revert(orders: Orders, run: int, *more: str) -> list[str]:
    return ["revert", str(run), "--db", orders.url, "--config", orders.config, "--quiet", *more]


def rows(orders: Orders, store: Store) -> dict[str, Any]:
    """What the tables hold, byte by byte, without revisions."""
    if orders.layout == "own":
        found = store.rows(
            "SELECT id, definition, version, status, reason, CAST(state AS text), CAST(context AS text),"
            " CAST(snapshot AS text) FROM {actors}"
        )
    elif orders.layout == "column":
        found = store.rows("SELECT id, state, ver, why, CAST(data AS text) FROM orders")
    else:
        found = store.rows(
            "SELECT o.id, o.state, CAST(o.data AS text), coalesce(m.version, '1'),"
            " coalesce(m.status, 'active'), m.reason FROM orders o LEFT JOIN {marks} m ON m.actor = o.id"
        )
    return {str(row[0]): row[1:] for row in found}


def move(orders: Orders, store: Store, actor: str) -> None:
    """What the team's own programs do to an actor."""
    if orders.layout == "own":
        store.execute("UPDATE {actors} SET revision = revision + 1 WHERE id = %s", (actor,))
    elif orders.layout == "column":
        store.execute("UPDATE orders SET rev = rev + 1 WHERE id = %s", (int(actor),))
    else:
        revision = "state = state" if store.kind == "postgres" else "rev = rev + 1"
        store.execute(f"UPDATE orders SET {revision} WHERE id = %s", (actor,))


def decided(store: Store, run: int, *outcomes: str) -> list[str]:
    found = store.rows(
        "SELECT d.actor, c.outcome FROM {decisions} d JOIN {classes} c ON c.run = d.run AND c.class = d.class"
        " WHERE d.run = %s ORDER BY d.actor",
        (run,),
    )
    return [actor for actor, outcome in found if outcome in outcomes]


def test_everything_is_put_back(
    orders: Orders, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    before = rows(orders, store)
    expected = orders.preview(tmp_path / "before.jsonl")
    assert cli.main(orders.apply()) == 0
    applied = rows(orders, store)
    assert applied != before
    changed = decided(store, 1, "migrate", "strand")

    assert cli.main(revert(orders, 1, "--dry-run")) == 0
    assert f"{len(changed)} actors would be put back" in capsys.readouterr().out
    assert cli.main(revert(orders, 1)) == 8
    assert rows(orders, store) == applied
    assert cli.main(revert(orders, 1, "--yes")) == 0
    assert f"run 2: {len(changed)} actors put back as before run 1" in capsys.readouterr().out
    assert rows(orders, store) == before
    assert store.rows("SELECT kind, status, reverts FROM {runs} WHERE run = 2") == [("revert", "done", 1)]
    assert decided(store, 2, "revert") == changed

    assert cli.main(revert(orders, 1, "--yes")) == 0
    assert "nothing to put back" in capsys.readouterr().out
    assert store.one("SELECT count(*) FROM {runs}") == (2,)
    assert orders.preview(tmp_path / "after.jsonl") == expected
    seen = orders.seen(store)
    assert cli.main(orders.apply()) == 0
    assert rows(orders, store) == applied
    verify(orders, store, seen, expected, 3)


def test_who_moved_is_listed_and_left_alone(
    orders: Orders, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    before = rows(orders, store)
    assert cli.main(orders.apply()) == 0
    migrated, stranded = decided(store, 1, "migrate"), decided(store, 1, "strand")
    moved = sorted([*migrated[:21], *stranded[:3]])
    for actor in moved:
        move(orders, store, actor)
    table = "{actors}" if orders.layout == "own" else "orders"
    gone = migrated[-1]
    store.execute(f"DELETE FROM {table} WHERE id = %s", (int(gone) if orders.layout == "column" else gone,))
    applied = rows(orders, store)
    capsys.readouterr()

    assert cli.main(revert(orders, 1, "--yes")) == 0
    said = capsys.readouterr().out
    assert "25 have moved since and stay as they are" in " ".join(said.split())
    assert said.count(" is in ") == 20
    assert "and 5 more" in said
    assert cli.main(revert(orders, 1, "--dry-run", "--format", "json")) == 0
    page = json.loads(capsys.readouterr().out)
    listed = {x["actor"]: x["now"] for x in page["movedActors"]}
    assert sorted(listed) == sorted([*moved, gone])
    assert listed[gone] is None
    assert listed[migrated[0]]["version"] == "2"
    assert (page["putBack"], page["moved"]) == (0, 25)
    assert page["putBackBefore"] == len(migrated) + len(stranded) - 25
    after = rows(orders, store)
    for actor, row in after.items():
        assert row == (applied if actor in moved else before)[actor]


def test_killed_reverts_go_on(orders: Orders, database: Database, forks: Forker, tmp_path: Path) -> None:
    store = database.connect()
    before = rows(orders, store)
    expected = orders.preview(tmp_path / "before.jsonl")
    assert cli.main(orders.apply()) == 0
    changed = decided(store, 1, "migrate", "strand")
    rng = random.Random(11)
    kills = 0
    for _ in range(12):
        ended = forks.run(
            *revert(orders, 1, "--yes"),
            constants={"reverting.BATCH": 2},
            kill_after=rng.uniform(0.02, 0.12),
        )
        if ended.code != -signal.SIGKILL:
            break
        kills += 1
        applied = set(changed) - set(decided(store, 2, "revert"))
        now = rows(orders, store)
        assert {a for a in changed if now[a] != before[a]} <= applied
    ended = forks.run(*revert(orders, 1, "--yes"))
    assert ended.code == 0, ended.said
    assert kills
    assert rows(orders, store) == before
    reverts = store.rows("SELECT run, status FROM {runs} WHERE kind = 'revert'")
    assert reverts == [(2, "done")]
    assert decided(store, 2, "revert") == changed
    assert orders.preview(tmp_path / "after.jsonl") == expected


def test_later_runs_are_reverted_first(
    orders: Orders, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    before = rows(orders, store)
    assert cli.main(orders.apply()) == 0
    middle = rows(orders, store)
    files = [orders.v3] if orders.layout == "own" else [orders.v1, orders.v2, orders.v3]
    apply = ["--yes", "--max-strand", "all", "--allow-hazards", "--quiet"]
    assert cli.main(orders.command("apply", *apply, definitions=files)) == 0
    disturbed = decided(store, 1, "migrate")[0]

    def left_of_run_1() -> int:
        capsys.readouterr()
        assert cli.main(revert(orders, 1, "--dry-run", "--format", "json")) == 0
        found: int = json.loads(capsys.readouterr().out)["moved"]
        return found

    both = set(decided(store, 2, "migrate", "strand"))
    assert left_of_run_1() == len(set(decided(store, 1, "migrate", "strand")) & both)
    assert cli.main(revert(orders, 2, "--yes")) == 0
    assert rows(orders, store) == middle
    if orders.layout == "marks" and store.kind == "postgres":
        return  # xmin does not count: contexts may have been written in between, and stay
    assert left_of_run_1() == 0
    move(orders, store, disturbed)
    assert left_of_run_1() == 1
    assert cli.main(revert(orders, 1, "--yes")) == 0
    assert {a for a, row in rows(orders, store).items() if row != before[a]} == {disturbed}


def test_an_unfinished_run_is_cancelled_by_its_revert(
    orders: Orders, database: Database, tmp_path: Path
) -> None:
    store = database.connect()
    before = rows(orders, store)
    expected = orders.preview(tmp_path / "before.jsonl")
    assert cli.main(orders.apply("--canary", "20")) == 7
    assert cli.main(revert(orders, 1, "--yes")) == 0
    assert store.rows("SELECT run, status FROM {runs} ORDER BY run") == [(1, "cancelled"), (2, "done")]
    assert rows(orders, store) == before
    seen = orders.seen(store)
    assert cli.main(orders.apply()) == 0
    verify(orders, store, seen, expected, 3)


def test_a_paused_revert_goes_on_after_resume(
    orders: Orders, database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    before = rows(orders, store)
    assert cli.main(orders.apply()) == 0
    written = reverting.Reversal._batch

    def then_pause(self: Any, *arguments: Any) -> Any:
        found = written(self, *arguments)
        runs.set_control(self.store, self.run.run, "pause")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(reverting, "BATCH", 10)
        patch.setattr(reverting.Reversal, "_batch", then_pause)
        assert cli.main(revert(orders, 1, "--yes")) == 7
    assert cli.main(revert(orders, 1, "--yes")) == 7
    assert "statekeep resume 2" in capsys.readouterr().err
    assert len(decided(store, 2, "revert")) == 10
    assert cli.main(["resume", "2", "--db", orders.url]) == 0
    assert "next: statekeep revert 1" in capsys.readouterr().out
    assert cli.main(revert(orders, 1, "--yes")) == 0
    assert rows(orders, store) == before


@pytest.mark.parametrize("orders", ["own"], indirect=True)
def test_one_at_a_time(orders: Orders, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(orders.apply()) == 0
    lease = Lease(database.connect(), 1, "statekeep.actors")
    assert cli.main(revert(orders, 1, "--yes")) == 6
    assert f"process {os.getpid()}" in capsys.readouterr().err
    lease.release()
    assert cli.main(revert(orders, 1, "--yes")) == 0


@pytest.mark.parametrize("orders", ["own", "column"], indirect=True)
def test_the_fence_lets_a_revert_pass(
    orders: Orders, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    before = rows(orders, store)
    assert cli.main(orders.apply()) == 0
    capsys.readouterr()
    assert cli.main(["db", "init", "--fence", "--db", orders.url, "--config", orders.config]) == 0
    if orders.layout != "own":
        store.script(capsys.readouterr().out.replace("{", "{{"))
    assert cli.main(revert(orders, 1, "--yes")) == 0
    assert rows(orders, store) == before


@pytest.mark.parametrize("orders", ["own"], indirect=True)
def test_runs_that_are_not_reverted(
    orders: Orders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(orders.apply()) == 0
    assert cli.main(revert(orders, 1, "--yes")) == 0
    for run, said in ((2, "is a revert itself"), (9, "has no run 9")):
        assert cli.main(revert(orders, run, "--yes")) == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("orders", ["column"], indirect=True)
def test_another_mapping_is_refused(
    orders: Orders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(orders.apply()) == 0
    assert cli.main(["revert", "1", "--yes", "--db", orders.url]) == 1
    assert "run 1 is about orders, not statekeep.actors" in capsys.readouterr().err
    mapping = json.loads(Path(orders.config).read_text())
    mapping["actors"]["where"] = "id > 0"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(mapping))
    assert cli.main(["revert", "1", "--yes", "--db", orders.url, "--config", str(other)]) == 1
    assert "mapped otherwise" in capsys.readouterr().err


# --- spelled in their own way ---

PARALLEL: dict[str, Any] = {
    "id": "p",
    "version": 1,
    "type": "parallel",
    "states": {
        "b": {"initial": "b1", "states": {"b1": {"on": {"X": "b2"}}, "b2": {}}},
        "a": {"initial": "a1", "states": {"a1": {"on": {"Y": "a2"}}, "a2": {}}},
    },
}


def test_states_and_contexts_are_put_back_as_they_were_spelled(database: Database, tmp_path: Path) -> None:
    one, two = tmp_path / "p1.json", tmp_path / "p2.json"
    one.write_text(json.dumps(PARALLEL))
    context = {"defaults": {"n": 1}, "rename": {"x": "y"}}
    two.write_text(json.dumps({**PARALLEL, "version": 2, "migration": {"from": [1], "context": context}}))
    states = [
        '{ "b" : "b1", "a":"a1"}',
        '{"b":"b1","a":"a1"}',
        '{"a":"a1","b":"b1"}',
        r'{"a":"\u00611","b":"b1"}',
    ]
    contexts = [None, "{}", '{ "x" : 1.0, "z":[ ]}', '{"n":12345678901234567890}']
    actors = tmp_path / "actors.jsonl"
    lines = []
    for i, state in enumerate(states):
        for j, context_text in enumerate(contexts):
            more = "" if context_text is None else f', "context": {context_text}'
            lines.append(f'{{"id": "{i}{j}", "state": {state}, "history": []{more}}}\n')
    snapshot = '{"value": {"b":"b1", "a":"a1"}, "status": "active", "context": { "x": 2}, "historyValue": {},  "k": 1e2}'  # noqa: E501
    lines.append(f'{{"id": "s", "history": [], "snapshot": {snapshot}}}\n')
    actors.write_text("".join(lines))
    url = ["--db", database.url]
    assert cli.main(["db", "init", *url]) == 0
    assert cli.main(["db", "import", str(one), "--actors", str(actors), *url]) == 0
    store = database.connect()
    own = Orders("own", database.url, tmp_path)
    before = rows(own, store)
    assert cli.main(["apply", str(two), "--yes", "--quiet", *url]) == 0
    assert all(row[1] == "2" and row != before[a] for a, row in rows(own, store).items())
    assert cli.main(["revert", "1", "--yes", *url]) == 0
    assert rows(own, store) == before


def test_a_text_column_with_json_in_it(database: Database, tmp_path: Path) -> None:
    v1 = {"id": "q", "version": 1, "initial": "open", "states": {
        "open": {"initial": "new", "states": {"new": {"on": {"GO": "old"}}, "old": {}}}}}  # fmt: skip
    v2 = {**v1, "version": 2, "migration": {"stateMapping": {"open.old": "open.new"}}}
    files = [tmp_path / "q1.json", tmp_path / "q2.json"]
    for path, value in zip(files, (v1, v2), strict=True):
        path.write_text(json.dumps(value))
    config = tmp_path / "q.json"
    config.write_text(json.dumps({"actors": {
        "table": "q", "id": "id", "state": "state", "version": "ver", "revision": "rev"},
        "history": {"table": "q_log", "actor": "q", "event": "event", "order": "n"}}))  # fmt: skip
    store = database.connect()
    assert cli.main(["db", "init", "--db", database.url]) == 0
    store.script(
        "CREATE TABLE q (id integer PRIMARY KEY, state text, ver text, rev integer NOT NULL DEFAULT 0);"
        "CREATE TABLE q_log (n integer, q integer, event text); CREATE INDEX q_log_q ON q_log (q)"
    )
    texts = ["open.new", "open", '{"open": "new"}', '{"open":"new"}', "open.old", '{ "open" : "old" }']
    for i, text in enumerate(texts):
        store.execute("INSERT INTO q (id, state, ver) VALUES (%s, %s, '1')", (i, text))
        if "old" in text:
            store.execute("INSERT INTO q_log VALUES (1, %s, 'GO')", (i,))
    paths = [str(path) for path in files]
    url = ["--db", database.url, "--config", str(config)]
    assert (
        cli.main(["apply", *paths, "--yes", "--quiet", "--max-strand", "all", "--allow-hazards", *url]) == 0
    )
    assert store.one("SELECT count(*) FROM q WHERE ver = '2'") != (0,)
    assert cli.main(["revert", "1", "--yes", *url]) == 0
    assert store.rows("SELECT state, ver FROM q ORDER BY id") == [(text, "1") for text in texts]
