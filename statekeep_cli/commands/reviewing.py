"""What a change does to the definitions of a repository: which differ, from what, and what a preview says."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from statekeep_cli.errors import Findings, InputUnreadable, StateKeepError

if TYPE_CHECKING:
    from statekeep_cli.errors import Problem
    from statekeep_cli.readers.config import Ci
    from statekeep_cli.readers.definitions import Loaded
    from statekeep_cli.readers.git import Changed

# What is written about each definition, each a file of its folder.
REPORTS = {
    "text": "report.txt",
    "json": "report.json",
    "markdown": "report.md",
    "html": "report.html",
    "github": "annotations.txt",
    "gitlab": "code-quality.json",
    "junit": "junit.xml",
    "sarif": "report.sarif",
}
WITHOUT_ACTORS = {"text": "report.txt", "json": "report.json", "markdown": "report.md"}

Kind = Literal["previewed", "compared", "nothing", "deleted", "finding"]


@dataclass(frozen=True, slots=True)
class Review:
    """What there is to say about one definition. `said` is a sentence; `folder` has the reports, if any;
    `failed`: it is past the gate, or it cannot be."""

    path: str
    kind: Kind
    said: str = ""
    folder: str = ""
    failed: bool = False
    counts: dict[str, int] | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "failed": self.failed,
            "said": self.said,
            "folder": self.folder,
            "counts": self.counts,
        }


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where actors come from, with what the gate allows; as `preview` takes them."""

    actors: str | None
    history: str | None
    db: str | None
    config: str | None
    max_strand: str
    allow_hazards: bool
    baseline: str | None


def matches(patterns: Sequence[str], path: str) -> bool:
    """Does a path (from the top, with slashes) match one of these, with *, ** and ?"""
    return any(_glob(p).fullmatch(path) for p in patterns)


def _glob(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern.removeprefix("./"))
    for glob, regex in ((r"\*\*/", "(?:.*/)?"), (r"\*\*", ".*"), (r"\*", "[^/]*"), (r"\?", "[^/]")):
        text = text.replace(glob, regex)
    return re.compile(text, re.DOTALL)


@dataclass(frozen=True)
class Repository:
    """The working directory against a commit of its base branch."""

    base: str
    commit: str
    patterns: tuple[str, ...]

    @cached_property
    def top(self) -> str:
        from statekeep_cli.readers.git import top_of

        return top_of(self.base)

    @cached_property
    def short(self) -> str:
        from statekeep_cli.readers.git import short

        return short(self.commit)

    def on_disk(self, path: str) -> str:
        """A path from the top as one from the working directory."""
        return os.path.relpath(os.path.join(self.top, path))

    def changed(self) -> list[Changed]:
        """The definitions that differ from the commit's, in the order of their paths."""
        from statekeep_cli.readers.git import changed_since

        found = [
            c
            for c in changed_since(self.commit)
            if any(matches(self.patterns, p) for p in (c.path, c.before) if p)
        ]
        return sorted(found, key=lambda c: c.path or c.before)

    @cached_property
    def definitions(self) -> list[tuple[str, Loaded]]:
        """The commit's definitions that can be read, by path."""
        from statekeep_cli.readers.definitions import examine
        from statekeep_cli.readers.git import files_at

        paths = [p for p in files_at(self.commit) if matches(self.patterns, p)]
        readings = ((p, examine(f"{self.short}:{p}").loaded) for p in paths)
        return [(p, loaded) for p, loaded in readings if loaded is not None]

    def sources(self, target: Loaded, before: str) -> list[str]:
        """What a target replaces: what its file was (`before`, if anything), behind the commit's other
        versions of the same machine, or of those whose ids its `migration.from` names."""
        from statekeep_cli.core.model import as_list

        definition = target.definition
        ids = {definition.id, *(str(x) for x in as_list(definition.migration.get("from")))}
        found = {
            (one.definition.id, str(one.definition.version)): path
            for path, one in sorted(self.definitions, key=lambda x: x[0] == before)
            if path == before or one.definition.id in ids
        }
        found.pop((definition.id, str(definition.version)), None)
        return [f"{self.short}:{path}" for path in sorted(found.values(), key=lambda x: x == before)]


def review(repository: Repository, change: Changed, inputs: Inputs, out: str) -> Review:
    """One changed definition, previewed; its reports are written to a folder of `out`."""
    from statekeep_cli.commands.git_base import nothing_to_migrate
    from statekeep_cli.readers.definitions import read_definition

    if not change.path:
        said = "was deleted: whoever still runs on it is not looked at"
        return Review(change.before, "deleted", said)
    path = change.path
    target = repository.on_disk(path)
    try:
        before = change.before
        if before:
            said = nothing_to_migrate(f"{repository.short}:{before}", target, repository.base)
            if said:
                return Review(path, "nothing", said)
        sources = repository.sources(read_definition(target), before)
        if not sources:
            said = f"{target}: new since {repository.base} ({repository.short}); nothing to migrate"
            return Review(path, "nothing", said)
        return _decided(path, [*sources, target], inputs, out, _folder(path, out))
    except (InputUnreadable, Findings) as error:
        if isinstance(error, InputUnreadable) and not _about(error, target, repository.short):
            raise  # the actors, or the baseline: nothing the definition could mend
        return Review(path, "finding", error.message, _written(error.problems, path, out), failed=True)


def _folder(path: str, out: str) -> str:
    """The folder of a definition's reports, in `out`: two of them never have one."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", path.replace("/", "__"))
    if name != path.replace("/", "__") or "__" in path or len(name) > 150 or name.startswith("."):
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        name = f"{name.strip('.')[:100]}-{digest}"
    os.makedirs(os.path.join(out, name), exist_ok=True)
    return name


def _written(problems: Sequence[Problem], path: str, out: str) -> str:
    """The folder with what code hosts show of these problems."""
    from statekeep_cli.commands.locating import from_root
    from statekeep_cli.render.github import github
    from statekeep_cli.render.gitlab import gitlab
    from statekeep_cli.render.results import of_problems

    folder = _folder(path, out)
    errors = [replace(p, path=from_root(p.path)) for p in problems if p.severity == "error"]
    for name, draw in (("github", github), ("gitlab", gitlab)):
        with open(os.path.join(out, folder, REPORTS[name]), "w", encoding="utf-8") as file:
            file.write(draw(of_problems(errors)))
    return folder


def _about(error: InputUnreadable, target: str, commit: str) -> bool:
    return any(p.path == target or p.path.startswith(f"{commit}:") for p in error.problems)


def _decided(path: str, definitions: list[str], inputs: Inputs, out: str, folder: str) -> Review:
    from statekeep_cli.commands.diff import diff
    from statekeep_cli.commands.preview import preview

    def formats(wanted: dict[str, str]) -> list[str]:
        return [f"{name}={os.path.join(out, folder, file)}" for name, file in wanted.items()]

    if inputs.actors is None and inputs.db is None:
        diff(definitions, formats=formats(WITHOUT_ACTORS), quiet=True)
        return Review(path, "compared", "no actors were given, so nobody was counted", folder)
    failure = ""
    try:
        preview(
            definitions,
            actors=inputs.actors,
            db=inputs.db,
            config=inputs.config,
            history=inputs.history,
            formats=formats(REPORTS),
            max_strand=inputs.max_strand,
            allow_hazards=inputs.allow_hazards,
            keep_going=True,
            baseline=inputs.baseline,
            quiet=True,
        )
    except Findings as error:
        failure = error.message
    with open(os.path.join(out, folder, REPORTS["json"]), encoding="utf-8") as file:
        report = json.load(file)
    keys = {"migrate": "wouldMigrate", "strand": "wouldStrand", "stay": "wouldStay"}
    counts = {name: int(report[key]) for name, key in keys.items()}
    counts |= {name: int(report[name]) for name in ("skipped", "unreadable")}
    return Review(path, "previewed", failure, folder, bool(failure), counts)


def inputs_of(ci: Ci, commit: str, config: str | None, folder: str) -> Inputs:
    """Where the actors of a configuration come from: the database whose variable is set, else the export."""
    db = os.environ.get(ci.database) or None if ci.database else None
    actors = _file(ci.actors, commit, folder) if ci.actors and db is None else None
    history = _file(ci.history, commit, folder) if ci.history and actors is not None else None
    baseline = ci.baseline if ci.baseline and os.path.exists(ci.baseline) else None
    return Inputs(actors, history, db, config, ci.max_strand, ci.allow_hazards, baseline)


def _file(path: str, commit: str, folder: str) -> str:
    """A file as the commit has it, written to a folder; one on disk where the commit has none."""
    from statekeep_cli.readers.git import copy_at, exists, inside

    try:
        known = inside(path, path)
    except InputUnreadable:  # outside the repository: a job put it there
        known = ""
    if known and exists(commit, known):
        to = os.path.join(folder, os.path.basename(known))
        copy_at(commit, known, to)
        return to
    if not os.path.exists(path):
        raise StateKeepError(
            f"{path}: there is no such actor export, neither at the base nor on disk; write it in an earlier"
            " step, or name another under ci.actors"
        )
    return path
