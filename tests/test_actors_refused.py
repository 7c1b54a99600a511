"""Actor exports that are not what they should be: refused with the place, and nothing half-read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.core.trace import Symbols
from statekeep_cli.errors import InputUnreadable
from statekeep_cli.readers import stream
from statekeep_cli.readers.actors import Complaints, plan_ranges, read_actors, read_range
from statekeep_cli.readers.records import Batch, Records, Unreadable
from tests.test_actors import FORMATS, as_lines, expected, plain

# --- bad records --------------------------------------------------------------------------------------------

BAD: list[tuple[bytes, int, str]] = [
    (b'{"id":1,"state":"x"', 20, "not JSON: ends in the middle of a value"),
    (b'{"id":1,"state":x}', 17, "not JSON: invalid character"),
    (b'{"id":1,"state":"x"}}', 21, "not JSON: invalid character"),
    (b'{"id":1,"state":"x"},', 21, "not JSON: invalid character"),
    (b'{"id":1,"state":"x"} {"id":2}', 1, "expected a state, or a snapshot in its place"),
    (b'{"id":1,"state":"x",}', 21, "not JSON: trailing comma in object"),
    (b'{"id":1,"state":"x","n":NaN}', 25, "not JSON: invalid character"),
    (b'{"id":1,"state":"x","n":"\\ud800"}', 1, "not JSON: a string holds half of a surrogate pair"),
    (b"[1]", 1, "expected an object, got an array"),
    (b"17", 1, "expected an object, got an integer"),
    (b'{"state":"x"}', 1, "expected the key 'id'"),
    (b'{"id":null,"state":"x"}', 7, "id: expected an integer or a string, got null"),
    (b'{"id":"","state":"x"}', 7, "id: is empty; every actor needs an id"),
    (b'{"id":1.5,"state":"x"}', 7, "id: expected an integer or a string, got a number"),
    (b'{"id":true,"state":"x"}', 7, "id: expected an integer or a string, got true or false"),
    (b'{"id":1}', 1, "expected a state, or a snapshot in its place"),
    (b'{"id":1,"state":null}', 1, "expected a state, or a snapshot in its place"),
    (b'{"id":1,"state":3}', 17, "state: expected a state value (a string, or an object of state values)"),
    (b'{"id":1,"state":["x"]}', 17, "state: expected a state value (a string, or an object of state values)"),
    (
        b'{"id":1,"state":{"a":{"b":null}}}',
        17,
        "state: expected a state value (a string, or an object of state values)",
    ),
    (b'{"id":1, "state":"x", "version":1.5}', 33, "version: expected an integer or a string, got a number"),
    (b'{"id":1,"state":"x","definition":7}', 34, "definition: expected a string, got an integer"),
    (
        b'{"id":1,"state":"x","status":"actve"}',
        30,
        "status: 'actve' is none of active, needs_rescue, done, stopped, error, archived; "
        "did you mean 'active'?",
    ),
    (b'{"id":1,"state":"x","history":"A"}', 31, "history: expected an array, got a string"),
    (
        b'{"id":1,"state":"x","history":["A",5]}',
        36,
        "history[1]: expected a string or an object, got an integer",
    ),
    (
        b'{"id":1,"state":"x","history":[{"type":5}]}',
        40,
        "history[0].type: expected a string, got an integer",
    ),
    (
        b'{"id":1,"state":"x","history":["A",{"at":1}]}',
        36,
        "history[1]: expected a type, or a state where the log has states only",
    ),
    (
        b'{"id":1,"state":"x","history":[{"state":null}]}',
        32,
        "history[0]: expected a type, or a state where the log has states only",
    ),
    (
        b'{"id":1,"state":"x","history":[{"type":"A","state":[]}]}',
        52,
        "history[0].state: expected a state value (a string, or an object of state values)",
    ),
    (
        b'{"id":1,"state":"x","history":["manual"]}',
        32,
        "history[0]: 'manual' is a marker, which is an object",
    ),
    (
        b'{"id":1,"state":"x","history":[{"type":"manual"}]}',
        32,
        "history[0]: a manual move needs 'to', the state it set",
    ),
    (
        b'{"id":1,"state":"x","history":[{"type":"migrated","to":{"state":"x"}}]}',
        32,
        "history[0]: a migration needs 'from', with version and state",
    ),
    (
        b'{"id":1,"state":"x","history":[{"type":"migrated","from":{"version":1},"to":{"state":"x"}}]}',
        58,
        "history[0].from: expected the key 'state'",
    ),
    (b'{"id":1,"state":"x","origin":{"version":1}}', 30, "origin: expected the key 'state'"),
    (b'{"id":1,"state":"x","origin":"x"}', 30, "origin: expected an object, got a string"),
    (b'{"id":1,"snapshot":{}}', 20, "snapshot: has no 'value'; an XState persisted snapshot has one"),
    (b'{"id":1,"snapshot":"x"}', 20, "snapshot: expected an object, got a string"),
    (
        b'{"id":1,"snapshot":{"value":"x","status":"gone"}}',
        42,
        "snapshot.status: 'gone' is none of active, done, stopped, error; did you mean 'done'?",
    ),
    (
        b'{"id":1,"state":"y","snapshot":{"value":"x"}}',
        17,
        "state: is not the snapshot's value; leave one of them out",
    ),
    (b'{"id":1,"state":"x","note":"\xff"}', 29, "byte 0xff is not UTF-8; save the file as UTF-8"),
    (
        '{"note":"żółw","id":1,"state":"x","status":5}'.encode(),
        44,
        "status: expected a string, got an integer",
    ),
    (b'{"id":1,"state":"x","n":' + b"[" * 60_000 + b"]" * 60_000 + b"}", 1, "nested too deeply to be read"),
]


@pytest.mark.parametrize(("record", "column", "message"), BAD, ids=[m[:40] for _, _, m in BAD])
@pytest.mark.parametrize("lettered", [True, False])
def test_bad_record(tmp_path: Path, record: bytes, column: int, message: str, lettered: bool) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n{"id":"before","state":"x"}\n' + record + b'\n{"id":"after","state":"x"}\n')
    symbols = Symbols() if lettered else None
    (batch,) = read_actors(str(path), symbols=symbols, keep_going=True, block=1 << 20)
    assert batch.unreadable == (Unreadable(3, column, message),)
    assert (batch.ids, batch.lines) == (["before", "after"], [2, 4])
    with pytest.raises(InputUnreadable) as caught:
        list(read_actors(str(path), symbols=symbols))
    (problem,) = caught.value.problems
    assert problem.sentence == f"{path}:3:{column}: {message}"
    assert str(path) in caught.value.message
    assert "--keep-going" in caught.value.message


def test_the_first_ten_are_listed_and_nothing_follows_a_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":1,"state":"x"}\n' * 100 + b"{}\n" * 25 + b'{"id":1,"state":"x"}\n' * 100)
    seen: list[Batch] = []
    with pytest.raises(InputUnreadable) as caught:
        seen.extend(read_actors(str(path), block=64))
    assert all(line <= 100 for batch in seen for line in batch.lines)
    assert [problem.line for problem in caught.value.problems] == list(range(101, 111))
    complaints = Complaints(str(path), keep_going=True)
    for batch in read_actors(str(path), block=64, keep_going=True):
        complaints.add(batch.unreadable)
    complaints.settle()
    assert (complaints.count, len(complaints.problems)) == (25, 10)


def test_no_batch_follows_a_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":1,"state":"x"}\n' * 9 + b"{}\n" + b'{"id":1,"state":"x"}\n' * 100)
    seen: list[Batch] = []
    with pytest.raises(InputUnreadable) as caught:
        seen.extend(read_actors(str(path), block=64))
    assert [line for batch in seen for line in batch.lines] in (list(range(1, 7)), list(range(1, 10)))
    assert [problem.line for problem in caught.value.problems] == [10]


def test_an_array_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[12345, 6.5e10,{"id":1,"state":"x"},  -17]')
    for block in (1, 3, 1_000):
        batches = list(read_actors(str(path), keep_going=True, block=block))
        assert [id for batch in batches for id in batch.ids] == [1]
        assert [(one.column, one.message) for batch in batches for one in batch.unreadable] == [
            (2, "expected an object, got an integer"),
            (9, "expected an object, got a number"),
            (39, "expected an object, got an integer"),
        ]


def test_a_bad_record_in_an_array_or_a_table_does_not_hide_the_others(tmp_path: Path) -> None:
    array = tmp_path / "a.json"
    array.write_text('[{"id":1,"state":"x"}, 5, {"id":2,"state":"x"}]')
    (batch,) = read_actors(str(array), keep_going=True)
    assert batch.ids == [1, 2]
    assert batch.unreadable == (Unreadable(1, 24, "expected an object, got an integer"),)
    table = tmp_path / "a.csv"
    table.write_bytes(
        b'id,state,context,history\n1,x,{,\n2,x,,5\n3,"x"y,,\n4,\xff,,\n5,"{",,\n6,x,,[]\n'
        b'7,x,"{}, ""id"": 8",\n8,"x'
    )
    (batch,) = read_actors(str(table), keep_going=True)
    assert batch.ids == ["6"]
    assert [(one.line, one.message) for one in batch.unreadable] == [
        (2, "column 'context': not JSON: ends in the middle of a value"),
        (3, "history: expected an array, got an integer"),
        (4, "not CSV: ',' expected after '\"'"),
        (5, "column 'state': not UTF-8; save the file as UTF-8"),
        (6, "column 'state': not JSON: ends in the middle of a value"),
        (8, "column 'context': not JSON: expected the end of the line after this record"),
        (9, "not CSV: unexpected end of data"),
    ]


# --- bad inputs ---------------------------------------------------------------------------------------------


def refusal(path: Path | str, **more: Any) -> InputUnreadable:
    with pytest.raises(InputUnreadable) as caught:
        list(read_actors(str(path), keep_going=True, **more))
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("[", 1, 2, "the array ends before its `]`"),
        ('[{"id":1,"state":"x"}', 1, 22, "the array ends before its `]`"),
        ('[{"id":1,"state":"x"},', 1, 23, "the array ends before its `]`"),
        ('[{"id":1,"state":"x"},\n{"id":2,"sta', 2, 9, "the array ends in the middle of a record"),
        ('[{"id":1,"state":"x"}\n{"id":2,"state":"x"}]', 2, 1, "expected a comma or the array's `]`"),
        ('[{"id":1,"state":"x"},]', 1, 23, "expected a record after the comma"),
        ('[{"id":1,"state":"x"}] x', 1, 24, "expected nothing after the array's `]`"),
        ('[{"id":1,"state":nope' + " " * 100 + "}]", 1, 18, "not JSON: Expecting value"),
        ("[" * 100_000, 1, 2, "nested too deeply to be read"),
    ],
)
def test_a_broken_array_is_refused(tmp_path: Path, text: str, line: int, column: int, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    for block in (5, 1 << 17):
        (problem,) = refusal(path, block=block).problems
        assert (problem.line, problem.column) == (line, column)
        assert message in problem.message
        assert problem.hint


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("ID,state", "has no column 'id'; did you mean 'ID'?"),
        ("name,state", "has no column 'id'"),
        ("id,stat", "has no column 'state' or 'snapshot'; did you mean 'stat'?"),
        ("id;state", "has no column 'id'"),
        ("id,state,id", "has the column 'id' twice"),
        ("id,state,histroy", "has no column 'history', but 'histroy'"),
        ("id,state,Context", "has no column 'context', but 'Context'"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,x,\n")
    (problem,) = refusal(path).problems
    assert problem.message == message
    assert problem.line == 1
    assert problem.hint


@pytest.mark.parametrize(
    "data", [b"", b"\n\n  \n", b"[]", b" [ ] ", b"id,state\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)]
)
def test_no_actors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert refusal(path).message == f"{path}: holds no actors; check the path and the query that exported it"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"id":1}'.encode("utf-16"), "is UTF-16, not UTF-8"),
        ('{"id":1}'.encode("utf-32"), "is UTF-32, not UTF-8"),
        ('{"id":1}'.encode("utf-16-le"), "a NUL character; is it UTF-16"),
        (gzip.compress('{"id":1}'.encode("utf-16"), mtime=0), "is UTF-16, not UTF-8"),
        (b"PK\x03\x04" + bytes(30), "is a zip archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(30), "is compressed with zstd"),
        (b"SQLite format 3\x00" + bytes(30), "is an SQLite database"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    error = refusal(path)
    assert message in error.message
    assert str(path) in error.message


def test_a_byte_order_mark_is_taken_off(tmp_path: Path) -> None:
    for name, write in FORMATS.items():
        path = tmp_path / name
        for data in (b"\xef\xbb\xbf" + write([{"id": 1, "state": "x"}]),):
            for stored in (data, gzip.compress(data)):
                path.write_bytes(stored)
                assert plain(read_actors(str(path))) == [expected({"id": 1, "state": "x"})]
    marked = tmp_path / "actors.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + as_lines([{"id": i, "state": "x"} for i in range(9)]))
    parts = plan_ranges(str(marked), 30)
    assert [id for part in parts for batch in read_range(part, Records()) for id in batch.ids] == list(
        range(9)
    )


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_truncated_gzip_is_refused_wherever_it_ends(tmp_path: Path, keep_going: bool) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(as_lines([{"id": i, "state": "x", "n": str(i * i)} for i in range(500)]))
    for end in (11, 200, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(InputUnreadable, match="truncated gzip file") as caught:
            list(read_actors(str(path), keep_going=keep_going, block=100))
        assert str(path) in caught.value.message


def test_gzip_members_padding_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    one, two = (gzip.compress(as_lines([{"id": i, "state": "x"}])) for i in (1, 2))
    for stored in (one + two, one + two + bytes(300_000), one + bytes(10) + two, one + bytes(300_000) + two):
        path.write_bytes(stored)
        assert [a["id"] for a in plain(read_actors(str(path)))] == ["1", "2"]
    path.write_bytes(one + b"garbage after the end")
    assert "damaged gzip file" in refusal(path).message
    damaged = bytearray(one + two)
    damaged[len(one) - 6] ^= 0xFF
    path.write_bytes(bytes(damaged))
    assert "damaged gzip file" in refusal(path).message


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert "cannot be opened: No such file" in refusal(tmp_path / "none.jsonl").message
    assert "Is a directory" in refusal(tmp_path).message


def test_a_record_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_RECORD", 1 << 20)
    monkeypatch.setattr("statekeep_cli.readers.cut.MAX_RECORD", 1 << 20)
    for name, begin in (("a.jsonl", b'\n{"id":"'), ("a.json", b'[\n{"id":"')):
        path = tmp_path / name
        path.write_bytes(begin + b"x" * (3 << 20))
        error = refusal(path)
        assert "is longer than 1 MiB" in error.message
        assert f"{path}:2:1" in error.message


def test_json_over_several_lines_is_not_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"id": 1, "state": "x"}, indent=1))
    with pytest.raises(InputUnreadable) as caught:
        list(read_actors(str(path)))
    assert "one record per line" in caught.value.problems[0].message
