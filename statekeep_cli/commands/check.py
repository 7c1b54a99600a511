"""`statekeep check`: every finding about definitions, offline, and about the tables of a database."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statekeep_cli.commands.accepting import Accepting, Baseline, WriteBaseline
from statekeep_cli.commands.options import Config, Database, Migration
from statekeep_cli.errors import Findings, InputUnreadable, Problem, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.readers.config import Config as Configuration
    from statekeep_cli.readers.definitions import Reading
    from statekeep_cli.render.results import Result
    from statekeep_cli.stores.interface import Store

FORMATS = ("text", "json", "github", "gitlab", "junit", "sarif")


def check(
    definitions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DEFINITION]...", help="JSON or YAML files; of several, the last is the target."
        ),
    ] = None,
    db: Database = None,
    config: Config = None,
    migration: Migration = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FMT[=PATH]",
            help="text (default), json, github, gitlab, junit or sarif; repeatable.",
        ),
    ] = None,
    baseline: Baseline = None,
    write_baseline: WriteBaseline = None,
) -> None:
    """Check definitions: schema and meaning, all findings at once, each with its place and a hint.

    With several definitions the last is checked against the others, as the target they migrate to.
    With --db also the tables that statekeep.yaml maps (StateKeep's own, without one): columns, types,
    indexes, privileges, and the states in them; SQL that would help is printed, and none is run.
    Exits 0 when there are no errors, 3 when there are, 1 when a file cannot be read, 9 when the
    database does not answer.

    Example: statekeep check v1.yaml v2.yaml
    """
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.readers.definitions import examine_all

    outputs = Pages.parse(formats, FORMATS)
    accepting = Accepting.read(baseline, write_baseline)
    if not definitions and db is None and config is None:
        raise UsageMistake("nothing to check; give definition files, or --db URL")
    if migration is not None and not definitions:
        raise UsageMistake("--migration belongs to a target definition; give that too")
    readings = examine_all(definitions, migration) if definitions else []
    configuration = _configuration(db, config)
    problems = [p for r in readings for p in r.problems]
    about: dict[str, Any] = {}
    if db is not None:
        from statekeep_cli.stores.connect import connect

        store = connect(db, read_only=True)
        try:
            about = {"kind": store.kind, "address": store.address}
            problems += _database(store, configuration, readings)
        finally:
            store.close()
    problems = _accepted(problems, readings, accepting)
    outputs.write(_pages(readings, problems, about))
    if any(r.unreadable for r in readings):
        raise InputUnreadable
    if any(p.severity == "error" for p in problems):
        raise Findings


def _configuration(db: str | None, config: str | None) -> Configuration | None:
    """Read where it is asked for: definitions alone are checked without it."""
    if db is None and config is None:
        return None
    from statekeep_cli.readers.config import read_config

    return read_config(config)


def _database(
    store: Store, configuration: Configuration | None, readings: Sequence[Reading]
) -> list[Problem]:
    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.stores.catalogue_check import check_database

    mapping = configuration.mapping if configuration else None
    known = [r.loaded.definition for r in readings if r.loaded]
    # With a definition that could not be read, every state of its actors would look foreign.
    found = check_database(store, mapping or OWN, known if len(known) == len(readings) else ())
    problems = []
    for f in found:
        if configuration is not None and mapping is not None and f.pointer:
            problem = configuration.problem(f.code, f.pointer, f.message, f.hint, f.severity)
            problems.append(replace(problem, sql=f.sql))
        else:
            problems.append(Problem(store.address, 0, 0, f.message, f.code, f.severity, f.hint, sql=f.sql))
    return problems


def _accepted(
    problems: Sequence[Problem], readings: Sequence[Reading], accepting: Accepting
) -> list[Problem]:
    """The problems without those that the baseline accepts, which are listed on standard error.

    An error of a definition is not accepted: no other command could read it.
    """
    if not accepting.given and accepting.write is None:
        return list(problems)
    from statekeep_cli.core.baseline import check_entry, unused
    from statekeep_cli.render.terminal import inert

    files = {p.path for r in readings for p in r.problems}
    names = {r.path: r.loaded.definition.id for r in readings if r.loaded}
    found = {
        p: check_entry(names.get(p.path, p.path if p.path in files else "database"), p.code, p.message)
        for p in problems
        if p.path not in files or p.severity == "warning"
    }
    entries = list(accepting.entries)
    if accepting.write is not None:
        entries = accepting.written(found.values(), ("strand", "hazard"))
    known = {e.fingerprint: e for e in entries}
    accepted = {p: known[e.fingerprint] for p, e in found.items() if e.fingerprint in known}
    lines = [
        f"accepted by the baseline: {p.place}: {e.sentence}" + (f": {e.why}" if e.why else "")
        for p, e in accepted.items()
    ]
    lines += unused(entries, (e.fingerprint for e in found.values()), ("check",))
    for line in lines:
        print(inert(line), file=sys.stderr)
    return [p for p in problems if p not in accepted]


def _pages(
    readings: Sequence[Reading], problems: Sequence[Problem], database: Mapping[str, str]
) -> dict[str, Callable[[int, bool], str]]:
    """What each format writes, to be drawn where it is asked for."""

    def text(width: int, color: bool) -> str:
        from statekeep_cli.render.problems import problems_summary, render_problems

        summary = problems_summary(problems, len(readings), bool(database))
        return f"{render_problems(problems, width, color)}{summary}\n"

    def as_json(width: int, color: bool) -> str:
        return json.dumps(_as_json(readings, problems, database), indent=2, ensure_ascii=False) + "\n"

    def results() -> list[Result]:
        from statekeep_cli.commands.locating import from_root
        from statekeep_cli.render.results import of_problems

        return of_problems([replace(p, path=from_root(p.path)) for p in problems])

    def github(width: int, color: bool) -> str:
        from statekeep_cli.render.github import github

        return github(results())

    def gitlab(width: int, color: bool) -> str:
        from statekeep_cli.render.gitlab import gitlab

        return gitlab(results())

    def junit(width: int, color: bool) -> str:
        from statekeep_cli.commands.locating import from_root
        from statekeep_cli.render.junit import of_problems

        return of_problems(results(), [from_root(r.path) for r in readings])

    def sarif(width: int, color: bool) -> str:
        from statekeep_cli.render.sarif import of_problems

        return of_problems(results())

    return dict(zip(FORMATS, (text, as_json, github, gitlab, junit, sarif), strict=True))


def _as_json(
    readings: Sequence[Reading], problems: Sequence[Problem], database: Mapping[str, str]
) -> dict[str, Any]:
    definitions = []
    for r in readings:
        d = r.loaded.definition if r.loaded else None
        definitions.append(
            {
                "path": r.path,
                "id": d.id if d else None,
                "version": d.version if d else None,
                "digest": d.digest if d else None,
            }
        )
    return {
        "formatVersion": 1,
        "definitions": definitions,
        **({"database": database} if database else {}),
        "errors": sum(p.severity == "error" for p in problems),
        "warnings": sum(p.severity == "warning" for p in problems),
        "findings": [
            {
                "code": p.code,
                "severity": p.severity,
                "path": p.path,
                "line": p.line or None,
                "column": p.column or None,
                "endColumn": p.end_column or None,
                "message": p.message,
                "hint": p.hint,
                **({"sql": p.sql} if p.sql else {}),
            }
            for p in problems
        ],
    }
