"""`statekeep explain`: one actor's whole reasoning, as a timeline; read-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.git_base import GitBase, with_base
from statekeep_cli.commands.options import (
    Config,
    Database,
    Definitions,
    Formats,
    History,
    Migration,
    command_line,
    references,
    split,
)
from statekeep_cli.errors import StateKeepError, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.explain import Explanation
    from statekeep_cli.render.explain import Frame


def explain(
    definitions: Definitions,
    actor_id: Annotated[str, typer.Option("--id", metavar="ID", help="The actor to explain.")],
    actors: Annotated[
        str | None,
        typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
    ] = None,
    db: Database = None,
    config: Config = None,
    history: History = None,
    migration: Migration = None,
    formats: Formats = None,
    show_ids: Annotated[
        bool,
        typer.Option("--show-ids", help="Name the actor and show its history in markdown too."),
    ] = False,
    git_base: GitBase = None,
) -> None:
    """Explain one actor's decision: its history step by step in both definitions, and what follows.

    Of an export, or of a database (--db); there, sources that are stored need not be given. Exits 0 whatever
    the decision is, 1 when the id does not occur or input cannot be read.

    Example: statekeep explain v1.yaml v2.yaml --actors actors.jsonl --id pr-17
    """
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.apv import Deployment
    from statekeep_cli.core.explain import explain as explained
    from statekeep_cli.readers.actors import find_actor
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.readers.history import History, spooled
    from statekeep_cli.render import explain as render

    pages = Pages.parse(formats)
    definitions = with_base(definitions, git_base, migration)
    if actors is None:
        _from_database(definitions, db, config, history, migration, actor_id, pages, show_ids)
        return
    if db is not None:
        raise UsageMistake("--actors and --db exclude each other; give one of them")
    known = read_definitions(*split(definitions), migration)
    deployment = Deployment([s.definition for s in known.sources], known.target.definition)
    with spooled(history) as spool:
        found = find_actor(actors, actor_id, None if spool is None else History(spool))
    if found is None:
        raise StateKeepError(_unknown(actors, actor_id))
    explanation = explained(deployment, *found)
    frame = render.Frame(
        definitions=references(known),
        as_json=(migration or known.target.path).endswith(".json"),
        next_command=(
            command_line("suggest", definitions, actors, history, migration)
            if explanation.decision.outcome == "strand"
            else ""
        ),
    )
    _write(pages, explanation, frame, show_ids)


def _from_database(
    definitions: Sequence[str],
    db: str | None,
    config: str | None,
    history: str | None,
    migration: str | None,
    actor_id: str,
    pages: Pages,
    show_ids: bool,
) -> None:
    from contextlib import closing

    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render.explain import Frame
    from statekeep_cli.rescuing import explain_one
    from statekeep_cli.stores.connect import connect, database_url

    if history is not None:
        raise UsageMistake("--history goes with --actors; map the history's table in statekeep.yaml")
    if database_url(db) is None:
        raise UsageMistake("there is no actor to explain; give --actors FILE, or --db URL")
    mapping = read_config(config).mapping
    with closing(connect(db, read_only=True)) as store:
        about, explanation = explain_one(store, mapping, definitions, migration, actor_id)
    as_json = (migration or about.files[-1].path).endswith(".json")
    _write(pages, explanation, Frame(about.references, as_json), show_ids)


def _write(pages: Pages, explanation: Explanation, frame: Frame, show_ids: bool) -> None:
    from statekeep_cli.render import explain as render

    pages.write(
        {
            "text": lambda width, color: render.text(explanation, frame, width, color),
            "json": lambda width, color: render.json(explanation, frame),
            "markdown": lambda width, color: render.markdown(explanation, frame, show_ids),
        }
    )


def _unknown(actors: str, actor_id: str) -> str:
    """That an id does not occur, with one of the first ids that is much like it."""
    from difflib import get_close_matches

    from statekeep_cli.readers.actors import read_actors
    from statekeep_cli.readers.stream import name_of

    said = f"no actor '{actor_id}' in {name_of(actors)}"
    first = None if actors == "-" else next(iter(read_actors(actors, keep_going=True)), None)
    ids = [str(i) for i in first.ids[:5_000]] if first is not None else []
    close = get_close_matches(actor_id, ids, 1)
    if close:
        return f"{said}; did you mean '{close[0]}'?"
    return f"{said}; ids there look like '{ids[0]}'" if ids else f"{said}; check --id"
