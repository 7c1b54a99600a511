"""`[tool.statekeep]` of a pyproject.toml, with positions.

The standard library's TOML reader keeps no places, so keys are looked up in the text afterwards, table
by table; what is written in an unusual way (an inline table's keys) goes by the key around it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from statekeep_cli.readers.document import SYNTAX, Document, Node, Text

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*\[[ \t]*({_DOTTED})[ \t]*\]")
_PAIR = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=[ \t]*")
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")

_LONG = ('"""', "'''")

Path = tuple[str, ...]


def parse_toml(text: Text) -> Document:
    """The document of a TOML text. Raises `InputUnreadable` at the first thing that is no TOML."""
    try:
        value = tomllib.loads(text.text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = _AT.search(said)
        offset = len(text.text.rstrip())
        if at and at[1]:
            offset = text.offset(int(at[1]), int(at[2]))
        message = said[: at.start()] if at else said
        raise text.unreadable(
            SYNTAX, offset, message[:1].lower() + message[1:], "correct it here or on the line before"
        ) from None
    root = _node(value, 0, len(text.text))
    for path, key, start in _pairs(text.text):
        _place(root, path, key, start, text.text)
    return Document(text, root)


def _node(value: Any, start: int, end: int) -> Node:
    node = Node(value, start, end)
    if isinstance(value, dict):
        node.children = {k: _node(v, start, end) for k, v in value.items()}
    elif isinstance(value, list):
        node.children = {i: _node(v, start, end) for i, v in enumerate(value)}
    return node


def _pairs(text: str) -> Iterator[tuple[Path, tuple[int, int], int]]:
    """Every `[header]` and `key =` at a line's start: its path, its key's span, and where its value is."""
    table: Path = ()
    offset = 0
    closing = ""  # inside a text over several lines: what ends it
    for line in text.splitlines(keepends=True):
        if closing:
            closing = "" if closing in line else closing
        elif found := _HEADER.match(line):
            table = _steps(found[1])
            yield table, (offset + found.start(1), offset + found.end(1)), offset + found.start(1)
        elif found := _PAIR.match(line):
            span = (offset + found.start(1), offset + found.end(1))
            yield (*table, *_steps(found[1])), span, offset + found.end()
            quotes = line[found.end() : found.end() + 3]
            if quotes in _LONG and quotes not in line[found.end() + 3 :]:
                closing = quotes
        offset += len(line)


def _steps(dotted: str) -> Path:
    """The keys of a dotted key."""
    return tuple(
        next(iter(tomllib.loads(f"{key} = 0"))) for key in re.findall(_KEY, dotted)
    )  # its own rules for quotes and escapes


def _place(root: Node, path: Path, key: tuple[int, int], start: int, text: str) -> None:
    node = root
    for step in path[:-1]:
        if step not in node.children:
            return  # a line of an array over several lines that looks like a key
        node = node.children[step]
    last = path[-1]
    if last not in node.children or last in node.keys:
        return
    node.keys[last] = key
    end = text.find("\n", start)
    _spread(node.children[last], start, len(text) if end < 0 else end)


def _spread(node: Node, start: int, end: int) -> None:
    node.start, node.end = start, end
    for child in node.children.values():
        _spread(child, start, end)
