"""What the documents show is what the commands print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from statekeep_cli.cli import app
from tests.support import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "examples").glob("*/README.md"))]
BLOCK = re.compile(r"<!-- run in (?P<folder>\S+) -->\n```console\n(?P<text>.*?)```", re.DOTALL)


def transcripts() -> list[object]:
    found = []
    for document in DOCUMENTS:
        for match in BLOCK.finditer(document.read_text(encoding="utf-8")):
            name = f"{document.relative_to(ROOT)}: {match['text'].splitlines()[0][2:60]}"
            found.append(pytest.param(match["folder"], match["text"], id=name))
    return found


@pytest.mark.parametrize(("folder", "text"), transcripts())
def test_transcript(folder: str, text: str) -> None:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        words = shlex.split(command)
        assert words[0] == "statekeep"
        done = subprocess.run(
            [sys.executable, "-m", "statekeep_cli", *words[1:]],
            cwd=ROOT / folder,
            env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.stdout == expected


def test_every_console_block_is_run() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert text.count("```console") == len(BLOCK.findall(text)), document


def test_every_command_is_in_the_readme_and_has_an_example() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in app().registered_commands:
        name = command.callback.__name__
        assert f"`statekeep {name}" in readme, name
        assert f"statekeep {name} " in (command.callback.__doc__ or ""), f"{name} --help shows no example"


def test_yaml_in_the_readme_parses() -> None:
    for block in re.findall(
        r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    ):
        assert yaml.safe_load(block)


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (Path(document.parent) / link).exists(), (document, link)
