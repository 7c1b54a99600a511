"""A report as JSON (`statekeep schema report`)."""

from __future__ import annotations

import json as _json
from collections.abc import Iterable
from typing import Any

from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.report import FORMAT_VERSION, Group, Report


def json(report: Report) -> str:
    """One object, a key per line and a group per line; ASCII only, so that it prints anywhere."""
    keys = as_json(report)
    return "{\n" + ",\n".join(f" {_compact(k)}: {_value(v)}" for k, v in keys.items()) + "\n}\n"


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values, in the product's words (surface.md, Output)."""
    return {
        "formatVersion": FORMAT_VERSION,
        "definitions": [
            {"role": d.role, "id": d.id, "version": d.version, "digest": d.digest, "path": d.path}
            for d in report.definitions
        ],
        "wouldMigrate": report.would_migrate,
        "wouldStrand": report.would_strand,
        "wouldStay": report.would_stay,
        "skipped": report.skipped,
        "unreadable": report.unreadable,
        "total": report.total,
        "groups": [_group(g) for g in report.groups],
        "findings": _hazards(report.findings()),
        "unreadableRecords": [
            {"line": u.line, "column": u.column, "message": u.message} for u in report.unreadable_sample
        ],
        "notes": list(report.notes),
    }


def _group(g: Group) -> dict[str, Any]:
    return {
        "outcome": g.outcome,
        "reason": g.reason,
        "from": None if g.source is None else g.source.as_json(),
        "to": None if g.target is None else g.target.as_json(),
        "rule": g.rule,
        "detail": g.detail,
        "count": g.count,
        "sample": list(g.sample),
        "landings": [{**landing.as_json(), "count": n} for landing, n in g.landings],
        "suggestion": g.suggestion,
        "hazards": _hazards(g.hazards),
        "freedByErase": g.freed_by_erase,
        "skippedByErase": list(g.skipped_by_erase),
    }


def _hazards(found: Iterable[tuple[Hazard, int]]) -> list[dict[str, Any]]:
    return [{**hazard.as_json(), "count": n} for hazard, n in found]


def _compact(value: Any) -> str:
    return _json.dumps(value, separators=(", ", ": "))


def _value(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join("  " + _compact(x) for x in value) + "\n ]"
    return _compact(value)
