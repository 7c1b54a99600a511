"""`statekeep db`: StateKeep's own tables."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.options import Config, Database, Quiet

if TYPE_CHECKING:
    from statekeep_cli.stores.interface import Store

db = typer.Typer(
    name="db",
    help="Create, fill, write out and thin StateKeep's own tables.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _own_only(command: str) -> None:
    """Refuses where the configuration says that the actors are in the team's own tables."""
    from statekeep_cli.errors import StateKeepError
    from statekeep_cli.readers.config import read_config

    config = read_config()
    if config.mapping is not None:
        raise StateKeepError(
            f"{config.path} says that the actors are in {config.mapping.name}, and {command} is about"
            " StateKeep's own tables only; run it where no such file is"
        )


def announce(store: Store, what: str) -> None:
    """Says where something is about to be written, before it is."""
    print(f"{store.address}: {what}", file=sys.stderr)


@db.command()
def init(
    database: Database = None,
    config: Config = None,
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Print the SQL that is missing, and run nothing.")
    ] = False,
    fence: Annotated[
        bool,
        typer.Option("--fence", help="Add a trigger that refuses stale writes; printed for your tables."),
    ] = False,
    block_events: Annotated[
        bool,
        typer.Option(
            "--block-events",
            help="Add a trigger that refuses events of rescued actors; printed for your tables.",
        ),
    ] = False,
) -> None:
    """Create StateKeep's own tables, or bring them up to date.

    Runs in one transaction and may be run again. On Postgres the tables live in a schema of their own.
    With --print-sql and no database named, the SQL is for Postgres.

    Example: statekeep db init --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.readers.config import read_config
    from statekeep_cli.stores import guards, installing
    from statekeep_cli.stores.connect import connect, is_new
    from statekeep_cli.stores.schema import VERSION

    mapping = read_config(config).mapping
    triggers = [
        make for make, wanted in ((guards.fence, fence), (guards.block_events, block_events)) if wanted
    ]
    if print_sql and not triggers and (kind := is_new(database)) is not None:
        sys.stdout.write(installing.script(kind))
        return
    with closing(connect(database, read_only=print_sql, create=not print_sql)) as store:
        if print_sql:
            sys.stdout.write(installing.script(store.kind, installing.installed(store)))
            for make in triggers:
                sys.stdout.write(make(store) if mapping is None else make(store, mapping))
            return
        announce(store, "creating StateKeep tables, or bringing them up to date")
        before = installing.install(store)
        if mapping is None and triggers:
            with store.transaction():
                for make in triggers:
                    store.script(make(store))
        done = (
            "up to date" if before == VERSION else f"upgraded from version {before}" if before else "created"
        )
        added = f"; triggers installed: {len(triggers)}" if triggers and mapping is None else ""
        print(f"{store.address}: StateKeep tables {done}{added}", file=sys.stderr)
        if mapping is not None and triggers:
            print(f"-- For {mapping.name}, which is yours: run this as its owner.")
            for make in triggers:
                sys.stdout.write(make(store, mapping))


@db.command("import")
def import_(
    definitions: Annotated[
        list[str] | None, typer.Argument(metavar="[DEFINITION]...", help="Definition files to store.")
    ] = None,
    database: Database = None,
    actors: Annotated[
        str | None,
        typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help="Histories in a second file, a row per event."),
    ] = None,
    migration: Annotated[
        str | None,
        typer.Option("--migration", metavar="FILE", help="Routing metadata of the last one in a side file."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Store definitions and an actor export, all of it or nothing.

    Example: statekeep db import v1.yaml --actors actors.jsonl --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.errors import UsageMistake
    from statekeep_cli.importing import import_all
    from statekeep_cli.readers.actors import size_of
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    if not definitions and actors is None:
        raise UsageMistake("nothing to import; give definitions, --actors FILE or both")
    if history is not None and actors is None:
        raise UsageMistake("--history is about the actors of an export; give --actors FILE")
    if [*(definitions or ()), actors, history, migration].count("-") > 1:
        raise UsageMistake("standard input (-) is given twice; give at most one file as -")
    if actors is not None:
        _own_only("db import --actors")
    known = read_definitions(definitions[:-1], definitions[-1], migration) if definitions else None
    loaded = (*known.sources, known.target) if known else ()
    with closing(connect(database)) as store:
        require(store)
        announce(store, "importing")
        with Progress("importing", size_of(actors) if actors else None, "bytes", quiet=quiet) as progress:
            done = import_all(
                store,
                loaded,
                actors,
                history,
                on_part=lambda taken, count: progress.update(taken, f"{count:,} actors"),
            )
    for name, outcome in done.definitions:
        print(f"{name}: {outcome}")
    if actors is not None:
        print(f"{done.actors:,} actors with {done.events:,} events imported")
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)


@db.command()
def export(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="JSON Lines, gzip by name; - is stdout.")
    ],
    database: Database = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write StateKeep's own actors as an export.

    What was imported, and what became of it since: by id, in one consistent view of the database. The
    file is there whole or not at all.

    Example: statekeep db export -o actors.jsonl.gz --db "$DATABASE_URL"
    """
    import os
    from contextlib import closing, nullcontext

    from statekeep_cli.errors import UsageMistake
    from statekeep_cli.render.atomic import replacing
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores import exporting
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    if output != "-" and os.path.exists(output) and not force:
        raise UsageMistake(f"-o {output} is there already; give --force to overwrite it, or another file")
    _own_only("db export")
    counts = exporting.Exported()
    with closing(connect(database, read_only=True)) as store:
        require(store)
        total = exporting.count(store)
        target = nullcontext(sys.stdout.buffer) if output == "-" else replacing(output)
        with target as file, Progress("exporting", total, quiet=quiet) as progress:
            for lines in exporting.export(store, counts):
                file.write(lines)
                progress.update(counts.actors)
    rescued = f", {counts.rescued:,} of them need rescue" if counts.rescued else ""
    print(f"{output}: {counts.actors:,} actors{rescued}", file=sys.stderr)
    if counts.left_out:
        print(
            f"warning: {counts.left_out:,} items of {counts.without_history:,} actors were left out: they"
            " came without a history, and part of one would be taken for the whole",
            file=sys.stderr,
        )


@db.command()
def prune(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Of runs that ended before: 90d, 12w, 36h, or a date."
        ),
    ],
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete old decisions that nothing needs any more.

    Kept are decisions that are part of an actor's history, the latest one about an actor that still needs
    rescue, everything of unfinished runs, and what the runs themselves were.

    Example: statekeep db prune --older-than 90d --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.confirm import confirm
    from statekeep_cli.stores import pruning
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require

    before = _before(older_than)
    with closing(connect(database)) as store:
        require(store)
        announce(store, f"decisions of runs that ended before {before:%Y-%m-%d %H:%M} UTC")
        old = pruning.old_decisions(store, before)
        total = sum(run.decisions for run in old)
        if not total:
            print("nothing to delete")
            return
        for run in old:
            kept = f", {run.kept:,} stay" if run.kept else ""
            print(f"run {run.run} ({run.kind} {run.label}): {run.decisions:,} decisions{kept}")
        confirm(f"Delete {total:,} decisions of {len(old):,} runs from {store.address}?", yes)
        print(f"{pruning.prune(store, before):,} decisions deleted")


def _before(age: str) -> datetime:
    """The time that `--older-than` means: so long ago, or at a date (UTC where it does not say)."""
    import re
    from datetime import UTC, timedelta

    from statekeep_cli.errors import UsageMistake

    found = re.fullmatch(r"([0-9]{1,6})([hdw])", age, re.ASCII)
    try:
        if found:
            hours = int(found[1]) * {"h": 1, "d": 24, "w": 168}[found[2]]
            return datetime.now(UTC) - timedelta(hours=hours)
        at = datetime.fromisoformat(age)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageMistake(
            f"--older-than '{age}' is no age; write 90d, 12w, 36h or a date as in 2026-05-31"
        ) from None
