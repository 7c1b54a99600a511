"""`diff`: verdicts per source state with their examples, and what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from statekeep_cli.cli import main
from statekeep_cli.core import replay
from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.changes import KINDS, Change, changes
from statekeep_cli.core.diff import Diff, SourceDiff, StateVerdict, diff
from statekeep_cli.core.model import build
from statekeep_cli.core.record import Intake, Opened
from statekeep_cli.core.replay import Event
from statekeep_cli.core.report import DefinitionRef
from statekeep_cli.core.router import Router
from statekeep_cli.render import diff as render
from tests import strategies
from tests.support import actor_of

Config = dict[str, Any]


def on(**transitions: Any) -> Config:
    return {"on": transitions}


def machine(version: int, states: Config, **more: Any) -> Config:
    return {"id": "m", "version": version, "initial": next(iter(states)), "states": states, **more}


PR: Config = {
    "open": on(REQUEST="awaiting"),
    "awaiting": on(START="review"),
    "review": on(APPROVE="approved", REJECT="open"),
    "approved": on(MERGE="merged", PUSH="awaiting"),
    "merged": {"type": "final"},
}
GATED: Config = {**PR, "review": on(APPROVE="security", REJECT="open"), "security": on(CLEARED="approved")}
LOAN: Config = {
    "start": on(PAY="docs", WAIVE="docs"),
    "docs": on(SUBMIT="review"),
    "review": on(APPROVE="approved", NOTE="review"),
    "approved": on(PAYOUT="paid"),
    "paid": {"type": "final"},
}
CHECKED: Config = {**LOAN, "start": on(PAY="income", WAIVE="docs"), "income": on(VERIFIED="docs")}
PAID = {"paid": {"event": "PAY"}}


def compared(source: Config | list[Config], target: Config, **more: Any) -> Diff:
    sources = source if isinstance(source, list) else [source]
    return diff(Deployment([build(s) for s in sources], build(target)), **more)


def states(found: Diff) -> dict[Any, StateVerdict]:
    return {json.dumps(v.source.value).strip('"'): v for v in found.sources[0].states}


def endings(v: StateVerdict) -> list[tuple[Any, ...]]:
    """(outcome or reason, target state, example) of each ending."""
    return [
        (d.reason or d.outcome, None if d.target is None else d.target.value, e.example)
        for e in v.endings
        for d in [e.decision]
    ]


def drawn(found: Diff, width: int = 80) -> str:
    return render.text(found, render.Frame([]), width)


# --- verdicts --------------------------------------------------------------------------------------------


def test_a_gate_without_a_mapping() -> None:
    found = states(compared(machine(1, PR), machine(2, GATED)))
    assert {name: v.verdict for name, v in found.items()} == {
        "open": "depends_on_history",
        "awaiting": "depends_on_history",
        "review": "depends_on_history",
        "approved": "stranded",
        "merged": "done",
    }
    assert endings(found["review"]) == [
        ("migrate", "review", ("REQUEST", "START")),
        ("event_refused", None, ("REQUEST", "START", "APPROVE", "PUSH", "START")),
    ]
    assert endings(found["approved"]) == [
        ("diverged", None, ("REQUEST", "START", "APPROVE")),
        ("event_refused", None, ("REQUEST", "START", "APPROVE", "PUSH", "START", "APPROVE")),
    ]
    assert found["review"].without_history is not None
    assert found["review"].without_history.reason == "history_required"


def test_a_mapping_is_safe_whatever_the_history() -> None:
    target = machine(2, GATED, stateMapping={"approved": "security"})
    approved = states(compared(machine(1, PR), target))["approved"]
    assert (approved.verdict, approved.needs_history, approved.unchanged) == ("safe", False, False)
    assert endings(approved) == [("migrate", "security", None)]
    assert approved.endings[0].decision.rule == "mapping approved"


def test_erased_loops_leave_a_proof() -> None:
    target = machine(2, GATED, migration={"policy": {"loops": "erase"}})
    found = states(compared(machine(1, PR), target))
    assert [v.verdict for v in found.values()] == ["safe", "safe", "safe", "stranded", "done"]
    assert [v.endings[0].decision.rule for v in found.values() if v.verdict == "safe"] == ["proof"] * 3
    assert endings(found["approved"]) == [("diverged", None, None)]


def test_the_same_definition_changes_nothing() -> None:
    found = compared(machine(1, PR), machine(2, PR))
    assert not found.has_changes
    assert found.sources[0].counts() == {"safe": 4, "done": 1}
    assert "nothing changed in the structure" in drawn(found)


def test_a_branch_is_an_example_each() -> None:
    docs = states(compared(machine(1, LOAN), machine(2, CHECKED)))["docs"]
    assert docs.verdict == "depends_on_history"
    assert endings(docs) == [("diverged", None, ("PAY",)), ("migrate", "docs", ("WAIVE",))]


def test_a_route_on_an_anchor_depends_on_history_and_strands_without() -> None:
    route = {"from": "docs", "when": {"all": ["paid"]}, "to": "income"}
    target = machine(2, CHECKED, migration={"anchors": PAID, "routes": [route]})
    docs = states(compared(machine(1, LOAN), target))["docs"]
    assert endings(docs) == [("migrate", "income", ("PAY",)), ("migrate", "docs", ("WAIVE",))]
    assert [e.decision.rule for e in docs.endings] == ["route 1", "replay"]
    assert docs.without_history is not None
    assert docs.without_history.reason == "history_required"


def test_an_obligation_that_every_history_meets_is_safe_with_one() -> None:
    migration = {"anchors": {"docs": {"state": "docs"}}, "obligations": {"review": ["docs"]}}
    review = states(compared(machine(1, LOAN), machine(2, LOAN, migration=migration)))["review"]
    assert (review.verdict, review.needs_history, review.unchanged) == ("safe", True, False)
    found = compared(machine(1, LOAN), machine(2, LOAN, migration=migration))
    assert "without a history: strands (history_required)" in drawn(found)


def test_anchor_points_take_effect() -> None:
    anchors = {"docs_in": {"event": "SUBMIT", "resume": "review"}}
    review = states(compared(machine(1, LOAN), machine(2, CHECKED, migration={"anchors": anchors})))["review"]
    assert review.verdict == "safe"
    assert review.endings[0].decision.rule == "anchor docs_in"


def test_contexts_are_told_apart() -> None:
    large = {"properties": {"amount": {"minimum": 50000}}, "required": ["amount"]}
    routes = [
        {"from": "approved", "when": {"context": large}, "to": "review"},
        {"from": "approved", "stay": True},
    ]
    found = compared(machine(1, LOAN), machine(2, LOAN, migration={"routes": routes}))
    approved = states(found)["approved"]
    assert approved.verdict == "depends_on_context"
    assert [(e.context, e.decision.outcome, e.example) for e in approved.endings] == [
        ((("route 1", False),), "stay", None),
        ((("route 1", True),), "migrate", None),
    ]
    page = drawn(found)
    assert "- if the context fits route 1: goes to review (route 1)" in page
    assert states(found)["review"].verdict == "safe"  # its schema concerns approved only


def test_history_and_context_together() -> None:
    routes = [{"from": "docs", "when": {"all": ["paid"], "context": {"required": ["big"]}}, "to": "income"}]
    target = machine(2, CHECKED, migration={"anchors": PAID, "routes": routes})
    docs = states(compared(machine(1, LOAN), target))["docs"]
    assert docs.verdict == "depends_on_history"
    assert [(e.decision.outcome, e.context, e.example) for e in docs.endings] == [
        ("strand", (("route 1", False),), ("PAY",)),
        ("migrate", (), ("WAIVE",)),
        ("migrate", (("route 1", True),), ("PAY",)),
    ]


def test_who_is_not_eligible_stays() -> None:
    migration = {"anchors": PAID, "eligible": {"all": ["paid"]}}
    found = states(compared(machine(1, LOAN), machine(2, LOAN, migration=migration)))
    assert found["start"].verdict == "stays"
    assert endings(found["docs"]) == [("migrate", "docs", ("PAY",)), ("not_eligible", None, ("WAIVE",))]


def test_an_unknown_guard_of_the_target_strands_every_history() -> None:
    source = machine(1, {"a": on(GO="b"), "b": {}})
    target = machine(2, {"a": on(GO=[{"target": "c", "guard": "big"}, "b"]), "b": {}, "c": {}})
    b = states(compared(source, target))["b"]
    assert (b.verdict, endings(b)) == ("stranded", [("ambiguous", None, None)])
    assert b.without_history is not None
    assert b.without_history.reason == "history_required"


def test_states_that_no_history_reaches() -> None:
    source = machine(1, {"a": {}, "island": {}, "old": {}})
    target = machine(2, {"a": {}, "island": {}}, stateMapping={"old": "a"})
    found = states(compared(source, target))
    assert [(name, v.verdict, v.reachable) for name, v in found.items()] == [
        ("a", "safe", True),
        ("island", "stranded", False),
        ("old", "safe", False),
    ]
    assert "no history leads here" in drawn(compared(source, target))


def test_hazards_of_all_histories_are_gathered() -> None:
    started = {"pay": {"invoke": {"src": "payment", "onDone": "paid"}}}
    source = machine(1, {"a": on(GO="b"), "b": {}, "paid": {}})
    target = machine(2, {"a": on(GO="b"), "b": {}, **started, "paid": {}}, stateMapping={"b": "pay"})
    found = compared(source, target)
    b = states(found)["b"]
    assert ("invoke_not_started", "pay") in {(h.hazard, h.state) for h in b.hazards}
    page = drawn(found)
    assert "hazards that nobody has accepted yet" in page
    assert "invoke_not_started at pay" in page


def test_a_gate_that_only_some_histories_skip() -> None:
    source = machine(1, {"a": on(X="gate", Y="b"), "gate": on(Z="b"), "b": {}})
    target = machine(2, {"a": on(X="gate"), "gate": on(Z="b"), "b": {}}, stateMapping={"b": "b"})
    b = states(compared(source, target))["b"]
    assert b.verdict == "safe"
    assert ("gate_skipped", "gate") in {(h.hazard, h.state) for h in b.hazards}


def test_several_sources() -> None:
    found = compared([machine(1, PR), machine(2, GATED)], machine(3, GATED))
    assert [s.label for s in found.sources] == ["m@1", "m@2"]
    assert [s.counts().get("stranded", 0) for s in found.sources] == [1, 0]
    page = drawn(found)
    assert page.index("m@1 -> m@3") < page.index("m@2 -> m@3")


# --- bounds ----------------------------------------------------------------------------------------------


def regions(n: int, version: int, gate: bool) -> Config:
    found: Config = {}
    for i in range(n):
        inside: Config = {"a": on(**{f"E{i}": "b"}), "b": on(**{f"F{i}": "c"}), "c": {}}
        if gate and i == 0:
            inside |= {"b": on(F0="gate"), "gate": on(G="c")}
        found[f"r{i}"] = {"initial": "a", "states": inside}
    return machine(version, {"work": {"type": "parallel", "states": found}})


def test_many_states_are_grouped_by_what_is_active() -> None:
    found = compared(regions(4, 1, False), regions(4, 2, True))
    assert found.sources[0].counts() == {"safe": 54, "stranded": 27}
    page = drawn(found)
    assert " work.r0.b  27      27 safe\n" in page
    assert " work.r0.c  27      27 stranded (diverged)\n" in page
    assert "81 states, grouped by what is active in them; --format json has each" in page
    whole = json.loads(render.json(found, render.Frame([])))
    assert len(whole["sources"][0]["states"]) == 81


def test_past_the_bound_it_says_so() -> None:
    found = compared(regions(4, 1, False), regions(4, 2, True), limit=30)
    only = found.sources[0]
    assert only.bound == 30
    assert set(only.counts()) == {"undecided"}
    assert "more than 30 kinds of histories" in drawn(found)
    mapped = regions(4, 2, True) | {"stateMapping": {"work": "work"}}
    assert "safe" in compared(regions(4, 1, False), mapped, limit=30).sources[0].counts()


def test_facts_past_the_bound_leave_the_proof() -> None:
    count = {"count": {"of": {"event": "NOTE"}, "atLeast": 40}}
    target = machine(2, LOAN, migration={"anchors": {"noted": count}})
    found = compared(machine(1, LOAN), target, limit=30)
    assert found.sources[0].bound
    assert found.sources[0].counts() == {"safe": 4, "done": 1}


# --- what changed ----------------------------------------------------------------------------------------


def changed(source: Config, target: Config) -> list[tuple[str, str, str, str, str]]:
    found = changes(Deployment([build(source)], build(target)).lanes[0])
    return [(c.kind, c.state, c.on, c.before, c.after) for c in found]


def test_the_gate_s_changes() -> None:
    target = machine(2, GATED, stateMapping={"approved": "security"})
    assert changed(machine(1, PR), target) == [
        ("state_added", "security", "", "", "atomic"),
        ("state_moved", "approved", "", "approved", "security"),
        ("transition_retargeted", "review", "APPROVE", "approved", "security"),
        ("event_new", "", "", "", "CLEARED"),
    ]


def test_states_renamed_removed_and_of_another_kind() -> None:
    source = machine(1, {"a": on(GO="old"), "old": {}, "gone": {}, "flat": {}})
    opened = {"initial": "x", "states": {"x": {}}}
    target = machine(2, {"a": on(GO="new"), "new": {}, "flat": opened}, stateMapping={"old": "new"})
    assert changed(source, target) == [
        ("state_added", "flat.x", "", "", "atomic"),
        ("state_removed", "gone", "", "atomic", ""),
        ("state_renamed", "old", "", "old", "new"),
        ("kind_changed", "flat", "", "atomic", "compound"),
    ]


def test_regions_and_initial_states() -> None:
    def work(initial: str, *names: str) -> Config:
        inside = {n: {"initial": initial, "states": {"x": {}, "y": {}}} for n in names}
        return {"work": {"type": "parallel", "states": inside}}

    assert changed(machine(1, work("x", "p", "q")), machine(2, work("y", "p", "r"))) == [
        ("region_added", "work.r", "", "", "compound"),
        ("region_removed", "work.q", "", "compound", ""),
        ("initial_changed", "work.p", "", "work.p.x", "work.p.y"),
    ]


def test_guards_and_candidates() -> None:
    before = [{"target": "b", "guard": "big"}, {"target": "c", "guard": "old"}, "d"]
    after = [{"target": "c", "guard": "huge"}, {"target": "d", "guard": "big"}, "d"]
    ends: Config = {"b": {}, "c": {}, "d": {}}
    migration = {"changed": {"guards": ["big"]}}
    found = changed(
        machine(1, {"a": on(GO=before), **ends}), machine(2, {"a": on(GO=after), **ends}, migration=migration)
    )
    assert found == [
        ("transition_retargeted", "a", "GO [big]", "b", "d"),
        ("guard_changed", "a", "GO -> c", "old", "huge"),
        ("guard_new", "", "", "", "huge"),
        ("guard_dropped", "", "", "old", ""),
        ("guard_redefined", "", "", "big", "big"),
    ]
    backwards = machine(2, {"a": on(GO=before[::-1]), **ends})
    assert changed(machine(1, {"a": on(GO=before), **ends}), backwards) == [
        ("order_changed", "a", "GO", "[big] b, [old] c, d", "d, [old] c, [big] b")
    ]


def test_timers_and_invokes() -> None:
    def waiting(state: str, delay: str, src: str) -> Config:
        inside = {"after": {delay: "late"}, "invoke": {"src": src, "onDone": "late"}}
        return {state: inside, "late": {}}

    target = machine(2, waiting("paused", "2000", "send"), stateMapping={"wait": "paused"})
    assert changed(machine(1, waiting("wait", "1000", "fetch")), target) == [
        ("state_renamed", "wait", "", "wait", "paused"),
        ("timer_changed", "wait", "", "1000", "2000"),
        ("invoke_changed", "wait", "", "fetch", "send"),
    ]
    bare = machine(2, {"wait": {}, "late": {}})
    assert changed(machine(1, waiting("wait", "1000", "fetch")), bare) == [
        ("transition_removed", "wait", "onDone of fetch", "late", ""),
        ("transition_removed", "wait", "after 1000", "late", ""),
        ("timer_removed", "wait", "", "1000", ""),
        ("invoke_removed", "wait", "", "fetch", ""),
    ]


def test_events() -> None:
    source = machine(1, {"a": on(OK="b", NO="b", PING={}), "b": {}})
    migration = {"rename": {"events": {"OK": "FINE"}}}
    target = machine(2, {"a": on(FINE="b", NEW="b", PING={}), "b": {}}, migration=migration)
    assert changed(source, target) == [
        ("transition_added", "a", "NEW", "", "b"),
        ("transition_removed", "a", "NO", "b", ""),
        ("event_new", "", "", "", "NEW"),
        ("event_retired", "", "", "NO", ""),
        ("event_renamed", "", "", "OK", "FINE"),
    ]


def test_every_kind_of_change_has_its_words() -> None:
    for kind in KINDS:
        sign, said = render.change_text(Change(kind, "s", "E", "b", "a"), lambda x: x)
        assert sign in "+-~"
        assert said


# --- soundness -------------------------------------------------------------------------------------------


def known_states(found: Diff) -> dict[tuple[int, str], tuple[SourceDiff, StateVerdict]]:
    return {(s.lane, v.source.state): (s, v) for s in found.sources for v in s.states}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=strategies.cases())
def test_actors_fare_as_the_diff_says(monkeypatch: pytest.MonkeyPatch, case: Mapping[str, Any]) -> None:
    monkeypatch.setattr(replay, "MAX_PATHS", 1_000)
    monkeypatch.setattr(replay, "MAX_REACHABLE", 1_000)
    sources, target = [build(s) for s in case["sources"]], build(case["target"])
    found = diff(Deployment(sources, target), limit=500)
    for line in drawn(found, 40).splitlines():
        assert len(line) <= 40
    known = known_states(found)
    deployment = Deployment(sources, target)
    router, intake = Router(deployment), Intake(deployment)
    for record in case["actors"]:
        actor = actor_of(record)
        decision, opened = router.decide(actor), intake.open(actor)
        if not isinstance(opened, Opened) or "snapshot" in record or decision.reason == "context_invalid":
            continue
        assert decision.source is not None
        s, v = known.get((opened.case.lane, decision.source.state), (None, None))
        if s is None or v is None or s.bound:
            continue
        if opened.case.trace == "none" and not deployment.schemas:
            assert v.without_history == decision
        listened = deployment.lanes[opened.case.lane].events(opened.case.lane)
        told = all(isinstance(i, Event) and i.state and i.type in listened for i in opened.items)
        if opened.case.trace == "complete" and told and (decision.landings or decision.rule):
            fates = {(e.decision.outcome, e.decision.reason, e.decision.target) for e in v.endings}
            assert (decision.outcome, decision.reason, decision.target) in fates


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for name, config in (("v1.json", machine(1, PR)), ("v2.json", machine(2, GATED))):
        (tmp_path / name).write_text(json.dumps(config))
        paths.append(str(tmp_path / name))
    return paths


def test_the_command_leads_with_the_counts(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *files]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "m@1 -> m@2\n  3  depends on history\n  1  stranded\n  1  done\n  5  states\n\n state "
    )
    assert out.index(" approved") < out.index("what changed") < out.index("next: statekeep preview")
    assert all(len(line) <= 80 for line in out.splitlines()[:-1])


def test_exit_codes(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *files, "--detailed-exitcode"]) == 4
    same = Path(files[1])
    same.write_text(json.dumps(machine(2, PR)))
    assert main(["diff", *files, "--detailed-exitcode"]) == 0
    assert main(["diff", files[0]]) == 2
    assert main(["diff", files[0], files[0] + ".gone"]) == 1


def test_a_side_file_and_machine_formats(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = tmp_path / "routes.yaml"
    side.write_text("stateMapping:\n  approved: security\n")
    assert main(["diff", *files, "--migration", str(side), "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["formatVersion"] == 1
    assert [d["role"] for d in whole["definitions"]] == ["source", "target"]
    (source,) = whole["sources"]
    approved = next(s for s in source["states"] if s["from"]["state"] == "approved")
    assert (approved["verdict"], approved["endings"][0]["to"]["state"]) == ("safe", "security")
    assert whole["hasChanges"] is True
    moved = {"kind": "state_moved", "state": "approved", "on": "", "before": "approved", "after": "security"}
    assert moved in source["changes"]
    assert main(["diff", *files, "--format", "markdown"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("### StateKeep diff: `m@1` → `m@2`")
    assert "| `approved` | `stranded (diverged, event_refused)` |" in page


def test_user_text_is_never_acted_on() -> None:
    evil = "\x1b[31m[/x]`|\u202e"
    source = machine(1, {"a": on(**{evil: evil}), evil: {}})
    found = compared(source, machine(2, {"a": on(**{evil: "b"}), "b": {}}))
    frame = render.Frame([DefinitionRef("source", evil, 1, "", "")])
    for page in (drawn(found), render.markdown(found, frame), render.json(found, frame)):
        assert "\x1b" not in page
        assert "\u202e" not in page
