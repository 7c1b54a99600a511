"""What a second read of the actors says about a proposal: which entries hold, and whom they free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.configuration import configuration_of
from statekeep_cli.core.decision import Decision, Hazard, Landing, Place
from statekeep_cli.core.migration import speaks_for
from statekeep_cli.core.model import Definition, Path, split_path
from statekeep_cli.core.proposal import Dropped, Entry, Proposal, Support, Unhelped, block_of
from statekeep_cli.core.report import OUTCOMES
from statekeep_cli.core.suggest_places import landing_of, lane_of
from statekeep_cli.core.suggest_renames import changes
from statekeep_cli.core.survey import Compared


@dataclass(frozen=True, slots=True)
class Verdict:
    """What deciding everyone again says about the entries.

    `deployment` is without them, `stage` has the renames only, `trial` everything. `result` compares
    `deployment`, the stages without one of the renames each, `stage` and `trial`, in this order. `by_hand`
    are decisions about actors who were moved by hand.
    """

    deployment: Deployment
    stage: Deployment
    trial: Deployment
    entries: Sequence[Entry]
    result: Compared
    by_hand: Collection[Decision]

    def freed(self) -> Iterator[tuple[tuple[Decision, ...], int]]:
        """The combinations of decisions of those who are freed, with the number of actors."""
        for key, count in self.result.counts.items():
            if key[0].outcome == "strand" and key[-1].outcome == "migrate":
                yield key, count

    def failed(self) -> list[Dropped]:
        """The entries that do not hold; harm first, so that what it hid is seen the next time."""
        touched: Counter[Entry] = Counter()
        unfounded: Counter[Entry] = Counter()
        for key, count in self.result.counts.items():
            if changes(key[0], key[-1]):
                for entry in self.concerning(key[0]):
                    touched[entry] += count
        for key, count in self.freed():
            if not self.founded(key[-2], key[-1]):
                for entry in self.behind(key):
                    unfounded[entry] += count
        found = [Dropped(e, "touches", n) for e, n in touched.items()]
        found += [Dropped(e, "unfounded", n) for e, n in unfounded.items() if e not in touched]
        if found:
            return found
        support = self.support()
        return [Dropped(e, "idle", reason=self.instead(e)) for e in self.entries if not support[e]]

    def instead(self, entry: Entry) -> str:
        """The reason for which most of those an entry reaches strand then; "" if it reaches nobody."""
        reasons: Counter[str] = Counter()
        for key, count in self.result.counts.items():
            if key[-1].outcome == "strand" and key[-1].rule and entry in self.behind(key):
                reasons[key[-1].reason] += count
        return min(reasons, key=lambda r: (-reasons[r], r), default="")

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
            active = [
                e
                for e in self.entries
                if e.kind != "rename" and _is_active(source, here, split_path(e.source))
            ]
        return active or [e for e in self.entries if e.kind == "rename"] or list(self.entries)

    def behind(self, key: tuple[Decision, ...]) -> list[Entry]:
        """The entries that decide these actors: a rename without which they would strand, or the new rule."""
        *_, between, after = key
        if between.outcome != "strand":
            renames = [e for e in self.entries if e.kind == "rename"]
            without = key[1:-2]
            return [e for e, decision in zip(renames, without, strict=True) if decision.outcome == "strand"]
        kind, _, names = after.rule.partition(" ")
        if kind == "mapping":
            return [e for e in self.entries if e.kind == "mapping" and f", {e.source}, " in f", {names}, "]
        if kind == "route":
            routes = [e for e in self.entries if e.kind == "route"]
            own = len(self.deployment.target.migration.get("routes") or [])
            return routes[max(int(names) - own - 1, 0) : max(int(names) - own, 0)]
        return list(self.entries)

    def support(self) -> Counter[Entry]:
        """How many actors each entry frees."""
        found: Counter[Entry] = Counter()
        for key, count in self.freed():
            for entry in self.behind(key):
                found[entry] += count
        return found

    def proposal(self, dropped: Sequence[Dropped]) -> Proposal:
        """The entries with what supports them, and who is left."""
        freed, without = self.support(), Counter[Entry]()
        findings: Counter[Hazard] = Counter()
        before, after = Counter[str](), Counter[str]()
        for key, count in self.result.counts.items():
            before[key[0].outcome] += count
            after[key[-1].outcome] += count
        for key, count in self.freed():
            for entry in self.behind(key):
                without[entry] += self.result.without_history[key]
            for hazard in key[-1].hazards:
                findings[hazard] += count if hazard.is_finding else 0
        return Proposal(
            tuple(Support(e, freed[e], without[e]) for e in self.entries),
            tuple(d for d in dropped if d.entry not in self.entries),
            tuple(self.unhelped()),
            tuple(sorted((+findings).items(), key=lambda x: (x[0].hazard, x[0].state))),
            {outcome: before[outcome] for outcome in OUTCOMES},
            {outcome: after[outcome] for outcome in OUTCOMES},
            block_of(self.entries),
        )

    def unhelped(self) -> list[Unhelped]:
        """Who strands still, by state and the reason they had at first."""
        found: dict[tuple[Place | None, str, str, bool], list[tuple[Decision, ...]]] = {}
        for key in self.result.counts:
            before, after = key[0], key[-1]
            if after.outcome == "strand":
                then = after.reason if after.rule != before.rule else ""
                found.setdefault((before.source, before.reason, then, before in self.by_hand), []).append(key)
        groups = [self.left(then, by_hand, keys) for (_, _, then, by_hand), keys in found.items()]
        return sorted(groups, key=lambda u: (-u.count, str(u.source), u.reason, u.then, u.by_hand))

    def left(self, then: str, by_hand: bool, keys: Sequence[tuple[Decision, ...]]) -> Unhelped:
        """Some who strand still, as one group."""
        counts = self.result.counts
        largest = max(keys, key=lambda k: (counts[k], k[0].detail))[0]
        landings: Counter[Landing] = Counter()
        for key in keys:
            landings.update(dict.fromkeys(key[0].landings, counts[key]))
        lane = lane_of(self.deployment, largest.source)
        return Unhelped(
            largest.source,
            largest.reason,
            largest.detail,
            sum(counts[k] for k in keys),
            tuple(sorted(landings.items(), key=lambda x: (-x[1], x[0].state, x[0].stuck or ""))),
            then=then,
            unspoken=lane is not None
            and not speaks_for(self.deployment.target, self.deployment.sources[lane]),
            by_hand=by_hand,
            without_history=sum(self.result.without_history[k] for k in keys),
            erasable=sum(self.result.erasable[k] for k in keys),
        )


def _is_active(source: Definition, configuration: int, path: Path) -> bool:
    index = source.by_path.get(path)
    return index is not None and bool(configuration >> index & 1)
