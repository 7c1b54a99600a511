"""Actor exports: every format gives the same actors, at the same places, in memory that does not grow."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statekeep_cli.core import trace
from statekeep_cli.core.trace import MARKERS, Item, Symbols
from statekeep_cli.errors import InputUnreadable
from statekeep_cli.readers.actors import (
    blocks,
    find_actor,
    identify,
    moved,
    plan_ranges,
    read_actors,
    read_range,
    size_of,
)
from statekeep_cli.readers.records import AnyActor, Batch, Records, Unreadable

# --- what a batch says, in plain values ---------------------------------------------------------------------


def value(raw: Any) -> Any:
    data = bytes(raw) if raw else b""
    return msgspec.json.decode(data) if data else None


def plain_item(item: Any) -> Any:
    if isinstance(item, str):
        return {"type": item}
    if isinstance(item, Item):
        parts = {
            "type": item.type,
            "state": value(item.state),
            "from": value(item.origin),
            "to": value(item.to),
        }
        return {key: part for key, part in parts.items() if part is not None}
    return {"type": item.type.value}


def plain_actor(actor: AnyActor) -> dict[str, Any]:
    return {
        "id": str(actor.id),
        "definition": actor.definition,
        "version": None if actor.version is None else str(actor.version),
        "status": actor.status,
        "state": value(actor.state),
        "context": value(actor.context),
        "history": None if actor.history is None else [plain_item(item) for item in actor.history],
        "origin": value(actor.origin),
        "snapshot": value(actor.snapshot),
    }


def plain(batches: Iterator[Batch] | list[Batch]) -> list[dict[str, Any]]:
    found = []
    for batch in batches:
        assert batch.ids == [actor.id for actor in batch.actors]
        assert batch.states == [bytes(actor.state) for actor in batch.actors]
        assert len(batch.lines) == len(batch.actors)
        found += [plain_actor(actor) for actor in batch.actors]
    return found


def expected(record: dict[str, Any]) -> dict[str, Any]:
    items = record.get("history")
    return {
        "id": str(record["id"]),
        "definition": record.get("definition"),
        "version": None if record.get("version") is None else str(record["version"]),
        "status": record.get("status", "active"),
        "state": record["state"],
        "context": record.get("context"),
        "history": None if items is None else [known(item) for item in items],
        "origin": record.get("origin"),
        "snapshot": None,
    }


def known(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"type": item}
    return {k: v for k, v in item.items() if k in ("type", "state", "from", "to") and v is not None}


# --- writing the same actors in every format ----------------------------------------------------------------


def as_lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in records)


def as_array(records: list[dict[str, Any]]) -> bytes:
    return json.dumps(records, ensure_ascii=False).encode()


def as_pretty_array(records: list[dict[str, Any]]) -> bytes:
    return json.dumps(records, ensure_ascii=False, indent=2).encode()


def as_csv(records: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    names = ["id", "definition", "version", "status", "state", "context", "history", "origin"]
    table = csv.writer(text)
    table.writerow(names)
    for record in records:
        cells = []
        for name in names:
            part = record.get(name)
            if part is None:
                cells.append("")
            elif name in ("context", "history", "origin", "state"):
                bare = name == "state" and isinstance(part, str) and part.lstrip()[:1] not in ("", "{", '"')
                cells.append(part if bare else json.dumps(part))
            else:
                cells.append(str(part))
        table.writerow(cells)
    return text.getvalue().encode()


FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "actors.jsonl": as_lines,
    "actors.json": as_array,
    "pretty.json": as_pretty_array,
    "actors.csv": as_csv,
}

# --- generated actors ---------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
EVENTS = st.sampled_from(["SUBMIT", "APPROVE", "PAY_FEE", "zażółć", 'quo"te', "a.b", "new\nline", "👍"])
VALUES = st.recursive(
    NAMES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=4
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ENDS = st.fixed_dictionaries({"version": st.integers(1, 9), "state": VALUES})
TIMES = {"at": st.just("2026-05-02T09:14:00Z")}
PLAIN_ITEMS = EVENTS | st.fixed_dictionaries({"type": EVENTS}, optional=TIMES)
ITEMS = st.one_of(
    PLAIN_ITEMS,
    st.fixed_dictionaries({"type": EVENTS, "state": VALUES}, optional=TIMES),
    st.fixed_dictionaries({"state": VALUES}, optional=TIMES),
    st.fixed_dictionaries({"type": st.just("manual"), "to": VALUES}),
    st.fixed_dictionaries({"type": st.just("migrated"), "from": ENDS, "to": ENDS}),
)


def records_of(items: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(
        st.fixed_dictionaries(
            {"id": NAMES.filter(lambda x: x.strip() == x) | st.integers(0, 10**6), "state": VALUES},
            optional={
                "definition": NAMES,
                "version": st.integers(1, 99) | NAMES,
                "status": st.sampled_from(trace.STATUSES),
                "context": st.dictionaries(NAMES, JSON, max_size=3),
                "history": st.lists(items, max_size=6),
                **more,
            },
        ),
        min_size=1,
        max_size=8,
    )


PLAIN = records_of(PLAIN_ITEMS)
MIXED = records_of(PLAIN_ITEMS) | records_of(ITEMS, origin=ENDS)
many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Stdin:
    """Standard input with these bytes."""

    def __init__(self, data: bytes):
        self.buffer = io.BytesIO(data)


# --- formats ------------------------------------------------------------------------------------------------


@many
@given(records=MIXED, block=st.sampled_from([1, 7, 100, 4096]), lettered=st.booleans())
def test_every_format_gives_the_same_actors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]], block: int, lettered: bool
) -> None:
    want = [expected(record) for record in records]
    for name, write in FORMATS.items():
        data = write(records)
        for path, stored in ((tmp_path / name, data), (tmp_path / f"{name}.gz", gzip.compress(data))):
            path.write_bytes(stored)
            symbols = Symbols() if lettered else None
            assert plain(read_actors(str(path), symbols=symbols, block=block)) == want
            # Neither format nor compression need the name of the file.
            monkeypatch.setattr(sys, "stdin", Stdin(stored))
            assert plain(read_actors("-", symbols=symbols, block=block)) == want


@many
@given(records=PLAIN)
def test_plain_traces_come_as_letters(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_lines(records))
    symbols = Symbols(["APPROVE"])
    batches = list(read_actors(str(path), symbols=symbols))
    assert all(batch.plain for batch in batches)
    for actor, record in zip((a for b in batches for a in b.actors), records, strict=True):
        history = record.get("history", [])
        packed = memoryview(b"".join([item.type for item in actor.history or []])).cast("I")
        assert [symbols.keys[code] for code in packed] == [known(item)["type"] for item in history]


def test_recorded_states_markers_origins_and_snapshots_are_not_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for extra in (
        {"history": [{"type": "A", "state": "x"}]},
        {"history": [{"state": "x"}]},
        {"history": [{"type": "manual", "to": "x"}]},
        {"history": ["A", {"type": "manual", "to": "x"}]},
        {"history": [{"type": "migrated", "from": {"state": "x"}, "to": {"state": "y"}}]},
        {"origin": {"version": 1, "state": "x"}, "history": []},
        {"snapshot": {"value": "x", "status": "active"}},
    ):
        path.write_bytes(
            as_lines([{"id": 1, "state": "x", "history": ["A"]}, {"id": 2, "state": "x", **extra}])
        )
        (batch,) = read_actors(str(path), symbols=Symbols())
        assert not batch.plain
        assert len(batch.actors) == 2


def test_letters_learn_and_are_made_anew() -> None:
    symbols = Symbols(["A"])
    letters = symbols.letters()
    decoder = msgspec.json.Decoder(letters)
    assert [bytes(decoder.decode(b'"A"')), letters.misses] == [(0).to_bytes(4, sys.byteorder), 0]
    assert bytes(decoder.decode(b'"B"')) == bytes(decoder.decode(b'"B"')) == (1).to_bytes(4, sys.byteorder)
    assert (symbols.keys, letters.misses) == (["A", "B"], 2)
    again = symbols.letters()
    fresh = msgspec.json.Decoder(again)
    assert bytes(fresh.decode(b'"B"')) == (1).to_bytes(4, sys.byteorder)
    assert (again.misses, letters.misses) == (0, 2)
    for marker in MARKERS:
        with pytest.raises(msgspec.ValidationError):
            fresh.decode(msgspec.json.encode(marker))
    symbols.clear(["B"])
    assert (symbols.keys, symbols.code("B"), symbols.generation) == (["B"], 0, 1)


def test_a_decoder_is_made_anew_when_it_misses_often_and_only_then(tmp_path: Path) -> None:
    made = 0

    class Counting(Symbols):
        def letters(self) -> Any:
            nonlocal made
            made += 1
            return super().letters()

    path = tmp_path / "a.jsonl"
    records = [{"id": i, "state": "x", "history": ["KNOWN", "OTHER", "THIRD"]} for i in range(2_000)]
    path.write_bytes(as_lines(records))
    symbols = Counting(["KNOWN"])
    assert plain(read_actors(str(path), symbols=symbols, block=4_000)) == [expected(r) for r in records]
    assert made == 2


def test_ever_new_event_types_do_not_grow_the_symbols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MAX_SYMBOLS", 50)
    records = [{"id": i, "state": "x", "history": [f"E{i}", "KNOWN"]} for i in range(2_000)]
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_lines(records))
    symbols = Symbols(["KNOWN"])
    assert plain(read_actors(str(path), symbols=symbols, block=512)) == [expected(r) for r in records]
    assert len(symbols) <= 50


def test_unknown_keys_are_skipped_and_null_is_absent(tmp_path: Path) -> None:
    record = {"id": 1, "state": "x", "definition": None, "version": None, "context": None, "history": None}
    record |= {"origin": None, "snapshot": None, "extra": {"deep": [1, {"history": 5}]}}
    items = [{"type": "A", "state": None, "to": "kim", "from": 7, "note": "kept"}]
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_lines([record, {"id": 2, "state": "x", "history": items, "snapshot": None}]))
    for symbols in (None, Symbols()):
        first, second = plain(read_actors(str(path), symbols=symbols))
        assert first == expected({"id": 1, "state": "x"})
        assert [item["type"] for item in second.pop("history")] == ["A"]
        assert second.items() <= expected({"id": 2, "state": "x"}).items()


def test_a_snapshot_stands_in_place_of_state_context_and_status(tmp_path: Path) -> None:
    snapshot = {
        "value": {"a": "b"},
        "context": {"n": 1},
        "status": "stopped",
        "historyValue": {},
        "children": {},
    }
    path = tmp_path / "a.jsonl"
    records = [
        {"id": 1, "snapshot": snapshot, "history": ["A"]},
        {"id": 2, "snapshot": snapshot, "state": {"a": "b"}, "status": "needs_rescue"},
    ]
    path.write_bytes(as_lines(records))
    first, second = plain(read_actors(str(path), symbols=Symbols()))
    assert (first["state"], first["context"], first["status"]) == ({"a": "b"}, {"n": 1}, "stopped")
    assert first["snapshot"] == snapshot
    assert (second["state"], second["status"]) == ({"a": "b"}, "needs_rescue")


# --- places -------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [
            b'{"id":1,"state":"x"}',
            b'  {"id":2,"state":{"a":"b"},"history":["A"]}\t',
            b"",
            b"   ",
            b'{"id":3}',
            b'{"id":4,"state":"x","history":[{"type":"A","state":"y"}]}',
            b'{"id":7,',
            b"nonsense",
            '{"id":"ż","state":"x","x":"\udcff"}'.encode("utf-8", "surrogateescape"),
        ]
    ),
    min_size=1,
    max_size=30,
)


@many
@given(lines=LINES, block=st.integers(1, 300), newline=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans())
def test_any_block_size_gives_the_same_actors_and_places(
    tmp_path: Path, lines: list[bytes], block: int, newline: bytes, last: bool
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(newline.join(lines) + (newline if last else b""))
    good = {1: b'"id":1', 2: b'"id":2', 4: b'"id":4'}
    want = [
        (int(key), n)
        for n, line in enumerate(lines, 1)
        for key, mark in good.items()
        if mark in line and line.count(b"{") < 9
    ]
    bad = [n for n, line in enumerate(lines, 1) if line.strip() and not any(m in line for m in good.values())]
    found: list[tuple[Any, int]] = []
    complaints: list[Unreadable] = []
    if not any(line.strip() for line in lines):
        with pytest.raises(InputUnreadable, match="holds no actors"):
            list(read_actors(str(path), keep_going=True, block=block))
        return
    ordinal = 0
    for batch in read_actors(str(path), symbols=Symbols(), keep_going=True, block=block):
        assert batch.ordinal == ordinal
        ordinal += len(batch.actors)
        found += zip(batch.ids, batch.lines, strict=True)
        complaints += batch.unreadable
    assert found == want
    assert [one.line for one in complaints] == bad
    assert complaints == [u for b in read_actors(str(path), keep_going=True) for u in b.unreadable]


@many
@given(lines=LINES, size=st.integers(1, 200))
def test_ranges_together_are_the_file(tmp_path: Path, lines: list[bytes], size: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([b'{"id":0,"state":"x"}', *lines]))
    ranges = plan_ranges(str(path), size)
    assert ranges[0].start == 0
    assert ranges[-1].end == size_of(str(path))
    assert all(before.end == after.start for before, after in pairwise(ranges))
    actors: list[tuple[Any, int]] = []
    complaints: list[Unreadable] = []
    before = 0
    for part in ranges:
        seen = 0
        for batch in read_range(part, Records(), block=50):
            actors += [(id, line + before) for id, line in zip(batch.ids, batch.lines, strict=True)]
            complaints += moved(batch.unreadable, before)
            seen = batch.ends - 1
        before += seen
    whole = list(read_actors(str(path), keep_going=True))
    assert actors == [pair for b in whole for pair in zip(b.ids, b.lines, strict=True)]
    assert complaints == [one for b in whole for one in b.unreadable]


def test_several_records_on_a_line_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":1,"state":"x"} {"id":2,"state":"x"}{"id":3,"state":"x"}\n{"id":4,"state":"x"}\n')
    for block in (1, 50, 1000):
        batches = list(read_actors(str(path), symbols=Symbols(), block=block))
        assert [pair for b in batches for pair in zip(b.ids, b.lines, strict=True)] == [
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 2),
        ]
    assert find_actor(str(path), "2") is not None


def test_only_plain_json_lines_are_read_in_ranges(tmp_path: Path) -> None:
    records = [{"id": 1, "state": "x"}]
    for name, data in {
        "a.json": as_array(records),
        "a.csv": as_csv(records),
        "a.jsonl.gz": gzip.compress(as_lines(records)),
        "empty.jsonl": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        assert plan_ranges(str(tmp_path / name), 1_000) == []
    assert plan_ranges("-", 1_000) == []
    assert size_of("-") is None


def test_lines_of_arrays_and_tables(tmp_path: Path) -> None:
    array = tmp_path / "a.json"
    array.write_text(
        '[{"id":1,"state":"x"},\n\n  {"id":2,\n"state":"x"}, {"id":3},\n{"id":4,"state":\n 5}]\n'
    )
    (batch,) = read_actors(str(array), keep_going=True)
    assert (batch.ids, batch.lines) == ([1, 2], [1, 3])
    assert [(u.line, u.column) for u in batch.unreadable] == [(4, 15), (6, 2)]
    table = tmp_path / "a.csv"
    table.write_text('id,state,context\n1,x,"{""a"":\n1}"\n\n2,,\n3,"{""a"": ""b""}",\n4,x\n')
    (batch,) = read_actors(str(table), keep_going=True)
    assert (batch.ids, batch.lines) == (["1", "3"], [2, 6])
    assert [(u.line, u.message) for u in batch.unreadable] == [
        (5, "expected a state, or a snapshot in its place"),
        (7, "expected 3 cells, as in the header, got 2"),
    ]


# --- size ---------------------------------------------------------------------------------------------------


def test_an_actor_with_a_megabyte_of_context(tmp_path: Path) -> None:
    big = {"id": "big", "state": "x", "context": {"text": "é" * 500_000, "list": list(range(50_000))}}
    records: list[dict[str, Any]] = [{"id": 1, "state": "x"}, big, {"id": 2, "state": "x"}]
    for name, write in FORMATS.items():
        path = tmp_path / name
        path.write_bytes(write(records))
        assert plain(read_actors(str(path), symbols=Symbols())) == [expected(r) for r in records]
    assert len(plan_ranges(str(tmp_path / "actors.jsonl"), 1_000)) == 2


@pytest.mark.parametrize("name", [*FORMATS, "actors.jsonl.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    def peak(count: int) -> int:
        history = [{"type": "SUBMIT", "at": "2026-05-02T09:14:00Z"}] * 8
        records = [{"id": f"a-{i}", "state": "x", "history": history} for i in range(count)]
        data = FORMATS[name.removesuffix(".gz")](records)
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        del records, data
        tracemalloc.start()
        try:
            assert (
                sum(len(b.actors) for b in read_actors(str(path), symbols=Symbols(), block=20_000)) == count
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(4_000) < 1.2 * peak(800)


# --- finding actors again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FORMATS))
def test_one_actor_with_everything_in_its_record(tmp_path: Path, name: str) -> None:
    item: Any = {"type": "A", "at": "2026-05-02T09:14:00Z", "by": "kim"}
    records: list[dict[str, Any]] = [
        {"id": 1, "state": "x"},
        {"id": "seven", "state": "y", "version": "2", "history": [item, "B"], "context": {"n": 1}},
        {"id": "seven", "state": "z"},
    ]
    path = tmp_path / name
    path.write_bytes(FORMATS[name](records))
    found = find_actor(str(path), "seven")
    assert found is not None
    actor, record = found
    assert plain_actor(actor) == expected(records[1])
    assert record == records[1]
    numbered = find_actor(str(path), "1")
    assert numbered is not None
    assert str(numbered[1]["id"]) == "1"
    assert find_actor(str(path), "eight") is None


def test_an_actor_that_may_be_among_the_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"a","state":5}\n{"id":"b","state":"x"}\n')
    assert find_actor(str(path), "b") is not None
    with pytest.raises(InputUnreadable, match="no actor 'a'") as caught:
        find_actor(str(path), "a")
    assert caught.value.problems[0].line == 1


def test_actors_are_identified_by_their_ordinal(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"a","state":"x"}\n\n{}\n{"id":2,"state":"x"}\n{"id":"c","state":"x"}\n')
    assert identify(str(path), [2, 0]) == {0: ("a", 1), 2: ("c", 5)}
    assert identify(str(path), [1]) == {1: ("2", 4)}
    path.write_bytes(b'{"id":"a","state":"x"}\n{"id":"b","state":"x","history":[]}\n{"id":"c","state":"x"}\n')
    assert identify(str(path), [1]) == {1: ("b", 2)}
    assert identify(str(path), [1], joined=True) == {1: ("c", 3)}


def test_blocks_can_be_decoded_anywhere(tmp_path: Path) -> None:
    import pickle

    records = [{"id": i, "state": "x"} for i in range(20)]
    for name, write in FORMATS.items():
        path = tmp_path / name
        path.write_bytes(write(records))
        sent = [pickle.loads(pickle.dumps(block)) for block in blocks(str(path), 100)]
        assert len(sent) > 1
        assert plain([Records().batch(block) for block in sent]) == [expected(r) for r in records]
