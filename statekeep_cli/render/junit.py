"""JUnit XML, for the test reports of CI servers: a suite per run, a test case per group.

Nothing but what Jenkins' schema for such files knows (junit-10.xsd). A strand group or an unaccepted hazard
is a failure, records that could not be read are an error, actors that are done already are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from statekeep_cli.core.causes import FindingKey
from statekeep_cli.core.report import Group, Report
from statekeep_cli.errors import Problem
from statekeep_cli.render import words
from statekeep_cli.render.results import Result
from statekeep_cli.render.rules import UNREADABLE, rule
from statekeep_cli.render.terminal import inert, shown

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def of_report(
    report: Report, found: Sequence[Result], locations: Mapping[FindingKey, Problem], show_ids: bool
) -> str:
    """A preview. `found` are its results; counts are in the suite's properties and in each case's output."""
    suite = _Suite(f"statekeep preview {_labels(report, 'target')}", _labels(report, "source"))
    for name, n in words.counts(report):
        suite.properties[name] = str(n)
    for d in report.definitions:
        suite.properties[f"{d.role} {words.definition_label(d)}"] = d.digest
    for g in report.groups:
        suite.group(g, locations.get(g.key), show_ids)
    for r in found:
        if r.code in words.HAZARD_MEANINGS:
            place = f" at {r.state}" if r.state else ""
            detail = r.properties.get("detail", "")
            name = f"hazard {r.code}{place}" + (f" ({detail})" if detail else "")
            suite.failed(name, r.code, r.sentence, r.count, "actors", r.place, r.lines)
        elif r.code == UNREADABLE:
            suite.failed("records can be read", r.code, r.sentence, r.count, "records", None, "", "error")
    return suite.xml()


def of_problems(found: Sequence[Result], files: Iterable[str]) -> str:
    """What `check` found: a case per finding, and one for each file without any."""
    suite = _Suite("statekeep check", "definitions")
    levels = [r.level for r in found]
    suite.properties |= {
        "errors": str(levels.count("error")),
        "warnings": str(levels.count("warning")),
    }
    spoiled = {r.place.path for r in found if r.place is not None}
    for path in files:
        if path not in spoiled:
            suite.case(path, "")
    for r in found:
        name = f"{r.place.path}: {r.code}: {r.title}" if r.place is not None else f"{r.code}: {r.title}"
        if r.level == "error":
            suite.failed(name, r.code, r.title, 0, "", r.place, r.lines, hint=r.hint)
        else:  # a warning stops nothing
            suite.case(name, _element("system-out", f"warning: {_said(r.place, r.title, r.hint, '')}"))
    return suite.xml()


class _Suite:
    def __init__(self, name: str, classname: str):
        self.name = name
        self.classname = classname
        self.properties: dict[str, str] = {}
        self.cases: list[str] = []
        self.names: dict[str, int] = {}
        self.failures = self.errors = self.skipped = 0

    def group(self, g: Group, place: Problem | None, show_ids: bool) -> None:
        source = words.place_text(g.source)
        if g.source is not None:
            source = f"{source} of {words.label(g.source)}"
        way = f" to {words.place_text(g.target)}" if g.target is not None else ""
        name = f"{g.outcome} {source}{way}: {words.by(g)}" if words.by(g) else f"{g.outcome} {source}{way}"
        if g.outcome == "strand":
            why = words.why(g)
            cure = "" if g.suggestion else rule(g.reason).cure
            extra = [f"{n} in {words.landing_text(x.state, x.stuck)}" for x, n in g.landings[:10]]
            if show_ids and g.sample:
                extra.append("actors: " + ", ".join(g.sample))
            self.failed(name, g.reason, why, g.count, "actors", place, g.suggestion, hint=cure, extra=extra)
        elif g.outcome == "skip":
            self.skipped += 1
            self.case(
                name,
                f'<skipped message="{_attribute(g.reason)}"/>{_element("system-out", f"actors: {g.count}")}',
            )
        else:
            self.case(name, _element("system-out", f"actors: {g.count}"))

    def failed(
        self,
        name: str,
        code: str,
        why: str,
        count: int,
        unit: str,
        place: Problem | None,
        lines: str,
        kind: str = "failure",
        *,
        hint: str = "",
        extra: Sequence[str] = (),
    ) -> None:
        if kind == "failure":
            self.failures += 1
        else:
            self.errors += 1
        said = _said(place, why, hint, lines, extra)
        message = f"{count:,} {unit}: {why}" if count else why
        named = f'type="{_attribute(code)}" message="{_attribute(shown(message, 400))}"'
        inside = f"<{kind} {named}>{_text(said)}</{kind}>"
        self.case(name, inside + (_element("system-out", f"{unit}: {count}") if count else ""))

    def case(self, name: str, inside: str) -> None:
        name = shown(name, 500)
        self.names[name] = self.names.get(name, 0) + 1
        if self.names[name] > 1:  # consumers take equal names for one test
            name = f"{name} ({self.names[name]})"
        start = f'  <testcase name="{_attribute(name)}" classname="{_attribute(shown(self.classname, 500))}"'
        self.cases.append(f"{start}>{inside}</testcase>" if inside else f"{start}/>")

    def xml(self) -> str:
        counts = f'tests="{len(self.cases)}" failures="{self.failures}" errors="{self.errors}"'
        named = f'name="{_attribute(shown(self.name, 500))}" {counts}'
        lines = [
            HEAD + f'<testsuites name="StateKeep" {counts}>',
            f' <testsuite {named} skipped="{self.skipped}">',
        ]
        lines.append("  <properties>")
        for key, value in self.properties.items():
            lines.append(f'   <property name="{_attribute(shown(key, 200))}" value="{_attribute(value)}"/>')
        lines += ["  </properties>", *self.cases, " </testsuite>", "</testsuites>", ""]
        return "\n".join(lines)


def _said(place: Problem | None, why: str, hint: str, lines: str, extra: Sequence[str] = ()) -> str:
    """The body of a failure, its texts inert line by line."""
    found = [shown(why, 1000)] if why else []
    if place is not None:
        found.append(inert(place.place))
    found += [shown(line, 400) for line in extra]
    if hint:
        found.append(shown(hint, 1000))
    if lines.strip():
        found += ["to paste:", *map(inert, lines.strip("\n").split("\n"))]
    return "\n".join(found)


def _labels(report: Report, role: str) -> str:
    return ", ".join(words.definition_label(d) for d in report.definitions if d.role == role) or "?"


def _element(name: str, text: str) -> str:
    return f"<{name}>{_text(text)}</{name}>"


def _text(text: str) -> str:
    # What no XML may hold is no printable character either, and shown as its number.
    return "\n".join(escape(inert(line)) for line in text.split("\n"))


def _attribute(text: str) -> str:
    return escape(inert(text))
