"""What every code means, what causes it and what to do: reasons, hazards, and the findings of `check`.

The texts are StateKeep's own, so that formats may show them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from statekeep_cli.core.check_finding import CODES
from statekeep_cli.render import words

UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Rule:
    """`level` is what its findings are by default; `cause` and `cure` are a sentence each."""

    code: str
    level: str
    cause: str
    cure: str

    @property
    def name(self) -> str:
        """`StateRemoved`, as rule names are written; codes like `SK020` are names already."""
        if self.code[:1].isupper():
            return self.code
        return "".join(part.capitalize() for part in self.code.split("_"))


# Strand reasons, with what a team can do about them (apv.md section 7).
REASON_CURES = {
    "snapshot_invalid": "correct the state in the record, or give the definition it belongs to",
    "version_unknown": "give the definition of that version as another source",
    "declared": "a route of the target says so on purpose; change the route to place these actors",
    "history_inconsistent": "check that the history and the definition belong together, or place the state "
    "with a stateMapping or a route",
    "state_unreachable": "correct the source definition, or place the state with a stateMapping or a route",
    "state_removed": "say where its actors belong with a stateMapping or a route",
    "kind_changed": "map the state into the new structure, or enter it with policy.entry: initial",
    "region_added": "name a state of the new region in a stateMapping, or use policy.entry: initial",
    "region_removed": "say with a stateMapping or a route where actors of that region belong",
    "event_refused": "say with a stateMapping, a route or an anchor with resume where these actors belong",
    "diverged": "map the state to where the histories lead, or tell them apart with routes on anchors",
    "ambiguous": "record states in the history, or place the state with a stateMapping or a route",
    "history_required": "give the history, or place the state with a stateMapping or a route without anchors",
    "substate_unmapped": "add a stateMapping key for the substate itself",
    "region_conflict": "let the mapping keys of the active regions name different regions of the target",
    "obligation_unmet": "meet the obligation first, or route the actor to a place before it",
    "history_value_lost": "carry the remembered states and the history node's parent with a stateMapping",
    "child_lost": "place the actor where its invoke goes on, with a stateMapping or a route",
    "context_invalid": "make the context fit with context defaults, rename or remove",
    "undetermined": "keep what the decision looks at in the snapshot (statekeep snapshot --keep PATH)",
}
_ACCEPT = "; once looked at, name it in migration.accept with a reason"
HAZARD_CURES = {
    "invoke_not_started": "start the invoked actor by hand, or place the actors before this state" + _ACCEPT,
    "timer_not_armed": "arm the timer by hand, or place the actors before this state" + _ACCEPT,
    "done_not_raised": "place the actors where the done event leads" + _ACCEPT,
    "target_unstable": "place the actors where the `always` transition leads" + _ACCEPT,
    "dead_end": "place the actors where a final state can be reached" + _ACCEPT,
    "gate_skipped": "place the actors before the gate, or route those that passed it by an anchor" + _ACCEPT,
}
SK_CURES = {
    "SK001": "give the path of a file that exists and may be read",
    "SK002": "save the file as UTF-8",
    "SK003": "mend the syntax at the place that is named",
    "SK004": "check that it is the right file; write aliases out, flatten or split the definition",
    "SK005": "remove one of the two keys or give it another name",
    "SK006": "keep the routing metadata in one of the two places",
    "SK007": "mend those that are shown and check again",
    "SK008": "split the definition",
    "SK010": "correct the spelling, or prefix your own keys with x-",
    "SK011": "add the key",
    "SK012": "write a value of the type that is named",
    "SK013": "use one of the values that are listed",
    "SK014": "keep exactly one of the keys that are listed",
    "SK020": "name a state that exists, as it is seen from there",
    "SK021": "add `initial` with the name of a child state",
    "SK022": "name a child state as the initial one",
    "SK023": "give one of the two states another id",
    "SK024": "point history nodes at a compound or parallel parent and give them a target that lies in it",
    "SK025": "remove the type, or what contradicts it",
    "SK026": "use a wildcard only as the whole descriptor or as its last token",
    "SK027": "name the event",
    "SK028": "remove the transition, or give those before it guards",
    "SK029": "add a transition into the state, or remove it",
    "SK030": "remove the transitions, or let the state not be final",
    "SK031": "give the `always` transitions guards or targets that let the step end",
    "SK032": "name the guards, so that changes of them can be seen",
    "SK033": "name targets in different regions",
    "SK034": "mend what XState refuses to build",
    "SK040": "name a state of a source",
    "SK041": "name a state of the target",
    "SK042": "name one state per active region",
    "SK043": "declare the anchor, or correct its name",
    "SK044": "break the circle",
    "SK045": "move the route before the one that covers it, or remove it",
    "SK046": "correct the version in `from`, or give that source",
    "SK047": "give the definition of that version as another source",
    "SK048": "correct the event's name, or remove it",
    "SK049": "correct the guard's name, or remove it",
    "SK050": "correct the bounds",
    "SK060": "mend the JSON Schema",
    "SK061": "write the referenced schema out inside this one",
    "SK062": "write the pattern without lookaround and back references",
    "SK063": "write the schema with fewer references",
    "SK070": "give the changed definition a new version",
    "SK071": "say after `because` why the finding does not matter",
    "SK072": "remove the ignore",
}
_UNREADABLE = Rule(
    UNREADABLE,
    "error",
    "a record of the input could not be read, so nothing is known of its actor",
    "mend the record, or leave it out of the export",
)
_OTHER = "see the message of the finding"


def rule(code: str) -> Rule:
    """The rule of a result's code; codes that are about a database tell their cure in each finding."""
    if code == UNREADABLE:
        return _UNREADABLE
    if code in words.MEANINGS:
        return Rule(code, "error", words.MEANINGS[code], REASON_CURES[code])
    if code in words.HAZARD_MEANINGS:
        return Rule(code, "error", words.HAZARD_MEANINGS[code], HAZARD_CURES.get(code, _OTHER))
    if code in CODES:
        return Rule(code, CODES[code].severity, CODES[code].meaning, SK_CURES.get(code, _OTHER))
    return Rule(code, "warning", "a finding about a database or a configuration", _OTHER)


def rules(codes: Iterable[str]) -> list[Rule]:
    """The rules of these codes, each once, in order of their names."""
    return [rule(code) for code in sorted(set(codes))]
