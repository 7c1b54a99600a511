"""`statekeep db`: own tables on both stores; what is imported comes out again, exactly."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statekeep_cli import cli
from statekeep_cli.core.mapping import OWN, HistoryMapping, Mapping
from statekeep_cli.errors import StateKeepError
from statekeep_cli.readers.definitions import read_definition
from statekeep_cli.stores import guards, installing, schema
from statekeep_cli.stores.definitions import store_definition, stored_definitions
from statekeep_cli.stores.interface import Store
from tests.databases import Database, own_server
from tests.support import ROOT

EXAMPLE = ROOT / "examples" / "01-pull-request"
V1, V2 = str(EXAMPLE / "pull-request-v1.yaml"), str(EXAMPLE / "pull-request-v2.yaml")
ACTORS = str(EXAMPLE / "actors.jsonl")

Run = Callable[..., int]


@pytest.fixture
def run(database: Database) -> Run:
    """`statekeep db ...` on the database."""

    def run(*arguments: str) -> int:
        return cli.main(["db", *arguments, "--db", database.url])

    return run


@pytest.fixture
def store(database: Database) -> Store:
    """The database with StateKeep's tables in it."""
    found = database.connect()
    installing.install(found)
    return found


# --- init ---


def test_init_may_be_run_again(run: Run, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init") == 0
    said = capsys.readouterr().err
    store = database.connect()
    assert f"{store.address}: StateKeep tables created" in said
    assert installing.installed(store) == schema.VERSION
    installing.require(store)
    assert run("init") == 0
    assert "up to date" in capsys.readouterr().err
    assert store.rows("SELECT version FROM {meta}") == [(v + 1,) for v in range(schema.VERSION)]


def test_two_inits_at_once(database: Database) -> None:
    stores = [database.connect() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        before = sorted(pool.map(installing.install, stores))
    assert before == [0, *[schema.VERSION] * 3]


def test_init_upgrades_in_one_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store = database.connect()
    installing.install(store)
    kind = store.kind
    scripts = installing.SCRIPTS[kind]
    more = "ALTER TABLE {runs} ADD COLUMN note text; "
    monkeypatch.setattr(installing, "VERSION", schema.VERSION + 1)

    monkeypatch.setitem(installing.SCRIPTS, kind, (*scripts, more + "SELECT * FROM nowhere"))
    with pytest.raises(StateKeepError, match="nowhere"):
        installing.install(store)
    assert installing.installed(store) == schema.VERSION
    with pytest.raises(StateKeepError, match="run statekeep db init"):
        installing.require(store)

    monkeypatch.setitem(installing.SCRIPTS, kind, (*scripts, more))
    assert installing.script(kind, schema.VERSION).count("ADD COLUMN note") == 1
    assert "CREATE TABLE" not in installing.script(kind, schema.VERSION)
    assert installing.install(store) == schema.VERSION
    assert store.rows("SELECT note FROM {runs}") == []


def test_newer_tables_are_refused(run: Run, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.execute("INSERT INTO {meta} (version) VALUES (99)")
    for command in (["init"], ["import", V1], ["export", "-o", "x"], ["prune", "--older-than", "1d"]):
        assert run(*command) == 1
        assert "version 99" in capsys.readouterr().err


def test_printed_sql_does_what_init_does(
    run: Run, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", "--print-sql") == 0
    printed = capsys.readouterr().out
    store = database.connect()
    assert installing.installed(store) == 0
    if database.kind == "postgres":
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(printed.encode())
    else:
        with sqlite3.connect(str(database.path)) as connection:
            connection.executescript(printed)
    installing.require(store)
    assert run("init", "--print-sql") == 0
    assert capsys.readouterr().out == ""
    assert run("import", V1, "--actors", ACTORS) == 0


def test_sql_is_printed_for_a_database_that_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new.db"
    assert cli.main(["db", "init", "--print-sql", "--db", str(new)]) == 0
    assert capsys.readouterr().out == installing.script("sqlite")
    assert not new.exists()
    for name in list(os.environ):
        if name.startswith("PG") or name.endswith("DATABASE_URL"):
            monkeypatch.delenv(name)
    assert cli.main(["db", "init", "--print-sql"]) == 0
    assert capsys.readouterr().out == installing.script("postgres")


def test_a_new_file_lets_readers_and_writers_alone(tmp_path: Path) -> None:
    path = tmp_path / "new file's.db"
    assert cli.main(["db", "init", "--db", f"sqlite:///{path}"]) == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_of_somebody_else_keeps_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    assert cli.main(["db", "init", "--db", str(path)]) == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


# --- definitions ---


def test_definitions_are_stored_as_they_are_read(run: Run, database: Database) -> None:
    assert run("init") == 0
    assert run("import", V1, V2) == 0
    v1, v2 = read_definition(V1), read_definition(V2)
    found = stored_definitions(database.connect(), "pull-request")
    assert {d.digest for d in found} == {v1.definition.digest, v2.definition.digest}
    assert {d.version for d in found} == {1, 2}
    assert found == stored_definitions(database.connect())
    assert stored_definitions(database.connect(), "another") == []


def test_routing_metadata_may_change_under_a_version(store: Store) -> None:
    config = {"id": "pr", "version": 1, "initial": "a", "states": {"a": {"on": {"GO": "b"}}, "b": {}}}
    with store.transaction():
        assert store_definition(store, config) == "added"
        assert store_definition(store, config) == "same"
        assert store_definition(store, {**config, "stateMapping": {"a": "b"}, "x-owner": "kim"}) == "updated"
    (found,) = stored_definitions(store)
    assert found.migration["stateMapping"] == {"a": "b"}
    with pytest.raises(StateKeepError, match=r"pr@1.*one version but different digests.*new version"):
        store_definition(store, {**config, "states": {**config["states"], "c": {}}})  # type: ignore[dict-item]
    assert stored_definitions(store) == [found]


def test_another_machine_under_a_stored_version_imports_nothing(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", V1) == 0
    other = tmp_path / "v1.yaml"
    other.write_text(Path(V1).read_text().replace("MERGE", "LAND"))
    assert run("import", str(other), "--actors", ACTORS) == 1
    assert "different digests" in capsys.readouterr().err
    assert store.one("SELECT count(*) FROM {actors}") == (0,)


@pytest.mark.parametrize("text", ["\ud800", "\u0000", "ключ \u2028 'x' {actors} %s"])
def test_definitions_hold_any_text(store: Store, text: str) -> None:
    config = {"id": "any", "version": "1", "initial": "a", "states": {"a": {"meta": {"said": text}}}}
    with store.transaction():
        store_definition(store, config)
    (found,) = stored_definitions(store)
    from statekeep_cli.core.model import build

    assert found.digest == build(config).digest


# --- records, as raw JSON: every number and every order of keys ---


class Number(str):
    """A number as it is written."""


class Pairs(list[Any]):
    """An object: its keys and values in order."""


def written(value: Any, spaces: bool = False) -> str:
    if isinstance(value, Number):
        return str(value)
    gap = " " if spaces else ""
    if isinstance(value, Pairs):
        inner = f",{gap}".join(f"{json.dumps(k)}:{gap}{written(v, spaces)}" for k, v in value)
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + f",{gap}".join(written(v, spaces) for v in value) + "]"
    return json.dumps(value, ensure_ascii=spaces)


def parsed(text: str | bytes) -> Any:
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=Pairs)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=6)
numbers = st.sampled_from(["0", "-0", "1.0", "1e400", "-1E-400", "9" * 30, "0.1", "2e0"]).map(Number)
states = st.recursive(
    names,
    lambda inner: st.lists(st.tuples(names, inner), min_size=1, max_size=2, unique_by=lambda p: p[0]).map(
        Pairs
    ),
)


def objects(values: st.SearchStrategy[Any], keys: st.SearchStrategy[str] = texts) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(keys, values), max_size=3, unique_by=lambda p: p[0]).map(Pairs)


values = st.recursive(
    st.none() | st.booleans() | texts | numbers, lambda v: st.lists(v, max_size=3) | objects(v), max_leaves=8
)
versions = (
    st.integers(-3, 3).map(lambda n: Number(str(n))) | st.sampled_from(["1", "-1", "01", "1.0", "v2"]) | names
)


@st.composite
def shuffled(draw: Any, fixed: dict[str, Any], **optional: st.SearchStrategy[Any]) -> Pairs:
    """An object with these keys, any of the optional ones, and any order."""
    pairs = [(k, draw(v)) for k, v in fixed.items()]
    pairs += [(k, draw(v)) for k, v in optional.items() if draw(st.booleans())]
    return Pairs(draw(st.permutations(pairs)))


ends = shuffled({"version": versions, "state": states})
items = st.one_of(
    texts.filter(lambda t: t not in ("migrated", "manual")),
    shuffled({"type": texts.filter(lambda t: t not in ("migrated", "manual"))},
             at=values, state=states | st.none(), note=values),
    shuffled({"state": states}, at=texts),
    texts.map(lambda t: Pairs([("type", t + "!"), ("at", t)])),
    shuffled({"type": st.just("migrated"), "from": ends, "to": ends}),
    shuffled({"type": st.just("manual"), "to": states}, why=texts),
)  # fmt: skip
statuses = st.sampled_from(["active", "needs_rescue", "done", "stopped", "error", "archived"])
known = {
    "definition": names | st.none(),
    "version": versions | st.none(),
    "status": statuses,
    "context": values,
    "history": st.lists(items, max_size=4) | st.none(),
    "origin": shuffled({"state": states}, version=versions) | st.none(),
    "rescue": values | objects(values, st.just("reason")),
    "note": values,
    "zz {actors} %s": values,
}
snapshots = shuffled(
    {"value": states}, context=values, status=st.sampled_from(["active", "done", "stopped", "error"]),
    historyValue=objects(values), children=objects(st.builds(Pairs)), more=values,
)  # fmt: skip
ids = names | st.integers(-(10**20), 10**20).map(lambda n: Number(str(n)))


@st.composite
def records(draw: Any) -> Pairs:
    fixed: dict[str, Any] = {"id": ids}
    optional = dict(known)
    if draw(st.booleans()):
        fixed["snapshot"] = snapshots
        optional["state"] = st.none()
    else:
        fixed["state"] = states
        optional["snapshot"] = st.none()
    record: Pairs = draw(shuffled(fixed, **optional))
    value = next((dict(v)["value"] for k, v in record if k == "snapshot" and v is not None), None)
    if isinstance(value, str) and draw(st.booleans()):
        record = Pairs((k, value if k == "state" else v) for k, v in record)
    return record


def by_id(lines: list[str]) -> list[Any]:
    return sorted((parsed(line) for line in lines), key=lambda r: str(dict(r)["id"]))


@given(st.lists(records(), min_size=1, max_size=6, unique_by=lambda r: str(dict(r)["id"])), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_import_then_export_is_the_identity(
    store: Store, database: Database, run: Run, tmp_path: Path, found: list[Pairs], spaces: bool
) -> None:
    store.script("DELETE FROM {events}; DELETE FROM {actors}")  # of the example before
    lines = [written(record, spaces) for record in found]
    given, back = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_bytes("\n".join(lines).encode())
    assert run("import", V1, "--actors", str(given)) == 0
    assert run("export", "-o", str(back), "--force") == 0
    assert by_id(back.read_bytes().decode().split("\n")[:-1]) == by_id(lines)


@pytest.mark.parametrize(
    "name", ["01-pull-request/actors.jsonl", "02-broken-deployment/build-after-v2.jsonl"]
)
def test_examples_come_back_whole(run: Run, store: Store, tmp_path: Path, name: str) -> None:
    given, back = ROOT / "examples" / name, tmp_path / "out.jsonl.gz"
    assert run("import", V1, "--actors", str(given)) == 0
    assert run("export", "-o", str(back)) == 0
    assert by_id(gzip.decompress(back.read_bytes()).decode().splitlines()) == by_id(
        given.read_text().splitlines()
    )


def test_what_text_columns_cannot_hold(run: Run, store: Store, tmp_path: Path) -> None:
    given, back = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    nul, tab = "a\0b", "a\tb\\N"
    events = [
        nul,
        tab,
        {"type": nul, "at": tab},
        {"type": tab, "at": nul},
        {"type": tab, "at": tab, "state": nul},
    ]
    record = {
        "id": tab,
        "version": tab,
        "state": {nul: tab},
        "context": {nul: nul},
        "history": events,
        nul: tab,
    }
    given.write_text(json.dumps(record))
    assert run("import", V1, "--actors", str(given)) == 0
    assert run("export", "-o", str(back)) == 0
    assert json.loads(back.read_text()) == record
    assert store.one("SELECT count(*) FROM {events} WHERE type = %s", (tab,)) == (3,)


def test_usual_records_have_no_shape(run: Run, store: Store, tmp_path: Path) -> None:
    given = tmp_path / "in.jsonl"
    given.write_text(
        '{"id": "a", "definition": "pull-request", "version": 1, "status": "active", "state": "open",'
        ' "context": {"by": "kim"}, "history": [{"type": "GO", "at": "2026-05-02", "state": "open"}, "NO"]}\n'
        '{"id": "b", "definition": "pull-request", "version": 1, "status": "done", "state": {"x": "y"}}\n'
    )
    assert run("import", V1, "--actors", str(given)) == 0
    assert store.rows("SELECT id, has_history FROM {actors} WHERE shape IS NULL ORDER BY id") == [
        ("a", 1), ("b", 0)
    ]  # fmt: skip
    assert store.rows("SELECT type, at, CAST(state AS text), item FROM {events} ORDER BY seq") == [
        ("GO", "2026-05-02", '"open"', None),
        ("NO", None, None, None),
    ]


def test_a_json_array_over_several_lines_and_a_history_file(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, history, back = tmp_path / "in.json", tmp_path / "history.csv", tmp_path / "out.jsonl"
    record = {"id": 1, "state": {"a": "b"}, "context": {"deep": [{"er": "x"}]}, "snap": [1, 2]}
    given.write_text(json.dumps([record, {**record, "id": 2}], indent=2))
    history.write_text("actor,type,state,at\n1,GO,b,2026-05-02\n9,GO,b,\n1,BACK,,\n")
    assert run("import", V1, "--actors", str(given), "--history", str(history)) == 0
    said = capsys.readouterr()
    assert "2 actors with 2 events imported" in said.out
    assert "1 events are of 1 actors that the export does not have (9)" in said.err
    assert run("export", "-o", str(back)) == 0
    first, second = map(json.loads, back.read_text().splitlines())
    assert first == {
        **record,
        "history": [{"type": "GO", "state": "b", "at": "2026-05-02"}, {"type": "BACK"}],
    }
    assert second == {**record, "id": 2}


def test_nothing_is_imported_twice(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "in.jsonl"
    given.write_text("".join(f'{{"id": "{id}", "state": "open", "history": ["X"]}}\n' for id in "abca"))
    assert run("import", V1, "--actors", str(given)) == 1
    assert "the actor 'a' would be stored twice" in capsys.readouterr().err
    assert store.one("SELECT (SELECT count(*) FROM {actors}) + (SELECT count(*) FROM {events})") == (0,)
    assert stored_definitions(store) == []
    given.write_text('{"id": "b", "state": "open"}\n')
    assert run("import", V1, "--actors", str(given)) == 0
    given.write_text('{"id": "x", "state": "open", "history": ["X"]}\n{"id": "b", "state": "open"}\n')
    assert run("import", "--actors", str(given)) == 1
    assert "the actor 'b' would be stored twice" in capsys.readouterr().err
    assert store.rows("SELECT id FROM {actors}") == [("b",)]


def test_bad_records_are_listed_and_nothing_is_imported(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "in.jsonl"
    given.write_text('{"id": "a", "state": "open"}\n{"id": "b", "state": 1}\n{"id": "c"\n')
    assert run("import", V1, "--actors", str(given)) == 1
    said = capsys.readouterr().err
    assert "in.jsonl:2:" in said
    assert "in.jsonl:3:" in said
    given.write_text('{"id": "a\\u0000", "state": "open"}\n')
    assert run("import", V1, "--actors", str(given)) == 1
    assert "NUL" in capsys.readouterr().err
    given.write_text('{"id": "a", "state": "open"}\n')
    assert run("import", V1, V2, "--actors", str(given)) == 1
    assert "actor 'a' has no version" in capsys.readouterr().err
    assert store.one("SELECT count(*) FROM {actors}") == (0,)


def test_actors_of_unknown_definitions_are_counted(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "in.jsonl"
    given.write_text('{"id": "a", "version": 7, "state": "open"}\n{"id": "b", "state": "open"}\n')
    assert run("import", V1, "--actors", str(given)) == 0
    assert "1 actors are of definitions that are not stored" in capsys.readouterr().err


def test_usage(run: Run, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import") == 2
    assert run("import", V1, "--history", "h.csv") == 2
    assert run("import", "-", "--actors", "-") == 2
    assert run("prune", "--older-than", "soon") == 2
    assert "write 90d" in capsys.readouterr().err


# --- decisions ---


class Past:
    """Runs and decisions, written by hand as an apply would."""

    def __init__(self, store: Store):
        self.store = store
        store.execute("INSERT INTO {populations} (name) VALUES (%s)", (OWN.name,))
        found = store.one("SELECT population FROM {populations}")
        assert found is not None
        self.population = found[0]

    def run(
        self, number: int, *, days: int = 100, kind: str = "apply", status: str = "done", reverts: Any = None
    ) -> None:
        at = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.store.execute(
            "INSERT INTO {runs} (run, population, kind, status, definition, version, digests, reverts,"
            " started_at, stopped_at) VALUES (%s, %s, %s, %s, 'pull-request', '2', '{{}', %s, %s, %s)",
            (number, self.population, kind, status, reverts, at, at),
        )

    def class_(self, run: int, number: int, outcome: str, marker: Any = None, **decision: Any) -> None:
        self.store.execute(
            "INSERT INTO {classes} (run, class, outcome, marker, decision) VALUES (%s, %s, %s, %s, %s)",
            (run, number, outcome, None if marker is None else json.dumps(marker), json.dumps(decision)),
        )

    def decide(self, run: int, number: int, actor: str, events: int = 0) -> None:
        self.store.execute(
            "INSERT INTO {decisions} (actor, population, run, class, events) VALUES (%s, %s, %s, %s, %s)",
            (actor, self.population, run, number, events),
        )

    def left(self) -> set[tuple[int, str]]:
        return {(run, actor) for run, actor in self.store.rows("SELECT run, actor FROM {decisions}")}


def migrated(before: int, state: str, after: int, to: str) -> dict[str, Any]:
    source, target = {"version": before, "state": state}, {"version": after, "state": to}
    return {"type": "migrated", "from": source, "to": target}


@pytest.fixture
def past(store: Store) -> Past:
    """Three actors: `a` migrated, `b` stranded, `c` migrated and reverted."""
    rows = [("a", "2", "active"), ("b", "1", "needs_rescue"), ("c", "1", "active")]
    for id, version, status in rows:
        store.execute(
            "INSERT INTO {actors} (id, definition, version, status, state, revision) VALUES"
            """ (%s, 'pull-request', %s, %s, '"open"', 1)""",
            (id, version, status),
        )
        for name in ("X", "Y"):
            store.execute("INSERT INTO {events} (actor, type, at) VALUES (%s, %s, 'then')", (id, name))
    found = Past(store)
    found.run(1)
    found.class_(1, 0, "migrate", migrated(1, "open", 2, "open"))
    found.class_(1, 1, "strand", reason="gate_skipped", detail="it never passed", rule="", landings=[])
    found.decide(1, 0, "a", 1)
    found.decide(1, 1, "b", 2)
    found.decide(1, 0, "c", 2)
    found.run(2, kind="revert", reverts=1)
    found.class_(2, 0, "revert")
    found.decide(2, 0, "c")
    return found


def test_decisions_are_part_of_an_export(run: Run, past: Past, tmp_path: Path) -> None:
    for number in (3, 4):  # decided again, twice with nothing in between
        past.run(number)
        past.class_(number, 0, "migrate", migrated(number - 1, "open", number, "open"))
        past.decide(number, 0, "a", 2)
    back = tmp_path / "out.jsonl"
    assert run("export", "-o", str(back)) == 0
    a, b, c = map(json.loads, back.read_text().splitlines())
    x, y = ({"type": name, "at": "then"} for name in "XY")
    assert a["version"] == 2
    first, second, third = (migrated(n, "open", n + 1, "open") for n in (1, 2, 3))
    assert a["history"] == [x, first, y, second, third]
    assert b["status"] == "needs_rescue"
    assert b["rescue"] == {"reason": "gate_skipped", "detail": "it never passed", "run": "1"}
    assert b["history"] == c["history"] == [x, y]
    assert "rescue" not in c


def test_what_a_record_left_out_comes_out_once_it_says_something(
    run: Run, store: Store, tmp_path: Path
) -> None:
    given, back = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    snapshot = {"value": "open", "context": {"a": 1}, "status": "active", "historyValue": {}}
    given.write_text(
        '{"id": "a", "state": "open", "note": 1}\n'
        + json.dumps({"id": "b", "snapshot": snapshot, "context": {"old": 1}})
        + '\n{"id": "c", "state": "open", "rescue": {"reason": "old"}, "status": "needs_rescue"}\n'
    )
    assert run("import", V1, "--actors", str(given)) == 0
    assert store.rows("SELECT reason FROM {actors} WHERE id = 'c'") == [("old",)]
    store.execute("UPDATE {actors} SET version = '2', revision = 1, context = '{{}'")
    store.execute("UPDATE {actors} SET status = 'needs_rescue' WHERE id = 'b'")
    store.execute("UPDATE {actors} SET status = 'active' WHERE id = 'c'")
    assert run("export", "-o", str(back)) == 0
    a, b, c = map(json.loads, back.read_text().splitlines())
    assert a == {
        "id": "a",
        "definition": "pull-request",
        "version": 2,
        "state": "open",
        "context": {},
        "note": 1,
    }
    assert b == {
        "id": "b", "definition": "pull-request", "version": 2, "status": "needs_rescue", "context": {},
        "snapshot": {**snapshot, "context": {}},
    }  # fmt: skip
    assert c == {
        "id": "c",
        "definition": "pull-request",
        "version": 2,
        "status": "active",
        "state": "open",
        "context": {},
    }


@pytest.mark.parametrize(("name", "suffix"), [("build", "yaml"), ("session", "json")])
@pytest.mark.parametrize("snapshots", [False, True])
def test_an_applied_database_exports_what_apply_writes_for_an_export(
    run: Run, database: Database, tmp_path: Path, name: str, suffix: str, snapshots: bool
) -> None:
    folder = ROOT / "examples" / "02-broken-deployment"
    v1, v2, v3 = (str(folder / f"{name}-v{version}.{suffix}") for version in (1, 2, 3))
    records = list(map(json.loads, (folder / f"{name}.jsonl").read_text().splitlines()))
    if snapshots:
        for record in records:
            parts = {"value": record.pop("state"), "context": record.pop("context"), "historyValue": {}}
            record["snapshot"] = {"status": "active", **parts, "children": {}}
    first, second, third, back = (tmp_path / f"{n}.jsonl" for n in ("first", "second", "third", "back"))
    first.write_text("\n".join(map(json.dumps, records)))

    def apply(*arguments: object) -> None:
        assert cli.main(["apply", *map(str, arguments), "--max-strand", "all", "--allow-hazards"]) == 0

    def exported(run_number: int) -> list[Any]:
        assert run("export", "-o", str(back), "--force") == 0
        found = list(map(json.loads, back.read_text().splitlines()))
        for record in found:
            if "rescue" in record:
                assert record["rescue"].pop("run") == str(run_number)
        return found

    def written_by_apply(path: Path) -> list[Any]:
        return sorted(map(json.loads, path.read_text().splitlines()), key=lambda r: str(r["id"]))

    assert run("init", "--fence", "--block-events") == 0
    assert run("import", v1, "--actors", str(first)) == 0
    apply(v1, v2, "--actors", first, "-o", second)
    apply(v1, v2, "--db", database.url, "--yes")
    assert exported(1) == written_by_apply(second)
    apply(v1, v2, v3, "--actors", second, "-o", third)
    apply(v1, v2, v3, "--db", database.url, "--yes")
    assert exported(2) == written_by_apply(third)


def test_teams_with_tables_of_their_own_are_told(
    run: Run,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statekeep.yaml").write_text(
        "actors: {table: orders, id: id, state: state, version: version, revision: rev}\n"
    )
    assert run("export", "-o", "out.jsonl") == 1
    assert "statekeep.yaml says that the actors are in orders" in capsys.readouterr().err
    assert run("import", "--actors", ACTORS) == 1
    assert run("import", V1) == 0
    assert run("init", "--fence") == 0
    said = capsys.readouterr().out
    assert 'ON "orders"' in said
    assert "which is yours" in said


def test_decisions_are_append_only(past: Past) -> None:
    for table in ("decisions", "classes"):
        for statement in (f"DELETE FROM {{{table}}}", f"UPDATE {{{table}}} SET class = 9"):
            with pytest.raises(StateKeepError, match="append-only; statekeep db prune"):
                past.store.execute(statement)
    assert len(past.left()) == 4


def test_prune_keeps_what_is_needed(
    run: Run, past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    past.run(3)
    past.class_(3, 0, "strand")
    past.class_(3, 1, "stay")
    past.decide(3, 0, "a")  # resolved since
    past.decide(3, 0, "b")  # the latest about an actor that needs rescue; the one of run 1 is not
    past.decide(3, 1, "c")
    past.run(4, status="stopped")
    past.class_(4, 0, "strand")
    past.decide(4, 0, "c")
    past.run(5, days=80)
    past.class_(5, 0, "strand")
    past.decide(5, 0, "c")
    everything = past.left()
    assert run("export", "-o", str(tmp_path / "before.jsonl")) == 0

    assert run("prune", "--older-than", "1000d", "--yes") == 0
    assert "nothing to delete" in capsys.readouterr().out
    assert run("prune", "--older-than", "90d") == 8
    assert past.left() == everything
    assert "run 3 (apply pull-request@2): 2 decisions, 1 stay" in capsys.readouterr().out
    assert run("prune", "--older-than", "90d", "--yes") == 0
    assert "5 decisions deleted" in capsys.readouterr().out
    assert past.left() == {(1, "a"), (3, "b"), (4, "c"), (5, "c")}
    assert past.store.rows("SELECT run, class FROM {classes} ORDER BY run, class") == [
        (1, 0), (3, 0), (4, 0), (5, 0),
    ]  # fmt: skip
    assert past.store.one("SELECT count(*) FROM {runs}") == (5,)
    with pytest.raises(StateKeepError, match="append-only"):
        past.store.execute("DELETE FROM {decisions}")
    assert run("export", "-o", str(tmp_path / "after.jsonl")) == 0
    before, after = ((tmp_path / f"{n}.jsonl").read_text() for n in ("before", "after"))
    assert before == after


def test_an_undoing_stays_with_what_it_undid(run: Run, past: Past) -> None:
    past.store.execute("UPDATE {runs} SET status = 'stopped' WHERE run = 1")
    assert run("prune", "--older-than", "90d", "--yes") == 0
    assert past.left() == {(1, "a"), (1, "b"), (1, "c"), (2, "c")}


# --- triggers ---


def test_the_fence_refuses_a_stale_write(run: Run, past: Past) -> None:
    store = past.store
    assert run("init", "--fence") == 0
    for _ in range(2):
        with pytest.raises(StateKeepError, match=r"migrated.*stale write"):
            store.execute("UPDATE {actors} SET version = '1' WHERE id = 'a'")
        assert run("init", "--fence") == 0  # once more, over itself
    store.execute("UPDATE {actors} SET version = '2', revision = 2 WHERE id = 'a'")
    store.execute("UPDATE {actors} SET version = '3' WHERE id = 'b'")
    with store.transaction(), guards.letting(store, "reverting"):
        store.execute("UPDATE {actors} SET version = '1' WHERE id = 'a'")
    store.execute("UPDATE {actors} SET version = '2' WHERE id = 'a'")
    with pytest.raises(StateKeepError, match="stale write"):
        store.execute("UPDATE {actors} SET version = '1' WHERE id = 'a'")


def test_rescued_actors_take_no_events(run: Run, past: Past, tmp_path: Path) -> None:
    store = past.store
    assert run("init", "--block-events") == 0
    with pytest.raises(StateKeepError, match="needs rescue and takes no events"):
        store.execute("INSERT INTO {events} (actor, type) VALUES ('b', 'Z')")
    store.execute("INSERT INTO {events} (actor, type) VALUES ('a', 'Z')")
    given = tmp_path / "in.jsonl"
    given.write_text('{"id": "d", "state": "open", "status": "needs_rescue", "history": ["X"]}\n')
    assert run("import", V1, "--actors", str(given)) == 0
    with pytest.raises(StateKeepError, match="takes no events"):
        store.execute("INSERT INTO {events} (actor, type) VALUES ('d', 'Z')")


FOREIGN = Mapping(
    table=('or"ders {x}',), id="i d", state="state", version="ver'sion", reason="why",
    history=HistoryMapping(table=("log 100%",), actor="order", order=("n",), event="event"), revision="rev",
)  # fmt: skip


@pytest.fixture
def foreign(past: Past) -> Store:
    """A team's own tables, with names that need quoting, and a decision about one of its actors."""
    store = past.store
    store.script(
        """CREATE TABLE "or""ders {{x}" ("i d" integer PRIMARY KEY, state text, "ver'sion" integer, why text,
        rev integer); CREATE TABLE "log 100%" (n integer, "order" text, event text);
        INSERT INTO "or""ders {{x}" VALUES (1, 'open', 2, NULL, 0), (2, 'open', 1, 'gate_skipped', 0)"""
    )
    store.execute("INSERT INTO {populations} (name) VALUES (%s)", (FOREIGN.name,))
    store.execute(
        "INSERT INTO {decisions} (actor, population, run, class, events)"
        " SELECT '1', population, 1, 0, 0 FROM {populations} WHERE name = %s",
        (FOREIGN.name,),
    )
    return store


def psql(database: Database, statements: str) -> None:
    """Runs SQL as its reader would, without StateKeep."""
    if database.kind == "postgres":
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(statements.encode())
    else:
        with sqlite3.connect(str(database.path)) as connection:
            connection.executescript(statements)


def test_triggers_for_foreign_tables(database: Database, foreign: Store) -> None:
    refused = (psycopg.Error, sqlite3.Error)
    psql(database, guards.fence(foreign, FOREIGN))
    with pytest.raises(refused, match="stale write"):
        psql(database, """UPDATE "or""ders {x}" SET "ver'sion" = 1""")
    psql(database, """UPDATE "or""ders {x}" SET "ver'sion" = 3 WHERE "i d" = 2""")

    marked = Mapping(**{**{f: getattr(FOREIGN, f) for f in FOREIGN.__slots__}, "reason": ""})
    for mapping, rescued, free in ((FOREIGN, 2, 1), (marked, 1, 2)):
        foreign.execute(
            "INSERT INTO {marks} (population, actor, status) SELECT population, %s, 'needs_rescue'"
            " FROM {populations} WHERE name = %s",
            (str(rescued + (mapping is FOREIGN)), FOREIGN.name),
        )
        psql(database, guards.block_events(foreign, mapping))
        with pytest.raises(refused, match="takes no events"):
            psql(database, f"""INSERT INTO "log 100%" VALUES (1, '{rescued}', 'X')""")
        psql(database, f"""INSERT INTO "log 100%" VALUES (1, '{free}', 'X')""")


def test_what_has_no_column_has_no_fence(foreign: Store) -> None:
    plain = Mapping(table=("orders",), id="id", state="state", first_version="1")
    with pytest.raises(StateKeepError, match="no version column"):
        guards.fence(foreign, plain)
    with pytest.raises(StateKeepError, match="not mapped"):
        guards.block_events(foreign, plain)


# --- bad days ---


def test_no_tables(run: Run, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["import", V1], ["export", "-o", "x"], ["prune", "--older-than", "1d"]):
        assert run(*command) == 1
        assert "has no StateKeep tables; run statekeep db init" in capsys.readouterr().err
    assert not Path("x").exists()


def test_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "tops3cret"
    for url, code in (
        (f"postgresql://kim:{secret}@127.0.0.1:1/db", 9),
        (f"postgresql://kim:{secret}@nowhere.invalid/db", 9),
        (f"mysql://kim:{secret}@localhost/db", 2),
        (str(tmp_path / "absent" / "x.db"), 9),
    ):
        assert cli.main(["db", "init", "--db", url]) == code
        said = capsys.readouterr()
        assert secret not in said.out + said.err
        assert said.err.count("\n") == 1
    assert cli.main(["db", "export", "-o", "x", "--db", str(tmp_path / "absent.db")]) == 9
    (tmp_path / "text.db").write_text("not a database, but a text of some length" * 100)
    assert cli.main(["db", "init", "--db", str(tmp_path / "text.db")]) == 9


def test_a_wrong_password(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE kim LOGIN PASSWORD 'right'")
        (rules,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        path = Path(rules)
        path.write_text("local all kim scram-sha-256\n" + path.read_text())
        connection.execute("SELECT pg_reload_conf()")
        url = f"{server.url('postgres')}&user=kim&password=tops3cret".replace("user=postgres&", "")
        for command in (["init"], ["import", V1], ["export", "-o", "x"]):
            assert cli.main(["db", *command, "--db", url]) == 9
            said = capsys.readouterr()
            assert "password authentication failed" in said.err
            assert "tops3cret" not in said.out + said.err


def test_a_context_too_deep_to_be_looked_at(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, back = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    line = '{"id":"a","state":"open","context":' + "[" * 900 + "]" * 900 + "}\n"
    given.write_text(line)
    assert run("import", V1, "--actors", str(given)) == 0
    assert run("export", "-o", str(back)) == 0
    assert back.read_text() == line
    given.write_text(line.replace("[" * 900, "[" * 5_000).replace("]" * 900, "]" * 5_000))
    assert run("import", V1, "--actors", str(given)) == 1
    assert "in.jsonl:1:" in capsys.readouterr().err


def test_an_export_may_be_piped(run: Run, past: Past, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("export", "-o", "-") == 0
    assert [json.loads(line)["id"] for line in capfdbinary.readouterr().out.splitlines()] == ["a", "b", "c"]


def test_a_file_that_may_not_be_written(
    tmp_path: Path, sqlite: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    store = sqlite.connect(read_only=True)
    with pytest.raises(StateKeepError) as refused:
        installing.install(store)
    assert refused.value.exit_code == 9


def test_a_user_without_privileges(postgres: Database, capsys: pytest.CaptureFixture[str]) -> None:
    role = f"reader_{os.getpid()}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role}".encode())
        try:
            store = postgres.connect()
            store.execute(f"SET ROLE {role}")
            with pytest.raises(StateKeepError) as refused:
                installing.install(store)
            assert refused.value.exit_code == 9
            store.close()
        finally:
            connection.execute(f"DROP ROLE {role}".encode())


def test_an_export_is_there_whole_or_not_at_all(
    run: Run, past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    back = tmp_path / "out.jsonl"
    back.write_text("as it was")
    back.chmod(0o640)
    past.store.execute("UPDATE {actors} SET shape = '7' WHERE id = 'c'")  # nobody but us writes it
    assert run("export", "-o", str(back)) == 2
    assert "--force" in capsys.readouterr().err
    assert run("export", "-o", str(back), "--force") == 1
    assert back.read_text() == "as it was"
    past.store.execute("UPDATE {actors} SET shape = NULL WHERE id = 'c'")
    assert run("export", "-o", str(back), "--force") == 0
    assert len(back.read_text().splitlines()) == 3
    assert stat.S_IMODE(back.stat().st_mode) == 0o640
    assert list(tmp_path.glob(".*")) == []
