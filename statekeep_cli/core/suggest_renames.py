"""Events that only got another name: one retired and one new, between the same states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.migration import speaks_for
from statekeep_cli.core.model import Definition
from statekeep_cli.core.placement import carry
from statekeep_cli.core.semantics import matches
from statekeep_cli.core.survey import Survey, decide

Edges = set[tuple[int, int]]  # (from, to), as nodes of the target


def renamed_events(deployment: Deployment, survey: Survey) -> dict[str, str]:
    """The renames that free sampled strands and change no sampled migration, each of them needed."""
    chosen = dict(_candidates(deployment))
    best = _freed(deployment, survey, chosen)
    if best < 0:  # together they change somebody: those that do no harm alone
        chosen = {old: new for old, new in chosen.items() if _freed(deployment, survey, {old: new}) > 0}
        best = _freed(deployment, survey, chosen)
    for old in list(chosen):
        fewer = {k: v for k, v in chosen.items() if k != old}
        if _freed(deployment, survey, fewer) == best:
            chosen = fewer
    return chosen if best > 0 else {}


def with_renames(target: Definition, renames: Mapping[str, str]) -> Definition:
    """The target with these events renamed, besides those it renames already."""
    rename = target.migration.get("rename") or {}
    events = {**(rename.get("events") or {}), **renames}
    return replace(target, migration={**target.migration, "rename": {**rename, "events": events}})


def _freed(deployment: Deployment, survey: Survey, renames: Mapping[str, str]) -> int:
    """How many sampled strands would migrate; -1 where somebody who migrates would be decided differently."""
    if not renames:
        return 0
    trial = Deployment(
        deployment.sources, with_renames(deployment.target, renames), erase_loops=deployment.erase_loops
    )
    freed = 0
    for before, samples in survey.samples.items():
        for opened in samples:
            after = decide(trial, opened)
            if before.outcome == "strand":
                freed += after.outcome == "migrate"
            elif changes(before, after):
                return -1
    return freed


def changes(before: Decision, after: Decision) -> bool:
    """Does somebody who was no strand fare differently: another outcome or place, or a new finding?"""
    if before.outcome == "strand":
        return False
    new = {h for h in after.hazards if h.is_finding} - set(before.hazards)
    return (before.outcome, before.target) != (after.outcome, after.target) or bool(new)


def _candidates(deployment: Deployment) -> list[tuple[str, str]]:
    """(retired event, unheard event) pairs, each event once, those that share the most ways first."""
    target = deployment.target
    shared: Counter[tuple[str, str]] = Counter()
    taken = {e for lane in deployment.lanes for pair in lane.migration.rename_events.items() for e in pair}
    heard = {d for s in deployment.sources for d in s.descriptors()}
    new = {
        e: edges
        for e, edges in _own_edges(target).items()
        if e not in heard and not any(matches(d, e) for d in heard)
    }
    for lane in deployment.lanes:
        if not speaks_for(target, lane.source):
            continue
        alphabet = lane.alphabets[lane.index]
        places = [carry(target, lane.migration.mapping, n.path) for n in lane.source.nodes]
        there = [-1 if node is None else node.index for node in places]
        for old, edges in _own_edges(lane.source).items():
            if not alphabet.is_retired(alphabet.translate(old)):
                continue
            ways = {(there[a], there[b]) for a, b in edges}
            for event, new_edges in new.items():
                if ways & new_edges and not {old, event} & taken:
                    shared[(old, event)] += len(ways & new_edges)
    found: list[tuple[str, str]] = []
    for (old, event), _ in sorted(shared.items(), key=lambda x: (-x[1], x[0])):
        if all(old != o and event != e for o, e in found):
            found.append((old, event))
    return found


def _own_edges(d: Definition) -> dict[str, Edges]:
    """Where each event that is spelled out leads, by states; derived events left out."""
    found: dict[str, Edges] = {}
    for node in d.nodes:
        for event, transitions in node.transitions.items():
            if event.endswith("*") or event.startswith("xstate."):
                continue
            ways = {(node.index, there) for t in transitions for there in t.targets or ()}
            if ways:
                found.setdefault(event, set()).update(ways)
    return found
