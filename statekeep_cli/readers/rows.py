"""Rows of a history file: decoded, checked, and kept as JSON until their actor comes."""

from __future__ import annotations

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from statekeep_cli.core.trace import MARKERS
from statekeep_cli.readers.checks import Checks
from statekeep_cli.readers.cut import Table
from statekeep_cli.readers.reasons import UNDECODABLE, Refused
from statekeep_cli.readers.records import Block, Unreadable, complaint

TABLE = Table(
    required=(("actor",), ("type", "state")),
    text=("actor", "type", "at", "why"),
    state=("state", "from", "to"),
    json=(),
)


class Row(Struct, frozen=True, gc=False):
    """One row: an item of an actor's trace, checked here and decoded when its actor comes."""

    actor: str | int
    type: str | None = None
    state: Raw = Raw()
    origin: Raw = field(name="from", default=Raw())
    to: Raw = Raw()


class Rows:
    """Decodes and checks rows."""

    def __init__(self) -> None:
        self._decoder = Decoder(Row)
        self._checks = Checks()

    def of(self, block: Block) -> tuple[list[tuple[str, bytes]], list[Unreadable]]:
        """The actor of each row and the row as JSON; and the rows that are none."""
        pieces = [record for record, _, _ in block.pieces()]
        try:
            if not block.data.isascii():
                block.data.decode()
            rows = self._decoder.decode_lines(block.data)
            if len(rows) == len(pieces):
                return [(self._checked(row), piece) for row, piece in zip(rows, pieces, strict=True)], []
        except (*UNDECODABLE, Refused):
            pass
        return self._one_by_one(block)

    def _one_by_one(self, block: Block) -> tuple[list[tuple[str, bytes]], list[Unreadable]]:
        good: list[tuple[str, bytes]] = []
        bad = list(block.unreadable)
        for piece, line, column in block.pieces():
            try:
                piece.decode()
                good.append((self._checked(self._decoder.decode(piece)), piece))
            except (*UNDECODABLE, Refused) as error:
                bad.append(complaint(block, piece, line, column, error))
        return good, sorted(bad)

    def _checked(self, row: Row) -> str:
        if row.state or row.type is None or row.type in MARKERS:
            self._checks.item(row)
        if row.actor == "":
            raise Refused("is empty; every row needs the id of its actor", "actor")
        return str(row.actor)
