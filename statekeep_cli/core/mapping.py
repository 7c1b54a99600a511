"""Where actors and their histories are kept in a database, as values: `statekeep.yaml`, or own tables.

StateKeep's own tables are one mapping like any other (`OWN`). What reads and writes rows (`stores`)
knows mappings only; what reads configuration files (`readers.config`) makes them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from statekeep_cli.core.model import digest

Name = tuple[str, ...]  # a table: (schema, table) or (table,)


@dataclass(frozen=True, slots=True)
class HistoryMapping:
    """Where the events are: one row each, in a table or from a query.

    `event` is the column with the event type, `state` the one with the state after it; one of them may
    be missing (""). `order` are the columns that order one actor's events. `item`, in own tables only,
    holds the whole trace item as JSON where the other columns do not say it all. `no_rows` says what
    an actor without rows has: `none` (no history) or `empty` (nothing happened yet).
    """

    actor: str
    order: tuple[str, ...]
    table: Name = ()
    query: str = ""
    where: str = ""
    event: str = ""
    state: str = ""
    item: str = ""
    no_rows: Literal["none", "empty"] = "none"


@dataclass(frozen=True, slots=True)
class Mapping:
    """One table of actors.

    `version` is the column with an actor's version, or "" where StateKeep keeps it in its own table
    `marks`; actors that have no row there are of `first_version`. `context` is one JSON column, or
    `context_columns` are (context key, column) pairs. `revision` is a column that changes with every
    write, or "" for Postgres' `xmin`. `reason` is the column tagged with the reason of a rescue, or ""
    for `marks`. `where` is an SQL condition of the table's owner. The remaining columns are in own
    tables only.
    """

    table: Name
    id: str
    state: str
    version: str = ""
    first_version: str = ""
    definition: str = ""
    context: str = ""
    context_columns: tuple[tuple[str, str], ...] = ()
    revision: str = ""
    where: str = ""
    reason: str = ""
    history: HistoryMapping | None = None
    status: str = ""
    snapshot: str = ""
    origin: str = ""
    has_history: str = ""

    @property
    def name(self) -> str:
        """The table as people write it; a run is locked by it."""
        return ".".join(self.table)

    @property
    def own(self) -> bool:
        return self == OWN

    @property
    def uses_marks(self) -> bool:
        """Is anything about its actors kept in `marks`?"""
        return not self.version or not self.reason

    @property
    def digest(self) -> str:
        """Equal for equal mappings; a plan is stale when it differs."""
        return digest(asdict(self))


# In SQLite the same tables carry their schema as a prefix: `statekeep_actors`.
OWN = Mapping(
    table=("statekeep", "actors"),
    id="id",
    state="state",
    version="version",
    definition="definition",
    context="context",
    revision="revision",
    reason="reason",
    history=HistoryMapping(
        table=("statekeep", "events"),
        actor="actor",
        order=("seq",),
        event="type",
        state="state",
        item="item",
        no_rows="empty",
    ),
    status="status",
    snapshot="snapshot",
    origin="origin",
    has_history="has_history",
)
