"""statekeep.yaml and [tool.statekeep]: what is read, what is refused, and that spelling does not matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from statekeep_cli import schemas
from statekeep_cli.cli import main
from statekeep_cli.core.mapping import HistoryMapping, Mapping
from statekeep_cli.errors import InputUnreadable
from statekeep_cli.readers.config import CODES, Config, read_config

ACTORS = {"table": "loans", "id": "id", "state": "status", "version": "workflow_version"}
FULL = """\
actors:
  table: public.loans
  id: id
  state: status
  version: workflow_version
  context: {amount: loan_amount, country: country}
  revision: lock_version
  where: "deleted_at IS NULL AND kind LIKE 'a%'"
  rescue: rescue_reason
history:
  table: loan_audit
  actor: loan_id
  event: action
  state: new_status
  order: [created_at, id]
  where: "action <> 'viewed'"
  without_rows: empty
"""


def read(folder: Path, text: str, name: str = "statekeep.yaml") -> Config:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_config(str(path))


def mapping(folder: Path, value: Any) -> Mapping:
    found = read(folder, json.dumps(value), "statekeep.json").mapping
    assert found is not None
    return found


def refused(folder: Path, text: str, name: str = "statekeep.yaml") -> list[tuple[str, int, int, str]]:
    with pytest.raises(InputUnreadable) as error:
        read(folder, text, name)
    return [(p.code, p.line, p.column, f"{p.message}; {p.hint}") for p in error.value.problems]


def test_everything_a_file_may_say(tmp_path: Path) -> None:
    assert read(tmp_path, FULL).mapping == Mapping(
        table=("public", "loans"),
        id="id",
        state="status",
        version="workflow_version",
        context_columns=(("amount", "loan_amount"), ("country", "country")),
        revision="lock_version",
        where="deleted_at IS NULL AND kind LIKE 'a%'",
        reason="rescue_reason",
        history=HistoryMapping(
            actor="loan_id",
            order=("created_at", "id"),
            table=("loan_audit",),
            where="action <> 'viewed'",
            event="action",
            state="new_status",
            no_rows="empty",
        ),
    )


def test_the_least_a_file_may_say(tmp_path: Path) -> None:
    assert mapping(tmp_path, {"actors": ACTORS}) == Mapping(
        table=("loans",), id="id", state="status", version="workflow_version"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"table": "public.loans"}, {"table": ["public", "loans"]}),
        ({"context": ["b", "a"]}, {"context": {"a": "a", "b": "b"}}),
        ({"revision": "xmin"}, {}),
        ({"where": "a = 1"}, {"where": " a = 1 ;\n"}),
        (
            {"version": {"kept_by": "statekeep", "first": 1}},
            {"version": {"first": "1", "kept_by": "statekeep"}},
        ),
        ({"x-note": "ours"}, {}),
    ],
)
def test_the_digest_does_not_depend_on_spelling(tmp_path: Path, one: Any, other: Any) -> None:
    left, right = (mapping(tmp_path, {"actors": {**ACTORS, **part}}) for part in (one, other))
    assert left == right
    assert left.digest == right.digest
    assert mapping(tmp_path, {"actors": {**ACTORS, "id": "key"}}).digest != left.digest


def test_yaml_json_and_toml_say_the_same(tmp_path: Path) -> None:
    value = yaml.safe_load(FULL)
    context = "{amount = 'loan_amount', country = 'country'}"
    toml = ""
    for part, keys in value.items():
        toml += f"[tool.statekeep.{part}]\n"
        for key, v in keys.items():
            toml += f"{key} = {context if isinstance(v, dict) else json.dumps(v)}\n"
    digests = {
        read(tmp_path, text, name).mapping.digest  # type: ignore[union-attr]
        for name, text in (
            ("statekeep.yaml", FULL),
            ("statekeep.json", json.dumps(value)),
            ("pyproject.toml", toml),
            ("other.toml", toml.replace("tool.statekeep.", "")),
        )
    }
    assert len(digests) == 1


def test_a_comment_at_the_end_of_sql_ends_with_its_line(tmp_path: Path) -> None:
    assert mapping(tmp_path, {"actors": {**ACTORS, "where": "a = 1 -- ours"}}).where == "a = 1 -- ours\n"


def test_where_the_configuration_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config() == Config()
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\nname = 'x'\n")
    assert read_config() == Config()
    project.write_text(
        "[tool.statekeep.actors]\ntable = 't'\nid = 'i'\nstate = 's'\nversion = 'v'\n", encoding="utf-8"
    )
    found = read_config()
    assert (found.path, found.mapping.name if found.mapping else "") == ("pyproject.toml", "t")
    (tmp_path / "statekeep.yaml").write_text(FULL)
    assert read_config().path == "statekeep.yaml"
    assert read_config("pyproject.toml").path == "pyproject.toml"


def test_django_fsm_log(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "preset: django-fsm-log\nmodel: shop.PurchaseOrder\n"
        "actors:\n  version: {kept_by: statekeep, first: 1}\n  rescue: rescue\n",
    ).mapping
    assert found == Mapping(
        table=("shop_purchaseorder",),
        id="id",
        state="state",
        first_version="1",
        reason="rescue",
        history=HistoryMapping(
            actor="object_id",
            order=("id",),
            table=("django_fsm_log_statelog",),
            where="content_type_id = (SELECT id FROM django_content_type"
            " WHERE app_label = 'shop' AND model = 'purchaseorder')",
            event="transition",
            state="state",
        ),
    )


def test_single_keys_of_a_preset_can_be_given(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "preset: django-fsm-log\nmodel: shop.Order\n"
        "actors: {table: orders, state: status, version: v}\nhistory: {without_rows: empty}\n",
    ).mapping
    assert found is not None
    assert found.history is not None
    assert (found.name, found.state, found.id) == ("orders", "status", "id")
    assert (found.history.no_rows, found.history.event) == ("empty", "transition")


def actors(**parts: Any) -> str:
    """A file with these parts of 'actors' in place of the usual ones; line 2 is the table's."""
    return yaml.safe_dump({"actors": {**ACTORS, **parts}}, sort_keys=False)


HISTORY = "history: {table: log, actor: a, event: e, order: id}\n"


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "words"),
    [
        (actors(version=1), "CF001", 5, 12, "would migrate an actor again"),
        (actors(version="12"), "CF001", 5, 12, "kept_by: statekeep"),
        (actors(version={"constant": 1}), "CF001", 5, 3, "kept_by: statekeep"),
        (actors(revision="status"), "CF002", 6, 13, "comparing the state alone"),
        (actors(revision="workflow_version"), "CF002", 6, 13, "does not change with every write"),
        (actors(rescue="status"), "CF003", 6, 11, "'status' is both 'state' and 'rescue'"),
        (actors(context={"a": "x", "b": "x"}), "CF003", 8, 8, "'x' is both 'a' and 'b' of the context"),
        (actors(table="a.b.c"), "CF004", 2, 10, "write schema.table"),
        (actors(table=".b"), "CF004", 2, 10, "write schema.table"),
        (actors(where="a = 1; DROP TABLE b"), "CF006", 6, 10, "without semicolons"),
        ("model: a.B\n" + actors(), "CF005", 1, 1, "add preset"),
        ("preset: django-fsm-log\n" + actors(), "CF005", 1, 1, "app_label.Model"),
        ("preset: django-fsm-log\nmodel: \"a'.b\"\n" + actors(), "CF005", 2, 8, "app_label.Model"),
        ("preset: django\n" + actors(), "SK013", 1, 9, "did you mean 'django-fsm-log'?"),
        (actors(revison="r"), "SK010", 6, 3, "did you mean 'revision'?"),
        ("actor:\n  table: a\n", "SK010", 1, 1, "did you mean 'actors'?"),
        ("actors: {table: t, id: i, state: s}\n", "SK011", 1, 1, "has no 'version'; the column with"),
        (actors(id=5), "SK012", 3, 7, "'id' must be text, not 5"),
        (actors(version={"kept_by": "us", "first": 1}), "SK013", 6, 14, "allowed: statekeep"),
        (actors(version={"kept_by": "statekeep"}), "SK011", 5, 3, "'version' has no 'first'"),
        (actors(context=[]), "SK013", 6, 12, "must not be empty"),
        (HISTORY, "SK011", 1, 1, "a history is mapped, and no actors are"),
        (HISTORY.replace("table: log, ", "") + actors(), "SK014", 1, 1, "exactly one of table and query"),
        (HISTORY.replace("event: e, ", "") + actors(), "SK014", 1, 1, "at least one of event and state"),
        (HISTORY.replace("order: id", "without_rows: nil") + actors(), "SK013", 1, 57, "without_rows"),
        ("- a\n", "SK012", 1, 1, "the configuration must be a mapping"),
        (actors() + "  id: other\n", "SK005", 6, 3, "given twice"),
        ("actors: [", "SK003", 1, 10, ""),
        ("\n", "SK003", 0, 0, "is empty"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, code: str, line: int, column: int, words: str) -> None:
    found = refused(tmp_path, text)
    assert [f for f in found if f[:3] == (code, line, column) and words in f[3]], found


def test_every_code_is_provoked() -> None:
    marks = test_what_is_refused.pytestmark  # type: ignore[attr-defined]
    assert CODES.keys() <= {case[1] for case in marks[0].args[1]}


def test_problems_of_a_pyproject_are_located(tmp_path: Path) -> None:
    text = (
        "[tool.other]\nversion = 1\n\n[tool.statekeep]\npreset = 'django-fsm-log'\nmodel = 'a.B'\n\n"
        "[tool.statekeep.actors]\nwhere = '''\nversion = 2\n'''\nversion = 1\nrevision = \"state\"\n"
    )
    found = refused(tmp_path, text, "pyproject.toml")
    assert [f[:3] for f in found] == [("CF001", 12, 11), ("CF002", 13, 12)]
    assert refused(tmp_path, "a = 1\nb = = 2\n", "x.toml")[0][:3] == ("SK003", 2, 5)
    assert refused(tmp_path, "[project]\n", "pyproject.toml")[0][0] == "SK011"


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err


def test_the_schema_says_what_each_key_is() -> None:
    def undescribed(part: dict[str, Any], at: str) -> list[str]:
        if "$ref" in part and "description" not in part:
            part = schemas.load("config")["$defs"][part["$ref"].rpartition("/")[2]]
        found = [] if "description" in part else [at]
        for key, inner in part.get("properties", {}).items():
            found += undescribed(inner, f"{at}.{key}")
        return found

    assert undescribed(schemas.load("config"), "") == []
