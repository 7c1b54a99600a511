"""`statekeep check --db`: mappings against real catalogues, of SQLite and of Postgres."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from statekeep_cli.cli import main
from statekeep_cli.core.mapping import OWN, HistoryMapping, Mapping
from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores.catalogue import Columns, columns
from statekeep_cli.stores.catalogue_finding import CODES
from statekeep_cli.stores.installing import install
from statekeep_cli.stores.interface import Store
from tests.databases import Database

TABLES = {
    "postgres": """
CREATE TABLE loans (id bigint PRIMARY KEY, status varchar(20) NOT NULL, v integer NOT NULL,
  data jsonb, amount numeric(10, 2), lock_version bigint NOT NULL DEFAULT 0, reason text);
CREATE TABLE audit (id bigserial PRIMARY KEY, loan_id bigint NOT NULL, action text, new_status text);
CREATE INDEX ON audit (loan_id, id);
""",
    "sqlite": """
CREATE TABLE loans (id INTEGER PRIMARY KEY, status VARCHAR(20) NOT NULL, v INTEGER NOT NULL,
  data JSON, amount NUMERIC, lock_version INTEGER NOT NULL DEFAULT 0, reason TEXT);
CREATE TABLE audit (id INTEGER PRIMARY KEY, loan_id INTEGER NOT NULL, action TEXT, new_status TEXT);
CREATE INDEX audit_of_loan ON audit (loan_id, id);
""",
}
ACTORS = {
    "table": "loans",
    "id": "id",
    "state": "status",
    "version": "v",
    "context": "data",
    "revision": "lock_version",
    "rescue": "reason",
}
HISTORY = {"table": "audit", "actor": "loan_id", "event": "action", "state": "new_status", "order": "id"}
V1 = {
    "id": "loan",
    "version": 1,
    "initial": "applied",
    "states": {
        "applied": {"on": {"APPROVE": "approved"}},
        "approved": {"initial": "open", "states": {"open": {"on": {"PAY": "paid"}}, "paid": {}}},
    },
}
V2 = {
    **V1,
    "version": 2,
    "states": {
        "applied": {"on": {"APPROVE": "approved", "WAIT": "waiting_for_documents"}},
        "approved": {"initial": "open", "states": {"open": {"on": {"PAY": "paid"}}, "paid": {}}},
        "waiting_for_documents": {},
    },
}


@pytest.fixture
def store(database: Database) -> Store:
    """A database with own tables and the team's, both in order."""
    opened = database.connect()
    install(opened)
    opened.script(TABLES[database.kind])
    return opened


class Check:
    """Runs the command on a mapping that is in order, but for what is given."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str]):
        self.folder, self.url, self.capsys = folder, url, capsys
        self.config = folder / "statekeep.json"

    def run(self, *arguments: str, **parts: Any) -> tuple[int, str]:
        value = {"actors": {**ACTORS, **parts.get("actors", {})}, "history": parts.get("history", HISTORY)}
        value = {k: {n: v for n, v in part.items() if v is not None} for k, part in value.items()}
        self.config.write_text(json.dumps(value, indent=1))
        code = main(["check", *arguments, "--db", self.url, "--config", str(self.config)])
        return code, self.capsys.readouterr().out

    def messages(self, *arguments: str, **parts: Any) -> str:
        _, out = self.run(*arguments, "--format", "json", **parts)
        return "\n".join(f["message"] for f in json.loads(out)["findings"])

    def found(self, *arguments: str, **parts: Any) -> dict[str, dict[str, Any]]:
        """Findings by code; where a code has several, the last."""
        _, out = self.run(*arguments, "--format", "json", **parts)
        return {f["code"]: f for f in json.loads(out)["findings"]}

    def definition(self, value: Any) -> str:
        path = self.folder / f"v{value['version']}.json"
        path.write_text(json.dumps(value))
        return str(path)


@pytest.fixture
def check(store: Store, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(tmp_path, database.url, capsys)


# --- in order ----------------------------------------------------------------------------------------


def test_a_mapping_that_is_in_order(check: Check, store: Store) -> None:
    store.execute("INSERT INTO loans (id, status, v) VALUES (1, 'applied', 1), (2, 'approved.open', 1)")
    assert check.run() == (0, "the database checked, nothing found\n")
    assert check.run(check.definition(V1)) == (0, "1 definition and the database checked, nothing found\n")


def test_own_tables_need_no_configuration(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--db", database.url]) == 3
    out = capsys.readouterr().out
    assert "error[DB013]: StateKeep's own tables are not there" in out
    assert "statekeep db init" in out
    store = database.connect()
    install(store)
    assert main(["check", "--db", database.url]) == 0
    store.execute("INSERT INTO {meta} (version) VALUES (%s)", (99,))
    capsys.readouterr()
    assert main(["check", "--db", database.url]) == 3
    assert "this program knows" in capsys.readouterr().out


def test_states_in_own_tables(check: Check, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    statement = "INSERT INTO {actors} (id, definition, version, state, status) VALUES (%s, %s, '1', %s, %s)"
    for actor in (
        ("a", "loan", '{"approved": "open"}', "active"),
        ("b", "loan", '"applied"', "active"),
        ("c", "loan", '"gone"', "active"),
        ("d", "loan", '"gone"', "done"),
        ("e", "other", '"gone"', "active"),
    ):
        store.execute(statement, actor)
    empty = check.folder / "empty.json"
    empty.write_text("{}")
    arguments = ["check", check.definition(V1), "--db", check.url, "--config", str(empty)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "no definition has the state '\"gone\"' (1 actor)" in " ".join(out.split())


def test_the_database_is_not_written_to(check: Check, store: Store, database: Database) -> None:
    if database.path is not None:
        store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        before = database.path.read_bytes()
        check.run(check.definition(V1))
        assert database.path.read_bytes() == before
    else:
        name = store.one("SELECT current_database()")
        assert name is not None
        store.execute(f"ALTER DATABASE {name[0]} SET default_transaction_read_only = on")
        assert set(check.found(check.definition(V1))) == {"DB010"}


# --- findings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "code", "line", "words"),
    [
        ({"actors": {"table": "laons"}}, "DB001", 3, "did you mean 'loans'?"),
        ({"actors": {"state": "statuss"}}, "DB002", 5, "did you mean 'status'?"),
        ({"actors": {"context": {"amount": "amunt"}}}, "DB002", 8, "did you mean 'amount'?"),
        ({"actors": {"state": "amount", "context": None}}, "DB003", 5, "state must be text"),
        ({"actors": {"version": "amount"}}, "DB003", 6, "version must be text or an integer"),
        ({"actors": {"id": "status", "state": "reason", "rescue": None}}, "DB004", 4, "not unique"),
        ({"actors": {"revision": "amount"}}, "DB005", 8, "cannot give it a new value"),
        ({"actors": {"where": "statu = 1"}}, "DB007", 10, "statu"),
        ({"history": {**HISTORY, "table": "audits"}}, "DB001", 12, "did you mean 'audit'?"),
        ({"history": {**HISTORY, "event": "acton"}}, "DB002", 14, "did you mean 'action'?"),
        ({"history": {**HISTORY, "where": "nope("}}, "DB007", 17, "refused"),
        ({"history": {**HISTORY, "table": None, "query": "SELECT FROM WHERE"}}, "DB007", 16, "refused"),
        (
            {"history": {**HISTORY, "table": None, "query": "SELECT id, loan_id, action FROM audit"}},
            "DB002", 14, "no column 'new_status'",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(check: Check, parts: Any, code: str, line: int, words: str) -> None:
    found = check.found(**parts)
    assert code in found, found
    assert (found[code]["path"], found[code]["line"]) == (str(check.config), line)
    assert words in f"{found[code]['message']}; {found[code]['hint']}"
    assert check.run(**parts)[0] == 3


def test_a_history_without_an_index(check: Check, store: Store, database: Database) -> None:
    store.execute("CREATE TABLE slow (id integer PRIMARY KEY, loan_id integer, action text, kind integer)")
    history = {"table": "slow", "actor": "loan_id", "event": "action", "order": "id"}
    found = check.found(history=history)["DB006"]
    assert found["severity"] == "warning"
    store.execute(found["sql"].rstrip(";"))
    assert check.found(history=history) == {}
    # An index that 'where' makes fit is as good.
    store.execute("CREATE TABLE logs (id integer PRIMARY KEY, loan_id integer, action text, kind integer)")
    history = {**history, "table": "logs", "where": "kind = 1"}
    assert list(check.found(history=history)) == ["DB006"]
    store.execute("CREATE INDEX logs_by_kind ON logs (kind, loan_id)")
    assert check.found(history=history) == {}


def test_a_query_and_its_plan(check: Check, store: Store) -> None:
    query = "SELECT id, loan_id, action, new_status FROM audit WHERE action NOT LIKE 'v%' AND action <> '{x}'"
    history = {**HISTORY, "table": None, "query": query}
    assert check.found(history=history) == {}
    store.execute("DROP INDEX audit_of_loan" if store.kind == "sqlite" else "DROP INDEX audit_loan_id_id_idx")
    assert "reads all of audit" in check.found(history=history)["DB006"]["message"]


def test_a_revision_that_is_null_or_too_coarse(check: Check, store: Store) -> None:
    declared = "timestamp(0)" if store.kind == "postgres" else "TIMESTAMP(0)"
    store.execute(f"CREATE TABLE rough (id integer PRIMARY KEY, s text, v text, r integer, at {declared})")
    store.execute("INSERT INTO rough (id, s, v, r) VALUES (1, 'a', '1', NULL)")
    actors = {"table": "rough", "state": "s", "context": None, "rescue": None}
    assert "is NULL" in check.found(actors={**actors, "revision": "r"})["DB005"]["message"]
    assert "at one time" in check.found(actors={**actors, "revision": "at"})["DB005"]["message"]
    assert "DB005" not in check.found(actors={**actors, "revision": "r", "where": "r IS NOT NULL"})


def test_the_tables_of_django_fsm_log(check: Check, store: Store) -> None:
    serial = "serial" if store.kind == "postgres" else "INTEGER"
    store.script(
        f"CREATE TABLE shop_order (id {serial} PRIMARY KEY, state varchar(50) NOT NULL, edit int NOT NULL);"
        f"CREATE TABLE django_content_type (id {serial} PRIMARY KEY, app_label varchar(100) NOT NULL,"
        " model varchar(100) NOT NULL, UNIQUE (app_label, model));"
        f"CREATE TABLE django_fsm_log_statelog (id {serial} PRIMARY KEY, timestamp timestamp NOT NULL,"
        " source_state varchar(255), state varchar(255) NOT NULL, transition varchar(255) NOT NULL,"
        " object_id text NOT NULL, by_id integer, content_type_id integer NOT NULL, description text);"
        "CREATE INDEX log_content_type ON django_fsm_log_statelog (content_type_id);"
        "CREATE INDEX log_object ON django_fsm_log_statelog (object_id);"
    )
    value = {
        "preset": "django-fsm-log",
        "model": "shop.Order",
        "actors": {"version": {"kept_by": "statekeep", "first": 1}, "revision": "edit"},
    }
    check.config.write_text(json.dumps(value))
    assert main(["check", "--db", check.url, "--config", str(check.config)]) == 0
    assert check.capsys.readouterr().out == "the database checked, nothing found\n"


def test_triggers_are_named(check: Check, store: Store) -> None:
    if store.kind == "sqlite":
        body = "BEGIN SELECT 1; END"
        store.script(
            f"CREATE TRIGGER told AFTER UPDATE OF status ON loans {body};"
            f"CREATE TRIGGER other AFTER UPDATE OF amount ON loans {body};"
            f"CREATE TRIGGER born AFTER INSERT ON loans {body};"
        )
    else:
        store.script(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER told AFTER UPDATE OF status ON loans EXECUTE FUNCTION f();"
            "CREATE TRIGGER other AFTER UPDATE OF amount ON loans EXECUTE FUNCTION f();"
            "CREATE TRIGGER born AFTER INSERT ON loans EXECUTE FUNCTION f();"
        )
    assert "has the trigger told," in check.found()["DB011"]["message"]


def test_states_and_versions_that_no_definition_has(check: Check, store: Store) -> None:
    store.execute(
        "INSERT INTO loans (id, status, v) VALUES (1, 'applied', 1), (2, 'legacy', 1), (3, 'legacy', 1),"
        " (4, 'approved', 1), (5, 'applied', 7), (6, %s, 1), (7, 'hidden', 1)",
        ('{"approved":"paid"}',),
    )
    found = check.found(check.definition(V1), check.definition(V2), actors={"where": "status <> 'hidden'"})
    assert "'legacy' (2 actors) and 'approved' (1 actor)" in found["DB014"]["message"]
    assert "version '7' (1 actor)" in found["DB015"]["message"]
    assert "DB014" not in check.found()


def test_hostile_names_are_quoted(check: Check, store: Store) -> None:
    table, column = 'a";DROP TABLE loans;--%s', "c'{actors}%"
    name, quoted = store.quote(table).replace("%", "%%"), store.quote(column).replace("%", "%%")
    store.execute(
        f"CREATE TABLE {name} (id integer PRIMARY KEY, {quoted.replace('{', '{{')} text, r integer)"
    )
    actors = {"table": [table], "state": column, "version": {"kept_by": "statekeep", "first": 1}}
    actors |= {"revision": "r", "rescue": None, "context": None}
    store.execute(f"INSERT INTO {name} VALUES (1, %s, 1)", ("\x1b[31m{x}%s",))
    found = check.found(check.definition(V1), actors=actors, history={**HISTORY, "actor": "nope"})
    assert sorted(found) == ["DB002", "DB014"]
    assert "\x1b" not in check.run(check.definition(V1), actors=actors)[1]
    assert store.one("SELECT count(*) FROM loans") == (0,)


def test_sqlite_needs_a_revision(
    sqlite: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = sqlite.connect()
    install(store)
    store.script(TABLES["sqlite"])
    check = Check(tmp_path, sqlite.url, capsys)
    found = check.found(actors={"revision": None})["DB005"]
    assert (found["severity"], found["line"]) == ("error", 2)
    assert found["sql"] == 'ALTER TABLE "loans" ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;'


def test_a_file_that_cannot_be_written(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = sqlite.connect()
    install(store)
    store.script(TABLES["sqlite"])
    check = Check(tmp_path, sqlite.url, capsys)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    assert check.found()["DB010"]["severity"] == "warning"


# --- Postgres only -----------------------------------------------------------------------------------


@pytest.fixture
def on_postgres(postgres: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    store = postgres.connect()
    install(store)
    store.script(TABLES["postgres"])
    return Check(tmp_path, postgres.url, capsys)


def test_the_example_of_a_finding(on_postgres: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    history = {**HISTORY, "actor": "new_status"}
    code, out = on_postgres.run(history=history)
    assert code == 0
    assert out.replace(str(on_postgres.folder), "") == (
        "warning[DB006]: audit has no index that starts with 'new_status': every actor's\n"
        "  history is looked for in the whole table\n"
        "   --> /statekeep.json:13:12\n"
        "   |\n"
        '13 |   "actor": "new_status",\n'
        "   |            ^^^^^^^^^^^^\n"
        "   = help: create one before a large run\n"
        "   = sql:\n"
        'CREATE INDEX CONCURRENTLY ON "audit" ("new_status", "id");\n'
        "\n"
        "the database checked: 1 warning\n"
    )


@pytest.fixture
def reader(on_postgres: Check, postgres: Database) -> Iterator[Any]:
    """A user of its own with no more than the right to connect."""
    admin = psycopg.connect(postgres.url, autocommit=True)
    name = f"reader_of_{admin.info.dbname}"
    admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'hush-hush'".encode())
    yield name, admin, make_conninfo(postgres.url, user=name, password="hush-hush")
    admin.execute(f"DROP OWNED BY {name}".encode())
    admin.execute(f"DROP ROLE {name}".encode())
    admin.close()


def test_privileges(on_postgres: Check, reader: Any) -> None:
    _, admin, on_postgres.url = reader
    seen: list[set[str]] = []
    for _ in range(8):
        code, out = on_postgres.run("--format", "json")
        findings = json.loads(out)["findings"]
        seen.append({f["code"] for f in findings})
        assert code == (3 if any(CODES[f["code"]].severity == "error" for f in findings) else 0)
        if not findings:
            break
        for f in findings:
            admin.execute(f["sql"])
    assert seen[0] == {"DB008", "DB009"}
    assert seen[-1] == set()


def test_a_reader_may_preview(on_postgres: Check, reader: Any) -> None:
    name, admin, on_postgres.url = reader
    admin.execute(
        f"GRANT USAGE ON SCHEMA statekeep TO {name};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA statekeep, public TO {name};"
    )
    assert on_postgres.run()[0] == 0
    assert set(on_postgres.found()) == {"DB009"}
    admin.execute("ALTER TABLE loans ENABLE ROW LEVEL SECURITY")
    assert set(on_postgres.found()) == {"DB009", "DB012"}
    admin.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
    assert "DB010" in on_postgres.found()


def test_a_schema_that_may_not_be_entered(on_postgres: Check, reader: Any) -> None:
    _, admin, on_postgres.url = reader
    admin.execute("CREATE SCHEMA closed; CREATE TABLE closed.loans (LIKE loans INCLUDING ALL)")
    found = on_postgres.found(actors={"table": "closed.loans"})["DB008"]
    assert "permission denied for schema closed" in found["message"]
    assert found["sql"].startswith('GRANT USAGE ON SCHEMA "closed" TO')


def test_a_server_that_is_not_there(
    on_postgres: Check, reader: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_postgres.config.write_text("{}")
    url = make_conninfo(reader[2], host=str(on_postgres.folder))
    assert main(["check", "--db", url, "--config", str(on_postgres.config)]) == 9
    out, err = capsys.readouterr()
    assert "check --db" in err
    assert "hush" not in out + err


def test_what_the_target_needs_must_fit(on_postgres: Check, postgres: Database) -> None:
    store = postgres.connect()
    v1, v2 = on_postgres.definition(V1), on_postgres.definition(V2)
    assert on_postgres.run(v1, v2)[0] == 3
    found = on_postgres.found(v1, v2)["DB016"]
    assert "too short for 'waiting_for_documents'" in found["message"]
    store.script(found["sql"])
    assert on_postgres.found(v1, v2) == {}
    store.script("ALTER TABLE loans ADD CONSTRAINT known CHECK (status IN ('applied', 'approved.open'))")
    found = on_postgres.found(v1, v2)["DB016"]
    assert "known refuses 'approved.paid' and 'waiting_for_documents'" in found["message"]
    named = on_postgres.definition({**V2, "version": "two"})
    assert "is of version 'two'" in on_postgres.messages(v1, named)
    store.script("CREATE TYPE step AS ENUM ('applied', 'approved.open'); CREATE DOMAIN at AS step")
    store.script("ALTER TABLE loans DROP CONSTRAINT known; ALTER TABLE loans ADD COLUMN step at")
    found = on_postgres.found(v1, v2, actors={"state": "step"})["DB016"]
    assert "has no 'approved.paid' or 'waiting_for_documents'" in found["message"]
    for statement in found["sql"].split("\n"):
        store.execute(statement.rstrip(";"))
    assert on_postgres.found(v1, v2, actors={"state": "step"}) == {}


def test_what_is_no_plain_table(on_postgres: Check, postgres: Database) -> None:
    store = postgres.connect()
    store.script(
        "CREATE VIEW shown AS SELECT * FROM loans;"
        "CREATE TABLE parts (LIKE loans) PARTITION BY RANGE (amount);"
        "CREATE TABLE made (LIKE loans INCLUDING ALL, up text GENERATED ALWAYS AS (upper(status)) STORED)"
    )
    assert set(on_postgres.found(actors={"table": "shown", "revision": None})) == {"DB005", "DB017"}
    assert set(on_postgres.found(actors={"table": "parts"})) == {"DB017"}
    assert (
        "cannot be written" in on_postgres.found(actors={"table": "made", "state": "up"})["DB003"]["message"]
    )
    store.script("ALTER TABLE loans ADD COLUMN why text NOT NULL DEFAULT ''")
    assert "may not be NULL" in on_postgres.found(actors={"rescue": "why"})["DB003"]["message"]


# --- columns -----------------------------------------------------------------------------------------


def test_types_of_a_mapping_s_columns(store: Store) -> None:
    mapping = Mapping(
        table=("loans",),
        id="id",
        state="status",
        version="v",
        context_columns=(("amount", "amount"),),
        revision="lock_version",
        history=HistoryMapping(actor="loan_id", order=("id",), table=("audit",), event="action"),
    )
    sqlite = store.kind == "sqlite"
    assert columns(store, mapping) == Columns(
        id="INTEGER" if sqlite else "bigint",
        state="TEXT" if sqlite else "character varying",
        version="INTEGER" if sqlite else "integer",
        revision="INTEGER" if sqlite else "bigint",
        reason="",
        context="",
        context_columns=("NUMERIC" if sqlite else "numeric",),
        actor="INTEGER" if sqlite else "bigint",
        order=("INTEGER" if sqlite else "bigint",),
        state_kind="text",
        version_kind="integer",
        revision_kind="integer",
    )
    own = columns(store, OWN)
    assert (own.state_kind, own.version_kind, own.revision_kind) == ("json", "text", "integer")
    for broken, words in (
        (Mapping(("lons",), "id", "status"), "no table lons; did you mean 'loans'?"),
        (Mapping(("loans",), "i", "s", revision="lock_version"), "no column 'i' (actors.id) and 's'"),
        (
            Mapping(
                ("loans",), "id", "status", revision="v", history=HistoryMapping("x", ("id",), ("audit",))
            ),
            "audit has no column 'x' (history.actor)",
        ),
    ):
        with pytest.raises(StateKeepError, match=re.escape(words)):
            columns(store, broken)
    plain = Mapping(("loans",), "id", "status")
    if sqlite:
        with pytest.raises(StateKeepError, match=r"'revision' is required; name a column"):
            columns(store, plain)
    else:
        assert columns(store, plain).revision_kind == "xmin"


@pytest.mark.parametrize(
    ("declared", "kind"),
    [("timestamptz", "timestamp"), ("uuid", "uuid"), ("smallint", "integer"), ("bytea", "other")],
)
def test_kinds_of_revisions(postgres: Database, declared: str, kind: str) -> None:
    store = postgres.connect()
    store.execute(f"CREATE TABLE t (id uuid PRIMARY KEY, s jsonb, r {declared})")
    found = columns(store, Mapping(("t",), "id", "s", revision="r"))
    assert (found.id, found.state_kind, found.revision_kind) == ("uuid", "json", kind)


def test_every_code_is_provoked() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert {code for code in CODES if f'"{code}"' not in text and f"[{code}]" not in text} == set()
