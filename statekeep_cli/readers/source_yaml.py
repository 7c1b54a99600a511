"""YAML 1.2 with positions, on PyYAML's event stream (libyaml's where it is there).

PyYAML's own constructors follow YAML 1.1, where `on:` is a boolean and the last of two equal keys
wins; so only its parser is used, and scalars are resolved here by the 1.2 core schema. Events are
consumed one by one with an explicit stack: depth and size are refused before they are built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.document import SYNTAX, Document, Limits, Node, Text, twice

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_REFUSED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


def parse_yaml(text: Text) -> Document:
    """The document of a YAML text. Raises `InputUnreadable` at the first thing that is no YAML."""
    composer = _Composer(text)
    refused = _REFUSED.search(text.text)
    if refused:
        raise text.unreadable(
            SYNTAX,
            refused.start(),
            "a character that YAML does not allow",
            'write it as an escape, in "quotes"',
        )
    try:
        root = composer.compose(yaml.parse(text.text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _syntax(text, error) from None
    return Document(text, root, tuple(composer.problems))


def _syntax(text: Text, error: yaml.MarkedYAMLError) -> InputUnreadable:
    mark = error.problem_mark or error.context_mark
    at = min(mark.index, len(text.text)) if mark else 0
    if at >= len(text.text.rstrip()) and error.context_mark:
        at = error.context_mark.index  # what has no end says more than where the file ends
    problem = (error.problem or "cannot be parsed").replace("<", "").replace(">", "")
    message = f"{problem} {error.context}" if error.context else problem
    hint = "check indentation and punctuation here and on the line before"
    if "\\t" in message or text.text[at : at + 1] == "\t":
        message, hint = "a tab where YAML wants spaces", "indent with spaces"
    return text.unreadable(SYNTAX, at, message, hint)


@dataclass(slots=True)
class _Open:
    """A collection under way; in a mapping, `key` is the one whose value comes next."""

    node: Node
    mapping: bool
    anchor: str | None
    key: tuple[str, int, int] | None = None
    merge: tuple[int, int] | None = None  # the value that comes next is merged in
    merged: list[Node] | None = None


class _Composer:
    def __init__(self, text: Text):
        self.source = text
        self.limits = Limits(text)
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}  # None while the anchored node is incomplete
        self.stack: list[_Open] = []
        self.root: Node | None = None

    def refuse(self, event: Any, message: str, hint: str) -> InputUnreadable:
        return self.source.unreadable(SYNTAX, event.start_mark.index, message, hint, event.end_mark.index)

    def compose(self, events: Iterator[Any]) -> Node:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.refuse(event, "a second document", "put one definition in each file")
            elif isinstance(event, yaml.AliasEvent):
                self.alias(event)
            elif isinstance(event, yaml.ScalarEvent):
                self.scalar(event)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self.open(event)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                self.close(event)
        if self.root is None:
            raise self.source.unreadable(SYNTAX, 0, "the file holds no value", "write a definition")
        return self.root

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise self.refuse(
                event, f"no anchor '&{event.anchor}' stands before this alias", "check its name"
            )
        node = self.anchors[event.anchor]
        if node is None:
            raise self.refuse(event, f"the alias '*{event.anchor}' is inside its own anchor", "write it out")
        self.place(node, event.start_mark.index, event.end_mark.index)

    def open(self, event: Any) -> None:
        start = event.start_mark.index
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _CORE + ("map" if mapping else "seq")):
            raise self.refuse(event, f"the tag '{event.tag}' is not allowed here", "remove it")
        if self.stack and self.stack[-1].mapping and not self.stack[-1].key and not self.stack[-1].merge:
            raise self.refuse(event, "a key that is no plain text", "use text as the key")
        self.limits.value(start)
        self.limits.deeper(len(self.stack) + 1, start)
        if event.anchor:
            self.anchors[event.anchor] = None
        empty: Any = {} if mapping else []
        self.stack.append(_Open(Node(empty, start, start), mapping, event.anchor))

    def close(self, event: Any) -> None:
        top = self.stack.pop()
        node = top.node
        node.end = max(node.start + 1, event.end_mark.index)
        if top.merged:
            self.merge(node, top.merged)
        self.limits.expanded(node, node.start, node.end)
        if top.anchor:
            self.anchors[top.anchor] = node
        self.place(node, node.start, node.end)

    def scalar(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        top = self.stack[-1] if self.stack else None
        if top and top.mapping and top.key is None and top.merge is None:
            if event.tag not in (
                None,
                "!",
                *(_CORE + t for t in ("str", "int", "float", "bool", "null", "merge")),
            ):
                raise self.refuse(event, f"the tag '{event.tag}' is not allowed here", "remove it")
            if event.anchor:
                self.anchors[event.anchor] = Node(event.value, start, end)
            self.key(event, event.value, start, end)
            return
        self.limits.value(start)
        node = Node(self.resolve(event), start, end)
        if event.anchor:
            self.anchors[event.anchor] = node
        self.place(node, start, end)

    def key(self, event: Any, key: str, start: int, end: int) -> None:
        top = self.stack[-1]
        if key == "<<" and not event.style and event.tag in (None, _CORE + "merge"):
            if top.merged is not None:
                raise self.refuse(event, "a second '<<'", "merge a list: <<: [*a, *b]")
            top.merge, top.merged = (start, end), []
        else:
            top.key = (key, start, end)

    def place(self, node: Node, start: int, end: int) -> None:
        """Hands a complete value to the collection it stands in."""
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if not top.mapping:
            top.node.children[len(top.node.value)] = node
            top.node.value.append(node.value)
            top.node += node
        elif top.merge:
            parts = list(node.children.values()) if isinstance(node.value, list) else [node]
            for part in parts:
                if not isinstance(part.value, dict):
                    raise self.source.unreadable(
                        SYNTAX,
                        start,
                        "'<<' merges mappings, and this is none",
                        "name a mapping's anchor",
                        end,
                    )
            top.merge, top.merged = None, parts
        elif top.key is None:  # an alias or a collection as a key
            if not isinstance(node.value, str):
                raise self.source.unreadable(
                    SYNTAX, start, "a key that is no plain text", "use text as the key", end
                )
            top.key = (node.value, start, end)
        else:
            key, *span = top.key
            top.key = None
            if key in top.node.value:
                twice(self.source, key, top.node.keys[key], (span[0], span[1]), self.problems)
                return
            top.node.value[key] = node.value
            top.node.keys[key] = (span[0], span[1])
            top.node.children[key] = node
            top.node += node

    def merge(self, node: Node, parts: list[Node]) -> None:
        """The merge key: what the mapping has itself wins, then the earlier part."""
        own = (dict(node.value), dict(node.keys), dict(node.children))
        for store in (node.value, node.keys, node.children):
            store.clear()
        for part in parts:
            for key, child in part.children.items():
                if key not in node.value:
                    node.value[key], node.keys[str(key)] = child.value, part.keys[str(key)]
                    node.children[key] = child
        node.value.update(own[0])
        node.keys.update(own[1])
        node.children.update(own[2])
        node.size, node.height = 1, 1
        for child in node.children.values():
            node += child

    def resolve(self, event: Any) -> Any:
        """A scalar's value by the YAML 1.2 core schema."""
        tag = event.tag
        if tag == "!" or tag == _CORE + "str":
            return event.value
        if tag is None:
            return self.core(event) if event.implicit[0] else event.value
        names = {_CORE + "null": type(None), _CORE + "bool": bool, _CORE + "int": int, _CORE + "float": float}
        if tag not in names:
            raise self.refuse(event, f"the tag '{tag}' is not allowed here", "remove it")
        value = self.core(event)
        if names[tag] is float and type(value) is int:
            return float(value)
        if type(value) is not names[tag]:
            raise self.refuse(event, f"'{event.value}' is not of the type its tag says", "remove the tag")
        return value

    def core(self, event: Any) -> Any:
        text = event.value
        if _NULL.match(text):
            return None
        if _BOOL.match(text):
            return text.lower() == "true"
        if _SPECIAL.match(text):
            raise self.refuse(
                event, f"{text} is no number that JSON has", "use a finite number, null or quotes"
            )
        try:
            if _INT.match(text):
                return int(text)
            if _OCTAL.match(text):
                return int(text[2:], 8)
            if _HEX.match(text):
                return int(text[2:], 16)
            if _FLOAT.match(text):
                number = float(text)
                if number not in (float("inf"), float("-inf")):
                    return number
            else:
                return text
        except ValueError:  # Python refuses to read thousands of digits
            pass
        raise self.refuse(event, "the number is too large", "put it in quotes")
