"""The process: exit codes, signals, closed pipes, and never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli import cli, errors

COMMAND = [sys.executable, "-m", "statekeep_cli.cli"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, **options)


def instead(monkeypatch: pytest.MonkeyPatch, action: Callable[[], int]) -> None:
    monkeypatch.setattr(cli, "_run", lambda arguments: action())


def test_every_error_has_its_exit_code_and_says_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {
        errors.StateKeepError: 1, errors.InputUnreadable: 1, errors.DefinitionInvalid: 1,
        errors.UsageMistake: 2, errors.Findings: 3, errors.ChangesPending: 4,
        errors.PlanStale: 5, errors.RunLocked: 6, errors.StoppedPartWay: 7,
        errors.DatabaseBusy: 7, errors.Declined: 8, errors.DatabaseUnavailable: 9,
        errors.ConnectionLost: 9, errors.GatePassed: 7, errors.Terminated: 143,
    }  # fmt: skip
    tree = [errors.StateKeepError]
    for kind in tree:
        tree += kind.__subclasses__()
        assert kind.__name__ in (errors.__doc__ or "")
    assert set(tree) == expected.keys()
    for kind, code in expected.items():

        def fail(kind: type[errors.StateKeepError] = kind) -> int:
            raise kind("the lock is held\x1b[31m")

        instead(monkeypatch, fail)
        assert cli.main([]) == code
        prefix = "" if code in (7, 8) else "error: "  # stopped on purpose, or declined: no error
        assert capsys.readouterr() == ("", f"{prefix}the lock is held\\x1b[31m\n")


def test_an_unexpected_failure_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise KeyError("two\nlines")

    instead(monkeypatch, fail)
    monkeypatch.delenv("STATEKEEP_DEBUG", raising=False)
    assert cli.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: unexpected failure, KeyError: ")
    assert err.count("\n") == 1
    assert "STATEKEEP_DEBUG=1" in err
    monkeypatch.setenv("STATEKEEP_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.main([])


def test_interrupts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    def terminate() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        return 0

    instead(monkeypatch, interrupt)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    before = signal.getsignal(signal.SIGTERM)
    try:
        instead(monkeypatch, terminate)
        assert cli.main([]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_process_quietly(number: int, code: int) -> None:
    process = subprocess.Popen(
        [*COMMAND, "check", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.0)  # it waits for its standard input
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error() -> None:
    process = subprocess.Popen(
        [*COMMAND, "schema", "definition"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=30) == 141


def test_a_full_disk_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "schema", "report"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_standard_output() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "--version"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_the_terminal_cannot_encode(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text("id: m\nversion: 1\ninitial: ä\nstates: {a: {}}\n", encoding="utf-8")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run("check", str(path), env=env)
    assert done.returncode == 3
    assert "no state '\\xe4' to start in" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["chek"], ["diff"], ["check", "--formt", "json", "x"], ["--nope"], ["schema"]]
)
def test_usage_errors(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: statekeep" in done.stderr
    assert "Traceback" not in done.stderr


def test_help() -> None:
    for arguments in ([], ["--help"], ["-h"]):
        done = run(*arguments)
        assert done.returncode == 0
        assert "check" in done.stdout
    assert (
        max(
            len(line)
            for line in run("check", "--help", env={**os.environ, "COLUMNS": "80"}).stdout.splitlines()
        )
        <= 80
    )


def test_the_version_needs_no_library() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("statekeep ")
    heavy = {"typer", "click", "rich", "yaml", "msgspec", "jsonschema_rs"}
    code = "import sys; from statekeep_cli.cli import main; main(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert heavy.isdisjoint(done.stdout.splitlines()[1].split())


def test_importing_the_package_imports_no_command() -> None:
    code = "import sys; import statekeep_cli.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    ours = {m for m in done.stdout.split() if m.startswith("statekeep_cli")}
    assert ours == {f"statekeep_cli{x}" for x in ("", ".cli", ".errors", ".version")}
