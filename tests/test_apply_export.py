"""`statekeep apply SOURCE... TARGET --actors FILE -o OUT`: what is written, and what never is."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep_cli.cli import main
from statekeep_cli.core.context import validator
from statekeep_cli.core.gate import Gate
from statekeep_cli.schemas import load
from tests.support import ROOT, shared

V1 = {
    "id": "order",
    "version": 1,
    "initial": "cart",
    "states": {
        "cart": {"on": {"PAY": "paid", "KEEP": "held", "DROP": "gone"}},
        "paid": {"on": {"SHIP": "shipped"}},
        "held": {"on": {"PAY": "paid"}},
        "shipped": {"type": "final"},
        "gone": {"type": "final"},
    },
}
V2: dict[str, Any] = {
    "id": "order",
    "version": 2,
    "initial": "cart",
    "states": {
        "cart": {"on": {"PAY": "settled"}},
        "settled": {"on": {"SHIP": "shipped"}},
        "shipped": {"type": "final"},
    },
    "stateMapping": {"paid": "settled"},
    "migration": {
        "eligible": {"none": ["vip"]},
        "anchors": {"vip": {"event": "VIP"}},
        "context": {"rename": {"note": "memo"}, "defaults": {"currency": "EUR"}},
    },
}
MARKER = {
    "type": "migrated",
    "from": {"version": 1, "state": "paid"},
    "to": {"version": 2, "state": "settled"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    v1 = json.loads(json.dumps(V1))
    v1["states"]["cart"]["on"]["VIP"] = {"actions": "greet"}
    (tmp_path / "v1.json").write_text(json.dumps(v1))
    (tmp_path / "v2.json").write_text(json.dumps(V2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def apply(*options: str, actors: str = "in.jsonl", out: str = "out.jsonl") -> int:
    return main(["apply", "v1.json", "v2.json", "--actors", actors, "-o", out, *options])


def write(path: str, *records: str) -> None:
    Path(path).write_text("".join(record + "\n" for record in records))


PAID = '{"id": 1, "version": 1, "state": "paid", "history": ["PAY"], "mine": {"b": 1.50, "a": [ ]}}'
HELD = '{"id": 2, "version": 1, "state": "held", "history": ["KEEP"], "zip": "\\u00e9"}'
VIP = '{"id": 3, "version": 1, "state": "cart", "history": ["VIP"]}'
DONE = '{"id": 4, "version": 1, "state": "shipped",   "history": ["PAY", "SHIP"]}'
THERE = '{"id": 5,"version":2,"state":"settled","history":[]}'
OTHER = '{"id": 6, "definition": "invoice", "version": 1, "state": "cart"}'
ALL = (PAID, HELD, VIP, DONE, THERE, OTHER)


def lines(path: str = "out.jsonl") -> list[str]:
    data = Path(path).read_bytes()
    return (gzip.decompress(data) if path.endswith(".gz") else data).decode().splitlines()


def preview(actors: str, capsys: pytest.CaptureFixture[str], *sources: str) -> dict[str, Any]:
    capsys.readouterr()
    main(["preview", *(sources or ("v1.json", "v2.json")), "--actors", actors, "--format", "json", "-q"])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


# --- what is written -------------------------------------------------------------------------------------


def test_every_outcome(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", *ALL)
    assert apply("--max-strand", "all") == 0
    paid, held, *others = lines()
    assert others == [VIP, DONE, THERE, OTHER]
    assert paid == (
        '{"id": 1, "version": 2, "state": "settled", "history": ["PAY", '
        + json.dumps(MARKER, separators=(",", ":"))
        + '], "mine": {"b": 1.50, "a": [ ]}, "context": {"currency":"EUR"}}'
    )
    assert held.startswith(HELD[:-1] + ', "status": "needs_rescue", "rescue": {"reason":"state_removed",')
    published = validator(load("actor"))
    assert all(published.is_valid(json.loads(line)) for line in lines())
    captured = capsys.readouterr()
    assert "1  migrate" in captured.out
    assert captured.err.endswith("out.jsonl: 1 migrated, 1 tagged needs_rescue, 4 untouched\n")
    report = preview("out.jsonl", capsys)
    skips = Counter({g["reason"]: g["count"] for g in report["groups"] if g["outcome"] == "skip"})
    assert skips == {"on_target": 2, "done": 1, "other_definition": 1}


def test_again_changes_nothing(folder: Path) -> None:
    write("in.jsonl", *ALL)
    assert apply("--max-strand", "all") == 0
    assert apply("--max-strand", "all", actors="out.jsonl", out="again.jsonl") == 0
    assert lines("again.jsonl") == lines()


def test_the_rescued_migrate_later(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", HELD)
    assert apply("--max-strand", "all") == 0
    (folder / "v3.json").write_text(
        json.dumps({**V2, "version": 3, "stateMapping": {"held": "cart"}, "migration": {}})
    )
    assert main(["apply", "v1.json", "v3.json", "--actors", "out.jsonl", "-o", "3.jsonl"]) == 0
    (record,) = map(json.loads, lines("3.jsonl"))
    assert (record["status"], record["state"], record["version"]) == ("active", "cart", 3)
    assert "rescue" not in record
    assert record["history"][-1]["to"] == {"version": 3, "state": "cart"}


def test_a_new_reason_replaces_the_old_tag(folder: Path) -> None:
    write("in.jsonl", HELD[:-1] + ', "rescue": {"reason": "old"}, "status": "needs_rescue", "x": 1}')
    assert apply("--max-strand", "all") == 0
    (record,) = map(json.loads, lines())
    assert list(record) == ["id", "version", "state", "history", "zip", "rescue", "status", "x"]
    assert record["rescue"]["reason"] == "state_removed"
    assert record["status"] == "needs_rescue"


def test_markers_lead_through_the_next_version(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", PAID)
    assert apply() == 0
    states = {"cart": {"on": {"PAY": "settled"}}, "settled": {"on": {"SHIP": "sent"}}, "sent": {}}
    (folder / "v3.json").write_text(json.dumps({**V2, "version": 3, "states": states, "stateMapping": {}}))
    report = preview("out.jsonl", capsys, "v1.json", "v2.json", "v3.json")
    assert [(g["outcome"], g["rule"]) for g in report["groups"]] == [("migrate", "replay")]


def test_versions_that_were_left_out_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside migrated actors, one without a version would be taken for one of the next source."""
    write(
        "in.jsonl",
        '{"id":1,"state":"paid","history":["PAY"]}',
        '{"id":2,"state":"held","history":["KEEP"]}',
        '{"id":3,"state":"cart","history":["VIP"]}',
        '{"id":4,"state":"shipped"}',
    )
    assert apply("--max-strand", "all") == 0
    assert [json.loads(x).get("version") for x in lines()] == [2, 1, 1, None]
    assert preview("out.jsonl", capsys)["skipped"] == 2


def test_another_id_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "v2.json").write_text(json.dumps({**V2, "id": "order-2"}))
    write("in.jsonl", '{"id":1,"state":"paid","history":["PAY"]}')
    assert apply() == 0
    (record,) = map(json.loads, lines())
    assert (record["definition"], record["version"]) == ("order-2", 2)
    assert preview("out.jsonl", capsys)["groups"][0]["reason"] == "on_target"


def test_who_has_no_history_gets_none(folder: Path) -> None:
    (folder / "v2.json").write_text(json.dumps({**V2, "migration": {}}))
    write(
        "in.jsonl",
        '{"id": 1, "state": "paid"}',
        '{"id": 2, "state": "paid", "history": null}',
        '{"id": 3, "state": "paid", "history": []}',
    )
    assert apply() == 0
    assert [json.loads(x)["state"] for x in lines()] == ["settled"] * 3
    assert [json.loads(x).get("history") for x in lines()] == [None, None, [MARKER]]


def test_snapshots(folder: Path) -> None:
    snapshot = '{"status": "active", "context": {"note": "n"}, "value": "paid", "children": {}, "own": 1}'
    inside = '{"value": "paid"}'
    write(
        "in.jsonl",
        f'{{"id": 1, "snapshot": {snapshot}, "history": ["PAY"]}}',
        f'{{"id": 2, "snapshot": {snapshot}, "state": "paid", "history": ["PAY"],'
        ' "context": {"other": 1}}',
        f'{{"id": 3, "context": {{"note": 2}}, "history": ["PAY"], "snapshot": {inside}}}',
        f'{{"id": 4, "snapshot": {snapshot.replace("paid", "held")}, "history": ["KEEP"]}}',
    )
    assert apply("--max-strand", "all") == 0
    first, second, third, fourth = map(json.loads, lines())
    moved = snapshot.replace('{"note": "n"}', '{"memo":"n","currency":"EUR"}').replace("paid", "settled")
    assert f'"snapshot": {moved}' in lines()[0]
    assert "state" not in first
    assert second["state"] == "settled"
    assert second["context"] == {"other": 1}
    assert third["context"] == third["snapshot"]["context"] == {"memo": 2, "currency": "EUR"}
    assert fourth["snapshot"] == json.loads(snapshot.replace("paid", "held"))
    assert fourth["status"] == "needs_rescue"


# --- layouts ---------------------------------------------------------------------------------------------


def test_gzip_on_either_side(folder: Path) -> None:
    write("in.jsonl", *ALL)
    (folder / "in.jsonl.gz").write_bytes(gzip.compress((folder / "in.jsonl").read_bytes()))
    assert apply("--max-strand", "all") == 0
    assert apply("--max-strand", "all", actors="in.jsonl.gz", out="out.jsonl.gz") == 0
    assert lines("out.jsonl.gz") == lines()
    first = Path("out.jsonl.gz").read_bytes()
    assert apply("--max-strand", "all", "--force", out="out.jsonl.gz") == 0
    assert Path("out.jsonl.gz").read_bytes() == first


@pytest.mark.parametrize("template", ["[{}]", "[\n  {}\n]\n", " [ {} ] "])
def test_arrays(folder: Path, template: str) -> None:
    between = ",\n  " if "\n" in template else ","
    Path("in.json").write_text(template.replace("{}", between.join(ALL)))
    assert apply("--max-strand", "all", actors="in.json", out="out.json") == 0
    write("in.jsonl", *ALL)
    assert apply("--max-strand", "all") == 0
    assert Path("out.json").read_text() == template.replace("{}", between.join(lines()))


def test_a_pretty_array_stays_pretty(folder: Path) -> None:
    Path("in.json").write_text(json.dumps([json.loads(x) for x in (PAID, DONE)], indent=2))
    assert apply(actors="in.json", out="out.json") == 0
    text = Path("out.json").read_text()
    assert '\n    "version": 2,\n    "state": "settled",' in text
    assert '\n    "context": {"currency":"EUR"}\n  },' in text


def test_lines_as_they_come(folder: Path) -> None:
    data = f"{PAID}\r\n\n  {DONE} \n{VIP}{HELD}\r\n{THERE}"
    Path("in.jsonl").write_text(data, newline="")
    assert apply("--max-strand", "all") == 0
    write("plain.jsonl", PAID, HELD)
    assert apply("--max-strand", "all", actors="plain.jsonl", out="o.jsonl") == 0
    paid, held = lines("o.jsonl")
    assert Path("out.jsonl").read_bytes().decode() == data.replace(PAID, paid).replace(HELD, held)


def test_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        "id,state,note,history",
        'a,paid,"two, or',
        'more","[""PAY""]"',
        'b,held,\'x\',"[""KEEP""]"',
        "",
        'c,shipped, spaced ,"[""PAY"",""SHIP""]"',
    ]
    Path("in.csv").write_text("\r\n".join(rows), newline="")
    assert apply("--max-strand", "all", actors="in.csv", out="out.csv") == 0
    text = Path("out.csv").read_bytes().decode()
    assert text.endswith('\r\nc,shipped, spaced ,"[""PAY"",""SHIP""]",,,,')
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(found[0]) == ["id", "state", "note", "history", "version", "context", "status", "rescue"]
    assert [r["state"] for r in found] == ["settled", "held", "shipped"]
    assert [r["version"] for r in found] == ["2", "1", ""]
    assert [r["status"] for r in found] == ["", "needs_rescue", ""]
    assert found[0]["note"] == "two, or\r\nmore"
    assert json.loads(found[0]["history"]) == ["PAY", MARKER]
    assert json.loads(found[0]["context"]) == {"currency": "EUR"}
    assert json.loads(found[1]["rescue"])["reason"] == "state_removed"
    report = preview("out.csv", capsys)
    assert (report["skipped"], report["wouldStrand"], report["unreadable"]) == (2, 1, 0)
    assert apply("--max-strand", "all", actors="out.csv", out="again.csv") == 0
    assert Path("again.csv").read_bytes() == Path("out.csv").read_bytes()


def test_csv_states_that_are_objects(folder: Path) -> None:
    regions = {"a": {"initial": "x", "states": {"x": {}}}, "b": {"initial": "y", "states": {"y": {}}}}
    states = {"cart": {}, "settled": {"type": "parallel", "states": regions}}
    (folder / "v2.json").write_text(json.dumps({**V2, "states": states, "migration": {}}))
    Path("in.csv").write_text("id,version,state\n1,1,paid\n")
    assert apply("--allow-hazards", actors="in.csv", out="out.csv") == 0
    assert Path("out.csv").read_text() == 'id,version,state\n1,2,"{""settled"":{""a"":""x"",""b"":""y""}}"\n'


def test_many_blocks(folder: Path) -> None:
    """Every layout comes to the same, far beyond what is read at once."""
    some = [json.loads(ALL[i % 4]) for i in range(6_000)]
    for i, record in enumerate(some):
        record |= {"id": f"a-{i}", "note": "é\n" * (i % 50), "text": "],{[" * (i % 7)}
    write("in.jsonl", *map(json.dumps, some))
    Path("in.json").write_text(json.dumps(some, indent=1, ensure_ascii=False), encoding="utf-8")
    with open("in.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "version", "state", "history", "note", "text"])
        for i, r in enumerate(some):
            table.writerow([r["id"], 1, r["state"], json.dumps(r["history"]), r["note"], r["text"]])
            if i % 100 == 0:
                file.write("\r\nbad,row\r\n")
    common = ["--max-strand", "all", "-q"]
    assert apply(*common) == 0
    assert apply(*common, actors="in.json", out="out.json") == 0
    assert apply(*common, "--keep-going", actors="in.csv", out="out.csv") == 3
    expected = [json.loads(line) for line in lines()]
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == expected
    with open("out.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["id"] != "bad"]
    for row, record in zip(rows, expected, strict=True):
        assert [row[k] for k in ("id", "state", "note", "text")] == [
            record[k] for k in ("id", "state", "note", "text")
        ]
        assert row["version"] == str(record["version"])
        assert json.loads(row["history"]) == record["history"]
        assert row["status"] == record.get("status", "")
        assert (json.loads(row["rescue"]) if row["rescue"] else None) == record.get("rescue")


# --- histories in a second file --------------------------------------------------------------------------


def test_a_history_file_comes_inline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        "in.jsonl",
        '{"id": 1, "state": "paid", "version": 1}',
        '{"id": 2, "state": "held", "version": 1}',
        '{"id": 3, "state": "cart", "version": 1}',
        '{"id": 4, "state": "shipped", "version": 1}',
    )
    Path("h.csv").write_text("actor,type,at\n1,PAY,2026-01-01\n2,KEEP,\n4,PAY,\n4,SHIP,\n")
    assert apply("--max-strand", "all", "--history", "h.csv") == 0
    found = [json.loads(x) for x in lines()]
    assert found[0]["history"] == [{"type": "PAY", "at": "2026-01-01"}, MARKER]
    assert found[1]["history"] == [{"type": "KEEP"}]
    assert "history" not in found[2]
    assert found[3]["history"] == [{"type": "PAY"}, {"type": "SHIP"}]
    assert "next: statekeep suggest v1.json v2.json --actors out.jsonl\n" in capsys.readouterr().out
    assert preview("out.jsonl", capsys)["skipped"] >= 2


def test_a_history_file_for_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.csv").write_text("id,state\n1,paid\n2,shipped\n")
    Path("h.csv").write_text("actor,type\n1,PAY\n2,PAY\n2,SHIP\n")
    assert apply("--history", "h.csv", actors="in.csv", out="out.csv") == 0
    found = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    assert [len(json.loads(r["history"])) for r in found] == [2, 2]
    assert preview("out.csv", capsys)["skipped"] == 2


# --- bad records -----------------------------------------------------------------------------------------


def test_unreadable_records_stop_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", PAID, '{"id": 2, "state": 5}')
    assert apply() == 1
    assert "in.jsonl:2:" in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["in.jsonl", "v1.json", "v2.json"]


@pytest.mark.parametrize("layout", ["lines", "array", "table"])
def test_keep_going_copies_them(folder: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = ['{"id": 7, "state": 5}', PAID.replace("mine", "other")]  # the second has an id that was used
    records = [PAID, *bad, '{"id": 8, "version": 1, "state": "paid", "history": ["PAY"]}']
    if layout == "lines":
        write("in", *records)
    elif layout == "array":
        Path("in").write_text("[" + ", ".join(records) + "]")
    else:
        Path("in").write_text(
            "id,version,state,history\n1,1,paid,[]\n7,1,\n1,1,paid,[]\n8,1,paid,[]\n".replace(
                "[]", '"[""PAY""]"'
            )
        )
    assert apply("--keep-going", "-q", actors="in", out="out") == 3
    assert "2 records could not be read, and are in out as they were" in capsys.readouterr().err
    text = Path("out").read_text()
    assert text.count("settled") == 4  # the marker says it, too
    if layout == "table":
        header, *rows = text.splitlines()
        assert header == "id,version,state,history,context"
        assert rows[1:3] == ["7,1,,", '1,1,paid,"[""PAY""]",']
    else:
        assert all(one in text for one in bad)


def test_own_histories_beside_a_history_file(folder: Path) -> None:
    write("in.jsonl", '{"id": 1, "state": "paid"}', PAID.replace("1", "2", 1), '{"id": 3, "state": "paid"}')
    write("h.jsonl", '{"actor": 1, "type": "PAY"}', '{"actor": 3, "type": "PAY"}')
    assert apply("--history", "h.jsonl", "--keep-going", "-q") == 3
    first, second, third = lines()
    assert second == PAID.replace("1", "2", 1)
    assert json.loads(first)["history"] == json.loads(third)["history"] == [{"type": "PAY"}, MARKER]


# --- the gate, and where it may write --------------------------------------------------------------------


def test_past_the_gate_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", *ALL)
    write("out.jsonl", "old")
    assert apply("--force") == 3
    captured = capsys.readouterr()
    assert "1 actor strands, and --max-strand allows 0; out.jsonl was not written" in captured.err
    assert "1  strand" in captured.out
    assert lines() == ["old"]
    assert apply("--force", "--max-strand", "1", "--format", "json") == 0
    assert len(lines()) == 6
    assert json.loads(capsys.readouterr().out)["wouldMigrate"] == 1
    assert sorted(p.name for p in folder.iterdir()) == ["in.jsonl", "out.jsonl", "v1.json", "v2.json"]


def test_hazards_close_the_gate(folder: Path) -> None:
    v2 = json.loads(json.dumps(V2))
    v2["states"]["settled"]["after"] = {"1000": "shipped"}
    (folder / "v2.json").write_text(json.dumps(v2))
    write("in.jsonl", PAID)
    assert apply() == 3
    assert not Path("out.jsonl").exists()
    assert apply("--allow-hazards") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--actors", "in.jsonl"], "give -o OUT"),
        (["-o", "out.jsonl"], "--actors FILE -o OUT"),
        (["--actors", "in.jsonl", "-o", "-"], "give -o OUT"),
        (["--actors", "in.jsonl", "-o", "in.jsonl", "--force"], "is an input of this run"),
        (["--actors", "in.jsonl", "-o", "./v1.json", "--force"], "is an input of this run"),
        (["--actors", "in.jsonl", "-o", "link.jsonl", "--force"], "is an input of this run"),
        (["--actors", "in.jsonl", "-o", "old.jsonl"], "give --force to overwrite it"),
        (["--actors", "in.jsonl", "-o", "."], "is no regular file"),
        (["--actors", "in.jsonl", "-o", "o", "--format", "json=o"], "a report would go as well"),
        (["--actors", "in.jsonl", "-o", "o", "--max-strand", "x"], "--max-strand"),
    ],
)
def test_usage(
    folder: Path,
    options: Sequence[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("in.jsonl", PAID)
    write("old.jsonl", "old")
    os.link("in.jsonl", "link.jsonl")
    for variable in ("STATEKEEP_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    assert main(["apply", "v1.json", "v2.json", *options]) == 2
    assert said in capsys.readouterr().err
    assert lines("in.jsonl") == [PAID]
    assert lines("old.jsonl") == ["old"]


def test_links_and_permissions(folder: Path) -> None:
    write("in.jsonl", PAID)
    write("real.jsonl", "old")
    os.chmod("real.jsonl", 0o640)
    os.symlink("real.jsonl", "out.jsonl")
    assert apply("--force") == 0
    assert Path("out.jsonl").is_symlink()
    assert Path("real.jsonl").stat().st_mode & 0o777 == 0o640
    assert "settled" in Path("real.jsonl").read_text()


def test_no_place_to_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("in.jsonl", PAID)
    assert apply(out="missing/out.jsonl") == 1
    assert "missing/out.jsonl: cannot be written (No such file or directory)" in capsys.readouterr().err
    assert apply(out="/proc/out.jsonl") == 1
    assert "/proc/out.jsonl: cannot be written" in capsys.readouterr().err


def statekeep(*arguments: str, before: str = "", **more: Any) -> subprocess.Popen[str]:
    """A process of its own; `before` is Python that runs in it first."""
    code = f"import sys; {before or 'pass'}; from statekeep_cli.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **more)


def test_a_full_disk(folder: Path) -> None:
    # A limit on the size of files says "File too large" where a full disk says "No space left on device".
    write("in.jsonl", *(PAID.replace("1", str(i + 1), 1) for i in range(20_000)))
    write("out.jsonl", "old")
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    limit += "; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
    arguments = ["apply", "v1.json", "v2.json", "--actors", "in.jsonl", "-o", "out.jsonl", "--force", "-q"]
    process = statekeep(*arguments, before=limit, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert error.startswith("error: out.jsonl: cannot be written (File too large), and is as it was; ")
    assert lines() == ["old"]
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_ended_while_writing(folder: Path, number: signal.Signals, code: int) -> None:
    write("in.jsonl", *(PAID.replace("1", str(i + 1), 1) for i in range(60_000)))
    write("out.jsonl", "old")
    arguments = ["apply", "v1.json", "v2.json", "--actors", "in.jsonl", "-o", "out.jsonl", "--force", "-q"]
    process = statekeep(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(p.stat().st_size for p in folder.glob(".out.jsonl.*.tmp")):
        time.sleep(0.001)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert lines() == ["old"]
    assert bool(list(folder.glob(".*.tmp"))) == (number == signal.SIGKILL)
    assert apply("--force", "-q") == 0  # what was left behind is in nobody's way
    assert len(lines()) == 60_000


def test_standard_input_and_pipes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("in.jsonl", *ALL)
    assert apply("--max-strand", "all") == 0
    arguments = ["apply", "v1.json", "v2.json", "--max-strand", "all", "-q"]
    with open("in.jsonl") as pipe:
        process = statekeep(
            *arguments, "--actors", "-", "-o", "2.jsonl", stdin=pipe, stdout=subprocess.DEVNULL
        )
        assert process.wait(timeout=60) == 0
    assert lines("2.jsonl") == lines()
    os.mkfifo("fifo.jsonl")
    process = statekeep(*arguments, "--actors", "fifo.jsonl", "-o", "3.jsonl", stdout=subprocess.DEVNULL)
    with open("fifo.jsonl", "w") as fifo:
        fifo.write(Path("in.jsonl").read_text())
    assert process.wait(timeout=60) == 0
    assert lines("3.jsonl") == lines()
    with open("v1.json") as pipe:  # complaints name the input, not where it was kept
        process = statekeep(*arguments, "--actors", "-", "-o", "4.jsonl", stdin=pipe, stderr=subprocess.PIPE)
        assert "<stdin>:1:" in process.communicate(timeout=60)[1]
    assert not Path("4.jsonl").exists()


def test_an_input_that_changes_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write("in.jsonl", PAID)
    refusals = Gate.refusals

    def meanwhile(gate: Gate, report: Any) -> list[str]:
        write("in.jsonl", PAID, PAID.replace("1", "2", 1))
        return refusals(gate, report)

    monkeypatch.setattr(Gate, "refusals", meanwhile)
    assert apply() == 1
    assert "in.jsonl changed while it was read, so nothing was written" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()


# --- preview and apply are one ---------------------------------------------------------------------------

EXAMPLES = [
    ("01-pull-request", ["pull-request-v1.yaml", "pull-request-v2-unmapped.yaml"], "actors.jsonl", []),
    ("01-pull-request", ["pull-request-v1.yaml", "pull-request-v2.yaml"], "actors.jsonl", []),
    ("02-broken-deployment", ["build-v1.yaml", "build-v2.yaml"], "build.jsonl", []),
    ("02-broken-deployment", ["issue-v1.yaml", "issue-v2.yaml"], "issue.jsonl", []),
    ("02-broken-deployment", ["session-v1.json", "session-v2.json"], "session.jsonl", []),
    ("03-loan-history", ["loan-v1.yaml", "loan-v2.yaml"], "actors.jsonl", []),
    ("03-loan-history", ["loan-v1.yaml", "loan-v2.yaml"], "actors.jsonl", ["--migration", "migration.yaml"]),
    ("04-loan-context", ["loan-v1.yaml", "loan-v2.yaml"], "actors.jsonl", []),
]


def agrees(
    folder: Path, definitions: Sequence[str], actors: str, options: Sequence[str], capsys: Any, out: Path
) -> None:
    """Preview's decision of every actor is what apply did to its record, and once more changes nothing."""
    paths = [str(folder / d) for d in definitions]
    extra = [str(folder / o) if not o.startswith("--") else o for o in options]
    loose = ["--max-strand", "all", "--allow-hazards", "-q"]
    where = ["--actors", str(folder / actors)]
    capsys.readouterr()
    assert main(["preview", *paths, *where, *extra, *loose, "--format", "jsonl"]) == 0
    decisions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["apply", *paths, *where, *extra, *loose, "-o", str(out)]) == 0
    data = (folder / actors).read_bytes()
    before = (gzip.decompress(data) if actors.endswith(".gz") else data).decode().splitlines()
    after = lines(str(out))
    assert len(decisions) == len(before) == len(after)
    for decision, old, new in zip(decisions, before, after, strict=True):
        record, was = json.loads(new), json.loads(old)
        assert str(record["id"]) == decision["actor"]
        if decision["outcome"] == "migrate":
            assert record["version"] == decision["to"]["version"]
            assert record.get("state", record.get("snapshot", {}).get("value")) == decision["to"]["state"]
            assert was.get("history") is None or len(record["history"]) == len(was["history"]) + 1
        elif decision["outcome"] == "strand":
            assert record["rescue"]["reason"] == decision["reason"]
            tagged = {"rescue": 0, "status": 0, "version": 0}
            assert {**record, **tagged} == {**was, **tagged}
        elif decision["outcome"] == "skip":
            assert new == old
    again = out.with_name("again" + out.name)
    assert main(["apply", *paths, "--actors", str(out), *extra, *loose, "-o", str(again)]) == 0
    assert lines(str(again)) == after


@pytest.mark.parametrize(("example", "definitions", "actors", "options"), EXAMPLES)
def test_examples(
    example: str,
    definitions: list[str],
    actors: str,
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agrees(ROOT / "examples" / example, definitions, actors, options, capsys, tmp_path / "out.jsonl")


@pytest.mark.parametrize("target", ["v2.json", "v3.json"])
def test_the_real_log(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared("logs", "bpic2012")
    agrees(folder, ["v1.json", target], "actors.jsonl.gz", [], capsys, tmp_path / "out.jsonl.gz")


def test_processes_do_not_matter(folder: Path) -> None:
    write("in.jsonl", *ALL)
    assert apply("--max-strand", "all", "-q") == 0
    assert apply("--max-strand", "all", "-q", "--jobs", "2", out="2.jsonl") == 0
    assert lines("2.jsonl") == lines()


records = st.fixed_dictionaries(
    {"state": st.sampled_from(["cart", "paid", "held", "shipped", "nowhere"])},
    optional={
        "version": st.sampled_from([1, 2, "1", 9]),
        "status": st.sampled_from(["active", "needs_rescue", "done"]),
        "history": st.none() | st.lists(st.sampled_from(["PAY", "KEEP", "SHIP", "VIP"]), max_size=3),
        "context": st.dictionaries(st.sampled_from(["note", "memo", "n"]), st.integers() | st.text()),
        "rescue": st.just({"reason": "old"}),
        "mine": st.text() | st.floats(allow_nan=False, allow_infinity=False),
    },
)


@settings(deadline=None, max_examples=60)
@given(st.lists(records, min_size=1, max_size=6), st.sampled_from([None, 1]))
def test_what_was_not_concerned_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, some: list[dict[str, Any]], indent: int | None
) -> None:
    folder = tmp_path_factory.mktemp("law")
    v1 = json.loads(json.dumps(V1))
    v1["states"]["cart"]["on"]["VIP"] = {"actions": "greet"}
    (folder / "v1.json").write_text(json.dumps(v1))
    (folder / "v2.json").write_text(json.dumps(V2))
    before = [{"id": i, **one} for i, one in enumerate(some)]
    (folder / "in.json").write_text(json.dumps(before, indent=indent))
    command = ["apply", *(str(folder / x) for x in ("v1.json", "v2.json")), "--max-strand", "all", "-q"]
    command += ["--format", f"json={folder / 'report.json'}", "--force", "--allow-hazards"]
    for source, out in (("in.json", "out.json"), ("out.json", "again.json")):
        assert main([*command, "--actors", str(folder / source), "-o", str(folder / out)]) == 0
    assert (folder / "out.json").read_text() == (folder / "again.json").read_text()
    after = json.loads((folder / "out.json").read_text())
    for old, new in zip(before, after, strict=True):
        assert [k for k in new if k in old] == [k for k in old if k in new]
        assert {k: old.get(k) for k in ("id", "mine")} == {k: new.get(k) for k in ("id", "mine")}
        assert set(old) - set(new) <= {"rescue"}
        if new.get("status") == "needs_rescue" and old.get("status") != "done":
            assert (new["state"], new.get("history")) == (old["state"], old.get("history"))
