"""`suggest`: what it proposes, what it leaves to a person, and that it never touches who migrates."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from statekeep_cli.commands.suggest import suggest as command
from statekeep_cli.core import survey as survey_module
from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import build
from statekeep_cli.core.proposal import Entry, Proposal
from statekeep_cli.core.router import Router
from statekeep_cli.core.suggest import suggest
from statekeep_cli.core.trace import Actor
from statekeep_cli.errors import Findings, InputUnreadable
from statekeep_cli.render import suggest as render
from statekeep_cli.render.suggest import markdown, text
from statekeep_cli.render.suggest_words import Frame
from tests.strategies import cases
from tests.support import ROOT, actor_of

Config = dict[str, Any]


@dataclass
class Batch:
    actors: Sequence[Actor[Any, Any]]
    plain: bool = False


def proposed(sources: Sequence[Config], target: Config, records: Sequence[Config]) -> Proposal:
    """A proposal for these actors, read in two batches."""
    actors = [actor_of({"id": f"a{i}", **r}) for i, r in enumerate(records)]
    half = len(actors) // 2
    deployment = Deployment([build(s) for s in sources], build(target))
    return suggest(deployment, lambda: [Batch(actors[:half]), Batch(actors[half:])])


def pasted(target: Config, block: Mapping[str, Any]) -> Config:
    """The target with a block merged into its own, as its author would do it."""
    target = copy.deepcopy(target)
    own = target.setdefault("migration", {})
    for key, value in block.items():
        if key == "routes":
            own["routes"] = [*own.get("routes", []), *value]
        elif key == "rename":
            own.setdefault("rename", {}).setdefault("events", {}).update(value["events"])
        else:
            own.setdefault(key, {}).update(value)
    return target


def decisions(sources: Sequence[Config], target: Config, records: Sequence[Config]) -> list[Decision]:
    router = Router(Deployment([build(s) for s in sources], build(target)))
    return [router.decide(actor_of({"id": "a", **r})) for r in records]


def machine(version: int, states: Config, **more: Any) -> Config:
    """A definition from `{state: {event: target}}`; `None` is a final state."""
    made = {k: {"type": "final"} if on is None else {"on": on} for k, on in states.items()}
    return {"id": "m", "version": version, "initial": next(iter(states)), "states": made, **more}


def in_state(state: Any, *histories: Sequence[Any], **more: Any) -> list[Config]:
    return [{"state": state, "history": list(h), **more} for h in histories]


OLD = machine(
    1, {"open": {"ASK": "review"}, "review": {"OK": "approved"}, "approved": {"MERGE": "done"}, "done": None}
)
GATED = machine(
    2,
    {
        "open": {"ASK": "review"},
        "review": {"OK": "security"},
        "security": {"SAFE": "approved"},
        "approved": {"MERGE": "done"},
        "done": None,
    },
)


# --- mappings ------------------------------------------------------------------------------------------


def test_one_mapping_where_all_of_a_state_land_on_one_place() -> None:
    records = in_state("approved", ["ASK", "OK"], ["ASK", "OK"]) + in_state("review", ["ASK"])
    p = proposed([OLD], GATED, records)
    assert p.block == {"stateMapping": {"approved": "security"}}
    (support,) = p.entries
    assert (support.freed, support.histories, support.without_history) == (2, 2, 0)
    assert (p.before["strand"], p.after["strand"], p.after["migrate"]) == (2, 0, 3)


def test_actors_without_history_whose_every_path_leads_there_support_it_too() -> None:
    p = proposed([OLD], GATED, [*in_state("approved", ["ASK", "OK"]), {"state": "approved"}])
    (support,) = p.entries
    assert (support.freed, support.histories, support.without_history) == (2, 1, 1)


def test_the_shortest_value_is_the_path_that_is_entered_by_default() -> None:
    new = machine(2, {"open": {"ASK": "code_review"}, "code_review": {}})
    new["states"]["code_review"] |= {"initial": "waiting", "states": {"waiting": {}, "reading": {}}}
    p = proposed([OLD], new, in_state("review", ["ASK"]))
    assert p.block == {"stateMapping": {"review": "code_review"}}


def test_a_flat_state_that_became_parallel_keeps_its_name() -> None:
    new = machine(2, {"open": {"ASK": "review"}, "review": {}})
    new["states"]["review"] |= {"type": "parallel", "states": {"style": {}, "safety": {}}}
    p = proposed([OLD], new, in_state("review", ["ASK"]))
    assert p.block == {"stateMapping": {"review": "review"}}


COMPOUND = machine(1, {"open": {"ASK": "review"}, "review": {}})
COMPOUND["states"]["review"] |= {
    "initial": "waiting",
    "states": {"waiting": {"on": {"READ": "reading"}}, "reading": {}},
}


def test_one_entry_for_a_renamed_compound_state_instead_of_one_per_substate() -> None:
    new = json.loads(json.dumps(COMPOUND).replace('"review"', '"check"')) | {"version": 2}
    records = in_state({"review": "waiting"}, ["ASK"]) + in_state({"review": "reading"}, ["ASK", "READ"])
    p = proposed([COMPOUND], new, records)
    assert p.block == {"stateMapping": {"review": "check"}}
    assert p.entries[0].freed == 2


def test_no_more_than_is_needed_is_mapped() -> None:
    """With one substate stranded and the other one migrating, only the leaf is named."""
    new = copy.deepcopy(COMPOUND) | {"version": 2}
    new["states"]["review"]["states"] = {"waiting": {"on": {"READ": "looking"}}, "looking": {}}
    records = in_state({"review": "waiting"}, ["ASK"]) + in_state({"review": "reading"}, ["ASK", "READ"])
    p = proposed([COMPOUND], new, records)
    assert p.block == {"stateMapping": {"review.reading": "review.looking"}}


def test_leaves_of_parallel_regions_get_an_entry_each() -> None:
    regions = {r: {"initial": "x", "states": {"x": {"on": {"GO": "y"}}, "y": {}}} for r in ("p", "q")}
    old = {"id": "m", "version": 1, "type": "parallel", "states": regions}
    new = json.loads(json.dumps(old).replace('"y"', '"z"')) | {"version": 2}
    p = proposed([old], new, in_state({"p": "y", "q": "y"}, ["GO"]))
    assert p.block == {"stateMapping": {"p.y": "p.z", "q.y": "q.z"}}
    assert p.after["strand"] == 0


def test_a_mapping_may_cover_another_version_that_stays_where_it_is() -> None:
    new = copy.deepcopy(COMPOUND) | {"version": 3}
    flat = machine(1, {"open": {"ASK": "review"}, "review": {}})
    newer = copy.deepcopy(COMPOUND) | {"version": 2}
    records = in_state("review", ["ASK"], version=1) + in_state(
        {"review": "reading"}, ["ASK", "READ"], version=2
    )
    p = proposed([flat, newer], new, records)
    assert p.block == {"stateMapping": {"review": "review"}}
    assert (p.after["migrate"], p.after["strand"]) == (2, 0)


def test_what_the_author_has_mapped_is_not_mapped_again() -> None:
    target = copy.deepcopy(COMPOUND) | {"version": 2, "stateMapping": {"review": "review"}}
    target["states"]["review"]["states"] = {"waiting": {"on": {"READ": "looking"}}, "looking": {}}
    p = proposed([COMPOUND], target, in_state({"review": "reading"}, ["ASK", "READ"]))
    assert p.block == {"stateMapping": {"review.reading": "review.looking"}}


# --- routes on anchors ---------------------------------------------------------------------------------

FORK = machine(
    1, {"start": {"GOOD": "wait", "BAD": "wait"}, "wait": {"NOTE": "wait", "GO": "end"}, "end": None}
)
FORKED = machine(
    2,
    {
        "start": {"GOOD": "wait", "BAD": "check"},
        "check": {"NOTE": "check", "SEEN": "wait"},
        "wait": {"NOTE": "wait", "GO": "end"},
        "end": None,
    },
)


def test_a_route_where_others_of_the_same_state_migrate() -> None:
    records = in_state("wait", ["GOOD"], ["GOOD", "NOTE"], ["BAD"], ["BAD", "NOTE"])
    p = proposed([FORK], FORKED, records)
    assert p.block == {
        "anchors": {"bad": {"event": "BAD"}},
        "routes": [{"from": "wait", "when": {"all": ["bad"]}, "to": "check"}],
    }
    after = decisions([FORK], pasted(FORKED, p.block), records)
    assert [d.target.value for d in after if d.target] == ["wait", "wait", "check", "check"]


def test_one_route_per_place() -> None:
    new = machine(
        2, {"start": {"GOOD": "fast", "BAD": "slow"}, "fast": {"NOTE": "fast"}, "slow": {"NOTE": "slow"}}
    )
    p = proposed([FORK], new, in_state("wait", ["GOOD"], ["GOOD", "NOTE"], ["BAD"]))
    assert [(s.entry.to, s.entry.when, s.freed) for s in p.entries] == [
        ('"fast"', '{"all":["good"]}', 2),
        ('"slow"', '{"all":["bad"]}', 1),
    ]
    assert p.after["strand"] == 0


def test_those_without_history_are_not_taken_along() -> None:
    records = [*in_state("wait", ["GOOD"], ["BAD"]), {"state": "wait"}]
    p = proposed(
        [FORK], machine(2, {"start": {"GOOD": "fast", "BAD": "slow"}, "fast": {}, "slow": {}}), records
    )
    assert p.after["strand"] == 1
    (left,) = p.unhelped
    assert (left.reason, left.count, left.without_history) == ("state_removed", 1, 1)


def test_the_authors_own_anchors_come_first() -> None:
    target = FORKED | {"migration": {"anchors": {"suspicious": {"event": "BAD"}}}}
    p = proposed([FORK], target, in_state("wait", ["GOOD"], ["BAD"]))
    assert p.block == {"routes": [{"from": "wait", "when": {"all": ["suspicious"]}, "to": "check"}]}
    # a name that is taken by another pattern is not taken again
    target = FORKED | {"migration": {"anchors": {"bad": {"event": "NOTE"}}}}
    p = proposed([FORK], target, in_state("wait", ["GOOD"], ["BAD"]))
    assert p.block["anchors"] == {"bad_2": {"event": "BAD"}}


def test_since_where_loops_make_what_was_ever_seen_useless() -> None:
    noted = {"APPROVE": {"actions": "note"}, "PUSH": {"actions": "note"}}
    old = {"id": "m", "version": 1, "initial": "work", "states": {"work": {"on": noted}}}
    new = machine(2, {"work": {"APPROVE": "ready"}, "ready": {"PUSH": "work"}})
    stays = in_state("work", [], ["PUSH"], ["APPROVE", "PUSH"])
    moves = in_state("work", ["APPROVE"], ["PUSH", "APPROVE"], ["APPROVE", "PUSH", "APPROVE"])
    p = proposed([old], new, [*stays, *moves])
    assert p.block["anchors"] == {
        "approve_since_push": {"since": {"of": {"event": "APPROVE"}, "reset": {"event": "PUSH"}}}
    }
    after = decisions([old], pasted(new, p.block), [*stays, *moves])
    assert [d.target.value for d in after if d.target] == ["work"] * 3 + ["ready"] * 3


def test_several_facts_together() -> None:
    old = {
        "id": "m",
        "version": 1,
        "initial": "s",
        "states": {"s": {"on": {e: {"actions": "x"} for e in "ABC"}}},
    }
    new = machine(2, {"s": {"A": "a", "B": "b"}, "a": {"B": "both"}, "b": {"A": "both"}, "both": {}})
    records = in_state("s", [], ["A"], ["B"], ["A", "B"], ["B", "A", "C"])
    p = proposed([old], new, records)
    assert p.after["strand"] == 0
    after = decisions([old], pasted(new, p.block), records)
    assert [d.target.value for d in after if d.target] == ["s", "a", "b", "both", "both"]


def test_another_version_that_migrates_is_told_apart_too() -> None:
    """`wait: check` would move those of version 2, who came the other way."""
    newer = FORK | {"version": 2}
    records = in_state("wait", ["BAD"], version=1) + in_state("wait", ["GOOD"], version=2)
    p = proposed([FORK, newer], FORKED | {"version": 3}, records)
    assert [(s.entry.kind, s.freed) for s in p.entries] == [("route", 1)]
    assert p.dropped == ()


def test_an_unknown_anchor_would_strand_who_migrates() -> None:
    """One actor has no history and migrates all the same: no route may ask for its history."""
    target = FORKED | {"migration": {"policy": {"history": "trust"}}}
    p = proposed([FORK], target, [*in_state("wait", ["GOOD"], ["BAD"]), {"state": "wait"}])
    assert (p.block, p.dropped) == ({}, ())
    assert left(p) == [("diverged", 1)]


def test_the_authors_own_routes_keep_the_first_word() -> None:
    new = machine(2, {"start": {"GOOD": "fast", "BAD": "slow"}, "fast": {"NOTE": "fast"}, "slow": {}})
    new["migration"] = {
        "anchors": {"noted": {"event": "NOTE"}},
        "routes": [{"from": "wait", "when": {"all": ["noted"]}, "stay": True}],
    }
    p = proposed([FORK], new, in_state("wait", ["GOOD"], ["BAD"], ["GOOD", "NOTE"]))
    assert [(s.entry.to, s.freed) for s in p.entries] == [('"fast"', 1), ('"slow"', 1)]
    assert (p.after["stay"], p.after["strand"], p.dropped) == (1, 0, ())


def test_too_small_a_sample_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first trace of each kind, PING seems to tell them apart. Deciding everyone again shows that it
    does not."""
    monkeypatch.setattr(survey_module, "PER_DECISION", 1)
    old, new = copy.deepcopy(FORK), copy.deepcopy(FORKED)
    for config in (old, new):
        config["states"]["start"]["on"]["PING"] = "start"
    records = in_state("wait", ["PING", "BAD"], ["GOOD"], ["BAD"], ["PING", "GOOD"])
    p = proposed([old], new, records)
    assert [(d.entry.when, d.why, d.count) for d in p.dropped] == [('{"all":["ping"]}', "touches", 1)]
    assert p.block == {}


def test_nobody_is_moved_to_where_only_others_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with two places: PING would send one of the slow ones to `fast`."""
    monkeypatch.setattr(survey_module, "PER_DECISION", 1)
    old = copy.deepcopy(FORK)
    old["states"]["start"]["on"]["PING"] = "start"
    new = machine(2, {"start": {"PING": "start", "GOOD": "fast", "BAD": "slow"}, "fast": {}, "slow": {}})
    p = proposed([old], new, in_state("wait", ["PING", "GOOD"], ["BAD"], ["GOOD"], ["PING", "BAD"]))
    assert [(d.entry.to, d.entry.when, d.why, d.count) for d in p.dropped][:1] == [
        ('"fast"', '{"all":["ping"]}', "unfounded", 1)
    ]
    assert all("ping" not in s.entry.when for s in p.entries)


# --- renamed events ------------------------------------------------------------------------------------

SENT = machine(
    2, {"open": {"SEND": "review"}, "review": {"OK": "approved"}, "approved": {"MERGE": "done"}, "done": None}
)


def test_an_event_that_only_got_another_name() -> None:
    p = proposed(
        [OLD], SENT, in_state("review", ["ASK"]) + in_state("approved", ["ASK", "OK"]) + in_state("open", [])
    )
    assert p.block == {"rename": {"events": {"ASK": "SEND"}}}
    assert (p.entries[0].freed, p.after["strand"]) == (2, 0)


def test_a_rename_and_a_mapping_on_top_of_it() -> None:
    new = json.loads(json.dumps(GATED).replace('"ASK"', '"SEND"'))
    p = proposed([OLD], new, in_state("review", ["ASK"]) + in_state("approved", ["ASK", "OK"]))
    assert p.block == {"rename": {"events": {"ASK": "SEND"}}, "stateMapping": {"approved": "security"}}
    assert p.after["strand"] == 0


def test_an_event_of_the_target_that_a_source_knows_is_no_new_name() -> None:
    old = copy.deepcopy(OLD)
    old["states"]["done"] = {"on": {"SEND": "open"}}
    p = proposed([old], SENT, in_state("review", ["ASK"]))
    assert all(s.entry.kind != "rename" for s in p.entries)


def test_a_rename_that_would_move_a_migrating_actor_is_not_proposed() -> None:
    """TICK is retired and NEW goes the same way; but some who ticked have their rightful place already."""
    old = machine(1, {"a": {"TICK": "b"}, "b": {"BACK": "a", "ON": "c"}, "c": {}})
    new = machine(2, {"a": {"NEW": "b", "ON": "c"}, "b": {"BACK": "a"}, "c": {}})
    records = in_state("b", ["TICK"]) + in_state("c", ["TICK", "ON"])
    before = decisions([old], new, records)
    assert [d.outcome for d in before] == ["strand", "migrate"]
    p = proposed([old], new, records)
    assert all(s.entry.kind != "rename" for s in p.entries)
    assert p.dropped == ()
    assert untouched(before, decisions([old], pasted(new, p.block), records))


# --- what is left to a person --------------------------------------------------------------------------


def left(p: Proposal) -> list[tuple[str, int]]:
    return [(u.reason, u.count) for u in p.unhelped]


def test_a_refused_event_is_named() -> None:
    new = machine(
        2,
        {
            "open": {"ASK": "gate", "OK": "open"},
            "gate": {"PASS": "review"},
            "review": {"OK": "approved"},
            "approved": {},
        },
    )
    p = proposed([OLD], new, in_state("approved", ["ASK", "OK"]))
    assert (p.block, left(p)) == ({}, [("event_refused", 1)])
    assert [(landing.state, landing.stuck, n) for landing, n in p.unhelped[0].landings] == [
        ('"gate"', "OK", 1)
    ]
    assert "gate, where OK is refused" in text(p, Frame(()))


def test_histories_that_cannot_be_are_left_and_block_a_mapping() -> None:
    """The state's others land on one place, but nobody knows where the inconsistent one belongs."""
    records = in_state("approved", ["ASK", "OK"], ["ASK", "OK"], ["ASK"])
    p = proposed([OLD], GATED, records)
    assert [s.entry.kind for s in p.entries] == ["route"]
    assert left(p) == [("history_inconsistent", 1)]
    assert p.after["migrate"] == 2


def test_who_was_moved_by_hand_is_not_moved_back() -> None:
    jumped = ["ASK", {"type": "manual", "to": "approved"}]
    p = proposed([OLD], GATED, in_state("approved", jumped))
    assert p.block == {}
    assert (p.unhelped[0].by_hand, p.unhelped[0].landings[0][0].state) == (True, '"review"')


def test_loops_are_counted_and_not_consented_to() -> None:
    looped = machine(1, {"a": {"GO": "b", "X": "c"}, "b": {"BACK": "a"}, "c": {}})
    new = machine(2, {"a": {"GO": "b", "X": "c"}, "b": {"OTHER": "a"}, "c": {"BACK": "a"}})
    p = proposed([looped], new, in_state("c", ["GO", "BACK", "X"], ["X"]))
    assert p.block == {}
    assert [(u.count, u.erasable) for u in p.unhelped] == [(1, 1)]
    assert "loops: erase would free 1 of them" in " ".join(text(p, Frame(())).split())


def test_a_block_that_does_not_speak_for_the_version() -> None:
    p = proposed([OLD], GATED | {"migration": {"from": [7]}}, in_state("approved", ["ASK", "OK"]))
    assert (p.block, p.unhelped[0].unspoken) == ({}, True)


def test_what_would_strand_all_the_same_is_dropped_with_the_reason() -> None:
    target = GATED | {"contextSchema": {"required": ["owner"]}}
    p = proposed([OLD], target, in_state("approved", ["ASK", "OK"]))
    assert p.block == {}
    assert [(d.entry, d.why, d.reason) for d in p.dropped] == [
        (Entry("mapping", "approved", '"security"'), "idle", "context_invalid")
    ]


def test_hazards_that_it_brings_are_said() -> None:
    """`work` has an inside now that everyone on the way to `check` enters, and the actor never did."""
    old = machine(1, {"open": {"ASK": "work"}, "work": {"SEND": "review"}, "review": {}})
    new = machine(2, {"open": {"ASK": "work"}, "work": {"SEND": "check"}, "check": {}})
    new["states"]["work"] |= {"initial": "draft", "states": {"draft": {}}}
    p = proposed([old], new, in_state("review", ["ASK", "SEND"]))
    assert p.block == {"stateMapping": {"review": "check"}}
    assert [(h.hazard, h.state, n) for h, n in p.findings] == [("gate_skipped", "work.draft", 1)]
    assert '{hazard: gate_skipped, state: work.draft, reason: "..."}' in text(p, Frame(()))
    accepted = {"accept": [{"hazard": "gate_skipped", "state": "work.draft", "reason": "no drafts then"}]}
    assert proposed([old], new | {"migration": accepted}, in_state("review", ["ASK", "SEND"])).findings == ()


def test_nobody_strands() -> None:
    p = proposed([OLD], GATED, in_state("review", ["ASK"]))
    assert (p.entries, p.unhelped, p.block) == ((), (), {})
    assert "nobody strands" in text(p, Frame(()))


# --- the property --------------------------------------------------------------------------------------


def untouched(before: Sequence[Decision], after: Sequence[Decision]) -> bool:
    """Everybody who does not strand fares as before."""
    return all(
        (b.outcome, b.target) == (a.outcome, a.target) and findings(a) <= findings(b)
        for b, a in zip(before, after, strict=True)
        if b.outcome != "strand"
    )


def findings(d: Decision) -> set[Any]:
    return {h for h in d.hazards if h.is_finding}


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_proposal_never_touches_who_does_not_strand(case: dict[str, Any]) -> None:
    """Pasted into the definition, as a person would, it frees as many as it says and moves nobody else."""
    p = proposed(case["sources"], case["target"], case["actors"])
    before = decisions(case["sources"], case["target"], case["actors"])
    after = decisions(case["sources"], pasted(case["target"], p.block), case["actors"])
    assert untouched(before, after)
    freed = [
        (b, a) for b, a in zip(before, after, strict=True) if b.outcome == "strand" and a.outcome == "migrate"
    ]
    assert len(freed) == p.freed == p.after["migrate"] - p.before["migrate"]
    assert sum(u.count for u in p.unhelped) == p.after["strand"] == sum(d.outcome == "strand" for d in after)
    assert all(s.freed for s in p.entries)
    if not any(s.entry.kind == "rename" for s in p.entries):
        assert all(a.target and b.landings and a.target.state == b.landings[0].state for b, a in freed)


# --- output --------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *definitions: str, actors: str, **more: Any) -> str:
    command(list(definitions), actors=actors, quiet=True, **more)
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["build", "issue", "session"])
def test_the_lines_can_be_pasted(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The article's fix, taken from the output as it stands, leaves nobody stranded."""
    shutil.copytree(ROOT / "examples" / "02-broken-deployment", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    ending = "json" if kind == "session" else "yaml"
    v1, v2 = f"{kind}-v1.{ending}", f"{kind}-v2.{ending}"
    said = run(capsys, v1, v2, actors=f"{kind}.jsonl")
    block = said.split(":\n", 1)[1].split("\n\n")[0]
    whole = Path(v2).read_text()
    if ending == "json":
        entry = block[: block.index("}") + 1]
        whole = whole.rstrip().removesuffix("}").rstrip() + ",\n" + entry + "\n}\n"
    else:
        whole += "\n" + block + "\n"
    Path(v2).write_text(whole)
    assert "nobody strands" in run(capsys, v1, v2, actors=f"{kind}.jsonl")


def test_formats_agree(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples" / "03-loan-history")
    files = ("loan-v1.yaml", "loan-v2.yaml")
    parsed = json.loads(run(capsys, *files, actors="actors.jsonl", formats=["json"]))
    assert parsed["before"]["wouldStrand"] == 9
    assert sum(e["freed"] for e in parsed["entries"]) == 9 - parsed["after"]["wouldStrand"]
    assert sum(u["count"] for u in parsed["unhelped"]) == parsed["after"]["wouldStrand"]
    said = run(capsys, *files, actors="actors.jsonl", formats=["markdown"])
    for entry in parsed["entries"]:
        assert f"- from: {entry['from']} # {entry['histories']} histor" in said
    assert "loan-20" not in said


def test_nothing_in_user_text_is_markup() -> None:
    old = machine(1, {"[/x]": {"\x1b[31m`GO`": "b\u202e"}, "b\u202e": {}})
    new = machine(2, {"[/x]": {"\x1b[31m`GO`": "c: #1"}, "c: #1": {}})
    p = proposed([old], new, in_state("b\u202e", ["\x1b[31m`GO`"]))
    assert p.after["strand"] == 0
    for frame in (Frame(()), Frame((), as_json=True)):
        for said in (text(p, frame), markdown(p, frame), render.json(p, frame)):
            assert "\x1b" not in said
            assert "\u202e" not in said
    assert r'"b\u202e": "c: #1"' in text(p, Frame(()))


def test_standard_input_is_read_more_than_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT / "examples" / "01-pull-request")
    files = ("pull-request-v1.yaml", "pull-request-v2-unmapped.yaml")
    with open("actors.jsonl") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert "approved: security_review # 10 histories" in run(capsys, *files, actors="-")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": 1, "state": "open"}\n{"id": }\n')
    with open(broken) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(InputUnreadable) as error:
            run(capsys, *files, actors="-")
    assert [(p.path, p.line) for p in error.value.problems] == [("<stdin>", 2)]
    with pytest.raises(Findings):
        run(capsys, *files, actors=str(broken), keep_going=True)
    assert "1 record could not be read" in capsys.readouterr().out


def test_histories_in_a_second_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ROOT / "examples" / "01-pull-request"
    rows = tmp_path / "rows.jsonl"
    actors = tmp_path / "actors.jsonl"
    records = [json.loads(line) for line in (folder / "actors.jsonl").read_text().splitlines()]
    rows.write_text(
        "".join(json.dumps({"actor": r["id"], **e}) + "\n" for r in records for e in r.pop("history"))
    )
    actors.write_text("".join(json.dumps(r) + "\n" for r in records))
    monkeypatch.chdir(folder)
    files = ("pull-request-v1.yaml", "pull-request-v2-unmapped.yaml")
    said = run(capsys, *files, actors=str(actors), history=str(rows))
    assert "approved: security_review # 10 histories" in said
