"""The routing metadata of a definition (apv.md section 2), read once into frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statekeep_cli.core.model import Definition, Path, Version, as_list, canonical, split_path

POLICIES = {
    "diverged": ("strand", "follow"),
    "history": ("require", "trust"),
    "entry": ("strand", "initial"),
    "loops": ("keep", "erase"),
}


@dataclass(frozen=True, slots=True)
class Predicate:
    """`{all, any, none, context}`: anchors by name, and a JSON Schema as canonical JSON ("" = none)."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    context: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of `routes`, numbered from 1. Exactly one of `to`, `stay`, `strand` speaks."""

    number: int
    source: Path
    when: Predicate
    to: Any = None
    stay: bool = False
    strand: str | None = None


@dataclass(frozen=True, slots=True)
class Migration:
    """A `migration:` block. The empty one is what holds for sources it does not speak for."""

    eligible: Predicate = Predicate()
    anchors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resume: Mapping[str, Path] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    mapping: Mapping[Path, Any] = field(default_factory=dict)
    rename_events: Mapping[str, str] = field(default_factory=dict)
    rename_guards: Mapping[str, str] = field(default_factory=dict)
    changed_guards: frozenset[str] = frozenset()
    obligations: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    context_defaults: Mapping[str, Any] = field(default_factory=dict)
    context_rename: Mapping[str, str] = field(default_factory=dict)
    context_remove: tuple[str, ...] = ()
    accepted: Mapping[tuple[str, str], str] = field(default_factory=dict)
    follow_diverged: bool = False
    trust_history: bool = False
    entry_initial: bool = False
    erase_loops: bool = False


def same_version(a: Version | None, b: Version | None) -> bool:
    """Versions are equal as text: a CSV column cannot tell 1 from "1"."""
    return str(a) == str(b)


def speaks_for(target: Definition, source: Definition) -> bool:
    """Does the target's block speak for this source (`migration.from`; default: every other)?"""
    listed = as_list(target.migration.get("from"))
    return not listed or any(str(x) in (str(source.version), source.id) for x in listed)


def predicate_of(raw: Mapping[str, Any] | None) -> Predicate:
    raw = raw or {}
    return Predicate(
        tuple(as_list(raw.get("all"))),
        tuple(as_list(raw.get("any"))),
        tuple(as_list(raw.get("none"))),
        canonical(raw["context"]) if "context" in raw else "",
    )


def migration_of(target: Definition, source: Definition, *, erase_loops: bool | None = None) -> Migration:
    """The block as it holds for one source; `erase_loops` overrides the policy (what-if runs)."""
    raw = target.migration if speaks_for(target, source) else {}
    policy = raw.get("policy") or {}
    rename = raw.get("rename") or {}
    context = raw.get("context") or {}
    anchors = raw.get("anchors") or {}
    erase = policy.get("loops") == "erase" if erase_loops is None else erase_loops
    return Migration(
        eligible=predicate_of(raw.get("eligible")),
        anchors={n: {k: v for k, v in p.items() if k != "resume"} for n, p in anchors.items()},
        resume={n: split_path(p["resume"]) for n, p in anchors.items() if "resume" in p},
        routes=tuple(
            Route(
                number=i + 1,
                source=split_path(r["from"]) if "from" in r else (),
                when=predicate_of(r.get("when")),
                to=r.get("to"),
                stay=bool(r.get("stay")),
                strand=r.get("strand"),
            )
            for i, r in enumerate(raw.get("routes") or [])
        ),
        mapping={split_path(k): v for k, v in (raw.get("stateMapping") or {}).items()},
        rename_events=dict(rename.get("events") or {}),
        rename_guards=dict(rename.get("guards") or {}),
        changed_guards=frozenset((raw.get("changed") or {}).get("guards") or []),
        obligations={split_path(k): tuple(as_list(v)) for k, v in (raw.get("obligations") or {}).items()},
        context_defaults=dict(context.get("defaults") or {}),
        context_rename=dict(context.get("rename") or {}),
        context_remove=tuple(context.get("remove") or ()),
        accepted={(a["hazard"], a["state"]): a.get("reason", "") for a in raw.get("accept") or []},
        follow_diverged=policy.get("diverged") == "follow",
        trust_history=policy.get("history") == "trust",
        entry_initial=policy.get("entry") == "initial",
        erase_loops=erase,
    )
