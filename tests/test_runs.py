"""`statekeep status`, `pause`, `resume`, `cancel`, `watch` and `log`, on real processes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli import cli
from statekeep_cli.core.standing import Entry, Group, Moved, Standing, Undone, Who
from statekeep_cli.render import runs as render
from statekeep_cli.stores import runs
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.runs import Lease
from tests.databases import Database
from tests.forked import Child, Forker, forker
from tests.orders import Orders, records, verify

SLOW = {"applying.FIRST_BATCH": 2, "applying.SMALLEST_BATCH": 2, "applying.LARGEST_BATCH": 2}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    with forker(tmp_path_factory.mktemp("said")) as found:
        yield found


@pytest.fixture
def orders(database: Database, tmp_path: Path) -> Orders:
    found = Orders("own", database.url, tmp_path)
    found.create(database.connect(), records(80, 3))
    return found


@pytest.fixture
def run(database: Database) -> Callable[..., int]:
    """`statekeep ...` on the database."""
    return lambda *arguments: cli.main([*arguments, "--db", database.url])


def until(holds: Callable[[], Any]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def at_work(store: Store, run: int) -> bool:
    found = runs.load(store, run)
    return found is not None and found.status == "running" and runs.decided(store, run) > 3


def slowly(forks: Forker, orders: Orders, store: Store, rate: str = "20") -> Child:
    """An apply that is at work, and takes its time."""
    child = forks.start(*orders.apply("--max-rate", rate), constants=SLOW)
    until(lambda: at_work(store, 1))
    return child


def spoken(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


# --- status ---


def test_status_of_nothing(
    orders: Orders, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status") == 0
    assert "no runs in" in spoken(capsys)
    assert run("status", "1") == 1
    assert "has no run 1" in spoken(capsys)


def test_status(
    orders: Orders, run: Callable[..., int], database: Database, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("STATEKEEP_COMMIT", "c0ffee")
    monkeypatch.setenv("CI_JOB_URL", "https://ci.example/jobs/7")
    assert cli.main(orders.apply("--format", f"json={orders.folder / 'x.json'}")) == 0
    store = database.connect()
    decided = runs.decided(store, 1)
    capsys.readouterr()
    assert run("status") == 0
    said = capsys.readouterr().out
    assert f"apply order@2  done    {decided} (100%)" in said
    assert " UTC" in said
    assert "\nnext: statekeep status 1 --db " in said
    assert run("status", "1") == 0
    said = capsys.readouterr().out
    for fact in (
        "c0ffee",
        "https://ci.example/jobs/7",
        "process",
        "  done     ",
        "order@2 on statekeep.actors",
    ):
        assert fact in said
    assert f"{decided} of {decided} (100%)" in said
    assert "\nnext: statekeep rescue list --db " in said

    assert run("status", "--format", "json") == 0
    (one,) = json.loads(capsys.readouterr().out)["runs"]
    assert run("status", "1", "--format", "json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert {**one, "formatVersion": 1, "groups": whole["groups"]} == whole
    assert sum(g["count"] for g in whole["groups"]) == whole["decided"] == whole["total"] == decided
    assert whole["target"] == {"definition": "order", "version": "2"}
    assert whole["who"]["commit"] == "c0ffee"
    assert (whole["status"], whole["alive"], whole["etaSeconds"], whole["percent"]) == (
        "done",
        False,
        None,
        100,
    )
    for at in (whole["startedAt"], whole["stoppedAt"]):
        assert len(at) == len("2026-11-22T12:26:37.456Z")
        assert at.endswith("Z")
    if store.kind == "postgres":
        assert whole["who"]["databaseUser"]


# --- pause, resume, cancel, watch ---


def test_pause_and_resume(
    orders: Orders, run: Callable[..., int], database: Database, forks: Forker, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = database.connect()
    before, expected = orders.seen(store), orders.preview(tmp_path / "expected.jsonl")
    child = slowly(forks, orders, store)
    capsys.readouterr()
    assert run("status", "1", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["alive"]) == ("running", True)
    assert found["rate"] > 0
    assert run("pause", "1") == 0
    assert "run 1 is paused" in spoken(capsys)
    ended = child.wait()
    assert ended.code == 7
    assert "statekeep resume 1" in ended.said
    decided = runs.decided(store, 1)
    assert 0 < decided < found["total"]

    assert run("pause", "1") == 0
    assert "paused already" in spoken(capsys)
    assert run("watch", "1") == 7
    assert "statekeep resume 1" in spoken(capsys)
    assert cli.main(orders.apply()) == 7
    assert "run 1 is paused; let it go on with statekeep resume 1" in spoken(capsys)
    assert runs.decided(store, 1) == decided
    assert run("resume", "1") == 0
    assert "next: statekeep apply" in spoken(capsys)
    assert run("resume", "1") == 1
    assert "run 1 cannot be resumed: it is stopped already" in spoken(capsys)
    assert cli.main(orders.apply()) == 0
    assert run("watch", "1") == 0
    verify(orders, store, before, expected, 1)


def test_cancel(
    orders: Orders, run: Callable[..., int], database: Database, forks: Forker,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = database.connect()
    child = slowly(forks, orders, store)
    assert run("cancel", "1") == 0
    assert "run 1 is cancelled" in spoken(capsys)
    assert child.wait().code == 7
    assert run("watch", "1") == 7
    spoken(capsys)
    for command, done in (("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")):
        assert run(command, "1") == 1
        assert f"run 1 cannot be {done}: it is cancelled already" in spoken(capsys)
    assert cli.main(orders.apply()) == 0
    assert [(r.run, r.status) for r in runs.recent(store)] == [(2, "done"), (1, "cancelled")]


def test_a_process_that_is_gone(
    orders: Orders, run: Callable[..., int], database: Database, forks: Forker,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = database.connect()
    child = slowly(forks, orders, store)
    child.signal(signal.SIGKILL)
    assert child.wait().code == -signal.SIGKILL
    capsys.readouterr()

    def gone() -> bool:
        assert run("status") == 0
        return "running, but its process is gone; run the apply again" in spoken(capsys)

    until(gone)  # a server may take a moment to notice
    assert run("watch", "1") == 7
    assert "its process is gone; run the apply again" in spoken(capsys)
    assert run("pause", "1") == 1
    assert "cannot be paused: its process is gone" in spoken(capsys)
    assert run("cancel", "1") == 0
    assert "run 1 is cancelled" in spoken(capsys)
    assert cli.main(orders.apply()) == 0
    assert [(r.run, r.status) for r in runs.recent(store)] == [(2, "done"), (1, "cancelled")]


def test_killed_while_it_was_told_to_stop(
    orders: Orders, run: Callable[..., int], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    assert cli.main(orders.apply("--canary", "20")) == 7
    assert run("watch", "1") == 7
    assert "run 1 was stopped" in spoken(capsys)
    assert run("pause", "1") == 1
    assert "cannot be paused: it is stopped already; run the apply again to go on" in spoken(capsys)
    runs.set_status(store, 1, "running")  # as if it had been killed
    runs.set_control(store, 1, "cancel")
    assert run("resume", "1") == 1
    assert "being cancelled" in spoken(capsys)
    assert cli.main(orders.apply()) == 0
    assert [(r.run, r.status) for r in runs.recent(store)] == [(2, "done"), (1, "cancelled")]


def test_watch_follows_a_run(
    orders: Orders, run: Callable[..., int], database: Database, forks: Forker,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = database.connect()
    child = slowly(forks, orders, store, "40")
    capsys.readouterr()
    assert run("watch", "1") == 0
    assert "run 1: " in capsys.readouterr().out
    assert child.wait().code == 0
    assert run("watch", "2") == 1


def test_what_is_starting_is_told_nothing(
    orders: Orders, run: Callable[..., int], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(orders.apply("--canary", "20")) == 7
    lease = Lease(database.connect(), 1, "statekeep.actors")  # an apply that counts, to go on with run 1
    for status in ("stopped", "running"):
        runs.set_status(database.connect(), 1, status)
        assert run("cancel", "1") == 1
        assert "may be about to go on with it" in spoken(capsys)
    assert run("pause", "1") == 1
    assert "may be about to go on with it" in spoken(capsys)
    lease.release()


# --- log ---


def test_log(
    orders: Orders, run: Callable[..., int], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    store = database.connect()
    assert cli.main(orders.apply()) == 0
    assert run("revert", "1", "--yes") == 0
    assert cli.main(orders.apply()) == 0
    by = dict(
        store.rows(
            "SELECT c.outcome, max(d.actor) FROM {decisions} d JOIN {classes} c ON c.run = d.run"
            " AND c.class = d.class WHERE d.run = 1 GROUP BY c.outcome"
        )
    )
    capsys.readouterr()
    for outcome in ("migrate", "strand"):
        assert run("log", by[outcome]) == 0
        said = capsys.readouterr().out
        assert f"{by[outcome]} of statekeep.actors: 3 decisions" in said
        assert "reverted by run 2" in said
        assert "revert of run 1" in said
        assert run("log", by[outcome], "--format", "json") == 0
        found = json.loads(capsys.readouterr().out)["decisions"]
        assert [(e["run"], e["outcome"], e["revertedBy"]) for e in found] == [
            (1, outcome, 2), (2, "revert", None), (3, outcome, None),
        ]  # fmt: skip
        assert found[0]["from"] == found[1]["to"]

    (done,) = store.rows("SELECT min(id) FROM {actors} WHERE status = 'done'")
    assert run("log", done[0]) == 0
    assert f"{done[0]} of statekeep.actors: nothing was ever decided" in capsys.readouterr().out
    assert run("log", "10791") == 1
    assert "has no actor '10791'; did you mean '1079'?" in spoken(capsys)
    assert run("log", "nobody\x1b") == 1
    assert "\x1b" not in spoken(capsys)


def test_log_of_a_mapped_table(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = Orders("column", database.url, tmp_path)
    orders.create(database.connect(), records(20, 3))
    assert cli.main(orders.apply()) == 0
    more = ["--db", database.url, "--config", orders.config]
    assert cli.main(["log", "1000", *more]) == 0
    capsys.readouterr()
    for nobody in ("99", "abc", ""):
        assert cli.main(["log", nobody, *more]) == 1
        assert f"has no actor '{nobody}'" in spoken(capsys)


# --- pages ---

EVIL = "a\x1b[31mb\nc [bold] \u202e" + "x" * 90


@pytest.mark.parametrize("width", [40, 80])
def test_pages_keep_to_their_width_and_are_inert(width: int) -> None:
    place = {"definition": EVIL, "version": EVIL, "state": {EVIL: {"y": "z"}, "r": EVIL}}
    who = Who(EVIL, EVIL, EVIL, 1, EVIL, EVIL)
    at = "2026-11-22T12:26:37.456Z"
    groups = (Group("migrate", "", place, place, 12), Group("strand", EVIL, None, None, 1))
    standing = Standing(
        1, "apply", EVIL, EVIL, EVIL, "running", "pause", True, 5, 10, 3, 0.5, EVIL, None, 7, EVIL,
        who, at, at, groups,
    )  # fmt: skip
    gone = Standing(
        2, "revert", EVIL, EVIL, EVIL, "running", "go", False, 5, None, 0, None, None, 1, None, None,
        who, at, None,
    )  # fmt: skip
    entry = Entry(1, "resolve", at, who, "manual", EVIL, EVIL, EVIL, place, None, 1, EVIL, None, 2)
    undone = Undone(
        1, EVIL, EVIL, 2, False, 5, 1, 22, (Moved(EVIL, None), Moved("b", {**place, "status": EVIL}))
    )
    pages = [
        render.runs_text([standing, gone], EVIL, width),
        render.runs_text([], EVIL, width),
        render.run_text(standing, width),
        render.run_text(gone, width),
        render.log_text(EVIL, [entry], EVIL, width),
        render.undone_text(undone, width),
    ]
    for page in pages:
        for line in page.splitlines():
            assert line.isprintable(), line
            assert len(line) <= width or line.startswith("next: statekeep "), line  # to be copied
    assert "asked to pause" in " ".join(pages[2].split())
    assert "about 10 s" in pages[2]
    assert standing.percent == 50
    for page in (
        render.runs_json([standing]),
        render.log_json(EVIL, [entry], EVIL),
        render.undone_json(undone),
    ):
        json.loads(page)


def test_durations_and_times() -> None:
    assert [render.duration(s) for s in (0.2, 59, 60, 3599, 12_000)] == [
        "1 s", "59 s", "1 min", "1 h 0 min", "3 h 20 min",
    ]  # fmt: skip
    assert render.time("2026-11-22T12:26:37.456Z") == "2026-11-22 12:26:37 UTC"
    assert render.time("whenever\x1b") == "whenever\\x1b"
