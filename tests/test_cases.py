"""Worked decisions, `tests/cases/` and the shared ones, through the router and the general form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import build, canonical
from statekeep_cli.core.router import Router
from tests.support import actor_of, shared

FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
OURS = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in FILES
    for case in json.loads(file.read_text())
]
# Notices that go beyond apv.md's list.
OWN_NOTICES = ("bare_anchor",)


def assert_as_expected(decision: Decision, case: dict[str, Any]) -> None:
    expect = case["expect"]
    assert decision.outcome == expect["outcome"], (decision, case["why"])
    if "reason" in expect:
        assert decision.reason == expect["reason"], (decision, case["why"])
    if "rule" in expect and decision.outcome == "migrate":
        assert decision.rule.split(" ")[0] == expect["rule"], (decision, case["why"])
    if "state" in expect:
        assert decision.target is not None
        assert canonical(decision.target.value) == canonical(expect["state"]), case["why"]
    if "landings" in expect:
        landings = {canonical(x.value) for x in decision.landings}
        assert landings == {canonical(x) for x in expect["landings"]}, case["why"]
    if "hazards" in expect:
        found = {(h.hazard, h.state) for h in decision.hazards if h.hazard not in OWN_NOTICES}
        assert found == {tuple(h) for h in expect["hazards"]}, case["why"]


def decide_both_ways(case: dict[str, Any]) -> Decision:
    router = Router(Deployment([build(s) for s in case["sources"]], build(case["target"])))
    actor = actor_of(case["actor"])
    by_tables = router.route([actor])[0]
    assert by_tables == router.decide(actor)
    return by_tables


@pytest.mark.parametrize("case", OURS)
def test_our_case(case: dict[str, Any]) -> None:
    assert_as_expected(decide_both_ways(case), case)


def test_shared_cases() -> None:
    cases = json.loads(shared("cases", "decisions.json").read_text())
    assert cases
    for case in cases:
        assert_as_expected(decide_both_ways(case), case)
