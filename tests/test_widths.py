"""Tables at 60, 80 and 140 columns, with long ids and states: no line is wider but those to be copied."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli import cli
from statekeep_cli.render.terminal import cells
from tests.databases import Database
from tests.test_rescue import Capture, definition, written

LONG = "waiting_for_the_second_signature_of_the_regional_manager_in_charge"
ID = "customer-4711/contract-2026-000000000017/revision-0000003/of-the-northern-region-and-its-subsidiaries"
WIDE = "審査待ちの状態" * 6
GO = "the.regional.manager.has.signed.the.contract.and.sent.it.back"
# Lines that are there to be copied: commands, and YAML to be pasted.
COPIED = re.compile(r"next: statekeep |  \"?[^\s:]+: \S")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Two definitions with long names, and actors with longer ones."""
    folder = tmp_path_factory.mktemp("wide")
    parallel = {
        "type": "parallel",
        "states": {
            name: {"initial": f"{name}_{LONG}", "states": {f"{name}_{LONG}": {}}} for name in ("one", "two")
        },
    }
    states: dict[str, Any] = {
        "start": {"on": {GO: LONG, "WIDE": WIDE, "P": "both"}}, LONG: {"on": {"END": "end"}}, WIDE: {},
        "both": parallel, "end": {"type": "final"},
    }  # fmt: skip
    other = {**states, "start": {"on": {GO: f"{LONG}_now", "WIDE": f"{WIDE}二", "P": "both"}}}
    other |= {f"{LONG}_now": {"on": {"END": "end"}}, f"{WIDE}二": {}}
    del other[LONG], other[WIDE]
    both = {name: f"{name}_{LONG}" for name in ("one", "two")}
    actors: list[dict[str, Any]] = [
        {"id": ID, "state": LONG, "history": [GO]}, {"id": WIDE, "state": WIDE, "history": ["WIDE"]},
        {"id": "s", "state": "start", "history": []},
        {"id": f"{ID}-2", "state": {"both": both}, "history": ["P"]},
    ]  # fmt: skip
    export = folder / "actors.jsonl"
    export.write_text("".join(json.dumps({"definition": "d", "version": 1, **a}) + "\n" for a in actors))
    return (
        written(folder, "v1.yaml", definition(1, states)),
        written(folder, "v2.yaml", definition(2, other)),
        str(export),
    )


@pytest.fixture
def wide(
    files: tuple[str, str, str], database: Database, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A database in which they stranded; the options that name it."""
    monkeypatch.setenv("STATEKEEP_DATABASE_URL", database.url)
    first, second, export = files
    assert cli.main(["db", "init"]) == 0
    assert cli.main(["db", "import", first, "--actors", export]) == 0
    assert cli.main(["apply", second, "--yes", "--max-strand", "all", "--allow-hazards"]) == 0
    there = ["--to", f"{LONG}_now", "--reason", f"seen by {LONG} {WIDE}"]
    assert cli.main(["rescue", "resolve", ID, *there, "--yes"]) == 0
    capsys.readouterr()
    return []


def commands(files: tuple[str, str, str]) -> list[tuple[list[str], int]]:
    first, second, export = files
    return [
        (["status"], 0), (["status", "1"], 0), (["status", "2"], 0),
        (["rescue", "list"], 0), (["rescue", "list", "--actors"], 0), (["rescue", "show", WIDE], 0),
        (["log", ID], 0), (["log", WIDE], 0),
        (["preview", first, second, "--actors", export], 3), (["preview", second], 3),
        (["explain", first, second, "--actors", export, "--id", ID], 0),
        (["diff", first, second], 0), (["check", first, second], 0), (["check", "--db", "x"], 0),
        (["suggest", first, second, "--actors", export], 0),
        (["revert", "1", "--dry-run"], 0),
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_no_line_is_wider(
    columns: int,
    wide: list[str],
    files: tuple[str, str, str],
    database: Database,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(Path(files[0]).parent)
    too_wide, lengths = [], []
    for words, _ in commands(files):
        arguments = [database.url if w == "x" else w for w in words]
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        assert code in (0, 3), (words, err)
        assert out, words
        assert "\x1b" not in out
        for line in out.splitlines():
            lengths.append(cells(line))
            if cells(line) > columns and not COPIED.match(line):
                too_wide.append((words[:2], line))
        # Nothing is cut: what is long is folded.
        if words[0] in ("rescue", "log", "explain") and ID in words:
            assert ID in re.sub(r"\s", "", out), words
    assert too_wide == []
    # It widens with the terminal.
    assert max(n for n in lengths) >= columns - 12
