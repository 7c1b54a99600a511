"""Findings about a live database, and the table of their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from statekeep_cli.core.check_finding import Code, Pointer, Severity, listed

_E: Severity = "error"
_W: Severity = "warning"

# Stable: a code keeps its meaning for good, and a retired one is not used again. An error is what
# stops `preview`; what only stops or slows down `apply` is a warning, since preview has users of its own.
CODES: dict[str, Code] = {
    "DB001": Code(_E, "a table that does not exist"),
    "DB002": Code(_E, "a column that does not exist"),
    "DB003": Code(_E, "a column of a type that cannot hold what it should"),
    "DB004": Code(_E, "an id that does not identify one actor"),
    "DB005": Code(_E, "no revision that tells one write from the next"),
    "DB006": Code(_W, "a history that is read without an index"),
    "DB007": Code(_E, "SQL that the database refuses"),
    "DB008": Code(_E, "a privilege that preview needs"),
    "DB009": Code(_W, "a privilege that apply needs"),
    "DB010": Code(_W, "a server, or a file, that is read-only"),
    "DB011": Code(_W, "a trigger that runs for every migrated actor"),
    "DB012": Code(_W, "row-level security that may hide actors"),
    "DB013": Code(_E, "StateKeep's own tables missing, or of another version"),
    "DB014": Code(_W, "actors in a state that no definition has"),
    "DB015": Code(_W, "actors of a version that no definition has"),
    "DB016": Code(_E, "a state or version of a definition that the column cannot hold"),
    "DB017": Code(_W, "something that could not be looked at"),
}


@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """One finding. `pointer` is the part of the configuration it is about, `sql` what would help (or "")."""

    code: str
    pointer: Pointer
    message: str
    hint: str = ""
    sql: str = ""

    @property
    def severity(self) -> Severity:
        return CODES[self.code].severity


def grant(
    code: str, pointer: Pointer, privilege: str, tables: Sequence[str], user: str, why: str
) -> DatabaseFinding:
    """A privilege that a user (as SQL text) lacks on tables (as SQL text); `why` ends the message."""
    message = f"{user} may not {privilege.split(', ')[-1]} {listed(tables)}: {why}"
    return DatabaseFinding(code, pointer, message, "", f"GRANT {privilege} ON {', '.join(tables)} TO {user};")
