"""A report for a pull-request comment.

User text stands in code spans (or, inside HTML, in escaped `<code>`), so that Markdown, HTML, mentions and
links in ids and states stay text. Actor ids appear only where asked for.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from statekeep_cli.core.causes import FindingKey
from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.report import Group, Report
from statekeep_cli.errors import Problem
from statekeep_cli.render import words
from statekeep_cli.render.terminal import inert, shown

LIMIT = 65_000  # characters; GitHub refuses comments of 65,536, GitLab of 1,000,000


@dataclass(frozen=True, slots=True)
class _Tier:
    """How much of a report is drawn; `left` says what is not."""

    rows: int | None  # None: no rows, but the sums by outcome and reason
    blocks: int
    landings: int
    findings: int
    left: str


LONG = _Tier(2_000, 500, 10, 200, "")  # where there is more room than a comment has
# From everything to what always fits, whatever names the definitions have.
TIERS = (
    _Tier(200, 50, 10, 50, ""),
    _Tier(200, 50, 0, 50, "where histories land, and samples"),
    _Tier(60, 20, 0, 20, "where histories land, samples, and smaller groups"),
    _Tier(20, 5, 0, 10, "where histories land, samples, and smaller groups"),
    _Tier(None, 0, 0, 0, "groups and hazards; these are their sums"),
)


def markdown(
    report: Report,
    show_ids: bool = False,
    full: str = "",
    locations: Mapping[FindingKey, Problem] | None = None,
    *,
    limit: int = LIMIT,
    size: Callable[[str], int] = len,
) -> str:
    """Counts, groups, strand blocks to unfold, hazards; less of them where it would pass `limit`, which is
    in characters unless `size` counts otherwise. `full` names the report that has everything, `locations` are
    the places of what causes each finding.

    The first line is a marker that readers do not see: whoever updates a comment in place finds it by that.
    """
    rows, strands = words.rows(report), words.strands(report)
    text = ""
    for tier in (LONG, *TIERS) if limit > 2 * LIMIT else TIERS:
        page = _Page(report, show_ids, tier, full, locations or {})
        text = "\n\n".join((marker(report), *page.sections(rows, strands))) + "\n"
        if size(text) <= limit:
            return text
    return "\n\n".join((marker(report), _counts(report), _left("everything but the counts", full))) + "\n"


def marker(report: Report) -> str:
    """An HTML comment that is the same for every preview of this target definition, whatever its version."""
    target = next((d.id for d in reversed(report.definitions)), "")
    return f"<!-- statekeep preview {hashlib.sha256(inert(target).encode()).hexdigest()[:16]} -->"


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


@dataclass(frozen=True, slots=True)
class _Page:
    report: Report
    show_ids: bool
    tier: _Tier
    full: str
    locations: Mapping[FindingKey, Problem]

    def sections(self, rows: list[tuple[Group, int]], strands: list[Group]) -> Iterator[str]:
        report, tier = self.report, self.tier
        yield _title(report)
        yield _counts(report)
        if tier.rows is None:
            yield _sums(report)
        elif rows:
            yield _table(report, rows, tier.rows)
        for group in strands[: tier.blocks]:
            yield self.strand(group)
        left = strands[tier.blocks :]
        if left and tier.rows is not None:
            n = sum(g.count for g in left)
            yield f"{len(left):,} more strand groups with {words.actors(n)} are left out here."
        findings = report.findings()
        if findings and tier.findings:
            yield _findings(findings, tier.findings, self.locations)
        elif findings:
            yield f"{len(findings):,} hazards are not accepted yet."
        notices = words.notices(report)
        if notices and tier.findings:
            yield _notices(notices, tier.findings)
        if report.unreadable:
            yield _unreadable(report, self.show_ids)
        if report.notes and tier.findings:
            notes = [words.note(note, self.show_ids) for note in report.notes]
            yield "\n\n".join(f"Note: {code(note, 1000)}" for note in notes)
        cut = len(rows) > (tier.rows or 0) or len(strands) > tier.blocks
        if tier.left or cut:
            yield _left(tier.left or "smaller groups", self.full)

    def strand(self, g: Group) -> str:
        report, place = self.report, ""
        if g.source is not None:
            of = f" of {_html(words.label(g.source))}" if words.several_sources(report) else ""
            place = f" in {_html(words.place_text(g.source))}{of}"
        parts = [f"<details><summary>{words.actors(g.count)} stranded{place}: {_html(words.by(g))}</summary>"]
        if words.why(g):
            at = f" ({code(self.locations[g.key].place)})" if g.key in self.locations else ""
            parts.append(f"Why: {code(g.detail, 1000) if g.detail else words.why(g)}{at}")
        if g.landings and self.tier.landings:
            items = (
                f"- {n:,} in {code(words.landing_text(x.state, x.stuck), 400)}"
                for x, n in g.landings[: self.tier.landings]
            )
            parts.append("Their histories land\n\n" + "\n".join(items))
            if g.landings[self.tier.landings :]:
                left = g.landings[self.tier.landings :]
                parts[-1] += f"\n- {sum(n for _, n in left):,} in {len(left):,} more places"
        if self.show_ids and g.sample and self.tier.landings:
            parts.append("Actors: " + ", ".join(code(i, 60) for i in g.sample))
        if g.freed_by_erase:
            said = words.erased(g, code)
            parts.append(f"{said[0].upper()}{said[1:]}.")
        if g.suggestion.strip():
            parts.append("To paste into the target definition:")
            parts.append(fenced(g.suggestion))
        return "\n\n".join((*parts, "</details>"))


def _title(report: Report) -> str:
    def named(role: str) -> str:
        return ", ".join(code(words.definition_label(d)) for d in report.definitions if d.role == role) or "?"

    return f"### StateKeep preview: {named('source')} → {named('target')}"


def _counts(report: Report) -> str:
    names = words.counts(report)
    return "\n".join(
        (
            "| " + " | ".join(name for name, _ in names) + " |",
            "|" + "---:|" * len(names),
            "| " + " | ".join(f"{n:,}" for _, n in names) + " |",
        )
    )


def _sums(report: Report) -> str:
    """Actors and groups by outcome and reason: a list as long as there are reasons."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for g in report.groups:
        actors, groups = found.get((g.outcome, g.reason), (0, 0))
        found[(g.outcome, g.reason)] = (actors + g.count, groups + 1)
    lines = ["| actors | groups | outcome | reason |", "|---:|---:|---|---|"]
    for (outcome, reason), (actors, groups) in sorted(found.items(), key=lambda x: -x[1][0]):
        lines.append(f"| {actors:,} | {groups:,} | {outcome} | {_cell(reason or '-')} |")
    return "\n".join(lines)


def _left(what: str, full: str) -> str:
    where = f"The full report is {code(full)}." if full else "`--format json=FILE` writes the full report."
    return f"Left out to keep this short: {what}. {where}"


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


def _findings(found: list[tuple[Hazard, int]], most: int, locations: Mapping[FindingKey, Problem]) -> str:
    lines = ["**Hazards that nobody has accepted yet**", ""]
    for h, n in found[:most]:
        at = f" ({code(locations[h].place)})" if h in locations else ""
        lines.append(f"- {words.hazard_text(h, n, code)}{at}")
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
