"""What the documents show is what the commands print.

A fenced block is run when the line above it says so:

    <!-- run in examples/01-pull-request -->   ```console, in a copy of that folder (and the other examples)
    <!-- run in an empty folder -->            ```console, with nothing there yet
    <!-- run on -->                            ```console, in the copy that the block before it has left
    <!-- file NAME in FOLDER -->               a file of a new copy; the blocks after it go on there
    <!-- file NAME -->                         a file of the copy at hand

A block may hold any number of commands. `statekeep` is this repository's; `git`, `python`, `cp` and
`mkdir` are the real ones; `cat`, `sqlite3` (with SQL, or `< FILE`) and `echo $?` are done here. What is
never the same twice is written `<time>`, `<who>`, `<user>`, `<rate>`, `<commit>` or `<digest>`, and
matched by its form; spaces do not count beside a `<rate>`, which takes its own room in a table.

After a change that is meant, `python -m tests.test_docs --update` writes the outputs anew; look at the diff.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from statekeep_cli.cli import app
from tests.support import ROOT

REFERENCE = ROOT / "docs" / "reference.md"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "examples").glob("*/README.md")),
]
EMPTY = "an empty folder"
BLOCK = re.compile(
    r"^<!-- (?:run in (?P<run>[^\n]+?)|(?P<on>run on)|file (?P<file>\S+?)(?: in (?P<at>[^\n]+?))?) -->\n"
    r"(?P<fence>`{3,})(?P<language>\w+)\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
PLACEHOLDERS = {
    "<time>": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC|\+00(?::00)?)?",
    "<who>": r"\S+ on \S+, process \d+",
    "<commit>": r"[0-9a-f]{7,40}",
    "<digest>": r"[0-9a-f]{16,64}",
    "<user>": r"\S+",
    "<rate>": r"[\d.,]+/s",
}
TIME = re.compile(PLACEHOLDERS["<time>"])
WHO = re.compile(rf"(?<=by ){PLACEHOLDERS['<who>']}")
USER = re.compile(r"(?<=<time> by )\S+")
RATE = re.compile(rf"(?<= ){PLACEHOLDERS['<rate>']}(?= )")


@dataclass(frozen=True)
class Block:
    """A file to write or commands to run; `span` is where its text stands in the document."""

    file: str
    text: str
    span: tuple[int, int]


@dataclass(frozen=True)
class Story:
    """Blocks that build on each other, in one copy of a folder."""

    document: Path
    folder: str
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        lines = [b.text.splitlines()[0][2:60] for b in self.blocks if not b.file]
        return f"{self.document.relative_to(ROOT)}: {lines[0] if lines else self.blocks[0].file}"


def stories(document: Path) -> list[Story]:
    found: list[tuple[str, list[Block]]] = []
    for match in BLOCK.finditer(document.read_text(encoding="utf-8")):
        block = Block(match["file"] or "", match["text"], match.span("text"))
        folder = match["run"] or match["at"]
        if folder:
            found.append((folder, []))
        assert found, f"{document}: {match[0].splitlines()[0]} has nothing to go on from"
        found[-1][1].append(block)
    return [Story(document, folder, tuple(blocks)) for folder, blocks in found]


def every_story() -> list[Story]:
    return [story for document in DOCUMENTS for story in stories(document)]


def copy_of(folder: str, where: Path) -> Path:
    if folder == EMPTY:
        place = where / "work"
        place.mkdir()
        return place
    first, _, rest = folder.partition("/")
    assert first == "examples", f"{folder}: only examples are copied"
    shutil.copytree(ROOT / "examples", where / "examples")
    return where / "examples" / rest


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, with what stands below it; a line ends in \\ where it goes on."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        n = 1
        while lines[n - 1].endswith("\\"):
            n += 1
        yield "\n".join(lines[:n]), "\n".join(lines[n:])


class Shell:
    """The few commands that documents show, in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.code = 0
        when = "2026-06-01T09:00:00Z"
        self.env = {
            **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LD_PRELOAD", "ASAN_OPTIONS")},
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            **{f"GIT_{who}_DATE": when for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_NAME": "Kim" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "kim@example.org" for who in ("AUTHOR", "COMMITTER")},
        }

    def run(self, command: str) -> str:
        words = shlex.split(command.replace("\\\n", " "))
        if words == ["echo", "$?"]:
            return f"{self.code}\n"
        if words[0] == "cat":
            return "".join((self.folder / name).read_text(encoding="utf-8") for name in words[1:])
        if words[0] == "sqlite3":
            return self._sqlite(words[1:])
        program = {
            "statekeep": [sys.executable, "-m", "statekeep_cli"],
            "python": [sys.executable],
            "git": ["git"],
            "cp": ["cp"],
            "mkdir": ["mkdir"],
        }.get(words[0])
        assert program, f"{command}: documents use statekeep, git, python, cp, mkdir, cat, sqlite3, echo $?"
        done = subprocess.run(
            [*program, *words[1:]],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        self.code = done.returncode
        return done.stdout

    def _sqlite(self, words: list[str]) -> str:
        """As the sqlite3 shell does it: columns with bars between them."""
        name, *sql = words
        database = sqlite3.connect(self.folder / name, isolation_level=None)
        try:
            if sql[0] == "<":
                database.executescript((self.folder / sql[1]).read_text(encoding="utf-8"))
                return ""
            rows = database.execute(sql[0]).fetchall()
        finally:
            database.close()
        return "".join("|".join("" if x is None else str(x) for x in row) + "\n" for row in rows)


def matches(shown: str, printed: str) -> bool:
    shown, printed = shown.rstrip("\n"), printed.rstrip("\n")  # an empty line at the end is the document's
    if "<rate>" in shown:
        shown, printed = re.sub(" +", " ", shown), re.sub(" +", " ", printed)
    text = re.escape(shown)
    for name, pattern in PLACEHOLDERS.items():
        text = text.replace(re.escape(name), pattern)
    return re.fullmatch(text, printed) is not None


def outcomes(story: Story, where: Path) -> Iterator[tuple[Block, list[tuple[str, str, str]]]]:
    """Each console block with (command, what the document shows, what was printed)."""
    folder = copy_of(story.folder, where)
    shell = Shell(folder)
    for block in story.blocks:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        else:
            yield block, [(c, shown, shell.run(c)) for c, shown in commands(block.text)]


@pytest.mark.parametrize("story", every_story(), ids=lambda s: s.name)
def test_transcript(story: Story, tmp_path: Path) -> None:
    for _, ran in outcomes(story, tmp_path):
        for command, shown, printed in ran:
            if not matches(shown, printed):
                diff = difflib.unified_diff(shown.splitlines(), printed.splitlines(), "document", "printed")
                pytest.fail(f"{story.document.name}: $ {command}\n" + "\n".join(diff), pytrace=False)


def test_every_console_block_is_run() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        run = [m["text"] for m in BLOCK.finditer(text) if m["language"] == "console"]
        assert run == [m["text"] for m in FENCE.finditer(text) if m["language"] == "console"], document


def every_command() -> list[tuple[str, str]]:
    """`db init` and the like, each with its docstring."""

    def names(typer_app: Any, before: str) -> Iterator[tuple[str, str]]:
        for command in typer_app.registered_commands:
            name = command.name or command.callback.__name__.replace("_", "-")
            yield f"{before}{name}", command.callback.__doc__ or ""
        for group in typer_app.registered_groups:
            yield from names(group.typer_instance, f"{before}{group.typer_instance.info.name} ")

    return list(names(app(), ""))


@pytest.mark.parametrize(("name", "doc"), every_command(), ids=lambda x: x if len(x) < 20 else "")
def test_every_command_is_documented_and_has_an_example(name: str, doc: str) -> None:
    assert re.search(rf"Example: statekeep {name}\b", doc), f"{name} --help shows no example"
    for document in (ROOT / "README.md", REFERENCE):
        assert f"`statekeep {name}" in document.read_text(encoding="utf-8"), f"{name}: {document.name}"


def test_help_fits_80_columns() -> None:
    import typer

    def pages(command: Any, context: Any) -> Iterator[tuple[str, str]]:
        yield context.command_path, command.get_help(context)
        for name, one in getattr(command, "commands", {}).items():
            yield from pages(one, type(context)(one, parent=context, info_name=name, terminal_width=80))

    command = typer.main.get_command(app())
    with command.make_context("statekeep", [], resilient_parsing=True, terminal_width=80) as context:
        for name, page in pages(command, context):
            assert max(map(len, page.splitlines())) <= 80, f"{name} --help"


def test_snippets_parse() -> None:
    readers: dict[str, Any] = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}
    for document in DOCUMENTS:
        for match in FENCE.finditer(document.read_text(encoding="utf-8")):
            read = readers.get(match["language"])
            assert read is None or read(match["text"]), (document, match["text"])


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = FENCE.sub("", document.read_text(encoding="utf-8"))
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
            target = document.parent / path if path else document
            assert target.exists(), (document, path)
            if anchor:
                assert anchor in anchors(target), (document, f"{path}#{anchor}")


def section(heading: str) -> str:
    """A part of the reference, up to the next heading of its rank or above."""
    text = REFERENCE.read_text(encoding="utf-8")
    match = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} (?<!#)|\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert match, f"the reference has no section {heading}"
    return match[2]


def first_cells(heading: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`", section(heading), re.MULTILINE)


def test_every_code_is_in_the_reference() -> None:
    from statekeep_cli.core.check_finding import CODES
    from statekeep_cli.core.decision import FINDINGS, NOTICES, REASONS
    from statekeep_cli.readers.config import CODES as CONFIG
    from statekeep_cli.stores.catalogue_finding import CODES as CATALOGUE

    for heading, codes in (
        ("Findings about definitions", CODES),
        ("Findings about statekeep.yaml", CONFIG),
        ("Findings about databases", CATALOGUE),
        ("Why an actor strands", REASONS),
        ("Hazards that stop a run", FINDINGS),
        ("Hazards that inform", NOTICES),
        ("Why an actor is skipped", ("done", "on_target", "other_definition")),
        ("Why an actor stays", ("not_eligible", "declared")),
    ):
        assert first_cells(heading) == list(codes), heading
        for row in re.findall(r"^\| `.*$", section(heading), re.MULTILINE):
            assert row.count("|") == 4, f"a code, its cause and its cure: {row}"


def test_no_document_names_a_code_that_does_not_exist() -> None:
    from statekeep_cli.core.check_finding import CODES
    from statekeep_cli.readers.config import CODES as CONFIG
    from statekeep_cli.stores.catalogue_finding import CODES as CATALOGUE

    for document in DOCUMENTS:
        named = re.findall(r"\b(?:SK|CF|DB)\d{3}\b", document.read_text(encoding="utf-8"))
        assert set(named) <= {*CODES, *CONFIG, *CATALOGUE}, document


def test_every_exit_code_is_documented() -> None:
    from statekeep_cli.errors import StateKeepError

    def codes(error: type[StateKeepError]) -> set[int]:
        return {error.exit_code}.union(*(codes(e) for e in error.__subclasses__()))

    for document in (ROOT / "README.md", REFERENCE):
        text = document.read_text(encoding="utf-8")
        shown = re.findall(r"^\| (\d+(?:, \d+)*) \|", text, re.MULTILINE)
        assert {int(n) for cell in shown for n in cell.split(", ")} == codes(StateKeepError) | {0, 130}


def test_every_key_of_the_configuration_is_documented() -> None:
    schema = json.loads((ROOT / "statekeep_cli" / "schemas" / "config.json").read_text(encoding="utf-8"))
    parts = {"": schema, **{f"{k}.": schema["$defs"][k] for k in ("actors", "history", "ci")}}
    keys = [f"{prefix}{key}" for prefix, part in parts.items() for key in part["properties"]]
    wanted = [k for k in keys if k not in ("$schema", "actors", "history", "ci")]
    assert sorted(first_cells("statekeep.yaml")) == sorted(wanted)


def test_every_key_of_the_routing_metadata_is_documented() -> None:
    schema = json.loads((ROOT / "statekeep_cli" / "schemas" / "definition.json").read_text(encoding="utf-8"))
    assert sorted(first_cells("Routing metadata")) == sorted(schema["$defs"]["migration"]["properties"])
    patterns = {w for cell in first_cells("Patterns of anchors") for w in re.findall(r"^\w+", cell)}
    assert {*patterns, "any", "none"} == set(schema["$defs"]["pattern"]["properties"])


def test_the_formats_are_those_of_the_commands() -> None:
    from statekeep_cli.render import FORMATS, STREAMED

    assert sorted(first_cells("Formats")) == sorted([*FORMATS, *STREAMED])


def update() -> None:
    """Writes what is printed where it does not match what is shown."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        edits: list[tuple[tuple[int, int], str]] = []
        for story in stories(document):
            with tempfile.TemporaryDirectory() as folder:
                for block, ran in outcomes(story, Path(folder)):
                    edits.append((block.span, "".join(map(_shown, *zip(*ran, strict=True)))))
        for (start, end), new in reversed(edits):
            if text[start:end] != new:
                print(f"{document.relative_to(ROOT)}: {text[start:end].splitlines()[0]}")
                text = text[:start] + new + text[end:]
        document.write_text(text, encoding="utf-8")


def _shown(command: str, shown: str, printed: str) -> str:
    if matches(shown, printed):
        return f"$ {command}\n{shown}"
    recent = datetime.now(UTC) - timedelta(days=1)
    printed = TIME.sub(lambda m: "<time>" if m[0][:10] >= recent.date().isoformat() else m[0], printed)
    for pattern, name in ((WHO, "<who>"), (USER, "<user>"), (RATE, "<rate>")):
        printed = pattern.sub(name, printed)
    return f"$ {command}\n{printed}"


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.test_docs --update")
    update()
