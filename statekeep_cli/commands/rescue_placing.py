"""`statekeep rescue resolve` and `rescue retry`: what takes actors out of their need of rescue."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from statekeep_cli.commands.options import Config, Database, DefinitionFiles, Quiet, same_database
from statekeep_cli.errors import UsageMistake


def resolve(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The actors; - reads ids from stdin, one per line.")
    ],
    to: Annotated[
        str,
        typer.Option("--to", metavar="STATE", help="A state of the target (a path, or a JSON state value)."),
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")
    ],
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="V",
            help="The version to go to (default: that of the run that stranded them).",
        ),
    ] = None,
    definitions: DefinitionFiles = None,
    database: Database = None,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Put actors that need rescue into a state by hand: all of them or none.

    Checked are legality, obligations, history values, children and the context, as for every migration.
    Who did it and why is recorded, and their histories get a `manual` item.

    Example: statekeep rescue resolve pr-17 --to security_review --reason "seen by Ana" --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.confirm import confirm
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render import rescue as render
    from statekeep_cli.render.terminal import Progress, wants_color, width_of
    from statekeep_cli.rescuing import Resolving, resolving_subject, wanted_state
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.runs import Lease

    wanted = _ids(ids)
    if not reason.strip():
        raise UsageMistake("--reason is empty; say why, for whoever reads the log")
    if version is not None and definitions:
        raise UsageMistake(
            "--version names a stored definition; with --definition the last file is the target"
        )
    mapping = read_config(config).mapping
    with closing(connect(database)) as store:
        about = resolving_subject(store, mapping, definitions or (), wanted, version)
        resolving = Resolving(store, about, wanted_state(to), reason)
        scope = about.scope
        assert scope.population is not None
        lease = Lease(store, scope.population, scope.mapping.name)
        lease.keep()
        try:
            run = resolving.continued()
            checked = resolving.check(wanted, run)
            print(
                f"{store.address}, {scope.mapping.name}: by hand into {about.target.label}", file=sys.stderr
            )
            if run is not None:
                print(f"going on with run {run.run} ({run.status})", file=sys.stderr)
            rows = [(x.id, x.source, x.decision.hazards) for x in checked]
            if rows:
                page = render.resolve_text(
                    rows, resolving.to, reason, width_of(sys.stdout), wants_color(sys.stdout)
                )
                sys.stdout.write(page)
                n = "1 actor" if len(rows) == 1 else f"{len(rows):,} actors"
                confirm(f"Set {n} of {scope.mapping.name} in {store.address} by hand?", yes)
            with Progress("writing", len(checked), "actors", quiet=quiet) as progress:
                run = resolving.write(checked, lease, run, lambda done: progress.update(done, ""))
        finally:
            lease.rest()
            lease.release()
    again = same_database(database, config)
    print(f"run {run.run}: {len(checked):,} resolved")
    print(f"next: {shlex.join(['statekeep', 'rescue', 'list', *again])}")


def _ids(given: Sequence[str]) -> list[str]:
    """The ids of a command line, in their order, each once; `-` stands for those on standard input."""
    found: list[str] = []
    for id in given:
        found += [line.strip() for line in sys.stdin] if id == "-" else [id]
    named = [id for id in dict.fromkeys(found) if id]
    if not named:
        raise UsageMistake("no ids are given; name actors, or pipe ids in, one per line, with -")
    return named


def retry(
    definitions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]... [TARGET]",
            help="The corrected target, a file or a stored ID@VERSION (default: the one that stranded them).",
        ),
    ] = None,
    database: Database = None,
    config: Config = None,
    migration: Annotated[
        str | None,
        typer.Option(
            "--mapping", "--migration", metavar="FILE", help="Corrected routing metadata in a side file."
        ),
    ] = None,
    where: Annotated[
        str, typer.Option("--where", metavar="SQL", help="Only actors that meet this condition.")
    ] = "",
    max_strand: Annotated[
        str,
        typer.Option("--max-strand", metavar="N|N%|all", help="Strands that are no finding (default: all)."),
    ] = "all",
    allow_hazards: Annotated[
        bool, typer.Option("--allow-hazards", help="Accept all hazards for this run.")
    ] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="FMT[=PATH]", help="text (default), json, jsonl or markdown; repeatable."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Connections that work.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and report, and write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Route the actors that need rescue once more, and nobody else, against a corrected definition.

    Whoever strands again is left as it was, so the gate lets strands pass; hazards still are findings. What
    --mapping says of a stored definition replaces what was stored, part by part, and is stored.

    Example: statekeep rescue retry --mapping fix.yaml --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli.commands.apply_database import Wishes, apply_database
    from statekeep_cli.commands.output import Outputs
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.rescuing import target_name
    from statekeep_cli.stores import installing
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.scope import scope

    try:
        gate = Gate.parse(max_strand, allow_hazards)
    except ValueError as error:
        raise UsageMistake(f"--max-strand: {error}") from None
    outputs = Outputs.parse(formats)
    given = list(definitions or ())
    if not given:
        mapping = read_config(config).mapping
        if mapping is not None:
            raise UsageMistake(
                f"the definitions of {mapping.name} are not stored in the database; give their files,"
                " sources first"
            )
        with closing(connect(database, read_only=True)) as store:
            installing.require(store)
            given = [target_name(scope(store, OWN).actors(store))]
    wishes = Wishes(
        yes=yes,
        dry_run=dry_run,
        jobs=jobs,
        quiet=quiet,
        rescued=True,
        kind="retry",
        again=tuple(same_database(database, config)),
    )
    apply_database(given, database, config, migration, where, gate, outputs, wishes)
