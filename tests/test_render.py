"""Every format draws the same Report; nothing in it acts on a terminal, a page or a shell."""

from __future__ import annotations

import array
import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from statekeep_cli import schemas
from statekeep_cli.core.apv import show_value
from statekeep_cli.core.configuration import state_value
from statekeep_cli.core.decision import FINDINGS, NOTICES, REASONS, Decision, Hazard, Landing, Place
from statekeep_cli.core.model import build, digest, join_path, value_text
from statekeep_cli.core.report import DefinitionRef, Group, Report, Unreadable
from statekeep_cli.core.semantics import initial_state
from statekeep_cli.render import FORMATS, View, words
from statekeep_cli.render.json_ import json as render_json
from statekeep_cli.render.jsonl import Lines
from statekeep_cli.render.markdown import markdown
from statekeep_cli.render.terminal import (
    Progress,
    cells,
    inert,
    is_interactive,
    shown,
    wants_color,
    width_of,
    wrap,
)
from statekeep_cli.render.text import text

NEXT = "statekeep suggest v1.yaml v2.yaml --actors actors.jsonl"
SUGGESTION = "migration:\n  stateMapping:\n    approved: security_review\n"

SURROGATE = "\ud800"
HOSTILE = [
    "[/x]",
    "[bold]x[/bold]",
    "<script>alert(1)</script>",
    "</details><img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\x9b31m",
    "a|b||c\\|d\\",
    "`tick` ``two`` ```three```",
    "line\nbreak\r\n\t# heading",
    "*a* _b_ **c** ~~d~~ [l](http://e.example) ![i](x) www.example.com http://x.example @someone #12",
    "&lt;b&gt; &amp; \\x1b",
    "\u202egnp.exe\u2066\u200b",
    "漢字かな" * 30,
    "e\u0301\ufe0f❤\ufe0f",
    SURROGATE,
    "- on: yes # {a: [b]} ! % & * ' \" , ?",
    "true",
    "",
    " ",
    "`",
    "x" * 10_000,
]


def place(state: Any, version: int = 1) -> Place:
    return Place("pull-request", version, value_text(state))


def group(**changes: Any) -> Group:
    plain = Group(
        outcome="strand",
        reason="diverged",
        source=place("approved"),
        target=None,
        rule="",
        detail="in pull-request@2 the same history leads to security_review, not approved",
        count=10,
        sample=("pr-1", "pr-2"),
        landings=((Landing('"security_review"'), 9), (Landing('"open"', "MERGE"), 1)),
        suggestion=SUGGESTION,
        hazards=(),
    )
    return replace(plain, **changes)


def report(*groups: Group, unreadable: tuple[Unreadable, ...] = (), notes: tuple[str, ...] = ()) -> Report:
    def total(outcome: str) -> int:
        return sum(g.count for g in groups if g.outcome == outcome)

    return Report(
        definitions=(
            DefinitionRef("source", "pull-request", 1, digest({"a": 1}), "v1.yaml"),
            DefinitionRef("target", "pull-request", 2, digest({"a": 2}), "v2.yaml"),
        ),
        would_migrate=total("migrate"),
        would_strand=total("strand"),
        would_stay=total("stay"),
        skipped=total("skip"),
        unreadable=len(unreadable),
        groups=groups,
        unreadable_sample=unreadable,
        notes=notes,
    )


def migrated(count: int = 1_234_567, **changes: Any) -> Group:
    plain = group(
        outcome="migrate",
        reason="",
        rule="replay",
        source=place("open"),
        target=place("open", 2),
        detail="",
        count=count,
        landings=((Landing('"open"'), count),),
        suggestion="",
    )
    return replace(plain, **changes)


def plain_report() -> Report:
    return report(
        migrated(
            hazards=(
                (Hazard("dead_end", "open"), 40),
                (Hazard("timer_not_armed", "open", "the sweeper arms them"), 3),
                (Hazard("entry_not_run", "open"), 7),
                (Hazard("event_retired", "", None, "RENEW"), 2),
            )
        ),
        group(freed_by_erase=4, skipped_by_erase=("checking, on every way ahead", "audit")),
        group(outcome="stay", reason="not_eligible", count=1_000, landings=(), suggestion=""),
        group(outcome="skip", reason="done", count=2, landings=(), suggestion=""),
        unreadable=(Unreadable(3, 14, "expected , or }"), Unreadable(9, 1, 'the id "pr-1" is used twice')),
        notes=("the proof stopped at 4,096 paths",),
    )


def hostile_report(bad: str) -> Report:
    where = place({bad: {bad: {}, "b": bad}})
    landings = ((Landing(value_text({"a": bad}), bad), 2), (Landing(value_text(bad)), 3))
    hazards = ((Hazard("dead_end", bad, None, bad), 5), (Hazard("entry_not_run", bad, None, bad), 5))
    made = report(
        migrated(5, source=place(bad), target=place(bad, 2), rule=f"mapping {bad}", hazards=hazards),
        group(
            source=where,
            rule=f"route {bad}",
            detail=f"why {bad}",
            sample=(bad, "pr-2"),
            landings=landings,
            freed_by_erase=1,
            skipped_by_erase=(bad,),
        ),
        group(source=place(bad), reason="declared", detail=bad, suggestion=f"# {bad}\n{SUGGESTION}"),
        unreadable=(Unreadable(1, 1, bad),),
        notes=(bad,),
    )
    refs = tuple(replace(d, id=bad, version=bad, path=bad) for d in made.definitions)
    return replace(made, definitions=refs)


def validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    schema = schemas.load(kind)
    jsonschema_rs.meta.validate(schema)
    return jsonschema_rs.Draft202012Validator(schema)


REPORTS = {"plain": plain_report(), "empty": report()} | {
    f"hostile {b[:20]!a}": hostile_report(b) for b in HOSTILE
}
each_report = pytest.mark.parametrize("made", REPORTS.values(), ids=REPORTS.keys())


# --- text ------------------------------------------------------------------------------------------------


def copyable(lines: list[str]) -> set[int]:
    """Which lines are there to be copied: what follows `to paste ...:` up to the next empty line, and the
    next command."""
    found, inside, asked = set(), False, False
    for i, line in enumerate(lines):
        if inside and not line:
            inside = False
        if inside:
            found.add(i)
        asked = asked or "to paste" in line
        if asked and line.endswith(":"):
            inside, asked = True, False
    return found | {len(lines) - 1}


@each_report
@pytest.mark.parametrize("width", [40, 57, 80, 132])
def test_lines_keep_the_width(made: Report, width: int) -> None:
    lines = text(made, width, next_command=NEXT).splitlines()
    free = copyable(lines)
    assert [x for i, x in enumerate(lines) if i not in free and cells(x) > width] == []
    assert lines[-1] == f"next: {NEXT}"


@each_report
def test_text_is_inert(made: Report) -> None:
    assert all(c.isprintable() or c == "\n" for c in text(made, next_command=NEXT))


@each_report
def test_color_adds_nothing_but_color(made: Report) -> None:
    plain, colored = (text(made, 80, color, NEXT) for color in (False, True))
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert colored.count("\x1b[0m") * 2 == colored.count("\x1b[")


def test_text_says_everything() -> None:
    said = text(plain_report(), 200, next_command=NEXT)
    leads = [x.split() for x in said.splitlines()[2:8]]
    assert leads == [
        ["1,234,567", "migrate"],
        ["10", "strand"],
        ["1,000", "stay"],
        ["2", "skipped"],
        ["2", "unreadable"],
        ["1,235,581", "total"],
    ]
    for piece in (
        "10 actors stranded in approved: diverged",
        "why: in pull-request@2 the same history leads to security_review, not approved",
        "    9  security_review\n    1  open, where MERGE is refused",
        "would free 4 of them; they would then have skipped checking, on every way ahead, audit",
        "\nmigration:\n  stateMapping:\n    approved: security_review\n",
        "40 actors, dead_end at open: no final state can be reached from here",
        "3 actors, timer_not_armed at open: accepted, the sweeper arms them",
        "7 actors, entry_not_run at open",
        "2 actors, event_retired: RENEW",
        "  3:14: expected , or }",
        "note: the proof stopped at 4,096 paths",
    ):
        assert piece in said
    assert said.index("dead_end") < said.index("entry_not_run")


def test_one_row_per_from_to_rule() -> None:
    two = report(group(detail="first gap at A", count=37), group(detail="first gap at B", count=3))
    said = text(two)
    assert len(re.findall(r"^ +40  strand +approved +- +diverged$", said, re.MULTILINE)) == 1
    assert said.index("37 actors stranded in approved") < said.index("3 actors stranded in approved")


def test_states_of_several_sources_are_told_apart() -> None:
    made = report(migrated(1), migrated(2, source=place("open", 0)), group(source=place("open", 0)))
    for width in (40, 80):
        said = re.sub(" +", " ", text(made, width))
        assert "pull-request@1 open" in said
        assert "pull-request@0 open" in said
        assert "10 actors stranded in open of pull-request@0" in said.replace("\n ", " ")
    page = markdown(made)
    assert "| `pull-request@1` | `open` |" in page
    assert "| `pull-request@0` | `open` |" in page
    assert "in <code>open</code> of <code>pull-request@0</code>:" in page


def test_what_is_cut_is_counted() -> None:
    many = report(*(group(source=place(f"s{i}"), count=2) for i in range(500)))
    said = text(many)
    assert "300 more rows with 600 actors" in said
    assert "470 more strand groups with 940 actors" in said


# YAML text cannot hold a lone surrogate, and neither can the schemas' validator.
WHOLE = [b for b in HOSTILE if b != SURROGATE]
TRICKY = [
    "null",
    "12",
    "1e3",
    "~",
    "yes",
    "a: b",
    "x #y",
    "a,b",
    "{a}",
    "a.b_c-d",
    "\x7f",
    "\x85",
    "\ufeff",
    "\U000e0001",
]


@pytest.mark.parametrize("bad", [*WHOLE, *TRICKY])
def test_accept_lines_are_yaml(bad: str) -> None:
    lines = [
        inert(x) for x in words.accept_lines([Hazard("dead_end", bad), Hazard("dead_end", bad, detail="2")])
    ]
    assert yaml.safe_load("\n".join(lines)) == {
        "migration": {"accept": [{"hazard": "dead_end", "state": bad, "reason": "..."}]}
    }


def test_lines_to_paste_can_be_pasted() -> None:
    lines = text(plain_report(), 40, next_command=NEXT).splitlines()
    pasted = [lines[i] for i in sorted(copyable(lines))[:-1]]
    second = pasted.index("migration:", 1)
    assert yaml.safe_load("\n".join(pasted[:second])) == yaml.safe_load(SUGGESTION)
    assert yaml.safe_load("\n".join(pasted[second:]))["migration"]["accept"][0]["hazard"] == "dead_end"


# --- states ----------------------------------------------------------------------------------------------


def test_states_read_as_in_the_decisions_sentences() -> None:
    parallel = build(
        {
            "id": "loan",
            "initial": "a\\.b",
            "states": {
                "a.b": {
                    "type": "parallel",
                    "states": {
                        "z": {"initial": "on", "states": {"on": {}}},
                        "y": {},
                        "x": {"initial": "p", "states": {"p": {}}},
                    },
                }
            },
        }
    )
    configuration = initial_state(parallel, lambda _: True).configuration
    written = words.state_text(value_text(state_value(parallel, configuration)))
    assert written == show_value(parallel, configuration) == "a\\.b.z.on + a\\.b.y + a\\.b.x.p"


@pytest.mark.parametrize(
    "odd", ["5", "null", "[1]", "{}", '{"a":5}', '{"a":', '{"a":' * 5000 + "1" + "}" * 5000]
)
def test_what_is_no_state_value_is_shown_as_it_is(odd: str) -> None:
    assert words.state_text(odd) == odd


# --- json and jsonl --------------------------------------------------------------------------------------


@each_report
def test_json_is_valid(made: Report) -> None:
    said = render_json(made)
    assert said.isascii()
    assert all(c.isprintable() or c == "\n" for c in said)
    parsed = json.loads(said)
    validator("report").validate(json.loads(said.replace("\\ud800", "?")))
    assert [g["count"] for g in parsed["groups"]] == [g.count for g in made.groups]
    assert [g["sample"] for g in parsed["groups"]] == [list(g.sample) for g in made.groups]


def test_json_holds_every_key_of_the_schema_and_no_other() -> None:
    parsed = json.loads(render_json(plain_report()))
    schema = schemas.load("report")
    assert set(parsed) == set(schema["properties"]) == set(schema["required"])
    for extra in ({**parsed, "x": 1}, {**parsed, "groups": [{**parsed["groups"][0], "x": 1}]}):
        assert not validator("report").is_valid(extra)
    assert schema["$defs"]["hazard"]["properties"]["hazard"]["enum"] == [*FINDINGS, *NOTICES]
    assert [(f["hazard"], f["count"]) for f in parsed["findings"]] == [("dead_end", 40)]


def test_every_reason_and_hazard_has_words() -> None:
    assert set(words.MEANINGS) == set(REASONS)
    assert set(words.HAZARD_MEANINGS) == {*FINDINGS, *NOTICES}


@dataclass
class Batch:
    ids: array.array[int]
    counts: dict[int, int]
    decisions: list[Decision]


def decision(bad: str = "x") -> Decision:
    return Decision(
        "strand",
        "event_refused",
        f"mapping {bad}",
        bad,
        place({bad: bad}),
        None,
        (Landing(value_text(bad), bad), Landing('"open"')),
        (bad,),
        (Hazard("dead_end", bad, bad, bad),),
    )


@pytest.mark.parametrize("bad", HOSTILE)
def test_lines_are_valid_and_whole(bad: str) -> None:
    decisions = [
        decision(),
        Decision("migrate", "", "replay", "", place("open"), place("open", 2)),
        decision(bad),
    ]
    batch = Batch(array.array("I", [2, 1, 2, 1]), {2: 2, 1: 2}, decisions)
    digests = [digest(1), digest(2)]
    lines = Lines(digests)
    ids: list[str | int] = [bad, 17, "pr-3", "pr-4"]
    written = lines.add(ids, batch)
    assert written.isascii()
    assert written.count(b"\n") == 4
    parsed = [json.loads(x) for x in written.splitlines()]
    assert [p["actor"] for p in parsed] == [bad, "17", "pr-3", "pr-4"]
    for p, number in zip(parsed, batch.ids, strict=True):
        assert p == {
            "formatVersion": 1,
            "definitions": digests,
            "actor": p["actor"],
            **decisions[number].as_json(),
        }
    for line in written.replace(b"\\ud800", b"?").splitlines():
        validator("decision").validate(json.loads(line))
    assert written == b"".join(lines.line(i, decisions[n]) for i, n in zip(ids, batch.ids, strict=True))


def test_lines_of_nothing_and_of_unreadable_records() -> None:
    lines = Lines([digest(1)])
    assert lines.add([], Batch(array.array("I"), {}, [])) == b""
    parsed = json.loads(lines.unreadable(Unreadable(3, 14, "expected , or }")))
    validator("decision").validate(parsed)
    assert parsed["actor"] is None
    assert parsed["detail"] == "3:14: expected , or }"


def test_lines_want_an_id_per_decision() -> None:
    with pytest.raises(ValueError):
        Lines([]).add(["a"], Batch(array.array("I", [0, 0]), {0: 2}, [decision()]))


# --- markdown --------------------------------------------------------------------------------------------

OWN_HTML = re.compile(
    r"<!-- statekeep preview [0-9a-f]{16} -->|</details>"
    r"|<details><summary>(Notices|[^<>]*(<code>[^<>]*</code>[^<>]*)*)</summary>"
)


def tokens(said: str) -> list[Token]:
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(said):
        found.append(token)
        found += token.children or []
    return found


@each_report
@pytest.mark.parametrize("show_ids", [False, True])
def test_markdown_is_inert(made: Report, show_ids: bool) -> None:
    said = markdown(made, show_ids)
    assert all(c.isprintable() or c == "\n" for c in said)
    found = tokens(said)
    for token in found:
        if token.type in ("html_block", "html_inline"):
            assert OWN_HTML.fullmatch(token.content.strip())
    kinds = {t.type for t in found}
    assert not kinds & {"link_open", "image", "em_open", "s_open", "hr", "blockquote_open", "code_block"}
    assert [
        t.content for t in found if t.type == "text" and re.search("script|onerror|@|漢|xxx", t.content)
    ] == []
    assert sum(t.type == "heading_open" for t in found) == 1
    assert not any(t.tag in ("h1", "h2") for t in found)
    rows = [i for i, t in enumerate(found) if t.type == "tr_open"]
    ends = [i for i, t in enumerate(found) if t.type == "tr_close"]
    widths = {
        sum(t.type in ("td_open", "th_open") for t in found[a:b]) for a, b in zip(rows, ends, strict=True)
    }
    assert widths <= {5, 6}


def test_user_text_comes_through_a_table_unchanged() -> None:
    for bad in HOSTILE:
        said = markdown(report(migrated(5, source=place(bad))))
        codes = [t.content for t in tokens(said) if t.type == "code_inline"]
        assert shown(bad).strip() in [c.strip() for c in codes]


def test_markdown_carries_no_ids_unless_asked() -> None:
    plain, asked = (markdown(plain_report(), show) for show in (False, True))
    assert "pr-1" not in plain
    assert "pr-2" not in plain
    assert "pr-1" in asked
    assert "pr-2" in asked
    assert "- 3:14\n" in plain
    assert "- 3:14: `expected , or }`" in asked


def test_markdown_fits_a_comment() -> None:
    wide = "s" * 190
    many = report(*(group(source=place(f"{wide}{i}"), detail="d" * 900, count=2) for i in range(2000)))
    said = markdown(many)
    assert len(said) < 65_536
    assert "4,000" in said
    assert "more strand groups" in said
    longer = replace(many, groups=tuple(replace(g, suggestion="# x\n" * 20_000) for g in many.groups))
    assert len(markdown(longer)) < 65_536


def test_a_fence_holds_what_it_fences() -> None:
    said = markdown(report(group(suggestion="a: 1\n`````\n# <b>\n")))
    assert [t.content for t in tokens(said) if t.type == "fence"] == ["a: 1\n`````\n# <b>\n"]


# --- all formats -----------------------------------------------------------------------------------------


def test_counts_agree_over_the_formats() -> None:
    made = plain_report()
    expected = [
        made.would_migrate,
        made.would_strand,
        made.would_stay,
        made.skipped,
        made.unreadable,
        made.total,
    ]
    said = {name: draw(made, View(next_command=NEXT)) for name, draw in FORMATS.items()}
    from_text = [int(x.split()[0].replace(",", "")) for x in said["text"].splitlines()[2:8]]
    parsed = json.loads(said["json"])
    keys = ("wouldMigrate", "wouldStrand", "wouldStay", "skipped", "unreadable", "total")
    row = re.findall(r"^\|[-:|]+\|\n\| (.*) \|$", said["markdown"], re.MULTILINE)[0]
    assert (
        from_text
        == [parsed[k] for k in keys]
        == [int(x.replace(",", "")) for x in row.split(" | ")]
        == expected
    )
    assert sum(expected[:5]) == expected[5]


def test_rich_is_not_imported_for_plain_text() -> None:
    code = (
        "import sys; from statekeep_cli.core.report import *; from statekeep_cli.render import *;"
        "FORMATS['text'](Report((), 1, 0, 0, 0, 0, ()), View());"
        "print('rich' in sys.modules, 'msgspec' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


# --- the terminal ----------------------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self) -> bool:
        super().isatty()  # raises where closed
        return True


@pytest.mark.parametrize(
    ("env", "tty", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"CI": "true"}, True, False),
        ({"CI": "true", "FORCE_COLOR": "1"}, False, True),
    ],
)
def test_when_color_is_used(env: dict[str, str], tty: bool, expected: bool) -> None:
    assert wants_color(Tty() if tty else io.StringIO(), env) is expected


def test_width() -> None:
    stream = io.StringIO()
    assert width_of(stream, {}) == width_of(None, {}) == 80
    assert width_of(stream, {"COLUMNS": "120"}) == 120
    assert width_of(stream, {"COLUMNS": "7"}) == 40
    for odd in ("", "x", "-3", "0", "٣", "9" * 30):
        assert width_of(stream, {"COLUMNS": odd}) == 80
    closed = Tty()
    closed.close()
    assert not is_interactive(closed, {})


@given(st.text(), st.integers(1, 60))
def test_shown_text_is_inert_and_bounded(raw: str, limit: int) -> None:
    limit = max(limit, 8)
    said = shown(raw, limit)
    assert said.isprintable()
    assert cells(said) <= limit


@given(st.text(st.characters(codec="utf-8")), st.integers(8, 60), st.integers(0, 5))
def test_wrapping_loses_nothing_and_keeps_the_width(raw: str, width: int, indent: int) -> None:
    said = inert(raw)
    lines = wrap(said, width, " " * indent)
    assert all(cells(line) <= width for line in lines)
    assert "".join(line[indent:] for line in lines).replace(" ", "") == said.replace(" ", "")


def test_paths_break_behind_their_dots() -> None:
    assert wrap("in_progress.checklist.pending", 20) == ["in_progress.", "checklist.pending"]
    assert wrap("x" * 10, 4) == ["xxxx", "xxxx", "xx"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_states_are_paths(keys: list[str]) -> None:
    value: Any = {}
    for key in reversed(keys):
        value = {key: value}
    assert words.state_text(json.dumps(value)) == join_path(tuple(keys))


# --- progress --------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(
    stream: io.StringIO, seconds: int, *, env: dict[str, str], quiet: bool = False, total: int | None = 400
) -> str:
    clock = Clock()
    with Progress("reading", total, quiet=quiet, stream=stream, env=env, clock=clock) as progress:
        for i in range(seconds * 4):
            clock.now = i / 4
            progress.update(i, "2 unreadable")
    return stream.getvalue()


def test_a_bar_on_a_terminal_only() -> None:
    said = run(Tty(), 100, env={"COLUMNS": "80"})
    frames = said.split("\r")
    assert max(len(f.replace("\x1b[K", "")) for f in frames) <= 79
    assert " 49%  199 of 400 actors, 2 unreadable" in said
    assert "#" in said
    assert "\n" not in said
    assert said.endswith("\r\x1b[K")


@pytest.mark.parametrize("env", [{"CI": "true"}, {"TERM": "dumb"}])
def test_a_line_per_ten_seconds_elsewhere(env: dict[str, str]) -> None:
    assert len(run(Tty(), 35, env=env).splitlines()) == 3
    assert run(io.StringIO(), 35, env={}).splitlines()[0] == "reading: 10%  40 of 400 actors, 2 unreadable"
    assert run(io.StringIO(), 12, env={}, total=None) == "reading: 40 actors, 2 unreadable\n"


def test_quiet_and_short_runs_say_nothing() -> None:
    assert run(Tty(), 100, env={}, quiet=True) == ""
    assert run(io.StringIO(), 9, env={}) == ""


def test_a_closed_standard_error_ends_nothing() -> None:
    stream, clock = Tty(), Clock()
    progress = Progress("reading", 4, stream=stream, env={}, clock=clock)
    stream.close()
    clock.now = 1.0
    progress.update(1)
    progress.close()
