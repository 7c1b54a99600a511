"""`statekeep revert`: put back what a run did to its actors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statekeep_cli.commands.control import Run as Number
from statekeep_cli.commands.options import Config, Database, Quiet
from statekeep_cli.commands.options import TextFormats as Formats
from statekeep_cli.errors import RunLocked, StateKeepError, StoppedPartWay

if TYPE_CHECKING:
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.reverting import Counted
    from statekeep_cli.stores.interface import Store
    from statekeep_cli.stores.runs import Lease, Run
    from statekeep_cli.stores.scope import Scope

LISTED = 20


def revert(
    run: Number,
    database: Database = None,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and write nothing.")] = False,
    formats: Formats = None,
    quiet: Quiet = False,
) -> None:
    """Put every actor that a run moved or tagged back to what it was, unless it has moved since.

    Those that have are listed and stay as they are. A revert is a run itself; killed or stopped, it goes
    on when the same command is run again. An unfinished run is cancelled by its revert.

    Example: statekeep revert 3 --db "$DATABASE_URL"
    """
    from contextlib import closing

    from statekeep_cli import reverting
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.mapping import OWN
    from statekeep_cli.readers.config import read_config
    from statekeep_cli.stores import runs
    from statekeep_cli.stores.connect import connect
    from statekeep_cli.stores.installing import require
    from statekeep_cli.stores.runs import Lease
    from statekeep_cli.stores.scope import scope

    pages = Pages.parse(formats, ("text", "json"))
    mapping = read_config(config).mapping or OWN
    with closing(connect(database, read_only=dry_run)) as store:
        require(store)
        reverted = runs.need(store, run)
        about = scope(store, mapping, target=(reverted.definition, reverted.version))
        reverting.revertible(store, reverted, about)
        label = f"{reverted.kind} {reverted.definition}@{reverted.version}"
        kind = "Postgres" if store.kind == "postgres" else "SQLite"
        print(f"{kind} {store.address}, {mapping.name}: revert of run {run} ({label})", file=sys.stderr)
        if dry_run:
            counted = _counted(store, about, reverted, quiet)
            _show(pages, store, about, reverted, None, counted.unmoved, counted, dry_run=True)
            return
        lease = Lease(store, reverted.population, mapping.name)
        try:
            _revert(store, about, runs.need(store, run), lease, pages, yes, quiet)
        finally:
            lease.release()


def _revert(
    store: Store, about: Scope, reverted: Run, lease: Lease, pages: Pages, yes: bool, quiet: bool
) -> None:
    from contextlib import suppress

    from statekeep_cli import reverting
    from statekeep_cli.commands.confirm import confirm
    from statekeep_cli.render.terminal import Progress
    from statekeep_cli.stores import runs

    own = reverting.continued(store, reverted)
    lease.keep()
    try:
        counted = _counted(store, about, reverted, quiet)
    finally:
        lease.rest()
    if own is not None:
        print(f"going on with run {own.run} ({own.status})", file=sys.stderr)
    elif not counted.unmoved:
        _show(pages, store, about, reverted, None, 0, counted)
        return
    said = f"{counted.moved:,} moved since and left alone" if counted.moved else "none moved since"
    print(
        f"run {reverted.run}, actors changed: {counted.changed:,}; to put back: {counted.unmoved:,}; {said}",
        file=sys.stderr,
    )
    confirm(f"Put back {counted.unmoved:,} actors of {about.mapping.name} in {store.address}?", yes)
    if own is None:
        own = reverting.begun(store, about, reverted, counted.unmoved)
    with Progress("putting back", own.total, "actors", quiet=quiet) as progress:
        reversal = reverting.Reversal(
            store, about, own, reverted, lease,
            on_batch=lambda done: progress.update(done, ""),
            say=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        try:
            halted = reversal.go()
        except BaseException as error:
            if not isinstance(error, RunLocked):  # then it is another process' run now
                with suppress(StateKeepError):
                    runs.set_status(reversal.store, own.run, "stopped")
            raise
    store = reversal.store
    runs.set_status(store, own.run, halted or "done")
    if halted:
        what = {
            "paused": f"was paused; go on with statekeep resume {own.run}, then the same command",
            "cancelled": "was cancelled; what it has put back stays so",
            "stopped": "was stopped; run again to go on",
        }[halted]
        raise StoppedPartWay(f"run {own.run} {what}")
    after = reverting.count(store, about, reverted)
    _show(pages, store, about, reverted, own.run, reversal.put_back, after)


def _counted(store: Store, about: Scope, reverted: Run, quiet: bool) -> Counted:
    from statekeep_cli import reverting
    from statekeep_cli.render.terminal import Progress

    with Progress("comparing", None, "actors", quiet=quiet) as progress:
        return reverting.count(store, about, reverted, lambda done: progress.update(done, ""))


def _show(
    pages: Pages,
    store: Store,
    about: Scope,
    reverted: Run,
    run: int | None,
    put_back: int,
    counted: Counted,
    *,
    dry_run: bool = False,
) -> None:
    """What was put back, or would be. Whoever reads JSON gets all the moved actors, a person the first."""
    from statekeep_cli import reverting
    from statekeep_cli.core.standing import Undone
    from statekeep_cli.render import runs as render

    earlier = counted.earlier - (put_back if run is not None else 0)

    def undone(most: int | None) -> Any:
        return Undone(
            reverted.run,
            f"{reverted.kind} {reverted.definition}@{reverted.version}",
            about.mapping.name,
            run,
            dry_run,
            put_back,
            earlier,
            counted.moved,
            tuple(reverting.left(store, about, reverted, most)) if counted.moved else (),
        )

    pages.write(
        {
            "text": lambda width, color: render.undone_text(undone(LISTED), width, color),
            "json": lambda width, color: render.undone_json(undone(None)),
        }
    )
