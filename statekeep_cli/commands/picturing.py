"""What the html report draws besides the report: both definitions, the gate, sample histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statekeep_cli.core.explain import Explanation
    from statekeep_cli.core.model import Definition
    from statekeep_cli.core.report import Report
    from statekeep_cli.deployments import Subject
    from statekeep_cli.readers.history import Spool
    from statekeep_cli.render.html import Pictures
    from statekeep_cli.stores.interface import Store

MOST = 50  # strand groups, the largest first, of which one history is drawn

# Explanations by id, of those actors among the named that are (still) there.
Explain = Callable[[Sequence[str]], "Mapping[str, Explanation]"]


def pictures(
    sources: Sequence[Definition],
    target: Definition,
    report: Report,
    refusals: Sequence[str],
    explain: Explain | None = None,
) -> Pictures:
    """Everything to draw. `refusals` are the gate's; `explain` is given only where histories may be shown
    (`--show-ids`), and is asked for the first sample of each strand group."""
    from statekeep_cli.core.charts import charts
    from statekeep_cli.render.html import Pictures
    from statekeep_cli.render.words import strands

    wanted = [g.sample[0] for g in strands(report)[:MOST] if g.sample]
    examples = explain(wanted) if explain is not None and wanted else {}
    return Pictures(charts(sources, target, report), tuple(refusals), examples)


def from_export(
    path: str, spool: Spool | None, sources: Sequence[Definition], target: Definition
) -> Explain | None:
    """Explains actors of an export; None where that was a pipe."""
    from statekeep_cli.core.apv import Deployment
    from statekeep_cli.core.explain import explain
    from statekeep_cli.errors import InputUnreadable
    from statekeep_cli.readers.actors import find_actor, size_of
    from statekeep_cli.readers.history import History

    if size_of(path) is None:
        return None
    history = None if spool is None else History(spool)
    deployment = Deployment(sources, target)

    def explained(ids: Sequence[str]) -> Mapping[str, Explanation]:
        found = {}
        for name in ids:  # samples are the first of their group, so each search is a short one
            with suppress(InputUnreadable):
                actor = find_actor(path, name, history)
                if actor is not None:
                    found[name] = explain(deployment, *actor)
        return found

    return explained


def from_database(store: Store, about: Subject) -> Explain:
    """Explains actors of a database."""
    from statekeep_cli.errors import StateKeepError
    from statekeep_cli.rescuing import explained as explain

    def explained(ids: Sequence[str]) -> Mapping[str, Explanation]:
        found = {}
        for row in about.scope.actors(store).read(list(ids)):
            with suppress(StateKeepError):  # changed meanwhile, and not for the better
                found[row.id] = explain(about, row)
        return found

    return explained
