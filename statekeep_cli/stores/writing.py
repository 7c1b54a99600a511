"""Writing a batch of actors with their decisions."""

from __future__ import annotations

from collections.abc import Sequence

from statekeep_cli.stores.actors import Actors
from statekeep_cli.stores.changes import Changes, Kind


def write(actors: Actors, run: int, kinds: Sequence[Kind], changes: Changes) -> None:
    """Rows and decisions, within the caller's transaction. Raises `Moved`, for it to be rolled back, where an
    actor is no longer as it was read."""
    if not changes:
        return
    if actors.store.kind == "postgres":
        from statekeep_cli.stores import writing_postgres  # imports psycopg

        writing_postgres.write(actors, run, kinds, changes)
    else:
        from statekeep_cli.stores import writing_sqlite

        writing_sqlite.write(actors, run, kinds, changes)
