"""Asking before something is done that cannot be taken back."""

from __future__ import annotations

import sys

from statekeep_cli.errors import Declined


def confirm(question: str, yes: bool = False) -> None:
    """Ask a person at a terminal, who has to say yes; with `yes` nobody is asked.

    Raises `Declined` (exit 8) for any other answer, and where nobody is there to ask.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Declined(f"{question} Nobody is here to say so; add --yes")
    sys.stdout.flush()
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Declined("declined; nothing was done")
