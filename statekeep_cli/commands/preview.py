"""`statekeep preview`: decide every actor against a new definition; read-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.accepting import Baseline, WriteBaseline
from statekeep_cli.commands.git_base import GitBase, with_base
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
    split,
)
from statekeep_cli.errors import ChangesPending, Findings, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.core.report import Report


def preview(
    definitions: Definitions,
    actors: Annotated[
        str | None,
        typer.Option("--actors", metavar="FILE", help="Actor export (JSON Lines, JSON or CSV); - is stdin."),
    ] = None,
    db: Database = None,
    config: Config = None,
    history: History = None,
    migration: Migration = None,
    formats: ReportFormats = None,
    max_strand: MaxStrand = "0",
    allow_hazards: AllowHazards = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 4 when clean and someone would migrate.")
    ] = False,
    keep_going: KeepGoing = False,
    show_ids: ShowIds = False,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="Processes to use, or connections.")
    ] = 1,
    where: Where = "",
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="With --db: only the first N actors."),
    ] = None,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="With --db: one snapshot of the data, however long it takes.")
    ] = False,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="PLAN", help="With --db: a plan for apply.")
    ] = None,
    git_base: GitBase = None,
    baseline: Baseline = None,
    write_baseline: WriteBaseline = None,
    quiet: Quiet = False,
) -> None:
    """Decide every actor of an export or a database by its history; changes nothing.

    Exits 0 within the gate, 3 past it (strands beyond --max-strand, unaccepted hazards, unreadable
    records), 1 when input cannot be read, 9 when the database cannot be reached.

    Example: statekeep preview v1.yaml v2.yaml --actors actors.jsonl
    """
    definitions = with_base(definitions, git_base, migration)
    if actors is None:
        from statekeep_cli.commands.preview_database import preview_database

        preview_database(
            definitions, db, config, history, migration, formats, max_strand, allow_hazards,
            detailed_exitcode, keep_going, show_ids, jobs, where, sample, consistent, out, quiet,
            baseline, write_baseline,
        )  # fmt: skip
        return
    for option, given in (("--db", db), ("--where", where), ("--sample", sample), ("--out", out)):
        if given:
            raise UsageMistake(f"--actors and {option} exclude each other; give one of them")
    from statekeep_cli.commands.accepting import Accepting
    from statekeep_cli.commands.locating import located
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.commands.picturing import from_export, pictures
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.deciding import Task, decide_all
    from statekeep_cli.readers.actors import size_of
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.readers.history import spooled
    from statekeep_cli.render.terminal import Progress

    try:
        gate = Gate.parse(max_strand, allow_hazards)
    except ValueError as error:
        raise UsageMistake(f"--max-strand: {error}") from None
    outputs = Outputs.parse(formats, show_ids)
    accepting = Accepting.read(baseline, write_baseline)
    known = read_definitions(*split(definitions), migration)
    with spooled(history) as histories, outputs:
        task = Task(
            sources=tuple(s.definition for s in known.sources),
            target=known.target.definition,
            actors=actors,
            history=histories,
            keep_going=keep_going,
            lines=outputs.has_lines,
        )
        with Progress("deciding", size_of(actors), "bytes", quiet=quiet) as progress:
            decided = decide_all(
                task,
                jobs,
                on_part=lambda taken, done: progress.update(taken, f"{done:,} actors"),
                write=outputs.write_lines,
            )
        report = decided.tally.report(
            references(known), decided.unreadable, decided.first_unreadable, decided.notes
        )
        report, beyond = accepting.of(report)
        refusals = gate.refusals(beyond)
        outputs.write_report(
            report,
            next_command(report, definitions, actors, history, migration),
            lambda: pictures(
                task.sources,
                task.target,
                report,
                refusals,
                from_export(actors, histories, task.sources, task.target) if show_ids else None,
            ),
            locate=lambda: located(report, task.sources, task.target, (*known.sources, known.target)),
            levels=gate.levels(beyond),
        )
    if refusals:
        raise Findings("; ".join(refusals))
    if detailed_exitcode and report.would_migrate:
        raise ChangesPending


def next_command(
    report: Report, definitions: Sequence[str], actors: str, history: str | None, migration: str | None
) -> str:
    """What to run next: `suggest` where actors strand, else `explain` for one that migrates."""
    where = (definitions, actors, history, migration)
    if report.would_strand:
        return command_line("suggest", *where)
    moving = next((g for g in report.groups if g.outcome == "migrate"), None)
    return command_line("explain", *where, "--id", moving.sample[0]) if moving else ""
