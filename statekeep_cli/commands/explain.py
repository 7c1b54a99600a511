"""`statekeep explain`: one actor's whole reasoning, as a timeline; read-only."""

from __future__ import annotations

from typing import Annotated

import typer

from statekeep_cli.commands.options import (
    Actors,
    Definitions,
    Formats,
    History,
    Migration,
    command_line,
    references,
    split,
)
from statekeep_cli.errors import StateKeepError


def explain(
    definitions: Definitions,
    actors: Actors,
    actor_id: Annotated[str, typer.Option("--id", metavar="ID", help="The actor to explain.")],
    history: History = None,
    migration: Migration = None,
    formats: Formats = None,
    show_ids: Annotated[
        bool,
        typer.Option("--show-ids", help="Name the actor and show its history in markdown too."),
    ] = False,
) -> None:
    """Explain one actor's decision: its history step by step in both definitions, and what follows.

    Exits 0 whatever the decision is, 1 when the id does not occur or input cannot be read.

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
