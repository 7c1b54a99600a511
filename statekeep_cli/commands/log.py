"""`statekeep log`: every decision ever made about one actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.options import Config, Database
from statekeep_cli.commands.options import TextFormats as Formats
from statekeep_cli.errors import StateKeepError

if TYPE_CHECKING:
    from statekeep_cli.stores.actors import Actors


def log(
    actor: Annotated[str, typer.Argument(metavar="ACTOR", help="The actor's id.")],
    database: Database = None,
    config: Config = None,
    formats: Formats = None,
) -> None:
    """Show every decision that was ever made about one actor, the oldest first.

    When, by whom and in which run; from which state to which, and why; and whether it was reverted.

    Example: statekeep log pr-17 --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render import runs as render
    from statekeep_cli.stores import overseeing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require
    from statekeep_cli.stores.scope import scope

    pages = Pages.parse(formats, ("text", "json"))
    mapping = read_config(config).mapping or OWN
    with closing(connect(database, read_only=True)) as store:
        require(store)
        about = scope(store, mapping)
        named = about.actors(store).named(actor)
        id = actor if named is None else named  # one that is gone from its table still has decisions
        found = [] if about.population is None else overseeing.entries(store, about.population, id)
        if not found and named is None:
            raise _unknown(about.actors(store), actor)
        pages.write(
            {
                "text": lambda width, color: render.log_text(id, found, mapping.name, width, color),
                "json": lambda width, color: render.log_json(id, found, mapping.name),
            }
        )


def _unknown(actors: Actors, actor: str) -> StateKeepError:
    """That the table has no such actor, with an id that is much like it."""
    from statekeep_cli.core.check_finding import did_you_mean

    hint = did_you_mean(actor, actors.ids_near(actor), "check the id")
    return StateKeepError(f"{actors.mapping.name} in {actors.store.address} has no actor '{actor}'; {hint}")
