"""The formats for machines: valid, inert, within their limits, and of one mind about every number."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import junitparser
import pytest
import yaml

from statekeep_cli.core.check_finding import CODES
from statekeep_cli.core.decision import FINDINGS, REASONS
from statekeep_cli.core.gate import Gate
from statekeep_cli.core.report import Report
from statekeep_cli.errors import Problem
from statekeep_cli.render import FORMATS, View, results, rules
from statekeep_cli.render.github import SUMMARY
from statekeep_cli.render.github import github as draw_github
from statekeep_cli.render.gitlab import gitlab as draw_gitlab
from statekeep_cli.render.junit import of_problems as junit_of_problems
from statekeep_cli.render.sarif import of_problems as sarif_of_problems
from tests.support import ROOT, shared
from tests.test_render import (
    HOSTILE,
    REPORTS,
    each_report,
    group,
    hostile_report,
    place,
    plain_report,
    report,
)

MACHINE = ("github", "gitlab", "junit", "sarif")
COUNTS = ("wouldMigrate", "wouldStrand", "wouldStay", "skipped", "unreadable", "total")
# What junit-10.xsd of Jenkins' xUnit plugin allows: attributes (required ones first) and children.
JUNIT = {
    "testsuites": ((), ("name", "time", "tests", "failures", "errors"), ("testsuite",)),
    "testsuite": (
        ("name", "tests", "failures", "errors"),
        ("group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"),
        ("testsuite", "properties", "testcase", "system-out", "system-err"),
    ),
    "properties": ((), (), ("property",)),
    "property": (("name", "value"), (), ()),
    "testcase": (
        ("name",),
        ("time", "classname", "group"),
        ("skipped", "error", "failure", "system-out", "system-err"),
    ),
    "failure": ((), ("type", "message"), ()),
    "error": ((), ("type", "message"), ()),
    "skipped": ((), ("type", "message"), ()),
    "system-out": ((), (), ()),
}  # fmt: skip


def drawn(made: Report, name: str, **view: Any) -> str:
    return FORMATS[name](made, View(**view))


def commands(said: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as GitHub's runner reads them: level, options, message."""
    found = []
    for line in said.splitlines():
        match = re.fullmatch(r"::(error|warning) ([^:]*)::(.*)", line)
        assert match, line
        pairs = (option.split("=", 1) for option in match[2].split(","))
        found.append((match[1], {k: unescaped(v) for k, v in pairs}, unescaped(match[3])))
    return found


def unescaped(text: str) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


def suite(said: str) -> ElementTree.Element:
    """The only suite of a JUnit file that holds nothing the common schema does not know."""
    root = ElementTree.fromstring(said.encode())
    for element in root.iter():
        required, optional, children = JUNIT[element.tag]
        assert set(required) <= set(element.attrib) <= {*required, *optional}
        assert {child.tag for child in element} <= set(children)
    (only,) = root
    cases = only.findall("testcase")
    assert int(only.attrib["tests"]) == len(cases) == len({c.attrib["name"] for c in cases})
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(only.attrib[name]) == len(only.findall(f"testcase/{tag}"))
    parsed = junitparser.JUnitXml.fromstring(said.encode())
    assert (parsed.tests, parsed.failures) == (len(cases), int(only.attrib["failures"]))
    return only


def sarif_run(said: str) -> dict[str, Any]:
    """The only run of a SARIF log, its references checked."""
    log = json.loads(said)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    known = run["tool"]["driver"]["rules"]
    assert len({r["id"] for r in known}) == len(known)
    for result in run["results"]:
        assert known[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning")
        assert result["message"]["text"]
        for location in result.get("locations", []):
            region = location.get("physicalLocation", {}).get("region", {"startLine": 1, "startColumn": 1})
            assert region["startLine"] >= 1
            assert region.get("endColumn", region["startColumn"] + 1) > region["startColumn"] >= 1
    prints = [r["partialFingerprints"]["statekeepFinding/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)
    return dict(run)


# --- one mind about every number --------------------------------------------------------------------------


def compare(said: dict[str, str]) -> None:
    """Every format of one run, parsed back, against its JSON."""
    known = json.loads(said["json"])
    counts = [known[key] for key in COUNTS]
    strands = [g for g in known["groups"] if g["outcome"] == "strand"]
    findings = known["findings"]
    unreadable = known["unreadable"]
    listed = len(strands) + len(findings) + bool(unreadable)

    by_text = [int(x.split()[0].replace(",", "")) for x in said["text"].split("\n\n")[1].splitlines()]
    by_page = re.findall(r"^\|[-:|]+\|\n\| (.*) \|$", said["markdown"], re.MULTILINE)[0]
    assert by_text == [int(x.replace(",", "")) for x in by_page.split(" | ")] == counts

    run = sarif_run(said["sarif"])
    assert [run["properties"][key] for key in COUNTS] == counts
    assert [d["digest"] for d in run["properties"]["definitions"]] == [
        d["digest"] for d in known["definitions"]
    ]
    assert len(run["results"]) == listed
    by_code = sums((r["ruleId"], r["occurrenceCount"]) for r in run["results"])
    expected = sums(
        [(g["reason"], g["count"]) for g in strands] + [(h["hazard"], h["count"]) for h in findings]
    )
    assert by_code == expected | ({"unreadable": unreadable} if unreadable else {})

    tests = suite(said["junit"])
    properties = [int(p.attrib["value"]) for p in tests.findall("properties/property")[:6]]
    assert properties == counts
    cases = tests.findall("testcase")
    assert len(cases) == len(known["groups"]) + len(findings) + bool(unreadable)
    assert int(tests.attrib["failures"]) == len(strands) + len(findings)
    by_outcome = sums(
        (c.attrib["name"].split()[0], int(str(c.findtext("system-out")).rpartition(" ")[2]))
        for c in cases
        if not c.attrib["name"].startswith(("hazard", "records"))
    )
    assert by_outcome == sums((g["outcome"], g["count"]) for g in known["groups"])

    issues = json.loads(said["gitlab"])
    assert len(issues) == len({i["fingerprint"] for i in issues}) == listed
    assert sums((i["check_name"].partition("/")[2], leading(i["description"])) for i in issues) == by_code

    annotations = commands(said["github"])
    assert len(annotations) <= 10
    totals = [leading(re.sub(r"^StateKeep: (\w+: )?", "", options["title"])) for _, options, _ in annotations]
    if not any("more findings" in options["title"] for _, options, _ in annotations):
        assert sum(totals) == sum(by_code.values())


def sums(pairs: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, n in pairs:
        found[name] = found.get(name, 0) + n
    return found


def leading(text: str) -> int:
    match = re.match(r"[\d,]+", text)
    return int(match[0].replace(",", "")) if match else 0


def test_formats_agree_on_a_report_with_everything() -> None:
    compare({name: draw(plain_report(), View()) for name, draw in FORMATS.items()})
    compare({name: draw(report(), View()) for name, draw in FORMATS.items()})


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    names = ("PATH", "HOME", "LD_PRELOAD", "ASAN_OPTIONS")
    environment = {k: v for k, v in os.environ.items() if k in names} | env
    return subprocess.run(
        [sys.executable, "-m", "statekeep_cli.cli", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def every_format(folder: Path, into: Path, *arguments: str, **env: str) -> dict[str, str]:
    """All formats of one preview, each written to its own file in the same run."""
    names = [*FORMATS, "jsonl"]
    wanted = [x for name in names for x in ("--format", f"{name}={into / name}")]
    done = run(folder, "preview", *arguments, "-q", *wanted, **env)
    assert done.returncode in (0, 3), done.stderr
    assert done.stdout == ""
    return {name: (into / name).read_text(encoding="utf-8") for name in names}


def previews() -> list[Any]:
    found = []
    for example in sorted((ROOT / "examples").iterdir()):
        if not (example / "commands.txt").is_file():
            continue
        for line in (example / "commands.txt").read_text().splitlines():
            if line.startswith("statekeep preview") and "--actors" in line and "--format" not in line:
                words = line.partition("  #")[0].split()[2:]
                found.append(pytest.param(example, words, id=f"{example.name} {' '.join(words[:2])}"))
    return found


@pytest.mark.parametrize(("example", "arguments"), previews())
def test_formats_agree_on_examples(example: Path, arguments: list[str], tmp_path: Path) -> None:
    said = every_format(example, tmp_path, *arguments)
    compare(said)
    for issue in json.loads(said["gitlab"]):
        lines = (example / issue["location"]["path"]).read_text().splitlines()
        assert 1 <= issue["location"]["lines"]["begin"] <= len(lines)


def test_formats_agree_on_a_real_log(tmp_path: Path) -> None:
    log = shared("logs", "bpic2012", "actors.jsonl.gz").parent
    said = every_format(log, tmp_path, "v1.json", "v2.json", "--actors", "actors.jsonl.gz")
    compare(said)
    decided = [json.loads(line)["outcome"] for line in said["jsonl"].splitlines()]
    known = json.loads(said["json"])
    assert sums((o, 1) for o in decided) == sums((g["outcome"], g["count"]) for g in known["groups"])
    places = {(options["file"], options["line"]) for _, options, _ in commands(said["github"])}
    lines = (log / "v2.json").read_text().splitlines()
    assert {lines[int(line) - 1].strip() for _, line in places} == {
        '"A_ACCEPTED": "fraud_check",',
        '"insured": {',
    }


# --- the standards ----------------------------------------------------------------------------------------


@each_report
def test_sarif_is_what_code_scanning_reads(made: Report) -> None:
    sarif_run(drawn(made, "sarif"))


def test_sarif_keeps_to_its_schema() -> None:
    """No package has the official schema: `STATEKEEP_SARIF_SCHEMA` names a copy of it."""
    path = os.environ.get("STATEKEEP_SARIF_SCHEMA")
    if not path:
        pytest.skip("STATEKEEP_SARIF_SCHEMA names no copy of sarif-schema-2.1.0.json")
    schema = json.loads(Path(path).read_text(encoding="utf-8"))
    official = jsonschema_rs.Draft4Validator(schema, validate_formats=True)
    for made in REPORTS.values():
        locations = {g.key: Problem("v2.yaml", 3, 2, "", end_column=9) for g in made.groups}
        for said in (drawn(made, "sarif"), drawn(made, "sarif", show_ids=True, locations=locations)):
            official.validate(json.loads(said))
    problems = [Problem(bad, 1, 2, bad, "SK010", "error", bad) for bad in HOSTILE]
    official.validate(json.loads(sarif_of_problems(results.of_problems(problems))))


def test_every_code_has_a_cause_and_a_cure() -> None:
    for code in (*REASONS, *FINDINGS, *CODES, rules.UNREADABLE):
        rule = rules.rule(code)
        assert rule.cause
        assert rule.cure
        assert rule.cure != "see the message of the finding", code
    assert set(rules.REASON_CURES) == set(REASONS)
    assert set(rules.HAZARD_CURES) == set(FINDINGS)
    assert set(rules.SK_CURES) == set(CODES)


@each_report
def test_junit_is_what_common_consumers_read(made: Report) -> None:
    tests = suite(drawn(made, "junit"))
    assert "time" not in {name for element in tests.iter() for name in element.attrib}
    errors = tests.findall("testcase/error")
    assert len(errors) == bool(made.unreadable)


@each_report
def test_gitlab_has_what_gitlab_reads(made: Report) -> None:
    for issue in json.loads(drawn(made, "gitlab")):
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert re.fullmatch("[0-9a-f]{32}", issue["fingerprint"])
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["location"]["lines"]["begin"] >= 1


def test_fingerprints_outlive_counts_and_lines() -> None:
    made = plain_report()
    later = replace(made, groups=tuple(replace(g, count=g.count + 7, sample=()) for g in made.groups))
    locations = {g.key: Problem("v2.yaml", 9, 1, "") for g in made.groups}

    def prints(*given: Any) -> list[str]:
        return [r.fingerprint for r in results.of_report(*given, False)]

    assert prints(made, {}) == prints(later, locations)
    twice = [Problem("a.yaml", line, 1, "the same", "SK010") for line in (3, 8)]
    moved = [replace(p, line=p.line + 4) for p in twice]
    first, second = ([r.fingerprint for r in results.of_problems(ps)] for ps in (twice, moved))
    assert first == second
    assert len(set(first)) == 2


def test_what_the_gate_lets_pass_is_a_warning() -> None:
    made = plain_report()
    for gate, levels in (
        (Gate(), {"diverged": "error", "dead_end": "error"}),
        (Gate(None), {"diverged": "warning", "dead_end": "error"}),
        (Gate(10, True), {"diverged": "warning", "dead_end": "warning"}),
    ):
        run = sarif_run(drawn(made, "sarif", levels=gate.levels(made)))
        assert {r["ruleId"]: r["level"] for r in run["results"]} == {**levels, "unreadable": "error"}


def test_github_gathers_what_has_one_cause() -> None:
    one = group(source=place("a"), count=2)
    two = group(source=place("b"), count=40)
    made = report(one, two, group(source=place("c"), reason="state_removed", detail="", count=7))
    cause = Problem("v2.yaml", 11, 16, "", end_column=31)
    said = commands(drawn(made, "github", locations={g.key: cause for g in made.groups}))
    assert [(level, options["title"]) for level, options, _ in said] == [
        ("error", "StateKeep: diverged: 42 actors"),
        ("error", "StateKeep: state_removed: 7 actors"),
    ]
    options, message = said[0][1:]
    del options["title"]
    assert options == {"file": "v2.yaml", "line": "11", "col": "16", "endLine": "11", "endColumn": "30"}
    assert message.splitlines()[:2] == ["40 in b", "2 in a"]
    assert "To paste:\nmigration:\n  stateMapping:\n    approved: security_review" in message


def test_github_counts_what_is_past_ten() -> None:
    groups = [group(source=place(f"s{i}"), count=i + 1) for i in range(30)]
    locations = {g.key: Problem("v2.yaml", i + 1, 1, "") for i, g in enumerate(groups)}
    said = commands(drawn(report(*groups), "github", locations=locations))
    assert len(said) == 10
    assert said[-1][2] == "21 more causes with 231 actors are in the full report"


# --- inert ------------------------------------------------------------------------------------------------


@each_report
@pytest.mark.parametrize("name", MACHINE)
@pytest.mark.parametrize("show_ids", [False, True])
def test_user_text_is_inert(made: Report, name: str, show_ids: bool) -> None:
    path = made.definitions[-1].path
    locations = {g.key: Problem(path, 3, 2, "", end_column=9) for g in made.groups}
    said = drawn(made, name, show_ids=show_ids, locations=locations)
    assert all(c.isprintable() or c == "\n" for c in said)
    said.encode()
    if name == "github":
        for _, options, message in commands(said):
            assert set(options) <= {"file", "line", "col", "endLine", "endColumn", "title"}
            assert all(c.isprintable() or c == "\n" for c in message)
    elif name == "junit":
        for element in suite(said).iter():
            texts = (*element.attrib.values(), element.text or "")
            assert all(c.isprintable() or c == "\n" for text in texts for c in text)
    else:
        assert not re.search("[<>&]", said)
        for text in strings(json.loads(said)):
            assert all(c.isprintable() or c == "\n" for c in text)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(s for inner in value.values() for s in strings(inner))]
    if isinstance(value, list):
        return [s for inner in value for s in strings(inner)]
    return [value] if isinstance(value, str) else []


def test_sarif_messages_have_no_links_and_no_placeholders() -> None:
    for bad in (*HOSTILE, "{0} {1}", "[a](http://e.example)", "\\[a](b)"):
        for result in sarif_run(drawn(hostile_report(bad), "sarif"))["results"]:
            text = result["message"]["text"]
            assert re.fullmatch(r"(?:[^\[\]\\{}]|\\[\[\]\\]|\{\{|\}\})*", text)


def test_sarif_paths_are_uris() -> None:
    made = plain_report()
    odd = "a b/ü#?%[x].yaml"
    locations = {g.key: Problem(odd, 1, 1, "") for g in made.groups}
    uris = [
        x["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for x in sarif_run(drawn(made, "sarif", locations=locations))["results"]
    ]
    assert unquote(uris[0]) == odd
    assert re.fullmatch(r"[A-Za-z0-9%/._~-]+", uris[0])


def test_problems_are_inert_too() -> None:
    for bad in HOSTILE:
        found = results.of_problems([Problem(bad, 1, 2, bad, "SK010", "error", bad), Problem("x", 0, 0, bad)])
        sarif_run(sarif_of_problems(found))
        suite(junit_of_problems(found, ["y.yaml", bad]))
        assert len(commands(draw_github(found))) == 2
        assert len(json.loads(draw_gitlab(found))) == 2


def test_ids_are_shown_only_where_asked_for() -> None:
    note = "the history file has 5 events of 2 actors that the export does not have: pr-1, pr-2"
    made = replace(plain_report(), notes=(note,))
    for name in ("markdown", *MACHINE):
        assert "pr-1" not in drawn(made, name), name
    for name in ("markdown", "junit", "sarif"):
        assert "pr-1" in drawn(made, name, show_ids=True), name


# --- commands ---------------------------------------------------------------------------------------------

UNMAPPED = ("pull-request-v1.yaml", "pull-request-v2-unmapped.yaml", "--actors", "actors.jsonl")
PULL_REQUEST = ROOT / "examples" / "01-pull-request"


def test_github_fills_the_step_summary(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# Before\n\n")
    done = run(PULL_REQUEST, "preview", *UNMAPPED, "-q", "--format", "github", GITHUB_STEP_SUMMARY=str(path))
    assert done.returncode == 3
    ((level, options, message),) = commands(done.stdout)
    assert (level, options["file"], options["line"], options["col"]) == (
        "error", "pull-request-v2-unmapped.yaml", "11", "16",
    )  # fmt: skip
    said = path.read_text()
    assert said.startswith("# Before\n\n<!-- statekeep preview")
    assert "| 20 | 10 | 0 | 0 | 0 | 30 |" in said
    fix = yaml.safe_load(message.partition("To paste:\n")[2])
    assert fix == {"stateMapping": {"approved": "security_review"}}
    path.write_text("x" * (SUMMARY - 10))  # no room is left
    run(PULL_REQUEST, "preview", *UNMAPPED, "-q", "--format", "github", GITHUB_STEP_SUMMARY=str(path))
    assert path.stat().st_size == SUMMARY - 10
    done = run(
        PULL_REQUEST, "preview", *UNMAPPED, "-q", "--format", "github", GITHUB_STEP_SUMMARY=str(tmp_path)
    )
    assert done.returncode == 1
    assert "GITHUB_STEP_SUMMARY" in done.stderr


def test_paths_start_at_the_top_of_the_checkout() -> None:
    done = run(PULL_REQUEST, "preview", *UNMAPPED, "-q", "--format", "gitlab", CI_PROJECT_DIR=str(ROOT))
    (issue,) = json.loads(done.stdout)
    assert issue["location"]["path"] == "examples/01-pull-request/pull-request-v2-unmapped.yaml"
    absolute = [str(PULL_REQUEST / x) if "." in x else x for x in UNMAPPED]
    done = run(PULL_REQUEST, "preview", *absolute, "-q", "--format", "gitlab")
    (issue,) = json.loads(done.stdout)
    assert issue["location"]["path"] == "pull-request-v2-unmapped.yaml"


def test_a_clean_run_finds_nothing() -> None:
    arguments = ("pull-request-v1.yaml", "pull-request-v2.yaml", "--actors", "actors.jsonl", "-q")
    for name in MACHINE:
        done = run(PULL_REQUEST, "preview", *arguments, "--format", name)
        assert done.returncode == 0
        if name == "github":
            assert done.stdout == ""
        elif name == "gitlab":
            assert json.loads(done.stdout) == []
        elif name == "sarif":
            assert sarif_run(done.stdout)["results"] == []
        else:
            assert suite(done.stdout).attrib["failures"] == "0"


def test_check_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("id: good\nversion: 1\ninitial: a\nstates: {a: {}}\n")
    (tmp_path / "bad.yaml").write_text(
        "id: x\nversion: 2\ninitial: a\nstates:\n  a:\n    on: {GO: nowhere}\n  b: {}\n"
    )
    names = ("text", "json", *MACHINE)
    wanted = [x for name in names for x in ("--format", f"{name}={name}.out")]
    done = run(tmp_path, "check", "good.yaml", "bad.yaml", *wanted)
    assert done.returncode == 3
    assert done.stdout == ""
    said = {name: (tmp_path / f"{name}.out").read_text() for name in names}
    known = json.loads(said["json"])["findings"]
    places = [(f["code"], f["path"], f["line"], f["column"]) for f in known]
    assert ("SK020", "bad.yaml", 6, 14) in places
    found = []
    for result in sarif_run(said["sarif"])["results"]:
        at = result["locations"][0]["physicalLocation"]
        region = at["region"]
        found.append(
            (result["ruleId"], at["artifactLocation"]["uri"], region["startLine"], region["startColumn"])
        )
    assert found == places
    annotated = [(o["file"], int(o["line"]), int(o["col"])) for _, o, _ in commands(said["github"])]
    assert sorted(annotated) == sorted(p[1:] for p in places)
    assert [(i["check_name"], i["location"]["lines"]["begin"]) for i in json.loads(said["gitlab"])] == [
        (f"statekeep/{code}", line) for code, _, line, _ in places
    ]
    tests = suite(said["junit"])
    assert int(tests.attrib["failures"]) == sum(f["severity"] == "error" for f in known)
    assert "good.yaml" in {c.attrib["name"] for c in tests.findall("testcase")}
    assert "SK020" in said["text"]


def test_formats_agree_on_a_database(tmp_path: Path) -> None:
    """Its stored source is no file, so findings stand in the target."""
    for arguments in (
        ("db", "init"),
        ("db", "import", str(PULL_REQUEST / UNMAPPED[0]), "--actors", str(PULL_REQUEST / UNMAPPED[3]), "-q"),
    ):
        assert run(tmp_path, *arguments, "--db", "actors.db").returncode == 0
    target = str(PULL_REQUEST / UNMAPPED[1])
    said = every_format(tmp_path, tmp_path, target, "--db", "actors.db", CI_PROJECT_DIR=str(ROOT))
    compare(said)
    ((_, options, _),) = commands(said["github"])
    assert options["file"] == f"examples/01-pull-request/{UNMAPPED[1]}"
    assert options["line"] == "11"
