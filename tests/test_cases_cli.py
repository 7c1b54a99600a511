"""The same worked decisions through the command line: files in, JSON Lines out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.cli import main
from statekeep_cli.core.model import canonical
from tests.support import shared
from tests.test_cases import FILES, OWN_NOTICES

# What `check` refuses before any actor is read, and the code it does so with; the library decides these.
REFUSED = {
    "eligible: not for a version the block does not speak for": "SK046",
    "context: the schema holds for every version, the edits do not": "SK046",
    "route: the first match wins": "SK045",
    "stuck: a target that never settles": "SK031",
}


def run(case: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    paths = []
    for i, definition in enumerate([*case["sources"], case["target"]]):
        path = folder / f"d{i}.json"
        path.write_text(json.dumps(definition))
        paths.append(str(path))
    actors = folder / "actors.jsonl"
    actors.write_text(json.dumps(case["actor"]) + "\n")
    code = main(
        [
            "preview",
            *paths,
            "--actors",
            str(actors),
            "--format",
            "jsonl",
            "--max-strand",
            "all",
            "--allow-hazards",
            "-q",
        ]
    )
    out, err = capsys.readouterr()
    return code, out, err


def assert_line(line: dict[str, Any], case: dict[str, Any]) -> None:
    expect = case["expect"]
    assert line["outcome"] == expect["outcome"], (line, case["why"])
    if "reason" in expect:
        assert line["reason"] == expect["reason"], (line, case["why"])
    if "rule" in expect and line["outcome"] == "migrate":
        assert line["rule"].split(" ")[0] == expect["rule"], (line, case["why"])
    if "state" in expect:
        assert line["to"]["state"] == expect["state"], case["why"]
    if "landings" in expect:
        found = {canonical(x["state"]) for x in line["landings"]}
        assert found == {canonical(x) for x in expect["landings"]}, case["why"]
    if "hazards" in expect:
        hazards = {(h["hazard"], h["state"]) for h in line["hazards"] if h["hazard"] not in OWN_NOTICES}
        assert hazards == {tuple(h) for h in expect["hazards"]}, case["why"]


def check_all(cases: list[dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, case in enumerate(cases):
        place = folder / str(i)
        place.mkdir()
        code, out, err = run(case, place, capsys)
        refused = REFUSED.get(case["name"])
        if refused:
            assert (code, out) == (1, ""), case["name"]
            assert refused in err
            continue
        assert code == 0, (case["name"], err)
        lines = [json.loads(x) for x in out.splitlines()]
        assert len(lines) == 1
        assert_line(lines[0], case)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_our_cases(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_all(json.loads(file.read_text()), tmp_path, capsys)


def test_shared_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_all(json.loads(shared("cases", "decisions.json").read_text()), tmp_path, capsys)
