"""`statekeep infer`: a first definition from observed histories, with counts; decides nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.options import Config, Database, History, Quiet, Where
from statekeep_cli.errors import StateKeepError, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.core.infer import Observations
    from statekeep_cli.core.model import StateValue


def infer(
    history: History = None,
    db: Database = None,
    config: Config = None,
    where: Where = "",
    actors: Annotated[
        str | None,
        typer.Option(
            "--actors", metavar="FILE", help="Actor export with histories, or beside --history; - is stdin."
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; standard output by default."),
    ] = "-",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    machine_id: Annotated[
        str,
        typer.Option(
            "--id", metavar="ID", help="The definition's id; else the actors' own, else the file's name."
        ),
    ] = "",
    initial: Annotated[
        str,
        typer.Option(
            "--initial", metavar="STATE", help="The state before the first event, if histories lack it."
        ),
    ] = "",
    min_count: Annotated[
        int, typer.Option("--min-count", min=1, metavar="N", help="Leave out what was seen less often.")
    ] = 1,
    min_share: Annotated[
        str,
        typer.Option(
            "--min-share", metavar="N%", help="Leave out what is rarer among the steps out of its state."
        ),
    ] = "0%",
    quiet: Quiet = False,
) -> None:
    """Write a first definition from what histories record, with counts per transition.

    For teams that never had a machine. Every recorded step is explained by what comes out, unless
    rare transitions are left out. Exits 1 when the histories contradict any machine.

    Example: statekeep infer --history events.csv -o v1.yaml
    """
    from statekeep_cli.core.infer import Observations
    from statekeep_cli.core.infer_machine import infer as inferred
    from statekeep_cli.core.infer_trees import NotInferable
    from statekeep_cli.readers.stream import name_of
    from statekeep_cli.render import infer as render
    from statekeep_cli.stores.connect import database_url

    files = [option for option, given in (("--history", history), ("--actors", actors)) if given is not None]
    if db is not None and files:
        raise UsageMistake(f"--db and {files[0]} exclude each other: infer from a database, or from files")
    url = database_url(db) if not files else None
    if not files and url is None:
        raise UsageMistake("there is nothing to infer from; give --history FILE, --actors FILE or --db URL")
    if history == actors == "-":
        raise UsageMistake("standard input (-) is given twice; give at most one file as -")
    share = _share(min_share)
    first = _state(initial)
    _free(output, force)
    source = history if actors is None else actors
    seen = Observations()
    try:
        if source is None:
            own, source = _observe_database(seen, url, config, where, quiet)
            name = source
        else:
            own = _observe(seen, history, actors, quiet)
            name = os.path.basename(source) if source != "-" else "<stdin>"
        named = machine_id or own or _id(source)
        found = inferred(seen, named, initial=first, min_count=min_count, min_share=share)
    except NotInferable as error:
        raise StateKeepError(f"{name_of(source or 'the database')}: {error}") from None
    given = [f"--min-count {min_count}"] * (min_count > 1) + [f"--min-share {min_share}"] * (share > 0)
    thresholds = " and ".join(given)
    page = render.yaml(found, name, thresholds)
    if output == "-":
        sys.stdout.write(page)
        sys.stdout.flush()
    else:
        _write(output, page, force)
    following = "" if output == "-" else shlex.join(["statekeep", "check", output])
    sys.stderr.write(render.summary(found, name, thresholds, following))


def _observe(seen: Observations, history: str | None, actors: str | None, quiet: bool) -> str | None:
    """Reads everything once; returns the definition that the actors name, if they name one."""
    from statekeep_cli.core.infer import steps_of
    from statekeep_cli.readers.actors import read_actors, size_of
    from statekeep_cli.readers.history import History as Traces
    from statekeep_cli.readers.history import spooled
    from statekeep_cli.render.terminal import Progress

    with spooled(history) as spool:
        traces = None if spool is None else Traces(spool)
        if actors is None:
            assert traces is not None
            for _, trace in traces.everyone():
                seen.add(steps_of(trace))
            return None
        one = _OneDefinition(actors)
        with Progress("reading", size_of(actors), "bytes", quiet=quiet) as progress:
            for batch in read_actors(actors, history=traces):
                for actor in batch.actors:
                    one(actor.definition)
                    seen.add_actor(actor)
                progress.update(batch.taken)
        return one.name


def _observe_database(
    seen: Observations, url: str | None, config: str | None, where: str, quiet: bool
) -> tuple[str | None, str]:
    """The same from a database's actors; also returns the name of their table."""
    from contextlib import closing
    from dataclasses import replace

    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.scope import scope
    from statekeep_cli.surveying import everyone

    mapping = read_config(config).mapping or OWN
    with closing(connect(url, read_only=True)) as store:
        found = replace(scope(store, mapping, where=where), everyone=True)
        one = _OneDefinition(f"{store.address}, {mapping.name},")
        with Progress("reading", found.actors(store).count(), "actors", quiet=quiet) as progress:
            done = 0
            for actors in everyone(store, found):
                for actor in actors:
                    one(actor.definition)
                    seen.add_actor(actor)
                done += len(actors)
                progress.update(done)
        return one.name, mapping.name


class _OneDefinition:
    """Refuses an export of several machines, whose steps would be mixed up."""

    def __init__(self, path: str):
        self.path = path
        self.name: str | None = None

    def __call__(self, name: str | None) -> None:
        if name is None or name == self.name:
            return
        if self.name is not None:
            raise StateKeepError(
                f"{self.path} has actors of several definitions ('{self.name}', '{name}'); "
                "take those of one (--where), and infer each by itself"
            )
        self.name = name


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text.strip())
    if match is None or float(match[1]) > 100:
        raise UsageMistake(f"--min-share: '{text}' is no share; write a percentage, as in 0.5%")
    return float(match[1]) / 100


def _state(text: str) -> StateValue:
    """A state as the command line names it: a name, or a state value as JSON."""
    if not text.startswith("{"):
        return text
    try:
        value: StateValue = json.loads(text)
    except ValueError as error:
        raise UsageMistake(
            f"--initial: '{text}' is no JSON ({error}); write a name, or a state value"
        ) from None
    return value


def _id(path: str) -> str:
    """A definition's id from a file's name, without what says its format."""
    name = "machine" if path == "-" else os.path.basename(path)
    name = re.sub(r"(\.(jsonl?|ndjson|csv|gz))+$", "", name, flags=re.IGNORECASE)
    return name.encode("utf-8", "replace").decode() or "machine"


def _free(output: str, force: bool) -> None:
    if output != "-" and not force and Path(output).exists():
        raise StateKeepError(f"{output} is there already; give another path to -o, or --force to replace it")


def _write(output: str, page: str, force: bool) -> None:
    try:
        with open(output, "wb" if force else "xb") as file:
            file.write(page.encode("utf-8", "backslashreplace"))
    except FileExistsError:
        _free(output, force)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StateKeepError(f"{output}: cannot be written ({reason}); give another path to -o") from None
