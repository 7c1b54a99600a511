"""What the html report draws besides the report: both definitions, the gate, sample histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statekeep_cli.core.explain import Explanation
    from statekeep_cli.core.gate import Gate
    from statekeep_cli.core.model import Definition
    from statekeep_cli.core.report import Report
    from statekeep_cli.core.trace import Actor
    from statekeep_cli.readers.history import Spool
    from statekeep_cli.render.html import Pictures

MOST = 50  # strand groups, the largest first, of which one history is drawn

# Actors by id, each with its record, for as many of the ids as there are.
Find = Callable[[Sequence[str]], "Mapping[str, tuple[Actor[Any, Any], Mapping[str, Any]]]"]


def pictures(
    sources: Sequence[Definition], target: Definition, report: Report, gate: Gate, find: Find | None = None
) -> Pictures:
    """Everything to draw. `find` is given only where histories may be shown (`--show-ids`)."""
    from statekeep_cli.core.charts import charts
    from statekeep_cli.render.html import Pictures

    examples = {} if find is None else _examples(sources, target, report, find)
    return Pictures(charts(sources, target, report), tuple(gate.refusals(report)), examples)


def _examples(
    sources: Sequence[Definition], target: Definition, report: Report, find: Find
) -> dict[str, Explanation]:
    """The first sample of each strand group, explained."""
    from statekeep_cli.core.apv import Deployment
    from statekeep_cli.core.explain import explain
    from statekeep_cli.render.words import strands

    wanted = [g.sample[0] for g in strands(report)[:MOST] if g.sample]
    deployment = Deployment(sources, target)
    return {name: explain(deployment, *found) for name, found in find(wanted).items()}


def finder(path: str, spool: Spool | None) -> Find | None:
    """How to find actors of an export again; None where it was a pipe."""
    from statekeep_cli.errors import InputUnreadable
    from statekeep_cli.readers.actors import find_actor, size_of
    from statekeep_cli.readers.history import History

    if size_of(path) is None:
        return None
    history = None if spool is None else History(spool)

    def find(ids: Sequence[str]) -> Mapping[str, tuple[Actor[Any, Any], Mapping[str, Any]]]:
        found = {}
        for name in ids:  # samples are the first of their group, so each search is a short one
            with suppress(InputUnreadable):
                actor = find_actor(path, name, history)
                if actor is not None:
                    found[name] = actor
        return found

    return find
