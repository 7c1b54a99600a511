"""Bytes -> located documents: a file or standard input, JSON or YAML 1.2 (`document.py`)."""

from __future__ import annotations

import sys

from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.document import ENCODING, LIMIT, MAX_BYTES, SYNTAX, UNREADABLE, Document, Text
from statekeep_cli.readers.source_json import parse_json


def read_document(path: str) -> Document:
    """The document in a file, or on standard input for `-`.

    Raises `InputUnreadable` for what cannot be opened, decoded or parsed.
    """
    return parse(read_bytes(path), "<stdin>" if path == "-" else path)


def read_bytes(path: str) -> bytes:
    """A file's bytes (`-`: standard input's, `REV:path`: a file's at a git revision); one more than
    `MAX_BYTES` of one that is larger."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        if ":" in path:
            from statekeep_cli.readers.git import at_revision, read_at

            if (name := at_revision(path)) is not None:
                return read_at(name)
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputUnreadable.of(
            Problem(path, 0, 0, f"cannot be opened: {reason}", UNREADABLE, hint="check the path")
        ) from None


def parse(data: bytes, path: str) -> Document:
    """Bytes -> document. The suffix decides the format (`.json`, `.yaml`, `.yml`), else the content."""
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1024 // 1024} MiB, the most a definition may have"
        raise InputUnreadable.of(Problem(path, 0, 0, message, LIMIT, hint="check that it is the right file"))
    text = Text(path, decode(data, path))
    if not text.text.strip():
        raise InputUnreadable.of(
            Problem(
                path, 0, 0, "is empty", SYNTAX, hint="write a definition with id, version, initial and states"
            )
        )
    lower = path.lower()
    if lower.endswith(".json"):
        json = True
    elif lower.endswith((".yaml", ".yml")):
        json = False
    else:
        json = text.text.lstrip()[0] in "{["
    if json:
        return parse_json(text)
    from statekeep_cli.readers.source_yaml import parse_yaml  # PyYAML is for those who use it

    return parse_yaml(text)


def decode(data: bytes, path: str) -> str:
    """UTF-8, with or without its byte order mark; anything else is refused by name."""
    for mark, name in (
        (b"\xff\xfe", "UTF-16 or UTF-32"),
        (b"\xfe\xff", "UTF-16"),
        (b"\x00\x00\xfe\xff", "UTF-32"),
    ):
        if data.startswith(mark):
            raise InputUnreadable.of(
                Problem(path, 1, 1, f"is {name}, not UTF-8", ENCODING, hint="save it as UTF-8")
            )
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise InputUnreadable.of(
            Problem(path, line, column, message, ENCODING, hint="save it as UTF-8")
        ) from None
    if "\x00" in text:
        place = Text(path, text)
        line, column = place.position(text.index("\x00"))
        what = "a NUL character; is it UTF-16 without its byte order mark, or no text at all?"
        raise InputUnreadable.of(Problem(path, line, column, what, ENCODING, hint="save it as UTF-8"))
    return text
