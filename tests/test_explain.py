"""`explain`: the exact facts of one actor's timeline, and how they read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from statekeep_cli.cli import main
from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.explain import AnchorFact, Carried, Explanation, explain
from statekeep_cli.core.model import build
from statekeep_cli.core.report import DefinitionRef
from statekeep_cli.core.router import Router
from statekeep_cli.core.timeline import Moment
from statekeep_cli.render import explain as render
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


def explained(
    source: Config | list[Config], target: Config, history: list[Any] | None, state: Any, **record: Any
) -> Explanation:
    sources = source if isinstance(source, list) else [source]
    whole = {"id": "a1", "version": 1, "state": state, **record}
    if history is not None:
        whole["history"] = history
    deployment = Deployment([build(s) for s in sources], build(target))
    return explain(deployment, actor_of(whole), whole)


def positions(m: Moment) -> list[tuple[Any, Any, str]]:
    """(source state, target state, stuck) of every position of a moment."""
    return [
        (side.source.value, None if t.state is None else json.loads(t.state), t.stuck)
        for side in m.sides
        for t in side.targets
    ]


def drawn(e: Explanation, *definitions: Config, width: int = 80) -> str:
    return render.text(e, frame(*definitions), width)


def frame(*definitions: Config) -> render.Frame:
    roles = ["source"] * (len(definitions) - 1) + ["target"]
    pairs = zip(roles, definitions, strict=True)
    return render.Frame([DefinitionRef(role, d["id"], d["version"], "sha256:0", "") for role, d in pairs])


# --- where source and target part ------------------------------------------------------------------------


def test_the_gate_is_where_source_and_target_part() -> None:
    e = explained(machine(1, PR), machine(2, GATED), ["REQUEST", "START", "APPROVE"], "approved")
    assert [m.event for m in e.timeline] == [None, "REQUEST", "START", "APPROVE"]
    assert [positions(m) for m in e.timeline] == [
        [("open", "open", "")],
        [("awaiting", "awaiting", "")],
        [("review", "review", "")],
        [("approved", "security", "")],
    ]
    assert e.parted == 3
    assert (e.decision.outcome, e.decision.reason) == ("strand", "diverged")
    assert e.remedy is not None
    assert e.remedy.lines == "stateMapping:\n  approved: security"
    assert e.remedy.to is not None
    assert e.remedy.to.value == "security"


def test_a_mapping_says_which_leaf_went_where_by_which_key() -> None:
    target = machine(2, GATED, stateMapping={"approved": "security"})
    e = explained(machine(1, PR), target, ["REQUEST", "START", "APPROVE"], "approved")
    assert e.sentence == "migrates from approved to security: stateMapping approved says so"
    assert e.placement == (Carried("approved", "key approved", ("security",)),)
    assert e.remedy is None


def test_a_refused_event_is_marked_where_it_happened() -> None:
    history = ["REQUEST", "START", "APPROVE", "PUSH", "START"]
    e = explained(machine(1, PR), machine(2, GATED), history, "review")
    assert [m.number for m in e.timeline if m.refused] == [4]
    assert positions(e.timeline[4]) == [("awaiting", "security", "PUSH")]
    assert positions(e.timeline[5]) == [("review", "security", "PUSH")]
    assert e.decision.reason == "event_refused"
    assert "refused: m@2 in security does not accept PUSH" in drawn(e, machine(1, PR), machine(2, GATED))
    assert e.remedy is not None
    assert e.remedy.lines == "migration:\n  policy: {loops: erase}"


def test_they_may_come_together_again() -> None:
    source = machine(1, {"start": on(ASSESS="assessed"), "assessed": on(PACK="packed"), "packed": {}})
    target = machine(2, {"start": on(PACK="packed"), "packed": {}})
    e = explained(source, target, ["ASSESS", "PACK"], "packed")
    assert [(m.retired, m.apart) for m in e.timeline] == [(False, False), (True, True), (False, False)]
    assert e.parted == 1
    assert e.decision.rule == "replay"
    page = drawn(e, source, target)
    assert "m@2 listens to it no more, so it was passed over there" in page
    assert "source and target are together again" in page


def test_a_dropped_event_and_one_under_a_new_name() -> None:
    source = machine(1, {"a": on(OK="b"), "b": {}})
    target = machine(2, {"a": on(FINE="b"), "b": {}}, migration={"rename": {"events": {"OK": "FINE"}}})
    e = explained(source, target, ["NOISE", "OK"], "b")
    assert [(m.dropped, m.heard) for m in e.timeline[1:]] == [(True, ""), (False, "FINE")]
    assert e.parted is None


def test_an_event_handled_without_a_move_is_not_dropped() -> None:
    source = machine(1, {"a": {"on": {"NOTE": {"actions": "log"}, "QUIET": {}}}})
    e = explained(source, {**source, "version": 2}, ["NOTE", "QUIET", "OTHER"], "a")
    assert [m.dropped for m in e.timeline[1:]] == [False, True, True]


def test_an_unknown_guard_splits_the_target() -> None:
    source = machine(1, {"a": on(GO="b"), "b": {}})
    target = machine(2, {"a": on(GO=[{"target": "c", "guard": "big"}, "b"]), "b": {}, "c": {}})
    e = explained(source, target, ["GO"], "b")
    assert sorted(positions(e.timeline[1])) == [("b", "b", ""), ("b", "c", "")]
    assert e.decision.reason == "ambiguous"
    page = drawn(e, source, target)
    assert " 1  GO       b    b\n                  c\n" in page


def test_readings_that_do_not_survive_are_not_shown() -> None:
    either = on(GO=[{"target": "b", "guard": "g"}, "c"])
    source = machine(1, {"a": either, "b": on(X="d"), "c": on(Y="d"), "d": {}})
    e = explained(source, {**source, "version": 2}, ["GO", "Y"], "d")
    assert positions(e.timeline[1]) == [("c", "c", "")]


# --- loops and anchors -----------------------------------------------------------------------------------


def test_erased_loops_are_marked() -> None:
    target = machine(2, GATED, migration={"policy": {"loops": "erase"}})
    history = ["REQUEST", "START", "APPROVE", "PUSH", "START"]
    e = explained(machine(1, PR), target, history, "review")
    assert [m.way for m in e.timeline] == ["kept", "kept", "erased", "erased", "erased", "kept"]
    assert e.parted is None  # on the path that is left
    assert positions(e.timeline[4]) == [("awaiting", "awaiting", "")]
    assert e.notes == ("policy.loops: erase: steps 2 to 4 went round in loops and do not count",)
    page = drawn(e, machine(1, PR), target)
    assert " 3~  APPROVE  approved  security" in page
    assert json.loads(render.json(e, frame(machine(1, PR), target)))["path"] == [1, 5]


def test_a_step_that_keeps_the_configuration_is_no_loop() -> None:
    target = machine(2, GATED, migration={"policy": {"loops": "erase"}})
    e = explained(machine(1, PR), target, ["REQUEST", "NOISE", "START"], "review")
    assert [m.way for m in e.timeline] == ["kept"] * 4


def test_anchors_from_the_step_at_which_they_begin_to_hold() -> None:
    since = {"since": {"of": {"event": "APPROVE"}, "reset": {"event": "PUSH"}}}
    anchors = {"reviewed": {"state": "review"}, "fresh": since, "merged": {"state": "merged"}}
    target = machine(2, GATED, migration={"anchors": anchors})
    history = ["REQUEST", "START", "APPROVE", "PUSH"]
    e = explained(machine(1, PR), target, history, "awaiting")
    assert [(m.began, m.ended) for m in e.timeline] == [
        ((), ()),
        ((), ()),
        (("reviewed",), ()),
        (("fresh",), ()),
        ((), ("fresh",)),
    ]
    assert e.anchors == (
        AnchorFact("reviewed", True, 2),
        AnchorFact("fresh", False),
        AnchorFact("merged", False),
    )


def test_an_anchor_point_cuts_the_path() -> None:
    anchors = {"approved": {"state": "approved", "resume": "security"}}
    target = machine(2, GATED, migration={"anchors": anchors})
    e = explained(machine(1, PR), target, ["REQUEST", "START", "APPROVE"], "approved")
    assert e.timeline[3].cut == ("approved",)
    assert [m.way for m in e.timeline] == ["settled", "settled", "settled", "kept"]
    assert e.timeline[3].sides[0].targets[0].anchor == "approved"
    assert e.decision.rule == "anchor approved"
    assert e.parted == 3


def test_an_origin_is_nowhere_until_an_anchor_point() -> None:
    anchors = {"approved": {"state": "approved", "resume": "security"}}
    target = machine(2, GATED, migration={"anchors": anchors})
    origin = {"version": 1, "state": "review"}
    e = explained(machine(1, PR), target, ["APPROVE"], "approved", origin=origin)
    assert e.timeline[0].kind == "origin"
    assert positions(e.timeline[0]) == [("review", None, "")]
    assert positions(e.timeline[1]) == [("approved", "security", "")]
    lost = explained(machine(1, PR), machine(2, GATED), ["APPROVE"], "approved", origin=origin)
    assert lost.decision.reason == "history_required"
    assert lost.remedy is not None
    assert lost.remedy.words.startswith("an anchor point passed since the origin")
    assert lost.parted is None


# --- what the log says and does not say ------------------------------------------------------------------


def test_times_states_and_inferred_events() -> None:
    history = [
        {"type": "REQUEST", "at": "2026-05-02T09:14:00Z", "state": "awaiting"},
        {"state": "review", "at": 17},
        "xstate.done.state.m.x",
        "APPROVE",
    ]
    e = explained(machine(1, PR), machine(2, GATED), history, "approved")
    assert [m.number for m in e.timeline] == [0, 1, 2, 4]  # numbered as in the record
    assert [m.at for m in e.timeline] == ["", "2026-05-02T09:14:00Z", "17", ""]
    assert [m.recorded for m in e.timeline] == ["", '"awaiting"', '"review"', ""]
    assert e.timeline[2].event is None
    assert e.timeline[2].inferred == ("START",)
    page = drawn(e, machine(1, PR), machine(2, GATED))
    assert " 2  17                    (START)  review *    review\n" in page
    assert " * the state is recorded in the log" in page


def test_a_history_that_cannot_be_explained_ends_at_the_gap() -> None:
    history = [{"type": "REQUEST", "state": "review"}, "START"]
    e = explained(machine(1, PR), machine(2, GATED), history, "review")
    assert [m.explained for m in e.timeline] == [True, False, False]
    assert e.gap == 'the source cannot explain REQUEST to "review" in open' == e.decision.detail
    assert e.decision.reason == "history_inconsistent"


def test_a_history_that_ends_elsewhere_is_shown_whole() -> None:
    e = explained(machine(1, PR), machine(2, GATED), ["REQUEST"], "approved")
    assert positions(e.timeline[1]) == [("awaiting", "awaiting", "")]
    assert all(m.explained for m in e.timeline)
    assert e.gap == "its history leads to awaiting"


def test_more_positions_than_are_shown_are_counted() -> None:
    guarded = [{"target": f"s{i}", "guard": f"g{i}"} for i in range(12)]
    ends: Config = {f"s{i}": {} for i in range(12)}
    source, target = machine(1, {"a": on(GO="s0"), **ends}), machine(2, {"a": on(GO=guarded), **ends})
    e = explained(source, target, ["GO"], "s0")
    assert len(positions(e.timeline[1])) == 13  # none of the guards may hold, too
    assert "and 5 more" in drawn(e, source, target)


def test_without_a_history_each_landing_has_an_example() -> None:
    e = explained(machine(1, PR), machine(2, GATED), None, "review")
    assert (e.trace, e.timeline) == ("none", ())
    assert [(x.landing.value, x.landing.stuck, x.example) for x in e.landings] == [
        ("review", None, ("REQUEST", "START")),
        ("security", "PUSH", ("REQUEST", "START", "APPROVE", "PUSH", "START")),
    ]
    assert e.remedy is not None
    assert e.remedy.words.endswith("policy.history: trust would accept its name")
    assert "It has no history" in drawn(e, machine(1, PR), machine(2, GATED))


def test_markers() -> None:
    manual = {"type": "manual", "to": "approved", "why": "the robot was down", "at": "2026-05-02"}
    e = explained(machine(1, PR), machine(2, GATED), ["REQUEST", manual], "approved")
    assert [m.kind for m in e.timeline] == ["start", "event", "manual"]
    assert positions(e.timeline[2]) == [("approved", "awaiting", "")]
    assert "set by hand: the robot was down" in drawn(e, machine(1, PR), machine(2, GATED))
    ends = [{"version": v, "state": "open"} for v in (1, 2)]
    marker = {"type": "migrated", "from": ends[0], "to": ends[1]}
    sources = [machine(1, PR), machine(2, PR)]
    e = explained(sources, machine(3, GATED), [marker, "REQUEST"], "awaiting", version=2)
    assert [m.sides[0].source.version for m in e.timeline] == [1, 2, 2]
    assert "(migrated)" in drawn(e, *sources, machine(3, GATED))


def test_actors_that_are_not_routed_show_what_happened() -> None:
    e = explained(machine(1, PR), machine(2, GATED), ["REQUEST"], "awaiting", status="stopped")
    assert e.sentence == "is skipped: it is done, nothing is in flight"
    assert (e.lane, [m.sides for m in e.timeline], e.remedy) == (None, [()], None)
    lost = explained(machine(1, PR), machine(2, GATED), None, "on_hold")
    assert lost.decision.reason == "snapshot_invalid"
    assert lost.remedy is not None


# --- parallel states -------------------------------------------------------------------------------------

REGIONS: Config = {
    "work": {
        "type": "parallel",
        "states": {
            "code": {"initial": "todo", "states": {"todo": on(CODE="done"), "done": {}}},
            "docs": {"initial": "todo", "states": {"todo": on(WRITE="done"), "done": {}}},
        },
    }
}
GATED_REGIONS: Config = {
    "work": {
        "type": "parallel",
        "states": {
            "code": {
                "initial": "todo",
                "states": {"todo": on(CODE="check"), "check": on(CHECKED="done"), "done": {}},
            },
            "docs": {"initial": "todo", "states": {"todo": on(WRITE="done"), "done": {}}},
        },
    }
}


def test_regions_are_remedied_by_the_leaf_that_moved() -> None:
    state = {"work": {"code": "done", "docs": "done"}}
    e = explained(machine(1, REGIONS), machine(2, GATED_REGIONS), ["WRITE", "CODE"], state)
    assert e.parted == 2
    assert positions(e.timeline[2]) == [(state, {"work": {"code": "check", "docs": "done"}}, "")]
    assert e.remedy is not None
    assert e.remedy.lines == "stateMapping:\n  work.code.done: work.code.check"


def test_a_mapping_of_one_region_leaves_the_other_by_name() -> None:
    target = machine(2, GATED_REGIONS, stateMapping={"work.code.done": "work.code.check"})
    state = {"work": {"code": "done", "docs": "done"}}
    e = explained(machine(1, REGIONS), target, ["WRITE", "CODE"], state)
    assert e.placement == (
        Carried("work.code.done", "key work.code.done", ("work.code.check",)),
        Carried("work.docs.done", "name", ("work.docs.done",)),
    )


def test_a_mapped_compound_carries_its_inside() -> None:
    source = machine(1, {"old": {"initial": "x", "states": {"x": on(GO="y"), "y": {}}}})
    new = {"new": {"initial": "x", "states": {"x": on(GO="y"), "y": {}}}}
    carried = explained(source, machine(2, new, stateMapping={"old": "new"}), ["GO"], {"old": "y"})
    assert carried.placement == (Carried("old.y", "key old", ("new.y",)),)
    flat = explained(source, machine(2, {"flat": {}}, stateMapping={"old": "flat"}), ["GO"], {"old": "y"})
    assert flat.placement == (Carried("old.y", "key old", ("flat",)),)


def test_kinds_that_changed_are_remedied_by_the_landing_itself() -> None:
    source = machine(1, {"a": on(GO="b"), "b": {}})
    opened = {"initial": "x", "states": {"x": {}, "y": {}}}
    target = machine(2, {"a": on(GO="b"), "b": opened})
    e = explained(source, target, ["GO"], "b")
    assert e.decision.reason == "kind_changed"
    assert e.remedy is not None
    assert e.remedy.lines == "stateMapping:\n  b: b.x"
    assert json.loads(e.remedy.block) == {"stateMapping": {"b": "b.x"}}


def test_policies_that_had_a_say_are_explained() -> None:
    follow = machine(2, GATED, migration={"policy": {"diverged": "follow"}})
    e = explained(machine(1, PR), follow, ["REQUEST", "START", "APPROVE"], "approved")
    assert e.notes == ("policy.diverged: follow: it goes where its history leads, whatever name survives",)
    trust = machine(2, GATED, migration={"policy": {"history": "trust"}})
    assert "policy.history: trust" in explained(machine(1, PR), trust, None, "review").notes[0]


# --- how it reads ----------------------------------------------------------------------------------------


def test_user_text_is_never_acted_on() -> None:
    evil = "\x1b[31mred[/x]`|\u202e\n"
    source = machine(1, {"a": on(**{evil: "b"}), "b": {}})
    e = explained(source, {**source, "version": 2}, [evil], "b", id=evil)
    for page in (
        drawn(e, source, source),
        render.markdown(e, frame(source, source), show_ids=True),
        render.json(e, frame(source, source)),
    ):
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "[/x]" in page
    row = next(x for x in render.markdown(e, frame(source, source), True).split("\n") if x.startswith("| 1 "))
    assert row.replace("\\|", "").count("|") == 6


def test_long_names_wrap_and_are_not_cut() -> None:
    name = "state_" + "x" * 200
    source = machine(1, {"a": on(**{"E" * 100: name}), name: {}})
    e = explained(source, {**source, "version": 2}, ["E" * 100], name)
    for width in (40, 80):
        page = drawn(e, source, source, width=width)
        assert all(len(line) <= width for line in page.splitlines())
        assert page.count("x") >= 4 * 200


def test_markdown_hides_who_it_is_about() -> None:
    history = [{"type": "REQUEST", "at": "2026-05-02"}, "START", "APPROVE"]
    e = explained(machine(1, PR), machine(2, GATED), history, "approved", id="kim-17")
    told = render.markdown(e, frame(machine(1, PR), machine(2, GATED)))
    assert "kim-17" not in told
    assert "REQUEST" not in told
    shown = render.markdown(e, frame(machine(1, PR), machine(2, GATED)), show_ids=True)
    assert "kim-17" in shown
    assert "REQUEST" in shown


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.cases())
def test_the_explained_decision_is_the_router_s(case: Mapping[str, Any]) -> None:
    definitions = [*case["sources"], case["target"]]
    sources, target = [build(s) for s in case["sources"]], build(case["target"])
    router = Router(Deployment(sources, target))
    for record in case["actors"]:
        actor = actor_of(record)
        e = explain(Deployment(sources, target), actor, record)
        assert e.decision == router.decide(actor)
        pasted = e.remedy.lines.split("\n") if e.remedy is not None else []
        for line in drawn(e, *definitions, width=40).splitlines():
            assert len(line) <= 40 or line in pasted
        json.loads(render.json(e, frame(*definitions)))
        if e.timeline and e.timeline[-1].sides and not e.gap:
            standings = [t for side in e.timeline[-1].sides for t in side.targets if t.state is not None]
            ends = {(t.state, t.stuck or None) for t in standings}
            assert ends == {(x.landing.state, x.landing.stuck) for x in e.landings}


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for name, config in (("v1.json", machine(1, PR)), ("v2.json", machine(2, GATED))):
        (tmp_path / name).write_text(json.dumps(config))
        paths.append(str(tmp_path / name))
    actors = tmp_path / "actors.jsonl"
    actors.write_text(json.dumps({"id": "pr-17", "state": "approved"}) + "\n")
    rows = tmp_path / "history.jsonl"
    rows.write_text(
        "\n".join(
            json.dumps({"actor": "pr-17", "type": t, "at": f"2026-05-0{i}"})
            for i, t in enumerate(["REQUEST", "START", "APPROVE"], 1)
        )
    )
    return [*paths, "--actors", str(actors), "--history", str(rows)]


def test_the_command_reads_a_second_history_file(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *files, "--id", "pr-17"]) == 0
    out = capsys.readouterr().out
    assert "pr-17: m@1 -> m@2" in out
    assert " 3  2026-05-03  APPROVE  approved  security" in out
    assert '  "approved": "security"' in out  # the target is JSON, and so are the lines to paste
    assert out.splitlines()[-1].startswith("next: statekeep suggest ")


def test_the_command_writes_several_formats(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(["explain", *files, "--id", "pr-17", "--format", f"json={out}", "--format", "markdown"]) == 0
    whole = json.loads(out.read_text())
    assert (whole["actor"], whole["outcome"], whole["parted"]) == ("pr-17", "strand", 3)
    assert whole["suggestion"]["block"] == {"stateMapping": {"approved": "security"}}
    assert [d["role"] for d in whole["definitions"]] == ["source", "target"]
    assert capsys.readouterr().out.startswith("### StateKeep explain: one actor")


def test_an_unknown_id_is_named_with_one_like_it(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *files, "--id", "pr-71"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no actor 'pr-71' in ")
    assert "did you mean 'pr-17'?" in captured.err
    assert main(["explain", *files, "--id", "\x1b[31m"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_an_unknown_format_is_a_usage_mistake(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *files, "--id", "pr-17", "--format", "pdf"]) == 2
    assert "text, json, markdown" in capsys.readouterr().err
