"""`statekeep apply`: act on what `preview` shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.options import (
    AllowHazards,
    Config,
    Database,
    Definitions,
    History,
    KeepGoing,
    MaxStrand,
    Migration,
    Quiet,
    ReportFormats,
    ShowIds,
    Where,
    command_line,
    references,
    same_database,
    split,
)
from statekeep_cli.errors import Findings, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.core.gate import Gate


def apply(
    definitions: Definitions,
    actors: Annotated[
        str | None,
        typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="OUT", help="Where the migrated export goes; .gz is compressed."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT if it is there.")] = False,
    history: History = None,
    migration: Migration = None,
    formats: ReportFormats = None,
    max_strand: MaxStrand = "0",
    allow_hazards: AllowHazards = False,
    keep_going: KeepGoing = False,
    show_ids: ShowIds = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Processes to use (1), or connections (2)."),
    ] = None,
    db: Database = None,
    config: Config = None,
    where: Where = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --db: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --db: count, and write nothing.")] = False,
    canary: Annotated[
        str | None,
        typer.Option(
            "--canary", metavar="N|N%", help="With --db: so many first, one of every class; then stop."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", metavar="N", min=1, max=32_768, help="Actors per transaction (adapts by itself)."
        ),
    ] = None,
    max_rate: Annotated[
        float | None, typer.Option("--max-rate", metavar="N", min=0.001, help="Actors per second at most.")
    ] = None,
    max_lag: Annotated[
        float | None,
        typer.Option("--max-lag", metavar="SECONDS", min=0, help="Wait while a replica is further behind."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Move every actor with a safe route to the new definition, and tag the others needs_rescue.

    With --db, works on a live database, batch by batch; TARGET may be a plan that preview -o wrote, and a
    run that was stopped goes on when it is run again. With --actors and -o, writes a migrated and tagged
    export: all of it or nothing. Exits 3 past the gate (strands beyond --max-strand, unaccepted hazards),
    and then has written nothing; 5 for a stale plan, 6 while another run is at work, 7 stopped part-way.

    Example: statekeep apply v2.yaml --db "$DATABASE_URL" --yes --max-strand 1%

    Example: statekeep apply v1.yaml v2.yaml --actors actors.jsonl -o migrated.jsonl
    """
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.core.gate import Gate

    try:
        gate = Gate.parse(max_strand, allow_hazards)
    except ValueError as error:
        raise UsageMistake(f"--max-strand: {error}") from None
    outputs = Outputs.parse(formats, show_ids)
    if actors is None:
        from statekeep_cli.commands.apply_database import Wishes, apply_database
        from statekeep_cli.stores.connect import database_url

        if database_url(db) is None:
            raise UsageMistake("there are no actors to move; give --db URL, or --actors FILE -o OUT")
        for option, value in (("--history", history), ("-o", out), ("--force", force)):
            if value:
                raise UsageMistake(f"{option} goes with --actors; leave it out with a database")
        wishes = Wishes(
            yes,
            dry_run,
            canary,
            jobs or 2,
            batch_size,
            max_rate,
            max_lag,
            keep_going,
            quiet,
            again=tuple(same_database(db, config)),
        )
        apply_database(definitions, db, config, migration, where, gate, outputs, wishes)
        return
    for option, value in (("--db", db), ("--where", where), ("--canary", canary), ("--dry-run", dry_run)):
        if value:
            raise UsageMistake(f"{option} goes with a database, not with --actors; leave one of them out")
    apply_export(
        definitions,
        actors,
        out,
        gate,
        outputs,
        force=force,
        history=history,
        migration=migration,
        keep_going=keep_going,
        jobs=jobs or 1,
        quiet=quiet,
    )


def apply_export(
    definitions: Sequence[str],
    actors: str,
    out: str | None,
    gate: Gate,
    outputs: Outputs,
    *,
    force: bool,
    history: str | None,
    migration: str | None,
    keep_going: bool,
    jobs: int,
    quiet: bool,
) -> None:
    """An export in, a migrated export out."""
    from dataclasses import replace

    from statekeep_cli.commands.locating import located
    from statekeep_cli.commands.preview import next_command
    from statekeep_cli.deciding import Task, decide_all
    from statekeep_cli.readers.actors import size_of
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.readers.history import spooled
    from statekeep_cli.readers.putting_back import rereadable
    from statekeep_cli.render.atomic import replacing
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.rewriting import rewrite

    inputs = [*definitions, *(x for x in (actors, history, migration) if x is not None and x != "-")]
    destination = _destination(out, inputs, [path for _, path in outputs.wanted], force)
    known = read_definitions(*split(definitions), migration)
    with (
        replacing(destination) as file,
        rereadable(actors) as path,
        spooled(history) as histories,
        outputs,
    ):
        task = Task(
            sources=tuple(s.definition for s in known.sources),
            target=known.target.definition,
            actors=path,
            history=histories,
            keep_going=keep_going,
            lines=outputs.has_lines,
        )
        with Progress("deciding", size_of(path), "bytes", quiet=quiet) as progress:
            decided = decide_all(
                task,
                jobs,
                on_part=lambda taken, done: progress.update(taken, f"{done:,} actors"),
                write=outputs.write_lines,
            )
        report = decided.tally.report(
            references(known), decided.unreadable, decided.first_unreadable, decided.notes
        )
        # Unreadable records do not close the gate: without --keep-going the run has ended by now.
        refusals = gate.refusals(replace(report, unreadable=0))
        if refusals:
            following = next_command(report, definitions, actors, history, migration)
        elif report.would_strand:  # the histories of a second file are in OUT now
            following = command_line("suggest", definitions, destination, None, migration)
        else:
            following = ""
        outputs.write_report(
            report,
            following,
            locate=lambda: located(report, task.sources, task.target, (*known.sources, known.target)),
            levels=gate.levels(report),
        )
        if refusals:
            raise Findings(f"{'; '.join(refusals)}; {destination} was not written")
        with Progress("writing", size_of(path), "bytes", quiet=quiet) as progress:
            done = rewrite(task, decided, file, on_part=progress.update)
    if not quiet:
        sys.stdout.flush()
        print(f"{destination}: {done.sentence}", file=sys.stderr)
    if done.unreadable:
        if done.unreadable == 1:
            raise Findings(f"1 record could not be read, and is in {destination} as it was")
        raise Findings(
            f"{done.unreadable:,} records could not be read, and are in {destination} as they were"
        )


def _destination(out: str | None, inputs: Sequence[str], reports: Sequence[str], force: bool) -> str:
    """Where the export goes, if that is a place to write to. Raises `UsageMistake`."""
    if out is None:
        raise UsageMistake("--actors needs a place for the migrated export; give -o OUT")
    if out in ("", "-"):
        raise UsageMistake("-o: an export is written whole or not at all, which needs a file; give -o OUT")
    for path in inputs:
        if _same(path, out):
            raise UsageMistake(
                f"-o {out} is an input of this run; give another file, and rename it afterwards"
            )
    if any(_same(path, out) for path in reports if path):
        raise UsageMistake(f"-o {out} is where a report would go as well; give another file for one of them")
    if os.path.exists(out) and not os.path.isfile(out):
        raise UsageMistake(f"-o {out} is no regular file; give a file to write to")
    if os.path.exists(out) and not force:
        raise UsageMistake(f"-o {out} is there already; give --force to overwrite it, or another file")
    return out


def _same(one: str, other: str) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
