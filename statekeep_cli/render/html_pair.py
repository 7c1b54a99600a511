"""A source beside the target on the HTML page: both statecharts, and where the actors go."""

from __future__ import annotations

from collections.abc import Iterator

from statekeep_cli.core.charts import Chart, Pair
from statekeep_cli.render import html_chart, html_flow
from statekeep_cli.render.diff import change_text
from statekeep_cli.render.html_text import code, esc, table

WIDTHS = (("wide", 1180), ("half", 680), ("slim", 330))  # of the flow picture, for a desk, paper, a phone
TALL = 2400  # pixels; a statechart higher than this scrolls in a frame of its own


def changes(pair: Pair, index: int) -> Iterator[str]:
    """Both statecharts beside each other, what changed in words, and all of it as tables."""
    yield (
        '<ul class="legend" aria-label="Legend"><li><i class="k added">+</i> added</li>'
        '<li><i class="k removed">\u2212</i> removed</li><li><i class="k changed">~</i> changed</li>'
        '<li><i class="k chip">12</i> actors</li><li><i class="k dot"></i> initial</li>'
        '<li><i class="k fin"></i> final</li>'
        '<li><i class="k dash"></i> between parallel regions</li></ul>'
    )
    yield '<div class="pair">'
    for side, chart in (("before", pair.before), ("after", pair.after)):
        name = f"c{index}{side[0]}"
        picture, height = html_chart.svg(chart, name, side == "before")
        css = "scroll canvas tall" if height > TALL else "scroll canvas"
        yield (
            f'<figure><figcaption id="{name}-c"><b>{code(chart.label)}</b> '
            f"<span>{side} the deployment</span>"
            f'<span class="zoom" role="group" aria-label="Zoom {esc(chart.label)}">'
            f'<button type="button" class="quiet" data-zoom="{name}" data-by="0.8" '
            f'aria-label="Smaller">\u2212</button>'
            f'<button type="button" class="quiet" data-zoom="{name}" data-by="1.25" '
            f'aria-label="Larger">+</button>'
            f'<button type="button" class="quiet" data-zoom="{name}" data-by="0">Fit</button>'
            "</span></figcaption>"
            f'<div class="{css}" id="{name}" tabindex="0" role="region" aria-labelledby="{name}-c">'
            f"{picture}</div></figure>"
        )
    yield "</div>"
    if pair.changes:
        items = []
        for change in pair.changes:
            sign, said = change_text(change, code)
            word = {"+": "added", "-": "removed"}.get(sign, "changed")
            mark = "\u2212" if sign == "-" else esc(sign)
            items.append(
                f'<li class="{word}"><b aria-hidden="true">{mark}</b>'
                f'<span><span class="unseen">{word}: </span>{said}</span></li>'
            )
        n = len(items)
        yield (
            f"<details><summary>{n:,} {'change' if n == 1 else 'changes'} in words</summary>"
            f'<ul class="changes">{"".join(items)}</ul></details>'
        )
    else:
        yield "<p>The two are alike in structure.</p>"
    yield '<details class="alt"><summary>All states as a table</summary>'
    for chart, when in ((pair.before, "before"), (pair.after, "after")):
        head = ("state", "kind", f"actors {when}", "change", "transitions")
        yield table(f"States of {chart.label}", head, "".join(_states(chart)), "plain")
    yield "</details>"


def flow(pair: Pair, index: int) -> Iterator[str]:
    """Where the actors go, as a picture and as a table."""
    for css, width in WIDTHS:
        picture = html_flow.svg(pair, f"f{index}{css[0]}", width)
        if picture:
            yield f'<div class="{css}">{picture}</div>'
    rows = "".join(
        f'<tr><td>{code(a)}</td><td>{code(b)}</td><td class="num">{n:,}</td><td>{said}</td></tr>'
        for a, b, n, said in html_flow.rows(pair)
    )
    if rows:
        yield (
            '<ul class="legend" aria-label="Legend"><li><i class="k keep"></i> keeps its state</li>'
            '<li><i class="k move"></i> moves</li><li><i class="k hatch"></i> needs rescue</li>'
            '<li><i class="k stay"></i> stays on its version</li></ul>'
            f'<details class="alt"><summary>The same as a table</summary>'
            f"{table('Where actors go', ('from', 'to', 'actors', 'outcome'), rows, 'plain')}"
            "</details>"
        )


def _states(chart: Chart) -> Iterator[str]:
    for box in chart.boxes:
        lines = []
        for a in box.arrows:
            what = f"{a.event} [{a.guard}]" if a.guard else a.event
            to = " + ".join(chart.boxes[t].name or chart.label for t in a.targets)
            mark = f" ({a.mark}{', ' + a.note if a.note else ''})" if a.mark else ""
            lines.append(code(f"{what} \u2192 {to}" if to else what) + esc(mark))
        change = "; ".join((*((box.mark,) if box.mark else ()), *box.notes))
        yield (
            f'<tr><td>{code(box.name or "(the machine)")}</td><td>{box.kind}</td><td class="num">'
            f"{f'{box.count:,}' if box.count else ''}</td><td>{esc(change)}</td>"
            f"<td>{'<br>'.join(lines)}</td></tr>"
        )
