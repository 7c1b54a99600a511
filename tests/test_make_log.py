"""The generator of benchmark logs: the same seed, the same bytes; every actor is where its trace leads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import make_log
from statekeep_cli.core import configuration as conf
from statekeep_cli.core import semantics
from statekeep_cli.core.model import build


@pytest.mark.parametrize("profile", make_log.PROFILES)
def test_made_logs_are_deterministic_and_true(tmp_path: Path, profile: str) -> None:
    path = make_log.write_log(tmp_path / "a", 300, profile, seed=7)
    again = make_log.write_log(tmp_path / "b", 300, profile, seed=7)
    assert path.read_bytes() == again.read_bytes()
    assert path.read_bytes() != make_log.write_log(tmp_path / "c", 300, profile, seed=8).read_bytes()
    source = build(json.loads((tmp_path / "a" / "v1.json").read_text()))
    build(json.loads((tmp_path / "a" / "v2.json").read_text()))
    traces = set()
    events = 0
    for line in path.read_text().splitlines():
        record = json.loads(line)
        state = semantics.initial_state(source, lambda guard: True)
        for item in record["history"]:
            state, taken = semantics.macrostep(source, state, item["type"], lambda guard: True)
            assert taken
            if profile == "recorded":
                assert item["state"] == conf.state_value(source, state.configuration)
        assert record["state"] == conf.state_value(source, state.configuration)
        assert (record["status"] == "done") == conf.is_done(source, state.configuration)
        traces.add(tuple(item["type"] for item in record["history"]))
        events += len(record["history"])
    assert 7 < events / 300 < 9
    assert len(path.read_bytes()) / 300 < 800
    if profile == "interleaved":
        assert len(traces) > 270
