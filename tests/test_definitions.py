"""Reading definitions: what commands get, and what they are told when they get nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from statekeep_cli.errors import DefinitionInvalid, InputUnreadable, UsageMistake
from statekeep_cli.readers.definitions import read_definition, read_definitions

V1 = "id: pr\nversion: 1\ninitial: open\nstates:\n  open: {on: {APPROVE: approved}}\n  approved: {}\n"
V2 = (
    "id: pr\nversion: 2\ninitial: open\nstates:\n  open: {on: {APPROVE: review}}\n"
    "  review: {on: {OK: approved}}\n  approved: {}\n"
)

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 20)}]\n" for i in range(9))


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def invalid(path: str, migration: str | None = None, *sources: str) -> list[str]:
    """The sentences of a definition's errors, without the folder."""
    with pytest.raises(DefinitionInvalid) as caught:
        read_definitions(sources, path, migration)
    assert caught.value.exit_code == 1
    errors = [p for p in caught.value.problems if p.severity == "error"]
    assert caught.value.message.startswith(errors[0].sentence)
    return [p.sentence.replace(str(Path(path).parent) + "/", "") for p in errors]


def test_json_and_yaml_are_the_same_definition(tmp_path: Path) -> None:
    from statekeep_cli.readers.source import parse

    yaml = read_definition(write(tmp_path, "v1.yaml", V1))
    text = json.dumps(parse(V1.encode(), "v1.yaml").value)
    assert read_definition(write(tmp_path, "v1.json", text)).definition == yaml.definition
    assert (yaml.definition.label, yaml.path, yaml.warnings) == ("pr@1", str(tmp_path / "v1.yaml"), ())
    assert yaml.definition.node("approved") is not None


def test_standard_input_and_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(V1.encode())))
    assert read_definition("-").definition.label == "pr@1"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 5}')))
    with pytest.raises(DefinitionInvalid, match=r"^<stdin>:1:1: "):
        read_definition("-")


def test_standard_input_is_read_once(tmp_path: Path) -> None:
    with pytest.raises(UsageMistake, match="given twice"):
        read_definitions(["-"], "-")
    with pytest.raises(UsageMistake, match="given twice"):
        read_definitions([write(tmp_path, "v1.yaml", V1)], "-", "-")


def test_warnings_come_with_the_definition(tmp_path: Path) -> None:
    path = write(
        tmp_path, "v.yaml", V1.replace("APPROVE: approved", "APPROVE: {target: approved, guard: isOk}")
    )
    loaded = read_definitions([path], write(tmp_path, "v2.yaml", V2))
    assert [w.code for w in loaded.warnings] == ["SK032"]
    assert loaded.warnings[0].place == f"{path}:5:50"


def test_every_error_of_every_file_is_carried(tmp_path: Path) -> None:
    one = write(tmp_path, "one.yaml", V1.replace("approved}}", "aproved}}"))
    two = write(tmp_path, "two.yaml", V2 + "stateMapping: {gone: reviw}\n")
    assert invalid(two, None, one) == [
        "one.yaml:5:24: no state is called 'aproved' from here; did you mean 'approved'?",
        # What names a source cannot be judged while a source is broken.
        "two.yaml:8:22: this definition has no state 'reviw'; did you mean 'review'?",
    ]


def test_an_unreadable_file_among_broken_ones(tmp_path: Path) -> None:
    one = write(tmp_path, "one.yaml", "id: [")
    two = write(tmp_path, "two.yaml", V2 + "stateMapping: {open: reviw}\n")
    with pytest.raises(InputUnreadable) as caught:
        read_definitions([one], two)
    assert not isinstance(caught.value, DefinitionInvalid)
    assert [p.code for p in caught.value.problems] == ["SK003", "SK041"]
    assert caught.value.message.endswith("(and 1 more)")


@pytest.mark.parametrize("name", ["gone.yaml", "a\x00b", "folder", "x" * 300])
def test_files_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputUnreadable, match=r"cannot be opened: .+; check the path") as caught:
        read_definition(str(tmp_path / name))
    assert caught.value.problems[0].code == "SK001"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("broken.json", b'{"id": }', "SK003"),
        ("broken.yaml", b"id: [", "SK003"),
        ("empty.yaml", b"", "SK003"),
        ("utf16.yaml", V1.encode("utf-16"), "SK002"),
        ("latin1.yaml", b"id: \xe4", "SK002"),
        ("bomb.yaml", BOMB.encode(), "SK004"),
        ("deep.json", b"[" * 10_000, "SK004"),
        ("tag.yaml", b"id: !!python/object/apply:os.system [true]", "SK003"),
        ("gzip.yaml", b"\x1f\x8b\x08\x00\x00", "SK002"),
    ],
)  # fmt: skip
def test_unreadable_files(tmp_path: Path, name: str, data: bytes, code: str) -> None:
    with pytest.raises(InputUnreadable) as caught:
        read_definition(write(tmp_path, name, data))
    assert caught.value.problems[0].code == code
    assert not isinstance(caught.value, DefinitionInvalid)


def test_duplicate_keys_are_findings_beside_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, "v.yaml", V1 + "version: 2\nintial: open\n")
    assert invalid(path) == [
        "v.yaml:7:1: the key 'version' is given twice; the first is at line 2, column 1; "
        "remove one of them or give it another name",
        "v.yaml:8:1: unknown key 'intial' in the definition; did you mean 'initial'?",
    ]


# --- side files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "side",
    [
        "stateMapping: {approved: review}\npolicy: {loops: erase}\n",
        "migration: {policy: {loops: erase}}\nstateMapping: {approved: review}\n",
        "migration: {policy: {loops: erase}, stateMapping: {approved: review}}\n",
        "$schema: x\npolicy: {loops: erase}\nstateMapping: {approved: review}\nx-note: mine\n",
    ],
)
def test_a_side_file_is_a_bare_block_or_a_part_of_a_definition(tmp_path: Path, side: str) -> None:
    path, extra = write(tmp_path, "v2.yaml", V2), write(tmp_path, "side.yaml", side)
    loaded = read_definition(path, extra).definition
    assert loaded.migration["stateMapping"] == {"approved": "review"}
    assert loaded.migration["policy"] == {"loops": "erase"}
    assert read_definition(path).definition.migration == {}


def test_a_side_file_adds_to_the_inline_block(tmp_path: Path) -> None:
    inline = V2 + (
        "stateMapping: {open: open}\n"
        "migration: {anchors: {a: {event: OK}}, context: {defaults: {x: 1}}, policy: {entry: initial}}\n"
    )
    side = (
        "migration: {anchors: {b: {event: APPROVE}}, context: {defaults: {y: 2}, remove: [z]}, "
        "routes: [{stay: true}]}\n"
        "stateMapping: {approved: review}\n"
    )
    path = write(tmp_path, "v2.yaml", inline)
    loaded = read_definition(path, write(tmp_path, "side.yaml", side))
    block = loaded.definition.migration
    assert block["stateMapping"] == {"open": "open", "approved": "review"}
    assert block["anchors"] == {"a": {"event": "OK"}, "b": {"event": "APPROVE"}}
    assert block["context"] == {"defaults": {"x": 1, "y": 2}, "remove": ["z"]}
    assert block["policy"] == {"entry": "initial"}
    assert block["routes"] == [{"stay": True}]
    assert read_definition(path).definition.migration["anchors"] == {"a": {"event": "OK"}}


def test_what_is_given_in_both_places_is_an_error_that_names_both(tmp_path: Path) -> None:
    inline = V2 + "stateMapping: {open: open}\nmigration:\n  routes: []\n  anchors: {a: {event: OK}}\n"
    side = "stateMapping: {open: review}\nroutes: []\nanchors:\n  a: {event: OK}\n"
    path = write(tmp_path, "v2.yaml", inline)
    assert [s.replace(f"{tmp_path}/", "") for s in invalid(path, write(tmp_path, "side.yaml", side))] == [
        "v2.yaml:8:16: 'open' is mapped in 'stateMapping' and in 'migration.stateMapping'; keep one of them",
        "side.yaml:2:1: 'migration.routes' is also given in v2.yaml:10:3; keep one of them",
        "side.yaml:4:3: 'migration.anchors.a' is also given in v2.yaml:11:13; keep one of them",
    ]


def test_findings_of_a_side_file_are_in_the_side_file(tmp_path: Path) -> None:
    path = write(tmp_path, "v2.yaml", V2 + "migration:\n  eligible: {all: [b]}\n")
    side = write(
        tmp_path,
        "side.json",
        '{"anchors": {"a": {"event": "OK"}},\n "stateMapping": {"aproved": "reviw"}, "rout": 1}',
    )
    found = invalid(path, side, write(tmp_path, "v1.yaml", V1))
    assert found == [
        "v2.yaml:9:20: there is no anchor 'b'; the anchors are a",
        "side.json:2:19: there is no state 'aproved' in pr@1; did you mean 'approved'?",
        "side.json:2:30: this definition has no state 'reviw'; did you mean 'review'?",
        "side.json:2:40: unknown key 'rout' in 'migration'; did you mean 'routes'?",
    ]


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ("[1]", "side.yaml:1:1: a side file is a mapping"),
        (V2, "side.yaml:4:1: a side file holds routing metadata, and this is a definition; give definitions"),
        (
            "migration: {}\nstatemapping: {}",
            "side.yaml:2:1: unknown key 'statemapping' in the side file; did you mean",
        ),
        (
            "migration: {}\nroutes: []",
            "side.yaml:2:1: unknown key 'routes' in the side file; beside 'migration'",
        ),
        ("policy: {loops: keep, loops: erase}", "side.yaml:1:23: the key 'loops' is given twice"),
    ],
)
def test_what_no_side_file_is(tmp_path: Path, side: str, said: str) -> None:
    found = invalid(write(tmp_path, "v2.yaml", V2), write(tmp_path, "side.yaml", side))
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_side_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable, match=r"side\.yaml: cannot be opened"):
        read_definition(write(tmp_path, "v2.yaml", V2), str(tmp_path / "side.yaml"))
