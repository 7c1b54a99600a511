"""Orders: a population in which every kind of decision occurs, in own tables and in a team's own.

Three kinds of tables (`LAYOUTS`): `own`, `column` (a table with version, revision and rescue columns and
an audit table), `marks` (a table with a status column only; version and rescue are kept beside it).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statekeep_cli import cli
from statekeep_cli.stores import installing
from statekeep_cli.stores.interface import Store

LAYOUTS = ("own", "column", "marks")

V1: dict[str, Any] = {
    "id": "order",
    "version": 1,
    "initial": "created",
    "states": {
        "created": {"on": {"PAY": "paid", "CANCEL": "cancelled"}},
        "paid": {"on": {"PACK": "packed", "INSPECT": "inspected"}},
        "inspected": {"on": {"PACK": "packed"}},
        "packed": {"on": {"SHIP": "shipped", "UNPACK": "paid"}},
        "shipped": {"on": {"DELIVER": "delivered", "RETURN": "paid"}},
        "delivered": {"type": "final"},
        "cancelled": {"type": "final"},
    },
}
# What was inspected is sealed now; where the shipped ones are nobody has said; who has an old price waits.
V2: dict[str, Any] = {
    "id": "order",
    "version": 2,
    "initial": "created",
    "states": {
        "created": {"on": {"PAY": "paid", "CANCEL": "cancelled"}},
        "paid": {"on": {"PACK": "packed", "INSPECT": "inspected"}},
        "inspected": {"on": {"PACK": "sealed"}},
        "sealed": {"on": {"SHIP": "in_transit"}},
        "packed": {"on": {"SHIP": "in_transit", "UNPACK": "paid"}},
        "in_transit": {"on": {"DELIVER": "delivered", "RETURN": "paid"}},
        "delivered": {"type": "final"},
        "cancelled": {"type": "final"},
    },
    "migration": {
        "from": [1],
        "context": {"rename": {"price": "amount"}, "defaults": {"checked": False}},
        "anchors": {"seen": {"state": "inspected"}},
        "routes": [
            {"from": "created", "when": {"context": {"required": ["price"]}}, "stay": True},
            {"from": "packed", "when": {"all": ["seen"]}, "to": "sealed"},
            {"from": "packed", "to": "packed"},
        ],
    },
}
# Without edits of contexts: what is decided about an order is all there is to write to it.
PLAIN: dict[str, Any] = {
    **V2,
    "migration": {key: value for key, value in V2["migration"].items() if key != "context"},
}
V3: dict[str, Any] = {
    **{k: v for k, v in V2.items() if k != "migration"},
    "version": 3,
    "migration": {
        "context": {"rename": {"price": "amount"}, "defaults": {"checked": False}},
        "anchors": {"seen": {"state": "inspected"}},
        "routes": [
            {"from": "packed", "when": {"all": ["seen"]}, "to": "sealed"},
            {"from": "packed", "to": "packed"},
        ],
        "stateMapping": {"shipped": "in_transit"},
    },
}


# What may happen in a state of a version: (event, state after it).
STEPS = {
    (definition["version"], state): sorted(node.get("on", {}).items())
    for definition in (V1, V2)
    for state, node in definition["states"].items()
}


def walked(rng: random.Random, most: int = 8) -> tuple[str, list[str]]:
    """A state of version 1, and the events that lead there."""
    state, events = "created", list[str]()
    for _ in range(rng.randrange(most + 1)):
        steps = V1["states"][state].get("on")
        if not steps:
            break
        event = rng.choice(sorted(steps))
        if event == "CANCEL" and rng.random() < 0.7:
            continue
        events.append(event)
        state = steps[event]
    return state, events


def records(count: int, seed: int) -> list[dict[str, Any]]:
    """An export of `count` actors; ids are numbers, as text."""
    rng = random.Random(seed)
    found: list[dict[str, Any]] = []
    for n in range(count):
        state, events = walked(rng)
        record: dict[str, Any] = {"id": str(1000 + n), "definition": "order", "version": 1}
        context = rng.choice(
            [None, {}, {"price": n}, {"note": "a'b"}, {"price": n, "more": [1, {"x": None}]}]
        )
        record["history"] = events
        chance = rng.random()
        if chance < 0.08:
            state = "shipped"  # where its history does not lead
        elif chance < 0.13:
            del record["history"]
        elif chance < 0.17:
            record["status"] = "done"
        elif chance < 0.2:
            record["version"] = 9
        elif chance < 0.24:
            record["version"] = 2
            state = "paid"
        if chance > 0.85:
            record["snapshot"] = {
                "status": "active",
                "value": state,
                "context": context or {},
                "historyValue": {},
                "children": {},
            }
        else:
            record["state"] = state
            if context is not None:
                record["context"] = context
        found.append(record)
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """One actor as anybody would read it from the tables; JSON is parsed."""

    state: Any
    version: str
    status: str
    reason: str | None
    context: Any
    snapshot: Any
    revision: str


class Orders:
    """A population of one layout in one database. `url` may be changed to a copy of the database."""

    def __init__(self, layout: str, url: str, folder: Path):
        self.layout, self.url, self.folder = layout, url, folder
        self.v1, self.v2, self.v3 = (self._file(f"order-v{d['version']}.json", d) for d in (V1, V2, V3))
        self.config = self._file("statekeep.json", {} if layout == "own" else self._mapping())

    def plain(self) -> Orders:
        """The same with a version 2 that edits no contexts."""
        self.v2 = self._file("order-v2-plain.json", PLAIN)
        return self

    def _file(self, name: str, value: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps(value))
        return str(path)

    def _mapping(self) -> dict[str, Any]:
        history = {"table": "orders_log", "actor": "order_id", "event": "event", "order": "n"}
        actors: dict[str, Any] = {"table": "orders", "id": "id", "state": "state"}
        if self.layout == "column":
            actors |= {"version": "ver", "revision": "rev", "rescue": "why", "context": "data"}
        else:
            actors |= {"version": {"kept_by": "statekeep", "first": 1}, "context": "data"}
            if self.url.startswith("sqlite"):
                actors["revision"] = "rev"
        return {"actors": actors, "history": history}

    @property
    def definitions(self) -> list[str]:
        return [self.v2] if self.layout == "own" else [self.v1, self.v2]

    def command(self, name: str, *arguments: str, definitions: Iterable[str] | None = None) -> list[str]:
        files = self.definitions if definitions is None else definitions
        return [name, *files, "--db", self.url, "--config", self.config, *arguments]

    def apply(self, *arguments: str, definitions: Iterable[str] | None = None) -> list[str]:
        loose = ("--yes", "--max-strand", "all", "--allow-hazards", "--quiet")
        return self.command("apply", *loose, *arguments, definitions=definitions)

    def preview(self, path: Path, **more: Any) -> dict[str, Any]:
        """Each actor's decision, by `preview --format jsonl`."""
        arguments = ["--max-strand", "all", "--allow-hazards", "--quiet", "--format", f"jsonl={path}"]
        assert cli.main(self.command("preview", *arguments, **more)) == 0
        return decisions_of(path)

    # --- tables ---

    def create(self, store: Store, found: Iterable[dict[str, Any]]) -> None:
        installing.install(store)
        found = list(found)
        if self.layout == "own":
            path = self.folder / "import.jsonl"
            path.write_text("".join(json.dumps(r) + "\n" for r in found))
            actors = ["--actors", str(path)] if found else []
            assert cli.main(["db", "import", self.v1, *actors, "--db", self.url]) == 0
            return
        json_type, number = ("jsonb", "bigint") if store.kind == "postgres" else ("JSON", "INTEGER")
        key = number if self.layout == "column" else "text"
        columns = f"id {key} PRIMARY KEY, state text NOT NULL, data {json_type}"
        if self.layout == "column":
            columns += ", ver integer NOT NULL, why text"
        if self.layout == "column" or store.kind == "sqlite":
            columns += f", rev {number} NOT NULL DEFAULT 0"
        serial = "bigserial" if store.kind == "postgres" else "INTEGER"
        store.script(
            f"CREATE TABLE orders ({columns}); CREATE TABLE orders_log (n {serial} PRIMARY KEY,"
            f" order_id {key} NOT NULL, event text NOT NULL);"
            " CREATE INDEX orders_log_order ON orders_log (order_id, n)"
        )
        with store.transaction():
            for record in found:
                self.insert(store, record)

    def insert(self, store: Store, record: Mapping[str, Any]) -> None:
        """A foreign order, within the caller's transaction."""
        snapshot = record.get("snapshot")
        state = snapshot["value"] if snapshot else record["state"]
        context = snapshot["context"] if snapshot else record.get("context")
        data = None if context is None else json.dumps(context)
        if self.layout == "column":
            store.execute(
                "INSERT INTO orders (id, state, data, ver) VALUES (%s, %s, %s, %s)",
                (int(record["id"]), state, data, record["version"]),
            )
        else:
            store.execute(
                "INSERT INTO orders (id, state, data) VALUES (%s, %s, %s)", (record["id"], state, data)
            )
        for event in record.get("history") or []:
            self.log(store, record["id"], event)

    def log(self, store: Store, order: str, event: str) -> None:
        if self.layout == "own":
            store.execute("INSERT INTO {events} (actor, type) VALUES (%s, %s)", (order, event))
            return
        key: Any = int(order) if self.layout == "column" else order
        store.execute("INSERT INTO orders_log (order_id, event) VALUES (%s, %s)", (key, event))

    def advance(self, store: Store, order: str, state: str, event: str) -> None:
        """What the team's application does: state, revision and event in one transaction."""
        key: Any = int(order) if self.layout == "column" else order
        table, column = ("{actors}", "revision") if self.layout == "own" else ("orders", "rev")
        value = json.dumps(state) if self.layout == "own" else state
        xmin = self.layout == "marks" and store.kind == "postgres"
        revision = "" if xmin else f", {column} = {column} + 1"
        with store.transaction():
            store.execute(f"UPDATE {table} SET state = %s{revision} WHERE id = %s", (value, key))
            self.log(store, order, event)

    def seen(self, store: Store) -> dict[str, Seen]:
        """All actors as they are now."""
        if self.layout == "own":
            rows = store.rows(
                "SELECT id, CAST(state AS text), version, status, reason, CAST(context AS text),"
                " CAST(snapshot AS text), revision FROM {actors}"
            )
        elif self.layout == "column":
            rows = store.rows(
                "SELECT id, state, ver, CASE WHEN why IS NULL THEN 'active' ELSE 'needs_rescue' END, why,"
                " CAST(data AS text), NULL, rev FROM orders"
            )
        else:
            revision = "CAST(o.xmin AS text)" if store.kind == "postgres" else "o.rev"
            rows = store.rows(
                "SELECT o.id, o.state, coalesce(m.version, '1'), coalesce(m.status, 'active'), m.reason,"
                f" CAST(o.data AS text), NULL, {revision} FROM orders o"
                " LEFT JOIN {marks} m ON m.actor = o.id"
            )
        return {
            str(i): Seen(
                json.loads(state) if self.layout == "own" else state,
                str(version),
                status,
                reason,
                None if context is None else json.loads(context),
                None if snapshot is None else json.loads(snapshot),
                str(revision),
            )
            for i, state, version, status, reason, context, snapshot, revision in rows
        }

    def events(self, store: Store) -> dict[str, list[str]]:
        """The event types of every actor, in their order."""
        statement = "SELECT actor, type FROM {events} ORDER BY actor, seq"
        if self.layout != "own":
            statement = "SELECT order_id, event FROM orders_log ORDER BY order_id, n"
        found: dict[str, list[str]] = {}
        for actor, event in store.rows(statement):
            found.setdefault(str(actor), []).append(event)
        return found


def decisions_of(path: Path) -> dict[str, Any]:
    """actor -> decision, from JSON Lines; without what all lines share."""
    found = {}
    for line in path.read_text().splitlines():
        value = json.loads(line)
        assert value["actor"] not in found
        found[value["actor"]] = {
            k: v for k, v in value.items() if k not in ("formatVersion", "definitions", "actor")
        }
    return found


def recorded(store: Store, run: int | None = None) -> dict[str, Any]:
    """actor -> decision of a run (the latest), as apply stored it."""
    if run is None:
        run = store.rows("SELECT max(run) FROM {runs}")[0][0]
    rows = store.rows(
        "SELECT d.actor, CAST(c.decision AS text) FROM {decisions} d"
        " JOIN {classes} c ON c.run = d.run AND c.class = d.class WHERE d.run = %s",
        (run,),
    )
    assert len({actor for actor, _ in rows}) == len(rows)
    return {actor: json.loads(text) for actor, text in rows}


def context_after(context: Any) -> Any:
    """What the edits of version 2 make of a context."""
    found = dict(context or {})
    if "price" in found:
        found["amount"] = found.pop("price")
    return {"checked": False, **found}


def verify(
    orders: Orders,
    store: Store,
    before: Mapping[str, Seen],
    expected: Mapping[str, Any],
    run: int,
) -> None:
    """Every actor is wholly as its decision says, and has exactly one; `expected` are preview's."""
    after, found = orders.seen(store), recorded(store, run)
    assert found == {i: d for i, d in expected.items() if d["outcome"] != "skip"}
    rows = store.rows("SELECT actor, events, revision FROM {decisions} WHERE run = %s", (run,))
    traces = orders.events(store)
    for actor, events, revision in rows:
        assert events == len(traces.get(actor, []))
        assert revision == after[actor].revision
    assert after.keys() == before.keys()
    for actor, old in before.items():
        new, decision = after[actor], expected[actor]
        if decision["outcome"] == "migrate":
            assert (new.state, new.version) == (decision["to"]["state"], str(decision["to"]["version"]))
            assert (new.status, new.reason) == ("active", None)
            assert new.context == context_after(old.context)
            assert new.snapshot == old.snapshot
            assert _later(old.revision, new.revision, orders)
        elif decision["outcome"] == "strand":
            assert (new.status, new.reason) == ("needs_rescue", decision["reason"])
            kept = (new.state, new.version, new.context, new.snapshot)
            assert kept == (old.state, old.version, old.context, old.snapshot)
            assert orders.layout == "marks" or _later(old.revision, new.revision, orders)
        else:
            assert new == old


def _later(old: str, new: str, orders: Orders) -> bool:
    """Was the row written exactly once?"""
    xmin = orders.layout == "marks" and not orders.url.startswith("sqlite")
    return old != new if xmin else int(new) == int(old) + 1
