"""Preview equals apply: on the same frozen database every actor gets the same decision from both, and from
preview on the exported file; whatever the batch size and the number of connections.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from statekeep_cli import cli, schemas
from statekeep_cli.core.check import check
from statekeep_cli.core.model import build
from statekeep_cli.stores import installing
from statekeep_cli.stores.interface import Store
from tests import strategies
from tests.databases import Database
from tests.orders import LAYOUTS, STEPS, Orders, decisions_of, recorded, records
from tests.support import ROOT, shared

LOOSE = ("--max-strand", "all", "--allow-hazards", "--quiet")
PACES = (("--jobs", "1"), ("--batch-size", "1"), ("--batch-size", "3", "--jobs", "3"), ())


def decided(path: Path, *command: str) -> dict[str, Any]:
    """Each actor's decision, by a preview."""
    assert cli.main(["preview", *command, *LOOSE, "--format", f"jsonl={path}"]) == 0
    return decisions_of(path)


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Equal, said for the first actor that is not.

    A version that no definition has resolved is as it was written, and columns hold text: 9 and "9".
    """
    assert found.keys() == expected.keys()
    for actor, decision in expected.items():
        assert with_text(found[actor]) == with_text(decision), actor


def with_text(decision: Mapping[str, Any]) -> Mapping[str, Any]:
    place = decision["from"]
    return {**decision, "from": place and {**place, "version": str(place["version"])}}


class Own:
    """One deployment after the other on own tables."""

    def __init__(self, database: Database, folder: Path):
        self.database, self.folder = database, folder
        self.db = ["--db", database.url, "--config", self.file("no-mapping.json", {})]
        self.store: Store = database.connect()
        installing.install(self.store)

    def file(self, name: str, value: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps(value))
        return str(path)

    def load(self, sources: Sequence[str], actors: str) -> None:
        self.store.script("DELETE FROM {events}; DELETE FROM {actors}; DELETE FROM {definitions}")
        assert cli.main(["db", "import", *sources, "--actors", actors, "--db", self.database.url]) == 0

    def compare(
        self, definitions: Sequence[str], *more: str, pace: Iterable[str] = PACES[0]
    ) -> dict[str, Any]:
        """Preview of the database, preview of its export, and apply; what all of them decided."""
        expected = decided(self.folder / "database.jsonl", *definitions, *more, *self.db)
        if len(expected) > 5:
            consistent = decided(
                self.folder / "snapshot.jsonl", *definitions, *more, *self.db, "--consistent"
            )
            assert consistent == expected
        export = self.folder / "export.jsonl"
        assert cli.main(["db", "export", "-o", str(export), "--db", self.database.url, "--force"]) == 0
        assert_same(
            decided(self.folder / "file.jsonl", *definitions, *more, "--actors", str(export)), expected
        )
        before = self.store.rows("SELECT coalesce(max(run), 0) FROM {runs}")[0][0]
        assert cli.main(["apply", *definitions, *more, *self.db, "--yes", *LOOSE, *pace]) == 0
        run = self.store.rows("SELECT max(run) FROM {runs}")[0][0]
        found = recorded(self.store, run) if run > before else {}
        assert found == {i: d for i, d in expected.items() if d["outcome"] != "skip"}
        return expected


@pytest.fixture
def own(database: Database, tmp_path: Path) -> Own:
    return Own(database, tmp_path)


# --- what lies beside the program ---

EXAMPLES = (
    ("01-pull-request", "pull-request-v1.yaml", "pull-request-v2.yaml", "actors.jsonl"),
    ("01-pull-request", "pull-request-v1.yaml", "pull-request-v2-unmapped.yaml", "actors.jsonl"),
    *(
        ("02-broken-deployment", f"{name}-v1.{ending}", f"{name}-v2.{ending}", f"{name}.jsonl")
        for name, ending in (("build", "yaml"), ("issue", "yaml"), ("session", "json"))
    ),
    *(
        ("02-broken-deployment", *(f"{name}-v{v}.{ending}" for v in (1, 2, 3)), f"{name}-after-v2.jsonl")
        for name, ending in (("build", "yaml"), ("issue", "yaml"), ("session", "json"))
    ),
    ("03-loan-history", "loan-v1.yaml", "loan-v2.yaml", "actors.jsonl"),
    ("04-loan-context", "loan-v1.yaml", "loan-v2.yaml", "actors.jsonl"),
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e[0]}-{e[-2]}-{e[-1]}")
def test_examples(own: Own, example: tuple[str, ...]) -> None:
    folder, *definitions, actors = (str(ROOT / "examples" / example[0] / name) for name in ("", *example[1:]))
    side = Path(folder) / "migration.yaml"
    migration = ["--migration", str(side)] if side.exists() else []
    own.load(definitions[:-1], actors)
    found = own.compare(definitions, *migration, pace=PACES[len(example) % len(PACES)])
    # The same again, decided for the file the example comes with.
    alone = own.folder / "alone.jsonl"
    assert_same(decided(alone, *definitions, *migration, "--actors", actors), found)


def test_shared_cases(own: Own) -> None:
    cases = json.loads(shared("cases", "decisions.json").read_text())
    for n, case in enumerate(cases):
        sources = [own.file(f"source-{k}.json", s) for k, s in enumerate(case["sources"])]
        target = own.file("target.json", case["target"])
        actor = {**case["actor"], "id": f"{n}-{case['actor']['id']}"}
        own.load(sources, own.file("actors.jsonl", actor))
        (found,) = own.compare([*sources, target], pace=PACES[n % len(PACES)]).values()
        assert found["outcome"] == case["expect"]["outcome"], case["name"]
        assert found["reason"] == case["expect"].get("reason", found["reason"]), case["name"]


def test_a_loan_log(own: Own) -> None:
    folder = shared("logs", "bpic2012")
    with gzip.open(folder / "actors.jsonl.gz", "rt") as lines:
        some = own.folder / "some.jsonl"
        some.write_text("".join(islice(lines, 1_500)))
    versions = [str(folder / f"v{n}.json") for n in (1, 2, 3)]
    own.load(versions[:1], str(some))
    found = own.compare(versions[:2], pace=())
    assert len({d["outcome"] for d in found.values()}) > 1
    own.compare(versions, pace=())


# --- generated ---

numbers = count()


@given(case=strategies.cases())
@settings(
    max_examples=15, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_generated(own: Own, case: Mapping[str, Any]) -> None:
    n = next(numbers)
    built = [build(s) for s in case["sources"]]
    checked = check(case["target"], schemas.load("definition"), built, built)
    assume(not any(f.severity == "error" for f in checked.findings))
    sources = [own.file(f"source-{k}.json", s) for k, s in enumerate(case["sources"])]
    target = own.file("target.json", case["target"])
    actors = own.folder / "actors.jsonl"
    # An id that was there before would have its decisions, and with them its markers.
    lines = [json.dumps({**a, "id": f"{n}-{a['id']}"}) for a in case["actors"]]
    actors.write_text("\n".join(lines))
    own.load(sources, str(actors))
    own.compare([*sources, target], pace=PACES[n % len(PACES)])


# --- after an earlier apply, and on a team's tables ---


@pytest.mark.parametrize("pace", PACES, ids="-".join)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_version_after_the_other(
    database: Database, tmp_path: Path, layout: str, pace: Sequence[str]
) -> None:
    """Version 1 to 2, then life goes on, then 3; the second time with markers of the first."""
    orders = Orders(layout, database.url, tmp_path)
    store = database.connect()
    orders.create(store, records(150, 11))
    first = orders.preview(tmp_path / "first.jsonl")
    assert {d["outcome"] for d in first.values()} == {"migrate", "strand", "stay", "skip"}
    assert cli.main(orders.apply(*pace)) == 0
    assert recorded(store) == {i: d for i, d in first.items() if d["outcome"] != "skip"}
    seen = dict(store.rows("SELECT actor, events FROM {decisions}"))

    rng = random.Random(5)
    for order, now in orders.seen(store).items():
        state = now.state
        for _ in range(rng.randrange(3)):
            steps = STEPS.get((int(now.version), state), [])
            if steps and now.status == "active":
                event, state = rng.choice(steps)
                orders.advance(store, order, state, event)

    three = [orders.v1, orders.v2, orders.v3]
    second = orders.preview(tmp_path / "second.jsonl", definitions=three)
    export = tmp_path / "by-hand.jsonl"
    export.write_text("".join(json.dumps(r) + "\n" for r in by_hand(orders, store, first, seen)))
    command = [orders.v1, orders.v2, orders.v3, "--actors", str(export)]
    assert_same(decided(tmp_path / "by-hand-decided.jsonl", *command), second)
    assert cli.main(orders.apply(*pace, definitions=three)) == 0
    assert recorded(store) == {i: d for i, d in second.items() if d["outcome"] != "skip"}
    moved = [d for i, d in second.items() if d["outcome"] == "migrate" and first[i]["outcome"] == "migrate"]
    assert len(moved) > 20


def by_hand(
    orders: Orders, store: Store, first: Mapping[str, Any], seen: Mapping[str, int]
) -> Iterable[dict[str, Any]]:
    """The actors of a database as an export would have them, with the markers of the first run."""
    traces = orders.events(store)
    kept = set[str]()
    if orders.layout == "own":
        kept = {i for (i,) in store.rows("SELECT id FROM {actors} WHERE NOT has_history")}
    for order, now in orders.seen(store).items():
        items: list[Any] = list(traces.get(order, []))
        decision = first[order]
        if decision["outcome"] == "migrate":
            ends = {end: {k: decision[end][k] for k in ("version", "state")} for end in ("from", "to")}
            items.insert(seen[order], {"type": "migrated", **ends})
        version = int(now.version) if now.version.isdigit() else now.version
        record: dict[str, Any] = {"id": order, "version": version, "status": now.status}
        if orders.layout == "own":
            record["definition"] = "order"
        record["state"] = now.state
        if now.context is not None:
            record["context"] = now.context
        if now.snapshot is not None:
            del record["state"]
            record["snapshot"] = {
                **now.snapshot,
                "value": now.state,
                "context": now.context,
                "status": "active",
            }
        # Own tables know whose history is not known; in a team's, no row means none.
        if order not in kept and (traces.get(order) or orders.layout == "own"):
            record["history"] = items
        yield record
