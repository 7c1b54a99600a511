"""Where a run's findings stand: files, lines and columns, as code hosts name them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from statekeep_cli.core.causes import FindingKey, at, causes
from statekeep_cli.core.model import Definition
from statekeep_cli.core.report import Report
from statekeep_cli.errors import Problem
from statekeep_cli.readers.definitions import Loaded

# The checkout's top in CI, where a job may have gone into a folder of it.
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")


def located(
    report: Report, sources: Sequence[Definition], target: Definition, files: Sequence[Loaded]
) -> dict[FindingKey, Problem]:
    """The place of every finding's most likely cause, among the definitions that are files of the checkout.

    A definition from a database, a revision or a pipe has no line anyone could look at; the next best cause
    stands for it, and the target's own text where nothing else does.
    """
    known = {f.definition.digest: f for f in files}
    found: dict[FindingKey, Problem] = {}
    for key, candidates in causes(sources, target, report).items():
        last = candidates[-1].digest
        for cause in candidates:
            file = known.get(cause.digest)
            if file is None or (cause.digest != last and not os.path.isfile(file.path)):
                continue
            pointer = at(file.config, cause.pointer)
            if pointer is not None:
                place = file.place(pointer, cause.part)
                found[key] = replace(place, path=from_root(place.path))
                break
    return found


def from_root(path: str, env: Mapping[str, str] = os.environ) -> str:
    """The path from the top of the checkout, else from the working directory, else as it was given."""
    if path in ("", "-") or not os.path.exists(path):
        return path
    here = Path(path).resolve()
    for root in (*(env[name] for name in _ROOTS if env.get(name)), os.getcwd()):
        try:
            return here.relative_to(Path(root).resolve()).as_posix()
        except ValueError:
            continue
    return path
