"""`statekeep diff`: what changed, and what that means for every source state; needs no actors."""

from __future__ import annotations

from typing import Annotated

import typer

from statekeep_cli.commands.git_base import GitBase, with_base
from statekeep_cli.commands.options import (
    Definitions,
    Formats,
    Migration,
    Quiet,
    command_line,
    references,
    split,
)
from statekeep_cli.errors import ChangesPending


def diff(
    definitions: Definitions,
    migration: Migration = None,
    formats: Formats = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 4 when anything changes for anyone.")
    ] = False,
    git_base: GitBase = None,
    quiet: Quiet = False,
) -> None:
    """Say what changed between definitions, and per source state: safe, stranded, or depends on history.

    Every history the source definition allows is looked at, no actors are. Changes nothing; exits 0
    unless --detailed-exitcode is given.

    Example: statekeep diff v1.yaml v2.yaml
    """
    from statekeep_cli.commands.output import Pages
    from statekeep_cli.core.apv import Deployment
    from statekeep_cli.core.diff import diff as compared
    from statekeep_cli.readers.definitions import read_definitions
    from statekeep_cli.render import diff as render
    from statekeep_cli.render.terminal import Progress

    pages = Pages.parse(formats)
    definitions = with_base(definitions, git_base, migration)
    known = read_definitions(*split(definitions), migration)
    deployment = Deployment([s.definition for s in known.sources], known.target.definition)
    with Progress("following histories", unit="kinds", quiet=quiet) as progress:
        found = compared(deployment, on_class=progress.update)
    frame = render.Frame(
        references(known), command_line("preview", definitions, None, None, migration) + " --actors FILE"
    )
    pages.write(
        {
            "text": lambda width, color: render.text(found, frame, width, color),
            "json": lambda width, color: render.json(found, frame),
            "markdown": lambda width, color: render.markdown(found, frame),
        }
    )
    if detailed_exitcode and found.has_changes:
        raise ChangesPending
