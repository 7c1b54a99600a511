"""`statekeep.yaml` (or `[tool.statekeep]` in pyproject.toml): where a team's own tables are, what CI does.

What a file may say stands in `schemas/config.json`. What it says is resolved here, so that a `Mapping`
(and its digest) does not depend on how the file spells it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Mapping as Values
from dataclasses import dataclass
from typing import Any, Literal

from statekeep_cli import schemas
from statekeep_cli.core.check_finding import Code, Finding, Pointer
from statekeep_cli.core.check_structure import schema_findings
from statekeep_cli.core.mapping import HistoryMapping, Mapping, Name
from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.document import SYNTAX, Document, Text
from statekeep_cli.readers.source import parse, read_bytes

FILES = ("statekeep.yaml", "statekeep.yml")
PYPROJECT = "pyproject.toml"
WHOLE = "the configuration"

# Stable, like `core.check_finding.CODES`; what the JSON Schema refuses has that table's codes.
CODES: dict[str, Code] = {
    "CF001": Code("error", "a version that is the same for every actor"),
    "CF002": Code("error", "a revision that does not change with every write"),
    "CF003": Code("error", "one column for two purposes"),
    "CF004": Code("error", "a table's name that cannot be read"),
    "CF005": Code("error", "a preset without what it needs, or the other way round"),
    "CF006": Code("error", "SQL of more than one statement"),
}


@dataclass(frozen=True, slots=True)
class Ci:
    """What `statekeep ci` does; "" where nothing is said. `database` is an environment variable's name."""

    definitions: tuple[str, ...]
    actors: str = ""
    history: str = ""
    database: str = ""
    max_strand: str = "0"
    allow_hazards: bool = False
    baseline: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration says. `mapping` is None where it maps no tables, `path` empty without a file."""

    mapping: Mapping | None = None
    path: str = ""
    document: Document | None = None
    base: Pointer = ()
    ci: Ci | None = None

    def problem(
        self,
        code: str,
        pointer: Pointer,
        message: str,
        hint: str = "",
        severity: Literal["error", "warning"] = "error",
        part: Literal["key", "value"] = "value",
    ) -> Problem:
        """A problem at a part of the file, such as ("actors", "state"); at none where there is no file."""
        if self.document is None:
            return Problem(self.path, 0, 0, message, code, severity, hint)
        return self.document.problem(code, (*self.base, *pointer), message, hint, severity, part)


def read_config(path: str | None = None, directory: str = ".") -> Config:
    """The configuration in a file (`--config`), else the one of a directory, else an empty one.

    Looks for statekeep.yaml first, then for [tool.statekeep] in pyproject.toml. Raises
    `InputUnreadable` with every problem, located.
    """
    if path is not None:
        return _config(_document(path), path)
    for name in FILES:
        found = os.path.join(directory, name) if directory != "." else name
        if os.path.exists(found):
            return _config(_document(found), found)
    found = os.path.join(directory, PYPROJECT) if directory != "." else PYPROJECT
    if os.path.exists(found):
        document = _document(found)
        if "statekeep" in document.value.get("tool", {}):
            return _config(document, found)
    return Config()


def _document(path: str) -> Document:
    data = read_bytes(path)
    if path.lower().endswith(".toml"):
        from statekeep_cli.readers.source import decode
        from statekeep_cli.readers.source_toml import parse_toml

        return parse_toml(Text(path, decode(data, path)))
    if not data.strip():
        hint = "map the actors' table under 'actors', or remove the file"
        raise InputUnreadable.of(Problem(path, 0, 0, "is empty", SYNTAX, hint=hint))
    return parse(data, path)


def _config(document: Document, path: str) -> Config:
    base: Pointer = ()
    value = document.value
    tool = value.get("tool") if isinstance(value, dict) and path.lower().endswith(".toml") else None
    if isinstance(tool, dict) and "statekeep" in tool:
        base, value = ("tool", "statekeep"), tool["statekeep"]
    elif os.path.basename(path).rpartition(":")[2] == PYPROJECT:
        message, hint = "has no [tool.statekeep]", "add it, or give another file with --config"
        raise InputUnreadable.of(Problem(path, 0, 0, message, "SK011", hint=hint))
    config = Config(None, path, document, base)
    filled, found = _filled(value)
    found += _judged(filled)
    known = {f.pointer for f in found}
    # What is refused with a reason needs no second complaint about its type.
    found += [f for f in schema_findings(filled, schemas.load("config"), WHOLE) if f.pointer not in known]
    problems = [*document.problems]
    problems += [config.problem(f.code, f.pointer, f.message, f.hint, _severity(f), f.part) for f in found]
    if problems:
        problems.sort(key=lambda p: (p.line, p.column, p.code))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputUnreadable(problems[0].sentence + more, tuple(problems))
    return Config(_mapping(filled), path, document, base, _ci(filled))


def _severity(finding: Finding) -> Literal["error", "warning"]:
    return CODES[finding.code].severity if finding.code in CODES else finding.severity


# --- presets -----------------------------------------------------------------------------------------

_MODEL = re.compile(r"(\w+)\.(\w+)\Z")


def _filled(value: Any) -> tuple[Any, list[Finding]]:
    """The value with its preset's keys under its own."""
    if not isinstance(value, dict) or value.get("preset") != "django-fsm-log":
        if isinstance(value, dict) and "model" in value and "preset" not in value:
            hint = "add preset: django-fsm-log, or name the table under 'actors'"
            return value, [Finding("CF005", ("model",), "'model' is given without a preset", hint, "key")]
        return value, []
    model = value.get("model")
    found = _MODEL.match(model) if isinstance(model, str) else None
    if found is None:
        hint = "give the Django model with the FSMField, as in model: shop.Order"
        return value, [Finding("CF005", ("model",), "the preset needs 'model', as app_label.Model", hint)]
    app, name = found[1], found[2].lower()
    # django-fsm-log's StateLog, and the names Django gives tables and columns. Its log has a row for
    # every transition of every model; content types tell the models apart.
    content_type = f"SELECT id FROM django_content_type WHERE app_label = '{app}' AND model = '{name}'"
    actors = {"table": f"{app}_{name}", "id": "id", "state": "state"}
    history: dict[str, Any] = {
        "table": "django_fsm_log_statelog",
        "actor": "object_id",
        "event": "transition",
        "state": "state",
        "order": "id",
        "where": f"content_type_id = ({content_type})",
    }
    given = value.get("history")
    if isinstance(given, dict) and "query" in given:
        del history["table"], history["where"]
    return {**value, "actors": _under(actors, value.get("actors")), "history": _under(history, given)}, []


def _under(preset: dict[str, Any], given: Any) -> Any:
    return {**preset, **given} if isinstance(given, dict) else preset if given is None else given


# --- meaning -----------------------------------------------------------------------------------------


def _judged(value: Any) -> list[Finding]:
    """What is of the right shape, or nearly, and cannot be meant."""
    if not isinstance(value, dict):
        return []
    found: list[Finding] = []
    actors, history = value.get("actors"), value.get("history")
    if isinstance(actors, dict):
        found += _version(actors.get("version"))
        found += _columns(actors)
        found += _sql(actors, ("actors",), ("where",))
    elif "history" in value and "actors" not in value:
        hint = "map the actors' table under 'actors'; own tables need no configuration"
        found.append(Finding("SK011", ("history",), "a history is mapped, and no actors are", hint, "key"))
    if isinstance(history, dict):
        found += _sql(history, ("history",), ("where", "query"))
    for where, part in (("actors", actors), ("history", history)):
        if isinstance(part, dict) and isinstance(part.get("table"), str) and part["table"]:
            names = part["table"].split(".")
            if len(names) > 2 or not all(n.strip() for n in names):
                hint = "write schema.table, or a list [schema, table] where a name has a dot in it"
                message = f"'{part['table']}' is no table's name"
                found.append(Finding("CF004", (where, "table"), message, hint))
    return found


def _version(version: Any) -> list[Finding]:
    constant = isinstance(version, int | float) or (isinstance(version, str) and version.strip().isdigit())
    constant = constant or (isinstance(version, dict) and bool({"constant", "value"} & version.keys()))
    if not constant:
        return []
    message = "a version that is the same for every actor would migrate an actor again in the next run"
    hint = (
        "name a column, or write {kept_by: statekeep, first: 1}: the version is then kept beside your tables"
    )
    return [Finding("CF001", ("actors", "version"), message, hint)]


def _columns(actors: Values[str, Any]) -> list[Finding]:
    purposes = {k: actors[k] for k in ("id", "state", "version", "rescue") if isinstance(actors.get(k), str)}
    found = []
    revision = actors.get("revision")
    for key, column in purposes.items():
        if column == revision:
            why = (
                "comparing the state alone does not notice an actor that moved and came back"
                if key == "state"
                else "it does not change with every write"
            )
            hint = "name a column that every write changes, or leave 'revision' out to use Postgres' xmin"
            message = f"the {key} column '{column}' is no revision: {why}"
            found.append(Finding("CF002", ("actors", "revision"), message, hint))
    seen: dict[str, str] = {}
    for key, column in purposes.items():
        if column in seen:
            message = f"column '{column}' is both '{seen[column]}' and '{key}'"
            found.append(Finding("CF003", ("actors", key), message, "give each a column of its own"))
        seen.setdefault(column, key)
    context = actors.get("context")
    keys: dict[str, str] = {}
    for key, column in context.items() if isinstance(context, dict) else ():
        if not isinstance(column, str):
            continue  # another finding
        if column in keys:
            message = f"column '{column}' is both '{keys[column]}' and '{key}' of the context"
            hint = "give each a column of its own"
            found.append(Finding("CF003", ("actors", "context", key), message, hint))
        keys.setdefault(column, key)
    return found


def _sql(part: Values[str, Any], at: Pointer, keys: Iterable[str]) -> list[Finding]:
    """A semicolon at the end is a habit; one in the middle of unquoted text is a second statement."""
    found = []
    for key in keys:
        text = part.get(key)
        if isinstance(text, str) and ";" in re.sub(r"'[^']*'|\"[^\"]*\"", "", _bare(text)):
            what = "a query" if key == "query" else "a condition"
            hint = f"write {what} alone, without semicolons"
            found.append(Finding("CF006", (*at, key), f"'{key}' is more than {what}", hint))
    return found


# --- the mapping -------------------------------------------------------------------------------------


def _ci(value: Any) -> Ci | None:
    if not isinstance(value, dict) or "ci" not in value:
        return None
    ci = value["ci"]
    texts = {k: ci[k] for k in ("actors", "history", "database", "baseline") if k in ci}
    return Ci(
        tuple(ci["definitions"]),
        max_strand=str(ci.get("max_strand", 0)),
        allow_hazards=ci.get("allow_hazards", False),
        **texts,
    )


def _mapping(value: Any) -> Mapping | None:
    if not isinstance(value, dict) or "actors" not in value:
        return None
    actors, history = value["actors"], value.get("history")
    version, context = actors["version"], actors.get("context", "")
    kept = isinstance(version, dict)
    columns: Iterable[tuple[str, str]] = ()
    if isinstance(context, dict):
        columns = context.items()
    elif isinstance(context, list):
        columns = ((c, c) for c in context)
    revision = actors.get("revision", "")
    return Mapping(
        table=_name(actors["table"]),
        id=actors["id"],
        state=actors["state"],
        version="" if kept else version,
        first_version=str(version["first"]) if kept else "",
        context=context if isinstance(context, str) else "",
        context_columns=tuple(sorted(set(columns))),
        revision="" if revision == "xmin" else revision,  # it is what "left out" means
        where=_bare(actors.get("where", "")),
        reason=actors.get("rescue", ""),
        history=_history(history) if history is not None else None,
    )


def _history(history: Values[str, Any]) -> HistoryMapping:
    order = history["order"]
    return HistoryMapping(
        actor=history["actor"],
        order=(order,) if isinstance(order, str) else tuple(order),
        table=_name(history["table"]) if "table" in history else (),
        query=_bare(history.get("query", "")),
        where=_bare(history.get("where", "")),
        event=history.get("event", ""),
        state=history.get("state", ""),
        no_rows=history.get("without_rows", "none"),
    )


def _name(table: str | list[str]) -> Name:
    return tuple(p.strip() for p in table.split(".")) if isinstance(table, str) else tuple(table)


def _bare(sql: str) -> str:
    """SQL without the white space and the semicolons around it; a comment at its end keeps its line end."""
    text = sql.strip().rstrip("; \t\r\n")
    return text + "\n" if "--" in text.rpartition("\n")[2] else text
