"""What goes wrong in use, through the command line: a sentence with the place, the documented exit
code, no traceback, and what went in equals what came out."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.cli import main
from tests.support import ROOT

V1: dict[str, Any] = {
    "id": "loan",
    "version": 1,
    "initial": "draft",
    "states": {
        "draft": {"on": {"SUBMIT": "review"}},
        "review": {"initial": "open", "states": {"open": {"on": {"OK": "closed"}}, "closed": {}}},
    },
}
V2 = {**V1, "version": 2}
GOOD = {"id": "good", "version": 1, "state": "draft", "history": []}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, definition in (("v1.json", V1), ("v2.json", V2)):
        (tmp_path / name).write_text(json.dumps(definition))
    return [str(tmp_path / "v1.json"), str(tmp_path / "v2.json")]


def run(
    files: list[str],
    actors: bytes | str,
    capsys: pytest.CaptureFixture[str],
    *options: str,
    name: str = "a.jsonl",
) -> tuple[int, dict[str, Any] | None, str]:
    path = Path(files[0]).parent / name
    path.write_bytes(actors if isinstance(actors, bytes) else actors.encode())
    code = main(["preview", *files, "--actors", str(path), "--format", "json", "-q", *options])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    report = json.loads(out) if out else None
    if report is not None:
        parts = ("wouldMigrate", "wouldStrand", "wouldStay", "skipped", "unreadable")
        assert (
            report["total"]
            == sum(report[k] for k in parts)
            == sum(g["count"] for g in report["groups"]) + report["unreadable"]
        )
    return code, report, err


def lines(*records: Any) -> str:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ('{"id": "x", "state": ', "a.jsonl:2"),
        ('{"state": "draft"}', "id"),
        ('{"id": "x", "state": 7}', "state"),
        ('{"id": "x", "state": "draft", "status": "paused"}', "status"),
        ('{"id": "x", "state": "draft", "history": "SUBMIT"}', "history"),
        ('{"id": "x", "state": "draft", "history": [{"at": "2026-01-01"}]}', "type"),
        ('{"id": "good", "state": "draft"}', "already used at line 1"),
        ('["id"]', "a.jsonl:2"),
    ],
)
def test_a_record_that_cannot_be_read(
    record: str, said: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report, err = run(files, lines(GOOD, record), capsys)
    assert (code, report) == (1, None)
    assert said in err
    assert ":2:" in err
    code, report, err = run(files, lines(GOOD, record), capsys, "--keep-going")
    assert code == 3
    assert report is not None
    assert (report["wouldMigrate"], report["unreadable"], report["total"]) == (1, 1, 2)
    assert report["unreadableRecords"][0]["line"] == 2


def test_ten_bad_records_stop_the_run(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, report, err = run(files, lines(*["{"] * 5_000), capsys)
    assert (code, report) == (1, None)
    assert err.count("a.jsonl:") <= 12


def test_records_that_make_no_sense_strand(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    strands = {
        "snapshot_invalid": {"id": "1", "state": "nowhere", "history": []},
        "history_inconsistent": {"id": "2", "state": "draft", "history": ["SUBMIT"]},
        "version_unknown": {"id": "3", "version": 9, "state": "draft", "history": []},
    }
    illegal = {"id": "4", "state": "review", "history": ["SUBMIT"]}  # compound, without its inside
    code, report, _ = run(files, lines(*strands.values(), illegal), capsys)
    assert code == 3
    assert report is not None
    counts = {g["reason"]: g["count"] for g in report["groups"]}
    assert counts == {"snapshot_invalid": 1, "history_inconsistent": 1, "version_unknown": 1} | {
        "snapshot_invalid": counts["snapshot_invalid"]
    }
    assert report["wouldStrand"] == 4


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "a.jsonl", "no actors"),
        (b"\n\n", "a.jsonl", "no actors"),
        (gzip.compress(lines(GOOD).encode(), mtime=0)[:-9], "a.jsonl.gz", "truncated"),
        (lines(GOOD).encode("utf-16"), "a.jsonl", "UTF-16"),
        (b'{"id": "\xff", "state": "draft"}\n', "a.jsonl", "a.jsonl:1"),
        (b'[{"id": "1", "state": "draft"}', "a.json", "a.json"),
        (b"name,state\nx,draft\n", "a.csv", "id"),
    ],
)
def test_a_damaged_file(
    data: bytes, name: str, said: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report, err = run(files, data, capsys, name=name)
    assert (code, report) == (1, None)
    assert said in err


def test_paths_that_are_not_there(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", *files, "--actors", "/nowhere/actors.jsonl"]) == 1
    assert "/nowhere/actors.jsonl" in capsys.readouterr().err
    assert main(["preview", files[0], "/nowhere/v2.yaml", "--actors", files[0]]) == 1
    assert "/nowhere/v2.yaml" in capsys.readouterr().err
    assert main(["preview", files[0], "--actors", files[0]]) == 2
    assert "source" in capsys.readouterr().err


def test_a_megabyte_of_context(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    big = {**GOOD, "id": "big", "context": {"blob": "x" * 1_000_000}}
    code, report, _ = run(files, lines(GOOD, big), capsys)
    assert code == 0
    assert report is not None
    assert report["wouldMigrate"] == 2


HOSTILE = [
    "[/x]",
    "[red]a[/red]",
    "<script>alert(1)</script>",
    "\x1b[31mred",
    "a|b`c",
    "x\ny",
    "\u202eevil",
    "*bold*",
]


@pytest.mark.parametrize("fmt", ["text", "markdown"])
def test_markup_in_ids_and_states_is_inert(
    fmt: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"id": text, "version": 1, "state": text, "history": [text]} for text in HOSTILE]
    path = Path(files[0]).parent / "hostile.jsonl"
    path.write_text(lines(*records))
    assert main(["preview", *files, "--actors", str(path), "--format", fmt, "--show-ids", "-q"]) == 3
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    if fmt == "text":
        assert "[/x]" in out
        assert "[red]a[/red]" in out
    else:
        outside = re.sub(r"(`+).*?\1", "", out)  # a code span shows what it holds
        assert "<script>" not in outside


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_went_in_comes_out_whatever_the_processes(
    jobs: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records: list[Any] = []
    for i in range(3_000):
        records.append({**GOOD, "id": str(i)} if i % 7 else "{" if i % 2 else {"id": "0", "state": "draft"})
    code, report, _ = run(files, lines(*records), capsys, "--keep-going", "--jobs", jobs)
    assert code == 3
    assert report is not None
    assert report["total"] == 3_000


def command(files: list[str], actors: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "statekeep_cli", "preview", *files, "--actors", str(actors), *options]


def many(folder: Path) -> Path:
    path = folder / "many.jsonl"
    with open(path, "w") as out:
        for i in range(400_000):
            out.write(f'{{"id":"{i}","version":1,"state":"draft","history":[]}}\n')
    return path


def test_a_closed_pipe(files: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(files, many(tmp_path), "--format", "jsonl", "-q"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"{")
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted(sent: signal.Signals, code: int, jobs: str, files: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "statekeep_cli", "preview", *files, "--actors", "-", "--jobs", jobs],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    for i in range(20_000):  # more than a pipe holds: once it is written, the run is under way
        process.stdin.write(b'{"id":"%d","version":1,"state":"draft","history":[]}\n' % i)
    process.stdin.flush()
    if sent == signal.SIGINT:  # as a terminal does it
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == b""
    assert b"Traceback" not in err
