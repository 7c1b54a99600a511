"""`statekeep status`: runs with their progress."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from statekeep_cli.commands.options import Database, same_database
from statekeep_cli.commands.options import TextFormats as Formats


def status(
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="One run, with what it decided.")] = None,
    database: Database = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many runs to list.")] = 20,
    formats: Formats = None,
) -> None:
    """Show the latest runs, or one of them: how far it is, how fast, who runs it and from where.

    Example: statekeep status --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.output import Pages
    from statekeep_cli.render import runs as render
    from statekeep_cli.stores import overseeing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    pages = Pages.parse(formats, ("text", "json"))
    again = "".join(f" {shlex.quote(word)}" for word in same_database(database, None))
    with closing(connect(database, read_only=True)) as store:
        require(store)
        if run is not None:
            one = overseeing.standing(store, run)
            pages.write(
                {
                    "text": lambda width, color: render.run_text(one, width, color, again),
                    "json": lambda width, color: render.run_json(one),
                }
            )
            return
        found = overseeing.standings(store, limit)
        pages.write(
            {
                "text": lambda width, color: render.runs_text(found, store.address, width, color, again),
                "json": lambda width, color: render.runs_json(found),
            }
        )
