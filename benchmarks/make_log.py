"""Writes an actor export of any length, with the two definitions it is for; the same seed, the same bytes.

    python benchmarks/make_log.py OUT --actors 1000000 --profile loan --seed 1

puts v1.json, v2.json and actors.jsonl into the folder OUT. Actors have about 500 bytes and 8 events each.
Profiles:

    loan         a loan workflow; many actors share a trace
    recorded     the same, with the recorded state after every event
    interleaved  six parallel regions that move independently; nearly every trace is its own
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

PROFILES = ("loan", "recorded", "interleaved")
LENGTHS = (3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13)
LOAN_LENGTHS = (4, 5, 6, 7, 7, 8, 9, 9, 10, 11, 12, 13)  # some end early, in a final state
BRANCHES = ("north", "south", "east", "west", "online", "partner")
DAYS = [f"2026-{month:02d}-{day:02d}T" for month in range(1, 13) for day in range(1, 29)]
MINUTES = [f"{hour:02d}:{minute:02d}:00Z" for hour in range(24) for minute in range(60)]

# state -> [(event, next state, weight)]; the next state None means that the event is noted and nothing moves.
LOAN: dict[str, list[tuple[str, str | None, int]]] = {
    "draft": [("SUBMIT", "screening", 1)],
    "screening": [
        ("REQUEST_DOCUMENTS", "awaiting_documents", 16),
        ("SCREENED", "credit_check", 20),
        ("NOTE_ADDED", None, 8),
        ("WITHDRAW", "withdrawn", 1),
    ],
    "awaiting_documents": [
        ("DOCUMENTS_RECEIVED", "screening", 5),
        ("REMIND", None, 2),
        ("NOTE_ADDED", None, 1),
    ],
    "credit_check": [
        ("CREDIT_GOOD", "offer", 24),
        ("CREDIT_UNCLEAR", "manual_review", 16),
        ("CREDIT_POOR", "rejected", 1),
        ("NOTE_ADDED", None, 4),
    ],
    "manual_review": [
        ("APPROVE", "offer", 16),
        ("ESCALATE", "committee", 8),
        ("REQUEST_DOCUMENTS", "awaiting_documents", 8),
        ("REJECT", "rejected", 1),
        ("NOTE_ADDED", None, 8),
    ],
    "committee": [("APPROVE", "offer", 3), ("SEND_BACK", "manual_review", 2), ("NOTE_ADDED", None, 1)],
    "offer": [("ACCEPT", "contract.drafting", 24), ("REVISE", "credit_check", 8), ("EXPIRE", "withdrawn", 1)],
    "contract.drafting": [("DRAFTED", "contract.signing", 4), ("NOTE_ADDED", None, 1)],
    "contract.signing": [("SIGNED", "repaying", 5), ("CORRECT", "contract.drafting", 2), ("REMIND", None, 1)],
    "repaying": [("PAYMENT", None, 32), ("MISSED_PAYMENT", "arrears", 8), ("SETTLE", "closed", 1)],
    "arrears": [("PAYMENT", "repaying", 5), ("REMIND", None, 3)],
    "rejected": [],
    "withdrawn": [],
    "closed": [],
}

REGIONS: dict[str, list[tuple[str, str]]] = {  # region -> [(state, the event that leaves it)], in order
    "identity": [
        ("unknown", "ID_SCANNED"),
        ("scanned", "ID_CHECKED"),
        ("checked", "ID_CONFIRMED"),
        ("confirmed", ""),
    ],
    "address": [("unknown", "ADDRESS_GIVEN"), ("given", "ADDRESS_PROVED"), ("proved", "")],
    "income": [
        ("unknown", "PAYSLIP_SENT"),
        ("sent", "PAYSLIP_READ"),
        ("read", "INCOME_PROVED"),
        ("proved", ""),
    ],
    "home": [("unvalued", "VALUER_BOOKED"), ("booked", "VISITED"), ("visited", "VALUED"), ("valued", "")],
    "insurance": [("none", "QUOTED"), ("quoted", "INSURED"), ("insured", "")],
    "account": [("none", "ACCOUNT_OPENED"), ("opened", "CARD_SENT"), ("sent", "CARD_USED"), ("active", "")],
}


def loan_definitions() -> tuple[dict[str, Any], dict[str, Any]]:
    """Version 1, and version 2 with a fraud check between a good credit and the offer."""
    v1: dict[str, Any] = {"id": "loan", "version": 1, "initial": "draft", "states": _loan_states()}
    states = _loan_states()
    states["credit_check"]["on"]["CREDIT_GOOD"] = "fraud_check"
    states["fraud_check"] = {"on": {"FRAUD_CLEARED": "offer", "FRAUD_FOUND": "rejected", "NOTE_ADDED": {}}}
    states["final_review"] = states.pop("committee")
    states["manual_review"]["on"]["ESCALATE"] = "final_review"
    v2 = {
        "id": "loan",
        "version": 2,
        "initial": "draft",
        "states": states,
        "migration": {
            "from": [1],
            "anchors": {
                "documents_seen": {"event": "DOCUMENTS_RECEIVED"},
                "reviewed": {"transition": {"from": "manual_review", "event": "APPROVE"}},
                "approved_since_revision": {
                    "since": {"of": {"event": "APPROVE"}, "reset": {"event": "REVISE"}}
                },
                "reminded_twice": {"count": {"of": {"event": "REMIND"}, "atLeast": 2}},
                "signed": {"event": "SIGNED", "resume": "repaying"},
            },
            "routes": [
                {"from": "offer", "when": {"all": ["approved_since_revision"]}, "to": "offer"},
                {"from": "offer", "to": "fraud_check"},
                {"from": "contract", "when": {"none": ["documents_seen", "reviewed"]}, "to": "fraud_check"},
            ],
            "stateMapping": {"committee": "final_review"},
        },
    }
    return v1, v2


def _loan_states() -> dict[str, Any]:
    states: dict[str, Any] = {}
    for path, moves in LOAN.items():
        on: dict[str, Any] = {
            event: {} if target is None else _target(path, target) for event, target, _ in moves
        }
        node: dict[str, Any] = {"on": on} if on else {"type": "final"}
        parent, _, child = path.partition(".")
        if child:
            states.setdefault(parent, {"initial": child, "states": {}})["states"][child] = node
        else:
            states[path] = node
    return states


def _target(source: str, target: str) -> str:
    if source.partition(".")[0] == target.partition(".")[0]:
        return target.rpartition(".")[2]  # a sibling within the same parent
    return target.partition(".")[0] if "." not in source else f"#loan.{target}"


def interleaved_definitions() -> tuple[dict[str, Any], dict[str, Any]]:
    """Version 1, and version 2 with another check in one region."""

    def machine(version: int) -> dict[str, Any]:
        regions: dict[str, Any] = {}
        for region, steps in REGIONS.items():
            states: dict[str, Any] = {}
            for (state, event), (following, _) in zip(steps, [*steps[1:], ("", "")], strict=True):
                states[state] = {"on": {event: following}} if event else {}
            regions[region] = {"initial": steps[0][0], "states": states}
        return {"id": "onboarding", "version": version, "type": "parallel", "states": regions}

    v1, v2 = machine(1), machine(2)
    income = v2["states"]["income"]["states"]
    income["read"] = {"on": {"INCOME_PROVED": "comparing"}}
    income["comparing"] = {"on": {"INCOME_COMPARED": "proved"}}
    v2["migration"] = {
        "from": [1],
        "anchors": {
            "known_before_insured": {"sequence": [{"event": "ID_CONFIRMED"}, {"event": "INSURED"}]},
            "valued": {"state": "home.valued"},
            "card_in_use": {"count": {"of": {"event": ["CARD_SENT", "CARD_USED"]}, "atLeast": 2}},
        },
        "routes": [
            {"from": "income.proved", "when": {"none": ["valued"]}, "strand": "the home was never valued"}
        ],
        "obligations": {"account.active": ["card_in_use"]},
    }
    return v1, v2


@dataclass(frozen=True, slots=True)
class Trace:
    """Events as (type, raw state after it), the raw state at the end, and whether that is final."""

    events: list[tuple[str, str]]
    state: str
    final: bool


def loan_trace(random: Random) -> Trace:
    events: list[tuple[str, str]] = []
    state = "draft"
    for _ in range(LOAN_LENGTHS[int(random.random() * len(LOAN_LENGTHS))]):
        choices = _CHOICES[state]
        if not choices:
            break
        event, following = choices[int(random.random() * len(choices))]
        state = following or state
        events.append((event, _VALUES[state]))
    return Trace(events, _VALUES[state], not LOAN[state])


def interleaved_trace(random: Random) -> Trace:
    at = dict.fromkeys(REGIONS, 0)
    moving = list(REGIONS)
    events: list[tuple[str, str]] = []
    for _ in range(LENGTHS[int(random.random() * len(LENGTHS))]):
        region = moving[int(random.random() * len(moving))]
        steps = REGIONS[region]
        events.append((steps[at[region]][1], ""))
        at[region] += 1
        if at[region] == len(steps) - 1:
            moving.remove(region)
    value = {region: REGIONS[region][step][0] for region, step in at.items()}
    return Trace(events, json.dumps(value, separators=(",", ":")), final=False)


def _value_of(path: str) -> str:
    parent, _, child = path.partition(".")
    return f'{{"{parent}":"{child}"}}' if child else f'"{parent}"'


_CHOICES = {
    state: [(e, to) for e, to, weight in moves for _ in range(weight)] for state, moves in LOAN.items()
}
_VALUES = {state: _value_of(state) for state in LOAN}


def lines(profile: str, actors: int, seed: int) -> Iterator[str]:
    """The records of an export, one line each."""
    random = Random(seed)
    draw = random.random
    trace_of: Callable[[Random], Trace] = interleaved_trace if profile == "interleaved" else loan_trace
    definition = "onboarding" if profile == "interleaved" else "loan"
    recorded = profile == "recorded"
    for number in range(actors):
        trace = trace_of(random)
        day, minute = int(draw() * 200), int(draw() * len(MINUTES))
        items = []
        for event, state in trace.events:
            elapsed = minute + int(draw() * 4_000)
            day, minute = min(day + elapsed // 1_440, len(DAYS) - 1), elapsed % 1_440
            after = f',"state":{state}' if recorded else ""
            items.append(f'{{"type":"{event}","at":"{DAYS[day]}{MINUTES[minute]}"{after}}}')
        yield (
            f'{{"id":"{definition}-{number:08d}","definition":"{definition}","version":1,'
            f'"status":"{"done" if trace.final else "active"}","state":{trace.state},'
            f'"context":{{"amount":{1_000 + int(draw() * 99_000)},'
            f'"branch":"{BRANCHES[int(draw() * len(BRANCHES))]}"}},"history":[{",".join(items)}]}}\n'
        )


def write_log(folder: Path, actors: int, profile: str = "loan", seed: int = 1) -> Path:
    """Writes v1.json, v2.json and actors.jsonl into the folder; returns the path of the last."""
    folder.mkdir(parents=True, exist_ok=True)
    definitions = interleaved_definitions() if profile == "interleaved" else loan_definitions()
    for name, definition in zip(("v1.json", "v2.json"), definitions, strict=True):
        (folder / name).write_text(json.dumps(definition, indent=1) + "\n")
    path = folder / "actors.jsonl"
    with path.open("w", encoding="ascii", newline="\n", buffering=1 << 20) as file:
        file.writelines(lines(profile, actors, seed))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an actor export and its two definitions.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--actors", type=int, default=1_000_000)
    parser.add_argument("--profile", choices=PROFILES, default="loan")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    path = write_log(given.folder, given.actors, given.profile, given.seed)
    size = path.stat().st_size
    print(f"{path}: {given.actors} actors, {size} bytes, {size / max(1, given.actors):.0f} bytes each")


if __name__ == "__main__":
    main()
