"""Shell completion: the protocol spoken by a real process, and by a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from statekeep_cli import cli
from tests.databases import Database
from tests.support import ROOT
from tests.test_rescue import EXAMPLE, Capture, Run, issues, run

__all__ = ["issues", "run"]  # fixtures

COMMAND = [sys.executable, "-m", "statekeep_cli.cli"]


def offered(*words: str, folder: Path = EXAMPLE, shell: str = "bash", **environment: str) -> list[str]:
    """What is offered for the last of these words, once it has been typed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COMP_WORDS": " ".join(("statekeep", *words)),
           "COMP_CWORD": str(len(words)), "_STATEKEEP_COMPLETE": f"{shell}_complete"}  # fmt: skip
    for name in ("DATABASE_URL", "STATEKEEP_DATABASE_URL"):
        env.pop(name, None)
    done = subprocess.run(
        COMMAND, cwd=folder, env={**env, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.split("\n")[:-1] if done.stdout != "\n" else []


def plain(*words: str) -> list[str]:
    return [f"plain,{word}" for word in words]


def test_commands_and_shells() -> None:
    assert {*plain("check", "rescue", "completion")} <= {*offered("")}
    assert offered("resc") == plain("rescue")
    assert offered("rescue", "re") == plain("resolve", "retry")
    assert offered("completion", "") == plain("bash", "zsh", "fish")
    assert offered("--version", "--h") == plain("--help")  # nothing is run


def test_definition_files(tmp_path: Path) -> None:
    assert offered("preview", "issue-v") == plain("issue-v1.yaml", "issue-v2.yaml", "issue-v3.yaml")
    assert offered("check", "issue-v1.yaml", "session-v3") == plain("session-v3.json")
    # A folder that is alone is opened: the shell would set a space behind it.
    for name in ("deep/er/one.yaml", "deep/er/two.yml", "deep/er/notes.txt", ".hidden/x.yaml", "a b.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert offered("diff", "d", folder=tmp_path) == plain("deep/er/one.yaml", "deep/er/two.yml")
    assert offered("diff", "", folder=tmp_path) == plain("deep/er/one.yaml", "deep/er/two.yml")
    assert offered("diff", "nothing/", folder=tmp_path) == []
    assert offered("preview", "a", "b", "--actors", "iss") == ["file,iss"]  # any file


def test_states_of_the_files_that_are_named(tmp_path: Path) -> None:
    to = ("--to", "code_review.")
    found = plain("code_review.awaiting_reviewer", "code_review.under_review")
    assert offered("rescue", "resolve", "x", "--definition", "issue-v2.yaml", *to) == found
    # A stranger's names may be anything: what a shell would read is not offered.
    states = {name: {} for name in ("safe", "$(touch x)", "a b", "`id`", "a;b", "*", "\x1b[2J", "ge\u00fcbt")}
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump({"id": "d", "version": 1, "initial": "safe", "states": states}))
    some = ("rescue", "resolve", "x", "--definition", "odd.yaml", "--to", "")
    assert offered(*some, folder=tmp_path) == plain("ge\u00fcbt", "safe")
    path.write_text("{")
    assert offered(*some, folder=tmp_path) == []


def test_runs_and_states_of_a_database(issues: list[str], database: Database, run: Run) -> None:
    some = ("rescue", "resolve", issues[0], "--to", "code_review", "--reason", "x", "--yes")
    assert run(*some) == 0
    address = {"DATABASE_URL": database.url}
    for words in (["status"], ["watch"], ["pause"], ["revert"], ["rescue", "list", "--run"]):
        assert offered(*words, "", **address) == plain("2", "1")
    assert offered("watch", "2", **address) == plain("2")
    assert offered("watch", "", shell="zsh", **address) == [
        "plain", "2", "resolve of issue@2, done", "plain", "1", "apply of issue@2, done",
    ]  # fmt: skip
    assert "plain,in_review" in offered("rescue", "list", "--state", "in_", **address)
    if database.kind == "sqlite":
        assert offered("watch", "--db", str(database.path), "") == plain("2", "1")


@pytest.mark.parametrize("url", ["/nowhere/x.db", "postgresql://127.0.0.1:1/x", "mysql://x", "\x00", ""])
def test_a_database_that_fails_is_silent(url: str) -> None:
    env = {} if not url or "\x00" in url else {"DATABASE_URL": url}
    begin = time.monotonic()
    assert offered("watch", "", **env) == []
    assert offered("rescue", "list", "--state", "x", **env) == []
    assert time.monotonic() - begin < 30  # a hung shell is what it is not


def test_scripts(capsys: Capture) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert cli.main(["completion", shell]) == 0
        said = capsys.readouterr().out
        assert f"_STATEKEEP_COMPLETE={shell}_complete" in said
        assert "statekeep" in said
        if shutil.which(shell):
            checked = subprocess.run([shell, "-n"], input=said, text=True, capture_output=True, timeout=30)
            assert (checked.returncode, checked.stderr) == (0, "")
    assert cli.main(["completion", "tcsh"]) == 2
    assert "give one of bash, zsh, fish" in capsys.readouterr().err


def test_in_a_real_bash(tmp_path: Path) -> None:
    program = tmp_path / "statekeep"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {sys.executable} -m statekeep_cli.cli "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(statekeep completion bash)"; complete -p statekeep\n'
        "COMP_WORDS=(statekeep check issue-v); COMP_CWORD=2; _statekeep_completion statekeep\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=EXAMPLE,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _statekeep_completion statekeep",
        "issue-v1.yaml", "issue-v2.yaml", "issue-v3.yaml",
    ]  # fmt: skip
