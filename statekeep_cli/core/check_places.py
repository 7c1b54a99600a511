"""The places that routing metadata names: source states, target states, state values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from statekeep_cli.core.check_finding import Finding, Part, Pointer, did_you_mean, listed
from statekeep_cli.core.configuration import configuration_of
from statekeep_cli.core.model import Builder, Definition, Path, join_path, kind_of, split_path


class Places:
    """Looks names up on both sides.

    Without sources, what names one of them is left alone. Without a `definition` (its statechart has
    errors), state values are checked for their keys only.
    """

    def __init__(self, builder: Builder, definition: Definition | None, sources: Sequence[Definition]):
        self.builder = builder
        self.definition = definition
        self.sources = sources

    def source(self, path: str, at: Pointer, part: Part = "value") -> Iterator[Finding]:
        """A source state: it must exist in at least one of the sources."""
        found = [n for s in self.sources if (n := s.node(path)) is not None]
        if not self.sources or any(n.kind != "history" for n in found):
            return
        where = listed([s.label for s in self.sources], "or")
        if found:
            yield Finding(
                "SK042", at, f"'{path}' is a history node in {where}", "name the state that it is in", part
            )
            return
        names = [n.name for s in self.sources for n in s.nodes[1:]]
        if any((path,) in s.by_path for s in self.sources):
            hint = f"a dot inside a key is written '{join_path((path,))}'"
        elif split_path(path) in self.builder.by_path:
            hint = "it is a state of the new definition, and this names where actors come from"
        else:
            hint = did_you_mean(path, names, f"its states are {listed(dict.fromkeys(names))}")
        yield Finding("SK040", at, f"there is no state '{path}' in {where}", hint, part)

    def target(self, path: str, at: Pointer, part: Part = "value", whole: bool = False) -> Iterator[Finding]:
        """A path of the definition itself, of a node that can be active.

        `whole`: a key with unescaped dots of its own will do, as in a state value.
        """
        index = self.builder.by_path.get(split_path(path))
        if whole and index is None:
            index = self.builder.by_path.get((path,))
        if index is None:
            names = [join_path(p) for p in self.builder.by_path if p]
            if (path,) in self.builder.by_path:
                hint = f"a dot inside a key is written '{join_path((path,))}'"
            else:
                hint = did_you_mean(path, names, f"its states are {listed(names)}")
            yield Finding("SK041", at, f"this definition has no state '{path}'", hint, part)
        elif kind_of(self.builder.raw[index]) == "history":
            yield Finding(
                "SK042",
                at,
                f"'{path}' is a history node, where no actor can be",
                "name a state beside it",
                part,
            )

    def place(self, value: Any, at: Pointer) -> Iterator[Finding]:
        """A path, or a state value that must be complete and legal."""
        if isinstance(value, str):
            yield from self.target(value, at, whole=True)
            return
        wrong = list(self.keys(value, (), at))
        yield from wrong
        if not wrong and self.definition is not None and configuration_of(self.definition, value) is None:
            message, hint = self.incomplete(value, ())
            yield Finding("SK042", at, f"no legal configuration: {message}", hint, "key")

    def keys(self, value: Any, path: Path, at: Pointer) -> Iterator[Finding]:
        inner = value if isinstance(value, dict) else {value: {}}
        for key, below in inner.items():
            index = self.builder.by_path.get((*path, key))
            here: Pointer = (*at, key) if isinstance(value, dict) else at
            part: Part = "key" if isinstance(value, dict) else "value"
            if index is None:
                names = [p[-1] for p in self.builder.by_path if p and p[:-1] == path]
                hint = did_you_mean(
                    key, names, f"it has {listed(names)}" if names else "nothing is inside it"
                )
                yield Finding("SK041", here, f"{_name(path)} has no state '{key}'", hint, part)
            elif kind_of(self.builder.raw[index]) == "history":
                yield Finding("SK042", here, f"'{key}' is a history node", "name a state beside it", part)
            else:
                yield from self.keys(below, (*path, key), here)

    def incomplete(self, value: Any, path: Path) -> tuple[str, str]:
        """What a state value with only known keys lacks, and the next step."""
        node = self.builder.raw[self.builder.by_path[path]]
        inner = value if isinstance(value, dict) else {value: {}}
        children = {
            k: v or {} for k, v in (node.get("states") or {}).items() if kind_of(v or {}) != "history"
        }
        kind = kind_of(node)
        if kind == "parallel" and len(inner) < len(children):
            return f"{_name(path)} is parallel, and {listed(children.keys() - inner.keys())} is missing", (
                f"give all of {listed(children)}, or the path alone to enter it by default"
            )
        if kind == "compound" and len(inner) != 1:
            what = (
                f"{listed(inner)} cannot be active together"
                if inner
                else f"{_name(path)} needs one of its states"
            )
            return (
                what,
                f"choose one of {listed(children, 'or')}, or give the path alone to enter it by default",
            )
        for key, below in inner.items():
            message, hint = self.incomplete(below, (*path, key))
            if message:
                return message, hint
        return "", ""


def _name(path: Path) -> str:
    return f"'{join_path(path)}'" if path else "the definition"
