"""A state set by hand for an actor that needs rescue: whether it may be placed there.

The checks are those of every placement (apv.md section 7, step 7). An operator's word stands in for the
rules: it is decided as if a mapping of the active leaves to the wanted state stood in the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec.json import Encoder

from statekeep_cli.core.apv import SKIPPED, Deployment, Ends, FollowMore
from statekeep_cli.core.check_finding import did_you_mean
from statekeep_cli.core.configuration import configuration_of, is_done, is_legal, leaves, state_value
from statekeep_cli.core.decision import Decision, Place
from statekeep_cli.core.migration import same_version, speaks_for
from statekeep_cli.core.model import Definition, canonical, join_path, value_text
from statekeep_cli.core.moving import Mover, marker
from statekeep_cli.core.record import Intake, Opened, decoded, items_of
from statekeep_cli.core.semantics import default_entry, enter_by_default
from statekeep_cli.core.trace import Actor

RULE = "manual"
_encode = Encoder().encode


def destination(target: Definition, wanted: Any) -> Place:
    """The whole state that a path (entered by default) or a state value stands for.

    Raises `ValueError`, in words, for what is no complete, legal state of the target.
    """
    if not isinstance(wanted, str):
        configuration = configuration_of(target, wanted)
        if configuration is None:
            raise ValueError(f"{canonical(wanted)} is no complete, legal state of {target.label}")
        return _place(target, configuration)
    node = target.node(wanted) or target.node((wanted,))
    if node is None or not node.path:
        names = [n.name for n in target.nodes if n.path and n.kind != "history"]
        hint = did_you_mean(wanted, names, f"it has {', '.join(names[:8])}")
        raise ValueError(f"{target.label} has no state {wanted}; {hint}")
    if node.kind == "history":
        raise ValueError(f"{wanted} is a history state of {target.label}, in which nobody can be")
    configuration = node.ancestors | default_entry(target, node)
    if not is_legal(target, configuration):
        whole = canonical(state_value(target, enter_by_default(target, node)))
        raise ValueError(
            f"{wanted} says nothing about the other regions of {target.label}; give the whole state"
            f" value, such as '{whole}'"
        )
    return _place(target, configuration)


def destinations(target: Definition) -> list[tuple[str, Place]]:
    """Every state that `destination` takes, in document order, each once: as a path, or as a whole state
    value where a path says nothing about the other regions, which are then entered by default."""
    found: dict[str, tuple[str, Place]] = {}
    for node in target.nodes:
        if not node.path or node.kind == "history":
            continue
        configuration = node.ancestors | default_entry(target, node)
        name = join_path(node.path)
        if not is_legal(target, configuration):
            configuration = enter_by_default(target, node)
            name = canonical(state_value(target, configuration))
        there = _place(target, configuration)
        # The deepest path says most about where it leads.
        if there.state not in found or not name.startswith("{"):
            found[there.state] = name, there
    return [*found.values()]


def _place(target: Definition, configuration: int) -> Place:
    return Place(target.id, target.version, value_text(state_value(target, configuration)))


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a manual decision comes to: `decision` is a `migrate` by the rule `manual`, or says why not.
    `mover` carries the rest of the actor."""

    decision: Decision
    mover: Mover


class Resolver:
    """Decides about actors that an operator wants in one state of the target; holds nothing about them."""

    def __init__(self, sources: Sequence[Definition], target: Definition, to: Place):
        others = [s for s in sources if (s.id, s.version) != (target.id, target.version)]
        # An actor may stay in its version: nothing is edited then, and the same facts are owed.
        kept = {k: v for k, v in target.migration.items() if k in ("anchors", "obligations")}
        self._same = replace(target, migration=kept)
        self._sources, self._target, self.to = (*others, self._same), target, to
        self._plain = Deployment(self._sources, target)
        self._mover = Mover(self._plain)
        self._trials: dict[tuple[int, int], tuple[Deployment, Intake, Mover]] = {}

    def resolve(self, actor: Actor[Any, Any]) -> Resolved:
        """The decision about one actor."""
        state = decoded(actor.state)
        lane = self._lane(actor)
        if lane is None or actor.status in SKIPPED:
            admitted = self._plain.admit(actor.definition, actor.version, actor.status, state)
            assert isinstance(admitted, Decision)
            return Resolved(admitted, self._mover)
        source = self._sources[lane]
        found = configuration_of(source, state)
        if found is not None and is_done(source, found):
            return Resolved(Decision("skip", "done", source=_place(source, found)), self._mover)
        # In no state of the source at all: nothing is known of where it was.
        known = found is not None
        configuration = enter_by_default(source, source.root) if found is None else found
        trial, intake, mover = self._trial(lane, configuration)
        items = tuple(items_of(actor.history)) if actor.history is not None else ()
        while True:
            case = intake.case(lane, configuration, actor)
            ends = Ends(())
            if known and case.trace != "none":
                ends = intake.ends(Opened(case, *_begin(intake, lane, actor, items)))
            try:
                decision = trial.decide(case, ends)
            except FollowMore as more:
                trial.follow(more.lane, more.paths)
            else:
                break
        if not known:
            was = Place(source.id, source.version, value_text(state))
            decision = replace(decision, source=was, hazards=())
        return Resolved(replace(decision, rule=RULE), mover)

    def _lane(self, actor: Actor[Any, Any]) -> int | None:
        for i, source in enumerate(self._sources):
            if actor.definition in (None, source.id) and same_version(source.version, actor.version):
                return i
        return None

    def _trial(self, lane: int, configuration: int) -> tuple[Deployment, Intake, Mover]:
        found = self._trials.get((lane, configuration))
        if found is None:
            source = self._sources[lane]
            same = source is self._same
            base = self._same if same else self._target
            block = dict(base.migration) if speaks_for(base, source) else {}
            for key in ("from", "eligible", "routes"):
                block.pop(key, None)
            to = self.to.value
            to = join_path((to,)) if isinstance(to, str) else to
            there = {leaf.name: to for leaf in leaves(source, configuration)}
            block["stateMapping"] = {**(block.get("stateMapping") or {}), **there}
            target = replace(base, migration=block)
            trial = Deployment(self._sources, target)
            found = self._trials[lane, configuration] = trial, Intake(trial), Mover(trial)
        return found


def _begin(intake: Intake, lane: int, actor: Actor[Any, Any], items: Any) -> tuple[Any, Any, str]:
    begin, why = intake.begin(lane, actor, items)
    return begin, items, why


def markers(decision: Decision, why: str) -> str:
    """What a manual decision adds to a trace (apv.md section 3), as JSON text: a `migrated` item where the
    version changes, by which the source side continues there, and the `manual` one."""
    assert decision.source is not None
    assert decision.target is not None
    manual = f'{{"type":"manual","to":{decision.target.state},"why":{_encode(why).decode()}}}'
    ends = [(p.definition, str(p.version)) for p in (decision.source, decision.target)]
    return manual if ends[0] == ends[1] else f"[{marker(decision)},{manual}]"
