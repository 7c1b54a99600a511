"""Where source and target part, drawn: from a group alone, or on one actor's history."""

from __future__ import annotations

from collections.abc import Sequence

from statekeep_cli.core.explain import Explanation
from statekeep_cli.core.report import Group
from statekeep_cli.core.timeline import Moment
from statekeep_cli.render.html_text import compact, esc

BEFORE, AFTER = 4, 3  # steps shown around the one where they part
MOST_LANDINGS = 4
# What is the matter with the same place by name, where the reason says so.
BY_NAME = {
    "state_removed": "there is no such state any more",
    "kind_changed": "a state of another kind now",
    "region_added": "has a region more now",
    "region_removed": "has a region less now",
    "event_refused": "never reached by this history",
    "diverged": "not where this history leads",
    "ambiguous": "only one of several places",
    "history_required": "only one of several places",
}


def of_group(group: Group, source: str, target: str) -> str:
    """The same history in both definitions, by its ends: where the actors stand, and where it lands now. No
    event of any history but the refused one, which is a word of the definition."""
    if group.source is None or not (group.landings or group.reason in BY_NAME):
        return ""
    here = compact(group.source.state)
    parts = [
        '<div class="step"><div class="lane">',
        f'<span class="who">{esc(source, 60)}</span><span class="run">their histories</span>',
        f'<span class="ends"><span class="st now">{esc(here, 120)}</span></span></div>',
        '<div class="lane">',
        f'<span class="who">{esc(target, 60)}</span><span class="run part">the same, replayed</span>',
        '<span class="ends">',
    ]
    for landing, n in group.landings[:MOST_LANDINGS]:
        parts.append(f'<span class="end"><span class="st">{esc(compact(landing.state), 120)}</span>')
        parts.append(f'<span class="num">{n:,}</span>')
        if landing.stuck:
            parts.append(f'<span class="stuck">\u2715 {esc(landing.stuck, 80)} is refused here</span>')
        parts.append("</span>")
    left = group.landings[MOST_LANDINGS:]
    if left:
        parts.append(f'<span class="end">and {len(left):,} more places</span>')
    why = BY_NAME.get(group.reason)
    if why:
        parts.append(f'<span class="end"><span class="st gone">{esc(here, 120)}</span> {why}</span>')
    return "".join((*parts, "</span></div></div>"))


def of_history(e: Explanation, source: str, target: str, name: str) -> str:
    """One actor's timeline around the step where they part, as a table with a column per step."""
    moments = [m for m in e.timeline if m.explained or m.event]
    if not moments:
        return ""
    at = next((i for i, m in enumerate(moments) if m.number == e.parted), None)
    broken = next((i for i, m in enumerate(moments) if not m.explained), None)
    middle = at if at is not None else broken if broken is not None else len(moments) - 1
    first, last = max(middle - BEFORE, 0), min(middle + AFTER + 1, len(moments))
    shown = moments[first:last]
    marked = {at, broken} - {None}
    heads, tops, bottoms = [], [], []
    for i, m in enumerate(shown, first):
        css = ' class="part"' if i in marked else ""
        heads.append(f'<th scope="col"{css}>{_event(m)}{_verdict(m, i == at)}</th>')
        tops.append(f"<td{css}>{_states([compact(b.source.state) for b in m.sides])}</td>")
        bottoms.append(f"<td{css}>{_targets(m)}</td>")
    left = f'<th scope="col" class="more">{first:,} earlier</th>' if first else ""
    right = f'<th scope="col" class="more">{len(moments) - last:,} later</th>' if len(moments) > last else ""
    pad_left, pad_right = ("<td></td>" if left else ""), ("<td></td>" if right else "")
    caption = f"The history of {esc(e.actor, 80)}, step by step"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}"><table class="time">'
        f'<caption id="{name}">{caption}</caption>'
        f'<thead><tr><th scope="col">step</th>{left}{"".join(heads)}{right}</tr></thead><tbody>'
        f'<tr><th scope="row">{esc(source, 60)}</th>{pad_left}{"".join(tops)}{pad_right}</tr>'
        f'<tr><th scope="row">{esc(target, 60)}</th>{pad_left}{"".join(bottoms)}{pad_right}</tr>'
        f"</tbody></table></div>"
    )


def _event(m: Moment) -> str:
    if m.event is not None:
        return f"<code>{esc(m.event, 60)}</code>"
    if m.kind == "event":
        return "<code>" + esc(" or ".join(m.inferred) or "(no event recorded)", 60) + "</code>"
    return {"start": "start", "origin": "history begins", "migrated": "migrated", "manual": "moved by hand"}[
        m.kind
    ]


def _verdict(m: Moment, parted: bool) -> str:
    said = []
    if not m.explained:
        said.append("not explained by the source")
    if m.refused:
        said.append("\u2715 refused by the target")
    elif parted:
        said.append("\u2260 here they part")
    if m.retired:
        said.append("passed over")
    return "".join(f"<small>{x}</small>" for x in said)


def _states(texts: Sequence[str]) -> str:
    unique = list(dict.fromkeys(texts))
    more = f" <small>or {len(unique) - 2:,} more</small>" if unique[2:] else ""
    return " or ".join(f'<span class="st">{esc(t, 60)}</span>' for t in unique[:2]) + more


def _targets(m: Moment) -> str:
    texts = []
    for side in m.sides:
        for t in side.targets:
            texts.append("(nowhere yet)" if t.state is None else compact(t.state))
    return _states(texts)
