"""An actor's record as the core reads it: its trace items, and what it brings besides them.

`Intake` is the way from a record to a `Case` for every caller; the router remembers its answers for
records that are alike, everything else asks it directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from statekeep_cli.core.alphabet import is_internal
from statekeep_cli.core.apv import Case, Deployment, Ends, history_of
from statekeep_cli.core.configuration import configuration_of
from statekeep_cli.core.context import Contexts, Look
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.replay import Event, Item, Manual, Migrated
from statekeep_cli.core.trace import Actor, origin_of, snapshot_of
from statekeep_cli.core.trace import Item as RecordedItem


def item_of(recorded: Any) -> Item | None:
    """One trace item; None for what is part of a macrostep (`xstate.init`, `xstate.done.state.*`)."""
    if isinstance(recorded, str):
        return None if is_internal(recorded) else Event(recorded)
    if not isinstance(recorded, RecordedItem):  # an event whose type the decoder knows as a letter
        name: str = recorded.type.value
        return item_of(name)
    kind = recorded.type
    if kind == "migrated":
        before, after = origin_of.decode(recorded.origin), origin_of.decode(recorded.to)
        return Migrated(before.version, _text(before.state), after.version, _text(after.state))
    if kind == "manual":
        return Manual(_text(recorded.to))
    if kind is not None and is_internal(kind):
        return None
    return Event(kind, _text(recorded.state))


def items_of(history: Iterable[Any]) -> list[Item]:
    """A whole trace."""
    return [item for item in map(item_of, history) if item is not None]


def _text(raw: Any) -> str:
    """Raw JSON in one spelling: equal values give equal text, whatever spaces the file has."""
    data = bytes(raw)
    return msgspec.json.encode(msgspec.json.decode(data)).decode() if data else ""


def decoded(raw: Any) -> Any:
    """Raw JSON as a value; None where there is none."""
    data = bytes(raw) if raw else b""
    return msgspec.json.decode(data) if data else None


def children_of(persisted: Any) -> tuple[tuple[str, str], ...]:
    """A snapshot's `children` as (id, src) pairs."""
    return tuple(
        (str(k), str(v.get("src") or "") if isinstance(v, dict) else "") for k, v in (persisted or {}).items()
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A record that is to be routed: its case, where its trace begins, and the trace's items.

    `begin` is (version, configuration): a source's index, and the origin's configuration or -1 for
    that source's own start. None where the trace cannot even begin; `why` says so.
    """

    case: Case
    begin: tuple[int, int] | None
    items: tuple[Item, ...]
    why: str = ""


class Intake:
    """Reads records for one deployment."""

    def __init__(self, deployment: Deployment):
        self.deployment = deployment
        self.contexts = Contexts(deployment.schemas, deployment.target.context_schema)

    def open(self, actor: Actor[Any, Any]) -> Decision | Opened:
        """A final decision for an actor that is not routed, else what its routing needs."""
        admitted = self.deployment.admit(actor.definition, actor.version, actor.status, decoded(actor.state))
        if isinstance(admitted, Decision):
            return admitted
        lane, configuration = admitted
        items = tuple(items_of(actor.history)) if actor.history is not None else ()
        case = self.case(lane, configuration, actor)
        begin, why = self.begin(lane, actor, items)
        return Opened(case, begin, items, why)

    def case(self, lane: int, configuration: int, actor: Actor[Any, Any]) -> Case:
        """Everything but the trace."""
        seen = self.look(lane, actor)
        history, lost = None, ""
        children = None
        if actor.snapshot:
            snapshot = snapshot_of.decode(bytes(actor.snapshot))
            history, lost = history_of(self.deployment.sources[lane], decoded(snapshot.history_value))
            if lost:
                history = None
            children = children_of(decoded(snapshot.children))
        if actor.history is None:
            trace = "none"
        elif actor.origin:
            trace = "origin"
        else:
            trace = "complete"
        return Case(
            lane, configuration, trace, seen.schemas, seen.error, history, children, lost,  # type: ignore[arg-type]
            seen.redacted, seen.unchecked,
        )  # fmt: skip

    def look(self, lane: int, actor: Actor[Any, Any]) -> Look:
        """The actor's context before the deployment's schemas: their outcomes, and what is wrong."""
        m = self.deployment.lanes[lane].migration
        if not self.contexts.needed_by(m):
            return Look()
        redacted = actor.redacted or None
        if redacted and not actor.context:
            return self.contexts.look_redacted(None, (), m)
        if not self.contexts.opened_by(m) and (not actor.context or bytes(actor.context)[:1] == b"{"):
            return Look()
        try:
            context = decoded(actor.context)
        except RecursionError:
            outcomes = (False,) * len(self.contexts.predicates)
            return Look(outcomes, "the context is nested too deeply to be looked at")
        if redacted:
            kept = () if redacted is True else tuple(redacted.kept)
            return self.contexts.look_redacted(context, kept, m)
        return self.contexts.look({} if context is None else context, m)

    def begin(
        self, lane: int, actor: Actor[Any, Any], items: Sequence[Item]
    ) -> tuple[tuple[int, int] | None, str]:
        """Where a trace begins (see `Opened`), or why it cannot."""
        deployment = self.deployment
        at = deployment.lanes[lane]
        if actor.history is None:
            return None, ""
        markers = [i for i in items if isinstance(i, Migrated)]
        for version in (v for m in markers for v in (m.from_version, m.to_version) if v is not None):
            if at.version_index(version) is None:
                return None, f"its history passes through version {version}, which was not given"
        if actor.origin:
            origin = origin_of.decode(bytes(actor.origin))
            index = lane if origin.version is None else at.version_index(origin.version)
            if index is None:
                return None, f"its history begins in version {origin.version}, which was not given"
            configuration = configuration_of(deployment.sources[index], decoded(origin.state))
            if configuration is None:
                label = deployment.sources[index].label
                return None, f"its history begins in a state that {label} does not have"
            return (index, configuration), ""
        first = markers[0].from_version if markers else None
        index = lane if first is None else at.version_index(first)
        return (lane if index is None else index, -1), ""

    def ends(self, opened: Opened) -> Ends:
        """Where the trace may have ended, by the general form."""
        case = opened.case
        if case.trace == "none":
            return self.deployment.ends_without_history(case.lane, case.configuration)
        if opened.begin is None:
            return Ends((), opened.why)
        start = self.deployment.lanes[case.lane].start(opened.begin)
        return self.deployment.ends(case, start, opened.items)
