"""Real git repositories for tests, with definitions that strand actors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

V1 = """id: loan
version: 1
initial: application
states:
  application: {on: {SUBMIT: review}}
  review: {on: {APPROVE: approved}}
  approved: {on: {PAY: paid}}
  paid: {type: final}
"""
# `approved` is gone: whoever is in it strands, and a mapping to `cleared` helps.
V2 = V1.replace("version: 1", "version: 2").replace("approved", "cleared")
FIXED = V2 + "stateMapping: {approved: cleared}\n"
CONFIG = """ci:
  definitions: ["workflows/**/*.yaml"]
  actors: actors.jsonl
"""
ACTORS = [
    {"id": f"loan-{i}", "definition": "loan", "version": 1, "state": state, "history": history}
    for i, (state, history) in enumerate(
        [("application", []), ("review", ["SUBMIT"]), ("approved", ["SUBMIT", "APPROVE"])]
    )
]


@dataclass(frozen=True)
class Repository:
    path: Path

    def git(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            **{
                f"GIT_{who}_{what}": "t@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        return subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def commit(self, message: str = "change") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, cwd: str = "."
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "statekeep_cli", *arguments],
            cwd=self.path / cwd,
            env=environment(env),
            capture_output=True,
            text=True,
            check=False,
        )


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A bare environment that finds this tree, and what `tests/sanitized.sh` set."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "PYTHONMALLOC")
    wanted = {k: os.environ[k] for k in kept if k in os.environ}
    return {**wanted, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100", **(more or {})}


def repository(path: Path) -> Repository:
    """`main` has version 1, its actors and a configuration; `change`, still the same, is checked out."""
    path.mkdir(parents=True, exist_ok=True)
    made = Repository(path)
    made.git("init", "-q", "-b", "main")
    made.write("workflows/loan.yaml", V1)
    made.write("statekeep.yaml", CONFIG)
    made.write("actors.jsonl", "".join(json.dumps(a) + "\n" for a in ACTORS))
    made.commit("version 1")
    made.git("checkout", "-q", "-b", "change")
    return made
