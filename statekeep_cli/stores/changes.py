"""What a batch writes: to all actors of a kind, and to each of them.

Columns rather than rows, since a batch is made and sent column by column.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress
from typing import Any, NamedTuple


class Moved(Exception):
    """Actors of a batch have changed since they were read; nothing was written."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a batch writes to all actors of one class. `state` and `version` are None where they stay.

    `number` is the class' number in its run. `writes` is False where the actor's row stays as it is
    and only the decision is recorded. `exact`: `state` is as a `Row` had it, and is put back as it was.
    """

    number: int
    status: str = "active"
    state: str | None = None
    version: str | None = None
    definition: str | None = None
    reason: str | None = None
    writes: bool = True
    exact: bool = False


class Change(NamedTuple):
    """One actor's part of a batch: `kind` is an index into the batch's kinds. `context` and `snapshot` are
    None where they stay (a `context` of "" removes it), `before` is what a revert puts back besides what the
    class says (JSON)."""

    id: str
    revision: Any
    kind: int
    events: int
    before: str | None = None
    context: str | None = None
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """`Change` by columns, in the order of ids. `contexts` and `snapshots` are empty where all stay."""

    ids: Sequence[str] = ()
    revisions: Sequence[Any] = ()
    kinds: Sequence[int] = ()
    events: Sequence[int] = ()
    befores: Sequence[str | None] = ()
    contexts: Sequence[str | None] = ()
    snapshots: Sequence[str | None] = ()

    @classmethod
    def of(cls, rows: Iterable[Change]) -> Changes:
        columns = tuple(zip(*rows, strict=True)) or ((),) * len(Change._fields)
        ids, revisions, kinds, events, befores, contexts, snapshots = columns
        return cls(ids, revisions, kinds, events, befores, _some(contexts), _some(snapshots))

    def __len__(self) -> int:
        return len(self.ids)

    def edited(self, edits: Sequence[tuple[int, tuple[str, str | None, str | None]]]) -> Changes:
        """With (place, (before, context, snapshot)) of some."""
        befores, nothing = list(self.befores), [None] * len(self)
        contexts: list[str | None] = [*nothing]
        snapshots: list[str | None] = [*nothing]
        for i, edit in edits:
            befores[i], contexts[i], snapshots[i] = edit
        return replace(self, befores=befores, contexts=_some(contexts), snapshots=_some(snapshots))

    def among(self, kinds: Container[int]) -> Changes:
        """Those of these kinds."""
        chosen = [kind in kinds for kind in self.kinds]
        if all(chosen):
            return self
        return Changes(*(list(compress(column, chosen)) for column in self._columns()))

    def cut(self, at: int) -> tuple[Changes, Changes]:
        """The first so many, and the others."""
        columns = self._columns()
        return Changes(*(c[:at] for c in columns)), Changes(*(c[at:] for c in columns))

    def _columns(self) -> Sequence[Sequence[Any]]:
        return [getattr(self, column.name) for column in fields(self)]


def _some(values: Sequence[str | None]) -> Sequence[str | None]:
    return () if all(value is None for value in values) else values
