"""Real `statekeep` processes that start at once: forks of a warm process, to be signalled and killed.

The warm process (`python -m tests.forked`) has one thread and no connections; it answers one JSON line per
request. A child runs `cli.main` with its own standard streams and ends as a command would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code (negative: the signal), what it said, and how long it took."""

    code: int
    said: str
    seconds: float


class Child:
    """One running command."""

    def __init__(self, forker: Forker, pid: int, said: Path):
        self.forker, self.pid, self._said = forker, pid, said

    @property
    def said(self) -> str:
        """What it has written so far, to both streams."""
        return self._said.read_text(errors="replace")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, kill_after: float | None = None) -> Ended:
        """Wait for its end; with `kill_after` it is killed so many seconds after its start."""
        code, seconds = self.forker.ask({"wait": self.pid, "kill_after": kill_after})
        return Ended(code, self.said, seconds)


class Forker:
    """The warm process, and what it has started."""

    def __init__(self, process: subprocess.Popen[str], folder: Path):
        self._process, self._folder, self._count = process, folder, 0

    def ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, *arguments: str, constants: Mapping[str, Any] | None = None) -> Child:
        """`statekeep ARGUMENTS`. `constants` are set beforehand: `stores.postgres.LOCK_MS`, a value."""
        self._count += 1
        said = self._folder / f"said-{self._count}.txt"
        pid = self.ask({"start": arguments, "said": str(said), "constants": dict(constants or {})})
        return Child(self, pid, said)

    def run(
        self,
        *arguments: str,
        constants: Mapping[str, Any] | None = None,
        kill_after: float | None = None,
    ) -> Ended:
        return self.start(*arguments, constants=constants).wait(kill_after)


@contextmanager
def forker(folder: Path) -> Iterator[Forker]:
    command = [sys.executable, "-m", "tests.forked"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    try:
        yield Forker(process, folder)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


# --- the warm process ---


def _begin(arguments: Sequence[str], said: str, constants: Mapping[str, Any]) -> int:
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    pid = os.fork()
    if pid:
        os.close(output)
        return pid
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        import importlib

        from statekeep_cli import cli

        for name, value in constants.items():
            module, _, constant = name.rpartition(".")
            setattr(importlib.import_module(f"statekeep_cli.{module}"), constant, value)
        code = cli.main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _end(pid: int, begun: float, kill_after: float | None) -> tuple[int, float]:
    if kill_after is not None:
        time.sleep(max(0.0, begun + kill_after - time.monotonic()))
        os.kill(pid, signal.SIGKILL)  # it is not waited for yet: the number is still its own
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - begun


def _serve() -> None:
    import psycopg  # noqa: F401

    import statekeep_cli.applying
    import statekeep_cli.cli
    import statekeep_cli.commands.apply_database
    import statekeep_cli.commands.output
    import statekeep_cli.commands.preview_database
    import statekeep_cli.deployments
    import statekeep_cli.planning
    import statekeep_cli.readers.config
    import statekeep_cli.render.terminal
    import statekeep_cli.stores.postgres
    import statekeep_cli.stores.sqlite
    import statekeep_cli.stores.writing_postgres
    import statekeep_cli.stores.writing_sqlite

    statekeep_cli.cli.app()
    began: dict[int, float] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: Any = _begin(request["start"], request["said"], request["constants"])
            began[answer] = time.monotonic()
        else:
            pid = request["wait"]
            answer = _end(pid, began.pop(pid), request["kill_after"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
