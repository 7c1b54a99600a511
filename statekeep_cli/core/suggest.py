"""The smallest routing metadata that helps those who strand and leaves everyone else alone.

`suggest` reads the actors once to see who strands and where their histories land, works out a proposal, and reads
them again to decide everyone with the proposal in place. What the second read does not confirm is dropped: an
entry that would decide somebody differently who does not strand, that would move somebody whose history does not
lead there, or that frees nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.decision import Decision, Hazard, Landing, Place
from statekeep_cli.core.migration import speaks_for
from statekeep_cli.core.model import Definition, Path, canonical, join_path, split_path
from statekeep_cli.core.semantics import configuration_of
from statekeep_cli.core.suggest_anchors import NewRoute, RouteSearch
from statekeep_cli.core.suggest_places import MappingSearch, lane_of, landing_of, spots
from statekeep_cli.core.suggest_renames import changes, renamed_events, with_renames
from statekeep_cli.core.survey import Batches, Compared, Survey, compare, survey
from statekeep_cli.core.trace import Symbols

OUTCOMES = ("migrate", "strand", "stay", "skip")


@dataclass(frozen=True, slots=True)
class Entry:
    """One proposed entry. `source` and `to` are a state and its place, or an event's old and new name; `to` and
    `when` are canonical JSON. `anchors` are the (name, pattern) pairs a route needs besides those that exist."""

    kind: Literal["rename", "mapping", "route"]
    source: str
    to: str
    when: str = ""
    anchors: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """A proposed entry that was confirmed: how many actors it frees, and how many of those have no history (every
    path of the source leads them there)."""

    entry: Entry
    freed: int
    without_history: int = 0

    @property
    def histories(self) -> int:
        return self.freed - self.without_history


@dataclass(frozen=True, slots=True)
class Dropped:
    """An entry that was not confirmed, and why: `touches`, `unfounded` or `idle`, with the number of actors."""

    entry: Entry
    why: Literal["touches", "unfounded", "idle"]
    count: int = 0


@dataclass(frozen=True, slots=True)
class Unhelped:
    """Strands that the proposal leaves: a person must decide. `landings` counts where their histories land.
    `unspoken`: the target's block does not speak for their version. `erasable` would migrate under
    `loops: erase`."""

    source: Place | None
    reason: str
    detail: str
    count: int
    landings: tuple[tuple[Landing, int], ...]
    unspoken: bool = False
    erasable: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What `suggest` says. `before` and `after` count actors by outcome, without and with the proposal; `findings`
    are hazards of the first group that it brings, with the number of actors."""

    entries: tuple[Support, ...]
    dropped: tuple[Dropped, ...]
    unhelped: tuple[Unhelped, ...]
    findings: tuple[tuple[Hazard, int], ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    block: Mapping[str, Any] = field(default_factory=dict)

    @property
    def freed(self) -> int:
        return self.before["strand"] - self.after["strand"]


def suggest(deployment: Deployment, batches: Batches, symbols: Symbols | None = None) -> Proposal:
    """A proposal for the target of this deployment. `batches` reads all actors from the start and is called at least
    twice; `symbols` is the space of symbol codes that the reader uses, if it uses one."""
    symbols = Symbols() if symbols is None else symbols
    first = survey(deployment, batches, symbols)
    renames = renamed_events(deployment, first)
    dropped: list[Dropped] = []
    while True:
        stage, seen = deployment, first
        if renames:
            stage = _amended(deployment, [_rename(k, v) for k, v in renames.items()])
            seen = survey(stage, batches, symbols)
        entries = [*(_rename(k, v) for k, v in renames.items()), *_places(stage, seen)]
        confirmed = _confirm(deployment, stage, entries, batches, symbols, dropped)
        if confirmed is not None:
            return confirmed
        # A rename did not hold: what was worked out on top of it does not either.
        banned = {d.entry.source for d in dropped if d.entry.kind == "rename"}
        renames = {old: new for old, new in renames.items() if old not in banned}


def block_of(entries: Iterable[Entry]) -> dict[str, Any]:
    """Entries as a `migration:` block."""
    block: dict[str, Any] = {}
    for entry in entries:
        to = _value(entry.to)
        if entry.kind == "rename":
            block.setdefault("rename", {}).setdefault("events", {})[entry.source] = to
        elif entry.kind == "mapping":
            block.setdefault("stateMapping", {})[entry.source] = to
        else:
            for name, pattern in entry.anchors:
                block.setdefault("anchors", {})[name] = _value(pattern)
            route = {"from": entry.source, "when": _value(entry.when), "to": to}
            block.setdefault("routes", []).append(route)
    order = ("rename", "anchors", "routes", "stateMapping")
    return {key: block[key] for key in order if key in block}


# --- proposing ---------------------------------------------------------------------------------------


def _places(stage: Deployment, seen: Survey) -> list[Entry]:
    """Mappings where all of a state belong in one place, and routes on anchors where they do not."""
    found = spots(stage, seen.counts)
    search = MappingSearch(stage, found, seen.counts)
    mapping = search.run()
    rest = [s for s in found if search.place_of(s) is None]
    routes = RouteSearch(stage, found, seen.counts, seen.samples, mapping).run(rest)
    entries = [Entry("mapping", join_path(k), canonical(v)) for k, v in mapping.items()]
    return [*entries, *map(_route, routes)]


def _rename(old: str, new: str) -> Entry:
    return Entry("rename", old, canonical(new))


def _route(route: NewRoute) -> Entry:
    as_json = route.as_json()
    return Entry("route", as_json["from"], canonical(as_json["to"]), canonical(as_json["when"]), route.anchors)


def _value(text: str) -> Any:
    import json

    return json.loads(text)


def _amended(deployment: Deployment, entries: Sequence[Entry]) -> Deployment:
    """The deployment with these entries in the target's block: routes behind its own, keys beside its own."""
    target: Definition = deployment.target
    renames = {e.source: _value(e.to) for e in entries if e.kind == "rename"}
    if renames:
        target = with_renames(target, renames)
    block = dict(target.migration)
    more = block_of(e for e in entries if e.kind != "rename")
    for key in ("anchors", "stateMapping"):
        if key in more:
            block[key] = {**(block.get(key) or {}), **more[key]}
    if "routes" in more:
        block["routes"] = [*(block.get("routes") or []), *more["routes"]]
    target = replace(target, migration=block)
    return Deployment(deployment.sources, target, erase_loops=deployment.erase_loops)


# --- confirming --------------------------------------------------------------------------------------


def _confirm(
    deployment: Deployment,
    stage: Deployment,
    entries: list[Entry],
    batches: Batches,
    symbols: Symbols,
    dropped: list[Dropped],
) -> Proposal | None:
    """Decide everyone with the entries in place, dropping what does not hold until the rest does. None where a
    rename does not hold."""
    while True:
        trial = _amended(deployment, entries)
        result = compare([deployment, stage, trial], batches, symbols)
        verdict = _Verdict(deployment, stage, trial, entries, result)
        failed = verdict.failed()
        if not failed:
            return verdict.proposal(dropped)
        dropped.extend(failed)
        if any(d.entry.kind == "rename" for d in failed):
            return None
        gone = {d.entry for d in failed}
        entries = [e for e in entries if e not in gone]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What deciding everyone again says about the entries."""

    deployment: Deployment
    stage: Deployment  # with the renames only
    trial: Deployment  # with everything
    entries: list[Entry]
    result: Compared

    def failed(self) -> list[Dropped]:
        touched: Counter[Entry] = Counter()
        unfounded: Counter[Entry] = Counter()
        for (before, between, after), count in self.result.counts.items():
            if changes(before, after):
                for entry in self.concerning(before):
                    touched[entry] += count
            elif before.outcome == "strand" and after.outcome == "migrate" and not self.founded(between, after):
                for entry in self.behind(between, after):
                    unfounded[entry] += count
        found = [Dropped(e, "touches", n) for e, n in touched.items()]
        found += [Dropped(e, "unfounded", n) for e, n in unfounded.items() if e not in touched]
        if found:
            return found
        support = self.support()
        return [Dropped(e, "idle") for e in self.entries if not support[e]]

    def founded(self, between: Decision, after: Decision) -> bool:
        """Does a new rule place the actor where its history lands?"""
        if between.outcome != "strand":
            return True
        landing = landing_of(self.stage, between)
        return after.target is not None and landing == configuration_of(self.trial.target, after.target.value)

    def concerning(self, decision: Decision) -> list[Entry]:
        """The entries that may have changed this decision."""
        lane = lane_of(self.deployment, decision.source)
        active: list[Entry] = []
        if lane is not None and decision.source is not None:
            source = self.deployment.sources[lane]
            here = configuration_of(source, decision.source.value) or 0
            active = [e for e in self.entries if e.kind != "rename" and _is_active(source, here, split_path(e.source))]
        return active or [e for e in self.entries if e.kind == "rename"] or list(self.entries)

    def behind(self, between: Decision, after: Decision) -> list[Entry]:
        """The entries that free these actors."""
        if between.outcome != "strand":
            return [e for e in self.entries if e.kind == "rename"]
        kind, _, names = after.rule.partition(" ")
        if kind == "mapping":
            keys = names.split(", ")
            return [e for e in self.entries if e.kind == "mapping" and e.source in keys]
        routes = [e for e in self.entries if e.kind == "route"]
        if kind == "route":
            own = len(self.trial.lanes[0].target.migration.get("routes") or []) - len(routes)
            return routes[int(names) - own - 1 : int(names) - own]
        return list(self.entries)

    def support(self) -> Counter[Entry]:
        found: Counter[Entry] = Counter()
        for (before, between, after), count in self.result.counts.items():
            if before.outcome == "strand" and after.outcome == "migrate":
                for entry in self.behind(between, after):
                    found[entry] += count
        return found

    def proposal(self, dropped: Sequence[Dropped]) -> Proposal:
        freed, without = self.support(), Counter[Entry]()
        findings: Counter[Hazard] = Counter()
        outcomes = [Counter[str](), Counter[str]()]
        for key, count in self.result.counts.items():
            before, between, after = key
            outcomes[0][before.outcome] += count
            outcomes[1][after.outcome] += count
            if before.outcome == "strand" and after.outcome == "migrate":
                for entry in self.behind(between, after):
                    without[entry] += self.result.without_history[key]
                findings.update({h: count for h in after.hazards if h.is_finding})
        return Proposal(
            tuple(Support(e, freed[e], without[e]) for e in self.entries),
            tuple(dropped),
            tuple(self.unhelped()),
            tuple(sorted(findings.items(), key=lambda x: (x[0].hazard, x[0].state))),
            {o: outcomes[0][o] for o in OUTCOMES},
            {o: outcomes[1][o] for o in OUTCOMES},
            block_of(self.entries),
        )

    def unhelped(self) -> list[Unhelped]:
        """Who strands still, by state and the reason they had at first."""
        found: dict[tuple[Place | None, str], list[tuple[Decision, int, int]]] = {}
        for key, count in self.result.counts.items():
            before, _, after = key
            if after.outcome == "strand":
                group = found.setdefault((before.source, before.reason), [])
                group.append((before, count, self.result.erasable[key]))
        groups = []
        for (source, reason), members in found.items():
            landings: Counter[Landing] = Counter()
            for decision, count, _ in members:
                landings.update(dict.fromkeys(decision.landings, count))
            lane = lane_of(self.deployment, source)
            spoken = lane is None or speaks_for(self.deployment.target, self.deployment.sources[lane])
            detail = max(members, key=lambda x: (x[1], x[0].detail))[0].detail
            total, erasable = sum(x[1] for x in members), sum(x[2] for x in members)
            order = tuple(sorted(landings.items(), key=lambda x: (-x[1], x[0].state, x[0].stuck or "")))
            groups.append(Unhelped(source, reason, detail, total, order, not spoken, erasable))
        return sorted(groups, key=lambda u: (-u.count, str(u.source), u.reason))


def _is_active(source: Definition, configuration: int, path: Path) -> bool:
    index = source.by_path.get(path)
    return index is not None and bool(configuration >> index & 1)
