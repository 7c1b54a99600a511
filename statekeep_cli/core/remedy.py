"""The smallest routing metadata that would resolve one strand, tried out before it is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from statekeep_cli.core.apv import Deployment, FollowMore
from statekeep_cli.core.configuration import configuration_of, leaves
from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.model import Definition, canonical
from statekeep_cli.core.record import Intake
from statekeep_cli.core.report import BY_LANDING, yaml_scalar, yaml_value
from statekeep_cli.core.trace import Actor


@dataclass(frozen=True, slots=True)
class Remedy:
    """`lines` are YAML for the target definition and `block` the same as JSON ("" where nothing could be
    found), `to` where they place the actor; `words` say what they consent to, or what is missing."""

    words: str
    lines: str = ""
    block: str = ""
    to: Place | None = None


# What is missing where no lines can be offered, by reason.
MISSING = {
    "snapshot_invalid": "the state in the record has to be corrected, or the definition it belongs to given",
    "version_unknown": "give the definition of that version as another source",
    "declared": "the author of the target decided this; only a change of that route can place the actor",
    "history_inconsistent": "either the history or the definition is not the one it ran on; a stateMapping "
    "or a route for its state would place it by the author's word",
    "state_unreachable": "a stateMapping or a route for its state would place it by the author's word",
    "event_refused": "no landing is free: the author has to say where its state belongs, with a "
    "stateMapping, a route or an anchor with resume",
    "ambiguous": "the trace has to tell which way the guards went (recorded states do), or a stateMapping or "
    "a route has to place its state",
    "obligation_unmet": "the obligation has to be met first, or a route has to place the actor before it",
    "history_value_lost": "a stateMapping has to carry the remembered states and the history node's parent",
    "child_lost": "the actor has to be placed where its invoke goes on, by a stateMapping or a route",
    "context_invalid": "context defaults, rename or remove have to make it fit the target's contextSchema",
    "undetermined": "make the snapshot again and keep what the decision looks at (snapshot --redact --keep)",
    "substate_unmapped": "a stateMapping key for the substate itself is missing",
    "region_conflict": "the mapping keys of the active regions have to name different regions of the target",
    "region_added": "a stateMapping key has to name a state of the new region, or policy.entry: initial "
    "enters it",
    "diverged": "its histories land in several places: routes on anchors can tell them apart",
    "history_required": "its history has to be given, or a stateMapping or a route without anchors has to "
    "place it",
}
ORIGIN = "an anchor point passed since the origin (resume), a stateMapping or a route has to place it"
TRUST = {"policy": {"history": "trust"}}
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
                alone = len(decision.landings) == 1
                words = "its history lands there, and nowhere else" if alone else "its only free landing"
                return Remedy(words, _lines(mapping), canonical({"stateMapping": mapping}), to)
        to = _tried(deployment, actor, {"policy": {"loops": "erase"}})
        if to is not None:
            words = "only loops strand it; this consents to a loop having passed a gate it then never meets"
            return _policy(words, "loops", "erase", to)
    if decision.reason in ("kind_changed", "region_added"):
        to = _tried(deployment, actor, {"policy": {"entry": "initial"}})
        if to is not None:
            words = "this consents to entering what is new inside by default"
            return _policy(words, "entry", "initial", to)
    words = MISSING.get(decision.reason, OTHERWISE)
    if decision.reason == "history_required" and actor.origin:
        words = ORIGIN
    elif decision.reason == "history_required" and _tried(deployment, actor, TRUST) is not None:
        words += "; policy.history: trust would accept its name"
    return Remedy(words)


def _policy(words: str, name: str, value: str, to: Place) -> Remedy:
    block = canonical({"migration": {"policy": {name: value}}})
    return Remedy(words, f"migration:\n  policy: {{{name}: {value}}}", block, to)


def _mappings(deployment: Deployment, decision: Decision) -> list[Mapping[str, Any]]:
    """Mappings of active leaves to the only landing that is free."""
    source = next((d for d in deployment.sources if _is_of(d, decision.source)), None)
    free = [x for x in decision.landings if not x.stuck]
    if source is None or decision.source is None or len(free) != 1:
        return []
    here = configuration_of(source, decision.source.value)
    landing = free[0].value
    there = configuration_of(deployment.target, landing)
    if here is None or there is None:
        return []
    active, landed = leaves(source, here), leaves(deployment.target, there)
    if len(active) == 1:
        return [{active[0].name: landed[0].name if len(landed) == 1 else landing}]
    # Of several regions, those that stay put need no key; what is left is paired where that is unmistakable.
    kept = {n.path for n in active} & {n.path for n in landed}
    moved = [n for n in active if n.path not in kept]
    new = [n for n in landed if n.path not in kept]
    if len(moved) == len(new) == 1:
        return [{moved[0].name: new[0].name}]
    pairs = {n.name: [f.name for f in new if f.path[:-1] == n.path[:-1]] for n in moved}
    if moved and all(len(found) == 1 for found in pairs.values()):
        return [{name: found[0] for name, found in pairs.items()}]
    return []


def _is_of(d: Definition, place: Place | None) -> bool:
    return place is not None and (d.id, d.version) == (place.definition, place.version)


def _lines(mapping: Mapping[str, Any]) -> str:
    lines = ["stateMapping:"]
    for key, value in mapping.items():
        to = yaml_scalar(value) if isinstance(value, str) else yaml_value(value)
        lines.append(f"  {yaml_scalar(key)}: {to}")
    return "\n".join(lines)


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
