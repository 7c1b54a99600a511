"""What an actor looks like after its decision (apv.md sections 2, 3, 6 and 7).

Values in, values out: whoever stores actors writes what `Mover.after` says, and the same marker or tag. JSON
goes in and comes out as text, so that what a migration does not concern is the same to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec.json import Decoder, Encoder

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.children import carry_children
from statekeep_cli.core.configuration import configuration_of, is_done
from statekeep_cli.core.context import edit
from statekeep_cli.core.decision import Decision
from statekeep_cli.core.model import Path, Version
from statekeep_cli.core.placement import carry_remembered, mapping_of
from statekeep_cli.core.record import children_of
from statekeep_cli.core.replay import Lane
from statekeep_cli.core.splice import members, spliced
from statekeep_cli.core.trace import Actor

# Numbers keep their digits: a context may hold more of them than a float does.
_decode = Decoder(float_hook=Decimal).decode
_encode = Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class After:
    """An actor as a migration leaves it.

    JSON texts, `version` excepted. `context` is None where the context does not change, `snapshot` None where
    the actor has no persisted snapshot; else it is the whole XState v5 persisted snapshot.
    """

    state: str
    definition: str
    version: Version
    context: str | None
    snapshot: str | None


class Mover:
    """Moves actors of one deployment. Holds nothing about any actor."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._target = deployment.target
        self._lanes = {(lane.source.id, lane.source.version): lane for lane in deployment.lanes}
        self._edited = {key for key, lane in self._lanes.items() if _edits(lane)}
        self._mappings: dict[tuple[int, str], Mapping[Path, Any]] = {}

    def is_uniform(self, actor: Actor[Any, Any], decision: Decision) -> bool:
        """Is the decision all there is to write: no snapshot, and no context edit changes this context?"""
        if decision.outcome != "migrate":
            return True
        if actor.snapshot and bytes(actor.snapshot) != b"null":
            return False
        if not self._edited or decision.source is None:
            return True
        key = (decision.source.definition, decision.source.version)
        return key not in self._edited or self._context(actor, self._lanes[key]) is None

    def is_plain(self, decision: Decision) -> bool:
        """Is the decision all there is to write to every actor of its class that has no snapshot?"""
        source = decision.source
        if decision.outcome != "migrate" or source is None:
            return True
        return (source.definition, source.version) not in self._edited

    def after(self, actor: Actor[Any, Any], decision: Decision) -> After:
        """The actor under the target. `decision` is its own, and a `migrate`; else `ValueError`."""
        source, target = decision.source, decision.target
        if decision.outcome != "migrate" or source is None or target is None:
            raise ValueError(f"an actor that does not migrate ({decision.outcome}) stays as it is")
        lane = self._lanes[(source.definition, source.version)]
        context = self._context(actor, lane) if _edits(lane) else None
        snapshot = None
        if actor.snapshot and (text := bytes(actor.snapshot)) != b"null":
            renamed, snapshot = self._snapshot(text, context, decision, lane)
            if renamed is not None:
                context = renamed
        return After(target.state, target.definition, target.version, context, snapshot)

    def _context(self, actor: Actor[Any, Any], lane: Lane) -> str | None:
        """The context after the block's edits; None where they change nothing."""
        text = bytes(actor.context) if actor.context else b""
        before = _decode(text) if text else None
        if before is not None and not isinstance(before, dict):
            return None
        edited = _encode(edit(before or {}, lane.migration))
        return None if edited == _encode(before or {}) else edited.decode()

    def _mapping(self, lane: Lane, rule: str) -> Mapping[Path, Any]:
        rule = rule if rule.startswith("route ") else ""
        found = self._mappings.get((lane.index, rule))
        if found is None:
            found = self._mappings[(lane.index, rule)] = mapping_of(lane.migration, rule)
        return found

    # --- the persisted snapshot ---

    def _snapshot(
        self, text: bytes, context: str | None, decision: Decision, lane: Lane
    ) -> tuple[str | None, str]:
        """The snapshot under the target; and the context where renamed children are spoken of in it."""
        assert decision.target is not None
        placed = configuration_of(self._target, decision.target.value)
        assert placed is not None
        parts = members(text)
        edits: dict[str, bytes | None] = {"value": decision.target.state.encode()}
        # A machine whose final state is active has ended; XState would wait in it for ever.
        status = b'"done"' if is_done(self._target, placed) else b'"active"'
        if parts.get("status", b'"active"') != status:
            edits["status"] = status
        mapping = self._mapping(lane, decision.rule)
        history = parts.get("historyValue", b"null")
        if history != b"null":
            edits["historyValue"] = self._history(history, mapping, lane)
        children, renamed = self._children(parts.get("children", b"null"), placed, mapping, lane)
        if renamed:
            edits["children"] = children
        if context is not None:
            edits["context"] = context.encode()
        known = edits.get("context", parts.get("context"))
        spoken = None
        if renamed and known and b"xstate$$type" in known:
            referring = edits["context"] = _encode(_refer(_decode(known), renamed))
            spoken = referring.decode()
        return spoken, spliced(text, edits).decode()

    def _history(self, text: bytes, mapping: Mapping[Path, Any], lane: Lane) -> bytes:
        """`historyValue` under the target's node ids: a list of `{id}` by history node."""
        source, target, moved = lane.source, self._target, {}
        for key, items in _decode(text).items():
            ids = [str(item.get("id") if isinstance(item, dict) else item) for item in items or []]
            remembered = sum(1 << i for i in {source.by_id[x] for x in ids})
            found = carry_remembered(source, target, source.by_id[key], remembered, mapping)
            assert found is not None  # else the actor has stranded
            node, places = found
            there: dict[str, Any] = {}
            for item, name in zip(items or [], ids, strict=True):
                to = target.nodes[places[source.by_id[name]]].id
                there.setdefault(to, {**item, "id": to} if isinstance(item, dict) else to)
            moved[target.nodes[node].id] = list(there.values())
        return _encode(moved)

    def _children(
        self, text: bytes, placed: int, mapping: Mapping[Path, Any], lane: Lane
    ) -> tuple[bytes, dict[str, str]]:
        """`children` under the ids of the target's invokes, and the ids that are new."""
        if text == b"null":
            return text, {}
        children = members(text)
        carried, lost = carry_children(lane.source, self._target, mapping, placed, children_of(_decode(text)))
        assert not lost  # else the actor has stranded
        renamed = {child: name for child, name in carried.items() if name != child}
        whole = {carried[child]: persisted for child, persisted in children.items()}
        return b"{" + b",".join(_encode(k) + b":" + v for k, v in whole.items()) + b"}", renamed


def _edits(lane: Lane) -> bool:
    m = lane.migration
    return bool(m.context_defaults or m.context_rename or m.context_remove)


def _refer(value: Any, renamed: Mapping[str, str]) -> Any:
    """A context in which references to actors, as XState persists them, have the new ids."""
    if isinstance(value, list):
        return [_refer(item, renamed) for item in value]
    if not isinstance(value, dict):
        return value
    if "xstate$$type" in value and value.get("id") in renamed:
        return {**value, "id": renamed[value["id"]]}
    return {key: _refer(inner, renamed) for key, inner in value.items()}


def marker(decision: Decision) -> str:
    """The trace item of a migration (section 3), as JSON text."""
    assert decision.source is not None
    assert decision.target is not None
    ends = (f'"{key}":{_end(place)}' for key, place in (("from", decision.source), ("to", decision.target)))
    return '{"type":"migrated",' + ",".join(ends) + "}"


def _end(place: Any) -> str:
    return f'{{"version":{_encode(place.version).decode()},"state":{place.state}}}'


def rescue_tag(decision: Decision, run: str | None = None) -> str:
    """Why an actor needs rescue, as JSON text: `{reason, detail, rule?, landings?, anchors?, to?, run?}`.

    The same for all actors of a class; it names no time, so that a second run over the same actors writes
    the same.
    """
    tag: dict[str, Any] = {"reason": decision.reason, "detail": decision.detail}
    if decision.rule:
        tag["rule"] = decision.rule
    if decision.landings:
        tag["landings"] = [landing.as_json() for landing in decision.landings]
    if decision.anchors:
        tag["anchors"] = list(decision.anchors)
    if run is not None:
        tag["run"] = run
    return _encode(tag).decode()
