"""Whole processes: starting up, previewing a large file, several cores, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.measure import Row, median

ROOT = Path(__file__).resolve().parent.parent
STATEKEEP = [sys.executable, "-m", "statekeep_cli"]
EXAMPLE = ROOT / "examples" / "01-pull-request"


class Event(msgspec.Struct):
    type: str
    at: str


class Actor(msgspec.Struct):
    id: str
    definition: str
    version: int
    status: str
    state: str | dict[str, object]
    context: dict[str, object]
    history: list[Event]


def decode(path: Path) -> None:
    """The yardstick: msgspec alone, the same file into typed structs, line by line."""
    decoder = msgspec.json.Decoder(Actor)
    with open(path, "rb") as file:
        for line in file:
            decoder.decode(line)


def run(command: list[str]) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of a process; for several, of the largest one."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def previewing(folder: Path, *options: str) -> list[str]:
    files = [str(folder / "v1.json"), str(folder / "v2.json"), "--actors", str(folder / "actors.jsonl")]
    return [*STATEKEEP, "preview", *files, "--format", "json", "-q", *options]


def start(runs: int) -> list[Row]:
    """Starting, and the smallest real job, beside starting Python itself."""
    bare = median([run([sys.executable, "-c", ""])[0] for _ in range(2 * runs + 1)])
    version = median([run([*STATEKEEP, "--version"])[0] for _ in range(2 * runs + 1)])
    files = [str(EXAMPLE / f"pull-request-v{v}.yaml") for v in (1, 2)]
    small_command = [*STATEKEEP, "preview", *files, "--actors", str(EXAMPLE / "actors.jsonl")]
    small = median([run(small_command)[0] for _ in range(2 * runs + 1)])
    yardstick = f"starting Python, {bare * 1e3:.0f} ms"
    return [
        Row("statekeep --version", f"{version * 1e3:.0f} ms", yardstick, "150 ms", version <= 0.150),
        Row("preview of 30 actors", f"{small * 1e3:.0f} ms", yardstick, "400 ms", small <= 0.400),
    ]


def preview(folder: Path, runs: int) -> list[Row]:
    """A preview of the whole file against decoding it, in turn; and the preview's memory."""
    ratios, rates, peaks = [], [], []
    with open(folder / "actors.jsonl", "rb") as file:
        actors = sum(1 for _ in file)
    yardstick = [sys.executable, "-m", "benchmarks.processes", str(folder / "actors.jsonl")]
    for _ in range(runs):
        decoding, _ = run(yardstick)
        whole, peak = run(previewing(folder))
        ratios.append(whole / decoding)
        rates.append(actors / whole)
        peaks.append(peak)
    ratio, peak = median(ratios), max(peaks)
    return [
        Row(
            f"preview of {actors:,} actors, one core",
            f"{median(rates):,.0f} actors per second",
            f"{ratio:.2f} times the time of msgspec decoding the file",
            "2.00 times",
            ratio <= 2,
        ),
        Row("its peak memory", f"{peak / 1e6:.0f} MB", "", "250 MB", peak <= 250e6),
    ]


def jobs(folder: Path, runs: int) -> list[Row]:
    """Two processes against one."""
    ratio = median(
        [run(previewing(folder))[0] / run(previewing(folder, "--jobs", "2"))[0] for _ in range(runs)]
    )
    return [Row("preview --jobs 2", f"{ratio:.2f} times as fast", "--jobs 1", "1.60 times", ratio >= 1.6)]


def memory(folder: Path, longer: Path) -> list[Row]:
    """Peak memory of one file and of one ten times as long."""
    once, ten = run(previewing(folder))[1], run(previewing(longer))[1]
    return [
        Row(
            "peak memory, ten times the file",
            f"{ten / 1e6:.0f} MB",
            f"once the file, {once / 1e6:.0f} MB",
            "250 MB",
            ten <= 250e6,
        )
    ]


if __name__ == "__main__":
    decode(Path(sys.argv[1]))
