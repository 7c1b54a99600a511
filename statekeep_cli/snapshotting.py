"""A database's actors as an export that may leave the building.

Redacted records are sorted by their new ids, so that their order says nothing about the old ones: they are
written to a few files by the first digits of the id, and each of these is sorted by itself.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

from msgspec.json import Encoder

from statekeep_cli.core.redact import Redaction, written
from statekeep_cli.core.trace import Actor
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.scope import Scope
from statekeep_cli.surveying import everyone

FILES = 64
KEY_BYTES = 32

_encode = Encoder().encode


def snapshot(
    store: Store,
    scope: Scope,
    *,
    redact: bool,
    keep: Sequence[str] = (),
    on_part: Callable[[int], None] | None = None,
) -> Iterator[bytes]:
    """Every actor of a scope as a line, in one view of the data; redacted ones under ids that are good for
    this snapshot alone. `on_part(actors)` is told how many have been read.

    Raises `InputUnreadable` where a row is no actor.
    """
    found = replace(scope, everyone=True)
    if not redact:
        for actors in _read(store, found, on_part):
            yield b"".join(_encode(_whole(actor)) + b"\n" for actor in actors)
        return
    redaction = Redaction(secrets.token_bytes(KEY_BYTES), keep)
    with tempfile.TemporaryDirectory(prefix="statekeep-") as folder:
        files: list[IO[bytes]] = [open(f"{folder}/{i}", "w+b") for i in range(FILES)]  # noqa: SIM115
        try:
            for actors in _read(store, found, on_part):
                for actor in actors:
                    line = redaction.record(actor) + b"\n"
                    files[_share(line)].write(line)
            for file in files:
                file.seek(0)
                yield b"".join(sorted(file))
        finally:
            for file in files:
                file.close()


def _read(
    store: Store, scope: Scope, on_part: Callable[[int], None] | None
) -> Iterator[Sequence[Actor[Any, Any]]]:
    done = 0
    with store.transaction(read_only=True, snapshot=True):
        for actors in everyone(store, scope):
            yield actors
            done += len(actors)
            if on_part is not None:
                on_part(done)


def _whole(actor: Actor[Any, Any]) -> dict[str, Any]:
    return written(actor, actor.id, bytes(actor.context) or None if actor.context else None)


def _share(line: bytes) -> int:
    """Which file a record goes to: `{"id":"` comes first, then the id's digits."""
    return int(line[7:9], 16) * FILES >> 8
