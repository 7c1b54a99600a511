"""`statekeep preview --db`: decide every actor of a database; read-only."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from statekeep_cli.commands.options import command_line, same_database
from statekeep_cli.errors import ChangesPending, Findings, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.core.report import Report


def preview_database(
    definitions: Sequence[str],
    db: str | None,
    config: str | None,
    history: str | None,
    migration: str | None,
    formats: Sequence[str] | None,
    max_strand: str,
    allow_hazards: bool,
    detailed_exitcode: bool,
    keep_going: bool,
    show_ids: bool,
    jobs: int,
    where: str,
    sample: int | None,
    consistent: bool,
    out: str | None,
    quiet: bool,
    baseline: str | None = None,
    write_baseline: str | None = None,
) -> None:
    """See `preview`."""
    from statekeep_cli.commands.accepting import Accepting
    from statekeep_cli.commands.locating import located
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.commands.picturing import from_database, pictures
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.core.plan import Plan
    from statekeep_cli.deciding import Task
    from statekeep_cli.deployments import subject
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render.atomic import replacing
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores.connect import connect, database_url
    from statekeep_cli.surveying import survey

    if history is not None:
        raise UsageMistake("--history goes with --actors; map the history's table in statekeep.yaml")
    if out is not None and sample is not None:
        raise UsageMistake("-o and --sample exclude each other: a plan is about all actors")
    if database_url(db) is None:
        raise UsageMistake("there are no actors to decide; give --actors FILE, or --db URL")
    try:
        gate = Gate.parse(max_strand, allow_hazards)
    except ValueError as error:
        raise UsageMistake(f"--max-strand: {error}") from None
    outputs = Outputs.parse(formats, show_ids)
    accepting = Accepting.read(baseline, write_baseline)
    mapping = read_config(config).mapping
    with closing(connect(db, read_only=True)) as store, outputs:
        about = subject(store, mapping, definitions, migration=migration, where=where)
        task = Task(about.sources, about.target, "", None, keep_going, outputs.has_lines)
        total = about.scope.actors(store).count() if sample is None else sample
        with Progress("deciding", total, "actors", quiet=quiet) as progress:
            decided = survey(
                store,
                about.scope,
                task,
                jobs=jobs,
                consistent=consistent,
                sample=sample,
                on_part=lambda done, _: progress.update(done, ""),
                write=outputs.write_lines,
            )
        report = decided.tally.report(about.references, decided.unreadable, decided.first_unreadable)
        report, beyond = accepting.of(report)
        refusals = gate.refusals(beyond)
        if out is not None:
            plan = Plan.of(report, about.digests, tuple(definitions), migration, where)
            with replacing(out) as file:
                file.write((json.dumps(plan.as_json(), indent=2, ensure_ascii=False) + "\n").encode())
            if report.would_strand:
                print(f"{out}: to apply it is to accept {report.would_strand:,} strands", file=sys.stderr)
        outputs.write_report(
            report,
            _next(report, definitions, db, config, migration, out),
            lambda: pictures(
                about.sources,
                about.target,
                report,
                refusals,
                from_database(store, about) if show_ids else None,
            ),
            locate=lambda: located(report, about.sources, about.target, about.files),
            levels=gate.levels(beyond),
        )
    if refusals:
        raise Findings("; ".join(refusals))
    if detailed_exitcode and report.would_migrate:
        raise ChangesPending


def _next(
    report: Report,
    definitions: Sequence[str],
    db: str | None,
    config: str | None,
    migration: str | None,
    out: str | None,
) -> str:
    """What to run next."""
    again = same_database(db, config)
    if out is not None:
        return command_line("apply", [out], None, None, None, *again)
    stranded = next((g for g in report.groups if g.outcome == "strand"), None)
    if stranded is not None:
        return command_line("explain", definitions, None, None, migration, *again, "--id", stranded.sample[0])
    if report.would_migrate:
        return command_line("apply", definitions, None, None, migration, *again)
    return ""
