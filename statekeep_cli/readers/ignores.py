"""Findings that a definition says it knows about, each with a reason.

A comment in YAML speaks for its own line, or alone on a line for the next one:

    archived: {}  # statekeep: ignore SK029 because the importer creates actors here

A key `x-statekeep-ignore: {SK029: "the importer creates actors here"}`, for JSON as well, speaks for
everything inside the mapping it stands in. Only warnings can be ignored: an error stops every command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from statekeep_cli.core.check_finding import CODES, Finding, did_you_mean
from statekeep_cli.errors import Problem
from statekeep_cli.readers.document import Document, Node, Pointer

KEY = "x-statekeep-ignore"
NO_REASON, UNUSED = "SK071", "SK072"
# Which of these are found depends on the sources that a run was given.
BY_SOURCES = frozenset(f"SK{n:03}" for n in (*range(40, 50), 70))

_WORD = "statekeep:"
_COMMENT = re.compile(
    r"#[ \t]*statekeep:[ \t]*ignore[ \t]+(?P<codes>[A-Za-z0-9]+(?:[ \t]*,[ \t]*[A-Za-z0-9]+)*)"
    r"(?:[ \t]+because\b[ \t]*(?P<why>[^\r\n]*))?"
)


@dataclass(slots=True)
class Ignore:
    """One code ignored at one place: a line of a file, or everything under a pointer of the config."""

    code: str
    reason: str
    place: Problem
    line: int = 0
    pointer: Pointer | None = None
    used: bool = False

    def covers(self, finding: Finding, problem: Problem) -> bool:
        if finding.code != self.code:
            return False
        if self.pointer is not None:
            return finding.pointer[: len(self.pointer)] == self.pointer
        return (problem.path, problem.line) == (self.place.path, self.line)


def without_ignored(
    found: Sequence[tuple[Finding, Problem]],
    documents: Sequence[Document],
    config: Any,
    with_sources: bool,
) -> list[Problem]:
    """The problems without those that are ignored for a reason, and what is wrong with the ignores."""
    ignores = [i for d in documents for i in _comments(d)]
    if any(KEY in d.text.text for d in documents):
        ignores += _keys(config, documents[0], ())
    left = []
    for finding, problem in found:
        covering = [i for i in ignores if i.covers(finding, problem)]
        for ignore in covering:
            ignore.used = True
        if problem.severity == "error" or not any(i.reason for i in covering):
            left.append(problem)
    return left + [p for i in ignores if (p := _complaint(i, with_sources)) is not None]


def _complaint(ignore: Ignore, with_sources: bool) -> Problem | None:
    code, place = ignore.code, ignore.place
    known = CODES.get(code)
    if known is None:
        hint = did_you_mean(code, CODES, "codes are in the list of findings, as in SK029")
        return _said(place, UNUSED, f"there is no finding {code} to ignore", hint)
    if known.severity == "error":
        return _said(place, UNUSED, f"{code} is an error, and errors cannot be ignored", "mend it")
    if not ignore.reason:
        hint = "say why: because …" if ignore.pointer is None else "give the reason as its value"
        return _said(place, NO_REASON, f"{code} is ignored without a reason", hint)
    if not ignore.used and (with_sources or code not in BY_SOURCES):
        return _said(place, UNUSED, f"{code} is ignored, and there is no such finding here", "remove it")
    return None


def _said(place: Problem, code: str, message: str, hint: str) -> Problem:
    return Problem(
        place.path, place.line, place.column, message, code, CODES[code].severity, hint,
        place.end_column, place.text,
    )  # fmt: skip


def _comments(document: Document) -> Iterator[Ignore]:
    text = document.text
    if _WORD not in text.text or document.path.lower().endswith(".json"):
        return
    scalars: list[tuple[int, int]] = []
    for found in _COMMENT.finditer(text.text):
        scalars = scalars or sorted(_scalars(document.root))
        if any(start <= found.start() < end for start, end in scalars):
            continue  # inside a text
        line, column = text.position(found.start())
        about = line
        if not text.line(line)[: column - 1].strip():
            about = _next_line(document, line)
        reason = (found["why"] or "").strip()
        place = text.problem("", found.start(), "", end=found.start() + len(found[0].rstrip()))
        for code in re.split(r"[ \t]*,[ \t]*", found["codes"]):
            yield Ignore(code, reason, place, about)


def _next_line(document: Document, line: int) -> int:
    """The next line with more on it than a comment."""
    last = document.text.position(len(document.text.text))[0]
    while line < last:
        line += 1
        content = document.text.line(line).strip()
        if content and not content.startswith("#"):
            break
    return line


def _scalars(node: Node) -> Iterator[tuple[int, int]]:
    """The spans of every text in a document, keys included."""
    waiting, seen = [node], set()
    while waiting:
        at = waiting.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        yield from at.keys.values()
        if not at.children and not isinstance(at.value, dict | list):
            yield at.start, at.end
        waiting += at.children.values()


def _keys(config: Any, document: Document, pointer: Pointer) -> Iterator[Ignore]:
    if isinstance(config, Mapping):
        said = config.get(KEY)
        if isinstance(said, Mapping):
            for code, reason in said.items():
                place = document.problem("", (*pointer, KEY, code), "", part="key")
                text = reason.strip() if isinstance(reason, str) else ""
                yield Ignore(code, text, place, pointer=pointer)
        elif said is not None:
            place = document.problem("", (*pointer, KEY), "", part="key")
            yield Ignore(str(said), "", place, pointer=pointer)
    if isinstance(config, Mapping | list):
        inner = config.items() if isinstance(config, Mapping) else enumerate(config)
        for key, value in inner:
            if key != KEY and isinstance(value, Mapping | list):
                yield from _keys(value, document, (*pointer, key))
