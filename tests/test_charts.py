"""What a report's pictures are drawn from."""

from __future__ import annotations

from typing import Any

from statekeep_cli.core.charts import Box, Chart, charts
from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.model import build
from statekeep_cli.core.report import Tally

BEFORE = {
    "id": "m",
    "version": 1,
    "initial": "a",
    "states": {
        "a": {"on": {"GO": "b", "STOP": {"target": "gone", "guard": "late"}}},
        "b": {"initial": "x", "states": {"x": {"on": {"IN": "y"}}, "y": {}}, "on": {"BACK": "a"}},
        "gone": {"on": {"GO": "b"}},
    },
}
AFTER = {
    "id": "m",
    "version": 2,
    "initial": "a",
    "states": {
        "a": {"on": {"GO": "new", "STOP": {"target": "b", "guard": "late"}}},
        "new": {"on": {"OK": "b"}},
        "b": {"initial": "y", "states": {"x": {"on": {"IN": "y"}}, "y": {}}},
    },
}


def place(version: int, state: str) -> Place:
    return Place("m", version, state)


def drawn() -> tuple[Chart, Chart, Any]:
    tally = Tally()
    inside = '{"b":"x"}'
    tally.add(Decision("migrate", rule="replay", source=place(1, '"a"'), target=place(2, '"a"')), 5, [])
    tally.add(Decision("migrate", rule="mapping b", source=place(1, inside), target=place(2, inside)), 3, [])
    tally.add(Decision("strand", "state_removed", source=place(1, '"gone"')), 2, [])
    tally.add(Decision("strand", "version_unknown", source=place(9, '"gone"')), 1, [])
    tally.add(Decision("skip", "done", source=place(1, '{"b":"y"}')), 7, [])
    tally.add(Decision("stay", "not_eligible", source=place(1, inside)), 4, [])
    (pair,) = charts([build(BEFORE)], build(AFTER), tally.report(()))
    return pair.before, pair.after, pair


def box(chart: Chart, name: str) -> Box:
    return next(b for b in chart.boxes if b.name == name)


def test_counts() -> None:
    """Everyone is counted in every state that is active; who is done, and who strands, beside."""
    before, after, pair = drawn()
    assert {b.name: (b.count, b.stranded, b.idle) for b in before.boxes} == {
        "": (14, 2, 7), "a": (5, 0, 0), "b": (7, 0, 7), "b.x": (7, 0, 0), "b.y": (0, 0, 7), "gone": (2, 2, 0),
    }  # fmt: skip
    assert {b.name: b.count for b in after.boxes} == {"": 8, "a": 5, "new": 0, "b": 3, "b.x": 3, "b.y": 0}
    assert sum(f.count for f in pair.flows) == 15  # who is done goes nowhere; all others do


def test_marks() -> None:
    """Every change stands at the state or transition that has it."""
    before, after, _ = drawn()
    assert {b.name: b.mark for b in before.boxes if b.mark} == {"gone": "removed", "b": "changed"}
    assert {b.name: b.mark for b in after.boxes if b.mark} == {"new": "added", "b": "changed"}
    assert box(before, "b").notes == ("will start in b.y",)
    assert box(after, "b").notes == ("started in b.x",)
    assert [(a.event, a.guard, a.mark, a.note) for a in box(before, "a").arrows] == [
        ("GO", "", "changed", "becomes new"), ("STOP", "late", "changed", "becomes b"),
    ]  # fmt: skip
    assert [(a.event, a.mark) for a in box(before, "b").arrows] == [("BACK", "removed")]
    assert [(a.event, a.mark) for a in box(before, "b.x").arrows] == [("IN", "")]
    assert [(a.event, a.mark, a.note) for a in box(after, "a").arrows] == [
        ("GO", "changed", "was b"), ("STOP", "changed", "was gone"),
    ]  # fmt: skip
    assert [(a.event, a.mark) for a in box(after, "new").arrows] == [("OK", "added")]


def test_renamed_state_is_one_state() -> None:
    renamed = {
        **AFTER,
        "states": {k.replace("new", "gone2"): v for k, v in BEFORE["states"].items()},  # type: ignore[attr-defined]
        "stateMapping": {"gone": "left"},
    }
    renamed["states"]["left"] = renamed["states"].pop("gone")
    renamed["states"]["a"] = {"on": {"GO": "b", "STOP": {"target": "left", "guard": "late"}}}
    (pair,) = charts([build(BEFORE)], build(renamed), Tally().report(()))
    assert box(pair.before, "gone").mark == "changed"
    assert box(pair.before, "gone").notes == ("renamed to left",)
    assert box(pair.after, "left").notes == ("was gone",)
    assert not any(a.mark for b in (*pair.before.boxes, *pair.after.boxes) for a in b.arrows)
