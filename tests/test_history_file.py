"""Histories in a second file: joined by actor, whatever the order and the format; nothing vanishes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import multiprocessing
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statekeep_cli.core.trace import Symbols
from statekeep_cli.errors import InputUnreadable, StateKeepError
from statekeep_cli.readers import history as history_file
from statekeep_cli.readers.actors import find_actor, read_actors
from statekeep_cli.readers.history import History, Spool, spooled
from tests.test_actors import known, plain_item

Row = dict[str, Any]


def as_lines(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text)
    names = ["actor", "type", "state", "at", "from", "to", "why"]
    table.writerow(names)
    for row in rows:
        parts = [row.get(name) for name in names]
        table.writerow(["" if p is None else json.dumps(p) if isinstance(p, dict) else str(p) for p in parts])
    return text.getvalue().encode()


FORMATS: dict[str, Callable[[list[Row]], bytes]] = {"h.jsonl": as_lines, "h.csv": as_csv}

IDS = st.sampled_from(["a", "b", "c", "7", "zażółć"])
ENDS = st.fixed_dictionaries({"version": st.integers(1, 3), "state": st.sampled_from(["x", "y"])})
TYPES = st.sampled_from(["SUBMIT", "APPROVE", 'quo"te', "new\nline"])
STATES = st.sampled_from(["x", {"a": "b"}])
EVENT_ROWS = st.fixed_dictionaries(
    {"actor": IDS, "type": TYPES}, optional={"at": st.just("2026-01-01T00:00:00Z")}
)
ROWS = st.one_of(
    EVENT_ROWS,
    st.fixed_dictionaries({"actor": IDS, "type": TYPES, "state": STATES}),
    st.fixed_dictionaries({"actor": IDS, "state": STATES}),
    st.fixed_dictionaries({"actor": IDS, "type": st.just("manual"), "to": STATES, "why": st.just("a fix")}),
    st.fixed_dictionaries({"actor": IDS, "type": st.just("migrated"), "from": ENDS, "to": ENDS}),
)
ALL = st.lists(EVENT_ROWS, min_size=1, max_size=20) | st.lists(ROWS, min_size=1, max_size=20)


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def actors_file(folder: Path, ids: list[Any]) -> str:
    return write(folder / "actors.jsonl", as_lines([{"id": id, "state": "x"} for id in ids]))


def joined(actors: str, history: History, symbols: Symbols | None = None) -> dict[str, list[Row] | None]:
    found: dict[str, list[Row] | None] = {}
    for batch in read_actors(actors, symbols=symbols, history=history):
        for actor in batch.actors:
            items = actor.history
            found[str(actor.id)] = None if items is None else [plain_item(item) for item in items]
    return found


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ALL,
    held=st.sampled_from([1, 60, 1 << 20]),
    block=st.sampled_from([1, 90, 4096]),
    lettered=st.booleans(),
)
def test_rows_come_back_by_actor_in_the_order_of_the_file(
    tmp_path: Path, rows: list[Row], held: int, block: int, lettered: bool
) -> None:
    ids = ["a", "b", 7, "zażółć", "nobody"]
    actors = actors_file(tmp_path, ids)
    want: dict[str, list[Row] | None] = {str(id): None for id in ids}
    for row in rows:
        if row["actor"] in want:
            want[row["actor"]] = [*(want[row["actor"]] or []), known(row)]
    left = [row for row in rows if row["actor"] == "c"]
    for name, form in FORMATS.items():
        data = form(rows)
        for path in (write(tmp_path / name, data), write(tmp_path / f"{name}.gz", gzip.compress(data))):
            with Spool(path, block=block, held=held) as spool:
                symbols = Symbols() if lettered else None
                history = History(spool, symbols)
                assert joined(actors, history, symbols) == want
                rest = spool.unclaimed([history.claims])
                assert (rest.actors, rest.events) == (bool(left), len(left))
                assert rest.sample == (("c",) if left else ())


def test_an_empty_list_is_a_history_and_no_rows_is_none(tmp_path: Path) -> None:
    actors = actors_file(tmp_path, ["a", "b"])
    with Spool(write(tmp_path / "h.jsonl", as_lines([{"actor": "a", "type": "A"}]))) as spool:
        assert joined(actors, History(spool)) == {"a": [{"type": "A"}], "b": None}


def test_plain_rows_come_as_letters_and_others_do_not(tmp_path: Path) -> None:
    actors = actors_file(tmp_path, ["a", "b"])
    rows: list[Row] = [{"actor": "a", "type": "A", "at": 1}, {"actor": "b", "type": "B"}]
    more: list[Row] = [{"actor": "b", "type": "B", "state": "x"}]
    for extra, plain in (([], True), (more, False)):
        with Spool(write(tmp_path / "h.jsonl", as_lines([*rows, *extra]))) as spool:
            symbols = Symbols()
            (batch,) = read_actors(actors, symbols=symbols, history=History(spool, symbols))
            assert batch.plain is plain


def test_an_origin_stays_with_an_actor_whose_history_is_in_the_file(tmp_path: Path) -> None:
    record = {"id": "a", "state": "x", "origin": {"version": 1, "state": "y"}}
    actors = write(tmp_path / "actors.jsonl", as_lines([record]))
    with Spool(write(tmp_path / "h.jsonl", as_lines([{"actor": "a", "type": "A"}]))) as spool:
        symbols = Symbols()
        (batch,) = read_actors(actors, symbols=symbols, history=History(spool, symbols))
        assert not batch.plain
        assert json.loads(bytes(batch.actors[0].origin)) == record["origin"]
        assert [plain_item(item) for item in batch.actors[0].history or []] == [{"type": "A"}]


def test_a_history_of_its_own_and_one_in_the_file(tmp_path: Path) -> None:
    records: list[Row] = [
        {"id": "a", "state": "x"},
        {"id": "b", "state": "x", "history": []},
        {"id": "c", "state": "x"},
    ]
    actors = write(tmp_path / "actors.jsonl", as_lines(records))
    with Spool(write(tmp_path / "h.jsonl", as_lines([{"actor": id, "type": "A"} for id in "abc"]))) as spool:
        history = History(spool)
        (batch,) = read_actors(actors, history=history, keep_going=True)
        assert (batch.ids, batch.lines) == (["a", "c"], [1, 3])
        (bad,) = batch.unreadable
        assert bad.line == 2
        assert "history file" in bad.message
        # The record was there, only not readable: its rows are no strangers.
        assert spool.unclaimed([history.claims]).actors == 0
        with pytest.raises(InputUnreadable, match="history file"):
            find_actor(actors, "b", history)
        with pytest.raises(InputUnreadable):
            list(read_actors(actors, history=history))


def test_one_actor_with_everything_in_its_rows(tmp_path: Path) -> None:
    actors = actors_file(tmp_path, ["a", 7])
    rows: list[Row] = [
        {"actor": 7, "type": "A", "at": "2026-01-01", "by": "kim"},
        {"actor": "7", "type": "B"},
    ]
    with Spool(write(tmp_path / "h.jsonl", as_lines(rows))) as spool:
        history = History(spool)
        found = find_actor(actors, "7", history)
        assert found is not None
        actor, record = found
        assert [item.type for item in actor.history or []] == ["A", "B"]
        assert record["history"] == [{"type": "A", "at": "2026-01-01", "by": "kim"}, {"type": "B"}]
        missing = find_actor(actors, "a", history)
        assert missing is not None
        assert (missing[0].history, missing[1]["history"]) == (None, None)


BAD: list[tuple[bytes, int, str]] = [
    (b'{"actor":"a","type":"A"', 24, "not JSON: ends in the middle of a value"),
    (b'{"actor":"a","type":"A"} x', 26, "not JSON: expected the end of the line after this record"),
    (b'{"type":"A"}', 1, "expected the key 'actor'"),
    (b'{"actor":"","type":"A"}', 10, "actor: is empty; every row needs the id of its actor"),
    (b'{"actor":null,"type":"A"}', 10, "actor: expected an integer or a string, got null"),
    (b'{"actor":"a"}', 1, "expected a type, or a state where the log has states only"),
    (b'{"actor":"a","type":3}', 21, "type: expected a string, got an integer"),
    (
        b'{"actor":"a","type":"A","state":3}',
        33,
        "state: expected a state value (a string, or an object of state values)",
    ),
    (b'{"actor":"a","type":"manual"}', 1, "a manual move needs 'to', the state it set"),
    (
        b'{"actor":"a","type":"migrated","to":{"state":"x"}}',
        1,
        "a migration needs 'from', with version and state",
    ),
    (b'{"actor":"a","type":"A","note":"\xff"}', 33, "byte 0xff is not UTF-8; save the file as UTF-8"),
    (
        b'{"actor":"a","type":"A","n":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        1,
        "nested too deeply to be read",
    ),
]


@pytest.mark.parametrize(("row", "column", "message"), BAD, ids=[message[:40] for _, _, message in BAD])
def test_bad_row(tmp_path: Path, row: bytes, column: int, message: str) -> None:
    path = write(
        tmp_path / "h.jsonl", b'{"actor":"a","type":"A"}\n\n' + row + b'\n{"actor":"a","type":"A"}\n'
    )
    with pytest.raises(InputUnreadable) as caught:
        Spool(path)
    (problem,) = caught.value.problems
    assert problem.sentence == f"{path}:3:{column}: {message}"


def test_bad_rows_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", b"actor,type,state,to\na,A,,\na,manual,,\nb,B,{x,\nb,B\n,B,,\n")
    with pytest.raises(InputUnreadable) as caught:
        Spool(path)
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (3, "a manual move needs 'to', the state it set"),
        (4, "column 'state': not JSON: expected '\"'"),
        (5, "expected 4 cells, as in the header, got 2"),
        (6, "expected the key 'actor'"),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no rows"),
        (b"actor,type\n", "holds no rows"),
        (b"id,type\n1,A\n", "has no column 'actor'"),
        (b"actor,event\n1,A\n", "has no column 'type' or 'state'"),
        ('{"actor":1}'.encode("utf-16"), "is UTF-16, not UTF-8"),
        (
            gzip.compress(as_lines([{"actor": i, "type": str(i * i)} for i in range(200)]))[:-20],
            "truncated gzip file",
        ),
    ],
)
def test_bad_file_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(InputUnreadable, match=message) as caught:
        Spool(write(tmp_path / "h", data))
    assert str(tmp_path / "h") in caught.value.message
    assert list(temporary.iterdir()) == []


def test_temporary_files_go_when_the_spool_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = write(tmp_path / "h.jsonl", as_lines([{"actor": "a", "type": "A"}]))
    with Spool(path) as spool:
        assert Path(spool.database).exists()
        child = os.fork()
        if child == 0:  # a worker that ends does not take the files along
            spool.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert Path(spool.database).exists()
    assert list(tmp_path.iterdir()) == [Path(path)]
    spool = Spool(path)
    del spool
    assert list(tmp_path.iterdir()) == [Path(path)]
    with spooled(None) as nothing:
        assert nothing is None


def test_no_room_for_the_rows_is_an_error_with_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(history_file.Spool, "_write", full)
    path = write(tmp_path / "h.jsonl", as_lines([{"actor": "a", "type": "A"}]))
    with pytest.raises(StateKeepError, match="disk is full; set TMPDIR"):
        Spool(path)


def _claims(database: Spool, actors: str) -> tuple[dict[str, list[Row] | None], bytes]:
    history = History(database)
    return joined(actors, history), bytes(history.claims)


def test_several_processes_share_a_spool(tmp_path: Path) -> None:
    rows = [{"actor": f"a{i % 40}", "type": f"E{i}"} for i in range(400)]
    halves = []
    for name, numbers in (("one", range(20)), ("two", range(20, 38))):
        (tmp_path / name).mkdir()
        halves.append(actors_file(tmp_path / name, [f"a{i}" for i in numbers]))
    with Spool(write(tmp_path / "h.jsonl", as_lines(rows)), held=500) as spool:
        global _spool
        _spool = spool
        with multiprocessing.get_context("fork").Pool(2) as pool:
            results = pool.map(_claims_of_spool, halves)
        found = results[0][0] | results[1][0]
        assert found == {f"a{i}": [{"type": f"E{n}"} for n in range(i, 400, 40)] for i in range(38)}
        rest = spool.unclaimed([claims for _, claims in results])
        assert (rest.actors, rest.events, rest.sample) == (2, 20, ("a38", "a39"))
        assert spool.unclaimed([results[0][1]]).actors == 20


_spool: Spool


def _claims_of_spool(actors: str) -> tuple[dict[str, list[Row] | None], bytes]:
    return _claims(_spool, actors)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(actors: int) -> int:
        rows = ({"actor": f"a{i % actors}", "type": "SUBMIT", "at": "2026-01-01"} for i in range(4 * actors))
        path = tmp_path / "h.jsonl"
        with path.open("wb") as file:
            file.writelines(json.dumps(row).encode() + b"\n" for row in rows)
        export = actors_file(tmp_path, [f"a{i}" for i in range(actors)])
        tracemalloc.start()
        try:
            with Spool(str(path), block=10_000, held=50_000) as spool:
                history = History(spool)
                for batch in read_actors(export, history=history, block=10_000):
                    assert all(len(actor.history or []) == 4 for actor in batch.actors)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(10_000) < 1.25 * peak(2_000)
