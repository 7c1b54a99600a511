"""An actor as an export records it, and its trace (apv.md section 3).

Values only, but msgspec structs rather than dataclasses: the decoder fills them directly, and what a decision
does not need (`at`, unknown keys) is skipped without becoming an object. Raw fields are views into the block
they were read from: whoever keeps one beyond its batch copies it with `bytes(raw)`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import Enum
from sys import byteorder
from typing import Any, Generic, Literal, Self, TypeVar, cast

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

Status = Literal["active", "needs_rescue", "done", "stopped", "error", "archived"]
STATUSES: tuple[str, ...] = ("active", "needs_rescue", "done", "stopped", "error", "archived")
SNAPSHOT_STATUSES: tuple[str, ...] = ("active", "done", "stopped", "error")

# Types of trace items that are no events.
MARKERS = ("migrated", "manual")

# One symbol of a trace as the native router reads it: an unsigned 32-bit integer in native order.
SYMBOL_BYTES = 4
# Past this many symbols the decoder learns no new event types, and traces are read with their types as text:
# a file of ever new types must not grow memory.
MAX_SYMBOLS = 1 << 16

T = TypeVar("T")
H = TypeVar("H")
S = TypeVar("S")


class Item(Struct, frozen=True, gc=False):
    """Any trace item: an event, a recorded state, or a marker (`migrated` with from/to, `manual` with to).

    `state`, `origin` and `to` are raw JSON, empty where absent: a state value, or `{version, state}` for both
    ends of a `migrated` marker. `type` is None where the log has states only.
    """

    type: str | None = None
    state: Raw = Raw()
    origin: Raw = field(name="from", default=Raw())
    to: Raw = Raw()


class Event(Struct, Generic[T], frozen=True, gc=False):
    """An event with its type, and no recorded state.

    With letters for types (`Symbols.letters`) no marker can be one. `state` accepts null only, so that
    decoding fails on a recorded state instead of losing it; the block is then decoded again with `Item`.
    """

    type: T
    state: None = None


class Redacted(Struct, frozen=True, gc=False):
    """What was left of a context by `statekeep snapshot --redact`: the paths that are as they were."""

    kept: list[str] = []


class Actor(Struct, Generic[H, S], frozen=True, gc=False):
    """One record of an export (surface.md, Files).

    `state`, `context`, `origin` and `snapshot` are raw JSON, empty (falsy) where absent. `snapshot` is an
    XState v5 persisted snapshot; readers fill `state`, `context` and `status` from it. `history` is None
    where there is none, which is not the same as an empty list. With `S` None the record is known to have
    neither origin nor snapshot. `redacted` marks a context of which parts were removed.
    """

    id: str | int
    state: Raw = Raw()
    definition: str | None = None
    version: str | int | None = None
    status: Status = "active"
    context: Raw = Raw()
    history: list[H] | None = None
    origin: Raw | S = Raw()
    snapshot: Raw | S = Raw()
    redacted: Redacted | bool | None = None


class Snapshot(Struct, frozen=True, gc=False, rename="camel"):
    """The parts of an XState v5 persisted snapshot that matter here; each Raw is raw JSON, or empty."""

    value: Raw = Raw()
    context: Raw = Raw()
    status: Literal["active", "done", "stopped", "error"] = "active"
    history_value: Raw = Raw()
    children: Raw = Raw()


class Origin(Struct, frozen=True, gc=False):
    """Where a pruned trace begins, or one end of a `migrated` marker; `state` is raw JSON."""

    state: Raw
    version: str | int | None = None
    definition: str | None = None


snapshot_of: Decoder[Snapshot] = Decoder(Snapshot)
origin_of: Decoder[Origin] = Decoder(Origin)


class Symbols:
    """Codes for what traces are made of: dense from 0, in the order of first use.

    A run has one per process. Event types are keys as they are; the router gives codes to other hashable
    keys (a type with a recorded state, a marker) in the same space. What definitions name is put in first,
    the rest is learnt while reading. `clear` starts again, and counts a new `generation`.
    """

    def __init__(self, keys: Iterable[Hashable] = ()):
        self.keys: list[Hashable] = []
        self.generation = 0
        self._codes: dict[Hashable, int] = {}
        for key in keys:
            self.code(key)

    def __len__(self) -> int:
        return len(self.keys)

    def code(self, key: Hashable) -> int:
        """The code of a key, given now if it has none."""
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self.keys)
            self.keys.append(key)
        return code

    def clear(self, keys: Iterable[Hashable] = ()) -> None:
        """Forget all codes, then give codes to `keys`; letters made before must not be used again."""
        generation = self.generation + 1
        self.__init__(keys)  # type: ignore[misc]
        self.generation = generation

    def letters(self) -> Any:
        """An Enum whose values are event types and whose members are their codes, as bytes.

        The decoder looks a type up in it without making a string, and joining the members of a trace gives
        what the native router reads: `b"".join([item.type for item in history])`. Each member is its own
        `type`, so that a plain string in a history reads like an event. Markers are no letters.

        Types that were not known when it was made are learnt on the way. Each time costs a call, so `misses`
        of the Enum counts them; make a new one when there are many.
        """
        symbols = self

        class Letter(bytes, Enum):
            type: Any
            misses: int

            def __new__(cls, name: str) -> Self:
                letter = bytes.__new__(cls, symbols.code(name).to_bytes(SYMBOL_BYTES, byteorder))
                letter._value_ = name
                letter.type = letter
                return letter

            @classmethod
            def _missing_(cls, value: Any) -> Any:
                cls.misses += 1
                if len(symbols) >= MAX_SYMBOLS or value in MARKERS:
                    return None
                letter = bytes.__new__(cls, symbols.code(value).to_bytes(SYMBOL_BYTES, byteorder))
                letter._value_ = letter._name_ = value
                letter.type = letter
                return letter

            def __repr__(self) -> str:
                return f"<{self._value_}>"

        types = [key for key in self.keys if isinstance(key, str) and key not in MARKERS] or [""]
        made: Any = cast(Any, Letter)("Letter", {f"type_{i}": name for i, name in enumerate(types)})
        made.misses = 0
        return made
