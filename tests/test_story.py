"""The story of examples/05-live-database on both stores, in StateKeep's own tables and in a team's.

90 actors, a broken version 2, work that goes on, and version 3, which brings everyone over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.cli import main
from statekeep_cli.core.report import single_path
from statekeep_cli.stores.interface import Store
from tests.databases import Database
from tests.support import ROOT

BEFORE = ROOT / "examples" / "02-broken-deployment"
EVENTS = ROOT / "examples" / "05-live-database" / "events.jsonl"
ENDINGS = {"build": "yaml", "issue": "yaml", "session": "json"}
STRANDED = {("build", "failed"): 5, ("issue", "in_review"): 10, ("session", "expiring"): 10}

TABLES = {
    "sqlite": """
CREATE TABLE tickets (id TEXT PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL,
  workflow_version INTEGER NOT NULL, lock_version INTEGER NOT NULL DEFAULT 0);
CREATE TABLE audit (id INTEGER PRIMARY KEY, ticket TEXT NOT NULL, action TEXT NOT NULL, at TEXT);
CREATE INDEX audit_of_ticket ON audit (ticket, id);
""",
    "postgres": """
CREATE TABLE tickets (id text PRIMARY KEY, kind text NOT NULL, status text NOT NULL,
  workflow_version integer NOT NULL, lock_version integer NOT NULL DEFAULT 0);
CREATE TABLE audit (id bigserial PRIMARY KEY, ticket text NOT NULL, action text NOT NULL, at timestamptz);
CREATE INDEX audit_of_ticket ON audit (ticket, id);
""",
}


def definition(kind: str, version: int) -> str:
    return str(BEFORE / f"{kind}-v{version}.{ENDINGS[kind]}")


def records(kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (BEFORE / f"{kind}.jsonl").read_text().splitlines()]


def written(state: Any) -> str:
    """A state in a plain text column: a name or a path, or JSON where several regions are active."""
    return single_path(state) or json.dumps(state)


class Own:
    """Actors in StateKeep's tables. What the team's program does is what examples/05-live-database does."""

    def __init__(self, store: Store, folder: Path):
        self.store = store
        self.folder = folder

    def fill(self, run: Callable[..., int]) -> None:
        for kind in ENDINGS:
            actors = str(BEFORE / f"{kind}.jsonl")
            assert run("db", "import", definition(kind, 1), "--actors", actors) == 0

    def arguments(self, kind: str, target: int) -> list[str]:
        return [definition(kind, target)]

    def configured(self, kind: str) -> list[str]:
        return []

    def advance(self, actor: str, event: str, state: Any) -> None:
        with self.store.transaction():
            assert self.store.execute(
                "UPDATE {actors} SET state = %s, revision = revision + 1 WHERE id = %s AND status = 'active'",
                (json.dumps(state), actor),
            )
            self.store.execute("INSERT INTO {events} (actor, type) VALUES (%s, %s)", (actor, event))

    def now(self) -> dict[str, tuple[str, str]]:
        """id -> (version, state as JSON)."""
        rows = self.store.rows("SELECT id, version, CAST(state AS text) FROM {actors}")
        return {a: (b, json.dumps(json.loads(c))) for a, b, c in rows}


class Theirs(Own):
    """A plain status column and an audit table; rescue is kept beside them."""

    def fill(self, run: Callable[..., int]) -> None:
        self.store.script(TABLES[self.store.kind])
        for kind in ENDINGS:
            for r in records(kind):
                self.store.execute(
                    "INSERT INTO tickets (id, kind, status, workflow_version) VALUES (%s, %s, %s, 1)",
                    (r["id"], kind, written(r["state"])),
                )
                for item in r["history"]:
                    self.store.execute(
                        "INSERT INTO audit (ticket, action, at) VALUES (%s, %s, %s)",
                        (r["id"], item["type"], item["at"]),
                    )
            config = {
                "actors": {
                    "table": "tickets",
                    "id": "id",
                    "state": "status",
                    "version": "workflow_version",
                    "revision": "lock_version",
                    "where": f"kind = '{kind}'",
                },
                "history": {
                    "table": "audit",
                    "actor": "ticket",
                    "event": "action",
                    "order": "id",
                    "without_rows": "empty",
                },
            }
            (self.folder / f"{kind}.json").write_text(json.dumps(config))

    def arguments(self, kind: str, target: int) -> list[str]:
        return [*(definition(kind, v) for v in range(1, target + 1)), *self.configured(kind)]

    def configured(self, kind: str) -> list[str]:
        return ["--config", str(self.folder / f"{kind}.json")]

    def advance(self, actor: str, event: str, state: Any) -> None:
        with self.store.transaction():
            assert self.store.execute(
                "UPDATE tickets SET status = %s, lock_version = lock_version + 1 WHERE id = %s",
                (written(state), actor),
            )
            self.store.execute("INSERT INTO audit (ticket, action) VALUES (%s, %s)", (actor, event))

    def now(self) -> dict[str, tuple[str, str]]:
        rows = self.store.rows("SELECT id, workflow_version, status FROM tickets")
        return {a: (str(b), _json(c)) for a, b, c in rows}


def _json(status: str) -> str:
    if status.startswith("{"):
        return json.dumps(json.loads(status))
    *path, name = status.split(".")
    value: Any = name
    for key in reversed(path):
        value = {key: value}
    return json.dumps(value)


@pytest.mark.parametrize("tables", [Own, Theirs], ids=["own", "theirs"])
def test_the_story(
    tables: type[Own], database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        return main([*arguments, "--db", database.url])

    def rescued() -> dict[tuple[str, str], int]:
        """(kind, state) -> how many need rescue, as `rescue list` says."""
        found = {}
        for kind in ENDINGS:
            capsys.readouterr()
            assert run("rescue", "list", "--format", "json", *team.configured(kind)) == 0
            for group in json.loads(capsys.readouterr().out)["groups"]:
                # Own actors know their definition; a mapped table has one kind at a time.
                assert group["reason"] == "state_removed"
                name = group["definition"] or kind
                found[(name, group["state"])] = group["count"]
        return found

    def outcomes(since: int) -> Counter[str]:
        rows = team.store.rows(
            "SELECT c.outcome FROM {decisions} d JOIN {classes} c ON c.run = d.run AND c.class = d.class"
            " WHERE d.run > %s",
            (since,),
        )
        return Counter(outcome for (outcome,) in rows)

    assert run("db", "init") == 0
    team = tables(database.connect(), tmp_path)
    team.fill(run)
    before = team.now()
    assert len(before) == 90

    # Version 2 lacks its mappings: the gate says so, and nothing is written.
    for kind in ENDINGS:
        assert run("apply", *team.arguments(kind, 2), "--yes") == 3
    assert team.now() == before

    for kind in ENDINGS:
        assert run("apply", *team.arguments(kind, 2), "--yes", "--max-strand", "all") == 0
    assert outcomes(0) == {"migrate": 65, "strand": 25}
    assert rescued() == STRANDED
    after = team.now()
    assert Counter(version for version, _ in after.values()) == {"1": 25, "2": 65}
    # Who is rescued keeps version and state; and so far everyone keeps the state's name.
    assert {a: s for a, (_, s) in after.items()} == {a: s for a, (_, s) in before.items()}

    events = [json.loads(line) for line in EVENTS.read_text().splitlines()]
    assert len(events) == 18
    for event in events:
        assert after[event["actor"]][0] == "2"
        team.advance(event["actor"], event["type"], event["state"])

    last = team.store.one("SELECT max(run) FROM {runs}")
    assert last is not None
    for kind in ENDINGS:
        assert run("apply", *team.arguments(kind, 3), "--yes") == 0
    assert outcomes(last[0]) == {"migrate": 90}
    assert rescued() == {}
    final = team.now()
    assert {version for version, _ in final.values()} == {"3"}
    # What happened in between is where they are now.
    moved = {event["actor"]: json.dumps(event["state"]) for event in events}
    assert {a: final[a][1] for a in moved} == moved
    places = Counter((a.partition("-")[0], s) for a, (_, s) in final.items() if after[a][0] == "1")
    assert places == {
        ("build", '"error"'): 5,
        ("issue", '{"code_review": "awaiting_reviewer"}'): 10,
        ("session", '{"active": {"billing": "paid", "access": "full"}}'): 10,
    }

    # A second run changes nothing.
    for kind in ENDINGS:
        assert run("apply", *team.arguments(kind, 3), "--yes") == 0
    assert team.now() == final
