"""The real loan log (../shared/logs/bpic2012): every count the naive reference came to."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from statekeep_cli.cli import main
from tests.support import shared


def preview(target: str, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    folder = shared("logs", "bpic2012")
    files = [str(folder / "v1.json"), str(folder / target), "--actors", str(folder / "actors.jsonl.gz")]
    code = main(["preview", *files, "--format", "json", "-q", *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_new_check_strands_all_who_owe_it(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads(shared("logs", "bpic2012", "expected-v1-to-v2.json").read_text())
    code, report = preview("v2.json", capsys, "--jobs", jobs)
    assert code == 3
    counts = (report["wouldMigrate"], report["wouldStrand"], report["wouldStay"], report["skipped"])
    assert counts == (7_860, 2_109, 0, 3_118)
    found: Counter[tuple[str, str, str]] = Counter()
    for g in report["groups"]:
        why = {"migrate": g["rule"], "strand": g["reason"]}.get(g["outcome"], "")
        found[(g["outcome"], why, json.dumps(g["from"]["state"], sort_keys=True))] += g["count"]
    assert found == Counter(
        {
            (e["outcome"], e["reason_or_rule"], json.dumps(e["state"], sort_keys=True)): e["count"]
            for e in expected
        }
    )


def test_with_routing_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    _, report = preview("v3.json", capsys)
    counts = (report["wouldMigrate"], report["wouldStrand"], report["wouldStay"], report["skipped"])
    assert counts == (8_959, 596, 414, 3_118)


def test_gates(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview("v2.json", capsys, "--max-strand", "2109")[0] == 0
    assert preview("v2.json", capsys, "--max-strand", "2108")[0] == 3
    assert preview("v2.json", capsys, "--max-strand", "22%")[0] == 0  # of 9,969 that are routed
    assert preview("v2.json", capsys, "--max-strand", "21%")[0] == 3
    assert preview("v2.json", capsys, "--max-strand", "all", "--detailed-exitcode")[0] == 4
