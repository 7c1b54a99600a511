"""Findings that a team has looked at and accepted: a file that is reviewed like code.

An entry stands for what a strand group, a hazard or a check finding is about, whatever its place in a file.
Of strand groups it also says how many actors were accepted: more of them are findings again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from statekeep_cli.core.model import canonical
from statekeep_cli.core.report import BY_DETAIL, Group, Report

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted finding. `about` is what it is known by, `count` the actors accepted (strands only), `why`
    a person's words."""

    kind: str  # strand, hazard or check
    about: Mapping[str, Any]
    count: int | None = None
    why: str = ""

    @property
    def fingerprint(self) -> str:
        """Equal for equal findings, in every run on every machine."""
        text = canonical({"kind": self.kind, **self.about})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def sentence(self) -> str:
        """What it is, for a person."""
        about = self.about
        if self.kind == "strand":
            source = about["from"]
            place = f" in {json.dumps(source['state'], ensure_ascii=False)}" if source else ""
            return f"{about['reason']}{place} of {about['definition']}"
        if self.kind == "hazard":
            return f"{about['hazard']} at {about['state']} of {about['definition']}"
        return f"{about['code']} in {about['definition']}: {about['message']}"

    def as_json(self) -> dict[str, Any]:
        count = {} if self.count is None else {"count": self.count}
        return {"fingerprint": self.fingerprint, "kind": self.kind, **self.about, **count, "why": self.why}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Entry:
        """What `as_json` gave; raises `ValueError` where it is not that, with the key."""
        kind = value.get("kind")
        if kind not in _ABOUT:
            raise ValueError(f"'kind' is {json.dumps(kind)}, and not one of {', '.join(_ABOUT)}")
        missing = [key for key in _ABOUT[kind] if key not in value]
        if missing:
            raise ValueError(f"'{missing[0]}' is missing")
        count, why = value.get("count"), value.get("why", "")
        if (kind == "strand") != (type(count) is int) or (type(count) is int and count < 0):
            raise ValueError("'count' is a number of actors, of strands alone")
        found = cls(kind, {key: value[key] for key in _ABOUT[kind]}, count, str(why or ""))
        if value.get("fingerprint") != found.fingerprint:
            raise ValueError(f"'fingerprint' is not that of its other keys, {found.fingerprint}")
        return found


_ABOUT = {
    "strand": ("reason", "definition", "from", "to", "rule", "detail"),
    "hazard": ("hazard", "state", "definition", "version"),
    "check": ("code", "definition", "message"),
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a baseline means for one run: the report as the gate sees it, and sentences to be listed."""

    beyond: Report
    strands: int
    notes: tuple[str, ...]


def entries_of(report: Report) -> list[Entry]:
    """An entry for each strand group and each unaccepted hazard of a report."""
    target = next((d for d in report.definitions if d.role == "target"), None)
    to = None if target is None else {"definition": target.id, "version": str(target.version)}
    found = []
    for g in report.groups:
        if g.outcome == "strand":
            found.append(Entry("strand", _strand(g, to), g.count))
    for hazard, _ in report.findings():
        about = {"hazard": hazard.hazard, "state": hazard.state}
        about |= (
            {"definition": to["definition"], "version": to["version"]}
            if to
            else {"definition": "", "version": ""}
        )
        found.append(Entry("hazard", about))
    return found


def _strand(g: Group, to: Mapping[str, str] | None) -> dict[str, Any]:
    source = None
    if g.source is not None:
        source = {"version": str(g.source.version), "state": g.source.value}
    return {
        "reason": g.reason,
        "definition": g.source.definition if g.source is not None else "",
        "from": source,
        "to": to,
        "rule": g.rule,
        "detail": g.detail if g.reason in BY_DETAIL else "",
    }


def check_entry(definition: str, code: str, message: str) -> Entry:
    """The entry of a check finding; `definition` is its id, or the file's name."""
    return Entry("check", {"code": code, "definition": definition, "message": message})


def accept(report: Report, baseline: Sequence[Entry]) -> Accepted:
    """Holds a report against a baseline."""
    known = {e.fingerprint: e for e in baseline}
    found = {e.fingerprint: e for e in entries_of(report)}
    strands, notes = 0, []
    for fingerprint, entry in found.items():
        entry_known = known.get(fingerprint)
        if entry_known is None:
            continue
        because = f": {entry_known.why}" if entry_known.why else ""
        if entry.count is None:
            notes.append(f"accepted by the baseline: {entry.sentence}{because}")
            continue
        allowed = min(entry.count, entry_known.count or 0)
        strands += allowed
        share = f"{allowed:,}" if allowed == entry.count else f"{allowed:,} of {entry.count:,}"
        notes.append(f"accepted by the baseline: {share} stranded, {entry.sentence}{because}")
    notes += unused(baseline, found)
    hazards = {
        (e.about["hazard"], e.about["state"])
        for e in found.values()
        if e.kind == "hazard" and e.fingerprint in known
    }
    groups = tuple(
        replace(g, hazards=tuple((h, n) for h, n in g.hazards if (h.hazard, h.state) not in hazards))
        for g in report.groups
    )
    # A share is of the routed actors: those accepted still count among them.
    beyond = replace(
        report,
        would_strand=report.would_strand - strands,
        would_stay=report.would_stay + strands,
        groups=groups,
    )
    return Accepted(beyond, strands, tuple(notes))


def unused(
    baseline: Iterable[Entry], found: Iterable[str], kinds: Sequence[str] = ("strand", "hazard")
) -> list[str]:
    """Entries of these kinds that nothing matched, in sentences."""
    there = set(found)
    return [
        f"baseline entry {e.fingerprint} is not needed any more ({e.sentence}); remove it"
        for e in baseline
        if e.kind in kinds and e.fingerprint not in there
    ]


def as_json(entries: Iterable[Entry], before: Iterable[Entry] = ()) -> dict[str, Any]:
    """A baseline's file: what there is now, with the words that earlier entries had, in a stable order."""
    words = {e.fingerprint: e.why for e in before}
    found = {e.fingerprint: replace(e, why=words.get(e.fingerprint, e.why)) for e in entries}
    return {
        "formatVersion": FORMAT_VERSION,
        "accepted": [
            e.as_json() for e in sorted(found.values(), key=lambda e: (e.kind, canonical(dict(e.about))))
        ],
    }
