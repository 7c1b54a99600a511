"""What was counted for the gate is what is written; who moved in between is decided again."""

from __future__ import annotations

import json
from itertools import count as numbers
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep_cli.applying import Application, Pace
from statekeep_cli.core.decision import Decision
from statekeep_cli.deployments import subject
from statekeep_cli.drafting import Draft, Drafted, Drafts, Sort
from statekeep_cli.planning import count
from statekeep_cli.readers.config import read_config
from statekeep_cli.stores import runs
from statekeep_cli.stores.actors import Bounds
from statekeep_cli.stores.changes import Change, Changes
from statekeep_cli.stores.runs import Lease
from tests.databases import Database
from tests.orders import Orders, recorded, records

SORTS = [Sort(Decision("skip", "done"), "active", None, before) for before in (None, '{"state":"1"}')]


class Fixed:
    """A drafter of drafts that are there already."""

    def __init__(self, drafts: list[Draft]):
        self.drafts = iter(drafts)

    def draft(self, *_: object) -> Draft:
        return next(self.drafts)


class Batch:
    unreadable = ()


@st.composite
def drafts(draw: st.DrawFn) -> list[Draft]:
    """Drafts of ranges that follow each other."""
    found, number = [], numbers()
    for size in draw(st.lists(st.integers(0, 5), max_size=5)):
        rows = []
        for _ in range(size):
            kind = draw(st.integers(0, 1))
            revision = draw(st.one_of(st.integers(0, 2**62), st.text(max_size=3)))
            context = draw(st.sampled_from([None, None, None, "{}"]))
            id = f"{next(number):03}{draw(st.text(max_size=3))}"
            rows.append(Change(id, revision, kind, draw(st.integers(0, 9)), SORTS[kind].before, context))
        found.append(Draft(SORTS, Changes.of(rows), draw(st.integers(0, 3))))
    return found


@given(drafts(), st.integers(1, 7), st.integers(0, 12))
def test_what_waits_comes_out_as_it_went_in(found: list[Draft], size: int, room: int) -> None:
    waiting = Drafts(Fixed(found), room)  # type: ignore[arg-type]
    ends = [None, *(str(i) for i in range(1, len(found))), None]
    spans = [Bounds(low, high) for low, high in pairwise(ends)][: len(found)]
    for bounds in spans:
        waiting.add(bounds, None, Batch, None)  # type: ignore[arg-type]
    waiting.size = size
    taken: list[Drafted] = []
    while (one := waiting.take(None)) is not None:  # type: ignore[arg-type]
        taken.append(one)
    # The ranges follow each other without a gap, and end where they ended.
    assert [t.bounds.low for t in taken[1:]] == [t.bounds.high for t in taken[:-1]]
    assert {bounds.high for bounds in spans} <= {t.bounds.high for t in taken}
    whole = iter(taken)
    for draft, bounds in zip(found, spans, strict=True):
        parts = [next(whole)]
        while parts[-1].bounds.high != bounds.high:
            parts.append(next(whole))
        if parts[0].draft is None:  # there was no room, or more to it than state and version
            assert len(parts) == 1
            assert draft.changes.contexts or len(draft.changes) > 0
            continue
        assert not draft.changes.contexts
        kept = [part.draft for part in parts if part.draft is not None]
        assert len(kept) == len(parts)
        assert all(len(part.changes) <= size for part in kept)
        assert sum(part.skipped for part in kept) == draft.skipped
        for name in ("ids", "revisions", "kinds", "events", "befores"):
            column = [value for part in kept for value in getattr(part.changes, name)]
            assert column == list(getattr(draft.changes, name))


@pytest.mark.parametrize("layout", ["own", "column", "marks"])
@pytest.mark.parametrize("batch", [1, 7, 500])
def test_who_moves_after_the_count_is_decided_again(
    layout: str, batch: int, database: Database, tmp_path: Path
) -> None:
    # No edits of contexts, and no snapshots, which are rewritten one by one: neither is kept.
    orders, store = Orders(layout, database.url, tmp_path).plain(), database.connect()
    found = [r for r in records(60, 7) if "snapshot" not in r]
    orders.create(store, found)
    about = subject(store, read_config(orders.config).mapping, orders.definitions, writing=True)
    counted = count(store, about, None, jobs=1, keep=True, batch=batch)
    assert counted.drafts is not None
    before = orders.preview(tmp_path / "before.jsonl")
    # One that would have moved as it is, takes another way; one that would strand is freed.
    moving = next(r["id"] for r in found if r["state"] == "paid" and before[r["id"]]["outcome"] == "migrate")
    freed = next(i for i, d in before.items() if d["outcome"] == "strand" and d["from"]["state"] == "shipped")
    orders.advance(store, moving, "inspected", "INSPECT")
    orders.advance(store, moving, "packed", "PACK")
    orders.advance(store, freed, "paid", "RETURN")
    expected = orders.preview(tmp_path / "expected.jsonl")
    assert expected[moving] != before[moving]
    assert expected[freed] != before[freed]

    assert about.scope.population is not None
    lease = Lease(store, about.scope.population, about.scope.mapping.name)
    lease.keep()
    lease.rest()
    digests = json.loads(json.dumps(about.digests))
    run = runs.begin(store, about.scope.population, "apply", "order", "2", digests)
    application = Application(
        store, about.scope, about.sources, about.target, run, lease, Pace(2, batch), drafts=counted.drafts
    )
    done = application.go()
    lease.release()
    got = recorded(store, run.run)
    print([(got[i], expected[i]) for i in got if got[i] != expected[i]])
    assert recorded(store, run.run) == {i: d for i, d in expected.items() if d["outcome"] != "skip"}
    assert done.decided + done.skipped == len(found)
    assert done.outcomes is not None
    assert done.outcomes.total() == done.decided
    assert counted.drafts.take(application.scope.actors(store)) is None
    seen = orders.seen(store)
    assert seen[moving].state == "sealed"
