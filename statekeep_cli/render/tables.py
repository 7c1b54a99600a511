"""Tables for a terminal: columns that give way to each other and wrap, so that nothing is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from statekeep_cli.render.terminal import cells, wrap

GAP = 2  # columns of space between two cells
NARROWEST = 4  # columns of a cell, however narrow the page


def item(said: str, width: int) -> list[str]:
    """One entry of a list: indented, its further lines a little more unless a name is too long for that."""
    lines = wrap(said, width, "  ", "    ")
    return lines if all(cells(line) <= width for line in lines) else wrap(said, width, "  ", "  ")


@dataclass(frozen=True, slots=True)
class Table:
    """Column widths for a page; `lines` lays out one row of inert text."""

    sizes: tuple[int, ...]
    indent: int = 1

    @classmethod
    def fit(cls, rows: Sequence[Sequence[str]], width: int, indent: int = 1) -> Table:
        """Widths for these rows on a page: the widest columns give way first."""
        sizes = [max(map(cells, column)) for column in zip(*rows, strict=True)]
        room = width - indent - GAP * (len(sizes) - 1)
        while sum(sizes) > room and max(sizes) > NARROWEST:
            sizes[sizes.index(max(sizes))] -= 1
        return cls(tuple(sizes), indent)

    def lines(self, row: Sequence[str]) -> list[str]:
        wrapped = [wrap(text, max(size, 1)) for text, size in zip(row, self.sizes, strict=True)]
        found = []
        for i in range(max(map(len, wrapped))):
            parts = [w[i] if i < len(w) else "" for w in wrapped]
            padded = (p + " " * (size - cells(p)) for p, size in zip(parts, self.sizes, strict=True))
            found.append((" " * self.indent + (" " * GAP).join(padded)).rstrip())
        return found
