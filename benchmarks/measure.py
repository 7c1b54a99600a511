"""Rows of measurements, and the machine they were made on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what, the figure, its yardstick in the same run, and the bar it should meet."""

    what: str
    value: str
    yardstick: str
    bar: str
    met: bool


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def machine() -> str:
    """The processor's name and how many of them there are."""
    name = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} processors"


def table(rows: Sequence[Row]) -> str:
    head = ("what", "measured", "yardstick", "bar", "")
    body = [head, *((r.what, r.value, r.yardstick, r.bar, "" if r.met else "missed") for r in rows)]
    sizes = [max(len(line[i]) for line in body) for i in range(5)]
    return "\n".join(
        "  ".join(c.ljust(n) for c, n in zip(line, sizes, strict=True)).rstrip() for line in body
    )
