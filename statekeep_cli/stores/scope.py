"""Which actors of which database a command is about."""

from __future__ import annotations

from dataclasses import dataclass

from statekeep_cli.core.mapping import Mapping
from statekeep_cli.errors import StateKeepError
from statekeep_cli.stores import installing, runs
from statekeep_cli.stores.actors import Actors
from statekeep_cli.stores.catalogue import Columns, columns
from statekeep_cli.stores.interface import Store


@dataclass(frozen=True, slots=True)
class Scope:
    """A table of actors and the part of it that is meant.

    `population` is its number in StateKeep's own tables, None where it has none yet. `definitions` are
    the ids of own actors that are looked at, `target` the (definition, version) they move to, `where`
    an SQL condition of the user's; `rescued`: only actors that need rescue; `everyone`: histories
    also of actors that nothing is decided about (those that are done).
    """

    mapping: Mapping
    columns: Columns
    population: int | None
    definitions: tuple[str, ...] = ()
    target: tuple[str, str] | None = None
    where: str = ""
    rescued: bool = False
    everyone: bool = False

    def actors(self, store: Store) -> Actors:
        return Actors(
            store,
            self.mapping,
            self.columns,
            self.population,
            self.definitions,
            self.target,
            self.where,
            self.rescued,
            self.everyone,
        )


def scope(
    store: Store,
    mapping: Mapping,
    definitions: tuple[str, ...] = (),
    target: tuple[str, str] | None = None,
    where: str = "",
    *,
    rescued: bool = False,
    writing: bool = False,
) -> Scope:
    """The scope of a command. `writing` needs StateKeep's own tables, and numbers the table of actors.

    Raises `StateKeepError` where a table or a column is missing.
    """
    if writing or mapping.own:
        installing.require(store)
    there = installing.installed(store) > 0
    number = runs.population(store, mapping.name, create=writing) if there else None
    found = columns(store, mapping)
    if writing and found.revision_kind == "other":
        raise StateKeepError(
            f"{mapping.name}: '{mapping.revision}' is {found.revision}, and StateKeep cannot give it a new"
            " value with a write; name an integer, timestamp or uuid column under actors.revision"
        )
    return Scope(mapping, found, number, definitions, target, where, rescued)
