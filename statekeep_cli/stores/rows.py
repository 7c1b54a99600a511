"""Actors as they are stored: one by one, and a range of them by columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, overload


class Row(NamedTuple):
    """One actor as it is stored. JSON columns are text; `items` is a JSON array of trace items, or None
    where there is no row of history; `markers` is one of [position, item]."""

    id: str
    revision: Any
    definition: str | None
    version: str
    status: str
    reason: str | None
    state: str
    context: str | None
    snapshot: str | None
    origin: str | None
    has_history: bool | None
    items: str | None
    markers: str | None


# A named tuple without the steps of its constructor.
_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, Row)
_AT = {name: i for i, name in enumerate(Row._fields)}


class Rows(Sequence[Row]):
    """Some rows, made from tuples when they are asked for: of most only their columns are looked at."""

    def __init__(self, found: Sequence[tuple[Any, ...]] = ()):
        self._found = found
        self._columns: tuple[Sequence[Any], ...] | None = None

    def column(self, name: str) -> Sequence[Any]:
        """One column of all rows, by its name in `Row`."""
        if self._columns is None:
            self._columns = tuple(zip(*self._found, strict=True)) or ((),) * len(_AT)
        return self._columns[_AT[name]]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Row]:
        return map(_row, self._found)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        return Rows(self._found[index]) if isinstance(index, slice) else _row(self._found[index])
