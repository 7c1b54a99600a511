"""`statekeep snapshot`: what leaves the building, and what can still be decided from it."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep_cli.core.context import Contexts
from statekeep_cli.core.migration import Migration
from statekeep_cli.core.redact import Redaction
from statekeep_cli.core.redacted import WHOLE, Kept
from tests.repositories import V1, V2, Repository
from tests.support import actor_of

SECRETS = ("alice", "Lakeview", "2026-05", "note to self", "4711", "sweeper", "s3cret")
RECORDS: list[dict[str, Any]] = [
    {"id": "alice@example.org", "definition": "loan", "version": 1, "state": "application",
     "context": {"name": "alice", "amount": 4711}, "history": [], "branch": "Lakeview"},
    {"id": "alice-2", "definition": "loan", "version": 1, "state": "review",
     "context": {"name": "alice", "amount": 10},
     "history": [{"type": "SUBMIT", "at": "2026-05-02T09:14:00Z", "state": "review", "by": "alice"}]},
    {"id": "alice-3", "definition": "loan", "version": 1, "state": "approved",
     "history": ["SUBMIT", {"type": "manual", "to": "approved", "why": "note to self"}]},
    {"id": "alice-4", "definition": "loan", "version": 1,
     "snapshot": {"value": "review", "status": "active", "context": {"name": "alice", "amount": 3},
                  "historyValue": {}, "children": {"kyc": {"src": "check", "snapshot": {"input": "s3cret"}}}},
     "history": ["SUBMIT"]},
]  # fmt: skip


@pytest.fixture
def team(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.write("v1.yaml", V1)
    made.write("v2.yaml", V2)
    made.write("actors.jsonl", "".join(json.dumps(r) + "\n" for r in RECORDS))
    assert made.run("db", "init", "--db", "own.db").returncode == 0
    done = made.run("db", "import", "v1.yaml", "--actors", "actors.jsonl", "--db", "own.db")
    assert done.returncode == 0, done.stderr
    return made


def snapshot(
    team: Repository, *more: str, name: str = "snap.jsonl", db: str = "own.db"
) -> list[dict[str, Any]]:
    done = team.run("snapshot", "--db", db, "-o", name, "--force", *more)
    assert done.returncode == 0, done.stderr
    data = (team.path / name).read_bytes()
    return [
        json.loads(line) for line in (gzip.decompress(data) if name.endswith(".gz") else data).splitlines()
    ]


def by_state(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {r["state"]: r for r in records if "state" in r}


def test_nothing_of_a_person_is_left(team: Repository) -> None:
    records = snapshot(team, "--redact")
    text = json.dumps(records)
    assert len(records) == 4
    assert [s for s in SECRETS if s in text] == []
    found = by_state(records)
    assert found["review"]["history"] == [{"type": "SUBMIT", "state": "review"}]
    assert found["approved"]["history"] == ["SUBMIT", {"type": "manual", "to": "approved"}]
    assert found["application"]["context"] == {}
    assert found["application"]["redacted"] == {"kept": []}
    assert "redacted" not in found["approved"]  # it had no context
    assert set(found["application"]) == {
        "id",
        "definition",
        "version",
        "status",
        "state",
        "context",
        "history",
        "redacted",
    }
    (persisted,) = [r for r in records if "snapshot" in r]
    assert persisted["snapshot"] == {
        "status": "active", "value": "review", "context": {}, "historyValue": {},
        "children": {"kyc": {"src": "check"}},
    }  # fmt: skip


def test_ids_are_of_one_snapshot_and_in_no_order(team: Repository) -> None:
    one, other = snapshot(team, "--redact"), snapshot(team, "--redact")
    ids = [r["id"] for r in one]
    assert ids == sorted(ids)
    assert {len(i) for i in ids} == {32}
    assert not set(ids) & {r["id"] for r in other}
    redaction = Redaction(b"key")
    assert redaction.id("a") == redaction.id("a") != redaction.id("b")


def test_a_packed_file_has_no_time_in_it(team: Repository) -> None:
    snapshot(team, "--redact", name="snap.jsonl.gz")
    data = (team.path / "snap.jsonl.gz").read_bytes()
    assert data[4:8] == b"\0\0\0\0"  # MTIME of RFC 1952
    assert b"snap" not in data[:40]


def test_what_is_kept_is_as_it_was(team: Repository) -> None:
    found = by_state(snapshot(team, "--redact", "--keep", "amount", "--keep", "applicant.age"))
    assert found["application"]["context"] == {"amount": 4711}
    assert found["application"]["redacted"] == {"kept": ["amount", "applicant.age"]}
    found = by_state(snapshot(team, "--redact", "--keep", "amount", "--keep", "name"))
    assert "redacted" not in found["application"]  # nothing was removed


def test_without_redact_it_is_what_decides(team: Repository) -> None:
    found = by_state(snapshot(team))
    assert found["application"]["id"] == "alice@example.org"
    assert found["application"]["context"] == {"name": "alice", "amount": 4711}


def test_a_preview_of_the_snapshot_is_the_databases(team: Repository) -> None:
    def counts(*arguments: str) -> Any:
        report = json.loads(team.run("preview", *arguments, "--format", "json", "--max-strand", "all").stdout)
        return [(g["outcome"], g["reason"], g["from"], g["to"], g["count"]) for g in report["groups"]]

    snapshot(team, "--redact")
    assert counts("v1.yaml", "v2.yaml", "--actors", "snap.jsonl") == counts("v2.yaml", "--db", "own.db")


def test_foreign_tables(tmp_path: Path) -> None:
    team = Repository(tmp_path)
    team.write("v1.yaml", V1)
    team.write("v2.yaml", V2)
    with sqlite3.connect(tmp_path / "team.db") as db:
        db.execute(
            "CREATE TABLE loans (id INTEGER PRIMARY KEY, state TEXT, version TEXT, rev INTEGER, name TEXT)"
        )
        db.execute("CREATE TABLE log (loan INTEGER, event TEXT, seq INTEGER)")
        db.executemany("INSERT INTO loans VALUES (?, ?, '1', 1, 'alice')", [(17, "review"), (18, "approved")])
        db.executemany(
            "INSERT INTO log VALUES (?, ?, ?)", [(17, "SUBMIT", 1), (18, "SUBMIT", 1), (18, "APPROVE", 2)]
        )
    team.write(
        "statekeep.yaml",
        "actors: {table: loans, id: id, state: state, version: version, revision: rev, context: [name]}\n"
        "history: {table: log, actor: loan, event: event, order: seq}\n",
    )
    records = snapshot(team, "--redact", db="team.db")
    assert {r["state"]: r["history"] for r in records} == {
        "review": ["SUBMIT"],
        "approved": ["SUBMIT", "APPROVE"],
    }
    assert "alice" not in json.dumps(records)
    done = team.run("preview", "v1.yaml", "v2.yaml", "--actors", "snap.jsonl")
    assert "1 actor stranded in approved" in done.stdout
    assert snapshot(team, "--redact", "--where", "state = 'review'", db="team.db")[0]["state"] == "review"


def test_mistakes(team: Repository) -> None:
    done = team.run("snapshot", "--db", "own.db", "-o", "x.jsonl", "--keep", "amount")
    assert (done.returncode, "--redact too" in done.stderr) == (2, True)
    done = team.run("snapshot", "--db", "own.db", "-o", "actors.jsonl", "--redact")
    assert (done.returncode, "--force" in done.stderr) == (2, True)
    done = team.run("snapshot", "--db", "own.db", "-o", "x.jsonl", "--redact", "--keep", "a..b")
    assert (done.returncode, "is no path" in done.stderr) == (2, True)


def test_a_redacted_snapshot_is_not_imported(team: Repository) -> None:
    snapshot(team, "--redact")
    assert team.run("db", "init", "--db", "other.db").returncode == 0
    done = team.run("db", "import", "v1.yaml", "--actors", "snap.jsonl", "--db", "other.db")
    assert done.returncode != 0
    assert "redacted snapshot" in done.stderr


# --- undetermined ----------------------------------------------------------------------------------------

SAME = V1.replace("version: 1", "version: 2")
LARGE = (
    "migration: {routes: [{from: review, to: review,"
    " when: {context: {required: [amount], properties: {amount: {minimum: 100}}}}}]}\n"
)
TYPED = SAME + "contextSchema: {type: object, required: [amount]}\n"
RENAMED = SAME + "migration: {context: {rename: {sum: amount}}}\n"
VIP = SAME + "migration: {eligible: {context: {properties: {vip: {const: true}}}}}\n"


def decide(team: Repository, target: str, record: dict[str, Any]) -> tuple[str, str, str]:
    team.write("target.yaml", target)
    team.write(
        "one.jsonl", json.dumps({"id": "a", "state": "review", "history": ["SUBMIT"], **record}) + "\n"
    )
    done = team.run(
        "preview",
        "v1.yaml",
        "target.yaml",
        "--actors",
        "one.jsonl",
        "--format",
        "jsonl",
        "--max-strand",
        "all",
    )
    assert done.returncode == 0, done.stderr
    decision = json.loads(done.stdout.splitlines()[-1])
    return decision["outcome"], decision["reason"], decision["detail"]


def kept(*paths: str, **context: Any) -> dict[str, Any]:
    return {"context": context, "redacted": {"kept": list(paths)}}


UNDETERMINED = ("strand", "undetermined")


@pytest.mark.parametrize(
    ("target", "record", "outcome", "missing"),
    [
        # nothing looks at contexts
        (SAME, kept(), ("migrate", ""), ""),
        # predicates
        (SAME + LARGE, kept(), UNDETERMINED, "keep amount in the snapshot"),
        (SAME + LARGE, kept("amount", amount=500), ("migrate", ""), ""),
        (SAME + LARGE, kept("amount"), ("migrate", ""), ""),  # kept, and there was none
        (SAME + LARGE, {"redacted": True, "context": {}}, UNDETERMINED, "keep amount"),
        (SAME + LARGE, {"redacted": {"kept": []}}, UNDETERMINED, "looks at all of it"),
        (SAME + LARGE, {"redacted": False, "context": {}}, ("migrate", ""), ""),
        (SAME + LARGE, {"redacted": True, "state": "application", "history": []}, ("migrate", ""), ""),
        (VIP, kept(), UNDETERMINED, "keep vip"),
        # what an anchor settles needs no context
        (
            SAME + "migration: {anchors: {paid: {event: PAY}}, routes: [{from: review,"
            " when: {all: [paid], context: {required: [amount]}}, stay: true}]}\n",
            kept(), ("migrate", ""), "",
        ),
        # the target's own schema
        (TYPED, kept(), UNDETERMINED, "keep amount"),
        (TYPED, kept("amount", amount=1), ("migrate", ""), ""),
        (TYPED, kept("amount"), ("strand", "context_invalid"), ""),
        (SAME + "contextSchema: {minProperties: 1}\n", kept("a", a=1), UNDETERMINED, "at all of it"),
        (SAME + "contextSchema: {type: object, title: x}\n", kept(), ("migrate", ""), ""),
        # edits
        (SAME + "migration: {context: {defaults: {currency: EUR}}}\n", kept(), ("migrate", ""), ""),
        (SAME + "migration: {context: {remove: [ssn]}}\n", kept(), ("migrate", ""), ""),
        (RENAMED, kept("sum", sum=1), UNDETERMINED, "keep amount"),
        (RENAMED, kept("sum", "amount", sum=1), ("migrate", ""), ""),
    ],
)  # fmt: skip
def test_undetermined(
    team: Repository, target: str, record: dict[str, Any], outcome: tuple[str, str], missing: str
) -> None:
    got, reason, detail = decide(team, target, record)
    assert (got, reason) == outcome
    assert missing in detail
    assert ("its context was redacted" in detail) == (outcome == UNDETERMINED)


def test_undetermined_is_past_the_gate_and_said_in_words(team: Repository) -> None:
    team.write("target.yaml", SAME + LARGE)
    snapshot(team, "--redact")
    done = team.run("preview", "v1.yaml", "target.yaml", "--actors", "snap.jsonl")
    assert done.returncode == 3
    said = " ".join(done.stdout.split())
    assert "stranded in review: undetermined" in said
    assert "its context was redacted; keep amount in the snapshot to decide" in said
    snapshot(team, "--redact", "--keep", "amount")
    again = team.run("preview", "v1.yaml", "target.yaml", "--actors", "snap.jsonl")
    assert "undetermined" not in again.stdout


def test_a_mark_that_makes_no_sense_is_refused(team: Repository) -> None:
    team.write("one.jsonl", json.dumps({"id": "a", "state": "review", "redacted": "yes"}) + "\n")
    done = team.run("preview", "v1.yaml", "v2.yaml", "--actors", "one.jsonl")
    assert done.returncode == 1
    assert "redacted" in done.stderr


# --- which paths a schema looks at -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "schema", "missing"),
    [
        ((), True, []),
        ((), {}, []),
        ((), {"type": "object", "description": "x"}, []),
        ((), {"properties": {"a": {}}}, []),
        ((), {"properties": {"a": False}}, ["a"]),
        ((), {"properties": {"a": {"type": "string"}}}, ["a"]),
        (("a",), {"properties": {"a": {"type": "object", "additionalProperties": False}}}, []),
        (("a.b",), {"properties": {"a": {"required": ["b"], "properties": {"b": {"const": 1}}}}}, []),
        (("a.b",), {"properties": {"a": {"type": "object"}}}, []),
        (("a.b",), {"properties": {"a": {"required": ["c"]}}}, ["a.c"]),
        (("a.b",), {"properties": {"a": {"additionalProperties": False}}}, ["a"]),
        (("a.b",), {"required": ["a"]}, []),
        (("a",), {"required": ["a", "b"]}, ["b"]),
        (("a",), {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ["b"]),
        (("a",), {"if": {"required": ["a"]}, "then": {"required": ["c"]}}, ["c"]),
        (("a",), {"not": {"required": ["b"]}}, ["b"]),
        (("a",), {"$ref": "#/$defs/x", "$defs": {"x": {}}}, [WHOLE]),
        (("a",), {"additionalProperties": False}, [WHOLE]),
        (("a",), {"patternProperties": {"^b": False}}, [WHOLE]),
        (("a",), {"enum": [{}]}, [WHOLE]),
        ((r"a\.b",), {"required": ["a.b"]}, []),
        ((r"a\.b",), {"required": ["a"]}, ["a"]),
    ],
)  # fmt: skip
def test_what_a_schema_looks_at(paths: tuple[str, ...], schema: Any, missing: list[str]) -> None:
    assert Kept(paths, True).missing(schema) == missing


def test_of_a_context_that_was_no_object_nothing_is_known() -> None:
    assert Kept(("a",), False).missing({"type": "object"}) == [WHOLE]


@pytest.mark.parametrize(
    ("context", "keep", "left", "paths", "whole"),
    [
        ({"a": 1, "b": 2}, ["a"], {"a": 1}, ["a"], False),
        ({"a": {"b": 1, "c": 2}}, ["a.b"], {"a": {"b": 1}}, ["a.b"], False),
        ({"a": 7}, ["a.b"], {}, [], False),  # a number stands on the way
        ({}, ["a.b"], {}, ["a.b"], True),
        ({"a": {}}, ["a.b"], {"a": {}}, ["a.b"], False),
        ({"a": {"b": 1}}, ["a", "a.b"], {"a": {"b": 1}}, ["a", "a.b"], True),
        ({"a": {"b": 1}}, ["a.b", "a"], {"a": {"b": 1}}, ["a.b", "a"], True),
        ({"n": 12345678901234567890.5}, ["n"], {"n": 12345678901234567890.5}, ["n"], True),
        ([1], ["a"], None, [], False),
    ],
)  # fmt: skip
def test_what_is_left_of_a_context(
    context: Any, keep: list[str], left: Any, paths: list[str], whole: bool
) -> None:
    text, kept_paths, complete = Redaction(b"k", keep).context(json.dumps(context).encode())
    assert (None if text is None else json.loads(text)) == left
    assert [".".join(p) for p in kept_paths] == paths
    assert complete == whole


def test_digits_stay() -> None:
    text, _, _ = Redaction(b"k", ["n"]).context(b'{"n": 1.10000000000000000000001}')
    assert text == b'{"n":1.10000000000000000000001}'


def test_a_redacted_record_is_read_as_it_was_written() -> None:
    actor = actor_of(
        {
            "id": 5,
            "state": "a",
            "version": 2,
            "context": {"x": 1},
            "origin": {"state": "b", "at": "x"},
            "history": [],
        }
    )
    record = json.loads(Redaction(b"k").record(actor))
    again = actor_of(record)
    assert again.redacted is not None
    assert json.loads(bytes(again.origin)) == {"state": "b"}
    assert again.id != 5


# --- what is decided from a part is what the whole decides -------------------------------------------------

KEYS = st.sampled_from("abc")
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 5, "x", [1]]),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
LEAVES = st.sampled_from(
    [True, False, {}, {"type": "object"}, {"type": "string"}, {"const": 5}, {"minimum": 3},
     {"minProperties": 1}, {"additionalProperties": False}, {"propertyNames": {"enum": ["a"]}},
     {"enum": [{}, 5]}, {"minLength": 2}]
)  # fmt: skip


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = {
        "properties": st.dictionaries(KEYS, inner, max_size=2),
        "required": st.lists(KEYS, max_size=2, unique=True),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "dependentRequired": st.dictionaries(KEYS, st.lists(KEYS, max_size=1), max_size=1),
        "type": st.sampled_from(["object", "string"]),
    }
    return st.fixed_dictionaries({}, optional=parts)


SCHEMAS = st.recursive(LEAVES, _larger, max_leaves=5)
EDITS = st.builds(
    Migration,
    context_rename=st.dictionaries(PATHS, PATHS, max_size=1),
    context_remove=st.lists(PATHS, max_size=1).map(tuple),
    context_defaults=st.dictionaries(PATHS, VALUES, max_size=1),
)


@given(VALUES, st.lists(PATHS, max_size=3), SCHEMAS, SCHEMAS, EDITS)
@settings(max_examples=1_500, deadline=None)
def test_undetermined_or_as_the_whole_context_decides(
    context: Any, keep: list[str], predicate: Any, target: Any, edits: Migration
) -> None:
    contexts = Contexts([json.dumps(predicate)], target)
    whole = contexts.look(context, edits)
    text, paths, complete = Redaction(b"k", keep).context(json.dumps(context).encode())
    if complete:
        assert text is not None
        assert json.loads(text) == context
        return
    kept_paths = tuple(".".join(p) for p in paths)
    part = contexts.look_redacted(None if text is None else json.loads(text), kept_paths, edits)
    assert part.schemas[0] in (None, whole.schemas[0])
    assert (part.schemas[0] is None) == bool(part.redacted)
    assert part.unchecked or bool(part.error) == bool(whole.error)
