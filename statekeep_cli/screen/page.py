"""What the rescue screen shows, as text: user text is inert, and no line means anything by its colour."""

from __future__ import annotations

from collections.abc import Sequence

from statekeep_cli.core.decision import Place
from statekeep_cli.errors import StateKeepError
from statekeep_cli.render import explain as render_explain
from statekeep_cli.render import rescue as render
from statekeep_cli.render import words
from statekeep_cli.render.terminal import cells, inert, shown
from statekeep_cli.rescuing import Checked, Shown
from statekeep_cli.screen.desk import Offer
from statekeep_cli.stores.rescue import Group, Rescued

HELP = """\
Groups are on the left, a group's actors in pages on the right, and below
them one actor: what stranded it, where source and target stand after each
step of its history, and the lines that would place it.

  arrows, tab   move; go to the next pane (shift+tab: back)
  enter         from a group to its actors, from an actor to its history
  escape        back
  n, p          next and previous page of actors
  /             groups: only those with this text; actors: from this id on
  r             resolve by hand: a state, a reason, a confirmation
  c             copy the command line at the bottom, which does the same
  z             the history on the whole screen, and back
  f5            read again
  q             quit

Where many actors share a reason, correct the definition: paste the lines
under "to place it" and run statekeep rescue retry. Resolve by hand what is
left.
"""


def title(place: str, groups: Sequence[Group]) -> str:
    total = sum(g.count for g in groups)
    if not groups:
        return f"no actor needs rescue in {inert(place)}"
    return f"{words.actors(total)} need{'s' if total == 1 else ''} rescue in {inert(place)}"


def group_line(g: Group, size: int) -> str:
    """One group: how many and the state, then the reason and the version."""
    version = f"{g.definition}@{g.version}" if g.definition else g.version
    first = f"{g.count:>{size},} {shown(words.state_text(g.state))}"
    return f"{first}\n  {shown(g.reason or '-')}, {shown(version)}"


def group_size(groups: Sequence[Group]) -> int:
    """Columns of the largest count."""
    return max((cells(f"{g.count:,}") for g in groups), default=1)


def takes(g: Group, text: str) -> bool:
    """Does a filter take a group: is the text in its state, reason or version?"""
    said = f"{words.state_text(g.state)} {g.reason or ''} {g.definition or ''}@{g.version}"
    return text.casefold() in said.casefold()


def actor_line(x: Rescued) -> str:
    since = f"  (run {x.evidence.run.run})" if x.evidence else ""
    return f"{shown(x.id, render.CELL)}{since}"


def page_title(number: int, found: int, size: int, total: int) -> str:
    """`actors 101 to 200 of 66,667`."""
    if not found:
        return "actors: none here"
    first = (number - 1) * size + 1
    return f"actors {first:,} to {first + found - 1:,} of {total:,}"


def actor_text(known: Shown, width: int, retry: str) -> str:
    """One actor as `rescue show` prints it; `retry` is the command once its suggested lines are pasted."""
    parts = [render.head_text(known.row.id, known.row, known.rescued, width, False)]
    if known.explanation is not None and known.about is not None:
        frame = render_explain.Frame(known.about.references)
        parts.append(render_explain.text(known.explanation, frame, width, False))
        remedy = known.explanation.remedy
        if (remedy is not None and remedy.lines) or known.explanation.decision.outcome == "migrate":
            parts.append(f"next: {inert(retry)}\n")
    if known.missing:
        parts.append(render.missing_text(known.missing, width))
    return "\n".join(parts).rstrip("\n")


def offer_line(x: Offer) -> str:
    return shown(x.name, 400) + (f"  ({x.why})" if x.why else "")


def confirm_text(checked: Checked, to: Place, why: str, name: str, width: int) -> str:
    """What is about to be written, and the question."""
    row = checked.id, checked.source, checked.decision.hazards
    said = render.resolve_text([row], to, why, width, False)
    return f"{said}\nSet 1 actor of {inert(name)} by hand? y: yes, n: no"


def error_text(error: BaseException) -> str:
    """An error as one sentence."""
    if isinstance(error, StateKeepError):
        said = error.message or (error.problems[0].sentence if error.problems else "it failed")
        return inert(" ".join(said.split()))
    return inert(
        f"unexpected failure, {type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    )
