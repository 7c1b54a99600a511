"""Stepping against recorded XState behaviour: every value after every event, and the end."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from statekeep_cli.core.configuration import is_done, state_value
from statekeep_cli.core.model import Guard, build
from statekeep_cli.core.outcomes import initial_outcomes, outcomes
from statekeep_cli.core.semantics import initial_state, macrostep
from tests.support import shared

FILES = {"xstate-5.33.3-random.jsonl.gz": 1_450, "xstate-5.33.3-timers-invokes.jsonl.gz": 327}


def vectors(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(shared("vectors", name), "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_step(name: str) -> None:
    count = 0
    for vector in vectors(name):
        count += 1
        d = build(vector["machine"])
        guards = {Guard(g): value for g, value in vector["guards"].items()}
        state = initial_state(d, guards.__getitem__)
        assert initial_outcomes(d, guards)[0][0].state == state
        values = [state_value(d, state.configuration)]
        for event in vector["events"]:
            found = outcomes(d, state, event, guards)[0]
            state, taken = macrostep(d, state, event, guards.__getitem__)
            assert [(o.state, o.taken) for o in found] == [(state, taken)], (count, event)
            values.append(state_value(d, state.configuration))
        assert values == vector["values"], count
        assert is_done(d, state.configuration) == (vector["status"] == "done"), count
        remembered = {d.nodes[h].id: {n.id for n in d.nodes_in(nodes)} for h, nodes in state.history}
        recorded = {
            h: {n["id"] for n in nodes} for h, nodes in vector["snapshot"].get("historyValue", {}).items()
        }
        assert remembered == recorded, count
    assert count == FILES[name]
