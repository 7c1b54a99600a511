"""What several tests need: actors from plain records, and where the shared material lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli.core.trace import Actor
from statekeep_cli.readers.records import Block, Records

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def shared(*parts: str) -> Path:
    """A file of the material beside the repository; the test is skipped, visibly, where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{Path('..', 'shared', *parts)} is not here")
    return path


def actor_of(record: Mapping[str, Any]) -> Actor[Any, Any]:
    """One record as the readers make it."""
    batch = Records().batch(Block(json.dumps(record).encode(), 1, 2))
    assert not batch.unreadable, batch.unreadable
    return batch.actors[0]
