"""What the README claims about speed, measured: `make bench`.

Every figure stands beside a yardstick of the same run, since machines are noisy: medians of several
runs, and ratios where there is something to compare with. `python -m benchmarks --actors N --runs N`
makes it shorter; `--ten-times` also measures memory on a file ten times as long.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import databases, processes, routing
from benchmarks.make_log import write_log
from benchmarks.measure import Row, machine, table


@contextmanager
def one_core() -> Iterator[None]:
    """Keep to one processor, as the claims are for one."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--ten-times", action="store_true", help="also a file ten times as long (5 GB, minutes)"
    )
    options = parser.parse_args()
    print(f"{machine()}, Python {platform.python_version()}")
    print(f"{options.actors:,} actors, medians of {options.runs} runs")
    folder = Path(tempfile.mkdtemp(prefix="statekeep-bench-"))
    rows: list[Row] = []
    try:
        for profile in ("loan", "interleaved"):
            write_log(folder / profile, options.actors, profile)
        # Whole processes first: a child's peak memory begins with what its parent holds.
        with one_core():
            rows += processes.start(options.runs)
            rows += processes.preview(folder / "loan", options.runs)
        rows += processes.jobs(folder / "loan", options.runs)
        rows += databases.postgres(folder / "loan", options.runs)
        rows += databases.sqlite(folder / "loan", options.runs)
        if options.ten_times:
            write_log(folder / "long", 10 * options.actors, "loan")
            rows += processes.memory(folder / "loan", folder / "long")
        with one_core():
            rows += routing.single(folder / "loan")
            for profile in ("loan", "interleaved"):
                rows += routing.batches(folder / profile, profile, options.runs)
    finally:
        shutil.rmtree(folder)
    print(table(rows))
    missed = [r for r in rows if not r.met]
    for row in missed:
        print(f"not met: {row.what}: {row.value} against {row.bar}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
