"""The HTML report in a real browser: Debian's Chromium, headless.

Every example's report is opened and compared with the JSON report of the same run. Where there is no Chromium
the tests are skipped, visibly; CI installs one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support import shared
from tests.test_examples import every_command

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH"),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="a browser has sanitizers of its own"
    ),
]
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MOST = 2_000_000  # bytes of a report
HOSTILE = "</script><script>window['hit'] = 1</script><img src=x onerror='hit = 2'>\x1b[31m\u202eevil"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@dataclass
class Opened:
    """A page, and what it did that nobody asked for."""

    page: Page
    path: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def said(message: ConsoleMessage) -> None:
            self.complaints.append(message.text)

        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.path.as_uri())

    def unfold(self) -> None:
        self.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    def sideways(self) -> int:
        """Pixels that the page itself would scroll to the side."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def findings(self) -> list[str]:
        """What axe finds serious or critical, everything unfolded."""
        self.unfold()
        found = Axe().run(self.page).response["violations"]
        return [
            f"{v['id']}: {node['html'][:200]} {node['failureSummary']}"
            for v in found
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"][:3]
        ]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    contexts = []

    def open_(path: Path, width: int = 1280, script: str = "", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        result = Opened(context.new_page(), path)
        result.watch()
        return result

    yield open_
    for context in contexts:
        context.close()


def previewed(folder: Path, *arguments: str) -> tuple[Path, dict[str, Any]]:
    """A preview as HTML, and as JSON with its exit code beside."""
    page, values = folder / "report.html", folder / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "statekeep_cli.cli", "preview", *arguments, "-q",
         "--format", f"html={page}", "--format", f"json={values}"],
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    return page, json.loads(values.read_text()) | {"exit": done.returncode}


def example_runs() -> list[Any]:
    """The previews of the examples that read actors from files, each once."""
    found = {}
    for command in every_command():
        words = command.arguments
        if words[0] != "preview" or "--db" in words:
            continue
        while "--format" in words:
            at = words.index("--format")
            words = words[:at] + words[at + 2 :]
        words = [str(command.example / w) if (command.example / w).is_file() else w for w in words[1:]]
        found.setdefault(
            tuple(words), pytest.param(words, id=f"{command.example.name}-{command.expected.stem}")
        )
    return list(found.values())


def bpic() -> list[str]:
    folder = shared("logs", "bpic2012")
    return [*(str(folder / f"v{n}.json") for n in (1, 2)), "--actors", str(folder / "actors.jsonl.gz")]


@pytest.fixture(params=[*example_runs(), pytest.param([], id="bpic2012")])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    return previewed(tmp_path, *(request.param or bpic()))


def test_agrees_with_json(run: tuple[Path, dict[str, Any]], opened: Any) -> None:
    """Tiles, tables, pictures and strand blocks have the numbers of the JSON report."""
    path, report = run
    page = opened(path).page
    tiles = {
        tile.locator("dt").inner_text().lower(): int(tile.locator("dd").inner_text().replace(",", ""))
        for tile in page.locator(".tile").all()
    }
    keys = ("wouldMigrate", "wouldStrand", "wouldStay", "skipped", "unreadable", "total")
    assert list(tiles.values()) == [report[key] for key in keys]

    counted: dict[str, int] = {}
    for outcome, count in page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')]"
        ".map(r => [r.dataset.outcome, +r.cells[0].dataset.value])"
    ):
        counted[outcome] = counted.get(outcome, 0) + count
    groups: dict[str, int] = {}
    for group in report["groups"]:
        groups[group["outcome"]] = groups.get(group["outcome"], 0) + group["count"]
    assert counted == groups

    strands = [g for g in report["groups"] if g["outcome"] == "strand"]
    cards = page.locator(".card").all()
    assert sorted(int(c.locator("h3 .n").inner_text().replace(",", "")) for c in cards) == sorted(
        g["count"] for g in strands
    )
    lines = page.evaluate("[...document.querySelectorAll('.card pre')].map(x => x.textContent)")
    assert sorted(lines) == sorted(g["suggestion"] for g in strands if g["suggestion"])

    moving = report["wouldMigrate"] + report["wouldStrand"] + report["wouldStay"]
    flows = page.evaluate(
        "[...document.querySelectorAll('section[id^=flow] table .num')]"
        ".map(x => +x.textContent.replace(/,/g, ''))"
    )
    assert sum(flows) == moving
    # The machines' own boxes hold everyone: before the deployment, and whoever has moved after it.
    roots = page.evaluate(
        "[...document.querySelectorAll('svg.chart')].map(s => {"
        " const n = s.querySelector('g > .n'); return n && n.parentNode === s.querySelector('g')"
        " ? +n.textContent.replace(/,/g, '') : 0 })"
    )
    assert sum(roots[1::2]) == report["wouldMigrate"]
    unplaced = sum(g["count"] for g in strands if g["reason"] in ("snapshot_invalid", "version_unknown"))
    assert moving - unplaced <= sum(roots[0::2]) <= moving
    assert ("Past the gate" in page.locator(".verdict").inner_text()) == (report["exit"] == 3)


def test_keeps_to_itself(run: tuple[Path, dict[str, Any]], opened: Any) -> None:
    """Nothing on the console, nothing fetched, accessible, no ids, and it fits a phone."""
    path, report = run
    assert path.stat().st_size < MOST
    it = opened(path)
    ids = {actor for group in report["groups"] for actor in group["sample"]}
    assert not ids & set(re.findall(r"[\w.-]*[\w-]", it.page.inner_text("body")))
    assert it.findings() == []
    assert it.sideways() <= 0
    it.page.set_viewport_size({"width": 375, "height": 700})
    assert it.sideways() <= 0
    assert it.requests == [path.as_uri()]
    assert it.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (375, "dark"), (375, "light")])
def test_accessible_everywhere(stranding: Path, opened: Any, width: int, scheme: str) -> None:
    it = opened(stranding, width, color_scheme=scheme)
    assert it.findings() == []
    assert it.sideways() <= 0


@pytest.fixture
def stranding(tmp_path: Path) -> Path:
    words = next(p.values[0] for p in example_runs() if "preview-unmapped" in str(p.id))
    return previewed(tmp_path, *words)[0]


def brightness(page: Page) -> float:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


def test_theme(stranding: Path, opened: Any) -> None:
    """The system's theme, unless the reader wants another one."""
    assert brightness(opened(stranding, color_scheme="dark").page) < 60
    page = opened(stranding, color_scheme="light").page
    assert brightness(page) > 200
    button = page.get_by_role("button", name="Theme")
    for word, dark in (("light", False), ("dark", True), ("system", False)):
        button.click()
        assert button.inner_text() == f"Theme: {word}"
        assert (brightness(page) < 60) is dark
    page.emulate_media(media="print", color_scheme="dark")
    assert brightness(page) > 250
    assert not page.locator("nav").is_visible()


def test_copy(stranding: Path, opened: Any) -> None:
    page = opened(stranding, permissions=["clipboard-read", "clipboard-write"]).page
    button = page.get_by_role("button", name="Copy lines").first
    lines = page.locator(f"#{button.get_attribute('data-copy')}").text_content()
    button.click()
    page.get_by_role("button", name="Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == lines
    assert lines == "stateMapping:\n  approved: security_review"
    assert page.locator("#said").inner_text() == "Copied"


def test_copy_without_a_clipboard(stranding: Path, opened: Any) -> None:
    """Where a browser grants no clipboard to a file, the lines are selected and copied as by hand."""
    script = "Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined})"
    it = opened(stranding, script=script)
    page = it.page
    page.evaluate("document.addEventListener('copy', () => { window.copied = getSelection().toString() })")
    page.get_by_role("button", name="Copy lines").first.click()
    page.wait_for_function("document.querySelector('#said').textContent !== ''")
    assert page.evaluate("window.copied.trim()") == "stateMapping:\n  approved: security_review"
    assert it.complaints == []


def shown_rows(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')].filter(r => !r.hidden && r.offsetHeight)"
        ".map(r => [...r.cells].map(c => c.textContent))"
    )
    return found


@pytest.mark.parametrize("width", [1280, 375])
def test_groups_table(tmp_path: Path, opened: Any, width: int) -> None:
    """Filtered and sorted, with the keyboard alone."""
    page = opened(previewed(tmp_path, *bpic())[0], width).page
    everything = shown_rows(page)
    page.get_by_role("searchbox", name="Filter").fill("granting  OPEN")
    found = shown_rows(page)
    assert 0 < len(found) < len(everything)
    assert all("granting" in row[2] and "open" in row[2] for row in found)
    assert page.locator("#found").inner_text() == f"{len(found)} of {len(everything)} groups"
    page.get_by_role("searchbox", name="Filter").fill("")
    page.get_by_role("combobox", name="Outcome").select_option("migrate")
    assert {row[1] for row in shown_rows(page)} == {"migrate"}
    page.get_by_role("combobox", name="Outcome").select_option("")

    head = page.get_by_role("columnheader", name="actors")
    for order in ("descending", "ascending"):
        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        numbers = [int(row[0].replace(",", "")) for row in shown_rows(page)]
        assert numbers == sorted(numbers, reverse=order == "descending")
    page.get_by_role("columnheader", name="from").get_by_role("button").press("Space")
    assert [row[2] for row in shown_rows(page)] == sorted(row[2] for row in everything)
    assert head.get_attribute("aria-sort") == "none"


def test_keyboard(stranding: Path, opened: Any) -> None:
    page = opened(stranding).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_sample_history(stranding: Path, opened: Any, tmp_path: Path) -> None:
    """Ids and histories only with --show-ids; then the step is marked where source and target part."""
    assert opened(stranding).page.locator("table.time").count() == 0
    words = next(p.values[0] for p in example_runs() if "preview-unmapped" in str(p.id))
    it = opened(previewed(tmp_path, *words, "--show-ids")[0])
    table = it.page.locator("table.time").first
    assert "pr-" in table.locator("caption").inner_text()
    part = table.locator("thead .part")
    assert part.count() == 1
    assert "here they part" in part.inner_text() or "refused" in part.inner_text()
    assert it.findings() == []


def test_database(tmp_path: Path, opened: Any) -> None:
    """The same page from a database, sample histories included."""
    words = next(p.values[0] for p in example_runs() if "preview-unmapped" in str(p.id))
    at = words.index("--actors")
    db = ["--db", str(tmp_path / "actors.db")]
    for command in (["init"], ["import", words[0], *words[at : at + 2]]):
        done = [sys.executable, "-m", "statekeep_cli.cli", "db", *command, *db]
        subprocess.run(done, check=True, capture_output=True, timeout=120)
    path, report = previewed(tmp_path, *words[:at], *db, "--show-ids")
    page = opened(path).page
    assert report["wouldStrand"] == 10
    assert page.locator("table.time caption").first.inner_text().startswith("The history of pr-")
    assert page.locator("table.time thead .part").count() == 1
    assert page.locator("svg.chart").count() == 2


def hostile(folder: Path) -> list[str]:
    """Definitions whose every name is an attack; what was here before has to be rescued."""
    states = {HOSTILE: {"on": {HOSTILE + "e": {"target": "b", "guard": HOSTILE + "g"}}}, "b": {}}
    machine = {"id": HOSTILE + "id", "version": "<b>1", "initial": HOSTILE, "states": states}
    after = {**machine, "version": "<b>2", "initial": "b", "states": {"b": {"on": {HOSTILE: "c"}}, "c": {}}}
    record = {
        "id": HOSTILE + "a",
        "definition": machine["id"],
        "version": "<b>1",
        "state": HOSTILE,
        "history": [],
    }
    for name, value in (("v1.json", machine), ("v2.json", after), ("actors.jsonl", record)):
        (folder / name).write_text(json.dumps(value))
    return [str(folder / "v1.json"), str(folder / "v2.json"), "--actors", str(folder / "actors.jsonl")]


@pytest.mark.parametrize("extra", [(), ("--show-ids",)])
def test_user_text_is_inert(tmp_path: Path, opened: Any, extra: tuple[str, ...]) -> None:
    path, report = previewed(tmp_path, *hostile(tmp_path), *extra)
    assert report["wouldStrand"] == 1
    text = path.read_text()
    assert not set(text) & set("\x1b\u202e")
    it = opened(path)
    assert it.page.evaluate("[document.scripts.length, document.images.length, typeof window.hit]") == [
        1, 0, "undefined",
    ]  # fmt: skip
    assert r"\u202e" in it.page.inner_text("body")
    assert it.requests == [path.as_uri()]
    assert it.complaints == []
    assert it.findings() == []
    assert it.sideways() <= 0


def test_policy_stops_what_was_not_written_here(stranding: Path, opened: Any, tmp_path: Path) -> None:
    """Were something not escaped after all, the policy would keep it from running or fetching."""
    text = stranding.read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    broken = tmp_path / "broken.html"
    broken.write_text(
        text.replace("</main>", "<script>window.hit = 1</script><img src='http://127.0.0.1:9/x'></main>")
    )
    it = opened(broken)
    assert it.page.evaluate("typeof window.hit") == "undefined"
    assert len(it.complaints) >= 2


# --- limits ----------------------------------------------------------------------------------------------


def large(folder: Path) -> list[str]:
    """400 states and more, 529 strand groups: two regions of 23 states, which the target joins by a third."""

    def chain(name: str, length: int, last: str) -> dict[str, Any]:
        states: dict[str, Any] = {}
        for i in range(length):
            on = {f"{name}_{i}": f"{name}{i + 1}" if i + 1 < length else last}
            if i % 7 == 6:
                on[f"{name}_BACK_{i}"] = f"{name}{i - 4}"
            if i % 9 == 8:
                on["CANCEL"] = "#big.cancelled"
            states[f"{name}{i}"] = {"on": on if on[f"{name}_{i}"] else {}}
        return states

    regions = {
        side: {"initial": f"{side}0", "states": chain(side, 23, f"{side}0")} for side in ("left", "right")
    }
    stages = {
        f"stage{i}": {
            "initial": f"step_{i}_0",
            "states": chain(f"step_{i}_", 35, f"#big.stage{i + 1}" if i < 9 else "#big.granted"),
        }
        for i in range(10)
    }
    for number in (1, 2):
        work: dict[str, Any] = {"type": "parallel", "on": {"GO": "stage0"}, "states": dict(regions)}
        if number == 2:
            work["states"]["audit"] = {
                "initial": "open",
                "states": {"open": {"on": {"AUDITED": "done"}}, "done": {}},
            }
        states = {"work": work, **stages, "cancelled": {"type": "final"}, "granted": {"type": "final"}}
        machine = {"id": "big", "version": number, "initial": "work", "states": states}
        (folder / f"v{number}.json").write_text(json.dumps(machine))
    with (folder / "actors.jsonl").open("w") as file:
        for i in range(23):
            for j in range(23):
                history = [*(f"left_{n}" for n in range(i)), *(f"right_{n}" for n in range(j))]
                state = {"work": {"left": f"left{i}", "right": f"right{j}"}}
                record = {"id": f"a-{i}-{j}", "version": 1, "state": state, "history": history}
                file.write(json.dumps(record) + "\n")
    return [str(folder / "v1.json"), str(folder / "v2.json"), "--actors", str(folder / "actors.jsonl")]


def test_large(tmp_path: Path, opened: Any) -> None:
    path, report = previewed(tmp_path, *large(tmp_path))
    assert sum(g["outcome"] == "strand" for g in report["groups"]) >= 500
    assert path.stat().st_size < MOST
    it = opened(path)
    page = it.page
    assert page.locator("svg.chart").first.locator("g.s").count() > 400
    assert page.locator(".card").count() >= 500
    frame, chart = page.locator(".canvas").first, page.locator(".canvas svg").first
    # The picture scrolls in its frame, and the frame is no taller than the window.
    assert frame.bounding_box()["height"] <= 800
    assert chart.bounding_box()["height"] > 2000
    width = chart.bounding_box()["width"]
    page.get_by_role("button", name="Smaller").first.click()
    assert chart.bounding_box()["width"] == pytest.approx(width * 0.8, abs=1)
    page.get_by_role("button", name="Fit").first.click()
    assert chart.bounding_box()["width"] <= frame.bounding_box()["width"]
    page.get_by_role("searchbox", name="Filter").fill("left22 right22")
    assert len(shown_rows(page)) == 1
    assert it.complaints == []
    assert opened(path, 375).sideways() <= 0
