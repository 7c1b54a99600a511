"""How runs stand and what they decided about one actor, as values to be shown.

Times are ISO 8601 in UTC (`2026-11-22T12:26:37.456Z`); durations are in seconds, rates in actors a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Who:
    """Who did something and from where; None where it is not known."""

    database_user: str | None
    os_user: str | None
    host: str | None
    pid: int | None
    commit: str | None
    ci_url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """The actors of a run with one (outcome, reason, from, to). `source` and `target` are places as JSON
    has them (`{definition, version, state}`), or None."""

    outcome: str
    reason: str
    source: Mapping[str, Any] | None
    target: Mapping[str, Any] | None
    count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One run as it stands.

    `alive` says whether a process is working on it; it means something for a run that is `running`.
    `total` is what was counted when the run began, None where nobody counted; `rate` is that of the last
    minute while it runs, else of the whole run, None where there is nothing to go by. `reverts` is the run
    that this one undoes, `reverted_by` the latest run that undid something of this one.
    """

    run: int
    kind: str
    table: str
    definition: str
    version: str
    status: str
    control: str
    alive: bool
    decided: int
    total: int | None
    skipped: int
    rate: float | None
    plan: str | None
    reverts: int | None
    reverted_by: int | None
    why: str | None
    who: Who
    started_at: str
    stopped_at: str | None
    groups: tuple[Group, ...] = ()

    @property
    def label(self) -> str:
        """What it is about: `issue@2`, or the run that is undone."""
        return f"run {self.reverts}" if self.reverts is not None else f"{self.definition}@{self.version}"

    @property
    def gone(self) -> bool:
        """Did its process end without saying so (killed, or its machine went away)?"""
        return self.status == "running" and not self.alive

    @property
    def percent(self) -> int | None:
        if not self.total:
            return None
        return min(100, 100 * self.decided // self.total)

    @property
    def eta(self) -> float | None:
        """Seconds until a running run is through, at its present rate."""
        if self.status != "running" or not self.alive or not self.rate or self.total is None:
            return None
        return max(0, self.total - self.decided) / self.rate


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision about one actor. `detail` is its sentence of specifics, `why` an operator's reason;
    `reverted_by` is the run that undid it."""

    run: int
    kind: str
    at: str
    who: Who
    outcome: str
    reason: str
    rule: str
    detail: str
    source: Mapping[str, Any] | None
    target: Mapping[str, Any] | None
    events: int
    why: str | None
    reverts: int | None
    reverted_by: int | None


@dataclass(frozen=True, slots=True)
class Moved:
    """An actor that a revert leaves alone; `now` is where it is, None where it is gone."""

    actor: str
    now: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Undone:
    """What a revert did, or would do. `run` is its own number, None where it has not begun.

    `earlier` actors had been put back by an earlier revert; `listed` are some of the moved, or all.
    """

    reverts: int
    label: str
    table: str
    run: int | None
    dry_run: bool
    put_back: int
    earlier: int
    moved: int
    listed: tuple[Moved, ...]
