"""What a migration leaves: states, contexts, markers, and persisted snapshots that XState restores."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from statekeep_cli.core.apv import Deployment, Ends
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Definition, build
from statekeep_cli.core.moving import After, Mover, marker, rescue_tag
from statekeep_cli.core.record import Intake, Opened
from statekeep_cli.core.router import Router
from statekeep_cli.core.splice import appended, members, spliced
from tests.support import ROOT, actor_of
from tests.test_vectors import FILES, vectors

# --- XState itself ---------------------------------------------------------------------------------------


def xstate() -> Path:
    """The folder of the xstate package; the test is skipped, visibly, where there is none."""
    if shutil.which("node") is None:
        pytest.skip("node is not here; these tests restore snapshots in the real XState")
    named = os.environ.get("STATEKEEP_XSTATE")
    places = [Path(named)] if named else [ROOT / "node_modules" / "xstate"]
    if not named and shutil.which("npm"):
        found = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        places.append(Path(found.stdout.strip()) / "xstate")
    for place in places:
        if (place / "package.json").exists():
            return place.resolve()
    pytest.skip("xstate is not here; npm install xstate@5, and STATEKEEP_XSTATE=…/node_modules/xstate")


def in_xstate(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
    """What XState does with each job (tests/xstate.cjs)."""
    command = ["node", str(ROOT / "tests" / "xstate.cjs"), str(xstate())]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def events(*types: str) -> list[dict[str, str]]:
    return [{"type": t} for t in types]


# --- helpers ---------------------------------------------------------------------------------------------


def moved(
    source: Definition, target: Definition, record: dict[str, Any]
) -> tuple[After, Decision, Mover, Any]:
    deployment = Deployment([source], target)
    actor = actor_of({"id": "a", **record})
    decision = Router(deployment).route_one(actor)
    assert decision.outcome == "migrate", decision
    mover = Mover(deployment)
    return mover.after(actor, decision), decision, mover, actor


def flat(version: int, *states: str, **more: Any) -> dict[str, Any]:
    return {"id": "m", "version": version, "initial": states[0], "states": {s: {} for s in states}, **more}


def with_context(edits: dict[str, Any], context: str | None, snapshot: str | None = None) -> After:
    source, target = build(flat(1, "a")), build(flat(2, "a", migration={"context": edits}))
    deployment = Deployment([source], target)
    actor = actor_of({"id": "a", "state": "a", "history": []})
    if context is not None:
        actor = replace(actor, context=Raw(context.encode()))
    if snapshot is not None:
        actor = replace(actor, snapshot=Raw(snapshot.encode()))
    decision = Router(deployment).route_one(actor)
    mover = Mover(deployment)
    after = mover.after(actor, decision)
    assert mover.is_uniform(actor, decision) == (after.context is None and after.snapshot is None)
    return after


# --- states, contexts, markers ---------------------------------------------------------------------------


def test_a_plain_actor_is_its_decision() -> None:
    source, target = build(flat(1, "a", "b")), build(flat(2, "a", "c", stateMapping={"b": "c"}))
    after, decision, mover, actor = moved(source, target, {"state": "b"})
    assert after == After('"c"', "m", 2, None, None)
    assert mover.is_uniform(actor, decision)
    assert json.loads(marker(decision)) == {
        "type": "migrated",
        "from": {"version": 1, "state": "b"},
        "to": {"version": 2, "state": "c"},
    }


def test_who_does_not_migrate_is_not_moved() -> None:
    source, target = build(flat(1, "a", "b")), build(flat(2, "a"))
    deployment = Deployment([source], target)
    actor = actor_of({"id": 1, "state": "b"})
    decision = Router(deployment).route_one(actor)
    mover = Mover(deployment)
    assert mover.is_uniform(actor, decision)
    with pytest.raises(ValueError, match="stays as it is"):
        mover.after(actor, decision)
    tag = json.loads(rescue_tag(decision, "run-1"))
    assert tag["reason"] == decision.reason
    assert tag["detail"] == decision.detail
    assert tag["run"] == "run-1"


@pytest.mark.parametrize(
    ("edits", "before", "after"),
    [
        ({"defaults": {"x": 1}}, '{"y": 1.10, "n": 123456789012345678901234567890}', None),
        ({"defaults": {"x": 1}}, None, '{"x":1}'),
        ({"defaults": {"x": 1}}, '{"x": 2}', ""),
        ({"defaults": {"a.b": 1}}, '{"a": {"c": 2}}', '{"a":{"c":2,"b":1}}'),
        ({"rename": {"a.b": "c.d"}}, '{"a": {"b": 1, "e": 2}, "z": 0}', '{"a":{"e":2},"z":0,"c":{"d":1}}'),
        ({"remove": ["a.b", "gone"]}, '{"a": {"b": 1}}', '{"a":{}}'),
        ({"remove": ["gone"]}, '{"a": 1}', ""),
        ({"remove": ["gone"]}, None, ""),
    ],
)
def test_context_edits(edits: dict[str, Any], before: str | None, after: str | None) -> None:
    found = with_context(edits, before).context
    if after is None:
        assert found == '{"y":1.10,"n":123456789012345678901234567890,"x":1}'
    else:
        assert found == (after or None)


def test_a_context_that_is_no_object_cannot_be_edited() -> None:
    source, target = build(flat(1, "a")), build(flat(2, "a", migration={"context": {"defaults": {"x": 1}}}))
    decision = Router(Deployment([source], target)).route_one(
        actor_of({"id": 1, "state": "a", "history": [], "context": [1]})
    )
    assert (decision.outcome, decision.reason) == ("strand", "context_invalid")


def test_a_deep_context_is_edited() -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    assert with_context({"defaults": {"x": 1}}, deep).context == deep[:-1] + ',"x":1}'


def test_a_snapshot_keeps_what_it_has() -> None:
    text = '{"status": "active", "context": {"n": 1}, "mine": [1.50], "value": "a", "children": {}}'
    after = with_context({"defaults": {"x": 2}}, '{"n": 1}', text)
    assert after.context == '{"n":1,"x":2}'
    assert after.snapshot == text.replace('{"n": 1}', '{"n":1,"x":2}')


def test_a_machine_that_has_ended_is_done_in_its_snapshot() -> None:
    source = build(flat(1, "a"))
    config = flat(2, "b", stateMapping={"a": "b"})
    config["states"]["b"] = {"type": "final"}
    snapshot = {"value": "a", "status": "active", "context": {}}
    after, *_ = moved(source, build(config), {"snapshot": snapshot})
    assert json.loads(after.snapshot or "") == {"value": "b", "status": "done", "context": {}}


# --- remembered history and children ---------------------------------------------------------------------

PLAYER = {
    "id": "player",
    "version": 1,
    "initial": "on",
    "states": {
        "on": {
            "initial": "quiet",
            "states": {
                "quiet": {"on": {"UP": "loud"}},
                "loud": {"initial": "low", "states": {"low": {"on": {"MORE": "high"}}, "high": {}}},
                "last": {"type": "history", "history": "shallow"},
                "exact": {"type": "history", "history": "deep"},
            },
            "on": {"OFF": "off"},
        },
        "off": {"on": {"ON": "on.last", "AGAIN": "on.exact"}},
    },
}


def radio(**more: Any) -> dict[str, Any]:
    """The player under other names."""
    text = json.dumps(PLAYER).replace('"on"', '"playing"').replace("on.", "playing.")
    text = text.replace('"playing": {"UP"', '"on": {"UP"').replace('"playing": {"MORE"', '"on": {"MORE"')
    text = text.replace('"playing": {"OFF"', '"on": {"OFF"').replace('"playing": {"ON"', '"on": {"ON"')
    return {**json.loads(text), "id": "radio", "version": 2, **more}


BY_MAPPING = {"stateMapping": {"on": "playing"}}
BY_ROUTE = {**BY_MAPPING, "migration": {"routes": [{"from": "off", "to": "off"}]}}


@pytest.mark.parametrize("metadata", [BY_MAPPING, BY_ROUTE])
def test_remembered_history_is_renamed(metadata: dict[str, Any]) -> None:
    snapshot = {
        "value": "off",
        "historyValue": {
            "player.on.last": [{"id": "player.on.quiet"}],
            "player.on.exact": ["player.on.quiet"],
        },
        "context": {},
        "status": "active",
        "children": {},
    }
    after, *_ = moved(build(PLAYER), build(radio(**metadata)), {"snapshot": snapshot, "history": ["OFF"]})
    assert json.loads(after.snapshot or "")["historyValue"] == {
        "radio.playing.last": [{"id": "radio.playing.quiet"}],
        "radio.playing.exact": ["radio.playing.quiet"],
    }


def test_the_mapping_of_a_route_carries_history_too() -> None:
    metadata = {"migration": {"routes": [{"to": "off"}], "stateMapping": {"on": "playing"}}}
    source = build(PLAYER)
    target = build(radio(**metadata))
    snapshot = {"value": "off", "historyValue": {"player.on.last": [{"id": "player.on.quiet"}]}}
    decision = Router(Deployment([source], target)).route_one(actor_of({"id": 1, "snapshot": snapshot}))
    # A route from the root beats every key: what was remembered has no place.
    assert (decision.outcome, decision.reason) == ("strand", "history_value_lost")


def test_two_memories_do_not_fit_into_one() -> None:
    twin = {"initial": "x", "states": {"x": {}, "y": {}, "h": {"type": "history"}}}

    source = build({"id": "m", "version": 1, "initial": "off", "states": {"off": {}, "a": twin, "b": twin}})
    states = {"off": {}, "a": twin}
    target = build(
        {
            "id": "m",
            "version": 2,
            "initial": "off",
            "states": states,
            "stateMapping": {"b": "a", "off": "off"},
        }
    )
    for remembered, outcome in (("m.b.x", "migrate"), ("m.b.y", "strand")):
        snapshot = {
            "value": "off",
            "historyValue": {"m.a.h": [{"id": "m.a.x"}], "m.b.h": [{"id": remembered}]},
        }
        decision = Router(Deployment([source], target)).route_one(actor_of({"id": 1, "snapshot": snapshot}))
        assert decision.outcome == outcome


def job(version: int, id: str, state: str, own: str | None = None) -> dict[str, Any]:
    invoke = {"src": "work", "onDone": "done", **({"id": own} if own else {})}
    states = {state: {"invoke": [{"src": "watch"}, invoke]}, "done": {}}
    return {"id": id, "version": version, "initial": state, "states": states}


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (job(2, "m", "waiting"), "1.m.waiting"),
        (job(2, "n", "waiting"), "1.n.waiting"),
        ({**job(2, "m", "running"), "stateMapping": {"waiting": "running"}}, "1.m.running"),
        ({**job(2, "m", "running", "worker"), "stateMapping": {"waiting": "running"}}, "worker"),
        (
            {**job(2, "m", "running"), "migration": {"routes": [{"from": "waiting", "to": "running"}]}},
            "1.m.running",
        ),
    ],
)
def test_children_go_by_the_targets_names(target: dict[str, Any], named: str) -> None:
    worker = {"snapshot": {"status": "active", "n": 1.0}, "src": "work", "syncSnapshot": False}
    context = {"ref": {"xstate$$type": 1, "id": "1.m.waiting"}, "list": [{"id": "1.m.waiting"}]}
    snapshot = {"value": "waiting", "context": context, "children": {"1.m.waiting": worker}}
    after, *_ = moved(build(job(1, "m", "waiting")), build(target), {"snapshot": snapshot, "history": []})
    found = json.loads(after.snapshot or "")
    assert found["children"] == {named: worker}
    assert found["context"]["ref"]["id"] == named
    assert found["context"]["list"] == context["list"]
    if named != "1.m.waiting":
        assert json.loads(after.context or "") == found["context"]


def test_xstate_finds_history_and_children_again() -> None:
    child = {"initial": "busy", "states": {"busy": {"on": {"FINISH": "over"}}, "over": {"type": "final"}}}
    first, second = in_xstate(
        {"machine": PLAYER, "events": events("UP", "MORE", "OFF"), "guards": {}},
        {"machine": job(1, "m", "waiting"), "events": [], "machines": {"work": child, "watch": child}},
    )
    off, *_ = moved(build(PLAYER), build(radio(**BY_MAPPING)), {"snapshot": first["snapshot"]})
    target = {**job(2, "n", "running", "worker"), "stateMapping": {"waiting": "running"}}
    running, *_ = moved(build(job(1, "m", "waiting")), build(target), {"snapshot": second["snapshot"]})
    shallow, deep, job_done = in_xstate(
        {"machine": radio(), "snapshot": json.loads(off.snapshot or ""), "events": events("ON")},
        {"machine": radio(), "snapshot": json.loads(off.snapshot or ""), "events": events("AGAIN")},
        {
            "machine": target,
            "machines": {"work": child, "watch": child},
            "snapshot": json.loads(running.snapshot or ""),
            "events": [{"child": "worker", "type": "FINISH"}],
        },
    )
    assert shallow["values"] == ["off", {"playing": {"loud": "low"}}]
    assert deep["values"] == ["off", {"playing": {"loud": "high"}}]
    assert job_done["values"] == ["running", "done"]


@pytest.mark.parametrize("name", FILES)
def test_migrated_snapshots_go_on_in_xstate_as_they_would_have(name: str) -> None:
    """Every recorded machine, moved in mid-life to itself under other names, goes on as recorded."""
    some = list(vectors(name))
    halves = [len(v["events"]) // 2 for v in some]
    before = in_xstate(
        *(
            {**v, "snapshot": None, "events": events(*v["events"][:half])}
            for v, half in zip(some, halves, strict=True)
        )
    )
    jobs, expected, remembered, children = [], [], 0, 0
    for vector, half, then in zip(some, halves, before, strict=True):
        assert then["values"] == vector["values"][: half + 1]
        if then["status"] != "active":
            continue
        source = build({**vector["machine"], "version": 1})
        renamed = renaming(vector["machine"])
        mapping = {
            key: key.replace("s0", "t0")
            for key, state in vector["machine"]["states"].items()
            if state.get("type") != "history"
        }
        target = build({**renamed, "version": 2, "stateMapping": mapping})
        deployment = Deployment([source], target)
        actor = actor_of({"id": 1, "snapshot": then["snapshot"]})
        opened = Intake(deployment).open(actor)
        assert isinstance(opened, Opened)
        decision = deployment.decide(opened.case, Ends(()))  # a mapping decides, whatever the history
        assert decision.outcome == "migrate", (decision, vector)
        after = Mover(deployment).after(actor, decision)
        snapshot = json.loads(after.snapshot or "")
        remembered += bool(snapshot["historyValue"])
        children += bool(snapshot["children"])
        names = deployment.lanes[0].alphabets[0]
        later = events(*map(names.translate, vector["events"][half:]))
        jobs.append({"machine": renamed, "guards": vector["guards"], "snapshot": snapshot, "events": later})
        expected.append([renaming(v) for v in vector["values"][half:]])
    for work, values, found in zip(jobs, expected, in_xstate(*jobs), strict=True):
        assert found.get("values") == values, (work, found)
    assert len(jobs) > 200
    assert remembered > 20
    assert children > 20 or "timers" not in name


def renaming(value: Any) -> Any:
    """A machine or a state value with another id, and other names for the states at its top."""
    text = re.sub(r"\bs0(\d)", r"t0\1", json.dumps(value))
    found = json.loads(re.sub(r'"#m\b', '"#other', text))
    if isinstance(found, dict) and found.get("id") == "m":
        found["id"] = "other"
    return found


# --- text ------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=4), json_values, max_size=5)


@given(objects, objects, st.sets(st.text(max_size=4)), st.sampled_from([None, 1, 2]), st.booleans())
def test_splicing_is_editing(
    before: dict[str, Any], new: dict[str, Any], gone: set[str], indent: int | None, ascii: bool
) -> None:
    gone = {k for k in [*gone, *before] if k not in new and (k in gone or len(k) % 2)}
    text = json.dumps(before, indent=indent, ensure_ascii=ascii).encode("utf-8", "replace")
    edits: dict[str, bytes | None] = {k: json.dumps(v).encode() for k, v in new.items()}
    found = spliced(b" " + text + b"\r", {**edits, **dict.fromkeys(gone)})
    assert found.startswith(b" ")
    assert found.endswith(b"\r")
    kept = {k: v for k, v in before.items() if k not in gone}
    assert list(json.loads(found).items()) == list({**kept, **new}.items())
    assert spliced(text, {}) == text
    assert spliced(spliced(text, edits), edits) == spliced(text, edits)


@given(st.lists(json_values, max_size=4), st.sampled_from([None, 2]))
def test_appending_is_appending(items: list[Any], indent: int | None) -> None:
    text = json.dumps(items, indent=indent).encode()
    assert json.loads(appended(text, b'{"a":1}')) == [*items, {"a": 1}]


def test_a_key_that_comes_twice() -> None:
    assert spliced(b'{"a":1,"b":2,"a":3}', {"b": b"4"}) == b'{"a":3,"b":4}'
    assert members(b'{"a":1,"a":3}') == {"a": b"3"}
