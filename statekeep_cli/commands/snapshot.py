"""`statekeep snapshot`: an export that may leave the building; read-only."""

from __future__ import annotations

from typing import Annotated

import typer

from statekeep_cli.commands.options import Config, Database, Quiet, Where
from statekeep_cli.errors import UsageMistake


def snapshot(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="JSON Lines, gzip by name; - is stdout.")
    ],
    database: Database = None,
    config: Config = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Hashed ids, no times, no contexts but what --keep names.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="PATH", help="With --redact: a context path to keep; repeatable."),
    ] = None,
    where: Where = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write what decides about a database's actors as an export, for previews elsewhere.

    With --redact, ids are hashed with a random key that nobody keeps, times and unknown keys are left out,
    and of contexts only the paths that --keep names stay. States and event types are what a preview is
    about: they are in it as they are. An actor whose decision looks at a part that is gone strands there as
    undetermined.

    Example: statekeep snapshot --db "$DATABASE_URL" -o actors.jsonl.gz --redact --keep amount
    """
    import os
    import sys
    from contextlib import closing, nullcontext

    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.render.atomic import replacing
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.snapshotting import snapshot as lines_of
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.scope import scope

    if keep and not redact:
        raise UsageMistake("--keep says what --redact leaves; give --redact too")
    if any(not part for path in keep or () for part in path.split(".")):
        raise UsageMistake("--keep '' is no path; write keys with dots between them, as in applicant.country")
    if output != "-" and os.path.exists(output) and not force:
        raise UsageMistake(f"-o {output} is there already; give --force to overwrite it, or another file")
    mapping = read_config(config).mapping or OWN
    count = 0
    with closing(connect(database, read_only=True)) as store:
        about = scope(store, mapping, where=where)
        total = about.actors(store).count()
        target = nullcontext(sys.stdout.buffer) if output == "-" else replacing(output)
        with target as file, Progress("reading", total, "actors", quiet=quiet) as progress:
            for lines in lines_of(store, about, redact=redact, keep=keep or (), on_part=progress.update):
                file.write(lines)
                count += lines.count(b"\n")
    how = ""
    if redact:
        how = f", redacted; of contexts {', '.join(keep)} stayed" if keep else ", redacted; no context stayed"
    print(f"{output}: {count:,} actors{how}", file=sys.stderr)
