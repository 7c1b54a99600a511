"""Files -> own tables: definitions and an actor export, stored in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from msgspec import Raw
from msgspec.json import Decoder, Encoder

from statekeep_cli.errors import InputUnreadable, Problem
from statekeep_cli.readers.actors import Complaints, blocks, no_actors
from statekeep_cli.readers.definitions import Loaded
from statekeep_cli.readers.history import History, Spool
from statekeep_cli.readers.records import Batch, Block, Records
from statekeep_cli.stores.definitions import store_definition
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.recording import Recorder, Unfit, event_rows
from statekeep_cli.stores.transfer import Incoming, store_actors

# Actors sent to the database at once.
SENT = 5_000

_members: Decoder[dict[str, Raw]] = Decoder(dict[str, Raw])
_rows: Decoder[list[dict[str, Raw]]] = Decoder(list[dict[str, Raw]])
_encode = Encoder().encode


@dataclass(slots=True)
class Imported:
    """What was stored: each definition's label with what became of it, and counts."""

    definitions: list[tuple[str, str]] = field(default_factory=list)
    actors: int = 0
    events: int = 0
    warnings: list[str] = field(default_factory=list)


def import_all(
    store: Store,
    definitions: Sequence[Loaded],
    actors: str | None = None,
    history: str | None = None,
    on_part: Callable[[int, int], None] = lambda taken, actors: None,
) -> Imported:
    """Stores definitions and the actors of a file, all or nothing.

    `on_part` is told the stored bytes read so far, and the actors.
    Raises `InputUnreadable` with every record that cannot be stored (ten at most), `StateKeepError` for
    repeated ids and for another machine under a stored version.
    """
    done = Imported()
    with ExitStack() as stack:
        # Read before the transaction: sorting a large history file takes its time.
        spool = stack.enter_context(Spool(history)) if history is not None else None
        stack.enter_context(store.transaction())
        for each in definitions:
            done.definitions.append((each.definition.label, store_definition(store, each.config)))
        if actors is not None:
            _import_actors(store, actors, spool, done, on_part)
    return done


def _import_actors(
    store: Store, path: str, spool: Spool | None, done: Imported, on_part: Callable[[int, int], None]
) -> None:
    stored = {(id, version) for id, version in store.rows("SELECT id, version FROM {definitions}")}
    ids = {id for id, _ in stored}
    recorder = Recorder(
        next(iter(ids)) if len(ids) == 1 else None, next(iter(stored))[1] if len(stored) == 1 else None
    )
    histories = History(spool) if spool is not None else None
    unknown = 0
    waiting: list[Incoming] = []
    for incoming in _incoming(path, recorder, histories, lambda taken: on_part(taken, done.actors)):
        done.actors += 1
        done.events += len(incoming[1])
        unknown += (incoming[0].definition, incoming[0].version) not in stored
        waiting.append(incoming)
        if len(waiting) >= SENT:
            store_actors(store, waiting)
            waiting = []
    store_actors(store, waiting)
    if unknown:
        done.warnings.append(
            f"{unknown:,} actors are of definitions that are not stored; they will strand (version_unknown)"
            " until those are imported"
        )
    if spool is not None and histories is not None:
        left = spool.unclaimed([histories.claims])
        if left.actors:
            done.warnings.append(
                f"{left.events:,} events are of {left.actors:,} actors that the export does not have"
                f" ({', '.join(left.sample)}); they were left out"
            )
        histories.close()


def _incoming(
    path: str, recorder: Recorder, histories: History | None, on_block: Callable[[int], None]
) -> Iterator[Incoming]:
    """Every actor of a file as rows; nothing follows a record that cannot be read."""
    records = Records()
    complaints = Complaints(path)
    count = 0
    for block in blocks(path):
        batch = records.batch(block)
        if histories is not None:
            batch = histories.join(batch)
        count += len(batch.actors)
        complaints.add(batch.unreadable)
        if not complaints.count:
            yield from _rows_of(path, block, batch, recorder, histories)
        on_block(batch.taken)
    complaints.settle()
    if not count:
        raise no_actors(path)


def _rows_of(
    path: str, block: Block, batch: Batch, recorder: Recorder, histories: History | None
) -> Iterator[Incoming]:
    traces = histories.raw([str(id) for id in batch.ids]) if histories is not None else {}
    for actor, record, line in zip(batch.actors, _members.decode_lines(block.data), batch.lines, strict=True):
        has_history = actor.history is not None
        try:
            row = recorder.row(actor, record)
        except Unfit as unfit:
            raise InputUnreadable.of(Problem(path, line, 1, str(unfit))) from None
        if not has_history:
            yield row, ()
        elif histories is None:
            yield row, event_rows(bytes(record["history"]))
        else:
            # Rows of a history file say whose they are; trace items do not.
            rows = _rows.decode(traces[row.id])
            yield row, event_rows(_encode([{k: v for k, v in r.items() if k != "actor"} for r in rows]))
