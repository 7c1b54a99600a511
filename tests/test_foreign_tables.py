"""A team's own tables: what is decided and written there is what happens to an export that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from statekeep_cli.cli import main
from statekeep_cli.core.mapping import OWN
from statekeep_cli.errors import StateKeepError
from statekeep_cli.extracting import records
from statekeep_cli.readers.config import read_config
from statekeep_cli.stores import rescue
from statekeep_cli.stores.changes import Change, Changes, Kind, Moved
from statekeep_cli.stores.scope import scope
from statekeep_cli.stores.writing import write
from tests.databases import Database
from tests.foreign import V1, V2, V3, Orders, Shape
from tests.support import ROOT

SHAPES = [
    Shape("plain"),
    Shape("uuid", id="uuid", version="text", history="event"),
    Shape("hostile-ids", id="text", history="event"),
    Shape("json-state", state="json", recorded="json"),
    Shape("jsonb-state", state="jsonb", recorded="jsonb", history="state"),
    Shape("json-in-text", written="json"),
    Shape("objects-in-text", written="mixed", history="state"),
    Shape("enum", state="enum", postgres_only=True),
    Shape("kept-version", version="", history="event"),
    Shape("all-kept", version="", rescue=False),
    Shape("kept-rescue", rescue=False),
    Shape("json-context", context="json", history="event"),
    Shape("context-columns", context="columns"),
    Shape("context-columns-all-kept", context="columns", version="", rescue=False),
    Shape("timestamp", revision="timestamptz"),
    Shape("timestamp-all-kept", revision="timestamptz", version="", rescue=False),
    Shape("uuid-revision", revision="uuid", context="json"),
    Shape("xmin", revision="", postgres_only=True),
    Shape("xmin-all-kept", revision="", version="", rescue=False, postgres_only=True),
    Shape("where", where=True, source="where"),
    Shape("query", source="query", history="both"),
    Shape("two-orders", order=("batch", "n"), history="event"),
    Shape("text-key", key="text", history="event"),
    Shape("varchar-key", id="text", key="varchar", history="event"),
    Shape("integer-key", key="integer", history="both"),
    Shape("text-id-bigint-key", id="text", key="bigint", history="event"),
    Shape("empty-without-rows", no_rows="empty", history="event"),
    Shape("no-history", history=""),
]


# Those that are written to in ways of their own.
_NAMES = (
        "hostile-ids", "json-state", "json-in-text", "objects-in-text", "all-kept", "kept-rescue",
        "json-context", "context-columns", "context-columns-all-kept", "timestamp", "uuid-revision", "xmin",
        "xmin-all-kept",
)  # fmt: skip
WRITTEN = [s for s in SHAPES if s.name in _NAMES]


@pytest.fixture(params=SHAPES, ids=lambda s: s.name)
def orders(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Orders:
    if request.param.postgres_only and database.kind == "sqlite":
        pytest.skip("SQLite has nothing of the kind")
    return Orders(database, tmp_path, request.param)


def test_two_deployments(orders: Orders, capsys: pytest.CaptureFixture[str]) -> None:
    """Preview where there are no tables of StateKeep's, version 2 with strands, the team's program going on,
    version 3 from both: at every step as on the export."""
    from_database, from_export = orders.previews(1, 2)
    assert from_database == from_export
    assert len(from_database) > 6
    assert orders.statekeep("db", "init") == 0
    orders.apply(1, 2)
    assert orders.in_tables() == orders.as_in_tables()
    movers = [r for r in orders.actors.values() if r["version"] == 2]
    assert movers or not orders.shape.history
    steps = {"new": ("PAY", "paid"), "paid": ("FLAG", "inspection")}
    for record in movers:
        state = record["state"]
        if isinstance(state, str) and state in steps:
            orders.advance(record["id"], *steps[state])
        elif state == {"packing": "boxing"}:
            orders.advance(record["id"], "WEIGH", {"packing": "weighing"})
    from_database, from_export = orders.previews(1, 2, 3)
    assert from_database == from_export
    orders.apply(1, 2, 3)
    assert orders.in_tables() == orders.as_in_tables()
    before = orders.in_tables()
    assert (
        orders.statekeep("apply", *(orders.files[v] for v in (1, 2, 3)), "--yes", "--max-strand", "all") == 0
    )
    assert orders.in_tables() == before


def test_groups_in_pages(orders: Orders) -> None:
    """What the rescue screen reads: a group's actors, page by page, whatever states and ids are kept as."""
    assert orders.statekeep("db", "init") == 0
    orders.apply(1, 2)
    store = orders.database.connect()
    actors = scope(store, read_config(str(orders.config)).mapping or OWN).actors(store)
    groups = rescue.groups(actors)
    assert groups
    found: list[str] = []
    for group in groups:
        members: list[str] = []
        while page := rescue.members(actors, group, members[-1] if members else None, 2):
            assert all(
                (x.state, x.reason, x.version) == (group.state, group.reason, group.version) for x in page
            )
            members += [x.id for x in page]
        assert len(members) == group.count
        assert [x.id for x in rescue.members(actors, group, None, 2, members[-1])] == members[-1:]
        found += members
    assert sorted(found) == sorted(x.id for x in rescue.page(actors, limit=1_000))


# --- a preset ----------------------------------------------------------------------------------------


def test_django_fsm_log(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its log is shared by all models, names actors by text, and knows no versions."""
    store = database.connect()
    key = "bigint" if database.kind == "postgres" else "INTEGER"
    store.script(
        f"CREATE TABLE django_content_type (id {key} PRIMARY KEY, app_label varchar(100), model text);"
        f"CREATE TABLE shop_order (id {key} PRIMARY KEY, state varchar(50) NOT NULL, rev {key} DEFAULT 0);"
        f"CREATE TABLE django_fsm_log_statelog (id {key} PRIMARY KEY, state varchar(255), source_state"
        f" varchar(255), transition varchar(255), object_id text, content_type_id {key});"
        "INSERT INTO django_content_type VALUES (7, 'shop', 'order'), (8, 'shop', 'parcel');"
        "INSERT INTO shop_order (id, state) VALUES (1, 'paid'), (2, 'review'), (3, 'new');"
        "INSERT INTO django_fsm_log_statelog (id, state, transition, object_id, content_type_id) VALUES"
        " (1, 'paid', 'PAY', '1', 7), (2, 'lost', 'LOSE', '1', 8), (3, 'paid', 'PAY', '2', 7),"
        " (4, 'review', 'FLAG', '2', 7);"
    )
    config = tmp_path / "statekeep.yaml"
    revision = ", revision: rev" if database.kind == "sqlite" else ""
    config.write_text(
        "preset: django-fsm-log\nmodel: shop.Order\nhistory: {without_rows: empty}\n"
        f"actors: {{version: {{kept_by: statekeep, first: 1}}{revision}}}\n"
    )
    files = []
    for definition in (V1, V2, V3):
        path = tmp_path / f"v{definition['version']}.json"
        path.write_text(json.dumps(definition))
        files.append(str(path))
    given = ("--db", database.url, "--config", str(config), "--max-strand", "all")
    assert main(["preview", *files[:2], *given, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["wouldMigrate"], found["wouldStrand"], found["total"]) == (2, 1, 3)
    assert main(["db", "init", "--db", database.url]) == 0
    assert main(["apply", *files[:2], *given, "--yes"]) == 0
    assert main(["apply", *files, *given, "--yes"]) == 0
    assert store.rows("SELECT state FROM shop_order ORDER BY id") == [("paid",), ("inspection",), ("new",)]
    marks = store.rows("SELECT actor, version, status FROM {marks} ORDER BY actor")
    assert marks == [(str(n), "3", "active") for n in (1, 2, 3)]


# --- infer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [Shape("both", written="mixed"), Shape("path"),
     Shape("state", state="json", recorded="json", history="state"),
     Shape("kept", version="", rescue=False, written="json", source="query")],
    ids=lambda s: s.name,
)  # fmt: skip
def test_infer(shape: Shape, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same machine from the tables as from the export, and with the counts in it."""
    orders = Orders(database, tmp_path, shape)
    options = ["--id", "order", "--initial", "new"]
    out, other = tmp_path / "inferred.yaml", tmp_path / "from-export.yaml"
    assert orders.statekeep("infer", "-o", str(out), *options) == 0
    assert "20 actors, 60 events" in capsys.readouterr().err
    assert main(["infer", "--actors", orders.export(), "-o", str(other), *options]) == 0
    text = out.read_text()
    if shape.name != "path":  # a path in a text column is a name as any other: nobody said that it is a path
        assert text.replace("team_orders", "export.jsonl") == other.read_text()
    assert "shipping:" in text
    assert main(["check", str(out)]) == 0
    # What came out is a version 1 that everybody is in.
    following = tmp_path / "following.yaml"
    following.write_text(text.replace("version: 1", "version: 2"))
    capsys.readouterr()
    assert orders.statekeep("preview", str(out), str(following), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["wouldMigrate"] == 20


def test_infer_from_own_tables(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Actors of several definitions are told apart; where they are not, it says how."""
    folder = ROOT / "examples" / "02-broken-deployment"
    assert main(["db", "init", "--db", database.url]) == 0
    for kind in ("build", "issue"):
        given = [str(folder / f"{kind}-v1.yaml"), "--actors", str(folder / f"{kind}.jsonl")]
        assert main(["db", "import", *given, "--db", database.url]) == 0
    assert main(["infer", "--db", database.url]) == 1
    assert "several definitions" in capsys.readouterr().err
    assert main(["infer", "--db", database.url, "--where", "definition = 'issue'"]) == 0
    from_database = capsys.readouterr().out
    assert main(["infer", "--actors", str(folder / "issue.jsonl")]) == 0
    expected = capsys.readouterr().out
    assert from_database.replace("statekeep.actors", "issue.jsonl") == expected
    assert "id: issue" in from_database


def test_infer_needs_one_source(database: Database, tmp_path: Path) -> None:
    assert main(["infer", "--db", database.url, "--actors", str(tmp_path / "x.jsonl")]) == 2


# --- triggers ----------------------------------------------------------------------------------------


def triggers(orders: Orders, option: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert orders.statekeep("db", "init", option) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("printed", ["after init", "print-sql"])
@pytest.mark.parametrize("version", ["integer", "text"])
def test_fence(
    printed: str, version: str, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed SQL refuses a stale write, and lets StateKeep and everybody else through."""
    orders = Orders(database, tmp_path, Shape("fenced", version=version, key="text"))
    if printed == "print-sql":
        assert orders.statekeep("db", "init") == 0
        capsys.readouterr()
        assert orders.statekeep("db", "init", "--print-sql", "--fence") == 0
        script = capsys.readouterr().out
    else:
        script = triggers(orders, "--fence", capsys)
    orders.store.script(script)
    orders.store.script(script)  # again replaces it
    orders.apply(1, 2)
    migrated = next(r["id"] for r in orders.actors.values() if r["version"] == 2)
    with pytest.raises(StateKeepError, match="stale write"):
        orders.store.execute(
            f"UPDATE team_orders SET status = 'paid', v = CAST(1 AS {version}) WHERE id = %s", (migrated,)
        )
    orders.store.execute("UPDATE team_orders SET status = 'paid', rev = rev + 1 WHERE id = %s", (migrated,))
    orders.store.execute(
        f"UPDATE team_orders SET v = CAST(7 AS {version}), rev = rev + 1 WHERE id = %s", (migrated,)
    )


@pytest.mark.parametrize(
    "shape",
    [Shape("column"), Shape("kept", rescue=False, version=""), Shape("text-key", key="text"),
     Shape("uuid", id="uuid", rescue=False, key="text"), Shape("text-id", id="text", rescue=True)],
    ids=lambda s: s.name,
)  # fmt: skip
def test_block_events(
    shape: Shape, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed SQL makes the audit table refuse events of rescued actors, until they are placed."""
    orders = Orders(database, tmp_path, shape)
    script = triggers(orders, "--block-events", capsys)
    orders.store.script(script)
    orders.store.script(script)
    orders.apply(1, 2)
    rescued = next(r["id"] for r in orders.actors.values() if r["status"] == "needs_rescue")
    other = next(r["id"] for r in orders.actors.values() if r["state"] == "paid")
    with pytest.raises(StateKeepError, match="needs rescue"):
        orders.advance(rescued, "OK", "paid")
    orders.actors[rescued]["state"] = "review"
    orders.advance(other, "FLAG", "inspection")
    orders.apply(1, 2, 3)
    orders.advance(rescued, "OK", "paid")


# --- read as an export ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [Shape("columns", context="columns", written="mixed"),
     Shape("json", written="json", context="json", history="state"),
     Shape("kept", version="", rescue=False, no_rows="empty", history="event", written="mixed"),
     Shape("none", history="", written="mixed")],
    ids=lambda s: s.name,
)  # fmt: skip
def test_the_tables_as_an_export(shape: Shape, database: Database, tmp_path: Path) -> None:
    """What is read from the tables is what the export says, markers included; and is decided on alike."""
    orders = Orders(database, tmp_path, shape)
    store = database.connect(read_only=True)
    mapping = read_config(str(orders.config)).mapping
    assert mapping is not None

    def read(size: int) -> dict[str, dict[str, Any]]:
        found = map(json.loads, records(store, scope(store, mapping), size=size))
        return {r["id"]: r for r in found}

    assert read(7) == orders.actors
    assert orders.statekeep("db", "init") == 0
    orders.apply(1, 2)
    for r in orders.actors.values():
        if "rescue" in r:  # the evidence stays with the decision
            r["rescue"] = {"reason": r["rescue"]["reason"]}
        if not shape.context:
            r.pop("context", None)
    assert read(1000) == orders.actors


# --- bad days ------------------------------------------------------------------------------------------


KINDS_OF_REVISION = [
    Shape("integer"), Shape("timestamptz", revision="timestamptz"), Shape("uuid", revision="uuid"),
    Shape("marks", version="", rescue=False), Shape("xmin", revision="", postgres_only=True),
    Shape("xmin-marks", revision="", version="", rescue=False, postgres_only=True),
]  # fmt: skip


@pytest.mark.parametrize("shape", KINDS_OF_REVISION, ids=lambda s: s.name)
@pytest.mark.parametrize("what", ["moves", "is tagged", "stays"])
def test_an_actor_that_moved_is_not_written_to(
    what: str, shape: Shape, postgres: Database, tmp_path: Path
) -> None:
    """Whatever the revision is: between reading and writing the team's program moves one actor of three."""
    orders = Orders(postgres, tmp_path, shape)
    store = orders.store
    assert orders.statekeep("db", "init") == 0
    mapping = read_config(str(orders.config)).mapping
    assert mapping is not None
    actors = scope(store, mapping, writing=True).actors(store)
    rows = actors.read(["1", "2", "3"])
    kind = {
        "moves": Kind(0, "active", '"paid"', "2"),
        "is tagged": Kind(0, "needs_rescue", reason="state_removed"),
        "stays": Kind(0, writes=False),
    }[what]
    changes = [Change(row.id, row.revision, 0, 0) for row in rows]
    orders.advance("2", "FLAG", "review")
    before = store.rows("SELECT * FROM team_orders ORDER BY id")
    with pytest.raises(Moved), store.transaction():
        write(actors, 1, [kind], Changes.of(changes))
    assert store.rows("SELECT * FROM team_orders ORDER BY id") == before
    assert store.rows("SELECT * FROM {decisions}") == store.rows("SELECT * FROM {marks}") == []
    # Read again, it is written; and the revision that is recorded is the one that it then has.
    changes = [Change(row.id, row.revision, 0, 0) for row in actors.read(["1", "2", "3"])]
    with store.transaction():
        write(actors, 1, [kind], Changes.of(changes))
    after = {row.id: str(row.revision) for row in actors.read(["1", "2", "3"])}
    assert dict(store.rows("SELECT actor, revision FROM {decisions}")) == after


@pytest.mark.parametrize("kind", ["rescue kept", "rescue in a column"])
def test_a_rescued_actor_is_otherwise_untouched(kind: str, database: Database, tmp_path: Path) -> None:
    """Its row stays as it was, to the revision, where the tag is kept elsewhere."""
    orders = Orders(database, tmp_path, Shape("kept", rescue=kind != "rescue kept", context="json"))
    assert orders.statekeep("db", "init") == 0
    query = (
        "SELECT CAST(id AS text), status, v, CAST(data AS text), rev FROM team_orders WHERE status = 'review'"
    )
    before = orders.store.rows(query)
    assert len(before) == 4
    orders.apply(1, 2)
    more = 0 if kind == "rescue kept" else 1
    assert orders.store.rows(query) == [(*row[:-1], row[-1] + more) for row in before]


def test_a_trigger_that_counts_the_revision(database: Database, tmp_path: Path) -> None:
    """Some tables count by themselves. What is recorded is what the row says in the end."""
    orders = Orders(database, tmp_path, Shape("counted"))
    if database.kind == "postgres":
        orders.store.script(
            "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.rev = OLD.rev + 10; RETURN NEW; END $$;"
            "CREATE TRIGGER counted BEFORE UPDATE ON team_orders FOR EACH ROW EXECUTE FUNCTION counted();"
        )
    else:
        orders.store.script(
            "CREATE TRIGGER counted AFTER UPDATE OF status ON team_orders"
            " BEGIN UPDATE team_orders SET rev = OLD.rev + 10 WHERE id = NEW.id; END;"
        )
    assert orders.statekeep("db", "init") == 0
    orders.apply(1, 2)
    migrated = orders.store.rows(
        "SELECT DISTINCT d.revision, CAST(a.rev AS text) FROM {decisions} d JOIN team_orders a"
        " ON CAST(a.id AS text) = d.actor WHERE a.v = 2"
    )
    assert migrated == [("10", "10")]


def test_states_and_versions_that_are_none(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NULL, text that only looks like JSON, and text that would be a document of its own if pasted: each is
    one actor's problem, and nobody else's."""
    orders = Orders(database, tmp_path, Shape("odd"))
    odd = {
        "500": None,
        "501": "{no json",
        "502": '{"packing":7}',
        "503": 'paid","version":2',
        "504": '"}],[{"type":"PAY',
        "505": "",
    }
    for name, state in odd.items():
        orders._row("team_orders", ("id", "status", "v"), [name, state, "1"])
    orders._row("team_orders", ("id", "status"), ["506", "paid"])
    for n, (name, state) in enumerate(odd.items()):
        orders._row("audit", ("n", "order_id", "action", "new_status"), [n, name, "PAY", state])
    orders._row("audit", ("n", "order_id", "action", "new_status"), [0, "506", "PAY", "paid"])
    arguments = ("preview", orders.files[1], orders.files[2], "--format", "jsonl", "--max-strand", "all")
    assert orders.statekeep(*arguments) == 1  # some are no actors at all
    assert "500" in capsys.readouterr().err
    assert orders.statekeep(*arguments, "--keep-going") == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {line["actor"]: line for line in lines if "actor" in line}
    assert {
        name: (found[name]["outcome"], found[name]["reason"]) for name in odd if name in found
    } == dict.fromkeys(("501", "503", "504", "505"), ("strand", "snapshot_invalid"))
    assert [line for line in lines if "500" in str(line)]
    assert found["506"]["outcome"] == "migrate"  # one source: its version is known
    assert sum(line["outcome"] == "migrate" for line in found.values()) == 17
    assert orders.statekeep("db", "init") == 0
    apply = ("apply", *arguments[1:3], "--yes", "--max-strand", "all")
    before = orders.store.rows("SELECT * FROM team_orders ORDER BY id")
    capsys.readouterr()
    assert orders.statekeep(*apply) == 1
    assert orders.store.rows("SELECT * FROM team_orders ORDER BY id") == before
    orders.store.execute("DELETE FROM team_orders WHERE id IN (500, 502)")
    assert orders.statekeep(*apply) == 0
    rows = orders.store.rows("SELECT id, status, v, why FROM team_orders WHERE id >= 501 ORDER BY id")
    assert rows == [
        *((int(n), odd[n], 1, "snapshot_invalid") for n in ("501", "503", "504", "505")),
        (506, "paid", 2, None),
    ]


def test_names_of_every_kind(database: Database, tmp_path: Path) -> None:
    """Tables and columns are quoted by the driver: no name is too strange."""
    store = database.connect()
    q, kind = store.quote, "bigint" if database.kind == "postgres" else "INTEGER"
    table, log = 'my "table" %s {x}', "log; DROP TABLE audit"
    other = 'it\'s "x" %s {y}'
    names = ["the id", 'sta"tus', "v%s", "{rev}", "why%(x)s", "order"]
    id, status, v, rev, why, context = (q(n) for n in names)
    script = (
        f"CREATE TABLE {q(table)} ({id} {kind} PRIMARY KEY, {status} text, {v} integer,"
        f" {rev} integer DEFAULT 0, {why} text, {context} text, {q(other)} text);"
        f"CREATE TABLE {q(log)} ({id} {kind}, {status} text, {v} {kind});"
        f"INSERT INTO {q(table)} ({id}, {status}, {v}) VALUES (1, 'paid', 1), (2, 'review', 1);"
        f"INSERT INTO {q(log)} VALUES (1, 'PAY', 1), (2, 'PAY', 1), (2, 'FLAG', 2);"
    )
    store.script(script.replace("{", "{{"))
    config = tmp_path / "statekeep.json"
    history = {"table": [log], "actor": names[0], "event": names[1], "order": names[2]}
    actors = {"table": [table], "id": names[0], "state": names[1], "version": names[2],
              "revision": names[3],
              "rescue": names[4], "context": {"currency": names[5], other: other}}  # fmt: skip
    config.write_text(json.dumps({"actors": actors, "history": history}))
    files = []
    for definition in (V1, V2):
        path = tmp_path / f"v{definition['version']}.json"
        path.write_text(json.dumps(definition))
        files.append(str(path))
    given = ("--db", database.url, "--config", str(config), "--max-strand", "all")
    assert main(["preview", *files, *given]) == 0
    assert main(["db", "init", "--db", database.url]) == 0
    assert main(["apply", *files, *given, "--yes"]) == 0
    text = f"SELECT {status}, {v}, {rev}, {why}, {context} FROM {q(table)} ORDER BY {id}"
    assert store.rows(text.replace("%", "%%").replace("{", "{{")) == [
        ("paid", 2, 1, None, "eur"),
        ("review", 1, 1, "state_removed", None),
    ]


def test_contexts_that_no_column_would_keep(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = Orders(database, tmp_path, Shape("columns", context="columns"))
    value = json.loads(orders.config.read_text())
    del value["actors"]["context"]["currency"]
    orders.config.write_text(json.dumps(value))
    assert orders.statekeep("preview", orders.files[1], orders.files[2]) == 1
    assert (
        "order@2 gives contexts 'currency', and no column of team_orders keeps it" in capsys.readouterr().err
    )


def test_a_revision_that_cannot_be_written(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = Orders(database, tmp_path, Shape("plain"))
    value = json.loads(orders.config.read_text())
    orders.store.execute("ALTER TABLE team_orders ADD COLUMN etag text")
    value["actors"]["revision"] = "etag"
    orders.config.write_text(json.dumps(value))
    files = (orders.files[1], orders.files[2])
    assert orders.statekeep("preview", *files, "--max-strand", "all") == 0
    assert orders.statekeep("db", "init") == 0
    assert orders.statekeep("apply", *files, "--yes", "--max-strand", "all") == 1
    assert "name an integer, timestamp or uuid column" in capsys.readouterr().err


def test_preview_by_who_may_only_select(
    postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without StateKeep's tables, and with them: then it must see these, or would not know what was done."""
    orders = Orders(postgres, tmp_path, Shape("read", version="", rescue=False, revision=""))
    store = orders.store
    role = f"reader_{uuid4().hex[:8]}"
    store.script(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON team_orders, audit TO {role};")
    try:
        url = postgres.url + f"&options={quote(f'-c role={role}')}"

        def preview(*versions: int) -> int:
            capsys.readouterr()
            given = [*(orders.files[v] for v in versions), "--config", str(orders.config), "--db", url]
            return main(["preview", *given, "--max-strand", "all", "--format", "json"])

        assert preview(1, 2) == 0
        assert json.loads(capsys.readouterr().out)["wouldStrand"] == 4
        orders.statekeep("db", "init")
        orders.apply(1, 2)
        assert preview(1, 2, 3) == 9
        assert "permission denied" in capsys.readouterr().err
        store.script(f"GRANT USAGE ON SCHEMA statekeep TO {role};")
        store.script(f"GRANT SELECT ON ALL TABLES IN SCHEMA statekeep TO {role};")
        assert preview(1, 2, 3) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["wouldMigrate"], found["wouldStrand"]) == (20, 0)
    finally:
        store.script(f"DROP OWNED BY {role}; DROP ROLE {role};")


# --- and back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orders", WRITTEN, ids=lambda s: s.name, indirect=True)
def test_reverted(orders: Orders, capsys: pytest.CaptureFixture[str]) -> None:
    """What a run did is undone, in every column but the revision; who has moved since is left alone."""
    before = orders.in_tables()
    assert orders.statekeep("db", "init") == 0
    orders.apply(1, 2)
    after = orders.in_tables()
    moved = next(
        (r["id"] for r in orders.actors.values() if r["version"] == 2 and r["state"] == "paid"), None
    )
    if moved is not None:
        orders.advance(moved, "FLAG", "inspection")
    assert orders.statekeep("revert", "1", "--yes") in (0, 7)
    if moved is not None:
        assert moved in capsys.readouterr().out
        before[moved] = {**after[moved], "state": orders.stored("inspection")}
    assert orders.in_tables() == before
