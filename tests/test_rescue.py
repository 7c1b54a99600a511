"""`statekeep rescue`: stranded actors listed, looked at, resolved by hand and routed again."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from statekeep_cli import cli
from statekeep_cli.commands.options import same_database
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.mapping import OWN
from statekeep_cli.readers.definitions import read_definition
from statekeep_cli.stores import rescue, runs
from statekeep_cli.stores.actors import Actors
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.scope import scope
from tests.databases import Database
from tests.support import ROOT

EXAMPLE = ROOT / "examples" / "02-broken-deployment"
ISSUE = [str(EXAMPLE / f"issue-v{n}.yaml") for n in (1, 2, 3)]

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(database: Database) -> Run:
    """`statekeep …` on the database."""

    def run(*arguments: str) -> int:
        return cli.main([*arguments, "--db", database.url])

    return run


@pytest.fixture
def store(database: Database) -> Store:
    return database.connect()


@pytest.fixture
def issues(run: Run, capsys: Capture) -> list[str]:
    """Thirty issues after the broken deployment; the ids of the ten that need rescue."""
    assert run("db", "init") == 0
    assert run("db", "import", ISSUE[0], "--actors", str(EXAMPLE / "issue.jsonl")) == 0
    assert run("apply", ISSUE[1], "--yes", "--max-strand", "all") == 0
    capsys.readouterr()
    assert run("rescue", "list", "--actors", "--json", "id") == 0
    return [x["id"] for x in json.loads(capsys.readouterr().out)]


def written(tmp_path: Path, name: str, value: Any) -> str:
    path = tmp_path / name
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return str(path)


def definition(version: int, states: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "d", "version": version, "initial": next(iter(states)), "states": states, **more}


def imported(run: Run, tmp_path: Path, v1: dict[str, Any], v2: dict[str, Any], actors: list[Any]) -> str:
    """Actors of version 1, and version 2 applied to them; the path of version 2."""
    export = tmp_path / "actors.jsonl"
    export.write_text("".join(json.dumps({"definition": "d", "version": 1, **a}) + "\n" for a in actors))
    target = written(tmp_path, "v2.yaml", v2)
    assert run("db", "init") == 0
    assert run("db", "import", written(tmp_path, "v1.yaml", v1), "--actors", str(export)) == 0
    assert run("apply", target, "--yes", "--max-strand", "all", "--allow-hazards") == 0
    return target


def everything(store: Store) -> list[Any]:
    found: list[Any] = []
    for table in ("actors", "decisions", "classes", "runs"):
        found += store.rows(f"SELECT * FROM {{{table}}}")
    return sorted(map(str, found))


V1 = definition(1, {"a": {"on": {"GO": "b"}}, "b": {"on": {"END": "c"}}, "c": {"type": "final"}})
V2 = definition(2, {"a": {"on": {"GO": "b2"}}, "b2": {"on": {"END": "c"}}, "c": {"type": "final"}})


# --- list ---


def test_groups_as_in_the_article(run: Run, issues: list[str], store: Store, capsys: Capture) -> None:
    assert len(issues) == 10
    assert run("rescue", "list") == 0
    said = capsys.readouterr().out
    assert "10 actors need rescue in" in said
    assert "grouped by state value" in said
    assert "issue@2 has no state in_review" in said
    assert "their histories land in code_review.awaiting_reviewer" in said
    assert said.rstrip().splitlines()[-1].startswith(f"next: statekeep rescue show {issues[0]}")
    assert run("rescue", "list", "--json", "state,reason,count,landings,runs") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "state": "in_review",
            "reason": "state_removed",
            "count": 10,
            "landings": [{"state": {"code_review": "awaiting_reviewer"}, "stuck": None}],
            "runs": [1],
        }
    ]
    assert run("rescue", "list", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["sample"] == issues[0]


def test_filters(run: Run, issues: list[str], capsys: Capture) -> None:
    for some, count in (
        (["--state", "in_review"], 10),
        (["--state", '"in_review"'], 10),
        (["--state", "open"], 0),
        (["--reason", "state_removed"], 10),
        (["--reason", "diverged"], 0),
        (["--run", "1"], 10),
        (["--run", "7"], 0),
    ):
        for more in ([], ["--actors"]):
            assert run("rescue", "list", *some, *more, "--json", "state") == 0
            found = json.loads(capsys.readouterr().out)
            assert len(found) == (count if more else min(count, 1)), some
    assert run("rescue", "list", "--state", "open") == 0
    assert "no actor needs rescue" in capsys.readouterr().out


@pytest.mark.parametrize("fields", [["--json"], ["--json", ""], ["--json", "--actors"]])
def test_json_without_fields_names_them(
    fields: list[str], run: Run, issues: list[str], capsys: Capture
) -> None:
    assert run("rescue", "list", *fields) == 1
    said = capsys.readouterr().err
    assert "there are: " in said
    assert ("id, state" in said) == ("--actors" in fields)


def test_json_of_an_unknown_field(run: Run, issues: list[str], capsys: Capture) -> None:
    assert run("rescue", "list", "--json", "state,raeson") == 1
    assert "no field 'raeson'; did you mean 'reason'?" in capsys.readouterr().err


def test_pages(run: Run, issues: list[str], capsys: Capture) -> None:
    found, after = [], []
    for _ in range(4):
        assert run("rescue", "list", "--actors", "--limit", "4", *after, "--json", "id,detail") == 0
        page = json.loads(capsys.readouterr().out)
        assert {x["detail"] for x in page} <= {"issue@2 has no state in_review"}
        found += [x["id"] for x in page]
        after = ["--after", found[-1]]
    assert found == issues == sorted(issues)
    assert run("rescue", "list", "--actors", "--limit", "4") == 0
    assert f"--limit 4 --after {issues[3]}" in capsys.readouterr().out.splitlines()[-1]
    assert run("rescue", "list", "--after", "x") == 2


def many(run: Run, store: Store) -> None:
    """100,000 actors in state `b` that need rescue, for two reasons, among 200,000."""
    assert run("db", "init") == 0
    number = "CAST(n AS text)"
    series = (
        "SELECT n FROM generate_series(1, 200000) AS x(n)"
        if store.kind == "postgres"
        else "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 200000)"
        " SELECT n FROM x"
    )
    population = runs.population(store, OWN.name)
    assert population is not None
    made = runs.begin(store, population, "apply", "d", "2", {})
    decision = Decision("strand", "diverged", detail="why").as_json()
    runs.add_class_row(store, made.run, 0, "strand", "diverged", "", None, json.dumps(decision))
    with store.transaction():
        store.execute(
            "INSERT INTO {actors} (id, definition, version, state, status, reason)"
            f" SELECT {number}, 'd', '1', '\"b\"',"
            " CASE WHEN n %% 2 = 0 THEN 'needs_rescue' ELSE 'active' END,"
            " CASE WHEN n %% 2 = 1 THEN NULL WHEN n %% 3 = 0 THEN 'diverged' ELSE 'ambiguous' END"
            f" FROM ({series}) y"
        )
        store.execute(
            "INSERT INTO {decisions} (actor, population, run, class, events)"
            f" SELECT {number}, {population}, {made.run}, 0, 0 FROM ({series}) y"
        )
    if store.kind == "postgres":
        store.execute("ANALYZE {actors}")


def test_a_hundred_thousand_page_by_page(run: Run, store: Store, capsys: Capture) -> None:
    many(run, store)
    actors = scope(store, OWN).actors(store)
    found: list[str] = []
    while page := rescue.page(actors, after=found[-1] if found else None, limit=10_000):
        assert all(x.evidence and x.evidence.decision.detail == "why" for x in page)
        found += [x.id for x in page]
    assert found == sorted(str(n) for n in range(2, 200_001, 2))
    diverged = rescue.page(actors, rescue.Filter(reason="diverged"), after="5", limit=3)
    assert [x.id for x in diverged] == sorted(str(n) for n in range(6, 200_001, 6) if str(n) > "5")[:3]
    assert [(g.count, g.reason) for g in rescue.groups(actors)] == [
        (66_667, "ambiguous"),
        (33_333, "diverged"),
    ]
    _uses_the_partial_index(store, actors)
    assert run("rescue", "list", "--actors", "--limit", "2") == 0
    assert "next: statekeep rescue list --actors --limit 2 --after 100 " in capsys.readouterr().out


def _uses_the_partial_index(store: Store, actors: Actors) -> None:
    asked: list[tuple[str, Any]] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def rows(self, statement: str, values: Any = ()) -> Any:
            asked.append((statement, values))
            return store.rows(statement, values)

    watched = scope(store, OWN).actors(Watched())  # type: ignore[arg-type]
    rescue.page(watched, after="5", limit=10)
    streams = [x for x in asked if "ORDER BY id LIMIT" in x[0]]
    assert streams
    for statement, values in streams:
        explain = "EXPLAIN " if store.kind == "postgres" else "EXPLAIN QUERY PLAN "
        assert "actors_rescued" in str(store.rows(explain + statement, values))


def test_hostile_ids_and_states_are_inert(
    run: Run, tmp_path: Path, database: Database, store: Store, capsys: Capture
) -> None:
    ids = ["[bold red]x[/]", "\x1b]0;pwned\x07", "a\nb", "‮evil", "-", "a'b\"c%s{x}", "; DROP TABLE x"]
    state = "b \x1b[31m[red]{%s}"
    v1 = definition(1, {"a": {"on": {"GO": state}}, state: {"on": {"END": "a"}}})
    v2 = definition(2, {"a": {"on": {"GO": "b2"}}, "b2": {"on": {"END": "a"}}})
    imported(run, tmp_path, v1, v2, [{"id": i, "state": state, "history": ["GO"]} for i in ids])
    capsys.readouterr()
    for some in (["list"], ["list", "--actors"], *(["show", "--", id] for id in ids)):
        assert cli.main(["rescue", some[0], "--db", database.url, *some[1:]]) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said
        assert "\x07" not in said
        assert "‮" not in said
    stdin = io.StringIO("\n".join(i for i in ids if "\n" not in i) + "\n")
    assert (
        with_input(stdin, lambda: run("rescue", "resolve", "-", "--to", "b2", "--reason", "\x1b[2J", "--yes"))
        == 0
    )
    assert "\x1b" not in capsys.readouterr().out
    assert rescue.page(scope(store, OWN).actors(store))[0].id == "a\nb"


def with_input(stdin: io.StringIO, do: Callable[[], int]) -> int:
    before, sys.stdin = sys.stdin, stdin
    try:
        return do()
    finally:
        sys.stdin = before


# --- show ---


def test_show(run: Run, issues: list[str], capsys: Capture) -> None:
    assert run("rescue", "show", issues[0]) == 0
    said = capsys.readouterr().out
    assert f"{issues[0]} needs rescue (state_removed): issue@1 in in_review" in said
    assert "since run 1 (apply of issue@2)" in said
    assert "SUBMIT_PR" in said
    assert "2026-0" in said.partition("landings")[0].partition("(start)")[2]  # events have their times
    assert "in_review: code_review.awaiting_reviewer" in said
    assert f"next: statekeep rescue resolve {issues[0]} --to code_review.awaiting_reviewer" in said
    assert run("rescue", "show", issues[0], "--format", "json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["recorded"]["run"] == 1
    assert value["now"]["outcome"] == "strand"
    assert value["now"]["suggestion"]["block"] == {
        "stateMapping": {"in_review": "code_review.awaiting_reviewer"}
    }
    # Against a file of one's own: what a corrected definition would do.
    assert run("rescue", "show", issues[0], ISSUE[2]) == 0
    assert "migrates from in_review to code_review.awaiting_reviewer" in capsys.readouterr().out


def test_show_somebody_else(run: Run, issues: list[str], capsys: Capture) -> None:
    assert run("rescue", "show", issues[0][:-1] + "x") == 1
    assert f"did you mean '{issues[0][:-1]}" in capsys.readouterr().err
    assert run("rescue", "show", "issue-4742") == 0
    assert "issue-4742 does not need rescue: active, issue@2 in approved" in capsys.readouterr().out


def test_show_without_its_definitions(run: Run, issues: list[str], store: Store, capsys: Capture) -> None:
    store.execute("DELETE FROM {definitions} WHERE version = '2'")
    assert run("rescue", "show", issues[0]) == 0
    said = capsys.readouterr().out
    assert "issue@2 has no state in_review" in said
    assert "no timeline" in said
    assert "statekeep db import" in said.replace("\n", " ")


def test_a_password_is_not_repeated() -> None:
    for url in (
        "postgresql://me:secret@host/db",
        "host=x password=secret",
        "postgresql://h/d?password=secret",
    ):
        assert same_database(url, "c.yaml") == ["--db", "URL", "--config", "c.yaml"]
    assert same_database("x.db", None) == ["--db", "x.db"]
    assert same_database(None, None) == []


# --- explain --db ---


def test_explain_an_actor_of_the_database(
    run: Run, issues: list[str], tmp_path: Path, capsys: Capture
) -> None:
    """The same page as from an export, sources and all; rescued or not."""
    for id in (issues[0], "issue-4742"):
        assert run("explain", ISSUE[2], "--id", id) == 0
        said = capsys.readouterr().out
        export = tmp_path / f"{id}.jsonl"
        assert run("db", "export", "-o", str(export)) == 0
        assert cli.main(["explain", *ISSUE, "--actors", str(export), "--id", id]) == 0
        assert capsys.readouterr().out.partition("next: ")[0].rstrip() == said.rstrip()
    assert run("explain", "issue@2", "--id", issues[0], "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "strand"
    assert run("explain", "issue@2", "--id", "issue-474") == 1
    assert "did you mean 'issue-47" in capsys.readouterr().err
    assert run("explain", *ISSUE, "--id", "x", "--actors", str(export)) == 2


# --- resolve ---


def test_resolve(run: Run, issues: list[str], store: Store, capsys: Capture) -> None:
    one = issues[0]
    arguments = ("rescue", "resolve", one, "--to", "code_review", "--reason", "seen by Ana")
    before = everything(store)
    assert run(*arguments) == 8
    assert everything(store) == before
    said = capsys.readouterr()
    assert f"{store.address}, statekeep.actors" in said.err
    assert "code_review.awaiting_reviewer (issue@2)" in said.out
    assert run(*arguments, "--yes") == 0
    assert capsys.readouterr().out.splitlines()[-2] == "run 2: 1 resolved"
    row = scope(store, OWN).actors(store).read([one])[0]
    assert (row.version, row.status, row.reason) == ("2", "active", None)
    assert json.loads(row.state) == {"code_review": "awaiting_reviewer"}
    done = runs.need(store, 2)
    assert (done.kind, done.status, done.why, done.total) == ("resolve", "done", "seen by Ana", 1)
    found = store.rows(
        "SELECT outcome, CAST(marker AS text), CAST(decision AS text) FROM {classes} WHERE run = 2"
    )
    assert [x[0] for x in found] == ["manual"]
    place = {"code_review": "awaiting_reviewer"}
    assert json.loads(found[0][1]) == [
        {
            "type": "migrated",
            "from": {"version": 1, "state": "in_review"},
            "to": {"version": 2, "state": place},
        },
        {"type": "manual", "to": place, "why": "seen by Ana"},
    ]
    assert store.rows("SELECT events FROM {decisions} WHERE run = 2") == [(2,)]
    assert run(*arguments, "--yes") == 3
    assert "does not need rescue (its status is active)" in capsys.readouterr().err


def test_a_later_version_reads_the_manual_item(
    run: Run, issues: list[str], store: Store, tmp_path: Path, capsys: Capture
) -> None:
    """Where the history leads to the state anyway it replays; elsewhere only a rule places it."""
    same, other = issues[:2]
    assert run("rescue", "resolve", same, "--to", "code_review", "--reason", "x", "--yes") == 0
    assert run("rescue", "resolve", other, "--to", "approved", "--reason", "y", "--yes") == 0
    store.execute("INSERT INTO {events} (actor, type) VALUES (%s, 'REVIEWER_ASSIGNED')", (same,))
    store.execute(
        "UPDATE {actors} SET state = %s, revision = revision + 1 WHERE id = %s",
        ('{"code_review":"under_review"}', same),
    )
    capsys.readouterr()

    def decisions(target: str) -> dict[str, Any]:
        run("preview", target, "--format", "jsonl", "--max-strand", "all")
        lines = capsys.readouterr().out.splitlines()
        return {x["actor"]: x for x in map(json.loads, lines) if x.get("actor") in (same, other)}

    found = decisions(ISSUE[2])
    assert found[same]["rule"] == "replay"
    assert found[same]["to"]["state"] == {"code_review": "under_review"}
    assert found[other]["reason"] == "diverged"
    config = json.loads(json.dumps(read_definition(ISSUE[2]).config))
    config["stateMapping"]["approved"] = "approved"
    assert decisions(written(tmp_path, "v3.yaml", config))[other]["to"]["state"] == "approved"
    # What is exported has both items, and is decided alike as a file.
    export = tmp_path / "out.jsonl"
    assert run("db", "export", "-o", str(export)) == 0
    records = {r["id"]: r for r in map(json.loads, export.read_text().splitlines())}
    assert [x["type"] for x in records[same]["history"]] == [
        "ASSIGN", "SUBMIT_PR", "migrated", "manual", "REVIEWER_ASSIGNED",
    ]  # fmt: skip
    capsys.readouterr()
    assert cli.main(["explain", *ISSUE, "--actors", str(export), "--id", same]) == 0
    said = capsys.readouterr().out
    assert "set by hand: x" in said
    assert "migrates and keeps code_review.under_review" in said
    # And a second marker comes after the first.
    assert run("apply", ISSUE[2], "--yes", "--max-strand", "all", "--allow-hazards") == 0
    export = tmp_path / "again.jsonl"
    assert run("db", "export", "-o", str(export)) == 0
    records = {r["id"]: r for r in map(json.loads, export.read_text().splitlines())}
    assert [x["type"] for x in records[same]["history"]][-2:] == ["REVIEWER_ASSIGNED", "migrated"]


GATED = definition(
    2,
    {"a": {"on": {"GO": "b2"}}, "b2": {"on": {"END": "c"}}, "c": {"type": "final"}, "d": {}},
    migration={"anchors": {"paid": {"event": "PAY"}}, "obligations": {"b2": ["paid"]}},
)


def test_an_unmet_obligation_is_refused(run: Run, tmp_path: Path, store: Store, capsys: Capture) -> None:
    v1 = definition(1, {"a": {"on": {"GO": "b", "PAY": {}}}, "b": {}})
    v1["states"]["a"]["on"]["PAY"] = {"actions": ["note"]}
    actors = [
        {"id": "paid", "state": "b", "history": ["PAY", "GO"]},
        {"id": "unpaid", "state": "b", "history": ["GO"]},
        {"id": "unknown", "state": "b"},
    ]
    imported(run, tmp_path, v1, GATED, actors)
    before = everything(store)
    for id, why in (
        ("unpaid", "obligation_unmet: b2 requires paid"),
        ("unknown", "history_required: b2 requires"),
    ):
        assert run("rescue", "resolve", "paid", id, "--to", "b2", "--reason", "x", "--yes") == 3
        said = capsys.readouterr().err
        assert f"actor '{id}' cannot be placed there ({why}" in said
        assert "nothing was written" in said
    assert everything(store) == before
    assert run("rescue", "resolve", "paid", "--to", "b2", "--reason", "x", "--yes") == 0
    assert run("rescue", "resolve", "unpaid", "unknown", "--to", "d", "--reason", "x", "--yes") == 0


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("code_revew", "no state code_revew; did you mean 'code_review'?"),
        ("in_progress.coding", "says nothing about the other regions of issue@2"),
        ('{"in_progress":{"coding":"working"}}', "is no complete, legal state of issue@2"),
        ("{", "is no JSON"),
    ],
)
def test_an_illegal_state_is_refused(
    to: str, said: str, run: Run, issues: list[str], capsys: Capture
) -> None:
    assert run("rescue", "resolve", issues[0], "--to", to, "--reason", "x", "--yes") == 2
    assert said in capsys.readouterr().err


def test_all_or_nothing(run: Run, issues: list[str], store: Store, capsys: Capture) -> None:
    before = everything(store)
    to = ("--to", '{"in_progress":{"coding":"reviewed","checklist":"passed"}}', "--reason", "x", "--yes")
    assert run("rescue", "resolve", *issues, "issue-9999", *to) == 1
    assert "has no actor 'issue-9999'" in capsys.readouterr().err
    assert run("rescue", "resolve", *issues, "issue-4742", *to) == 3
    assert everything(store) == before
    stdin = io.StringIO("".join(f"{id}\n" for id in [*issues, "", issues[0]]))
    assert with_input(stdin, lambda: run("rescue", "resolve", "-", *to)) == 0
    assert "run 2: 10 resolved" in capsys.readouterr().out
    assert run("rescue", "list") == 0
    assert "no actor needs rescue" in capsys.readouterr().out
    assert with_input(io.StringIO("\n"), lambda: run("rescue", "resolve", "-", *to)) == 2
    assert run("rescue", "resolve", issues[0], "--to", "open", "--reason", " ", "--yes") == 2


def test_back_into_its_own_version(run: Run, issues: list[str], store: Store, capsys: Capture) -> None:
    one = issues[0]
    assert run("rescue", "resolve", one, "--to", "approved", "--version", "1", "--reason", "x", "--yes") == 0
    row = scope(store, OWN).actors(store).read([one])[0]
    assert (row.version, row.status, json.loads(row.state)) == ("1", "active", "approved")
    assert json.loads(row.markers or "") == [[2, {"type": "manual", "to": "approved", "why": "x"}]]
    assert run("rescue", "resolve", issues[1], "--to", "x", "--version", "7", "--reason", "x", "--yes") == 1
    assert "no definition issue@7 stored" in capsys.readouterr().err


def test_an_operator_is_no_stale_writer(run: Run, tmp_path: Path, store: Store) -> None:
    """Back to a version that it was migrated from, although a trigger refuses that to others; and undone."""
    imported(
        run, tmp_path, V1, {**V2, "stateMapping": {"b": "b2"}}, [{"id": "x", "state": "b", "history": ["GO"]}]
    )
    v3 = written(tmp_path, "v3.yaml", definition(3, {"a": {"on": {"GO": "b3"}}, "b3": {}}))
    assert run("apply", v3, "--yes", "--max-strand", "all") == 0
    assert run("db", "init", "--fence") == 0
    before = scope(store, OWN).actors(store).read(["x"])[0]
    assert run("rescue", "resolve", "x", "--to", "b", "--version", "1", "--reason", "y", "--yes") == 0
    row = scope(store, OWN).actors(store).read(["x"])[0]
    assert (row.version, row.status, json.loads(row.state)) == ("1", "active", "b")
    assert [len(m) if isinstance(m, list) else 1 for _, m in json.loads(row.markers or "")] == [1, 2]
    assert run("revert", "3", "--yes") == 0
    after = scope(store, OWN).actors(store).read(["x"])[0]
    assert after._replace(revision=0) == before._replace(revision=0)
    assert (after.version, after.status, after.reason) == ("2", "needs_rescue", "state_removed")
    assert [x.id for x in rescue.page(scope(store, OWN).actors(store))] == ["x"]


def test_a_state_that_its_version_does_not_have(
    run: Run, tmp_path: Path, store: Store, capsys: Capture
) -> None:
    imported(run, tmp_path, V1, V2, [{"id": "odd", "state": "nowhere", "history": ["GO"]}])
    assert run("rescue", "show", "odd") == 0
    assert "snapshot_invalid" in capsys.readouterr().out
    assert run("rescue", "resolve", "odd", "--to", "b2", "--reason", "x", "--yes") == 0
    row = scope(store, OWN).actors(store).read(["odd"])[0]
    assert (row.version, json.loads(row.state)) == ("2", "b2")


def test_contexts_snapshots_and_what_is_remembered(
    run: Run, tmp_path: Path, store: Store, capsys: Capture
) -> None:
    inner = {"initial": "x", "states": {"x": {"on": {"N": "y"}}, "y": {}, "h": {"type": "history"}}}
    v1 = definition(1, {"a": {**inner, "on": {"OUT": "b"}}, "b": {"on": {"BACK": "a.h"}}, "old": {}})
    v2 = definition(
        2,
        {"a": {**inner, "on": {"OUT": "b2"}}, "b2": {"on": {"BACK": "a.h"}}},
        contextSchema={"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}},
        migration={"context": {"rename": {"sum": "total"}}},
    )

    def snapshot(context: Any, children: Any, remembered: str) -> Any:
        history = {"d.a.h": [{"id": f"d.a.{remembered}"}]}
        return {
            "value": "b",
            "context": context,
            "status": "active",
            "historyValue": history,
            "children": children,
        }

    actors = [
        {"id": "fine", "snapshot": snapshot({"sum": 3}, {}, "y"), "history": ["N", "OUT"]},
        {"id": "bad-context", "snapshot": snapshot({"sum": "3"}, {}, "y"), "history": ["N", "OUT"]},
        {
            "id": "child",
            "snapshot": snapshot({"sum": 3}, {"kid": {"src": "k"}}, "y"),
            "history": ["N", "OUT"],
        },
        {"id": "history", "snapshot": snapshot({"sum": 3}, {}, "z"), "history": ["N", "OUT"]},
    ]
    imported(run, tmp_path, v1, v2, actors)
    for id, reason in (
        ("bad-context", "context_invalid"),
        ("child", "child_lost"),
        ("history", "history_value_lost"),
    ):
        assert run("rescue", "resolve", "fine", id, "--to", "b2", "--reason", "x", "--yes") == 3
        assert f"actor '{id}' cannot be placed there ({reason}" in capsys.readouterr().err
    assert run("rescue", "resolve", "fine", "--to", "b2", "--reason", "x", "--yes") == 0
    export = tmp_path / "out.jsonl"
    assert run("db", "export", "-o", str(export)) == 0
    record = next(r for r in map(json.loads, export.read_text().splitlines()) if r["id"] == "fine")
    assert record["snapshot"]["value"] == "b2"
    assert record["snapshot"]["context"] == {"total": 3}
    assert record["snapshot"]["historyValue"] == {"d.a.h": [{"id": "d.a.y"}]}
    before = store.one("SELECT CAST(before AS text) FROM {decisions} WHERE actor = 'fine' AND run > 1")
    assert before is not None
    kept = json.loads(before[0])
    assert (kept["status"], json.loads(kept["context"])) == ("needs_rescue", {"sum": 3})


def test_a_resolve_that_was_stopped_goes_on(
    run: Run, issues: list[str], store: Store, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statekeep_cli import rescuing

    monkeypatch.setattr(rescuing, "BATCH", 4)
    arguments = ("rescue", "resolve", *issues, "--to", "code_review", "--reason", "x", "--yes")
    batch = rescuing.Resolving._batch

    def stopping(self: Any, some: Any, *rest: Any) -> None:
        if issues[4] in [x.id for x in some]:
            raise KeyboardInterrupt
        batch(self, some, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(rescuing.Resolving, "_batch", stopping)
        assert run(*arguments) == 130
    assert runs.need(store, 2).status == "stopped"
    assert runs.decided(store, 2) == 4
    assert run(*arguments) == 0
    assert "going on with run 2" in capsys.readouterr().err
    assert (runs.need(store, 2).status, runs.decided(store, 2)) == ("done", 10)


def test_an_actor_that_moved_after_the_check(
    run: Run,
    issues: list[str],
    database: Database,
    store: Store,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from statekeep_cli import rescuing

    check = rescuing.Resolving.check

    def moving(self: Any, *arguments: Any) -> Any:
        found = check(self, *arguments)
        store.execute(
            "UPDATE {actors} SET state = '\"open\"', revision = revision + 1 WHERE id = %s", (issues[3],)
        )
        return found

    monkeypatch.setattr(rescuing.Resolving, "check", moving)
    assert run("rescue", "resolve", *issues, "--to", "code_review", "--reason", "x", "--yes") == 7
    assert f"actor '{issues[3]}' moved after it was checked" in capsys.readouterr().err
    assert runs.decided(store, 2) == 0


def test_a_living_run_is_not_disturbed(run: Run, issues: list[str], store: Store, capsys: Capture) -> None:
    population = runs.population(store, OWN.name)
    assert population is not None
    lease = runs.Lease(store, population, OWN.name)
    try:
        assert run("rescue", "resolve", issues[0], "--to", "code_review", "--reason", "x", "--yes") == 6
    finally:
        lease.release()
    assert "is being worked on by" in capsys.readouterr().err


# --- retry ---


def test_retry_with_a_corrected_mapping(
    run: Run, issues: list[str], store: Store, tmp_path: Path, capsys: Capture
) -> None:
    wrong = written(tmp_path, "wrong.yaml", {"stateMapping": {"in_review": "in_progress.coding"}})
    assert run("rescue", "retry", "--mapping", wrong, "--yes") == 0
    said = capsys.readouterr().out
    assert "region_added (mapping in_review)" in said
    assert "0 migrated, 10 need rescue" in said
    before = store.rows("SELECT id, revision FROM {actors} WHERE status = 'active' ORDER BY id")
    fix = written(tmp_path, "fix.yaml", {"stateMapping": {"in_review": "code_review"}})
    capsys.readouterr()
    assert run("rescue", "retry", "--mapping", fix, "--yes") == 3  # gates it never passed
    assert "hazards are not accepted" in capsys.readouterr().err
    assert run("rescue", "retry", "--mapping", fix, "--allow-hazards") == 8
    assert run("rescue", "retry", "--mapping", fix, "--allow-hazards", "--yes") == 0
    assert "10 migrated, 0 need rescue" in capsys.readouterr().out
    latest = runs.recent(store, limit=1)[0]
    assert (latest.kind, latest.version, latest.status) == ("retry", "2", "done")
    assert (
        store.rows(
            "SELECT id, revision FROM {actors} WHERE status = 'active' AND id IN"
            " (SELECT actor FROM {decisions} WHERE run = 1) AND id NOT IN"
            " (SELECT actor FROM {decisions} WHERE run = %s) ORDER BY id",
            (latest.run,),
        )
        == before
    )
    assert run("rescue", "list") == 0
    assert "no actor needs rescue" in capsys.readouterr().out


def test_what_still_strands_stays_as_it_was(run: Run, tmp_path: Path, store: Store, capsys: Capture) -> None:
    actors = [
        {"id": f"{s}{i}", "state": s, "history": h} for i in range(3) for s, h in (("b", ["GO"]), ("x", []))
    ]
    imported(run, tmp_path, V1, V2, actors)
    stranded = store.rows("SELECT * FROM {actors} WHERE id LIKE 'x%%' ORDER BY id")
    fix = written(tmp_path, "fix.yaml", {"migration": {"stateMapping": {"b": "b2"}}})
    assert run("rescue", "retry", "--mapping", fix, "--yes") == 0
    assert "3 migrated, 3 need rescue" in capsys.readouterr().out
    assert store.rows("SELECT * FROM {actors} WHERE id LIKE 'x%%' ORDER BY id") == stranded
    assert run("rescue", "retry", "--mapping", fix, "--yes", "--max-strand", "0") == 3
    # Said again and otherwise, it replaces what is stored instead of contradicting it.
    other = written(
        tmp_path, "other.yaml", {"stateMapping": {"b": "a"}, "migration": {"policy": {"loops": "erase"}}}
    )
    assert run("rescue", "retry", "d@2", "--mapping", other, "--yes") == 0
    capsys.readouterr()
    assert run("rescue", "retry", "d@7", "--mapping", other, "--yes") == 1
    assert "no definition d@7 stored; there are d@1 and d@2" in capsys.readouterr().err


def test_retry_where_several_definitions_stranded(
    run: Run, issues: list[str], store: Store, capsys: Capture
) -> None:
    build = [str(EXAMPLE / f"build-v{n}.yaml") for n in (1, 2, 3)]
    assert run("db", "import", build[0], "--actors", str(EXAMPLE / "build.jsonl")) == 0
    assert run("apply", build[1], "--yes", "--max-strand", "all", "--allow-hazards") == 0
    capsys.readouterr()
    assert run("rescue", "list", "--json", "definition,count") == 0
    assert {(x["definition"], x["count"]) for x in json.loads(capsys.readouterr().out)} >= {("issue", 10)}
    assert run("rescue", "retry", "--yes") == 2
    assert "build@2, issue@2" in capsys.readouterr().err
    assert run("rescue", "retry", "issue@2", "--dry-run") == 0
    assert run("rescue", "retry", build[2], "--yes", "--allow-hazards") == 0
    assert run("rescue", "resolve", issues[0], "--to", "code_review", "--reason", "x", "--yes") == 0
    assert run("rescue", "retry", ISSUE[2], "--yes") == 0
    assert "9 migrated" in capsys.readouterr().out


def test_nobody_to_retry(run: Run, capsys: Capture) -> None:
    assert run("rescue", "list") == 1
    assert "run statekeep db init" in capsys.readouterr().err
    assert run("db", "init") == 0
    assert run("rescue", "list") == 0
    assert run("rescue", "retry", "--yes") == 2
    assert "name the target" in capsys.readouterr().err


# --- tables of a team's own ---


@pytest.mark.parametrize("column", [True, False], ids=["column", "marks"])
def test_foreign_tables(
    column: bool, run: Run, tmp_path: Path, store: Store, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "bigint" if store.kind == "postgres" else "INTEGER"
    store.script(
        f"CREATE TABLE issues (id {key} PRIMARY KEY, status text NOT NULL, rev bigint NOT NULL DEFAULT 0,"
        f" rescue text); CREATE TABLE issue_log (n {key} PRIMARY KEY, issue {key} NOT NULL, event text,"
        " state text)"
    )
    n = 0
    for i in range(1, 13):
        store.execute(
            "INSERT INTO issues (id, status) VALUES (%s, %s)", (i, "in_review" if i > 2 else "open")
        )
        for event, state in (("ASSIGN", "in_progress"), ("SUBMIT_PR", "in_review")) if i > 2 else ():
            n += 1
            store.execute("INSERT INTO issue_log VALUES (%s, %s, %s, %s)", (n, i, event, state))
    config = {
        "actors": {
            "table": "issues", "id": "id", "state": "status", "revision": "rev",
            "version": {"kept_by": "statekeep", "first": 1}, **({"rescue": "rescue"} if column else {}),
        },
        "history": {
            "table": "issue_log", "actor": "issue", "event": "event", "state": "state", "order": "n",
            "without_rows": "empty",
        },
    }  # fmt: skip
    mapped = ("--config", written(tmp_path, "statekeep.yaml", config))
    assert run("db", "init") == 0
    assert run("apply", *ISSUE[:2], *mapped, "--yes", "--max-strand", "all") == 0
    capsys.readouterr()

    assert run("rescue", "list", *mapped, "--json", "state,reason,count,version") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"state": "in_review", "reason": "state_removed", "count": 10, "version": "1"}
    ]
    found, after = [], []
    for _ in range(4):
        assert run("rescue", "list", "--actors", *mapped, "--limit", "3", *after, "--json", "id,run") == 0
        page = json.loads(capsys.readouterr().out)
        found += [x["id"] for x in page]
        after = ["--after", found[-1]]
    assert sorted(found, key=int) == [str(i) for i in range(3, 13)]
    assert found == (sorted(found, key=int) if column else sorted(found))

    assert run("rescue", "show", "3", *mapped) == 0
    said = capsys.readouterr().out
    assert "give their files" in said.replace("\n", " ")
    assert run("rescue", "show", "3", *ISSUE[:2], *mapped) == 0
    assert "SUBMIT_PR" in capsys.readouterr().out

    to = ("--to", "code_review.under_review", "--reason", "by hand", "--yes", *mapped)
    assert run("rescue", "resolve", "3", *to) == 2
    files = ("--definition", ISSUE[0], "--definition", ISSUE[1])
    assert run("rescue", "resolve", "3", "99", *files, *to) == 1
    assert run("rescue", "resolve", "3", "1", *files, *to) == 3
    assert run("rescue", "resolve", "3", *files, *to) == 0
    assert store.rows("SELECT status, rescue FROM issues WHERE id = 3") == [
        ("code_review.under_review", None)
    ]
    capsys.readouterr()
    run("preview", *ISSUE, *mapped, "--format", "jsonl", "--max-strand", "all")
    lines = [json.loads(x) for x in capsys.readouterr().out.splitlines()]
    three = next(x for x in lines if x.get("actor") == "3")
    assert (three["from"]["version"], three["reason"]) == (2, "diverged")

    assert run("rescue", "retry", *mapped, "--yes") == 2
    fix = written(tmp_path, "fix.yaml", {"stateMapping": {"in_review": "code_review"}})
    assert run("rescue", "retry", *ISSUE[:2], "--mapping", fix, *mapped, "--yes", "--allow-hazards") == 0
    assert "9 migrated, 0 need rescue" in capsys.readouterr().out
    assert run("rescue", "list", *mapped) == 0
    assert "no actor needs rescue" in capsys.readouterr().out


def test_uuids_and_xmin(tmp_path: Path, postgres: Database, capsys: Capture) -> None:
    """Ids that are no text, a version column, and no revision of one's own."""
    store = postgres.connect()
    store.script(
        "CREATE TABLE things (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), v integer NOT NULL DEFAULT 1,"
        " state jsonb NOT NULL, needs text)"
    )
    store.execute("INSERT INTO things (state) SELECT '\"b\"' FROM generate_series(1, 5)")
    actors = {"table": "things", "id": "id", "state": "state", "version": "v", "rescue": "needs"}
    db = ("--config", written(tmp_path, "statekeep.yaml", {"actors": actors}), "--db", postgres.url)
    files = [written(tmp_path, "v1.yaml", V1), written(tmp_path, "v2.yaml", V2)]
    assert cli.main(["db", "init", "--db", postgres.url]) == 0
    assert cli.main(["apply", *files, *db, "--yes", "--max-strand", "all"]) == 0
    capsys.readouterr()
    assert cli.main(["rescue", "list", "--actors", *db, "--json", "id", "--limit", "2"]) == 0
    first, second = (x["id"] for x in json.loads(capsys.readouterr().out))
    assert cli.main(["rescue", "list", "--actors", *db, "--json", "id", "--after", second]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert cli.main(["rescue", "show", first, *files, *db]) == 0
    given = ("--definition", files[0], "--definition", files[1])
    to = [*given, "--to", "b2", "--reason", "x", "--yes", *db]
    assert cli.main(["rescue", "resolve", first, second, *to]) == 0
    found = store.rows("SELECT v, state, needs FROM things WHERE id = CAST(%s AS uuid)", (first,))
    assert found == [(2, "b2", None)]
    assert cli.main(["rescue", "resolve", "no-uuid", *to]) == 1
