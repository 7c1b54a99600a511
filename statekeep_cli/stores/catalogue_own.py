"""Findings about StateKeep's own tables: there, current, and open to the user."""

from __future__ import annotations

from collections.abc import Iterator

from statekeep_cli.core.mapping import Mapping
from statekeep_cli.errors import ConnectionLost, DatabaseUnavailable
from statekeep_cli.stores import catalogue_facts as facts
from statekeep_cli.stores.catalogue_finding import DatabaseFinding as Finding
from statekeep_cli.stores.catalogue_finding import grant
from statekeep_cli.stores.installing import installed
from statekeep_cli.stores.interface import TABLES, Store
from statekeep_cli.stores.schema import VERSION

INIT = "statekeep db init"


def own_tables(store: Store, mapping: Mapping) -> Iterator[Finding]:
    """What preview and apply need of them; a mapping of foreign tables needs no actors and events."""
    user = facts.user(store)
    try:
        version = installed(store)
    except ConnectionLost:
        raise
    except DatabaseUnavailable as error:
        sql = f"GRANT USAGE ON SCHEMA statekeep TO {user};"
        sql += f"\nGRANT SELECT ON ALL TABLES IN SCHEMA statekeep TO {user};"
        yield Finding("DB008", (), f"StateKeep's own tables cannot be read: {facts.said(error)}", "", sql)
        return
    if version != VERSION:
        if version > VERSION:
            message = f"StateKeep's own tables are of version {version}, and this program knows {VERSION}"
            yield Finding("DB013", (), message, "install the newer StateKeep")
            return
        what = f"are of version {version}, not {VERSION}" if version else "are not there"
        hint = f"run {INIT}, or have {INIT} --print-sql run for you"
        yield Finding("DB013", (), f"StateKeep's own tables {what}", hint)
        return
    if store.kind != "postgres":
        return
    # Every table is read; actors and events of its own only where it keeps them itself.
    used = [t for t in TABLES if mapping.own or t not in ("actors", "events")]
    by_name = {store.name(t): t for t in used}
    lacking = facts.table_privileges(store, list(by_name), "SELECT")
    if lacking:
        yield grant("DB008", (), "SELECT", lacking, user, "preview reads them")
    written = [n for n, t in by_name.items() if t not in ("meta", "events")]
    lacking = facts.table_privileges(store, written, "INSERT")
    changed = [n for n in written if by_name[n] not in ("classes", "decisions")]
    lacking += [n for n in facts.table_privileges(store, changed, "UPDATE") if n not in lacking]
    if lacking:
        yield grant("DB009", (), "SELECT, INSERT, UPDATE", lacking, user, "apply writes them")
