"""A report for a pull-request comment.

User text stands in code spans (or, inside HTML, in escaped `<code>`), so that Markdown, HTML, mentions and
links in ids and states stay text. Actor ids appear only where asked for.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.report import Group, Report
from statekeep_cli.render import words
from statekeep_cli.render.terminal import inert, shown

LIMIT = 65_000  # characters; GitHub refuses comments of 65,536
TIERS = ((200, 50), (60, 20), (20, 5), (5, 1), (0, 0))  # rows and strand blocks, until it fits


def markdown(report: Report, show_ids: bool = False) -> str:
    """Counts, groups, strand blocks to unfold, hazards; fewer of them where it would be too long."""
    text = ""
    rows, strands = words.rows(report), words.strands(report)
    for most_rows, most_blocks in TIERS:
        text = "\n\n".join(_sections(report, rows, strands, show_ids, most_rows, most_blocks)) + "\n"
        if len(text) <= LIMIT:
            break
    return text


def code(text: str, limit: int = 200) -> str:
    """User text as a code span, also inside a table's cell."""
    safe = shown(text, limit)
    if not safe.strip():
        return f"`{safe or ' '}`"  # nothing between backticks would be no code span
    longest = max((len(run) for run in re.findall("`+", safe)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if safe[0] in "` " or safe[-1] in "` " else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def _cell(text: str) -> str:
    return code(text).replace("|", "\\|") if text != "-" else "-"


def _html(text: str, limit: int = 200) -> str:
    return f"<code>{html.escape(shown(text, limit))}</code>"


def fenced(text: str) -> str:
    """Lines to paste, as a block that nothing inside can close."""
    lines = [inert(line) for line in text.strip("\n").split("\n")]
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}yaml", *lines, fence))


def _sections(
    report: Report,
    rows: list[tuple[Group, int]],
    strands: list[Group],
    show_ids: bool,
    max_rows: int,
    max_blocks: int,
) -> Iterator[str]:
    yield _title(report)
    names = words.counts(report)
    yield "\n".join(
        (
            "| " + " | ".join(name for name, _ in names) + " |",
            "|" + "---:|" * len(names),
            "| " + " | ".join(f"{n:,}" for _, n in names) + " |",
        )
    )
    if rows:
        yield _table(report, rows, max_rows)
    for group in strands[:max_blocks]:
        yield _strand(report, group, show_ids)
    left = strands[max_blocks:]
    if left:
        n = sum(g.count for g in left)
        yield f"{len(left):,} more strand groups with {words.actors(n)} are left out here."
    findings = report.findings()
    if findings:
        yield _findings(findings, max(max_rows, 10))
    notices = words.notices(report)
    if notices and max_rows:
        yield _notices(notices, max_rows)
    if report.unreadable:
        yield _unreadable(report, show_ids)
    if report.notes and max_rows:
        yield "\n\n".join(f"Note: {code(note, 1000)}" for note in report.notes)


def _title(report: Report) -> str:
    def named(role: str) -> str:
        return ", ".join(code(words.definition_label(d)) for d in report.definitions if d.role == role) or "?"

    return f"### StateKeep preview: {named('source')} → {named('target')}"


def _table(report: Report, rows: list[tuple[Group, int]], most: int) -> str:
    labelled = words.several_sources(report)
    head = ("actors", "outcome", *(("source",) if labelled else ()), "from", "to", "rule or reason")
    lines = [f"| {' | '.join(head)} |", "|---:" + "|---" * (len(head) - 1) + "|"]
    for g, n in rows[:most]:
        label = [words.label(g.source) if g.source else "-"] if labelled else []
        texts = (*label, words.place_text(g.source), words.place_text(g.target), words.by(g))
        lines.append(f"| {n:,} | {g.outcome} | {' | '.join(map(_cell, texts))} |")
    left = rows[most:]
    if left:
        lines += [
            "",
            f"{len(left):,} more rows with {words.actors(sum(n for _, n in left))} are left out here.",
        ]
    return "\n".join(lines)


def _strand(report: Report, g: Group, show_ids: bool) -> str:
    place = ""
    if g.source is not None:
        of = f" of {_html(words.label(g.source))}" if words.several_sources(report) else ""
        place = f" in {_html(words.place_text(g.source))}{of}"
    parts = [f"<details><summary>{words.actors(g.count)} stranded{place}: {_html(words.by(g))}</summary>"]
    if words.why(g):
        parts.append(f"Why: {code(g.detail, 1000) if g.detail else words.why(g)}")
    if g.landings:
        items = (f"- {n:,} in {code(words.landing_text(x.state, x.stuck), 400)}" for x, n in g.landings[:10])
        parts.append("Their histories land\n\n" + "\n".join(items))
        if g.landings[10:]:
            left = g.landings[10:]
            parts[-1] += f"\n- {sum(n for _, n in left):,} in {len(left):,} more places"
    if show_ids and g.sample:
        parts.append("Actors: " + ", ".join(code(i, 60) for i in g.sample))
    if g.freed_by_erase:
        said = words.erased(g, code)
        parts.append(f"{said[0].upper()}{said[1:]}.")
    if g.suggestion.strip():
        parts.append("To paste into the target definition:")
        parts.append(fenced(g.suggestion))
    return "\n\n".join((*parts, "</details>"))


def _findings(found: list[tuple[Hazard, int]], most: int) -> str:
    lines = ["**Hazards that nobody has accepted yet**", ""]
    lines += ["- " + words.hazard_text(h, n, code) for h, n in found[:most]]
    if found[most:]:
        lines.append(f"- and {len(found) - most:,} more")
    lines += ["", "Once looked at, to paste into the target definition, with your reasons:", ""]
    return "\n".join((*lines, fenced("\n".join(words.accept_lines(h for h, _ in found[:most])))))


def _notices(found: list[tuple[Hazard, int]], most: int) -> str:
    lines = ["<details><summary>Notices</summary>", ""]
    lines += ["- " + words.hazard_text(h, n, code) for h, n in found[:most]]
    if found[most:]:
        lines.append(f"- and {len(found) - most:,} more")
    return "\n".join((*lines, "", "</details>"))


def _unreadable(report: Report, show_ids: bool) -> str:
    """Messages may quote a record, so without `show_ids` only the places are given."""
    n, sample = report.unreadable, report.unreadable_sample
    lines = [f"**{n:,} {'record' if n == 1 else 'records'} could not be read** (line:column)", ""]
    for u in sample:
        lines.append(f"- {u.line}:{u.column}" + (f": {code(u.message, 400)}" if show_ids else ""))
    if n > len(sample):
        lines.append(f"- and {n - len(sample):,} more")
    return "\n".join(lines)
