"""The words that every format shares: counts, states, rules, hazards, lines to paste."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from statekeep_cli.core.decision import NOTICES, Hazard, Place
from statekeep_cli.core.model import join_path
from statekeep_cli.core.report import OUTCOMES, DefinitionRef, Group, Report, yaml_scalar

# What a reason means, for groups that bring no sentence of their own (apv.md section 7).
MEANINGS = {
    "snapshot_invalid": "the recorded state is no complete, legal state of the source definition",
    "version_unknown": "the actor names a version that was not given",
    "declared": "a route of the target says so",
    "history_inconsistent": "the recorded history cannot have led to this state",
    "state_unreachable": "no path of the source definition leads to this state",
    "state_removed": "the target has no such state",
    "kind_changed": "the state is of another kind in the target",
    "region_added": "the target has a region more here",
    "region_removed": "the target has a region less here",
    "event_refused": "the target does not accept an event that this history took",
    "diverged": "in the target the same history leads elsewhere",
    "ambiguous": "guards that the history says nothing about decide between several states",
    "history_required": "it depends on how the actor came here, and there is no complete history",
    "substate_unmapped": "a mapping covers the state and says nothing about what is active inside it",
    "region_conflict": "two active states would claim one region of the target",
    "obligation_unmet": "the target state requires something that this history does not have",
    "history_value_lost": "a remembered history value has no place in the target",
    "child_lost": "a running child is invoked by no state of the target",
    "context_invalid": "the context does not satisfy the target's contextSchema",
    "undetermined": "the decision looks at a part of the context that was left out of the snapshot",
}

HAZARD_MEANINGS = {
    "invoke_not_started": "an invoke of this state was not running before and will not be started",
    "timer_not_armed": "a timer of this state was not running before and will not be armed",
    "done_not_raised": "the state is complete already, so its done event will not come",
    "target_unstable": "an `always` transition leaves this place whatever the guards say",
    "dead_end": "no final state can be reached from here",
    "gate_skipped": "every way to the placed state passes this gate, and the actor never entered it",
    "entry_not_run": "entry actions of this state are not run",
    "default_entry": "this state is entered by default",
    "event_retired": "an event that the target no longer knows was dropped from the history",
    "replay_waived": "an explicit rule placed actors that their history would have stranded",
    "timer_changed": "the timer of this state has another delay than before",
    "bare_anchor": "the anchor point alone placed them; nothing was replayed after it",
}


def counts(report: Report) -> list[tuple[str, int]]:
    """The counts that lead every report, in their order; `total` last."""
    return [
        ("migrate", report.would_migrate),
        ("strand", report.would_strand),
        ("stay", report.would_stay),
        ("skipped", report.skipped),
        ("unreadable", report.unreadable),
        ("total", report.total),
    ]


def actors(n: int) -> str:
    return f"{n:,} actor" if n == 1 else f"{n:,} actors"


# --- states ----------------------------------------------------------------------------------------------


def state_text(state: str) -> str:
    """A state value (as JSON text) as people write it and as the decisions' sentences do: the dotted
    paths of its leaves, `granting.approved.done + granting.registered.open`."""
    try:
        value = json.loads(state)
    except (ValueError, RecursionError):
        return state
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not value:
        return state
    found: list[str] = []
    todo: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while todo:
        path, inner = todo.pop()
        if isinstance(inner, dict) and inner:
            todo.extend(((*path, key), inside) for key, inside in reversed(inner.items()))
        elif isinstance(inner, dict):
            found.append(join_path(path))
        elif isinstance(inner, str):
            found.append(join_path((*path, inner)))
        else:  # no state value; shown as it is
            return state
    return " + ".join(found)


def label(place: Place) -> str:
    """`loan@1`, as in the decisions' sentences."""
    return f"{place.definition}@{place.version}"


def definition_label(d: DefinitionRef) -> str:
    return f"{d.id}@{d.version}"


def place_text(place: Place | None) -> str:
    """`submitted`; `-` where there is no place."""
    return "-" if place is None else state_text(place.state)


def several_sources(report: Report) -> bool:
    """Do the groups come from more than one definition, so that a state's name alone does not say?"""
    return len({(g.source.definition, str(g.source.version)) for g in report.groups if g.source}) > 1


# --- groups ----------------------------------------------------------------------------------------------


def by(group: Group) -> str:
    """What decided: the rule, or the reason, with the rule that ran into it."""
    if not group.reason:
        return group.rule
    return f"{group.reason} ({group.rule})" if group.rule else group.reason


def rows(report: Report) -> list[tuple[Group, int]]:
    """One row per (outcome, from, to, rule or reason): groups that differ in detail alone are one row.

    In the order of `OUTCOMES`, larger ones first.
    """
    found: dict[tuple[object, ...], tuple[Group, int]] = {}
    for g in report.groups:
        key = (g.outcome, g.source, g.target, g.rule, g.reason)
        first, count = found.get(key, (g, 0))
        found[key] = (first, count + g.count)
    return sorted(found.values(), key=lambda x: _order(x[0], x[1]))


def strands(report: Report) -> list[Group]:
    """The strand groups, larger ones first."""
    return sorted((g for g in report.groups if g.outcome == "strand"), key=lambda g: _order(g, g.count))


def _order(g: Group, count: int) -> tuple[object, ...]:
    source = state_text(g.source.state) if g.source else ""
    return (OUTCOMES.index(g.outcome), -count, source, g.reason, g.rule, g.detail)


def why(group: Group) -> str:
    return group.detail or MEANINGS.get(group.reason, "")


def erased(group: Group, show: Callable[[str], str]) -> str:
    """What `loops: erase` would change for a strand group (apv.md section 3); `show` presents user text."""
    said = f"the policy `loops: erase` would free {group.freed_by_erase:,} of them"
    if group.skipped_by_erase:
        said += "; they would then have skipped " + ", ".join(show(s) for s in group.skipped_by_erase)
    return said


def note(text: str, show_ids: bool) -> str:
    """A note for a format made to be shared: what follows its colon names actors."""
    return text if show_ids else text.partition(": ")[0]


def landing_text(state: str, stuck: str | None) -> str:
    return state_text(state) if stuck is None else f"{state_text(state)}, where {stuck} is refused"


# --- hazards ---------------------------------------------------------------------------------------------


def notices(report: Report) -> list[tuple[Hazard, int]]:
    """Hazards that are no findings: those that inform, and those the definition has accepted."""
    found: dict[Hazard, int] = {}
    for group in report.groups:
        for hazard, count in group.hazards:
            if not hazard.is_finding:
                found[hazard] = found.get(hazard, 0) + count
    return sorted(found.items(), key=lambda x: (x[0].hazard in NOTICES, -x[1], x[0].hazard, x[0].state))


def hazard_text(hazard: Hazard, n: int, show: Callable[[str], str]) -> str:
    """A hazard in one line; `show` presents user text. Some are at no state: what happened on the path."""
    said = show(hazard.detail) if hazard.detail else HAZARD_MEANINGS.get(hazard.hazard, "")
    if hazard.accepted is not None:
        said = f"accepted, {show(hazard.accepted)}"
    place = f" at {show(hazard.state)}" if hazard.state else ""
    return f"{actors(n)}, {hazard.hazard}{place}: {said}"


def accept_lines(findings: Iterable[Hazard]) -> list[str]:
    """The YAML that accepts these findings, for the `migration` block; the reasons are left to fill in."""
    places = dict.fromkeys((h.hazard, h.state) for h in findings)
    lines = ["migration:", "  accept:"]
    for hazard, state in places:
        lines.append(f'    - {{hazard: {hazard}, state: {yaml_scalar(state)}, reason: "..."}}')
    return lines
