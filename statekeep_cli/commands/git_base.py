"""`--git-base REV`: the source of a deployment is what the target's file was where the branch began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.errors import Findings, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.errors import Problem
    from statekeep_cli.readers.definitions import Loaded

GitBase = Annotated[
    str | None,
    typer.Option(
        "--git-base",
        metavar="REV",
        help="Take the source from git: the target's file at the merge base with REV.",
    ),
]


def with_base(definitions: Sequence[str], base: str | None, migration: str | None = None) -> list[str]:
    """The definitions with the source of `--git-base` before the target.

    Ends the command well, with a sentence, where there is nothing to migrate: the file is new, or its machine
    is as it was. Raises `Findings` where the machine changed and the version did not.
    """
    if base is None:
        return list(definitions)
    if len(definitions) != 1:
        raise UsageMistake("--git-base takes the source from git; give the target definition alone")
    from statekeep_cli.readers.git import inside, merge_base, short

    target = definitions[0]
    commit = merge_base(base)
    before = earlier(inside(target, target), commit)
    if before is None:
        print(f"{target}: new since {base} ({short(commit)}); nothing to migrate")
        raise typer.Exit
    source = f"{short(commit)}:{before}"
    said = nothing_to_migrate(source, target, base, migration)
    if said:
        print(said)
        raise typer.Exit
    return [source, target]


def earlier(path: str, commit: str) -> str | None:
    """The path that a file had in a commit, renames followed; None for a new one. From the top."""
    from statekeep_cli.readers.git import changed_since, exists

    if exists(commit, path):
        return path
    return next((c.before for c in changed_since(commit) if c.path == path and c.before), None)


def nothing_to_migrate(source: str, target: str, base: str, migration: str | None = None) -> str:
    """Why no actor can be concerned, in a sentence; "" where some may be. Raises `Findings` where two
    machines have one version, and as reading does."""
    from statekeep_cli.core.migration import same_version
    from statekeep_cli.readers.definitions import read_definition
    from statekeep_cli.stores.definitions import machine_digest

    one, other = read_definition(source), read_definition(target, migration)
    before, after = one.definition, other.definition
    if before.id != after.id or not same_version(before.version, after.version):
        return ""
    if machine_digest(one.config) != machine_digest(other.config):
        problem = unbumped(one, other)
        raise Findings(problem.sentence, (problem,))
    what = "unchanged" if before.digest == after.digest else "changed in its routing metadata only"
    return f"{target}: {after.label} is {what} since {base} ({source.partition(':')[0]}); nothing to migrate"


def unbumped(source: Loaded, target: Loaded) -> Problem:
    """That a machine changed under one version, and what to do."""
    from dataclasses import replace

    number = str(target.definition.version)
    message = (
        f"the machine changed since {source.path}, and it is still {target.definition.label}: actors of the"
        " old one could not be told from those of the new one"
    )
    hint = f"write version: {int(number) + 1}" if number.isdigit() else "give it a new version"
    return replace(target.place(("version",), "value"), message=message, hint=hint, code="SK070")
