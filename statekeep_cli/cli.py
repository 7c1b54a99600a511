"""The `statekeep` command: registers commands, and turns errors into exit codes.

Nothing else does either. What a command needs is imported when it runs, so that `statekeep
--version` and usage errors answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, cast

from statekeep_cli.errors import EXIT_INTERRUPTED, EXIT_OK, InputUnreadable, StateKeepError, Terminated
from statekeep_cli.version import version

EXIT_USAGE = 2
EXIT_BROKEN_PIPE = 128 + 13  # as a shell reports death by SIGPIPE


def app() -> Any:
    """The Typer app with every command."""
    import typer

    from statekeep_cli.commands.apply import apply
    from statekeep_cli.commands.check import check
    from statekeep_cli.commands.ci import ci
    from statekeep_cli.commands.completion import completion
    from statekeep_cli.commands.control import cancel, pause, resume
    from statekeep_cli.commands.db import db
    from statekeep_cli.commands.diff import diff
    from statekeep_cli.commands.explain import explain
    from statekeep_cli.commands.infer import infer
    from statekeep_cli.commands.log import log
    from statekeep_cli.commands.preview import preview
    from statekeep_cli.commands.rescue import rescue
    from statekeep_cli.commands.revert import revert
    from statekeep_cli.commands.schema import schema
    from statekeep_cli.commands.snapshot import snapshot
    from statekeep_cli.commands.status import status
    from statekeep_cli.commands.suggest import suggest
    from statekeep_cli.commands.watch import watch

    def show_version(wanted: bool) -> None:
        if wanted and "_STATEKEEP_COMPLETE" not in os.environ:  # a shell that completes runs nothing
            print(f"statekeep {version()}")
            raise typer.Exit

    def root(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Show the version and exit."
        ),
    ) -> None:
        pass

    typer_app = typer.Typer(
        name="statekeep",
        help="Decide, by its history, where every live actor belongs in a new version of its state machine.",
        add_completion=False,
        rich_markup_mode=None,  # plain help: user text never meets a markup parser
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    typer_app.callback()(root)
    for command in (check, diff, preview, apply, explain, suggest, infer, schema,
                    status, pause, resume, cancel, watch, revert, log, snapshot, ci, completion):  # fmt: skip
        typer_app.command()(command)
    typer_app.add_typer(db)
    typer_app.add_typer(rescue)
    return typer_app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code. Never raises, and shows no traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to fail
    before: Any = None
    with suppress(ValueError):  # not the main thread: whoever runs it handles signals
        before = signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Python flushes standard output once more at exit; there must be something to flush into.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except StateKeepError as error:
        return _explain(error)
    except Exception as error:
        if os.environ.get("STATEKEEP_DEBUG", "0") not in ("", "0"):
            raise
        what = " ".join(str(error).split()) or "no message"
        kind = type(error).__name__
        return _say(f"unexpected failure, {kind}: {what}; STATEKEEP_DEBUG=1 shows where", 1)
    finally:
        if before is not None:  # whoever called this has a handler of its own
            signal.signal(signal.SIGTERM, before)


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:  # before anything is imported
        print(f"statekeep {version()}")
        return EXIT_OK
    import typer

    # UsageError, wherever this version of Typer keeps its click
    usage_error = cast("type[Exception]", typer.BadParameter.__mro__[1])
    command = typer.main.get_command(app())
    asked = os.environ.get("_STATEKEEP_COMPLETE")
    if asked is not None:  # by the script that `statekeep completion` prints
        from statekeep_cli.commands.completion import answer

        return answer(command, asked)
    try:
        # Not `command.main`: it answers a closed pipe and Ctrl-C with exit code 1.
        with command.make_context("statekeep", list(arguments) or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return _say("interrupted", EXIT_INTERRUPTED)
    except usage_error as error:
        cast(Any, error).show()
        return EXIT_USAGE
    return EXIT_OK


def _explain(error: StateKeepError) -> int:
    if isinstance(error, InputUnreadable) and error.problems:
        from statekeep_cli.render.problems import render_problems
        from statekeep_cli.render.terminal import wants_color, width_of

        errors = [p for p in error.problems if p.severity == "error"]
        sys.stdout.flush()
        shown = render_problems(errors, width_of(sys.stderr), wants_color(sys.stderr))
        sys.stderr.write(shown.rstrip("\n") + "\n")
    elif error.message:
        return _say(error.message, error.exit_code)
    return error.exit_code


def _say(message: str, code: int) -> int:
    from statekeep_cli.render.terminal import inert

    with suppress(OSError):  # nobody may be listening any more
        sys.stdout.flush()
        # What was stopped on purpose, or declined, is no error.
        said = inert(message) if code in (EXIT_INTERRUPTED, 7, 8) else f"error: {inert(message)}"
        print(said, file=sys.stderr)
    return code


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated("terminated")


if __name__ == "__main__":
    sys.exit(main())
