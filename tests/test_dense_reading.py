"""Histories of a whole range, read as one, are the histories of its actors one by one."""

from __future__ import annotations

import json

import pytest

from statekeep_cli.core.mapping import OWN
from statekeep_cli.stores import installing
from statekeep_cli.stores.actors import Actors, Bounds
from statekeep_cli.stores.catalogue import columns
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.postgres import Postgres, array, cell
from tests.databases import Database

HOSTILE = [
    'a"b',
    "back\\slash",
    "tab\tline\n",
    "{x},y",
    "",
    "NULL",
    "\\N",
    "é\u2028",
    "🦊",
    "%s{actors}",
    "][",
]


@pytest.fixture
def store(postgres: Database) -> Store:
    found = postgres.connect()
    installing.install(found)
    return found


def fill(store: Store, *, rich: bool) -> None:
    """Actors of every status, on the target and off it, with and without events; and events of nobody."""
    for number, name in enumerate(HOSTILE):
        for status in ("active", "needs_rescue", "done"):
            for version in ("1", "2"):
                id = f"{name}|{status}|{version}"
                store.execute(
                    "INSERT INTO {actors} (id, definition, version, status, state)"
                    " VALUES (%s, 'd', %s, %s, '\"s\"')",
                    (id, version, status),
                )
                for i in range(number % 4):
                    state = json.dumps({"p": name}) if rich and i == 1 else None
                    item = json.dumps({"type": "x", "more": name}) if rich and i == 2 else None
                    kind = None if i == 2 else HOSTILE[(number + i) % len(HOSTILE)]
                    store.execute(
                        "INSERT INTO {events} (actor, type, state, item) VALUES (%s, %s, %s, %s)",
                        (id, kind, state, item),
                    )
    store.execute("INSERT INTO {events} (actor, type) VALUES ('nobody', 'E')")


@pytest.mark.parametrize("rich", [False, True])
def test_as_one_and_one_by_one(store: Store, rich: bool) -> None:
    fill(store, rich=rich)

    def reading(dense: bool) -> Actors:
        found = Actors(store, OWN, columns(store, OWN), 1, ("d",), ("d", "2"))
        found._dense = dense
        return found

    ids = sorted(str(row[0]) for row in store.rows("SELECT id FROM {actors}"))
    middle = ids[len(ids) // 2]
    for bounds in (Bounds(), Bounds(middle), Bounds(None, middle), Bounds(ids[3], middle), Bounds(ids[-1])):
        apart, together = reading(False).read(bounds), reading(True).read(bounds)
        assert [r._replace(items=None) for r in apart] == [r._replace(items=None) for r in together]
        for one, other in zip(apart, together, strict=True):
            assert (one.items is None) == (other.items is None)
            assert json.loads(f"[{one.items or ''}]") == json.loads(f"[{other.items or ''}]")
    assert any(row.items for row in reading(True).read())


def test_only_where_most_are_needed(store: Store) -> None:
    fill(store, rich=False)
    assert Actors(store, OWN, columns(store, OWN), 1, ("d",))._is_dense()
    assert not Actors(store, OWN, columns(store, OWN), 1, ("d",), ("d", "2"))._is_dense()
    assert not Actors(store, OWN, columns(store, OWN), 1, ("other",))._is_dense()


def test_text_of_any_kind_arrives(store: Store) -> None:
    assert isinstance(store, Postgres)
    for texts in ([], [""], ["a"], HOSTILE, HOSTILE[:1], ['"', "\\"], ["plain", "text"]):
        assert store.one("SELECT CAST(%s AS text[])", (array(texts),)) == (texts,)
    store.script("CREATE TEMPORARY TABLE given (place integer, text text)")
    texts = [*HOSTILE, None]
    with store.copy_in("COPY given FROM STDIN") as copy:
        copy.write("".join(f"{i}\t{cell(text)}\n" for i, text in enumerate(texts)))
    assert [row[0] for row in store.rows("SELECT text FROM given ORDER BY place")] == texts
