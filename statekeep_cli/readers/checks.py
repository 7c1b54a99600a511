"""What a decoded record must still satisfy to be an actor: state values, markers, origins, snapshots.

The decoder leaves these parts raw. They are looked at here once per spelling, and null is taken as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec import Raw, ValidationError
from msgspec.json import Decoder
from msgspec.structs import replace

from statekeep_cli.core.trace import MARKERS, SNAPSHOT_STATUSES, Actor, Item, Origin, origin_of, snapshot_of
from statekeep_cli.readers.reasons import Refused, Step, worded

# Spellings of state values known to be well-formed; forgotten when there are more.
MAX_SPELLINGS = 1 << 16

json_value: Decoder[Any] = Decoder()

T = TypeVar("T")


class Checks:
    """Remembers what it has seen; each method raises `Refused` at the given path into the record."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def are_states(self, raws: Iterable[bytes]) -> bool:
        """Is each of these (raw JSON) a state value: a string, or an object of state values?"""
        fresh = set(raws) - self._known
        return not fresh or all(self._is_state(raw) for raw in fresh)

    def state(self, raw: bytes, *path: Step) -> None:
        """A state value."""
        if raw not in self._known and not self._is_state(raw):
            raise Refused("expected a state value (a string, or an object of state values)", *path)

    def _is_state(self, raw: bytes) -> bool:
        if not raw.startswith((b'"', b"{")):
            return False
        unseen = [json_value.decode(raw)]
        while unseen:
            value = unseen.pop()
            if isinstance(value, dict):
                unseen.extend(value.values())
            elif not isinstance(value, str):
                return False
        if len(self._known) >= MAX_SPELLINGS:
            self._known.clear()
        self._known.add(raw)
        return True

    def item(self, item: Any, *path: Step) -> bool:
        """A trace item with the fields of `Item`; False if its recorded state is null."""
        blank = False
        if item.state:
            state = bytes(item.state)
            blank = state == b"null"
            if not blank:
                self.state(state, *path, "state")
        if item.type is None and (blank or not item.state):
            raise Refused("expected a type, or a state where the log has states only", *path)
        if item.type in MARKERS:
            self._marker(item, *path)
        return not blank

    def _marker(self, item: Any, *path: Step) -> None:
        if item.type == "manual":
            if not item.to:
                raise Refused("a manual move needs 'to', the state it set", *path)
            self.state(bytes(item.to), *path, "to")
            return
        for key, end in (("from", item.origin), ("to", item.to)):
            if not end:
                raise Refused(f"a migration needs '{key}', with version and state", *path)
            self._end(bytes(end), *path, key)

    def _end(self, raw: bytes, *path: Step) -> None:
        end: Origin = _within(path, origin_of.decode, raw)
        self.state(bytes(end.state), *path, "state")

    def all_settled(self, actors: list[Actor[Any, Any]]) -> list[Actor[Any, Any]]:
        """`settled` for many, which mostly means to see that there is nothing to do."""
        items = [item for actor in actors if actor.history for item in actor.history]
        texts = {item for item in items if type(item) is str}
        if texts:
            items = [item for item in items if type(item) is not str]
        types = {item.type for item in items} | texts
        states = {bytes(item.state) for item in items if item.state}
        remarkable = (
            not types.isdisjoint(MARKERS)
            or (None in types and not all(item.type or item.state for item in items))
            or not self.are_states(states)
            or any(actor.snapshot or actor.origin for actor in actors)
        )
        return [self.settled(actor) for actor in actors] if remarkable else actors

    def settled(self, actor: Actor[Any, Any]) -> Actor[Any, Any]:
        """The actor with its snapshot spread out over state, status and context, and null as absent."""
        if actor.snapshot:
            actor = self._restored(actor)
        if actor.origin:
            raw = bytes(actor.origin)
            if raw == b"null":
                actor = replace(actor, origin=Raw())
            else:
                self._end(raw, "origin")
        if actor.history is None:
            return actor
        blanks = False
        for i, item in enumerate(actor.history):
            if type(item) is str:
                if item in MARKERS:
                    raise Refused(f"'{item}' is a marker, which is an object", "history", i)
            else:
                blanks |= not self.item(item, "history", i)
        if blanks:
            actor = replace(actor, history=[without_null(item) for item in actor.history])
        return actor

    def _restored(self, actor: Actor[Any, Any]) -> Actor[Any, Any]:
        raw = bytes(actor.snapshot)
        if raw == b"null":
            return replace(actor, snapshot=Raw())
        snapshot = _within(("snapshot",), snapshot_of.decode, raw)
        value, given = bytes(snapshot.value), bytes(actor.state)
        if not value:
            raise Refused("has no 'value'; an XState persisted snapshot has one", "snapshot")
        self.state(value, "snapshot", "value")
        if given not in (b"", b"null"):
            self.state(given, "state")
            if json_value.decode(given) != json_value.decode(value):
                raise Refused("is not the snapshot's value; leave one of them out", "state")
        # A status of the record itself is news about the actor that its snapshot cannot have (needs_rescue).
        status = snapshot.status if actor.status == "active" else actor.status
        context = snapshot.context if snapshot.context else actor.context
        return replace(actor, state=snapshot.value, status=status, context=context)


def without_null(item: Any) -> Any:
    """A trace item whose recorded state, if it is null, is absent."""
    return replace(item, state=Raw()) if type(item) is Item and bytes(item.state) == b"null" else item


def _within(path: tuple[Step, ...], decode: Callable[[bytes], T], raw: bytes) -> T:
    """Decodes a part of a record; its errors name the place within the whole."""
    try:
        return decode(raw)
    except ValidationError as error:
        message, inner = worded(error, SNAPSHOT_STATUSES)
        raise Refused(message, *path, *inner) from None
