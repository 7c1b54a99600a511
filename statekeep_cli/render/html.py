"""A report as one page for a browser: self-contained, inert, readable on a phone and on paper.

Style and script are inline and named by their digests in a Content-Security-Policy that forbids everything
else: nothing is fetched, and no text of a definition could act even if it were not escaped. Everything the
page says is in its HTML; the script only sorts, filters, zooms, copies and changes the theme. Actor ids and
histories appear only where asked for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from statekeep_cli.core.charts import Pair
from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.explain import Explanation
from statekeep_cli.core.remedy import MISSING, OTHERWISE
from statekeep_cli.core.report import Group, Report
from statekeep_cli.render import html_pair, html_step, words
from statekeep_cli.render.html_text import code, esc, paste, sentence, table

OPEN = 6  # strand blocks that are unfolded from the start


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the page draws besides the report.

    `refusals` are the gate's sentences, None where there is no gate. `examples` are explanations of sample
    actors by id, for the histories to draw; empty unless ids may be shown.
    """

    pairs: tuple[Pair, ...] = ()
    refusals: tuple[str, ...] | None = None
    examples: Mapping[str, Explanation] = field(default_factory=dict)


def html(report: Report, pictures: Pictures, show_ids: bool = False, next_command: str = "") -> str:
    """The page."""
    return _Page(report, pictures, show_ids, next_command).page()


def _asset(name: str) -> str:
    return (files("statekeep_cli.render") / name).read_text("utf-8")


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


class _Page:
    def __init__(self, report: Report, pictures: Pictures, show_ids: bool, next_command: str):
        self.report, self.pictures, self.show_ids = report, pictures, show_ids
        # The command after a clean preview names an actor.
        self.next_command = next_command if show_ids or report.would_strand else ""
        self.strands = words.strands(report)
        self.target = self._named("target")

    def _named(self, role: str) -> str:
        return ", ".join(words.definition_label(d) for d in self.report.definitions if d.role == role) or "?"

    def page(self) -> str:
        style, script = _asset("report.css"), _asset("report.js")
        policy = (
            f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
            "base-uri 'none'; form-action 'none'"
        )
        title = f"{self._named('source')} to {self.target}"
        sections = [(name, label, "".join(body)) for name, label, body in self._sections()]
        sections = [x for x in sections if x[2]]
        links = "".join(f'<a href="#{name}">{esc(label)}</a>' for name, label, _ in sections)
        bodies = "".join(
            f'<section id="{name}" aria-labelledby="{name}-h">'
            f'<h2 id="{name}-h">{esc(label)}</h2>{body}</section>\n'
            for name, label, body in sections
        )
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
            f"<title>StateKeep: {esc(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
            '<a class="skip" href="#main">Skip to the report</a>\n'
            f'<header class="top"><p class="brand">StateKeep <span>preview</span></p>'
            f'<button type="button" id="theme" class="quiet">Theme: system</button>'
            f'<h1>{code(self._named("source"))} <span class="to">to</span> {code(self.target)}</h1>'
            "</header>\n"
            f'<nav aria-label="Sections"><div>{links}</div></nav>\n<main id="main">\n{bodies}</main>\n'
            '<p id="said" class="unseen" role="status"></p>\n'
            f"<script>{script}</script>\n</body>\n</html>\n"
        )

    def _sections(self) -> Iterator[tuple[str, str, Iterable[str]]]:
        yield "summary", "Summary", self._summary()
        for i, pair in enumerate(self.pictures.pairs):
            several = len(self.pictures.pairs) > 1
            yield (
                f"change{i}",
                f"Changes from {pair.before.label}" if several else "Changes",
                html_pair.changes(pair, i),
            )
            label = f"Flow from {pair.before.label}" if several else "Flow"
            yield f"flow{i}", label, html_pair.flow(pair, i)
        yield "strands", "Strands", self._strands()
        yield "hazards", "Hazards", self._hazards()
        yield "groups", "Groups", self._groups()
        yield "notes", "Notes", self._notes()

    # summary

    def _summary(self) -> Iterator[str]:
        r = self.report
        refusals = self.pictures.refusals
        if refusals is not None:
            said = "".join(f"<li>{esc(x)}</li>" for x in refusals)
            if refusals:
                yield f'<div class="verdict past"><b>\u25b2 Past the gate.</b><ul>{said}</ul></div>'
            else:
                clear = "Nothing stands against this deployment."
                if r.would_strand:
                    clear = f"{words.actors(r.would_strand)} strand, and that is allowed here."
                yield f'<p class="verdict within"><b>\u2713 Within the gate.</b> {clear}</p>'
        tiles = "".join(
            f'<div class="tile {name}"><dt>{_TILES[name]}</dt><dd>{n:,}</dd></div>'
            for name, n in words.counts(r)
        )
        yield f'<dl class="tiles">{tiles}</dl>'
        yield self._bar()
        if self.next_command:
            yield '<p class="label">The next command</p>' + paste(self.next_command, "next", "command")
        rows = "".join(
            f"<tr><td>{d.role}</td><td>{code(words.definition_label(d))}</td>"
            f"<td>{code(d.path) if d.path else ''}</td>"
            f"<td>{code(d.digest.partition(':')[2][:12])}</td></tr>"
            for d in r.definitions
        )
        yield table("Definitions", ("role", "definition", "file", "digest"), rows, "plain")

    def _bar(self) -> str:
        """The shares as one line; its numbers are the tiles'."""
        total = self.report.total
        if not total:
            return ""
        x, parts = 0.0, []
        for name, n in words.counts(self.report)[:-1]:
            wide = 1000 * n / total
            parts.append(f'<rect class="p {name}" x="{x:.1f}" width="{wide:.1f}" height="10"/>')
            x += wide
        return (
            f'<svg class="share" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
            f"{''.join(parts)}</svg>"
        )

    # strands

    def _strands(self) -> Iterator[str]:
        if self.strands:
            n = len(self.strands)
            groups = f"{n:,} group" if n == 1 else f"{n:,} groups"
            yield (
                f"<p>{words.actors(self.report.would_strand)} in {groups} have no safe route. They are left "
                "exactly as they are and tagged <code>needs_rescue</code>.</p>"
            )
        for i, group in enumerate(self.strands):
            yield self._strand(group, i)

    def _strand(self, g: Group, i: int) -> str:
        source = words.label(g.source) if g.source else self._named("source")
        place = f" in {code(words.state_text(g.source.state))}" if g.source else ""
        label = f' <span class="of">{esc(source)}</span>' if words.several_sources(self.report) else ""
        parts = [
            f'<details class="card"{" open" if i < OPEN else ""}><summary>'
            f'<h3><span class="n">{g.count:,}</span> {"actor" if g.count == 1 else "actors"}'
            f"{place}{label}</h3>"
            f'<code class="reason">{esc(words.by(g))}</code></summary><div class="body">'
        ]
        if words.why(g):
            why = (
                esc(g.detail) if g.detail else sentence(words.why(g))
            )  # details begin with names, kept as they are
            parts.append(f"<p>{why}</p>")
        example = next((self.pictures.examples[a] for a in g.sample if a in self.pictures.examples), None)
        drawn = (
            html_step.of_history(example, source, self.target, f"s{i}") if example and self.show_ids else ""
        )
        parts.append(html_step.of_group(g, source, self.target))
        parts.append(drawn)
        if g.freed_by_erase:
            parts.append(f"<p>{sentence(words.erased(g, lambda s: s))}</p>")
        if g.suggestion.strip():
            parts.append(f'<p class="label">Lines for {code(self.target)}</p>')
            parts.append(paste(g.suggestion, f"p{i}", "lines"))
        elif not g.freed_by_erase:
            parts.append(f'<p class="help">{sentence(MISSING.get(g.reason, OTHERWISE))}</p>')
        if self.show_ids and g.sample:
            more = ", ..." if g.count > len(g.sample) else ""
            parts.append(f'<p class="ids">Actors: {", ".join(code(a, 60) for a in g.sample)}{more}</p>')
        return "".join((*parts, "</div></details>\n"))

    # hazards, groups, notes

    def _hazards(self) -> Iterator[str]:
        findings, notices = self.report.findings(), words.notices(self.report)
        if findings:
            yield "<p>Nobody has accepted these yet; until then they are findings.</p>"
            yield self._listed(findings)
            yield '<p class="label">Once looked at, with your reasons</p>'
            yield paste("\n".join(words.accept_lines(h for h, _ in findings)), "accept", "lines")
        if notices:
            summary = f"<summary>{len(notices):,} for information</summary>"
            yield f"<details>{summary}{self._listed(notices)}</details>"

    @staticmethod
    def _listed(found: list[tuple[Hazard, int]]) -> str:
        items = (f"<li>{words.hazard_text(h, n, lambda s: f'<bdi>{esc(s)}</bdi>')}</li>" for h, n in found)
        return f'<ul class="hazards">{"".join(items)}</ul>'

    def _groups(self) -> Iterator[str]:
        rows = words.rows(self.report)
        if not rows:
            return
        labelled = words.several_sources(self.report)
        outcomes = dict.fromkeys(g.outcome for g, _ in rows)
        options = "".join(f'<option value="{o}">{_TILES.get(o, o).lower()}</option>' for o in outcomes)
        yield (
            '<form class="filter" role="search" aria-label="Groups"><label>Filter '
            '<input type="search" id="filter" autocomplete="off"></label> <label>Outcome '
            f'<select id="outcome"><option value="">all</option>{options}</select></label> '
            f'<output id="found" for="filter outcome">{len(rows):,} of {len(rows):,} groups</output></form>'
        )
        head = ["actors", "outcome", *(["source"] if labelled else []), "from", "to", "rule or reason"]
        cells = []
        for g, n in rows:
            texts = [words.label(g.source) if g.source else "-"] if labelled else []
            texts += [words.place_text(g.source), words.place_text(g.target), words.by(g)]
            body = "".join(
                f'<td role="cell" data-label="{label}">{code(t) if t != "-" else "-"}</td>'
                for label, t in zip(head[2:], texts, strict=True)
            )
            cells.append(
                f'<tr role="row" data-outcome="{g.outcome}"><td role="cell" class="num" data-value="{n}" '
                f'data-label="actors">{n:,}</td><td role="cell" data-label="outcome">'
                f'<span class="pill {g.outcome}">{g.outcome}</span></td>{body}</tr>'
            )
        heads = "".join(
            f'<th scope="col" role="columnheader"{" class=num" if h == "actors" else ""} aria-sort="none">'
            f'<button type="button">{h}</button></th>'
            for h in head
        )
        yield (
            '<div class="scroll" tabindex="0" role="region" aria-label="Groups of actors">'
            '<table id="table" class="groups" role="table">'
            '<caption class="unseen">Groups of actors with the same outcome</caption>'
            f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">'
            f"{''.join(cells)}</tbody></table></div>"
        )

    def _notes(self) -> Iterator[str]:
        r = self.report
        if r.unreadable:
            n = r.unreadable
            yield f"<p>{n:,} {'record' if n == 1 else 'records'} could not be read (line:column).</p><ul>"
            for u in r.unreadable_sample:
                yield f"<li>{u.line}:{u.column}{': ' + esc(u.message) if self.show_ids else ''}</li>"
            left = n - len(r.unreadable_sample)
            yield (f"<li>and {left:,} more</li>" if left > 0 else "") + "</ul>"
        for note in r.notes:
            yield f"<p>{esc(words.note(note, self.show_ids))}</p>"


_TILES = {
    "migrate": "Migrate",
    "strand": "Strand",
    "stay": "Stay",
    "skipped": "Skipped",
    "skip": "Skipped",
    "unreadable": "Unreadable",
    "total": "Total",
}
