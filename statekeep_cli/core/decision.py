"""What is said about one actor: the outcome, the rule behind it, and the evidence.

Values only; the rules that produce them are in `apv.py`. State values are kept as canonical JSON
text so that decisions are hashable: two actors of one class share one `Decision` object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from statekeep_cli.core.model import StateValue, Version, value_text

OutcomeName = Literal["migrate", "stay", "strand", "skip"]

# Hazards of the first group (apv.md section 8): findings until `migration.accept` names them.
FINDINGS = (
    "invoke_not_started",
    "timer_not_armed",
    "done_not_raised",
    "target_unstable",
    "dead_end",
    "gate_skipped",
)
# Hazards of the second group: they inform.
NOTICES = ("entry_not_run", "default_entry", "event_retired", "replay_waived", "timer_changed", "bare_anchor")

REASONS = (
    "snapshot_invalid",
    "version_unknown",
    "declared",
    "history_inconsistent",
    "state_unreachable",
    "state_removed",
    "kind_changed",
    "region_added",
    "region_removed",
    "event_refused",
    "diverged",
    "ambiguous",
    "history_required",
    "substate_unmapped",
    "region_conflict",
    "obligation_unmet",
    "history_value_lost",
    "child_lost",
    "context_invalid",
    "undetermined",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A state of a definition; `state` is the state value as canonical JSON."""

    definition: str
    version: Version
    state: str

    @property
    def value(self) -> StateValue:
        value: StateValue = json.loads(self.state)
        return value

    @classmethod
    def of_json(cls, value: Any) -> Place | None:
        """What `as_json` gave; None for None."""
        if value is None:
            return None
        return cls(value["definition"], value["version"], value_text(value["state"]))

    def as_json(self) -> dict[str, Any]:
        return {"definition": self.definition, "version": self.version, "state": self.value}


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a path ends in the target (apv.md section 5); `stuck` is the refused event, or None."""

    state: str
    stuck: str | None = None

    @property
    def value(self) -> StateValue:
        value: StateValue = json.loads(self.state)
        return value

    def as_json(self) -> dict[str, Any]:
        return {"state": self.value, "stuck": self.stuck}


@dataclass(frozen=True, slots=True)
class Hazard:
    """A hazard at a state (its path); `accepted` is the author's reason where one is declared."""

    hazard: str
    state: str
    accepted: str | None = None
    detail: str = ""

    @property
    def is_finding(self) -> bool:
        return self.hazard in FINDINGS and self.accepted is None

    def as_json(self) -> dict[str, Any]:
        return {"hazard": self.hazard, "state": self.state, "accepted": self.accepted, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about one actor, shared by all actors of its class (apv.md section 7).

    `reason` is one of `REASONS` for strands; `done`, `on_target` or `other_definition` for skips;
    `not_eligible` or `declared` for stays; empty for migrations. `rule` starts with its kind
    (`replay`, `proof`, `trust`, `anchor NAME`, `mapping KEY`, `route N`) or is empty. `detail` is one
    sentence of specifics. `anchors` are the names that held. `source` is None where the state could not be
    read, `target` is None unless the outcome is `migrate`. `freed_by_erase` is where `loops: erase`
    would place an actor whose loops are the only reason it strands (JSON), else "".
    """

    outcome: OutcomeName
    reason: str = ""
    rule: str = ""
    detail: str = ""
    source: Place | None = None
    target: Place | None = None
    landings: tuple[Landing, ...] = ()
    anchors: tuple[str, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    freed_by_erase: str = ""

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Decision:
        """What `as_json` gave."""
        return cls(
            value["outcome"],
            value["reason"],
            value["rule"],
            value["detail"],
            Place.of_json(value["from"]),
            Place.of_json(value["to"]),
            tuple(Landing(value_text(x["state"]), x["stuck"]) for x in value["landings"]),
            tuple(value["anchors"]),
            tuple(Hazard(h["hazard"], h["state"], h["accepted"], h["detail"]) for h in value["hazards"]),
        )

    def as_json(self) -> dict[str, Any]:
        """One decision as surface.md's JSON Lines have it, without the actor's id."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "rule": self.rule,
            "detail": self.detail,
            "from": None if self.source is None else self.source.as_json(),
            "to": None if self.target is None else self.target.as_json(),
            "landings": [x.as_json() for x in self.landings],
            "anchors": list(self.anchors),
            "hazards": [h.as_json() for h in self.hazards],
        }
