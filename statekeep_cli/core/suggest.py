"""The smallest routing metadata that helps those who strand and leaves everyone else alone.

`suggest` reads the actors once to see who strands and where their histories land, works out a proposal, and
reads them again to decide everyone with the proposal in place. What the second read does not confirm is
dropped: an entry that would decide somebody differently who does not strand, that would move somebody whose
history does not lead there, or that frees nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from statekeep_cli.core.apv import Deployment
from statekeep_cli.core.model import canonical, join_path
from statekeep_cli.core.proposal import Dropped, Entry, Proposal, amended
from statekeep_cli.core.suggest_anchors import RouteSearch
from statekeep_cli.core.suggest_check import Verdict
from statekeep_cli.core.suggest_places import MappingSearch, spots
from statekeep_cli.core.suggest_renames import renamed_events
from statekeep_cli.core.survey import Batches, Survey, compare, survey
from statekeep_cli.core.trace import Symbols


def suggest(deployment: Deployment, batches: Batches, symbols: Symbols | None = None) -> Proposal:
    """A proposal for the target of this deployment. `batches` reads all actors from the start and is called
    at least twice; `symbols` is the space of symbol codes that the reader uses, if it uses one."""
    symbols = Symbols() if symbols is None else symbols
    first = survey(deployment, batches, symbols)
    renames = renamed_events(deployment, first)
    dropped: list[Dropped] = []
    while True:
        new_names = _renames(renames)
        stage = amended(deployment, new_names) if renames else deployment
        seen = survey(stage, batches, symbols) if renames else first
        entries = [*new_names, *_places(stage, seen)]
        while True:
            trial = amended(deployment, entries)
            without = [amended(deployment, [e for e in new_names if e is not one]) for one in new_names]
            result = compare([deployment, *without, stage, trial], batches, symbols)
            verdict = Verdict(deployment, stage, trial, entries, result, first.by_hand())
            failed = verdict.failed()
            if not failed:
                return verdict.proposal(dropped)
            dropped += failed
            gone = {d.entry for d in failed}
            if gone & set(new_names):
                break
            entries = [e for e in entries if e not in gone]
        # A rename did not hold: what was worked out on top of it does not either.
        renames = {e.source: renames[e.source] for e in new_names if e not in gone}


def _renames(renames: Mapping[str, str]) -> list[Entry]:
    return [Entry("rename", old, canonical(new)) for old, new in renames.items()]


def _places(stage: Deployment, seen: Survey) -> Sequence[Entry]:
    """Mappings where all of a state belong in one place, and routes on anchors where they do not."""
    found = spots(stage, seen)
    search = MappingSearch(stage, found, seen.counts)
    mapping = search.run()
    rest = [s for s in found if search.place_of(s) is None]
    routes = RouteSearch(stage, found, seen.counts, seen.samples, mapping).run(rest)
    return [
        *(Entry("mapping", join_path(key), canonical(value)) for key, value in mapping.items()),
        *(Entry("route", join_path(r.source), canonical(r.to), r.predicate, r.anchors) for r in routes),
    ]
