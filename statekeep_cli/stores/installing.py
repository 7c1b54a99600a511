"""StateKeep's own tables: whether they are there, and creating or upgrading them."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Literal

from statekeep_cli.errors import DatabaseBusy, StateKeepError
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.schema import POSTGRES, SQLITE, VERSION

Kind = Literal["sqlite", "postgres"]

SCRIPTS: dict[Kind, tuple[str, ...]] = {"sqlite": SQLITE, "postgres": POSTGRES}
NAMES: dict[Kind, str] = {"sqlite": r"statekeep_\1", "postgres": r"statekeep.\1"}
# One number per purpose among Postgres' advisory locks: "statekeep", read as bytes and cut to a bigint.
INSTALLING = int.from_bytes(b"statekee", "big")


def installed(store: Store) -> int:
    """The version of the own tables in a database; 0 where there are none."""
    if store.kind == "postgres":
        there = store.one("SELECT to_regclass(%s) IS NOT NULL", (store.name("meta"),))
    else:
        there = store.one(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = %s", (store.name("meta"),)
        )
    if there is None or not there[0]:
        return 0
    found = store.one("SELECT max(version) FROM {meta}")
    return int(found[0] or 0) if found else 0


def require(store: Store) -> None:
    """Raises `StateKeepError` unless the own tables are there, in the version this program works with."""
    version = installed(store)
    if version < VERSION:
        what = f"StateKeep tables of version {version}, not {VERSION}" if version else "no StateKeep tables"
        raise StateKeepError(f"{store.address} has {what}; run statekeep db init")
    _refuse_newer(store, version)


def install(store: Store) -> int:
    """Creates or upgrades the own tables, in one transaction; which version was there before (0: none).

    Two at once wait for each other. Raises `StateKeepError` where a newer StateKeep was here.
    """
    if store.kind == "sqlite" and store.one("PRAGMA page_count") == (0,):
        # A new file: writers and readers need not wait for each other. It cannot be done in a transaction;
        # where two do it at once, one of them has.
        with suppress(DatabaseBusy):
            store.rows("PRAGMA journal_mode = WAL")
    with store.transaction():
        if store.kind == "postgres":
            store.rows("SELECT pg_advisory_xact_lock(%s)", (INSTALLING,))
        before = installed(store)
        _refuse_newer(store, before)
        for version in range(before, VERSION):
            store.script(SCRIPTS[store.kind][version])
            store.execute("INSERT INTO {meta} (version) VALUES (%s)", (version + 1,))
    return before


def script(kind: Kind, since: int = 0) -> str:
    """The SQL that `install` would run where version `since` is; "" where nothing is missing."""
    if since >= VERSION:
        return ""
    # As `install` does for a new file; it cannot be part of the transaction.
    parts = ["PRAGMA journal_mode = WAL;", "BEGIN;"] if kind == "sqlite" and not since else ["BEGIN;"]
    for version in range(since, VERSION):
        parts += [SCRIPTS[kind][version].strip(), f"INSERT INTO {{meta}} (version) VALUES ({version + 1});"]
    return named(kind, "\n".join([*parts, "COMMIT;\n"]))


def named(kind: Kind, statements: str) -> str:
    """Statements with the names of own tables in place of `{table}`, for people to run."""
    return re.sub(r"\{(\w+)\}", NAMES[kind], statements)


def _refuse_newer(store: Store, version: int) -> None:
    if version > VERSION:
        raise StateKeepError(
            f"{store.address} has StateKeep tables of version {version}, and this program knows {VERSION}"
            "; install the newer StateKeep"
        )
