"""JSON with positions: a small reader that keeps where every key and value stands.

Strings and numbers are scanned by the standard library's own scanners, so that what is accepted is
what `json.loads` accepts, less NaN, duplicate keys and halves of surrogate pairs.
"""

from __future__ import annotations

import json.scanner
import re
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.document import SYNTAX, Document, Limits, Node, Text, twice

_SPACE = re.compile(r"[ \t\n\r]*")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"[A-Za-z_$+-][\w$.+-]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: Text) -> Document:
    """The document of a JSON text. Raises `InputUnreadable` at the first thing that is no JSON."""
    reader = _Reader(text)
    at = reader.space(0)
    root, at = reader.value(at, 1)
    at = reader.space(at)
    if at < len(text.text):
        raise text.unreadable(
            SYNTAX, at, "expected the end of the file after the value", "remove what follows"
        )
    return Document(text, root, tuple(reader.problems))


class _Reader:
    def __init__(self, text: Text):
        self.source = text
        self.text = text.text
        self.limits = Limits(text)
        self.problems: list[Problem] = []

    def space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        assert match is not None
        return match.end()

    def expected(self, at: int, what: str, hint: str = "") -> InputUnreadable:
        if at >= len(self.text):
            return self.source.unreadable(
                SYNTAX, len(self.text.rstrip()), f"the file ends where {what} is expected", "complete it"
            )
        if self.text.startswith(("//", "/*", "#"), at):
            return self.source.unreadable(
                SYNTAX, at, "JSON has no comments", "remove it, or write the file as YAML"
            )
        found = self.text[at] if self.text[at].isprintable() else repr(self.text[at])[1:-1]
        message = f"expected {what}, found '{found}'"
        return self.source.unreadable(SYNTAX, at, message, hint or "correct it here or on the line before")

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        """The value at an offset, and the offset behind it."""
        self.limits.value(at)
        char = self.text[at : at + 1]
        if char == '"':
            return self.string(at)
        if char in ("{", "["):
            self.limits.deeper(depth, at)
            return self.object(at, depth) if char == "{" else self.array(at, depth)
        number = json.scanner.NUMBER_RE.match(self.text, at)
        if number:
            return Node(self.number(number), at, number.end()), number.end()
        word = _WORD.match(self.text, at)
        if word and word.group() in _WORDS:
            return Node(_WORDS[word.group()], at, word.end()), word.end()
        if word and word.group().lstrip("-+").lower() in ("nan", "infinity", "inf"):
            raise self.source.unreadable(
                SYNTAX, at, f"{word.group()} is no JSON number", "use a finite number or null", word.end()
            )
        hint = "write text in double quotes" if word or char == "'" else ""
        raise self.expected(at, "a value", hint)

    def number(self, match: re.Match[str]) -> int | float:
        whole, fraction, exponent = match.groups()
        try:
            number = float(match.group()) if fraction or exponent else int(whole)
        except ValueError:  # Python refuses to read thousands of digits
            number = float("inf")
        if number in (float("inf"), float("-inf")):
            raise self.source.unreadable(
                SYNTAX, match.start(), "the number is too large", "write it as text", match.end()
            )
        return number

    def string(self, at: int) -> tuple[Node, int]:
        try:
            value, end = scanstring(self.text, at + 1, True)
        except JSONDecodeError as error:
            if error.msg.startswith("Unterminated"):
                raise self.source.unreadable(
                    SYNTAX, at, "the text that starts here has no end", 'close it with a double quote (")'
                ) from None
            what = (
                "a control character in a text"
                if "control" in error.msg
                else "an escape that JSON does not have"
            )
            raise self.source.unreadable(SYNTAX, error.pos, what, "write it as \\n, \\t or \\uXXXX") from None
        if _SURROGATE.search(value):
            raise self.source.unreadable(
                SYNTAX,
                at,
                "half of a surrogate pair (\\ud800 to \\udfff) in a text",
                "write both halves",
                end,
            )
        return Node(value, at, end), end

    def array(self, at: int, depth: int) -> tuple[Node, int]:
        items: list[Any] = []
        node = Node(items, at, at)
        end = self.space(at + 1)
        if self.text.startswith("]", end):
            node.end = end + 1
            return node, end + 1
        while True:
            child, end = self.value(end, depth + 1)
            node.children[len(items)] = child
            items.append(child.value)
            end, more = self.next(end, "]")
            if not more:
                node.end = end
                return node, end

    def object(self, at: int, depth: int) -> tuple[Node, int]:
        items: dict[str, Any] = {}
        node = Node(items, at, at)
        end = self.space(at + 1)
        if self.text.startswith("}", end):
            node.end = end + 1
            return node, end + 1
        while True:
            if not self.text.startswith('"', end):
                raise self.expected(end, "a key in double quotes")
            name, after = self.string(end)
            key, span = name.value, (end, after)
            end = self.space(after)
            if not self.text.startswith(":", end):
                raise self.expected(end, f"':' after the key '{key}'")
            child, end = self.value(self.space(end + 1), depth + 1)
            if key in items:
                twice(self.source, key, node.keys[key], span, self.problems)
            else:
                items[key], node.keys[key], node.children[key] = child.value, span, child
            end, more = self.next(end, "}")
            if not more:
                node.end = end
                return node, end

    def next(self, at: int, close: str) -> tuple[int, bool]:
        """Behind a comma (True) or the closing bracket (False)."""
        at = self.space(at)
        if self.text.startswith(close, at):
            return at + 1, False
        if not self.text.startswith(",", at):
            raise self.expected(at, f"',' or '{close}'")
        after = self.space(at + 1)
        if self.text.startswith(close, after):
            raise self.source.unreadable(SYNTAX, at, f"a comma before '{close}'", "remove the comma")
        return after, True
