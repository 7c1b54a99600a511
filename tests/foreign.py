"""A team's own tables, in every form a mapping may have, and the export that says the same.

`Shape` is one way to keep orders: which columns there are and of which types. `Orders` makes the tables of a
shape, fills them, moves an actor as the team's own program would, and tells what is in them as records of an
export. The export's side is written down here from the same list of actors, not read from the tables.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from statekeep_cli.cli import main
from statekeep_cli.stores.interface import Store
from tests.databases import Database

State = Any

V1: dict[str, Any] = {
    "id": "order",
    "version": 1,
    "initial": "new",
    "states": {
        "new": {"on": {"PAY": "paid"}},
        "paid": {"on": {"PACK": "packing", "FLAG": "review"}},
        "review": {"on": {"OK": "paid"}},
        "packing": {
            "initial": "picking",
            "states": {
                "picking": {"on": {"PICKED": "boxing"}},
                "boxing": {"on": {"BOXED": "#order.shipping"}},
            },
        },
        "shipping": {
            "type": "parallel",
            "states": {
                "parcel": {
                    "initial": "moving",
                    "states": {"moving": {"on": {"ARRIVE": "arrived"}}, "arrived": {}},
                },
                "mail": {"initial": "unsent", "states": {"unsent": {"on": {"NOTIFY": "sent"}}, "sent": {}}},
            },
        },
    },
}
_PACKING = {
    "initial": "picking",
    "states": {
        "picking": {"on": {"PICKED": "boxing"}},
        "boxing": {"on": {"WEIGH": "weighing", "BOXED": "#order.shipping"}},
        "weighing": {"on": {"BOXED": "#order.shipping"}},
    },
}
V2: dict[str, Any] = {
    **V1,
    "version": 2,
    "states": {
        **V1["states"],
        "paid": {"on": {"PACK": "packing", "FLAG": "inspection"}},
        "inspection": {"on": {"OK": "paid"}},
        "packing": _PACKING,
    },
    "migration": {"context": {"defaults": {"currency": "eur"}}},
}
del V2["states"]["review"]
V3: dict[str, Any] = {
    **V2,
    "version": 3,
    "stateMapping": {"review": "inspection"},
    "migration": {"context": {"defaults": {"currency": "eur", "note": "moved"}}},
}

# (event, state after it): every way through version 1 is a beginning of one of these.
MAIN: list[tuple[str, State]] = [
    ("PAY", "paid"),
    ("PACK", {"packing": "picking"}),
    ("PICKED", {"packing": "boxing"}),
    ("BOXED", {"shipping": {"parcel": "moving", "mail": "unsent"}}),
    ("ARRIVE", {"shipping": {"parcel": "arrived", "mail": "unsent"}}),
    ("NOTIFY", {"shipping": {"parcel": "arrived", "mail": "sent"}}),
]
FLAGGED: list[tuple[str, State]] = [("PAY", "paid"), ("FLAG", "review"), ("OK", "paid"), ("FLAG", "review")]
WAYS = [*(MAIN[:n] for n in range(len(MAIN) + 1)), *(FLAGGED[:n] for n in range(2, len(FLAGGED) + 1))]


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True)
class Shape:
    """One way to keep orders. `history` is "", "event", "state" or "both"; `source` is where it comes from:
    a table, a table with other rows in it (where), or a query. `context` is "", "json" or "columns"."""

    name: str
    id: str = "bigint"
    state: str = "text"  # text, json, jsonb or enum
    written: str = "path"  # text: path, mixed (objects as JSON), json (all as JSON)
    version: str = "integer"  # or text, or "" where StateKeep keeps it
    context: str = ""
    revision: str = "integer"  # timestamptz, uuid, or "" for xmin
    rescue: bool = True
    history: str = "both"
    source: str = "table"
    recorded: str = "text"  # the type of recorded states
    key: str = ""  # the type of the history's actor key, where it is another
    order: tuple[str, ...] = ("n",)
    no_rows: str = "none"
    where: bool = False
    postgres_only: bool = False

    @property
    def atomic(self) -> bool:
        return self.state == "enum"


@dataclass
class Orders:
    """The tables of a shape in a database, and the export that says the same."""

    database: Database
    folder: Path
    shape: Shape
    actors: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store: Store = self.database.connect()
        self.store.script(self._ddl())
        self.config = self.folder / "statekeep.json"
        self.config.write_text(json.dumps(self._config()))
        self.files = {}
        for definition in (V1, V2, V3):
            path = self.folder / f"v{definition['version']}.json"
            path.write_text(json.dumps(definition))
            self.files[definition["version"]] = str(path)
        ways = [w for w in WAYS if not self.shape.atomic or all(isinstance(s, str) for _, s in w)]
        for copy in range(2):
            for number, way in enumerate(ways):
                self._insert(copy * len(ways) + number, way)
        if self.shape.where:
            columns = ("id", "status", "deleted", *(("v",) if self.shape.version else ()))
            values = [self._id(900), "no such state", True, *([1] if self.shape.version else [])]
            self._row("team_orders", columns, values)

    # --- the tables ---

    @property
    def _postgres(self) -> bool:
        return self.database.kind == "postgres"

    def _type(self, name: str) -> str:
        if self._postgres:
            return {"integer": "bigint", "enum": "order_state"}.get(name, name)
        return {"bigint": "INTEGER", "timestamptz": "DATETIME", "jsonb": "JSON"}.get(name, name).upper()

    def _ddl(self) -> str:
        s, kind = self.shape, self._type
        columns = [f"id {kind(s.id)} PRIMARY KEY", f"status {kind(s.state)}"]
        if s.version:
            columns.append(f"v {kind(s.version)}")
        if s.context == "json":
            columns.append(f"data {kind('jsonb')}")
        if s.context == "columns":
            number = "numeric" if self._postgres else "REAL"
            columns += [f"amount {number}", "country text", f"tags {kind('jsonb')}", "gift boolean",
                        "currency varchar(8)", "remark text"]  # fmt: skip
        if s.revision or not self._postgres:
            column = f"rev {kind(s.revision or 'integer')}"
            column += {"integer": " NOT NULL DEFAULT 0", "": " NOT NULL DEFAULT 0"}.get(s.revision, "")
            columns.append(column)
        if s.rescue:
            columns.append("why text")
        if s.where:
            columns.append("deleted boolean")
        script = ""
        if s.state == "enum":
            names = [n for v in (V1, V2) for n in v["states"]]
            labels = ", ".join(f"'{n}'" for n in dict.fromkeys(names))
            script += f"CREATE TYPE order_state AS ENUM ({labels});\n"
        script += f"CREATE TABLE team_orders ({', '.join(columns)});\n"
        script += (
            f"CREATE TABLE audit (n {kind('integer')}, batch integer, kind text,"
            f" order_id {kind(s.key or s.id)}, action text, new_status {kind(s.recorded)});\n"
            "CREATE INDEX audit_of_order ON audit (order_id, n);\n"
        )
        return script

    def _config(self) -> dict[str, Any]:
        s = self.shape
        actors: dict[str, Any] = {"table": "team_orders", "id": "id", "state": "status"}
        actors["version"] = "v" if s.version else {"kept_by": "statekeep", "first": 1}
        if s.revision or not self._postgres:
            actors["revision"] = "rev"
        if s.rescue:
            actors["rescue"] = "why"
        if s.context == "json":
            actors["context"] = "data"
        if s.context == "columns":
            actors["context"] = {"amount": "amount", "country": "country", "tags": "tags", "gift": "gift",
                                 "currency": "currency", "note": "remark"}  # fmt: skip
        if s.where:
            actors["where"] = "deleted IS NOT TRUE -- those are none\n"
        if not s.history:
            return {"actors": actors}
        history: dict[str, Any] = {"actor": "order_id", "order": list(s.order), "without_rows": s.no_rows}
        if s.source == "query":
            history["query"] = (
                "SELECT a.n, a.batch, a.order_id, upper(a.action) AS action, a.new_status"
                " FROM audit a WHERE a.kind = 'order' -- only these"
            )
        else:
            history["table"] = "audit"
        if s.source == "where":
            history["where"] = "kind = 'order' AND action NOT LIKE '%view%'"
        if s.history in ("event", "both"):
            history["event"] = "action"
        if s.history in ("state", "both"):
            history["state"] = "new_status"
        return {"actors": actors, "history": history}

    # --- their rows ---

    def _id(self, number: int) -> str:
        if self.shape.id == "uuid":
            return str(uuid.UUID(int=(number * 2654435761) % 2**64 << 40))
        return f"o'{number} %s {{x}}" if self.shape.id == "text" and not self.shape.key else str(number)

    def stored(self, state: State, how: str | None = None) -> str:
        """A state as the team's program writes it."""
        how = how or ("json" if self.shape.state in ("json", "jsonb") else self.shape.written)
        if how == "json" or (how == "mixed" and isinstance(state, dict)):
            return _compact(state)
        path, inner = [], state
        while isinstance(inner, dict) and len(inner) == 1:
            (key,) = inner
            path.append(key)
            inner = inner[key]
        return _compact(state) if isinstance(inner, dict) else ".".join([*path, inner])

    def _row(self, table: str, columns: tuple[str, ...], values: list[Any]) -> None:
        s = self.shape
        casts = {"id": s.id, "status": s.state, "order_id": s.key or s.id, "new_status": s.recorded,
                 "data": "jsonb", "tags": "jsonb", "rev": s.revision, "v": s.version}  # fmt: skip
        places = [
            f"CAST(%s AS {self._type(casts[c])})" if self._postgres and casts.get(c) else "%s"
            for c in columns
        ]
        self.store.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(places)})", values)

    def _insert(self, number: int, way: list[tuple[str, State]]) -> None:
        s, name = self.shape, self._id(number)
        state: State = way[-1][1] if way else "new"
        record: dict[str, Any] = {"id": name, "version": 1, "status": "active", "state": state}
        columns, values = ["id", "status"], list[Any]([name, self.stored(state)])
        if s.version:
            columns.append("v")
            values.append("1")
        if s.context == "json":
            record["context"] = {"amount": number / 4, "tags": ["a", {"b": None}]}
            columns.append("data")
            values.append(json.dumps(record["context"]))
        if s.context == "columns":
            # Every fourth has a currency already; what is NULL is not there.
            context: dict[str, Any] = {
                "amount": number / 4,
                "country": "d'e\"",
                "tags": {"a": [1, None, "x"]},
                "gift": number % 2 == 0,
            }
            if number % 4 == 0:
                context["currency"] = "usd"
            record["context"] = context
            columns += ["amount", "country", "tags", "gift"]
            values += [context["amount"], context["country"], json.dumps(context["tags"]), context["gift"]]
            columns += ["currency"] if "currency" in context else []
            values += [context["currency"]] if "currency" in context else []
        if s.revision in ("timestamptz", "uuid"):
            columns.append("rev")
            values.append("2026-05-01 10:00:00.123456" if s.revision == "timestamptz" else str(uuid.uuid4()))
        self._row("team_orders", tuple(columns), values)
        items = [self._event(name, n, *step) for n, step in enumerate(way)]
        if s.history and (items or s.no_rows == "empty"):
            record["history"] = items
        self.actors[name] = record

    def _event(self, name: str, n: int, event: str, state: State) -> Any:
        """A row of the audit table, and the same as an item of an export."""
        s = self.shape
        # `n` runs the other way within a batch of two where two columns order: only together are they right.
        n, batch = (n, 0) if len(s.order) == 1 else (n % 2, n // 2)
        columns = ("n", "batch", "kind", "order_id", "action", "new_status")
        how = "json" if s.recorded in ("json", "jsonb") else None
        written = event.lower() if s.source == "query" else event
        values = [n, batch, "order", name, written, self.stored(state, how)]
        if s.source in ("where", "query"):
            self._row("audit", columns, [n, batch, "parcel", name, "viewed", self.stored(state, how)])
        self._row("audit", columns, values)
        if s.history == "event":
            return event
        return {"state": state} if s.history == "state" else {"type": event, "state": state}

    def advance(self, name: str, event: str, state: State) -> None:
        """What the team's program does: state, revision and event in one transaction."""
        record = self.actors[name]
        fresh = {"integer": "rev + 1", "timestamptz": "now()", "uuid": "gen_random_uuid()"}
        if not self._postgres:
            fresh = {
                "integer": "rev + 1",
                "timestamptz": "'2026-05-03 00:00:00'",
                "uuid": f"'{uuid.uuid4()}'",
            }
        s = self.shape
        revision = s.revision or ("" if self._postgres else "integer")
        sets = f", rev = {fresh[revision]}" if revision else ""
        status = f"CAST(%s AS {self._type(s.state)})" if self._postgres else "%s"
        key = f"CAST(%s AS {self._type(s.id)})" if self._postgres else "%s"
        with self.store.transaction():
            assert self.store.execute(
                f"UPDATE team_orders SET status = {status}{sets} WHERE id = {key}", (self.stored(state), name)
            )
            if s.history:
                # Numbers go on where they were: markers of StateKeep are none of the team's rows.
                done = sum(
                    isinstance(i, str) or i.get("type") not in ("migrated",)
                    for i in record.get("history", [])
                )
                item = self._event(name, done, event, state)
                record.setdefault("history", []).append(item)
        record["state"] = state

    # --- both sides ---

    def export(self) -> str:
        path = self.folder / "export.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in self.actors.values()))
        return str(path)

    def statekeep(self, *arguments: str) -> int:
        return main([*arguments, "--db", self.database.url, "--config", str(self.config)])

    def previews(self, *versions: int) -> tuple[list[Any], list[Any]]:
        """Every actor's decision, from the database and from the export, in the order of their ids."""
        files = [self.files[v] for v in versions]
        found = []
        for source in (
            ["--db", self.database.url, "--config", str(self.config)],
            ["--actors", self.export()],
        ):
            out = self.folder / "decisions.jsonl"
            code = main(["preview", *files, *source, "--max-strand", "all", "--format", f"jsonl={out}",
                         "--format", f"text={self.folder / 'report.txt'}"])  # fmt: skip
            assert code == 0
            lines = [json.loads(line) for line in out.read_text().splitlines()]
            found.append(sorted(lines, key=lambda x: str(x.get("actor", ""))))
        return found[0], found[1]

    def apply(self, *versions: int) -> None:
        """To both; the export's actors are then what the tables should say."""
        files = [self.files[v] for v in versions]
        out = self.folder / "out.jsonl"
        assert (
            main(["apply", *files, "--actors", self.export(), "-o", str(out), "--max-strand", "all", "--yes"])
            == 0
        )
        self.actors = {r["id"]: r for r in map(json.loads, out.read_text().splitlines())}
        out.unlink()
        assert self.statekeep("apply", *files, "--yes", "--max-strand", "all") == 0

    def in_tables(self) -> dict[str, dict[str, Any]]:
        """What the team's program finds: id -> state as it is written, and whatever else there is."""
        s = self.shape
        columns = ["CAST(id AS text)", "CAST(status AS text)"]
        columns.append("CAST(v AS text)" if s.version else "NULL")
        columns.append("why" if s.rescue else "NULL")
        columns.append("CAST(data AS text)" if s.context == "json" else "NULL")
        if s.context == "columns":
            columns += ["amount", "country", "CAST(tags AS text)", "gift", "currency", "remark"]
        where = " WHERE deleted IS NOT TRUE" if s.where else ""
        rows = self.store.rows(f"SELECT {', '.join(columns)} FROM team_orders{where}")
        found = {}
        for name, state, version, why, data, *more in rows:
            told: dict[str, Any] = {"state": state}
            if s.state in ("json", "jsonb"):
                value = json.loads(state)
                if s.state == "jsonb" and self._postgres:
                    value = json.loads(json.dumps(value, sort_keys=True))
                told["state"] = _compact(value)
            if s.version:
                told["version"] = version
            if s.rescue:
                told["why"] = why
            if s.context == "json":
                told["context"] = json.loads(data)
            if more:
                amount, country, tags, gift, currency, remark = more
                context = {"amount": float(amount), "country": country, "tags": json.loads(tags),
                           "gift": bool(gift), "currency": currency, "note": remark}  # fmt: skip
                told["context"] = {k: v for k, v in context.items() if v is not None}
            found[name] = told
        return found

    def as_in_tables(self) -> dict[str, dict[str, Any]]:
        """The same, of the export's records."""
        s, found = self.shape, {}
        for record in self.actors.values():
            state = record["state"]
            if s.state == "jsonb" and self._postgres:  # it keeps no order of keys
                state = json.loads(json.dumps(state, sort_keys=True))
            told: dict[str, Any] = {"state": self.stored(state)}
            if s.version:
                told["version"] = str(record["version"])
            if s.rescue:
                told["why"] = record.get("rescue", {}).get("reason")
            if s.context:
                told["context"] = record["context"]
            found[record["id"]] = told
        return found
