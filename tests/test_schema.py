"""The published JSON Schemas: valid, strict where the page is, and what the rest is held to."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from statekeep_cli import schemas
from statekeep_cli.cli import main
from statekeep_cli.core.check_schemas import MAX_EXPANSION, check_schema, compile_schema
from statekeep_cli.core.decision import FINDINGS, Decision, Hazard, Landing, Place
from statekeep_cli.core.migration import POLICIES

CASES = Path(__file__).parent / "cases"


def validator(kind: str) -> Any:
    return jsonschema_rs.Draft202012Validator(schemas.load(kind), offline=True)


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_each_is_a_valid_schema_of_the_draft_it_names(kind: str) -> None:
    schema = schemas.load(kind)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(schema)
    compile_schema(schema)


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_the_command_prints_the_file_that_is_shipped(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (importlib.resources.files(schemas).joinpath(f"{kind}.json").read_text(), "")


def test_an_unknown_kind_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "banana"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "banana" in err


def test_the_schema_and_the_code_know_the_same_names() -> None:
    block = schemas.load("definition")["$defs"]["migration"]["properties"]
    policy = {name: tuple(value["enum"]) for name, value in block["policy"]["properties"].items()}
    assert policy == POLICIES
    assert set(FINDINGS) <= set(block["accept"]["items"]["properties"]["hazard"]["enum"])


def definition(**parts: Any) -> dict[str, Any]:
    return {"id": "m", "version": 1, "initial": "a", "states": {"a": {}}, **parts}


@pytest.mark.parametrize(
    "block",
    [
        {"anchors": {"a": {"event": ["A", "B"], "resume": "x"}}},
        {"anchors": {"a": {"since": {"of": {"event": "A"}, "reset": {"sequence": [{"state": "x"}]}}}}},
        {"anchors": {"a": {"all": ["b", {"startsWith": ["A"]}, {"none": [{"path": []}]}]}}},
        {"anchors": {"a": {"count": {"of": {"transition": {"event": "A"}}, "atMost": 0}}}},
        {"from": 1}, {"from": ["1", 2]}, {"routes": [{"strand": "why"}]},
        {"eligible": {"context": False}}, {},
    ],
)  # fmt: skip
def test_what_the_page_has_is_accepted(block: dict[str, Any]) -> None:
    assert validator("definition").is_valid(definition(migration=block))


@pytest.mark.parametrize(
    "block",
    [
        {"anchors": {"a": "b"}},
        {"anchors": {"a": {}}},
        {"anchors": {"a": {"event": "A", "state": "x"}}},
        {"anchors": {"a": {"sequence": [{"count": {"of": {"event": "A"}, "atLeast": 1}}]}}},
        {"anchors": {"a": {"sequence": ["b"]}}},
        {"anchors": {"a": {"sequence": []}}},
        {"anchors": {"a": {"startsWith": []}}},
        {"anchors": {"a": {"startsWith": "A"}}},
        {"anchors": {"a": {"since": {"of": {"any": ["b"]}, "reset": {"event": "A"}}}}},
        {"anchors": {"a": {"count": {"of": {"event": "A"}, "atLeast": 1.5}}}},
        {"anchors": {"a": {"transition": {}}}},
        {"anchors": {"a": {"all": [{"event": "A", "resume": "x"}]}}},
        {"routes": {"from": "a", "stay": True}},
        {"routes": [{"from": ["a"], "stay": True}]},
        {"routes": [{"from": "a", "to": None}]},
        {"routes": [{"from": "a", "strand": True}]},
        {"from": []}, {"from": None}, {"from": True},
        {"rename": {"events": {"A": ["B"]}}},
        {"context": {"remove": "x"}},
        {"policy": {"loops": True}},
        {"accept": [{"hazard": "dead_end", "state": "a", "reason": ""}]},
    ],
)  # fmt: skip
def test_what_the_page_does_not_have_is_refused(block: dict[str, Any]) -> None:
    assert not validator("definition").is_valid(definition(migration=block))


def test_worked_decisions_are_of_these_schemas() -> None:
    read = [case for path in sorted(CASES.glob("*.json")) for case in json.loads(path.read_text())]
    for case in read:
        for config in (*case["sources"], case["target"]):
            assert list(validator("definition").iter_errors(config)) == [], case["name"]
        if case["expect"].get("reason") != "snapshot_invalid":
            assert list(validator("actor").iter_errors(case["actor"])) == [], case["name"]


ACTOR = {
    "id": "pr-17", "definition": "pull-request", "version": 1, "status": "active",
    "state": {"a": {"b": "c"}}, "context": {"author": "kim"}, "mine": [1],
    "history": [{"type": "REQUEST", "at": "2026-05-02T09:14:00Z", "state": "open"}, "APPROVE",
                {"state": "x"},
        {"type": "migrated", "from": {"version": 1, "state": "a"}, "to": {"version": 2, "state": "b"}},
                {"type": "manual", "to": "c", "why": "script"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"id": 17}, True),
        ({"history": []}, True),
        ({"history": None}, True),
        ({"origin": {"version": 1, "state": "a"}}, True),
        ({"id": None}, False),
        ({"id": ""}, False),
        ({"state": 5}, False),
        ({"status": "asleep"}, False),
        ({"context": []}, False),
        ({"history": "A"}, False),
        ({"history": [""]}, False),
        ({"history": [{"at": 1}]}, False),
        ({"history": [{"type": "manual"}]}, False),
        ({"history": [{"type": "migrated", "from": {"version": 1}}]}, False),
        ({"snapshot": {"value": "a"}}, False),
    ],
)
def test_actor_records(change: dict[str, Any], valid: bool) -> None:
    assert validator("actor").is_valid({**ACTOR, **change}) is valid


def test_snapshots_stand_in_place_of_a_state() -> None:
    snapshot = {
        "value": {"a": "b"},
        "status": "active",
        "context": {},
        "historyValue": {"m.h": [{"id": "m.a"}]},
        "children": {},
    }
    assert validator("actor").is_valid({"id": 1, "snapshot": snapshot})
    assert not validator("actor").is_valid({"id": 1, "snapshot": {"status": "active"}})
    assert not validator("actor").is_valid({"id": 1})


def test_decisions_are_of_their_schema() -> None:
    place = Place("m", 1, '{"a":"b"}')
    decision = Decision(
        "strand",
        "diverged",
        "",
        "detail",
        place,
        None,
        (Landing('"a"', "E"), Landing('"b"')),
        ("x",),
        (Hazard("dead_end", "a"),),
    )
    digest = "sha256:" + "0" * 64
    line = {"formatVersion": 1, "definitions": [digest], "actor": "1", **decision.as_json()}
    assert list(validator("decision").iter_errors(line)) == []
    for wrong in ({"outcome": "maybe"}, {"from": "a"}, {"landings": [{"state": "a"}]}):
        assert not validator("decision").is_valid({**line, **wrong})
    assert not validator("decision").is_valid({k: v for k, v in line.items() if k != "rule"})


# --- schemas that come with definitions ----------------------------------------------------------------


def codes(schema: Any) -> list[str]:
    return [f.code for f in check_schema(schema, ())]


def doubling(levels: int) -> dict[str, Any]:
    parts: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{levels}": {"type": "object"}}}


def test_references_stay_inside_and_do_not_multiply() -> None:
    assert codes(doubling(10)) == []
    assert MAX_EXPANSION < 2**40
    assert codes(doubling(40)) == ["SK063"]
    assert codes({"$ref": "https://example.org/a"}) == ["SK061"]
    assert codes({"$defs": {"a": {"items": {"$ref": "a.json#/b"}}}}) == ["SK061"]
    with pytest.raises(ValueError, match="Retrieval is disabled"):
        compile_schema({"$ref": "https://example.org/a"})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {
            "$defs": {
                "tree": {"properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}}
            }
        },
        {"$anchor": "x", "properties": {"a": {"$ref": "#x"}}},
        {"properties": {"a/b~c": {"type": "string"}, "d": {"$ref": "#/properties/a~1b~0c"}}},
    ],
)
def test_recursive_schemas_are_fine(schema: Any) -> None:
    assert codes(schema) == []
    assert compile_schema(schema).is_valid({})


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("^a+$", []), ("(a|a)*$", []), (r"\d{4}-\d{2}", []), ("[[:alpha:]]", []),
        ("(?=a)b", ["SK062"]), ("(?<!a)b", ["SK062"]), (r"(a)\1", ["SK062"]), ("a{1000}{1000}", ["SK062"]),
        ("(", ["SK060"]), ("[z-a]", ["SK060"]),
    ],
)  # fmt: skip
def test_patterns_run_in_linear_time(pattern: str, found: list[str]) -> None:
    assert codes({"properties": {"a": {"pattern": pattern}}}) == found
    assert codes({"patternProperties": {pattern: {}}}) == found
    if found:
        with pytest.raises(ValueError, match="regex"):
            compile_schema({"pattern": pattern})


def test_a_hostile_pattern_does_not_hang() -> None:
    assert not compile_schema({"pattern": "^(a+)+$"}).is_valid("a" * 50_000 + "b")


def test_data_that_looks_like_a_schema_is_left_alone() -> None:
    look = {"$ref": "https://example.org", "pattern": "("}
    assert (
        codes(
            {"const": look, "enum": [look], "default": look, "examples": [look], "properties": {"$ref": {}}}
        )
        == []
    )


def test_every_error_of_a_schema_is_found_at_its_place() -> None:
    found = check_schema({"type": "strin", "properties": {"7": {"minimum": "x"}}}, ("contextSchema",))
    assert {f.pointer for f in found} == {
        ("contextSchema", "type"),
        ("contextSchema", "properties", "7", "minimum"),
    }
