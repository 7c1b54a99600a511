"""The command line that does the same as an action of the screen."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from statekeep_cli.core.report import single_path
from statekeep_cli.stores.rescue import Group


@dataclass(frozen=True, slots=True)
class Twins:
    """Command lines on one database: `options` name it (never with a password), `definitions` are the files
    that were given, sources first."""

    options: tuple[str, ...]
    definitions: tuple[str, ...] = ()

    def groups(self) -> str:
        return self._line(["list"])

    def page(self, group: Group, after: str | None = None) -> str:
        """The actors of a group's state and reason, which are those of the group unless versions differ."""
        state = single_path(json.loads(group.state)) or group.state
        reason = [] if group.reason is None else ["--reason", group.reason]
        paged = [] if after is None else ["--after", after]
        return self._line(["list", "--actors", "--state", state, *reason, *paged])

    def show(self, id: str) -> str:
        return self._line(["show"], [id, *self.definitions])

    def resolve(self, id: str, to: str, why: str) -> str:
        files = [word for path in self.definitions for word in ("--definition", path)]
        return self._line(["resolve"], [id], ["--to", to or "STATE", "--reason", why or "TEXT", *files])

    def retry(self) -> str:
        """Once the definition is corrected, in its file or in a side file."""
        return self._line(["retry", *(self.definitions or ("--mapping", "FILE"))])

    def _line(self, words: Sequence[str], arguments: Sequence[str] = (), more: Sequence[str] = ()) -> str:
        named = [*arguments]
        line = ["statekeep", "rescue", *words]
        if named and named[0].startswith("-"):  # no option, whatever it looks like
            return shlex.join([*line, *more, *self.options, "--", *named])
        return shlex.join([*line, *named, *more, *self.options])
