"""The smallest routing metadata that would resolve one strand, tried out before it is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from statekeep_cli.core.apv import Deployment, FollowMore
from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.model import Definition, value_text
from statekeep_cli.core.record import Intake
from statekeep_cli.core.report import BY_LANDING, suggestion, yaml_scalar
from statekeep_cli.core.semantics import configuration_of, leaves
from statekeep_cli.core.trace import Actor


@dataclass(frozen=True, slots=True)
class Remedy:
    """`lines` are YAML for the target definition ("" where nothing could be found), `to` where they place the
    actor; `words` say what they consent to, or what is missing."""

    lines: str
    words: str
    to: Place | None = None


# What is missing where no lines can be offered, by reason.
MISSING = {
    "snapshot_invalid": "the state in the record has to be corrected, or the definition it belongs to given",
    "version_unknown": "give the definition of that version as another source",
    "declared": "the author of the target decided this; only a change of that route can place the actor",
    "history_inconsistent": "either the history or the definition is not the one it ran on; a stateMapping or a "
    "route for its state would place it by the author's word",
    "state_unreachable": "a stateMapping or a route for its state would place it by the author's word",
    "event_refused": "no landing is free: the author has to say where its state belongs, with a stateMapping, a route "
    "or an anchor with resume",
    "ambiguous": "the trace has to tell which way the guards went (recorded states do), or a stateMapping or a route "
    "has to place its state",
    "obligation_unmet": "the obligation has to be met first, or a route has to place the actor before it",
    "history_value_lost": "a stateMapping has to carry the remembered states and the history node's parent",
    "child_lost": "the actor has to be placed where its invoke goes on, by a stateMapping or a route",
    "context_invalid": "context defaults, rename or remove have to make the context fit the target's contextSchema",
    "substate_unmapped": "a stateMapping key for the substate itself is missing",
    "region_conflict": "the mapping keys of the active regions have to name different regions of the target",
    "region_added": "a stateMapping key has to name a state of the new region, or policy.entry: initial enters it",
    "diverged": "its histories land in several places: routes on anchors can tell them apart",
    "history_required": "its history has to be given, or a stateMapping or a route without anchors has to place it",
}
ORIGIN = "an anchor point passed since the origin (resume), a stateMapping or a route has to place it"
OTHERWISE = "a stateMapping or a route has to say where its state belongs"


def remedy(deployment: Deployment, actor: Actor[Any, Any], decision: Decision) -> Remedy | None:
    """The first of these that migrates the actor: a mapping to its only landing, `loops: erase`,
    `entry: initial`. Each is decided as if it stood in the target. None unless the actor strands."""
    if decision.outcome != "strand":
        return None
    if decision.reason in BY_LANDING:
        for mapping in _mappings(deployment, decision):
            to = _tried(deployment, actor, {"stateMapping": mapping})
            if to is not None:
                lines = _lines(decision, mapping)
                return Remedy(lines, "its history lands there, and nowhere else", to)
        to = _tried(deployment, actor, {"policy": {"loops": "erase"}})
        if to is not None:
            words = "it strands only because of loops; this consents to a loop having passed a gate it then never meets"
            return Remedy("migration:\n  policy: {loops: erase}", words, to)
    if decision.reason in ("kind_changed", "region_added"):
        to = _tried(deployment, actor, {"policy": {"entry": "initial"}})
        if to is not None:
            words = "this consents to entering what is new inside by default"
            return Remedy("migration:\n  policy: {entry: initial}", words, to)
    if decision.reason == "history_required" and actor.history is None:
        to = _tried(deployment, actor, {"policy": {"history": "trust"}})
        if to is not None:
            return Remedy("", MISSING["history_required"] + "; policy.history: trust would accept the name", to)
    pruned = decision.reason == "history_required" and bool(actor.origin)
    return Remedy("", ORIGIN if pruned else MISSING.get(decision.reason, OTHERWISE))


def _mappings(deployment: Deployment, decision: Decision) -> list[Mapping[str, Any]]:
    """Mappings of active leaves to the only landing, if it is free."""
    source = next((d for d in deployment.sources if _is_of(d, decision.source)), None)
    if source is None or decision.source is None or len(decision.landings) != 1 or decision.landings[0].stuck:
        return []
    here = configuration_of(source, decision.source.value)
    landing = decision.landings[0].value
    there = configuration_of(deployment.target, landing)
    if here is None or there is None:
        return []
    active, landed = leaves(source, here), leaves(deployment.target, there)
    if len(active) == 1:
        return [{active[0].name: landed[0].name if len(landed) == 1 else landing}]
    # Of several regions, those that stay put need no key; what is left is paired where that is unmistakable.
    kept = {n.path for n in active} & {n.path for n in landed}
    moved = [n for n in active if n.path not in kept]
    free = [n for n in landed if n.path not in kept]
    if len(moved) == len(free) == 1:
        return [{moved[0].name: free[0].name}]
    pairs = {n.name: [f.name for f in free if f.path[:-1] == n.path[:-1]] for n in moved}
    if moved and all(len(found) == 1 for found in pairs.values()):
        return [{name: found[0] for name, found in pairs.items()}]
    return []


def _is_of(d: Definition, place: Place | None) -> bool:
    return place is not None and (d.id, d.version) == (place.definition, place.version)


def _lines(decision: Decision, mapping: Mapping[str, Any]) -> str:
    alone = suggestion(decision.reason, decision.source, decision.landings)
    if alone:
        return alone
    entries = (f"  {yaml_scalar(k)}: {yaml_scalar(v) if isinstance(v, str) else value_text(v)}" for k, v in mapping.items())
    return "\n".join(("stateMapping:", *entries))


def _tried(deployment: Deployment, actor: Actor[Any, Any], addition: Mapping[str, Any]) -> Place | None:
    """Where the actor would go if this stood in the target's migration block; None if it strands still."""
    block = dict(deployment.target.migration)
    for key, value in addition.items():
        block[key] = {**(block.get(key) or {}), **value}
    target = replace(deployment.target, migration=block)
    trial = Deployment(deployment.sources, target)
    intake = Intake(trial)
    while True:
        opened = intake.open(actor)
        if isinstance(opened, Decision):
            return None
        try:
            return trial.decide(opened.case, intake.ends(opened)).target
        except FollowMore as more:
            trial.follow(more.lane, more.paths)
