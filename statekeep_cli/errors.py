"""Every way a command can end other than well, one exit code each (surface.md, "exit codes").

    StateKeepError            1    anything below; raised itself for failures with no better name
    ├── InputUnreadable       1    a file that cannot be opened, decoded or parsed
    │   └── DefinitionInvalid 1    a definition that parses and is wrong; every finding, located
    ├── UsageMistake          2    arguments that contradict each other
    ├── Findings              3    past the gate, or a check failed; nothing was written
    ├── ChangesPending        4    clean, but there is something to do (`--detailed-exitcode`)
    ├── PlanStale             5    the world moved since the plan was made
    ├── RunLocked             6    another run holds the lock
    ├── StoppedPartWay        7    paused or stopped in the middle; run again to go on
    │   ├── DatabaseBusy      7    a deadlock, a timeout or a lock that did not pass
    │   └── GatePassed        7    more strands while writing than the gate allows
    ├── Declined              8    a person said no, or nobody was there to say yes
    ├── DatabaseUnavailable   9    the database is unreachable or refuses access
    │   └── ConnectionLost    9    it was there, and went away
    └── Terminated            143  SIGTERM (Ctrl-C is Python's KeyboardInterrupt, 130)

Only `cli.py` turns these into exit codes. `message` is one sentence: the thing, the place, the next
step; it may be empty where the command has already said everything on its standard output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Severity = Literal["error", "warning"]

EXIT_OK = 0
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One complaint about one place in a file.

    `line` and `column` count from 1, in characters; `line` is 0 where the whole file is meant.
    `end_column` is exclusive and on the same line; `text` is that line, for a caret span. `code` is
    one of `core.check.CODES`, or empty for problems that no definition check raised. `sql` is what
    would help in a database, to be copied.
    """

    path: str
    line: int
    column: int
    message: str
    code: str = ""
    severity: Severity = "error"
    hint: str = ""
    end_column: int = 0
    text: str = ""
    sql: str = ""

    @property
    def place(self) -> str:
        """`path:line:column`, or the path alone."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path

    @property
    def sentence(self) -> str:
        """The place, what is wrong and the next step."""
        return f"{self.place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class StateKeepError(Exception):
    """The root of the tree. `problems` are located complaints behind the message, if any."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", problems: tuple[Problem, ...] = ()):
        super().__init__(message)
        self.message = message
        self.problems = problems


class InputUnreadable(StateKeepError):
    """A file that cannot be opened, decoded or parsed."""

    @classmethod
    def of(cls, *problems: Problem) -> InputUnreadable:
        """The error for these problems; its message is the first one's sentence."""
        return cls(problems[0].sentence, problems)


class DefinitionInvalid(InputUnreadable):
    """A definition that parses and is wrong; `problems` are all findings, warnings included."""


class UsageMistake(StateKeepError):
    """Arguments that contradict each other."""

    exit_code = 2


class Findings(StateKeepError):
    """Past the gate, or a check failed; nothing was written."""

    exit_code = 3


class ChangesPending(StateKeepError):
    """Clean, but there is something to do."""

    exit_code = 4


class PlanStale(StateKeepError):
    """The world moved since the plan was made."""

    exit_code = 5


class RunLocked(StateKeepError):
    """Another run holds the lock."""

    exit_code = 6


class StoppedPartWay(StateKeepError):
    """Stopped in the middle, in a state from which the same command goes on."""

    exit_code = 7


class DatabaseBusy(StoppedPartWay):
    """A deadlock, a serialization failure, a lock or a statement that took too long; may be tried again."""


class GatePassed(StoppedPartWay):
    """More strands or other hazards than the gate allows, found while writing; that batch was not written."""


class Declined(StateKeepError):
    """A person said no, or nobody was there to say yes."""

    exit_code = 8


class DatabaseUnavailable(StateKeepError):
    """The database is unreachable or refuses access."""

    exit_code = 9


class ConnectionLost(DatabaseUnavailable):
    """The connection broke; another one may work."""


class Terminated(StateKeepError):
    """SIGTERM arrived."""

    exit_code = 143
