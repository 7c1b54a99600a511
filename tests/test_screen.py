"""The rescue screen: walked through with Textual's pilot on real databases, and opened on a real terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import psycopg
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from statekeep_cli import cli
from statekeep_cli.core.mapping import OWN
from statekeep_cli.readers.config import read_config
from statekeep_cli.rescuing import Shown
from statekeep_cli.screen.app import RescueScreen
from statekeep_cli.screen.desk import Desk
from statekeep_cli.screen.twins import Twins
from statekeep_cli.stores.interface import Store
from statekeep_cli.stores.scope import scope
from tests.databases import Database
from tests.foreign import Orders, Shape
from tests.test_rescue import GATED, Capture, Run, definition, imported, issues, many, run, store

__all__ = ["issues", "run", "store"]  # fixtures

SIZE = (80, 24)


class Walk:
    """A screen that is walked through: keys, and what stands there after all work is done."""

    def __init__(self, app: RescueScreen, pilot: Pilot[None]):
        self.app, self.pilot = app, pilot

    async def settled(self) -> None:
        """Until nothing is asked of the database, and everything is drawn."""
        idle = 0
        while idle < 3:  # what has arrived may ask for more
            await self.pilot.pause()
            asked = [w for w in self.app.workers if not w.is_finished and w.name != "_check"]
            idle = 0 if asked else idle + 1
            with suppress(Exception):
                await self.app.workers.wait_for_complete(asked) if asked else None

    async def press(self, *keys: str) -> str:
        await self.pilot.press(*keys)
        await self.settled()
        return self.text

    async def until(self, text: str) -> str:
        """Until the screen says it."""
        for _ in range(200):
            await self.settled()
            if text in self.text:
                return self.text
            await asyncio.sleep(0.05)
        raise AssertionError(f"{text!r} does not come:\n{self.text}")

    @property
    def text(self) -> str:
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips())

    @property
    def words(self) -> str:
        """The same without borders and line ends."""
        return " ".join("".join(c if c not in "│┃─━┌┐└┘┏┓┗┛▁▂▃▄▅▆▇█" else " " for c in self.text).split())

    def options(self, id: str) -> list[str]:
        widget = self.app.screen.query_one(f"#{id}", OptionList)
        return [str(widget.get_option_at_index(i).prompt) for i in range(widget.option_count)]


def walk(
    database: Database,
    steps: Callable[[Walk], Awaitable[None]],
    size: int = 100,
    terminal: tuple[int, int] = SIZE,
) -> RescueScreen:
    """Take some steps on a screen of its own."""
    app = RescueScreen(Desk(database.url, None), Twins(("--db", database.url)), size)

    async def walking() -> None:
        async with app.run_test(size=terminal) as pilot:
            taken = Walk(app, pilot)
            await taken.settled()
            await steps(taken)

    asyncio.run(walking())
    return app


def test_from_opening_to_a_resolved_actor(
    issues: list[str], database: Database, store: Store, run: Run, capsys: Capture
) -> None:
    async def steps(w: Walk) -> None:
        assert w.text.startswith("10 actors need rescue in")
        assert w.options("groups") == ["10 in_review\n  state_removed, issue@1"]
        assert len(w.options("actors")) == 4
        assert "actors 1 to 4 of 10" in w.text
        assert "rescue list --actors --state in_review --reason state_removed" in w.words
        assert " q Quit  / Filter  r Resolve  n Next page  p Previous  c Copy  ? Help" in w.text
        await w.press("enter", "n")
        assert "actors 5 to 8 of 10" in w.text
        assert f"$ statekeep rescue show {issues[4]} --db" in w.words
        assert f"{issues[4]} needs rescue (state_removed): issue@1 in in_review" in w.words
        await w.press("n")
        assert "actors 9 to 10 of 10" in w.text
        assert "this is the last page" in await w.press("n")
        await w.press("p", "down")
        # The timeline, with both positions and the suggested lines.
        await w.press("enter", "z")
        assert "event      issue@1" in w.text
        await w.press("end")
        assert "SUBMIT_PR  in_review    code_review.awaiting_" in w.text
        assert "in_review: code_review.awaiting_reviewer" in w.text
        assert "next: statekeep rescue retry --mapping FILE" in w.text
        # The dialog: what its history says is filled in, the reason is asked for.
        await w.press("r")
        assert f"set {issues[5]} by hand into a state of issue@2" in w.text
        assert w.options("states")[0] == "code_review.awaiting_reviewer  (its history lands here)"
        assert '{"in_progress":{"checklist":"pending","coding":"reviewed"}}' in w.options("states")
        assert "no reason is given" in await w.press("enter")
        await w.press(*"seen by Ana", "enter")
        await w.until("Set 1 actor of statekeep.actors by hand? y: yes, n: no")
        assert "hazard: 1 actor, gate_skipped" in w.text
        command = f"resolve {issues[5]} --to code_review.awaiting_reviewer --reason 'seen by Ana'"
        assert command in w.words
        await w.press("n")
        assert "declined; nothing was done" in w.text
        assert scope(store, OWN).actors(store).read([issues[5]])[0].status == "needs_rescue"
        await w.press("enter")
        await w.until("y: yes")
        await w.press("y")
        await w.until("run 2: 1 resolved; statekeep revert 2 would undo it")
        await w.until("9 actors need rescue in")
        await w.press("q")

    app = walk(database, steps, size=4)
    ((command, number),) = app.done
    assert number == 2
    assert command.endswith(f"--reason 'seen by Ana' --db {database.url}" if "?" not in database.url else "'")
    row = scope(store, OWN).actors(store).read([issues[5]])[0]
    assert (row.version, row.status, json.loads(row.state)) == (
        "2",
        "active",
        {"code_review": "awaiting_reviewer"},
    )
    capsys.readouterr()
    assert run("log", issues[5]) == 0
    assert "why: seen by Ana" in capsys.readouterr().out


def test_a_hundred_thousand(run: Run, database: Database, store: Store) -> None:
    """Only the pages that are looked at are read, also of a group that is rare."""
    many(run, store)

    async def steps(w: Walk) -> None:
        assert w.text.startswith("100,000 actors need rescue in")
        assert [x.partition("\n")[0] for x in w.options("groups")] == ["66,667 b", "33,333 b"]
        assert "actors 1 to 100 of 66,667" in w.text
        await w.press("enter", "n", "n", "n")
        assert "actors 301 to 400 of 66,667" in w.text
        shown = w.options("actors")
        ids = sorted(str(n) for n in range(2, 200_001, 2) if n % 3)
        assert [x.partition(" ")[0] for x in shown] == ids[300:400]
        await w.press("p")
        assert w.options("actors")[0].startswith(ids[200] + " ")
        # From an id on.
        await w.press("slash", *"1999", "enter")
        assert w.options("actors")[0].startswith(next(x for x in ids if x >= "1999") + " ")
        assert "actors from 1999 on, page 1" in w.text
        await w.press("escape")
        assert w.options("actors")[0].startswith(ids[0] + " ")
        await w.press("escape", "down")
        assert "actors 1 to 100 of 33,333" in w.text
        # 7 pages, and every actor that was looked at.
        assert w.app.desk.read < 1_000

    walk(database, steps)


def test_narrowing_and_help(issues: list[str], database: Database) -> None:
    async def steps(w: Walk) -> None:
        await w.press("slash", *"approved")
        assert w.options("groups") == []
        assert w.options("actors") == []
        await w.press("escape")
        assert len(w.options("groups")) == 1
        await w.press("slash", *"IN_REV", "enter")
        assert len(w.options("groups")) == 1
        assert "next and previous page of actors" in await w.press("question_mark")
        assert "next and previous page" not in await w.press("escape")
        await w.press("f5", "tab", "c")
        assert "copied" in w.text
        assert w.app.clipboard.startswith("statekeep rescue show issue-")

    walk(database, steps)
    walk(database, steps, terminal=(140, 40))


def test_hostile_ids_and_states_are_inert(run: Run, tmp_path: Path, database: Database) -> None:
    ids = [
        "[bold red]x[/]",
        "\x1b]0;pwned\x07",
        "a\nb",
        "‮evil",
        "--to",
        "a'b\"c%s{x}",
        "[@click=app.quit]x[/]",
    ]
    state = "b \x1b[31m[red]{%s}"
    v1 = definition(1, {"a": {"on": {"GO": state}}, state: {"on": {"END": "a"}}})
    v2 = definition(2, {"a": {"on": {"GO": "b2"}}, "b2": {"on": {"END": "a"}}, "[red]c": {}})
    imported(run, tmp_path, v1, v2, [{"id": i, "state": state, "history": ["GO"]} for i in ids])

    async def steps(w: Walk) -> None:
        listed = w.options("actors")
        assert sorted(x.removesuffix("  (run 1)") for x in listed) == sorted(
            ["[bold red]x[/]", "\\x1b]0;pwned\\x07", "a\\nb", "\\u202eevil", "--to", "a'b\"c%s{x}",
             "[@click=app.quit]x[/]"]
        )  # fmt: skip
        await w.press("enter")
        for each in listed:
            assert "b \\x1b[31m[red]{%s}" in w.words
            assert "\x1b" not in w.text
            assert "‮" not in w.text
            assert each.removesuffix("  (run 1)") in w.text
            await w.press("down")
        await w.press("home", *["down"] * listed.index("--to  (run 1)"))
        assert "statekeep rescue show --db" in w.words  # behind the options stands: -- --to
        assert "-- --to" in w.words
        await w.press("r")
        assert "[red]c" in w.options("states")
        await w.press(
            "shift+tab", "shift+tab", *(["end"]), "ctrl+u", *"[red]c", "tab", "tab", *"[/red]", "enter"
        )
        await w.until("y: yes")
        assert "reason: [/red]" in w.text
        assert "--to '[red]c' --reason '[/red]'" in w.words
        await w.press("y")
        await w.until("6 actors need rescue in")

    walk(database, steps)


def test_what_is_refused_is_said_and_the_dialog_stays(
    run: Run, tmp_path: Path, database: Database, store: Store
) -> None:
    v1 = definition(1, {"a": {"on": {"GO": "b", "PAY": {}}}, "b": {}})
    v1["states"]["a"]["on"]["PAY"] = {"actions": ["note"]}
    imported(run, tmp_path, v1, GATED, [{"id": "unpaid", "state": "b", "history": ["GO"]}])

    async def steps(w: Walk) -> None:
        await w.press("r")
        w.app.screen.query_one("#to", Input).value = "b2"
        w.app.screen.query_one("#why", Input).value = "x"
        w.app.screen.query_one("#why").focus()
        await w.press("enter")
        await w.until("obligation_unmet: b2 requires paid")
        assert "nothing was written" in w.words
        w.app.screen.query_one("#to", Input).value = "{"
        await w.press("enter")
        await w.until("is no JSON")
        w.app.screen.query_one("#to", Input).value = "d"
        await w.press("enter")
        await w.until("y: yes")
        await w.press("y")
        await w.until("no actor needs rescue in")
        assert "choose an actor first" in await w.press("r")

    assert [number for _, number in walk(database, steps).done] == [2]


def test_an_actor_that_moved_meanwhile(issues: list[str], database: Database, store: Store) -> None:
    def move(id: str, status: str) -> None:
        store.execute(
            "UPDATE {actors} SET state = '\"open\"', status = %s, revision = revision + 1 WHERE id = %s",
            (status, id),
        )

    async def steps(w: Walk) -> None:
        await w.press("r", *"x", "enter")
        await w.until("y: yes")
        move(issues[0], "needs_rescue")  # while the question stands there
        await w.press("y")
        await w.until("moved after it was checked, and nothing was written")
        move(issues[0], "active")
        await w.press("enter")
        await w.until("does not need rescue (its status is active)")
        await w.press("escape")
        await w.until("9 actors need rescue in")
        assert f"{issues[1]} needs rescue" in w.words

    assert walk(database, steps).done == []


def test_a_lost_connection_is_opened_anew(
    issues: list[str], postgres_server: Any, database: Database, store: Store
) -> None:
    """One that only broke is not noticed; a database that is gone is said in a sentence, and read again."""
    if database.kind == "sqlite":
        assert database.path is not None
        path, away = database.path, database.path.with_suffix(".away")

        async def steps(w: Walk) -> None:
            path.rename(away)
            await w.press("r", *"x", "enter")
            await w.until("such database; check --db")
            away.rename(path)
            await w.press("enter")
            await w.until("y: yes")

        walk(database, steps)
        return
    name = store.rows("SELECT current_database()")[0][0]
    with psycopg.connect(postgres_server.dsn, autocommit=True) as other:

        def cut() -> None:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                (name,),
            )

        async def steps(w: Walk) -> None:
            cut()
            await w.press("enter", "down")
            assert f"{issues[1]} needs rescue" in w.words
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            cut()
            await w.press("down")
            assert "(f5 reads again)" in w.words
            assert "Traceback" not in w.text
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            await w.press("f5")
            assert "f5 reads again" not in w.words
            assert "10 actors need rescue" in w.text

        walk(database, steps)


def test_a_database_that_does_not_answer_blocks_nobody(issues: list[str], database: Database) -> None:
    """Keys are answered while it hangs, and nobody is kept from leaving."""
    free = threading.Event()

    class Hanging(Desk):
        def look(self, id: str) -> Shown:
            if id == issues[1]:
                free.wait(60)
            return super().look(id)

    async def walking() -> None:
        app = RescueScreen(Hanging(database.url, None), Twins(()))
        async with app.run_test(size=SIZE) as pilot:
            w = Walk(app, pilot)
            await w.settled()
            await pilot.press("enter", "down", "question_mark")
            await pilot.pause()
            assert "next and previous page of actors" in w.text
            await pilot.press("escape", "down", "q")

    asyncio.run(walking())
    free.set()


def test_tables_of_a_team(tmp_path: Path, database: Database) -> None:
    """Definitions come from files there, and stand in every command line."""
    orders = Orders(database, tmp_path, Shape("integer-ids"))
    assert orders.statekeep("db", "init") == 0
    orders.apply(1, 2)
    mapping = read_config(str(orders.config)).mapping
    files = [orders.files[v] for v in (1, 2)]

    async def walking(definitions: list[str]) -> None:
        app = RescueScreen(
            Desk(database.url, mapping, definitions), Twins(("--config", "c.yaml"), tuple(definitions))
        )
        async with app.run_test(size=(100, 30)) as pilot:
            w = Walk(app, pilot)
            await w.settled()
            await w.press("enter", "r")
            if not definitions:
                assert "give their files, sources first" in w.words
                return
            command = shlex.join(["--definition", files[0], "--definition", files[1], "--config", "c.yaml"])
            assert command.replace(" ", "") in w.words.replace(" ", "")
            await w.press("escape", "q")

    for definitions in ([], files):
        asyncio.run(walking(definitions))


# --- the process ---


def opened(url: str, *arguments: str, **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    """`statekeep rescue` on a pseudo-terminal of 80 columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "CI": "", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "statekeep_cli.cli", "rescue", "--db", url, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def said(ours: int, until: str = "", seconds: float = 30) -> str:
    found, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not (until and until.encode() in found):
        if select.select([ours], [], [], 0.2)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            found += part
    return found.decode(errors="replace")


def test_a_terminal_opens_it_and_q_leaves(issues: list[str], sqlite: Database, database: Database) -> None:
    process, ours = opened(database.url)
    assert "issue-4758 needs rescue" in said(ours, "issue-4758 needs rescue")
    os.write(ours, b"q")
    said(ours)
    assert process.wait(30) == 0
    process, ours = opened(database.url)
    said(ours, "issue-4758 needs rescue")
    process.send_signal(signal.SIGTERM)
    rest = said(ours)
    assert process.wait(30) == 143
    assert "Traceback" not in rest
    assert "\x1b[?1049l" in rest  # the terminal is as it was before


def test_no_color_is_no_color(issues: list[str], database: Database) -> None:
    process, ours = opened(database.url, NO_COLOR="1")
    text = said(ours, "issue-4758 needs rescue")
    os.write(ours, b"q")
    text += said(ours)
    assert process.wait(30) == 0
    codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", text) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2", "4", "7", "39", "49"}  # bold, dim, underlined, reversed
    assert re.search(r"\x1b\[1;4[0-9;]*m10 in_review", text)  # the chosen row, without any colour


def test_without_a_terminal_it_is_help(capsys: Capture, tmp_path: Path) -> None:
    assert cli.main(["rescue"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: statekeep rescue" in err
    assert "retry" in err
    assert cli.main(["rescue", "--db", "x.db", "list"]) == 2
    assert "stand behind the command" in capsys.readouterr().err


def test_a_database_that_is_not_there_is_said_before_anything_opens(tmp_path: Path) -> None:
    process, ours = opened(str(tmp_path / "no.db"))
    text = said(ours)
    assert process.wait(30) == 9
    assert "error: " in text
    assert "\x1b[?1049h" not in text


def test_no_other_command_loads_textual() -> None:
    code = (
        "import sys; from statekeep_cli import cli\n"
        "for words in (['rescue', '--help'], ['rescue', 'list'], ['rescue']): cli.main(words)\n"
        "sys.exit('textual' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
