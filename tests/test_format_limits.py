"""Every format keeps its size, and what is left out is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.core.decision import Hazard
from statekeep_cli.errors import Problem
from statekeep_cli.render.markdown import LONG, TIERS, markdown, marker
from tests.test_formats import MACHINE, commands, compare, drawn, every_format, sarif_run
from tests.test_render import group, hostile_report, migrated, place, plain_report, report


def big(folder: Path) -> list[str]:
    """A definition of 400 states, of which none stays, and actors in 500 strand groups."""
    name = "<b>*[x](y)*</b>`|"

    def states(count: int) -> dict[str, Any]:
        keys = [f"{name}{i}" for i in range(count)]
        return {k: {"on": {"GO": following}} for k, following in zip(keys, [*keys[1:], keys[0]], strict=True)}

    machines = []
    for version, count in ((1, 400), (2, 100)):
        inside = states(count)
        machines.append({"id": "big", "version": version, "initial": next(iter(inside)), "states": inside})
    new = {f"new{i}": {"on": {"GO": f"new{(i + 1) % 400}"}} for i in range(400)}
    machines.append({"id": "big", "version": 3, "initial": "new0", "states": new})
    paths = []
    for machine in machines:
        paths.append(f"v{machine['version']}.json")
        (folder / paths[-1]).write_text(json.dumps(machine, indent=1))
    records = [
        {"id": f"secret-{m['version']}-{i}", "version": m["version"], "definition": "big", "state": state,
         "history": ["GO"] * i}
        for m in machines[:2]
        for i, state in enumerate(m["states"])
    ]  # fmt: skip
    (folder / "actors.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return [*paths, "--actors", "actors.jsonl"]


def test_limits_of_a_large_report(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    said = every_format(tmp_path, tmp_path, *big(tmp_path), GITHUB_STEP_SUMMARY=str(summary))
    known = json.loads(said["json"])
    assert len([g for g in known["groups"] if g["outcome"] == "strand"]) == 500
    compare(said)
    assert len(said["markdown"]) < 65_536
    assert "The full report is `" in said["markdown"]
    assert 0 < summary.stat().st_size < 1024 * 1024
    assert len(commands(said["github"])) == 10
    assert len(said["sarif"]) < 10 * 1024 * 1024
    assert len(sarif_run(said["sarif"])["results"]) == 500  # code scanning shows 5,000
    for name in ("markdown", "html", *MACHINE):
        assert "secret-" not in said[name], name


def test_a_comment_shrinks_in_tiers() -> None:
    small = report(migrated(), group())
    assert "Left out" not in markdown(small)
    sizes = []
    for count, width in ((40, 10), (150, 120), (190, 190), (400, 190), (2000, 190)):
        made = report(
            *(group(source=place("s" * width + str(i)), detail="d" * width, count=2) for i in range(count))
        )
        said = markdown(made, full="report.html")
        sizes.append(len(said))
        assert len(said) < 65_536
        assert f"| 0 | {2 * count:,} | 0 | 0 | 0 | {2 * count:,} |" in said
        if count > 40:
            assert "The full report is `report.html`." in said
    assert max(sizes) > 30_000  # what fits is used


@pytest.mark.parametrize("limit", [10**6, 10**5, 65_000, 30_000, 10_000, 3_000, 1_000, 400])
def test_every_tier_fits_and_says_what_it_leaves_out(limit: int) -> None:
    made = report(*(group(source=place(f"s{i}"), count=3) for i in range(700)), migrated(5))
    said = markdown(made, limit=limit, full="report.html")
    assert len(said) <= limit
    assert "| 5 | 2,100 | 0 | 0 | 0 | 2,105 |" in said
    assert ("The full report is `report.html`." in said) == (limit < 10**6 or "left out here" in said)
    if 400 < limit <= 1_000:
        assert "| 2,100 | 700 | strand | `diverged` |" in said


def test_the_last_tier_has_no_list_that_grows() -> None:
    assert TIERS[-1].rows is None
    assert (TIERS[-1].blocks, TIERS[-1].landings, TIERS[-1].findings) == (0, 0, 0)
    assert LONG.left == TIERS[0].left == ""


def test_a_comment_says_where() -> None:
    """Places are code as well, whatever a path holds."""
    made = report(group(), migrated(4, hazards=((Hazard("dead_end", "open"), 4),)))
    hazard, _ = made.findings()[0]
    locations = {made.groups[0].key: Problem("v2.yaml", 11, 16, ""), hazard: Problem("`a|b`.yaml", 3, 2, "")}
    said = drawn(made, "markdown", locations=locations)
    assert "not approved` (`v2.yaml:11:16`)" in said
    assert "(`` `a|b`.yaml:3:2 ``)" in said


def test_counts_alone_always_fit() -> None:
    long = "x" * 500
    made = hostile_report(long)
    shortest = markdown(made, limit=300, full="report.html")
    assert shortest.startswith(marker(made))
    assert "| 5 |" in shortest
    assert "everything but the counts" in shortest


def test_a_comment_is_found_again() -> None:
    made = plain_report()
    newer = replace(
        made, definitions=(made.definitions[0], replace(made.definitions[1], version=9, path="other.yaml"))
    )
    assert markdown(made).splitlines()[0] == marker(made) == marker(newer)
    other = replace(made, definitions=tuple(replace(d, id="x --> y") for d in made.definitions))
    assert marker(other) != marker(made)
    assert marker(other).count("-->") == 1


def test_hazard_lines_to_accept_are_in_every_format() -> None:
    made = report(migrated(4, hazards=((Hazard("dead_end", "open"), 4),)))
    line = '- {hazard: dead_end, state: open, reason: "..."}'
    for name in ("markdown", "github", "junit"):
        assert line in drawn(made, name).replace("&quot;", '"')
    assert (
        line.replace("{", "{{").replace("}", "}}")
        in json.loads(drawn(made, "sarif"))["runs"][0]["results"][0]["message"]["text"]
    )
