"""Decisions as JSON Lines, one per actor (`statekeep schema decision`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Protocol

from statekeep_cli.core.decision import Decision
from statekeep_cli.core.report import FORMAT_VERSION, Unreadable

CACHED = 1 << 15  # encoded decisions kept


class Routed(Protocol):
    """A decided batch, as `core.router.Routed` is: `decisions[ids[i]]` is the decision of actor i."""

    @property
    def ids(self) -> Iterable[int]: ...
    @property
    def counts(self) -> Iterable[int]: ...
    @property
    def decisions(self) -> Sequence[Decision]: ...


class Lines:
    """Writes decisions as lines. Actors share decisions, so each is encoded once and only the actor's
    id is encoded per line. ASCII only, so that no terminal acts on what is printed.

    `digests` are those of all definitions, sources first.
    """

    def __init__(self, digests: Sequence[str]):
        head = json.dumps(
            {"formatVersion": FORMAT_VERSION, "definitions": list(digests)}, separators=(",", ":")
        )
        self.head = head[:-1] + ',"actor":'
        self.tails: dict[Decision, str] = {}

    def add(self, ids: Iterable[str | int], routed: Routed) -> bytes:
        """The lines of one batch; `ids` are its actors' ids, in the batch's order."""
        tails = {number: self.tail(routed.decisions[number]) for number in routed.counts}
        lines = [
            quoted(actor) + tails[number] for actor, number in zip(map(str, ids), routed.ids, strict=True)
        ]
        return (self.head + self.head.join(lines)).encode("ascii") if lines else b""

    def line(self, actor: str | int, decision: Decision) -> bytes:
        """One line."""
        return (self.head + quoted(str(actor)) + self.tail(decision)).encode("ascii")

    def unreadable(self, record: Unreadable) -> bytes:
        """The line of a record that could not be read: no actor, and the place in `detail`."""
        tail: dict[str, object] = {
            "outcome": "unreadable",
            "reason": "",
            "rule": "",
            "detail": f"{record.line}:{record.column}: {record.message}",
            "from": None,
            "to": None,
            "landings": [],
            "anchors": [],
            "hazards": [],
        }
        return (self.head + "null" + _tail(tail)).encode("ascii")

    def tail(self, decision: Decision) -> str:
        """Everything behind the actor's id, the line's end included."""
        found = self.tails.get(decision)
        if found is None:
            if len(self.tails) >= CACHED:
                self.tails.clear()
            found = self.tails[decision] = _tail(decision.as_json())
        return found


def _tail(keys: Mapping[str, object]) -> str:
    return "," + json.dumps(keys, separators=(",", ":"))[1:] + "\n"
