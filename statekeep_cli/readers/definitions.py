"""Definition files -> checked definitions, with every finding at its line and column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from statekeep_cli import schemas
from statekeep_cli.core.check import check
from statekeep_cli.core.check_finding import CODES, Finding, did_you_mean
from statekeep_cli.core.model import Definition
from statekeep_cli.errors import DefinitionInvalid, InputUnreadable, Problem, UsageMistake
from statekeep_cli.readers.document import Document, Part, Pointer, Text
from statekeep_cli.readers.ignores import without_ignored
from statekeep_cli.readers.source import read_document
from statekeep_cli.readers.source_json import parse_json

# What a side file may hold besides a bare block, and where its parts belong.
_SIDE = ("migration", "stateMapping")
# Parts of a block whose entries add up; any other part is given once.
_ADDS_UP = {("stateMapping",)} | {
    ("migration", *rest)
    for rest in (
        (),
        ("anchors",),
        ("stateMapping",),
        ("obligations",),
        ("policy",),
        ("rename",),
        ("rename", "events"),
        ("rename", "guards"),
        ("changed",),
        ("context",),
        ("context", "defaults"),
        ("context", "rename"),
    )
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A definition with the file it came from. `warnings` are its findings that are no errors.

    `config` is what the definition was built from, side file included; `owners` says whose each part is.
    """

    definition: Definition
    document: Document
    path: str
    warnings: tuple[Problem, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    owners: Mapping[Pointer, tuple[Document, Pointer]] = field(default_factory=dict, repr=False)

    def place(self, pointer: Pointer, part: Part = "key") -> Problem:
        """The place of a part of this definition, in whichever file it stands, as a problem without words."""
        document, inside = _owner(self.owners or {(): (self.document, ())}, pointer)
        return document.problem("", inside, "", part=part)


@dataclass(frozen=True, slots=True)
class Definitions:
    """What one run is about, in the order of the command line."""

    sources: tuple[Loaded, ...]
    target: Loaded

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(w for loaded in (*self.sources, self.target) for w in loaded.warnings)


@dataclass(frozen=True, slots=True)
class Reading:
    """All that is known of one file: its problems, and what was loaded if none is an error.

    `unreadable`: it could not even be parsed.
    """

    path: str
    problems: tuple[Problem, ...]
    loaded: Loaded | None = None
    unreadable: bool = False


@dataclass(slots=True)
class _Merged:
    """A definition's config with its side file's parts put in; `owners` says whose each part is."""

    config: Any
    owners: dict[Pointer, tuple[Document, Pointer]]
    problems: list[Problem] = field(default_factory=list)

    def locate(self, finding: Finding) -> Problem:
        document, pointer = _owner(self.owners, finding.pointer)
        return document.problem(
            finding.code, pointer, finding.message, finding.hint, finding.severity, finding.part
        )


def _owner(owners: Mapping[Pointer, tuple[Document, Pointer]], pointer: Pointer) -> tuple[Document, Pointer]:
    """The document that has a part of the config, and the part's pointer there."""
    for length in range(len(pointer), -1, -1):
        if pointer[:length] in owners:
            document, base = owners[pointer[:length]]
            return document, (*base, *pointer[length:])
    raise AssertionError("the root has an owner")


# --- reading -----------------------------------------------------------------------------------------


def read_definition(
    path: str,
    migration_path: str | None = None,
    sources: Sequence[Definition] = (),
    others: Sequence[Definition] = (),
) -> Loaded:
    """The definition in a file (`-`: standard input), checked; `sources` and `others` as for `check`.

    Raises `InputUnreadable` where a file cannot be parsed, `DefinitionInvalid` with every finding
    where what it says is wrong.
    """
    reading = examine(path, migration_path, sources, others)
    if reading.loaded is None:
        raise _error([reading])
    return reading.loaded


def read_stored(
    config: Mapping[str, Any],
    label: str,
    migration_path: str | None = None,
    sources: Sequence[Definition] = (),
) -> Loaded:
    """A definition that a database holds, checked like one in a file; problems are located in its JSON.

    What the side file says is said instead of what is stored, part by part, where `read_definition`
    refuses to be told one thing twice: it corrects the stored metadata. Raises as that does.
    """
    side = None if migration_path is None else read_document(migration_path)
    if side is not None and isinstance(side.value, dict):
        config = _corrected(config, side.value)
    text = json.dumps(config, indent=2, ensure_ascii=False)
    reading = _examined(label, parse_json(Text(label, text)), side, sources, ())
    if reading.loaded is None:
        raise _error([reading])
    return reading.loaded


def read_definitions(sources: Sequence[str], target: str, migration_path: str | None = None) -> Definitions:
    """Sources and target of a run, checked against each other. Raises as `read_definition` does."""
    readings = examine_all([*sources, target], migration_path)
    loaded = [r.loaded for r in readings if r.loaded is not None]
    if len(loaded) < len(readings):
        raise _error(readings)
    return Definitions(tuple(loaded[:-1]), loaded[-1])


def examine_all(paths: Sequence[str], migration_path: str | None = None) -> list[Reading]:
    """Every file's findings; the last is the target of those before it."""
    if sum(p == "-" for p in (*paths, migration_path)) > 1:
        raise UsageMistake("standard input (-) is given twice; give at most one file as -")
    readings: list[Reading] = []
    for i, path in enumerate(paths):
        before = [r.loaded.definition for r in readings if r.loaded is not None]
        if i == len(paths) - 1:
            # With a source that could not be read, what names a source cannot be judged.
            complete = len(before) == len(readings)
            readings.append(examine(path, migration_path, before if complete else (), before))
        else:
            readings.append(examine(path, None, (), before))
    return readings


def examine(
    path: str,
    migration_path: str | None = None,
    sources: Sequence[Definition] = (),
    others: Sequence[Definition] = (),
) -> Reading:
    """One definition's findings, located; nothing is raised for what the files hold."""
    try:
        document = read_document(path)
        side = None if migration_path is None else read_document(migration_path)
    except InputUnreadable as error:
        return Reading(path, error.problems, unreadable=True)
    return _examined(path, document, side, sources, others)


def _examined(
    path: str,
    document: Document,
    side: Document | None,
    sources: Sequence[Definition],
    others: Sequence[Definition],
) -> Reading:
    merged = _merge(document, side)
    checked = check(merged.config, schemas.load("definition"), sources, others)
    problems = [*document.problems, *(side.problems if side else ()), *merged.problems]
    documents = [document, *([side] if side else ())]
    located = [(f, merged.locate(f)) for f in checked.findings]
    problems += without_ignored(located, documents, merged.config, bool(sources))
    problems.sort(key=lambda p: (p.path != document.path, p.line, p.column, p.code))
    if checked.definition is None or any(p.severity == "error" for p in problems):
        return Reading(path, tuple(problems))
    owners = merged.owners
    loaded = Loaded(checked.definition, document, document.path, tuple(problems), merged.config, owners)
    return Reading(path, tuple(problems), loaded)


def _error(readings: Sequence[Reading]) -> InputUnreadable:
    problems = tuple(p for r in readings for p in r.problems)
    errors = [p for p in problems if p.severity == "error"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    kind = InputUnreadable if any(r.unreadable for r in readings) else DefinitionInvalid
    return kind(errors[0].sentence + more, problems)


# --- side files --------------------------------------------------------------------------------------


def _merge(document: Document, side: Document | None) -> _Merged:
    merged = _Merged(document.value, {(): (document, ())})
    if side is None:
        return merged
    if not isinstance(side.value, dict):
        problem = side.problem(
            "SK012", (), "a side file is a mapping", "write a migration block, as apv.md has it"
        )
        merged.problems.append(problem)
        return merged
    if "states" in side.value:
        problem = side.problem(
            "SK010", ("states",), "a side file holds routing metadata, and this is a definition",
            "give definitions without --migration", part="key",
        )  # fmt: skip
        merged.problems.append(problem)
        return merged
    if not isinstance(document.value, dict):
        return merged
    merged.config = dict(document.value)
    if "migration" in side.value:
        for key, value in side.value.items():
            if key in _SIDE:
                _put(merged, document, side, (key,), (key,), value)
            elif key != "$schema" and not key.startswith("x-"):
                hint = did_you_mean(key, _SIDE, "beside 'migration' there is only 'stateMapping'")
                problem = side.problem(
                    "SK010", (key,), f"unknown key '{key}' in the side file", hint, part="key"
                )
                merged.problems.append(problem)
    else:
        bare = {k: v for k, v in side.value.items() if k != "$schema"}
        _put(merged, document, side, ("migration",), (), bare)
    return merged


def _corrected(config: Mapping[str, Any], side: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config without what a side file says anew."""
    found = dict(config)
    if "migration" in side:
        for key in _SIDE:
            _drop(found, side, (key,))
        inner: Mapping[str, Any] = side["migration"] if isinstance(side["migration"], dict) else {}
    else:
        inner = side
        _drop(found, {"migration": side}, ("migration",))
    # The same mapping may be written in the short form and in the long one.
    for mapping in (side.get("stateMapping"), inner.get("stateMapping")):
        _drop(found, {"stateMapping": mapping}, ("stateMapping",))
        _drop(found, {"migration": {"stateMapping": mapping}}, ("migration",))
    return found


def _drop(config: dict[str, Any], side: Mapping[str, Any], at: tuple[str, ...]) -> None:
    """Leaves out of the config what the side file has at the same place."""
    key = at[-1]
    there, new = config.get(key), side.get(key)
    if there is None or new is None:
        return
    if at in _ADDS_UP and isinstance(there, dict) and isinstance(new, dict):
        rest = dict(there)
        for inner in new:
            _drop(rest, new, (*at, inner))
        config[key] = rest
    else:
        del config[key]


def _put(merged: _Merged, document: Document, side: Document, at: Pointer, base: Pointer, value: Any) -> None:
    """Puts a part of the side file (at `base`) into the config (at `at`)."""
    parent = merged.config
    for step in at[:-1]:
        parent = parent[step]
    key = at[-1]
    there = parent.get(key)
    if there is None:
        parent[key] = value
        merged.owners[at] = (side, base)
    elif at in _ADDS_UP and isinstance(there, dict) and isinstance(value, dict):
        parent[key] = dict(there)  # the document's own value stays as it was read
        for inner, part in value.items():
            _put(merged, document, side, (*at, inner), (*base, inner), part)
    else:
        line, column = document.text.position(document.span(at, "key")[0])
        name = ".".join(str(step) for step in at)
        merged.problems.append(
            side.problem(
                "SK006",
                base,
                f"'{name}' is also given in {document.path}:{line}:{column}",
                "keep one of them",
                CODES["SK006"].severity,
                "key",
            )
        )
