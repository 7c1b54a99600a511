"""`statekeep explain`: one actor's whole reasoning, as a timeline; read-only."""

from __future__ import annotations

from typing import Annotated

import typer

from statekeep_cli.errors import StateKeepError


def explain(
    definitions: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE... TARGET", help="Definition files; the last is the target."),
    ],
    actors: Annotated[
        str,
        typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
    ],
    actor_id: Annotated[str, typer.Option("--id", metavar="ID", help="The actor to explain.")],
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help="Histories in a second file, a row per event."),
    ] = None,
    migration: Annotated[
        str | None,
        typer.Option("--migration", metavar="FILE", help="Routing metadata of the target in a side file."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="FMT[=PATH]", help="text (default), json or markdown; repeatable."),
    ] = None,
    show_ids: Annotated[
        bool,
        typer.Option("--show-ids", help="Name the actor and show its history in markdown too."),
    ] = False,
) -> None:
    """Explain one actor's decision: its history step by step in both definitions, and what follows.

    Exits 0 whatever the decision is, 1 when the id does not occur or input cannot be read.

    Example: statekeep explain v1.yaml v2.yaml --actors actors.jsonl --id pr-17
    """
    from statekeep_cli.commands.pages import Pages
    from statekeep_cli.commands.preview import references, split
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
            _next_command(definitions, actors, history, migration)
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


def _next_command(definitions: list[str], actors: str, history: str | None, migration: str | None) -> str:
    """`suggest`, for all actors that strand."""
    import shlex

    if actors == "-":
        return ""
    command = ["statekeep", "suggest", *definitions, "--actors", actors]
    command += ["--history", history] if history else []
    command += ["--migration", migration] if migration else []
    return shlex.join(command)
