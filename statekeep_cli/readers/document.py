"""Plain values that remember where they were written, and the limits they are read within.

Definitions may come from a stranger's pull request: size, depth and the expansion of aliases are
bounded, tags that would build objects are refused, and nothing is read twice. YAML scalars follow
the 1.2 core schema (`on`, `off`, `yes`, `no` are text); duplicate keys are problems in both formats.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Literal

from statekeep_cli.errors import InputUnreadable, Problem

Pointer = tuple[str | int, ...]
Part = Literal["key", "value"]

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 200
MAX_VALUES = 250_000  # after alias expansion
MAX_PROBLEMS = 1_000

UNREADABLE = "SK001"  # not a file that can be opened
ENCODING = "SK002"
SYNTAX = "SK003"
LIMIT = "SK004"
DUPLICATE = "SK005"


@dataclass(slots=True)
class Node:
    """One value with its place; `start` and `end` are character offsets into the text.

    `keys` has the span of every key of a mapping. A YAML alias shares its anchor's node, so `size`
    and `height` count what the value would be if it were written out.
    """

    value: Any
    start: int
    end: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    children: dict[str | int, Node] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    def __iadd__(self, child: Node) -> Node:
        self.size += child.size
        self.height = max(self.height, child.height + 1)
        return self


class Text:
    """A file's decoded text and its lines."""

    def __init__(self, path: str, text: str):
        self.path = path
        self.text = text
        self._lines = [0]
        self._cut: dict[int, str] = {}  # a minified file is one line, wanted by each of its problems
        at = text.find("\n")
        while at >= 0:
            self._lines.append(at + 1)
            at = text.find("\n", at + 1)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """The character offset of a line and column, both from 1."""
        return self._lines[min(line, len(self._lines)) - 1] + column - 1

    def line(self, number: int) -> str:
        """A line's text without its end."""
        if number not in self._cut:
            end = self._lines[number] if number < len(self._lines) else len(self.text)
            self._cut[number] = self.text[self._lines[number - 1] : end].rstrip("\r\n")
        return self._cut[number]

    def problem(
        self,
        code: str,
        start: int,
        message: str,
        hint: str = "",
        end: int | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """A located problem; a span over several lines is cut at the end of its first."""
        line, column = self.position(start)
        text = self.line(line)
        last = column + 1 if end is None else column + max(1, end - start)
        return Problem(
            path=self.path,
            line=line,
            column=column,
            message=message,
            code=code,
            severity=severity,
            hint=hint,
            end_column=max(column + 1, min(last, len(text) + 1)),
            text=text,
        )

    def unreadable(
        self, code: str, start: int, message: str, hint: str = "", end: int | None = None
    ) -> InputUnreadable:
        """The error for one problem, to be raised."""
        return InputUnreadable.of(self.problem(code, start, message, hint, end))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: the plain value, and where each part of it stands.

    `problems` are those that did not stop the reading: duplicate keys, of which the first is kept.
    """

    text: Text
    root: Node
    problems: tuple[Problem, ...] = ()

    @property
    def path(self) -> str:
        return self.text.path

    @property
    def value(self) -> Any:
        return self.root.value

    def span(self, pointer: Pointer, part: Part = "value") -> tuple[int, int]:
        """Offsets of the value (or its key) at a pointer; of the nearest part that exists, else."""
        node, span = self.root, (self.root.start, self.root.end)
        for i, step in enumerate(pointer):
            child = node.children.get(step)
            if child is None:
                return node.keys.get(str(step), span)
            key = node.keys.get(str(step))
            last = i == len(pointer) - 1
            # A collection is pointed at by its key: a span over half the file says nothing.
            wanted = key is not None and (child.children or "\n" in self.text.text[child.start : child.end])
            by_key = key is not None and (wanted or (last and part == "key"))
            span = key if key is not None and by_key else (child.start, child.end)
            node = child
        return span

    def problem(
        self,
        code: str,
        pointer: Pointer,
        message: str,
        hint: str = "",
        severity: Literal["error", "warning"] = "error",
        part: Part = "value",
    ) -> Problem:
        """A problem at a pointer."""
        start, end = self.span(pointer, part)
        return self.text.problem(code, start, message, hint, end, severity)


class Limits:
    """Counts what has been read and refuses what would not end well."""

    def __init__(self, text: Text):
        self.text = text
        self.values = 0

    def deeper(self, depth: int, start: int) -> None:
        """Called where a collection opens, before its inside is read."""
        if depth > MAX_DEPTH:
            raise self.text.unreadable(
                LIMIT, start, f"nested more than {MAX_DEPTH} levels deep", "flatten the definition"
            )

    def value(self, start: int) -> None:
        """Called once for every value written in the file."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.text.unreadable(
                LIMIT, start, f"more than {MAX_VALUES} values", "check that it is the right file"
            )

    def expanded(self, node: Node, start: int, end: int) -> None:
        """Called where a collection is complete: `node` counts its aliases written out."""
        if node.size > MAX_VALUES or node.height > MAX_DEPTH:
            what = "values" if node.size > MAX_VALUES else "levels of nesting"
            most = MAX_VALUES if node.size > MAX_VALUES else MAX_DEPTH
            raise self.text.unreadable(
                LIMIT,
                start,
                f"its aliases expand to more than {most} {what}",
                "write the parts out, or use fewer aliases",
                end,
            )


def twice(
    text: Text, key: str, first: tuple[int, int], second: tuple[int, int], problems: list[Problem]
) -> None:
    """Adds the problem of a key that one mapping has twice."""
    if len(problems) >= MAX_PROBLEMS:
        raise text.unreadable(
            LIMIT, second[0], f"more than {MAX_PROBLEMS} keys given twice", "mend these first"
        )
    line, column = text.position(first[0])
    problems.append(
        text.problem(
            DUPLICATE,
            second[0],
            f"the key '{key}' is given twice; the first is at line {line}, column {column}",
            "remove one of them or give it another name",
            second[1],
        )
    )
