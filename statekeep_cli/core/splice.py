"""A JSON object's text with some of its members replaced, removed or added; everything else as it was.

What a record has beyond what StateKeep knows comes back byte for byte: its spacing, the order of its keys,
the spelling of its numbers. Nothing is decoded that is not replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Raw
from msgspec.json import Decoder, Encoder

_members: Decoder[dict[str, Raw]] = Decoder(dict[str, Raw])
_encode = Encoder().encode
_NAME = re.compile(rb'([ \t\r\n]*+)("(?:[^"\\]++|\\.)*+"([ \t\r\n]*+:[ \t\r\n]*+))', re.DOTALL)
_END = re.compile(rb"([ \t\r\n]*+)([,}])")


def members(text: bytes) -> dict[str, bytes]:
    """The members of an object (JSON text), each value as its JSON text."""
    return {key: bytes(raw) for key, raw in _members.decode(text).items()}


def spliced(text: bytes, edits: Mapping[str, bytes | None]) -> bytes:
    """The object with each key of `edits` set to a value (JSON text), or removed (None).

    `text` is valid JSON. New members go to the end, spaced as the others are; what is before and after the
    object is kept. An object that has a key twice comes back in the shortest spelling, each with the value
    that counts.
    """
    start = at = text.index(b"{") + 1
    known = members(text)
    kept: list[tuple[bytes, bytes]] = []  # (the blanks before a member, the member)
    leads: list[bytes] = []
    colon, tail = b":", b""
    for key, value in known.items():
        name = _NAME.match(text, at)
        end = _END.match(text, name.end() + len(value)) if name else None
        if name is None or end is None or not text.startswith(value, name.end()):
            return _shortest(known, edits)
        leads.append(name[1])
        if len(leads) == 1:
            colon = name[3]
        new = edits.get(key, value)
        if new is not None:
            kept.append((name[1], name[2] + new))
        tail, at = end[1], end.end()
    if known and text[at - 1 : at] == b",":  # a key that comes twice
        return _shortest(known, edits)
    if not known:
        at = text.index(b"}", start) + 1
    between = leads[1] if len(leads) > 1 else (leads[0] if leads and leads[0] else colon[1:])
    for key, added in edits.items():
        if key not in known and added is not None:
            kept.append((between, _encode(key) + colon + added))
    first = leads[0] if leads else b""
    body = b",".join((lead if i else first) + member for i, (lead, member) in enumerate(kept))
    return text[:start] + body + tail + b"}" + text[at:]


def _shortest(known: Mapping[str, bytes], edits: Mapping[str, bytes | None]) -> bytes:
    whole = {key: value for key, value in {**known, **edits}.items() if value is not None}
    return b"{" + b",".join(_encode(key) + b":" + value for key, value in whole.items()) + b"}"


def appended(text: bytes, item: bytes) -> bytes:
    """An array (JSON text) with one more item at its end, spaced as the others are."""
    body = text.rstrip()[:-1]
    filled = body.rstrip()
    if filled.endswith(b"[") and not filled.strip(b" \t\r\n["):
        return filled + item + b"]"
    after = body[len(filled) :]
    spaces = b"\n" + after[after.rfind(b"\n") + 1 :] + b"  " if b"\n" in after else b" "
    return filled + b"," + spaces + item + after + b"]"
