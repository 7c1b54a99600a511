"""The worked decisions, ours and the shared ones, against the naive reference.

The files in `cases/` and the shared `decisions.json` have one form: `sources`, `target`, one `actor` and
`expect` with `outcome` and, where it matters, `state`, `reason`, `rule` (its kind), `landings` (their
states) and `hazards` (pairs of hazard and state).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.core.model import build, canonical
from tests.reference import decide

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "cases" / "decisions.json"


def read(path: Path) -> list[Any]:
    cases = json.loads(path.read_text("utf-8"))
    return [pytest.param(case, id=case["name"]) for case in cases]


def own_cases() -> list[Any]:
    return [case for path in sorted((HERE / "cases").glob("*.json")) for case in read(path)]


def difference(case: dict[str, Any]) -> dict[str, Any]:
    """What was decided, where it is not what the case expects."""
    decided = decide([build(s) for s in case["sources"]], build(case["target"]), case["actor"])
    expect, got = case["expect"], dict(decided)
    expect = {k: canonical(v) if k == "state" else v for k, v in expect.items()}
    got["state"] = canonical(got["state"])
    got["landings"] = sorted({state for state, _ in decided["landings"]})
    got["hazards"] = sorted([h, s] for h, s in decided["hazards"])
    if "landings" in expect:
        expect["landings"] = sorted(canonical(x) for x in expect["landings"])
    if "hazards" in expect:
        expect["hazards"] = sorted(expect["hazards"])
    return {k: got[k] for k in expect if got[k] != expect[k]}


@pytest.mark.parametrize("case", own_cases())
def test_own_case(case: dict[str, Any]) -> None:
    assert difference(case) == {}, f"expected {case['expect']}: {case['why']}"


@pytest.mark.parametrize("case", read(SHARED) if SHARED.exists() else [None])
def test_shared_case(case: dict[str, Any] | None) -> None:
    if case is None:
        pytest.skip(f"no shared cases at {SHARED}")
    assert difference(case) == {}, f"expected {case['expect']}: {case['why']}"
