"""`statekeep completion`: the script by which a shell completes command lines."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from statekeep_cli.errors import UsageMistake

NAME = "statekeep"
VARIABLE = "_STATEKEEP_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that makes a shell complete definition files, states and runs.

    bash: add `eval "$(statekeep completion bash)"` to ~/.bashrc. zsh: add the same with zsh to ~/.zshrc,
    behind compinit. fish: statekeep completion fish > ~/.config/fish/completions/statekeep.fish

    Example: statekeep completion bash
    """
    from click.shell_completion import get_completion_class

    if shell not in SHELLS:
        raise UsageMistake(f"there is no completion for '{shell}'; give one of {', '.join(SHELLS)}")
    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(None, {}, NAME, VARIABLE)  # type: ignore[arg-type]  # the script does not depend on commands
    # Not `made.source()`: it starts a bash to ask for its version, and there may be none here.
    sys.stdout.write(made.source_template % made.source_vars())


def answer(command: Any, instruction: str) -> int:
    """What the script asks for, `bash_complete`: words for the command line in the environment.

    Quiet whatever happens: an error would stand in the middle of a line that somebody types.
    """
    from click.shell_completion import get_completion_class

    shell, _, asked = instruction.partition("_")
    kind = get_completion_class(shell)
    if kind is None or asked != "complete":
        return 1
    from statekeep_cli.commands.completing import teach

    try:
        teach(command)
        sys.stdout.write(kind(command, {}, NAME, VARIABLE).complete() + "\n")
    except Exception:
        return 1
    return 0
