"""Every example's commands give exactly the output that stands beside them.

`commands.txt` of an example has one command per line, to be run in its folder, with the file of `expected/`
that has what it prints (standard output, then standard error) and its exit code where that is not 0:

    statekeep preview a.yaml b.yaml --actors actors.jsonl  # preview.txt, exit 3

Commands on a database build on each other: those of an example that has any (`--db`) run in order, in a
copy of all examples. Who ran them and when is not the same twice; it is expected as `<who>` and `<time>`.

After a change that is meant, `python -m tests.test_examples --update` writes the files anew; look at the
diff.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT

EXAMPLES = ROOT / "examples"
TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC|\+00(:00)?)?")
WHO = re.compile(r"by \S+ on \S+, process \d+")
LINE = re.compile(r"(?P<command>(statekeep|python) .*?)\s+# (?P<file>[\w.-]+)(, exit (?P<exit>\d+))?")


@dataclass(frozen=True)
class Command:
    example: Path
    arguments: list[str]
    expected: Path
    exit_code: int
    program: str = "statekeep"

    def run(self, folder: Path | None = None) -> tuple[int, str]:
        """The exit code and everything that was printed, as someone without a terminal sees it; in the
        example's folder, or a copy of it."""
        environment = {
            k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LD_PRELOAD", "ASAN_OPTIONS")
        }
        program = ["-m", "statekeep_cli.cli"] if self.program == "statekeep" else []
        done = subprocess.run(
            [sys.executable, *program, *self.arguments],
            cwd=folder or self.example,
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        output = done.stdout + done.stderr
        if folder is not None:
            output = WHO.sub("by <who>", TIME.sub("<time>", output))
        return done.returncode, output


def commands(example: Path) -> list[Command]:
    found = []
    for line in (example / "commands.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        assert match, f"{example.name}/commands.txt: {line!r} is no command with its file"
        program, *arguments = shlex.split(match["command"])
        expected = example / "expected" / match["file"]
        found.append(Command(example, arguments, expected, int(match["exit"] or 0), program))
    return found


def in_order(example: Path) -> bool:
    """Do its commands build on each other?"""
    return any("--db" in command.arguments for command in commands(example))


def examples() -> list[Path]:
    return sorted(p for p in EXAMPLES.iterdir() if p.is_dir())


def every_command() -> list[Command]:
    return [command for example in examples() for command in commands(example)]


def separate_commands() -> list[Command]:
    return [command for command in every_command() if not in_order(command.example)]


def stateful() -> list[Path]:
    return [example for example in examples() if in_order(example)]


def outcomes(example: Path, folder: Path) -> Iterator[tuple[Command, int, str]]:
    """Each command of an example with its exit code and output, in a copy of the examples."""
    copy = shutil.copytree(EXAMPLES, folder / "examples") / example.name
    for command in commands(example):
        yield command, *command.run(copy)


@pytest.mark.parametrize("example", stateful(), ids=lambda p: p.name)
def test_output_in_order(example: Path, tmp_path: Path) -> None:
    for command, code, output in outcomes(example, tmp_path):
        assert output == command.expected.read_text(), command.expected.name
        assert code == command.exit_code, command.expected.name


@pytest.mark.parametrize("command", separate_commands(), ids=lambda c: f"{c.example.name}/{c.expected.name}")
def test_output(command: Command) -> None:
    code, output = command.run()
    assert output == command.expected.read_text()
    assert code == command.exit_code


@pytest.mark.parametrize("example", examples(), ids=lambda p: p.name)
def test_nothing_is_left_over(example: Path) -> None:
    """Each expected file belongs to one command, and the README says what there is."""
    files = [c.expected.name for c in commands(example)]
    assert sorted(files) == sorted(p.name for p in (example / "expected").iterdir())
    assert f"[{example.name}]({example.name}/)" in (EXAMPLES / "README.md").read_text()


def report(example: str, *arguments: str) -> dict[str, object]:
    """A preview of an example as JSON."""
    command = Command(EXAMPLES / example, ["preview", *arguments, "--format", "json"], Path(), 0)
    parsed: dict[str, object] = json.loads(command.run()[1].partition("\n}\n")[0] + "\n}")
    return parsed


@pytest.mark.parametrize(
    ("kind", "migrated", "where"),
    [("build", 25, "failed"), ("issue", 20, "in_review"), ("session", 20, "expiring")],
)
def test_broken_deployment(kind: str, migrated: int, where: str) -> None:
    """The numbers of the article: strands only where version 2 is broken, and none after the fix."""
    ending = "json" if kind == "session" else "yaml"
    v1, v2, v3 = (f"{kind}-v{n}.{ending}" for n in (1, 2, 3))
    broken = report("02-broken-deployment", v1, v2, "--actors", f"{kind}.jsonl")
    assert (broken["wouldMigrate"], broken["wouldStrand"], broken["total"]) == (migrated, 30 - migrated, 30)
    strands = [g for g in broken["groups"] if g["outcome"] == "strand"]  # type: ignore[attr-defined]
    assert {g["from"]["state"] for g in strands} == {where}
    fixed = report("02-broken-deployment", v1, v2, v3, "--actors", f"{kind}-after-v2.jsonl")
    assert (fixed["wouldMigrate"], fixed["wouldStrand"], fixed["total"]) == (30, 0, 30)
    assert fixed["findings"] == []


def test_after_version_2() -> None:
    """The second populations are what the first deployment left behind: the same actors, with a marker in the
    history of those who migrated, and those who stranded untouched but for their status."""
    for kind in ("build", "issue", "session"):
        folder = EXAMPLES / "02-broken-deployment"
        before, after = (
            {r["id"]: r for r in map(json.loads, (folder / f"{kind}{which}.jsonl").read_text().splitlines())}
            for which in ("", "-after-v2")
        )
        assert list(before) == list(after)
        for name, record in after.items():
            was = before[name]
            if record["status"] == "needs_rescue":
                assert record == {**was, "status": "needs_rescue"}
                continue
            done = len(was["history"])
            assert record["history"][:done] == was["history"]
            marker = record["history"][done]
            assert marker["type"] == "migrated"
            assert marker["from"] == {"version": 1, "state": was["state"]}
            assert (marker["to"]["version"], record["version"]) == (2, 2)


def update() -> None:
    found = [(command, *command.run()) for command in separate_commands()]
    for example in stateful():
        with tempfile.TemporaryDirectory() as folder:
            found += outcomes(example, Path(folder))
    for command, code, output in found:
        command.expected.parent.mkdir(exist_ok=True)
        if not command.expected.exists() or command.expected.read_text() != output:
            print(f"{command.expected.relative_to(ROOT)}: written")
            command.expected.write_text(output)
        if code != command.exit_code:
            print(f"{command.example.name}/commands.txt: {command.expected.name} has exit code {code}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_examples --update")
    update()
