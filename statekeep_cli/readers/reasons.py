"""Why a record is no actor, in words, and where in the record that is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches

from msgspec import DecodeError, ValidationError

from statekeep_cli.core.trace import STATUSES

Step = str | int  # of a path into a record: a key, or an index

# What decoding raises for bytes that are not the JSON expected.
UNDECODABLE = (DecodeError, UnicodeDecodeError, RecursionError)

# The decoder's names of JSON's types, as an author would say them.
TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$?(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_BYTE = re.compile(r" \(byte (\d+)\)$")
_EXPECTED = re.compile(r"Expected `(.*)`, got `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_ENUM = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\r\n]*")


class Refused(Exception):
    """A record that decodes and still is not what was expected; `path` leads to what is wrong in it."""

    def __init__(self, message: str, *path: Step):
        super().__init__(message)
        self.message = message
        self.path = path


def explained(record: bytes, error: Exception) -> tuple[int, str]:
    """The byte of the record where it goes wrong, and the reason."""
    if isinstance(error, UnicodeDecodeError):
        return error.start, f"byte 0x{record[error.start]:02x} is not UTF-8; save the file as UTF-8"
    if isinstance(error, RecursionError):
        return 0, "nested too deeply to be read"
    if isinstance(error, Refused):
        return _explained_at(record, error.message, error.path)
    if isinstance(error, ValidationError):
        return _explained_at(record, *worded(error))
    reason, at = str(error), _BYTE.search(str(error))
    if at is not None:
        offset = int(at[1])
        what = reason[: at.start()].removeprefix("JSON is malformed: ")
        if what == "trailing characters":
            # The decoder stops behind the first of them.
            return max(0, offset - 1), "not JSON: expected the end of the line after this record"
        return offset, f"not JSON: {what}"
    if _HALF_PAIR.search(record):
        return 0, "not JSON: a string holds half of a surrogate pair"
    return len(record), "not JSON: ends in the middle of a value"


def worded(error: ValidationError, statuses: Sequence[str] = STATUSES) -> tuple[str, tuple[Step, ...]]:
    """A decoder's complaint in plain words, and the path to its place."""
    match = _PLACE.fullmatch(str(error))
    assert match is not None
    what = match["what"]
    path = tuple(int(index) if index else key for key, index in _STEP.findall(match["path"] or ""))
    if found := _EXPECTED.fullmatch(what):
        expected = " or ".join(TYPES.get(name, name) for name in found[1].split(" | ") if name != "null")
        return f"expected {expected or 'null'}, got {TYPES.get(found[2], found[2])}", path
    if found := _MISSING.fullmatch(what):
        return f"expected the key '{found[1]}'", path
    if (found := _ENUM.fullmatch(what)) and path[-1:] == ("status",):
        return f"'{found[1]}' is none of {', '.join(statuses)}{did_you_mean(found[1], statuses)}", path
    return what[:1].lower() + what[1:], path


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of a sentence about a word nobody knows."""
    spelled = {name.lower(): name for name in reversed(known)}
    close = get_close_matches(word.lower(), spelled, 1)
    return f"; did you mean '{spelled[close[0]]}'?" if close else ""


def _explained_at(record: bytes, message: str, path: Sequence[Step]) -> tuple[int, str]:
    if not path:
        return 0, message
    subject = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    text = record.decode(errors="replace")
    return len(text[: locate(text, path)].encode()), f"{subject}: {message}"


def locate(text: str, path: Sequence[Step]) -> int:
    """Where in a JSON text the value at a path begins, or the nearest value around it that exists."""
    decoder = json.JSONDecoder()
    at = skip_space(text, 0)
    try:
        for step in path:
            inside = skip_space(text, at + 1)
            index = 0
            while text[inside] not in "]}":
                key: Step = index
                if text[at] == "{":
                    key, inside = decoder.raw_decode(text, inside)
                    inside = skip_space(text, skip_space(text, inside) + 1)
                if key == step:
                    break
                _, inside = decoder.raw_decode(text, inside)
                inside = skip_space(text, inside)
                if text[inside] == ",":
                    inside = skip_space(text, inside + 1)
                index += 1
            else:
                return at
            at = inside
    except (ValueError, IndexError, RecursionError):
        pass
    return at


def skip_space(text: str, at: int) -> int:
    """The next place in a JSON text that is not blank."""
    space = _SPACE.match(text, at)
    return at if space is None else space.end()
