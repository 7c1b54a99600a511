"""Findings stand at the part of a definition that causes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.commands.locating import from_root, located
from statekeep_cli.commands.options import references
from statekeep_cli.core.causes import TARGET, at, causes, paths_of
from statekeep_cli.core.report import Report
from statekeep_cli.deciding import Task, decide_all
from statekeep_cli.errors import Problem
from statekeep_cli.readers.definitions import Definitions, read_definitions
from tests.support import ROOT

V1 = """\
id: order
version: 1
initial: draft
states:
  draft: {on: {SEND: sent, HOLD: held}}
  sent:
    on:
      PAY: paid
      BACK: draft
  held: {on: {SEND: sent}}
  paid: {on: {SHIP: shipped, RETURN: returned}}
  returned: {on: {SHIP: shipped}}
  shipped: {type: final}
"""


@dataclass(frozen=True)
class Run:
    known: Definitions
    report: Report

    def places(self, files: tuple[Any, ...] | None = None) -> dict[str, Problem]:
        """By reason or hazard."""
        known = self.known
        sources = tuple(s.definition for s in known.sources)
        given = (*known.sources, known.target) if files is None else files
        found = located(self.report, sources, known.target.definition, given)
        keys = {g.reason: g.key for g in self.report.groups if g.outcome == "strand"}
        keys |= {h.hazard: h for h, _ in self.report.findings()}  # type: ignore[dict-item]
        return {name: found[key] for name, key in keys.items()}


def preview(
    folder: Path, v2: str, *records: dict[str, Any], v1: str = V1, migration: str | None = None
) -> Run:
    (folder / "v1.yaml").write_text(v1)
    (folder / "v2.yaml").write_text(v2)
    side = None
    if migration is not None:
        (folder / "side.yaml").write_text(migration)
        side = str(folder / "side.yaml")
    actors = folder / "actors.jsonl"
    actors.write_text("".join(json.dumps({"id": str(i), **r}) + "\n" for i, r in enumerate(records)))
    known = read_definitions([str(folder / "v1.yaml")], str(folder / "v2.yaml"), side)
    task = Task(
        tuple(s.definition for s in known.sources), known.target.definition, str(actors), None, False, False
    )
    decided = decide_all(task)
    return Run(known, decided.tally.report(references(known)))


def line(place: Problem) -> tuple[str, str]:
    """The file, and what of its line is marked."""
    return Path(place.path).name, place.text[place.column - 1 : place.end_column - 1]


PAID = {"state": "paid", "history": ["SEND", "PAY"]}
SENT = {"state": "sent", "history": ["SEND"]}
RETURNED = {"state": "returned", "history": ["SEND", "PAY", "RETURN"]}
HELD = {"state": "held", "history": ["HOLD"]}


def test_a_removed_state_is_its_key_in_the_source(tmp_path: Path) -> None:
    v2 = V1.replace("version: 1", "version: 2").replace(", HOLD: held", "")
    v2 = v2.replace("  held: {on: {SEND: sent}}\n", "")
    made = preview(tmp_path, v2, HELD)
    place = made.places()["state_removed"]
    assert (*line(place), place.line) == ("v1.yaml", "held", 10)
    # Where the source is no file of the checkout, the target's part that leads there no more.
    place = made.places((made.known.target,))["state_removed"]
    assert (*line(place), place.line) == ("v2.yaml", "on", 5)


@pytest.mark.parametrize(
    ("old", "new", "actor", "reason", "marked"),
    [
        ("SEND: sent, ", "SEND: checked, ", SENT, "diverged", "checked"),
        ("      PAY: paid\n", "      PAY: checked\n", PAID, "diverged", "checked"),
        ("      PAY: paid\n", "", PAID, "event_refused", "on"),
        ("      PAY: paid\n", "", RETURNED, "event_refused", "on"),
        ("      PAY: paid\n", "      PAY: [{target: checked, guard: g}, paid]\n", PAID, "ambiguous", None),
        ("initial: draft", "initial: held", SENT, None, "held"),
    ],
)  # fmt: skip
def test_a_transition_that_leads_elsewhere(
    tmp_path: Path, old: str, new: str, actor: dict[str, Any], reason: str | None, marked: str | None
) -> None:
    v2 = V1.replace("version: 1", "version: 2").replace(old, new) + "  checked: {on: {PAY: paid, OK: sent}}\n"
    places = preview(tmp_path, v2, actor).places()
    if reason is None:
        return
    place = places[reason]
    assert place.path.endswith("v2.yaml")
    if marked is not None:
        assert line(place)[1] == marked
    else:
        assert "checked" in place.text


def test_initial_states_timers_and_invokes(tmp_path: Path) -> None:
    v1 = """\
id: job
version: 1
initial: run
states:
  run:
    initial: fast
    invoke: {src: work, onDone: done}
    after: {1000: late}
    states: {fast: {}, slow: {}}
  late: {}
  done: {}
  other: {}
"""
    v2 = v1.replace("version: 1", "version: 2")
    cases = (
        ("initial: fast", "initial: slow", {"state": {"run": "fast"}, "history": []}, "slow"),
        (
            "onDone: done",
            "onDone: other",
            {"state": "done", "history": ["xstate.done.actor.0.job.run"]},
            "other",
        ),
        ("1000: late", "1000: other", {"state": "late", "history": ["xstate.after.1000.job.run"]}, "other"),
    )
    for old, new, actor, marked in cases:
        places = preview(tmp_path, v2.replace(old, new), actor, v1=v1).places()
        assert [line(p) for p in places.values()] == [("v2.yaml", marked)]


def test_regions_and_kinds(tmp_path: Path) -> None:
    v1 = """\
id: job
version: 1
type: parallel
states:
  a: {initial: x, states: {x: {}, y: {}}}
  b: {initial: x, states: {x: {}}}
"""
    actor = {"state": {"a": "x", "b": "x"}, "history": []}
    added = v1.replace("version: 1", "version: 2") + "  c: {initial: x, states: {x: {}}}\n"
    assert line(preview(tmp_path, added, actor, v1=v1).places()["region_added"]) == ("v2.yaml", "c")
    removed = v1.replace("version: 1", "version: 2").replace("  b: {initial: x, states: {x: {}}}\n", "")
    assert line(preview(tmp_path, removed, actor, v1=v1).places()["region_removed"]) == ("v1.yaml", "b")
    kind = v1.replace("version: 1", "version: 2").replace(
        "{x: {}, y: {}}", "{x: {initial: p, states: {p: {}}}, y: {}}"
    )
    place = preview(tmp_path, kind, actor, v1=v1).places()["kind_changed"]
    assert (*line(place), place.line) == ("v2.yaml", "x", 5)


def test_routing_metadata(tmp_path: Path) -> None:
    v2 = V1.replace("version: 1", "version: 2")
    block = """\
stateMapping: {held: pair}
migration:
  anchors: {asked: {event: ASK}}
  obligations: {paid: [asked]}
  routes:
    - {from: sent, strand: somebody looks at these}
"""
    pair = "  pair: {initial: a, states: {a: {}, b: {}}}\n"
    made = preview(tmp_path, v2 + pair + block, SENT, PAID, HELD)
    places = made.places()
    assert line(places["declared"])[1].startswith("{from: sent, strand:")
    assert line(places["obligation_unmet"]) == ("v2.yaml", "paid")
    # The same in a side file is pointed at there.
    made = preview(tmp_path, v2 + pair, SENT, PAID, HELD, migration=block)
    places = made.places()
    assert line(places["declared"])[0] == line(places["obligation_unmet"])[0] == "side.yaml"
    for name in set(places) - {"declared", "obligation_unmet"}:
        assert Path(places[name].path).name in ("v2.yaml", "side.yaml")


def test_a_mapping_entry(tmp_path: Path) -> None:
    """The entry that was used, also behind one whose name begins alike, and in either spelling."""
    v1 = V1.replace(
        "paid: {on: {SHIP: shipped, RETURN: returned}}",
        "paid: {initial: a, states: {a: {on: {SHIP: b}}, b: {}}}",
    )
    v2 = (
        v1.replace("version: 1", "version: 2")
        .replace("  paid: ", "  settled: ")
        .replace("PAY: paid", "PAY: settled")
    )
    v2 = v2.replace("{a: {on: {SHIP: b}}, b: {}}", "{c: {}}").replace("initial: a", "initial: c")
    block = "stateMapping:\n  sent: sent\n  paid: settled\n"
    nested = "migration:\n" + "".join(f"  {x}\n" for x in block.splitlines())
    actor = {"state": {"paid": "a"}, "history": ["SEND", "PAY"]}
    for text in (block, nested):
        place = preview(tmp_path, v2 + text, actor, v1=v1).places()["substate_unmapped"]
        assert line(place) == ("v2.yaml", "paid")
        assert "paid: settled" in place.text


def test_hazards(tmp_path: Path) -> None:
    v2 = V1.replace("version: 1", "version: 2").replace(
        "  held: {on: {SEND: sent}}\n",
        "  held: {on: {SEND: sent}, after: {5000: draft}, invoke: {src: w, onDone: sent}}\n",
    )
    places = preview(tmp_path, v2, HELD).places()
    assert line(places["timer_not_armed"]) == ("v2.yaml", "5000")
    assert line(places["invoke_not_started"]) == ("v2.yaml", "invoke")
    gate = V1.replace("version: 1", "version: 2").replace("PAY: paid", "PAY: checked")
    gate += "  checked: {on: {OK: paid}}\nstateMapping:\n  paid: paid\n"
    assert line(preview(tmp_path, gate, PAID).places()["gate_skipped"]) == ("v2.yaml", "paid")


def test_every_finding_has_a_place(tmp_path: Path) -> None:
    """Also where nothing of it can be found: the target's root."""
    wrong = [
        {"state": "nowhere"},
        {"state": {"a": "b"}},
        {"state": "sent", "version": 9},
        {"state": "paid", "history": ["X"]},
    ]
    made = preview(tmp_path, V1.replace("version: 1", "version: 2"), *wrong)
    known = made.known
    found = causes([s.definition for s in known.sources], known.target.definition, made.report)
    strands = [g for g in made.report.groups if g.outcome == "strand"]
    assert len(strands) == len(wrong)
    for g in strands:
        assert found[g.key][-1] == found[TARGET][-1]
    assert all(p.line >= 1 for p in made.places().values())


def test_pointers_as_they_are_written() -> None:
    config = {"on": {"A": "x", "B": ["y", "z"]}, "invoke": {"onDone": "x"}}
    assert at(config, ("on", "A", 0)) == ("on", "A")
    assert at(config, ("on", "B", 1)) == ("on", "B", 1)
    assert at(config, ("invoke", 0, "onDone", 0)) == ("invoke", "onDone")
    for nowhere in (("on", "C"), ("on", "B", 2), ("on", "A", 1), ("invoke", 1), ("on", "A", 0, "x")):
        assert at(config, nowhere) is None


@pytest.mark.parametrize(
    "odd", [5, None, [1], {}, {"a": 5}, {"": {"": {}}}, "a.b", {"a": {"b": "c"}, "d": {}}]
)
def test_paths_of_whatever_a_record_holds(odd: Any) -> None:
    assert all(isinstance(key, str) for path in paths_of(odd) for key in path)


def test_paths_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.yaml").write_text("")
    monkeypatch.chdir(tmp_path / "a")
    assert from_root("x.yaml", {}) == "x.yaml"
    assert from_root("x.yaml", {"GITHUB_WORKSPACE": str(tmp_path)}) == "a/x.yaml"
    assert from_root("../a/x.yaml", {"CI_PROJECT_DIR": "/elsewhere"}) == "x.yaml"
    assert from_root(str(ROOT / "README.md"), {}) == str(ROOT / "README.md")
    for other in ("-", "", "origin/main:loan.yaml", "postgresql://host/db"):
        assert from_root(other, {"GITHUB_WORKSPACE": str(tmp_path)}) == other
