"""Applies that cannot go well: databases that refuse, wrong tables, hostile text, gates and plans."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from statekeep_cli import cli
from statekeep_cli.errors import GatePassed
from statekeep_cli.stores import installing
from statekeep_cli.stores.interface import Store
from tests.databases import Database, own_server
from tests.orders import V1, V2, Orders, decisions_of, recorded, records

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def orders(database: Database, tmp_path: Path) -> Orders:
    found = Orders("column", database.url, tmp_path)
    found.create(database.connect(), records(60, 5))
    return found


@pytest.fixture
def own(database: Database, tmp_path: Path) -> Orders:
    found = Orders("own", database.url, tmp_path)
    found.create(database.connect(), records(60, 5))
    return found


def strict(orders: Orders, *arguments: str) -> list[str]:
    return orders.command("apply", "--yes", "--quiet", *arguments)


def untouched(orders: Orders, store: Store, before: Any) -> bool:
    return orders.seen(store) == before and store.rows("SELECT count(*) FROM {decisions}") == [(0,)]


# --- servers that refuse ---


def test_an_unreachable_host(orders: Orders, capsys: Capture) -> None:
    for name in ("apply", "preview"):
        orders.url = "postgresql://kim:tops3cret@127.0.0.1:1/shop"
        assert cli.main(orders.command(name)) == 9
        said = "".join(capsys.readouterr())
        assert "tops3cret" not in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["apply", "preview"])
def test_a_wrong_password(tmp_path: Path, name: str) -> None:
    with own_server() as server, server.database() as database:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE kim LOGIN PASSWORD 'right'")
            found = connection.execute("SHOW hba_file").fetchone()
            assert found is not None
            hba = Path(found[0])
            hba.write_text("local all kim scram-sha-256\n" + hba.read_text())
            connection.execute("SELECT pg_reload_conf()")
        orders = Orders("column", database.url, tmp_path)
        orders.create(database.connect(), records(3, 1))
        parts: dict[str, Any] = {**conninfo_to_dict(database.url), "user": "kim"}
        spelled = (
            make_conninfo(**{**parts, "password": "wr0ng-s3cret"}),
            f"postgresql://kim:wr0ng-s3cret@/{parts['dbname']}?host={parts['host']}",
        )
        for url in spelled:
            orders.url = url
            command = [sys.executable, "-m", "statekeep_cli.cli", *orders.command(name)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 9, done.stderr
            assert "password authentication failed" in done.stderr
            assert "wr0ng" not in done.stdout + done.stderr
        orders.url = make_conninfo(**{**parts, "password": "right"})
        assert cli.main(orders.command(name, "--yes") if name == "apply" else orders.command(name)) == 9


@pytest.fixture
def reader(postgres: Database) -> Iterator[str]:
    """The database's URL for a role that may SELECT, and nothing else."""
    role = f"reader_{os.getpid()}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            yield make_conninfo(**{**conninfo_to_dict(postgres.url), "user": role})
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


@pytest.mark.parametrize("layout", ["own", "column", "marks"])
def test_who_may_only_select_can_preview(
    postgres: Database, reader: str, tmp_path: Path, layout: str, capsys: Capture
) -> None:
    orders = Orders(layout, postgres.url, tmp_path)
    store = postgres.connect()
    orders.create(store, records(30, 5))
    role = conninfo_to_dict(reader)["user"]
    store.script(
        f"GRANT USAGE ON SCHEMA statekeep, public TO {role};"
        f" GRANT SELECT ON ALL TABLES IN SCHEMA statekeep, public TO {role}"
    )
    before, expected = orders.seen(store), orders.preview(tmp_path / "mine.jsonl")
    orders.url = reader
    assert orders.preview(tmp_path / "theirs.jsonl") == expected
    capsys.readouterr()
    assert cli.main(orders.apply()) == 9
    assert "permission denied" in capsys.readouterr().err
    assert untouched(orders, store, before)
    assert store.rows("SELECT count(*) FROM {runs}") == [(0,)]


def test_a_read_only_server(postgres: Database, tmp_path: Path, capsys: Capture) -> None:
    orders = Orders("column", postgres.url, tmp_path)
    store = postgres.connect()
    orders.create(store, records(30, 5))
    before = orders.seen(store)
    name = conninfo_to_dict(postgres.url)["dbname"]
    store.script(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert orders.preview(tmp_path / "p.jsonl")
    capsys.readouterr()
    assert cli.main(orders.apply()) == 9
    assert "read-only transaction" in capsys.readouterr().err
    assert untouched(orders, store, before)


def test_a_file_that_may_only_be_read(sqlite: Database, tmp_path: Path, capsys: Capture) -> None:
    orders = Orders("column", sqlite.url, tmp_path)
    store = sqlite.connect()
    orders.create(store, records(30, 5))
    before = orders.seen(store)
    store.script("CREATE TRIGGER refused BEFORE UPDATE ON orders BEGIN SELECT RAISE(ABORT, 'not today'); END")
    assert cli.main(orders.apply()) == 1
    assert "not today" in capsys.readouterr().err
    assert untouched(orders, store, before)
    assert store.rows("SELECT status FROM {runs}") == [("stopped",)]


# --- tables that are wrong ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE orders RENAME TO sales", "has no table orders"),
        ("ALTER TABLE orders RENAME COLUMN ver TO verr", "has no column 'ver' (actors.version)"),
        ("ALTER TABLE orders_log RENAME TO log", "has no table orders_log"),
        ("ALTER TABLE orders_log RENAME COLUMN event TO what", "has no column 'event' (history.event)"),
    ],
)
@pytest.mark.parametrize("name", ["apply", "preview"])
def test_a_missing_table_or_column(
    database: Database, orders: Orders, capsys: Capture, change: str, said: str, name: str
) -> None:
    store = database.connect()
    store.script(change)
    capsys.readouterr()
    assert cli.main(orders.command(name)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert store.rows("SELECT count(*) FROM {runs}") == [(0,)]


def test_a_history_that_is_no_sql(database: Database, orders: Orders, capsys: Capture) -> None:
    config = json.loads(Path(orders.config).read_text())
    del config["history"]["table"]
    for query in ("SELEC order_id, event, n FROM orders_log", "SELECT 1 AS n", "SELECT * FROM nowhere"):
        config["history"]["query"] = query
        Path(orders.config).write_text(json.dumps(config))
        capsys.readouterr()
        for name in ("apply", "preview"):
            assert cli.main(orders.command(name)) == 1
            error = capsys.readouterr().err
            assert error.splitlines()[-1].startswith("error: ")
            assert "unexpected failure" not in error


def test_no_orders(database: Database, tmp_path: Path, capsys: Capture) -> None:
    for layout in ("own", "column", "marks"):
        if layout == "marks":
            database.connect().script("DROP TABLE orders; DROP TABLE orders_log")
        orders = Orders(layout, database.url, tmp_path)
        orders.create(database.connect(), [])
        for command in (strict(orders), orders.apply(), strict(orders, "--canary", "10%"), strict(orders)):
            capsys.readouterr()
            assert cli.main(command) in (0, 7), capsys.readouterr().err


def test_an_id_twice(database: Database, orders: Orders, capsys: Capture) -> None:
    store = database.connect()
    store.script("CREATE TABLE twice AS SELECT * FROM orders; INSERT INTO twice SELECT * FROM orders")
    config = json.loads(Path(orders.config).read_text())
    config["actors"]["table"] = "twice"
    Path(orders.config).write_text(json.dumps(config))
    for command in (strict(orders, "--max-strand", "all"), orders.apply(), orders.command("preview")):
        capsys.readouterr()
        assert cli.main(command) == 1
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("error: ")
    assert store.rows("SELECT count(*) FROM {decisions}") == [(0,)]
    assert store.rows("SELECT count(*) FROM twice WHERE why IS NOT NULL OR ver = 2 AND rev > 0") == [(0,)]


def test_a_state_that_nobody_knows(database: Database, orders: Orders) -> None:
    store = database.connect()
    for n, state in enumerate(("gone", "", "{", '{"a": 1}', "a.b.c", "[]", '"quoted"', "null")):
        store.execute("INSERT INTO orders (id, state, ver) VALUES (%s, %s, 1)", (n, state))
    arguments = ["--max-strand", "all", "--allow-hazards", "--quiet"]
    assert cli.main(orders.command("preview", *arguments)) == 1  # what is no state at all cannot be read
    assert cli.main(orders.command("apply", "--yes", *arguments, "--keep-going")) in (0, 3)
    now = orders.seen(store)
    assert now["0"].reason is not None
    assert {now[str(n)].version for n in range(8)} == {"1"}


def test_one_version_and_two_digests(database: Database, own: Orders, capsys: Capture) -> None:
    changed = {**V1, "states": {**V1["states"], "extra": {}}}
    path = own.folder / "changed.json"
    path.write_text(json.dumps(changed))
    before = own.seen(database.connect())
    for name in ("apply", "preview"):
        capsys.readouterr()
        assert cli.main(own.command(name, definitions=[str(path), own.v2])) == 1
        assert "different digests" in capsys.readouterr().err
    assert untouched(own, database.connect(), before)


def test_malformed_items(database: Database, own: Orders, capsys: Capture) -> None:
    store = database.connect()
    for n, item in enumerate(('{"type": 7}', "[1]", '{"type": "migrated"}', "null", '"PAY"', "3")):
        store.execute(
            "INSERT INTO {events} (actor, type, item) VALUES (%s, 'PAY', %s)", (str(1000 + n), item)
        )
    before = own.seen(store)
    capsys.readouterr()
    assert (
        cli.main(strict(own, "--max-strand", "all", "--allow-hazards", "--format", "json=" + os.devnull)) == 1
    )
    error = capsys.readouterr().err
    assert "1000" in error
    assert "unexpected failure" not in error
    assert untouched(own, store, before)


# --- ids and names of every kind ---

HOSTILE = (
    "'; DROP TABLE orders; --",
    '" OR ""=""',
    "100%s %d %(x)s",
    "{actors} {{x}} {x}",
    "back\\slash\\n",
    "new\nline\r\ttab",
    "[/x] [bold]loud[/bold]",
    "\U0001f4a5 \u202e\u0007\x1b[31m",
    " leading and trailing ",
    "ÄöÜ\u2028e\u0301",
    "$1 :name @p ?",
    "NULL",
)


def hostile_orders(store: Store, ids: Iterator[Any] | list[Any], kind: str) -> None:
    numbers = {"postgres": "bigserial", "sqlite": "INTEGER"}[store.kind]
    store.script(
        f"CREATE TABLE things (id {kind} PRIMARY KEY, state text NOT NULL, ver integer NOT NULL DEFAULT 1,"
        f" why text, rev bigint NOT NULL DEFAULT 0);"
        f" CREATE TABLE things_log (n {numbers} PRIMARY KEY, thing {kind} NOT NULL, event text NOT NULL)"
    )
    for n, key in enumerate(ids):
        state = ("created", "paid", "packed", "shipped")[n % 4]
        store.execute("INSERT INTO things (id, state) VALUES (%s, %s)", (key, state))
        for event in ("PAY", "PACK", "SHIP")[: n % 4]:
            store.execute("INSERT INTO things_log (thing, event) VALUES (%s, %s)", (key, event))


def things(database: Database, folder: Path) -> Orders:
    found = Orders("column", database.url, folder)
    config = {
        "actors": {"table": "things", "id": "id", "state": "state", "version": "ver", "revision": "rev",
                   "rescue": "why"},
        "history": {"table": "things_log", "actor": "thing", "event": "event", "order": "n"},
    }  # fmt: skip
    Path(found.config).write_text(json.dumps(config))
    return found


KEYS: dict[str, tuple[str, list[Any]]] = {
    "integer": ("integer", [-5, 0, 1, 2, 10, 11, 100, 2_000_000_000, 9, 99]),
    "bigint": ("bigint", [-(2**62), -1, 0, 7, 2**40, 2**53 + 1, 2**62, 8, 80, 800]),
    "uuid": ("uuid", [str(uuid.UUID(int=n * 0x1234_5678_9ABC_DEF0_1234)) for n in range(10)]),
    "text": ("text", list(HOSTILE)),
    "varchar": ("varchar(60)", [*HOSTILE, "a", "A", "b", "B", "10", "9"]),
    "numeric": ("numeric", ["1", "2", "10", "9", "100", "-3"]),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("size", ["1", "3"])
def test_every_kind_of_id(database: Database, tmp_path: Path, key: str, size: str) -> None:
    kind, ids = KEYS[key]
    store = database.connect()
    installing.install(store)
    hostile_orders(store, ids, kind)
    orders = things(database, tmp_path)
    expected = orders.preview(tmp_path / "p.jsonl")
    assert len(expected) == len(ids)
    assert cli.main(orders.apply("--canary", "2", "--batch-size", size)) == 7
    assert cli.main(orders.apply("--batch-size", size)) == 0
    assert recorded(store) == expected
    rows = store.rows("SELECT CAST(id AS text), ver, why, rev FROM things")
    assert len(rows) == len(ids)
    for actor, version, why, revision in rows:
        decision = expected[actor]
        assert (version, why) == ((2, None) if decision["outcome"] == "migrate" else (1, decision["reason"]))
        assert revision == 1
    assert cli.main(strict(orders, "--max-strand", "all")) == 0
    assert store.rows("SELECT count(*) FROM {runs}") == [(1,)]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_states(database: Database, orders: Orders, capsys: Capture, text: str) -> None:
    store = database.connect()
    store.execute("INSERT INTO orders (id, state, ver) VALUES (1, %s, 1)", (text,))
    store.execute("INSERT INTO orders_log (order_id, event) VALUES (1, %s)", (text,))
    assert cli.main(orders.apply("--format", "text")) == 0
    said = capsys.readouterr()
    assert "\x1b[31m" not in said.out + said.err
    now = orders.seen(store)["1"]
    assert (now.state, now.version, now.status) == (text, "1", "needs_rescue")


def test_a_nul_in_a_state(sqlite: Database, tmp_path: Path) -> None:
    orders = Orders("column", sqlite.url, tmp_path)
    store = sqlite.connect()
    orders.create(store, records(5, 1))
    store.execute("INSERT INTO orders (id, state, ver) VALUES (1, %s, 1)", ("paid\0x",))
    assert cli.main(orders.apply()) == 0
    assert orders.seen(store)["1"].version == "1"


def test_hostile_names(database: Database, tmp_path: Path) -> None:
    store = database.connect()
    installing.install(store)
    table, log = 'or"ders {x} 100%s', "log'; --"
    names = {"id": "i d", "state": 'st"ate', "version": "ver'sion", "revision": "re%v", "rescue": "{why}",
             "context": "da ta"}  # fmt: skip
    quoted = {k: store.quote(v).replace("{", "{{") for k, v in names.items()}
    store.script(
        f"CREATE TABLE {store.quote(table).replace('{', '{{')} ({quoted['id']} integer PRIMARY KEY,"
        f" {quoted['state']} text, {quoted['version']} integer, {quoted['revision']} integer DEFAULT 0,"
        f" {quoted['rescue']} text, {quoted['context']} {'jsonb' if store.kind == 'postgres' else 'JSON'});"
        f' CREATE TABLE {store.quote(log)} ("n%" integer, "order" integer, "{{{{event" text)'
    )
    insert = f"INSERT INTO {store.quote(table)} VALUES (1, 'packed', 1, 0, NULL, '{{\"price\": 1}}')"
    raw(database, insert)
    raw(database, f"INSERT INTO {store.quote(table)} VALUES (2, 'shipped', 1, 0, NULL, NULL)")
    for n, (order, event) in enumerate([(1, "PAY"), (1, "INSPECT"), (1, "PACK"), (2, "PAY"), (2, "PACK")]):
        raw(database, f"INSERT INTO {store.quote(log)} VALUES ({n}, {order}, '{event}')")
    orders = Orders("column", database.url, tmp_path)
    history = {"table": [log], "actor": "order", "event": "{event", "order": "n%"}
    Path(orders.config).write_text(json.dumps({"actors": {"table": [table], **names}, "history": history}))
    expected = orders.preview(tmp_path / "p.jsonl")
    assert cli.main(orders.apply()) == 0
    assert recorded(store) == expected
    rows = raw(database, f"SELECT * FROM {store.quote(table)} ORDER BY 1")
    assert [tuple(r)[:5] for r in rows] == [
        (1, "sealed", 2, 1, None),
        (2, "shipped", 1, 1, expected["2"]["reason"]),
    ]


def raw(database: Database, statement: str) -> list[Any]:
    """A statement as it is, not by way of the program."""
    if database.kind == "postgres":
        with psycopg.connect(database.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
    with sqlite3.connect(str(database.path)) as plain:
        return plain.execute(statement).fetchall()


# --- gates, plans, canaries ---


def strands_of(expected: dict[str, Any]) -> int:
    return sum(d["outcome"] == "strand" for d in expected.values())


def test_the_gate(database: Database, orders: Orders, capsys: Capture) -> None:
    store = database.connect()
    before, expected = orders.seen(store), orders.preview(orders.folder / "p.jsonl")
    strands = strands_of(expected)
    routed = sum(d["outcome"] != "skip" for d in expected.values())
    assert strands > 2
    share = strands * 100 // routed
    for limit in ("0", str(strands - 1), f"{share - 1}%"):
        capsys.readouterr()
        assert cli.main(strict(orders, "--allow-hazards", "--max-strand", limit)) == 3
        assert "nothing was written" in capsys.readouterr().err
        assert untouched(orders, store, before)
        assert store.rows("SELECT count(*) FROM {runs}") == [(0,)]
    loose = ("--allow-hazards", "--max-strand")
    assert cli.main(strict(orders, "--dry-run", *loose, str(strands))) == 0
    assert untouched(orders, store, before)
    assert cli.main(strict(orders, *loose, f"{share + 1}%")) == 0
    assert recorded(store) == {i: d for i, d in expected.items() if d["outcome"] != "skip"}


def group_of(decision: dict[str, Any]) -> str:
    """What a report counts together."""
    return json.dumps([decision[key] for key in ("outcome", "reason", "rule", "from", "to")])


@pytest.mark.parametrize("limit", ["2", "1%", "100%"])
def test_canary_then_the_rest(database: Database, orders: Orders, capsys: Capture, limit: str) -> None:
    store = database.connect()
    expected = {i: d for i, d in orders.preview(orders.folder / "p.jsonl").items() if d["outcome"] != "skip"}
    classes = {group_of(d) for d in expected.values() if d["outcome"] in ("migrate", "strand")}
    report = orders.folder / "report.json"
    loose = ("--max-strand", "all", "--allow-hazards", "--quiet", "--format", f"json={report}")
    assert cli.main(orders.command("preview", *loose)) == 0
    found = json.loads(report.read_text())["groups"]
    groups = sum(g["outcome"] in ("migrate", "strand") for g in found)
    wished = {"2": 2, "1%": 1, "100%": len(expected)}[limit]
    code = cli.main(orders.apply("--canary", limit, "--jobs", "3"))
    assert code == 7, capsys.readouterr().err
    some = recorded(store)
    assert {group_of(expected[i]) for i in some if expected[i]["outcome"] != "stay"} == classes
    assert len(some) == max(wished, groups)
    assert store.rows("SELECT status FROM {runs}") == [("stopped",)]
    assert cli.main(orders.apply()) == 0
    assert recorded(store) == expected
    assert store.rows("SELECT status FROM {runs}") == [("done",)]


def test_where_and_rate(database: Database, orders: Orders) -> None:
    store = database.connect()
    before = orders.seen(store)
    where = "id < 1020 AND state LIKE 'p%'"
    paced = ("--max-rate", "200", "--batch-size", "5")
    expected = decisions_of_some(orders, where)
    assert cli.main(orders.apply("--where", where, *paced)) == 0
    after = orders.seen(store)
    chosen = {i for i, s in before.items() if int(i) < 1020 and s.state.startswith("p")}
    assert set(expected) == chosen
    assert {i for i in before if before[i] != after[i]} <= chosen
    assert recorded(store) == {i: d for i, d in expected.items() if d["outcome"] != "skip"}


def decisions_of_some(orders: Orders, where: str) -> dict[str, Any]:
    path = orders.folder / "some.jsonl"
    loose = ("--max-strand", "all", "--allow-hazards", "--quiet", "--format", f"jsonl={path}")
    assert cli.main(orders.command("preview", "--where", where, *loose)) == 0
    return decisions_of(path)


@pytest.fixture
def planned(orders: Orders) -> Callable[..., int]:
    """Applies the plan that was made now."""
    plan = str(orders.folder / "plan.json")
    loose = ("--max-strand", "all", "--allow-hazards", "--quiet")
    assert cli.main(orders.command("preview", *loose, "-o", plan)) == 0

    def apply(*more: str) -> int:
        command = ["apply", plan, "--db", orders.url, "--config", orders.config, "--yes", "--quiet"]
        return cli.main([*command, "--allow-hazards", *more])

    return apply


def test_a_plan_is_applied(database: Database, orders: Orders, planned: Callable[..., int]) -> None:
    expected = orders.preview(orders.folder / "p.jsonl")
    assert planned() == 0
    assert recorded(database.connect()) == {i: d for i, d in expected.items() if d["outcome"] != "skip"}


def test_a_stale_plan(
    database: Database, orders: Orders, planned: Callable[..., int], capsys: Capture
) -> None:
    store = database.connect()
    before = orders.seen(store)
    for path, change, what in (
        (orders.v1, {**V1, "states": {**V1["states"], "extra": {}}}, "the source definitions"),
        (orders.v2, {**V2, "states": {**V2["states"], "extra": {}}}, "the target definition"),
        (orders.config, {**json.loads(Path(orders.config).read_text()), "history": {
            "table": "orders_log", "actor": "order_id", "event": "event", "order": ["n", "event"]}},
         "the mapping of tables"),
    ):  # fmt: skip
        text = Path(path).read_text()
        Path(path).write_text(json.dumps(change))
        capsys.readouterr()
        assert planned() == 5
        assert what in capsys.readouterr().err
        Path(path).write_text(text)
    plan = orders.folder / "plan.json"
    text = plan.read_text()
    plan.write_text(text.replace('"wouldStay"', '"wouldStayy"'))
    assert planned() == 1
    plan.write_text(text)
    for key in ("engine", "schema"):
        other = json.loads(text)
        other["digests"][key] = 999
        from statekeep_cli.core.plan import Plan

        body = {**other, "digest": ""}
        fields = (body["digests"], tuple(body["definitions"]), body["migration"], body["where"],
                  body["counts"], tuple(body["groups"]))  # fmt: skip
        plan.write_text(json.dumps(Plan(*fields).as_json()))
        assert planned() == 5
    assert untouched(orders, store, before)


def test_more_strands_than_reviewed(
    database: Database, orders: Orders, planned: Callable[..., int], capsys: Capture
) -> None:
    store = database.connect()
    for n in range(3):
        store.execute("INSERT INTO orders (id, state, ver) VALUES (%s, 'shipped', 1)", (n,))
        for event in ("PAY", "PACK", "SHIP"):
            orders.log(store, str(n), event)
    before = orders.seen(store)
    capsys.readouterr()
    assert planned() == 3
    assert "3 actors more than were reviewed" in capsys.readouterr().err
    assert planned("--max-strand", "2") == 3
    assert untouched(orders, store, before)
    assert planned("--max-strand", "3") == 0


def test_a_new_reason(
    database: Database, orders: Orders, planned: Callable[..., int], capsys: Capture
) -> None:
    store = database.connect()
    store.execute("INSERT INTO orders (id, state, ver) VALUES (1, 'no such state', 1)")
    before = orders.seen(store)
    capsys.readouterr()
    assert planned("--max-strand", "10") == 3
    assert "nothing was written" in capsys.readouterr().err
    assert untouched(orders, store, before)


def test_the_gate_is_passed_while_writing(
    database: Database, orders: Orders, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Actors that strand come after they were counted: the batch with one too many is not written."""
    store = database.connect()
    expected = orders.preview(orders.folder / "p.jsonl")
    from statekeep_cli.commands import confirm

    def meanwhile(question: str, yes: bool = False) -> None:
        for n in range(3):
            store.execute("INSERT INTO orders (id, state, ver) VALUES (%s, 'shipped', 1)", (9000 + n,))

    monkeypatch.setattr(confirm, "confirm", meanwhile)
    limit = str(strands_of(expected) + 1)
    arguments = ("--allow-hazards", "--max-strand", limit, "--batch-size", "5", "--jobs", "1")
    capsys.readouterr()
    assert cli.main(strict(orders, *arguments)) == GatePassed.exit_code == 7
    assert "--max-strand allows" in capsys.readouterr().err
    assert store.rows("SELECT status FROM {runs}") == [("stopped",)]
    assert sum(d["outcome"] == "strand" for d in recorded(store).values()) <= int(limit)
    monkeypatch.undo()
    assert cli.main(strict(orders, "--allow-hazards", "--max-strand", str(int(limit) + 2))) == 0
    assert store.rows("SELECT status FROM {runs}") == [("done",)]


# --- people ---


def answered(orders: Orders, answer: str) -> tuple[int, str]:
    """An apply at a pseudo-terminal, whose person types this."""
    loose = ("--max-strand", "all", "--allow-hazards")
    command = [sys.executable, "-m", "statekeep_cli.cli", *orders.command("apply", *loose)]
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    said, sent = b"", False
    while True:
        try:
            some = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not some:
            break
        said += some
        if b"[y/N]" in said and not sent:
            os.write(leader, answer.encode())
            sent = True
    os.close(leader)
    return process.wait(60), said.decode(errors="replace")


@pytest.mark.parametrize(
    ("answer", "code"), [("n\n", 8), ("\n", 8), ("yeah\n", 8), ("\x04", 8), ("y\n", 0), ("YES\n", 0)]
)
def test_a_person_is_asked(database: Database, orders: Orders, answer: str, code: int) -> None:
    store = database.connect()
    before = orders.seen(store)
    ended, said = answered(orders, answer)
    assert ended == code, said
    assert f"Apply order@2 to orders in {store.address}?" in said
    assert untouched(orders, store, before) == (code == 8)


def test_nobody_is_there_to_be_asked(database: Database, orders: Orders) -> None:
    store = database.connect()
    before = orders.seen(store)
    command = [sys.executable, "-m", "statekeep_cli.cli"]
    command += orders.command("apply", "--max-strand", "all", "--allow-hazards")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "--yes" in done.stderr
    assert untouched(orders, store, before)
