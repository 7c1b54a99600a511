"""A report for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from statekeep_cli.core.decision import Hazard
from statekeep_cli.core.report import Group, Report
from statekeep_cli.render import words
from statekeep_cli.render.terminal import Paint, cells, inert, shown, wrap

NARROWEST_COLUMN = 12  # of a table; else its rows are written one below the other
MAX_ROWS = 200
MAX_BLOCKS = 30
MAX_LANDINGS = 10
MAX_HAZARDS = 50
_COLORS = {"migrate": "green", "strand": "red", "stay": "cyan", "skip": "dim"}


def text(report: Report, width: int = 80, color: bool = False, next_command: str = "") -> str:
    """The counts, one row per (from, to, rule), one block per strand group, hazards, what could not be
    read, and the next command as the last line.

    No line is wider than `width` columns (at least 40) except lines that are to be copied, which
    stand at the left margin, unwrapped. Larger reports are cut, and say what is left out.
    """
    page = _Page(report, max(width, 40), Paint(color))
    sections = [
        page.title(),
        page.counts(),
        page.table(),
        *page.strands(),
        *page.hazards(),
        page.unreadable(),
        page.notes(),
        page.next(next_command),
    ]
    return "\n\n".join("\n".join(lines) for s in sections if (lines := list(s))) + "\n"


class _Page:
    def __init__(self, report: Report, width: int, paint: Paint):
        self.report = report
        self.width = width
        self.paint = paint
        self.labelled = words.several_sources(report)

    def title(self) -> Iterator[str]:
        def named(role: str) -> str:
            found = [d for d in self.report.definitions if d.role == role]
            return ", ".join(shown(words.definition_label(d)) for d in found) or "?"

        yield from self.painted(wrap(f"{named('source')} -> {named('target')}", self.width), "bold")

    def counts(self) -> Iterator[str]:
        found = words.counts(self.report)
        size = max(len(f"{n:,}") for _, n in found) + 2
        for name, n in found:
            style = {"migrate": "green", "strand": "red", "unreadable": "red", "total": "bold"}.get(name)
            line = f"{n:>{size},}  {name}"
            yield self.paint(line, style) if style and n else line

    # --- rows ---

    def table(self) -> Iterator[str]:
        found = words.rows(self.report)
        if not found:
            return
        head = self.columns("actors", "outcome", "source", "from", "to", "rule or reason")
        body = [self.cells(g, n) for g, n in found[:MAX_ROWS]]
        sizes = [max(map(cells, column)) for column in zip(head, *body, strict=True)]
        room = self.width - 1 - 2 * (len(sizes) - 1) - sizes[0] - sizes[1]
        if room < NARROWEST_COLUMN * (len(sizes) - 2):
            yield from self.stacked(body)
        else:
            sizes[2:] = _fit(sizes[2:], room)
            yield self.paint(self.row(head, sizes)[0], "bold")
            for row in body:
                yield from self.marked(self.row(row, sizes), row[1])
        left = found[MAX_ROWS:]
        if left:
            n = sum(count for _, count in left)
            said = f"and {len(left):,} more rows with {words.actors(n)}; --format json has all"
            yield from wrap(said, self.width, " ")

    def cells(self, g: Group, n: int) -> tuple[str, ...]:
        source, target = words.place_text(g.source), words.place_text(g.target)
        label = words.label(g.source) if g.source else "-"
        return self.columns(f"{n:,}", g.outcome, *map(shown, (label, source, target, words.by(g))))

    def columns(self, *columns: str) -> tuple[str, ...]:
        """All six, or five where there is a single source."""
        return columns if self.labelled else (*columns[:2], *columns[3:])

    def row(self, columns: tuple[str, ...], sizes: list[int]) -> list[str]:
        wrapped = [wrap(c, size) for c, size in zip(columns, sizes, strict=True)]
        lines = []
        for i in range(max(map(len, wrapped))):
            parts = [w[i] if i < len(w) else "" for w in wrapped]
            first = " " * (sizes[0] - cells(parts[0])) + parts[0]
            rest = [p + " " * (size - cells(p)) for p, size in zip(parts[1:], sizes[1:], strict=True)]
            lines.append(" " + "  ".join((first, *rest)).rstrip())
        return lines

    def stacked(self, body: Sequence[tuple[str, ...]]) -> Iterator[str]:
        """The rows where columns would be too narrow to read."""
        size = max(len(row[0]) for row in body)
        for n, outcome, *label, source, target, rule in body:
            source = " ".join((*label, source))
            way = source if target == "-" else f"{source} -> {target}"
            lines = wrap(f"{outcome} {way}: {rule}", self.width, f" {n:>{size}} ", " " * (size + 4))
            yield from self.marked(lines, outcome)

    def marked(self, lines: list[str], outcome: str) -> Iterator[str]:
        yield lines[0].replace(outcome, self.paint(outcome, _COLORS[outcome]), 1)
        yield from lines[1:]

    # --- strands ---

    def strands(self) -> Iterator[Iterable[str]]:
        found = words.strands(self.report)
        for group in found[:MAX_BLOCKS]:
            yield self.strand(group)
        left = found[MAX_BLOCKS:]
        if left:
            n = sum(g.count for g in left)
            what = f"{len(left):,} more strand groups with {words.actors(n)}; --format json has all"
            yield wrap(what, self.width)

    def strand(self, g: Group) -> Iterator[str]:
        place = ""
        if g.source is not None:
            of = f" of {shown(words.label(g.source))}" if self.labelled else ""
            place = f" in {shown(words.place_text(g.source))}{of}"
        head = f"{words.actors(g.count)} stranded{place}: {shown(words.by(g))}"
        yield from self.painted(wrap(head, self.width, "", "  "), "bold", "red")
        if words.why(g):
            yield from self.item("why: " + shown(words.why(g), 1000))
        if g.landings:
            yield from self.item("their histories land in")
            yield from self.landings(g)
        if g.sample:
            more = ", ..." if g.count > len(g.sample) else ""
            yield from self.item("actors: " + ", ".join(shown(i, 60) for i in g.sample) + more)
        if g.freed_by_erase:
            yield from self.item(words.erased(g, shown))
        if g.suggestion.strip():
            yield from self.item(f"to paste into the definition {self.target()}:")
            yield from self.paste(g.suggestion.strip("\n").split("\n"))

    def landings(self, g: Group) -> Iterator[str]:
        size = max(len(f"{n:,}") for _, n in g.landings)
        for landing, n in g.landings[:MAX_LANDINGS]:
            what = shown(words.landing_text(landing.state, landing.stuck), 400)
            yield from wrap(what, self.width, f"    {n:>{size},}  ")
        left = g.landings[MAX_LANDINGS:]
        if left:
            yield f"    {sum(n for _, n in left):>{size},}  in {len(left):,} more places"

    def target(self) -> str:
        found = [d for d in self.report.definitions if d.role == "target"]
        return shown(words.definition_label(found[-1])) if found else "of the target"

    # --- hazards, leftovers ---

    def hazards(self) -> Iterator[Iterable[str]]:
        findings = self.report.findings()
        if findings:
            yield self.findings(findings)
        notices = words.notices(self.report)
        if notices:
            yield self.notices(notices)

    def findings(self, found: list[tuple[Hazard, int]]) -> Iterator[str]:
        yield from self.painted(wrap("hazards that nobody has accepted yet", self.width), "bold", "red")
        for hazard, n in found[:MAX_HAZARDS]:
            yield from self.item(words.hazard_text(hazard, n, shown))
        if found[MAX_HAZARDS:]:
            yield from self.item(f"and {len(found) - MAX_HAZARDS:,} more; --format json has all")
        yield from self.item(
            f"once looked at, to paste into the definition {self.target()}, with your reasons:"
        )
        yield from self.paste(words.accept_lines(h for h, _ in found[:MAX_HAZARDS]))

    def notices(self, found: list[tuple[Hazard, int]]) -> Iterator[str]:
        yield self.paint("notices", "bold")
        for hazard, n in found[:MAX_HAZARDS]:
            yield from self.item(words.hazard_text(hazard, n, shown))
        if found[MAX_HAZARDS:]:
            yield from self.item(f"and {len(found) - MAX_HAZARDS:,} more; --format json has all")

    def unreadable(self) -> Iterator[str]:
        if not self.report.unreadable:
            return
        n, sample = self.report.unreadable, self.report.unreadable_sample
        records = "1 record" if n == 1 else f"{n:,} records"
        yield from self.painted(wrap(f"{records} could not be read (line:column)", self.width), "bold", "red")
        for u in sample:
            yield from wrap(shown(u.message, 400), self.width, f"  {u.line}:{u.column}: ", "    ")
        if n > len(sample):
            yield f"  and {n - len(sample):,} more"

    def notes(self) -> Iterator[str]:
        for note in self.report.notes:
            yield from wrap(shown(note, 1000), self.width, "note: ", "  ")

    def next(self, command: str) -> Iterator[str]:
        if command:
            # Copied, so never wrapped.
            yield self.paint("next: ", "bold") + inert(command)

    # --- lines ---

    def item(self, said: str) -> list[str]:
        return wrap(said, self.width, "  ", "    ")

    def paste(self, lines: list[str]) -> Iterator[str]:
        yield from (self.paint(inert(line), "cyan") for line in lines)

    def painted(self, lines: list[str], *styles: str) -> Iterator[str]:
        return (self.paint(line, *styles) for line in lines)


def _fit(sizes: list[int], room: int) -> list[int]:
    """Column widths that fit: the widest give way first."""
    sizes = list(sizes)
    while sum(sizes) > room:
        sizes[sizes.index(max(sizes))] -= 1
    return sizes
