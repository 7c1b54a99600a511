"""Findings that a team accepted: baselines, and ignores in definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.core.baseline import Entry
from statekeep_cli.readers.definitions import examine
from tests.repositories import ACTORS, V1, V2, Repository


@pytest.fixture
def team(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)  # of which only files and `run` are used
    made.write("v1.yaml", V1)
    made.write("v2.yaml", V2)
    write_actors(made, 1)
    return made


def write_actors(team: Repository, stranded: int) -> None:
    more = [{**ACTORS[2], "id": f"more-{i}"} for i in range(stranded - 1)]
    team.write("actors.jsonl", "".join(json.dumps(a) + "\n" for a in [*ACTORS, *more]))


def preview(team: Repository, *more: str) -> tuple[int, str]:
    done = team.run("preview", "v1.yaml", "v2.yaml", "--actors", "actors.jsonl", *more)
    return done.returncode, done.stdout + done.stderr


def entries(team: Repository) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((team.path / "known.json").read_text(encoding="utf-8"))[
        "accepted"
    ]
    return found


def test_what_is_known_passes_the_gate_and_is_listed(team: Repository) -> None:
    assert preview(team)[0] == 3
    assert preview(team, "--write-baseline", "known.json")[0] == 0
    code, said = preview(team, "--baseline", "known.json")
    assert code == 0
    assert 'accepted by the baseline: 1 stranded, state_removed in "approved" of loan' in said
    assert "   1  strand" in said  # the numbers stay what they are


def test_a_count_is_a_budget(team: Repository) -> None:
    preview(team, "--write-baseline", "known.json")
    write_actors(team, 4)
    code, said = preview(team, "--baseline", "known.json")
    assert code == 3
    assert "3 actors strand, and --max-strand allows 0" in said
    assert "1 of 4 stranded" in said
    assert preview(team, "--baseline", "known.json", "--max-strand", "3")[0] == 0


def test_entries_that_nothing_needs_are_reported(team: Repository) -> None:
    preview(team, "--write-baseline", "known.json")
    team.write("v2.yaml", V2 + "stateMapping: {approved: cleared}\n")
    code, said = preview(team, "--baseline", "known.json")
    assert code == 0
    assert f"baseline entry {entries(team)[0]['fingerprint']} is not needed any more" in " ".join(
        said.split()
    )


def test_fingerprints_do_not_depend_on_lines_or_counts(team: Repository) -> None:
    preview(team, "--write-baseline", "known.json")
    (before,) = entries(team)
    write_actors(team, 3)
    team.write("v2.yaml", "# moved down\n\n" + V2)
    preview(team, "--write-baseline", "known.json")
    (after,) = entries(team)
    assert (before["fingerprint"], before["count"], after["count"]) == (after["fingerprint"], 1, 3)


def test_words_that_people_gave_stay(team: Repository) -> None:
    preview(team, "--write-baseline", "known.json")
    text = (team.path / "known.json").read_text(encoding="utf-8")
    team.write("known.json", text.replace('"why": ""', '"why": "the back office calls them"'))
    assert "the back office calls them" in " ".join(preview(team, "--baseline", "known.json")[1].split())
    preview(team, "--write-baseline", "known.json")
    assert entries(team)[0]["why"] == "the back office calls them"


def test_hazards_are_accepted_too(team: Repository) -> None:
    gated = (
        V1.replace("version: 1", "version: 2")
        .replace("SUBMIT: review", "SUBMIT: check")
        .replace("  review:", "  check: {on: {PASS: review}}\n  review:")
    )
    team.write("v2.yaml", gated + "stateMapping: {review: review, approved: approved}\n")
    code, said = preview(team)
    assert code == 3
    assert "not accepted in the definition" in said
    preview(team, "--write-baseline", "known.json")
    assert {e["kind"] for e in entries(team)} >= {"hazard"}
    code, said = preview(team, "--baseline", "known.json")
    assert code == 0
    assert "gate_skipped" in said


def test_databases_have_baselines_too(team: Repository) -> None:
    url = str(team.path / "own.db")
    team.run("db", "init", "--db", url)
    team.run("db", "import", "v1.yaml", "--actors", "actors.jsonl", "--db", url)
    assert team.run("preview", "v2.yaml", "--db", url).returncode == 3
    assert team.run("preview", "v2.yaml", "--db", url, "--write-baseline", "known.json").returncode == 0
    assert team.run("preview", "v2.yaml", "--db", url, "--baseline", "known.json").returncode == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: {}, "it has no list 'accepted'"),
        (lambda b: {**b, "formatVersion": 9}, "its formatVersion is not 1"),
        (lambda b: {**b, "accepted": [3]}, "is no entry"),
        (
            lambda b: {**b, "accepted": [{**b["accepted"][0], "reason": "diverged"}]},
            "'fingerprint' is not that of",
        ),
        (
            lambda b: {**b, "accepted": [{**b["accepted"][0], "count": "many"}]},
            "'count' is a number of actors",
        ),
        (lambda b: {**b, "accepted": [{"kind": "strand"}]}, "'reason' is missing"),
        (lambda b: {**b, "accepted": [{"kind": "x"}]}, "'kind' is \"x\""),
    ],
)
def test_a_baseline_that_is_none(team: Repository, change: Any, said: str) -> None:
    preview(team, "--write-baseline", "known.json")
    known = json.loads((team.path / "known.json").read_text(encoding="utf-8"))
    team.write("known.json", json.dumps(change(known)))
    code, printed = preview(team, "--baseline", "known.json")
    assert code == 1
    assert said in printed
    assert "known.json:1:" in printed


def test_entries_survive_their_file() -> None:
    entry = Entry(
        "hazard", {"hazard": "dead_end", "state": "a", "definition": "m", "version": "2"}, None, "why"
    )
    assert Entry.of_json(json.loads(json.dumps(entry.as_json()))) == entry


# --- check ---------------------------------------------------------------------------------------------

LOST = V1 + "  lost: {}\n"


def test_check_accepts_warnings_and_no_errors(team: Repository) -> None:
    team.write("v1.yaml", LOST)
    assert "SK029" in team.run("check", "v1.yaml").stdout
    team.run("check", "v1.yaml", "--write-baseline", "known.json")
    done = team.run("check", "v1.yaml", "--baseline", "known.json")
    assert "SK029" not in done.stdout
    assert "accepted by the baseline: v1.yaml:9:3: SK029 in loan" in done.stderr
    team.write("v1.yaml", LOST.replace("SUBMIT: review", "SUBMIT: revieww"))
    assert team.run("check", "v1.yaml", "--write-baseline", "known.json").returncode == 3
    team.write("v1.yaml", V1)
    team.run("check", "v1.yaml", "--write-baseline", "known.json")
    assert entries(team) == []


def test_one_file_for_check_and_preview(team: Repository) -> None:
    team.write("v1.yaml", LOST)
    preview(team, "--write-baseline", "known.json")
    team.run("check", "v1.yaml", "--write-baseline", "known.json")
    assert {e["kind"] for e in entries(team)} == {"strand", "check"}
    assert preview(team, "--baseline", "known.json")[0] == 0


# --- ignores -------------------------------------------------------------------------------------------


def codes(path: Path, text: str) -> list[tuple[str, int]]:
    path.write_text(text, encoding="utf-8")
    return [(p.code, p.line) for p in examine(str(path)).problems]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  lost: {}", [("SK029", 9)]),
        ("  lost: {}  # statekeep: ignore SK029 because an importer creates them", []),
        ("  lost: {}  # statekeep: ignore SK028, SK029 because both", [("SK072", 9)]),
        ("  # statekeep: ignore SK029 because an importer creates them\n\n  # more\n  lost: {}", []),
        ("  lost: {}  # statekeep: ignore SK029", [("SK029", 9), ("SK071", 9)]),
        ("  lost: {}  # statekeep: ignore SK029 because", [("SK029", 9), ("SK071", 9)]),
        ("  lost: {}  # statekeep: ignore SK29 because short", [("SK029", 9), ("SK072", 9)]),
        ("  lost: {}  # statekeep: ignore SK020 because errors", [("SK029", 9), ("SK072", 9)]),
        ('  lost: {description: "# statekeep: ignore SK029 because text"}', [("SK029", 9)]),
        ("  lost: {description: >-\n    # statekeep: ignore SK029 because text\n    }", [("SK003", 10)]),
        ("  lost: {x-statekeep-ignore: {SK029: an importer creates them}}", []),
        ("  lost: {x-statekeep-ignore: {SK029: ''}}", [("SK029", 9), ("SK071", 9)]),
        ("  lost: {x-statekeep-ignore: SK029}", [("SK029", 9), ("SK071", 9)]),
        ("x-statekeep-ignore: {SK029: nothing of the kind}", [("SK072", 9)]),
    ],
)
def test_ignores(tmp_path: Path, line: str, found: list[tuple[str, int]]) -> None:
    got = codes(tmp_path / "m.yaml", V1 + line + "\n")
    if found and found[0][0] == "SK003":
        assert [c for c, _ in got] in (["SK003"], ["SK029"])
    else:
        assert got == found


def test_ignores_in_json(tmp_path: Path) -> None:
    machine = {"id": "m", "version": 1, "initial": "a", "states": {"a": {"type": "final"}, "b": {}}}
    assert [c for c, _ in codes(tmp_path / "m.json", json.dumps(machine))] == ["SK029"]
    known = {**machine, "x-statekeep-ignore": {"SK029": "an importer creates them"}}
    assert codes(tmp_path / "m.json", json.dumps(known)) == []


def test_an_ignore_speaks_for_its_own_place(tmp_path: Path) -> None:
    text = V1 + "  lost: {}  # statekeep: ignore SK029 because one\n  more: {}\n"
    assert codes(tmp_path / "m.yaml", text) == [("SK029", 10)]


def test_errors_cannot_be_ignored(tmp_path: Path) -> None:
    text = V1.replace("SUBMIT: review}}", "SUBMIT: nowhere}}  # statekeep: ignore SK020 because I say so")
    assert {c for c, _ in codes(tmp_path / "m.yaml", text)} >= {"SK020", "SK072"}


def test_what_only_sources_show_is_not_called_unused(team: Repository) -> None:
    team.write(
        "v2.yaml", V2 + "migration:\n  rename: {events: {NEVER: PAY}} # statekeep: ignore SK048 because old\n"
    )
    assert "SK072" not in team.run("check", "v2.yaml").stdout
