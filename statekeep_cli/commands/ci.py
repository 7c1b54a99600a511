"""`statekeep ci`: what a change does to the definitions of a repository, for a pull request."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from statekeep_cli.commands.options import Config, Database
from statekeep_cli.errors import Findings, UsageMistake

if TYPE_CHECKING:
    from statekeep_cli.commands.reviewing import Review
    from statekeep_cli.readers.config import Ci
    from statekeep_cli.render.review import Section


def ci(
    base: Annotated[
        str,
        typer.Option("--base", metavar="REV", help="The branch that the change is for, as in origin/main."),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DIR", help="Where reports and the comment are written to.")
    ],
    config: Config = None,
    definitions: Annotated[
        list[str] | None,
        typer.Option("--definitions", metavar="GLOB", help="Which files are definitions; repeatable."),
    ] = None,
    actors: Annotated[
        str | None, typer.Option("--actors", metavar="FILE", help="An actor export, such as a snapshot.")
    ] = None,
    db: Database = None,
    max_strand: Annotated[
        str | None,
        typer.Option("--max-strand", metavar="N|N%|all", help="Strands allowed before exit code 3."),
    ] = None,
    link: Annotated[
        str, typer.Option("--link", metavar="URL", help="Where people find the full reports.")
    ] = "",
) -> None:
    """Preview every definition that differs from the base branch's, and write one comment about all of them.

    What it does stands under `ci` in statekeep.yaml, read from the base branch and not from the change;
    options win over that. DIR gets comment.md, result.json and a folder of reports per definition. Nothing
    is sent anywhere. Exits 0 within the gate or where nothing changed, 3 past it.

    Example: statekeep ci --base origin/main --out statekeep-reports
    """
    from statekeep_cli.commands.reviewing import Repository, inputs_of, review
    from statekeep_cli.readers.git import commit_of, merge_base

    tip = commit_of(base, base)
    said, path = _configured(tip, config)
    if definitions:
        said = replace(said, definitions=tuple(definitions)) if said else _plain(definitions)
    os.makedirs(out, exist_ok=True)
    if said is None:
        print(f"{base} has no 'ci' in statekeep.yaml; it holds once it is there (nothing looked at)")
        _write(out, [], base, link)
        return
    if actors is not None:
        said = replace(said, actors=actors, database="")
    if max_strand is not None:
        said = replace(said, max_strand=max_strand)
    if actors is not None and db is not None:
        raise UsageMistake("--actors and --db exclude each other; give one of them")
    repository = Repository(base, merge_base(base), said.definitions)
    changed = repository.changed()
    with tempfile.TemporaryDirectory(prefix="statekeep-") as folder:
        if changed:
            inputs = inputs_of(
                said if db is None else replace(said, actors="", database=""), tip, path, folder
            )
            inputs = replace(inputs, db=db or inputs.db, config=path or _empty(folder))
            reviews = [review(repository, change, inputs, out) for change in changed]
        else:
            reviews = []
    _write(out, reviews, base, link)
    _say(reviews, base)
    failed = [r for r in reviews if r.failed]
    if failed:
        raise Findings(
            "; ".join(r.said if r.said.startswith(r.path) else f"{r.path}: {r.said}" for r in failed)
        )


def _configured(commit: str, given: str | None) -> tuple[Ci | None, str | None]:
    """What the base branch's configuration says about CI, and where that stands; or the file given."""
    from statekeep_cli.readers.config import FILES, PYPROJECT, read_config
    from statekeep_cli.readers.git import AtRevision, exists, read_at

    if given is not None:
        return read_config(given).ci, given
    for name in FILES:
        if exists(commit, name):
            path = f"{commit}:{name}"
            return read_config(path).ci, path
    if exists(commit, PYPROJECT) and b"tool.statekeep" in read_at(AtRevision(commit, PYPROJECT)):
        path = f"{commit}:{PYPROJECT}"
        return read_config(path).ci, path
    return None, None


def _empty(folder: str) -> str:
    """A configuration that says nothing: the one on disk is the change's."""
    path = os.path.join(folder, "statekeep.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("{}\n")
    return path


def _plain(definitions: Sequence[str]) -> Ci:
    from statekeep_cli.readers.config import Ci

    return Ci(tuple(definitions))


def _write(out: str, reviews: Sequence[Review], base: str, link: str) -> None:
    """The comment, the result for scripts, and what GitLab and GitHub read in one file."""
    from statekeep_cli.render.review import comment

    about = [r for r in reviews if r.kind != "nothing"]
    # A comment says what everyone should see; that nothing is to be done is none of it.
    sections = [_section(r, out) for r in (reviews if about else [])]
    result = {
        "formatVersion": 1,
        "comment": bool(about),
        "failed": any(r.failed for r in reviews),
        "definitions": [r.as_json() for r in reviews],
    }
    quality: list[object] = []
    annotations = ""
    for r in reviews:
        folder = os.path.join(out, r.folder)
        if r.kind in ("previewed", "finding"):
            with open(os.path.join(folder, "code-quality.json"), encoding="utf-8") as file:
                quality += json.load(file)
            with open(os.path.join(folder, "annotations.txt"), encoding="utf-8") as file:
                annotations += file.read()
    files = {
        "comment.md": comment(sections, base, link),
        "result.json": json.dumps(result, indent=2, ensure_ascii=False) + "\n",
        "code-quality.json": json.dumps(quality, indent=2, ensure_ascii=False) + "\n",
        # GitHub shows ten of a step.
        "annotations.txt": "".join(line + "\n" for line in annotations.splitlines()[:10]),
    }
    for name, text in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def _section(r: Review, out: str) -> Section:
    from statekeep_cli.render.review import Section

    page = ""
    if r.kind in ("previewed", "compared"):
        with open(os.path.join(out, r.folder, "report.md"), encoding="utf-8") as file:
            page = file.read()
    return Section(r.path, r.said, page, r.failed, _counts(r))


def _counts(r: Review) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in (r.counts or {}).items() if n)


def _say(reviews: Sequence[Review], base: str) -> None:
    from statekeep_cli.render.terminal import inert

    if not reviews:
        print(f"no definition differs from {base}")
    for r in reviews:
        what = "; ".join(x for x in (_counts(r), r.said) if x)
        print(inert(what if what.startswith(r.path) else f"{r.path}: {what}"))
