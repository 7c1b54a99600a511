"""`check`: every code, where it points, and what it advises."""

# ruff: noqa: E501  (the table of findings is read by rows)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from statekeep_cli import schemas
from statekeep_cli.cli import main
from statekeep_cli.core.check import CODES, MAX_STATES, check
from statekeep_cli.core.model import Definition, build
from statekeep_cli.errors import Problem
from statekeep_cli.readers.definitions import examine, examine_all

V1 = """
id: loan
version: 1
initial: filed
states:
  filed: {on: {PAY: checking, SKIP: approved}}
  checking:
    initial: open
    states:
      open: {on: {DONE: {guard: isBig, target: closed}}}
      closed: {}
      past: {type: history}
    on: {APPROVE: approved}
  approved: {on: {"note.*": approved, LAB: 'v1\\.5'}}
  "v1.5": {}
"""
# The statechart of a target that routing metadata is put to.
V2 = """
id: loan
version: 2
initial: filed
states:
  filed: {on: {PAY: checking, OK: approved}}
  checking:
    type: parallel
    states:
      kyc: {initial: open, states: {open: {on: {KYC: done}}, done: {type: final}}}
      fee: {initial: due, states: {due: {on: {FEE: {guard: isLarge, target: paid}}}, paid: {}}}
      past: {type: history}
    onDone: approved
  approved: {}
"""


def states(text: str, head: str = "initial: a") -> str:
    return f"id: m\nversion: 1\n{head}\nstates:\n  a: {{on: {{GO: b}}}}\n  b: {{}}\n{text}"


def routing(text: str) -> str:
    return V2 + text


# code, target (given to V1), what is underlined, part of the message, part of the hint
CASES: list[tuple[str, str, str, str, str]] = [
    # --- structure
    ("SK010", states("  c: {onn: {A: a}}"), "onn", "unknown key 'onn' in 'c'", "did you mean 'on'?"),
    ("SK010", states("  c: {PAY: a}"), "PAY", "unknown key 'PAY'", "an event belongs under 'on'"),
    ("SK010", states("  c: {colour: red}"), "colour", "unknown key 'colour'", "keys of your own start with x-"),
    ("SK010", states("stateMaping: {a: b}"), "stateMaping", "unknown key", "did you mean 'stateMapping'?"),
    ("SK010", states("statemapping: {a: b}"), "statemapping", "unknown key", "did you mean 'stateMapping'?"),
    ("SK010", states("routes: []"), "routes", "unknown key", "it belongs under 'migration'"),
    ("SK010", states("  c: {on: {A: {in: '#a', target: a}}}"), "in", "unknown key 'in'", "write a named guard"),
    ("SK010", states("  c: {on: {A: [{tagret: a}]}}"), "tagret", "in item 1 of 'A'", "did you mean 'target'?"),
    ("SK010", states("  c: {invoke: {src: x, ondone: a}}"), "ondone", "unknown key", "did you mean 'onDone'?"),
    ("SK010", states("  c: {order: 1, transitions: []}"), "transitions", "unknown key", "machine.config"),
    ("SK010", routing("migration: {contextSchema: {}}"), "contextSchema", "unknown key", "at the top"),
    ("SK010", routing("migration: {eligble: {}}"), "eligble", "unknown key", "did you mean 'eligible'?"),
    ("SK010", routing("migration: {eligible: {al: [x]}}"), "al", "unknown key", "did you mean 'all'?"),
    ("SK010", routing("migration: {routes: [{form: filed, stay: true}]}"), "form", "of 'routes'", "'from'"),
    ("SK010", routing("migration: {anchors: {q: {evnt: PAY}}}"), "evnt", "in 'q'", "did you mean 'event'?"),
    ("SK010", routing("migration: {anchors: {q: {event: PAY, resum: filed}}}"), "resum", "", "'resume'"),
    ("SK010", routing("migration: {anchors: {q: {all: [{event: PAY, resume: filed}]}}}"), "resume", "item 1", ""),
    ("SK010", routing("migration: {anchors: {q: {count: {of: {event: PAY}, atleast: 1}}}}"), "atleast", "",
     "did you mean 'atLeast'?"),
    ("SK010", routing("migration: {anchors: {q: {transition: {form: filed}}}}"), "form", "", "'from'"),
    ("SK010", routing("migration: {anchors: {q: {sequence: [{startsWith: [A]}]}}}"), "startsWith", "", "event"),
    ("SK010", routing("migration: {policy: {loop: erase}}"), "loop", "", "did you mean 'loops'?"),
    ("SK010", routing("migration: {context: {default: {}}}"), "default", "", "did you mean 'defaults'?"),
    ("SK010", routing("migration: {rename: {event: {}}}"), "event", "", "did you mean 'events'?"),
    ("SK010", routing("migration: {changed: {guard: []}}"), "guard", "", "did you mean 'guards'?"),
    ("SK010", routing("migration: {accept: [{hazard: dead_end, state: filed, reason: x, why: y}]}"), "why", "", ""),
    ("SK011", "id: m\nstates: {a: {}}\ninitial: a", "id: m", "'version' is missing", "for example version: 1"),
    ("SK011", "version: 1\nstates: {a: {}}\ninitial: a", "version: 1", "'id' is missing", "for example id: loan"),
    ("SK011", "id: m\nversion: 1", "id: m", "'states' is missing", "under 'states'"),
    ("SK011", states("  c: {on: {A: {guard: {params: 1}}}}"), "guard", "'guard' has no 'type'", "has a type"),
    ("SK011", routing("migration: {accept: [{hazard: dead_end, state: filed}]}"), "{hazard: dead_end, state: filed}", "no 'reason'", "say why"),
    ("SK011", routing("migration: {anchors: {q: {since: {of: {event: PAY}}}}}"), "since", "no 'reset'", "voids"),
    ("SK012", "[1, 2]", "[1, 2]", "the definition must be a mapping, not a list", ""),
    ("SK012", "5", "5", "the definition must be a mapping, not 5", ""),
    ("SK012", states("  c: 5"), "5", "'c' must be a mapping, not 5", "{}"),
    ("SK012", states("  c: {on: [A]}"), "on", "'on' must be a mapping, not a list", "by event descriptor"),
    ("SK012", states("  c: {on: {A: 5}}"), "5", "must be text, a mapping or a list, not 5", "forbidden"),
    ("SK012", states("  c: {on: {A: [null]}}"), "null", "must be text or a mapping, not nothing", ""),
    ("SK012", states("  c: {on: {A: {target: true}}}"), "true", "must be text or a list, not true", "#id"),
    ("SK012", states("  c: {invoke: job}"), "job", "must be a mapping or a list, not text", ""),
    ("SK012", states("", "initial: a\ncontextSchema: 5"), "5", "must be a mapping or true or false, not 5", ""),
    ("SK012", "id: m\nversion: true\ninitial: a\nstates: {a: {}}", "true", "must be text or a whole number", ""),
    ("SK012", "id: m\nversion: 1.0\ninitial: a\nstates: {a: {}}", "1.0", "neither text nor", '"1.0" in quotes, or 1'),
    ("SK012", "id: 5\nversion: 1\ninitial: a\nstates: {a: {}}", "5", "'id' must be text, not 5", ""),
    ("SK012", routing("migration: {from: [1, 2.0]}"), "2.0", "neither text nor a whole number", "in quotes, or 2"),
    ("SK012", routing("migration: {from: 1.0}"), "1.0", "neither text nor a whole number", "in quotes, or 1"),
    ("SK012", routing("stateMapping: {filed: [approved]}"), "filed", "must be text or a mapping, not a list", ""),
    ("SK012", routing("migration: {obligations: {approved: q}}"), "q", "must be a list, not text", "anchors"),
    ("SK013", states("  c: {type: paralel}"), "paralel", "'type' cannot be 'paralel'", "did you mean 'parallel'?"),
    ("SK013", states("  c: {type: history, history: deeep}"), "deeep", "cannot be 'deeep'", "'deep'?"),
    ("SK013", states("  '': {}"), "''", "has an empty key", "give it a name"),
    ("SK013", "id: ''\nversion: 1\ninitial: a\nstates: {a: {}}", "''", "'id' must not be empty", ""),
    ("SK013", "id: m\nversion: ''\ninitial: a\nstates: {a: {}}", "''", "'version' must not be empty", ""),
    ("SK013", "id: m\nversion: 1\nstates: {}", "{}", "'states' must not be empty", ""),
    ("SK013", routing("migration: {policy: {diverged: folow}}"), "folow", "cannot be 'folow'", "'follow'?"),
    ("SK013", routing("migration: {policy: {history: maybe}}"), "maybe", "cannot be", "allowed: require or trust"),
    ("SK013", routing("migration: {accept: [{hazard: dead_ned, state: filed, reason: x}]}"), "dead_ned", "",
     "did you mean 'dead_end'?"),
    ("SK013", routing("migration: {routes: [{from: filed, stay: false}]}"), "false", "'stay' cannot be", "true"),
    ("SK013", routing("migration: {routes: [{from: filed, strand: ''}]}"), "''", "must not be empty", ""),
    ("SK013", routing("migration: {anchors: {q: {event: []}}}"), "[]", "must not be empty", ""),
    ("SK013", routing("migration: {anchors: {q: {count: {of: {event: PAY}, atLeast: -1}}}}"), "-1", "at least 0", ""),
    ("SK014", routing("migration: {routes: [{from: filed}]}"), "{from: filed}", "to, stay and strand; it has none", ""),
    ("SK014", routing("migration: {routes: [{to: approved, stay: true}]}"), "{to: approved, stay: true}", "it has to and stay", ""),
    ("SK014", routing("migration: {anchors: {q: {event: PAY, state: filed}}}"), "q", "it has event and state", ""),
    ("SK014", routing("migration: {anchors: {q: {resume: filed}}}"), "q", "it has none of them", ""),
    ("SK014", routing("migration: {anchors: {q: {count: {of: {event: PAY}}}}}"), "count", "at least one of", ""),
    # --- the statechart
    ("SK020", states("  c: {on: {A: bb}}"), "bb", "no state is called 'bb'", "did you mean 'b'?"),
    ("SK020", states("  c: {on: {A: [{target: [b, zzzz]}]}}"), "zzzz", "no state is called 'zzzz'", "a, b and c"),
    ("SK020", states("  c: {after: {1000: {target: nowhere}}}"), "nowhere", "no state is called", ""),
    ("SK020", states("  c: {always: nowhere}"), "nowhere", "no state is called", ""),
    ("SK020", states("  c: {invoke: [{src: x, onError: {target: nowhere}}]}"), "nowhere", "no state is called", ""),
    ("SK020", states("  c: {on: {A: '#idd'}, id: ident}"), "'#idd'", "no state is called '#idd'", "'#ident'?"),
    ("SK020", states("  c: {initial: d, states: {d: {on: {A: b}}}}"), "b", "", "'b' is elsewhere; write '#m.b'"),
    ("SK020", states("  c: {initial: dab, states: {dab: {}}, on: {A: .dap}}"), ".dap", "'.dap'", "'.dab'"),
    ("SK020", states("on: {A: b}"), "b", "from the machine itself it is '.b'", "did you mean '.b'?"),
    ("SK020", states("  h: {type: history, target: nowhere}"), "nowhere", "no state is called", ""),
    ("SK021", states("  c: {states: {d: {}}}"), "c", "'c' has states and no initial one", "initial: d"),
    ("SK021", "id: m\nversion: 1\nstates: {a: {}}", "id: m", "the machine has states and no initial", "initial: a"),
    ("SK022", states("", "initial: aa"), "aa", "no state 'aa' to start in", "did you mean 'a'?"),
    ("SK022", states("  c: {initial: {target: x}, states: {d: {}}}"), "x", "'c' has no state 'x'", "its states are d"),
    ("SK023", states("  c: {id: x}\n  d: {id: x}"), "x", "the id 'x' is used twice", "unique"),
    ("SK023", states("  c: {id: m.a}"), "m.a", "the id 'm.a' is used twice", ""),
    ("SK024", states("  c: {initial: d, states: {d: {}, h: {type: history, on: {A: d}}}}"), "on", "history node", ""),
    ("SK024", states("  c: {type: atomic, history: deep}"), "history", "is atomic and has 'history'", ""),
    ("SK024", states("  c: {target: a}"), "target", "is no history node and has 'target'", "always"),
    ("SK024", states("  c: {initial: d, states: {d: {}, h: {type: history, target: '#m.a'}}}"), "'#m.a'",
     "outside the state it remembers", "beside"),
    ("SK024", states("  c: {initial: h, states: {h: {type: history}}}"), "h", "has nothing to remember", ""),
    ("SK025", states("  c: {type: atomic, states: {d: {}}}"), "states", "'c' is atomic and has states", ""),
    ("SK025", states("  c: {type: final, initial: d, states: {d: {}}}"), "states", "final and has states", ""),
    ("SK025", states("  c: {type: parallel}"), "parallel", "'c' is parallel and has no states", ""),
    ("SK025", states("  c: {type: compound}"), "compound", "'c' is compound and has no states", ""),
    ("SK025", states("", "type: final"), "final", "the machine itself cannot be a final state", ""),
    ("SK026", states("  c: {on: {'a.*.b': a}}"), "'a.*.b'", "never matches as a wildcard", "ends with '.*'"),
    ("SK026", states("  c: {on: {'a*': a}}"), "'a*'", "never matches as a wildcard", ""),
    ("SK027", states("  c: {on: {'': a}}"), "''", "an event without a name", "always"),
    ("SK028", states("  c: {on: {A: [{target: a}, {target: b, guard: g}]}}"), "{target: b, guard: g}", "never tried", "JSON.stringify"),
    ("SK028", states("  c: {on: {A: [a, b]}}"), "b", "never tried", "to the end"),
    ("SK029", states("  c: {initial: d, states: {d: {}}}"), "c", "'c' is never entered", "remove it"),
    ("SK030", states("  c: {type: final, on: {A: a}}"), "on", "'c' is final and has 'on'", ""),
    ("SK031", states("  c: {always: d}\n  d: {always: c}", "initial: c"), "always", "from the start", "guard one"),
    ("SK031", states("  b2: {always: c}\n  c: {always: b2}\non: {LOOP: .c}"), "always",
     "after 'LOOP' in 'a' the step never settles: c -> b2 -> c", ""),
    ("SK031", states("  c: {initial: d, states: {d: {on: {X: e}}, e: {type: final}}, onDone: .e}\non: {C: .c}"), "onDone",
     "after 'X' in 'c.d' the step never settles: c.e -> c.e", ""),
    ("SK032", states("  c: {on: {A: {guard: g, target: a}, B: {cond: {type: h}, target: a}}}"), "g",
     "the bodies of 2 guards are code and stay invisible: g and h", "JSON.stringify"),
    ("SK033", states("  c: {on: {A: {target: [a, b]}}}"), "target", "cannot be active together", "regions"),
    # --- routing
    ("SK006", routing("stateMapping: {filed: filed}\nmigration: {stateMapping: {filed: approved}}"), "filed",
     "'filed' is mapped in 'stateMapping' and in 'migration.stateMapping'", "keep one"),
    ("SK040", routing("stateMapping: {aproved: approved}"), "aproved", "no state 'aproved' in loan@1", "'approved'?"),
    ("SK040", routing("stateMapping: {checking.kyc: approved}"), "checking.kyc", "no state", "where actors come from"),
    ("SK040", routing("stateMapping: {v1.5: approved}"), "v1.5", "no state 'v1.5'", r"written 'v1\.5'"),
    ("SK040", routing("migration: {routes: [{from: fild, stay: true}]}"), "fild", "no state 'fild'", "'filed'?"),
    ("SK040", routing("migration: {anchors: {q: {state: cheking.open}}}"), "cheking.open", "", "'checking.open'?"),
    ("SK040", routing("migration: {anchors: {q: {transition: {to: nope}}}}"), "nope", "", "its states are"),
    ("SK040", routing("migration: {anchors: {q: {since: {of: {event: PAY}, reset: {state: nope}}}}}"), "nope", "", ""),
    ("SK040", routing("migration: {anchors: {q: {any: [{sequence: [{state: nope}]}]}}}"), "nope", "", ""),
    ("SK041", routing("stateMapping: {filed: aproved}"), "aproved", "has no state 'aproved'", "'approved'?"),
    ("SK041", routing("stateMapping: {filed: {checking: {kyc: opn, fee: due}}}"), "opn", "no state 'opn'", "'open'?"),
    ("SK041", routing("stateMapping: {filed: {cheking: x}}"), "cheking", "no state 'cheking'", "'checking'?"),
    ("SK041", routing("stateMapping: {filed: {approved: x}}"), "x", "no state 'x'", "nothing is inside"),
    ("SK041", routing("migration: {routes: [{to: review}]}"), "review", "no state 'review'", "its states are"),
    ("SK041", routing("migration: {anchors: {q: {event: PAY, resume: chekcing.kyc}}}"), "chekcing.kyc", "", "checking"),
    ("SK041", routing("migration: {obligations: {appoved: []}}"), "appoved", "", "did you mean 'approved'?"),
    ("SK041", routing("migration: {accept: [{hazard: dead_end, state: fild, reason: x}]}"), "fild", "", "'filed'?"),
    ("SK042", routing("stateMapping: {filed: {checking: {kyc: open}}}"), "filed", "fee is missing", "kyc and fee"),
    ("SK042", routing("stateMapping: {filed: {checking: {kyc: open, fee: {}}}}"), "filed", "needs one of", "due or paid"),
    ("SK042", routing("stateMapping: {filed: {filed: {}, approved: {}}}"), "filed", "cannot be active together", ""),
    ("SK042", routing("stateMapping: {filed: checking.past}"), "checking.past", "is a history node", "beside it"),
    ("SK042", routing("stateMapping: {filed: {checking: past}}"), "past", "is a history node", ""),
    ("SK042", routing("stateMapping: {checking.past: filed}"), "checking.past", "is a history node in loan@1", ""),
    ("SK042", routing("migration: {anchors: {q: {event: PAY, resume: checking.past}}}"), "checking.past", "", ""),
    ("SK043", routing("migration: {eligible: {all: [kyc]}}"), "kyc", "no anchor 'kyc'", "migration.anchors"),
    ("SK043", routing("migration: {anchors: {kyc: {event: PAY}}, routes: [{when: {none: [kcy]}, stay: true}]}"), "kcy",
     "no anchor 'kcy'", "did you mean 'kyc'?"),
    ("SK043", routing("migration: {anchors: {a: {any: [b]}}}"), "b", "no anchor 'b'", "the anchors are a"),
    ("SK043", routing("migration: {anchors: {kyc: {event: PAY}}, obligations: {approved: [kic]}}"), "kic", "", "kyc"),
    ("SK044", routing("migration: {anchors: {a: {any: [b]}, b: {none: [{all: [c]}]}, c: {all: [a]}}}"), "a",
     "a -> b -> c -> a", "break the circle"),
    ("SK044", routing("migration: {anchors: {a: {any: [a]}}}"), "a", "a -> a", ""),
    ("SK045", routing("migration: {routes: [{from: checking, stay: true}, {from: checking.open, to: filed}]}"), "{from: checking.open, to: filed}",
     "route 2 is never reached: route 1", "put it before"),
    ("SK045", routing("migration: {routes: [{when: {all: []}, stay: true}, {from: filed, to: filed}]}"), "{from: filed, to: filed}",
     "route 2 is never reached: route 1", ""),
    ("SK046", routing("migration: {from: 3}"), "3", "no source has the version 3", "the sources are loan@1"),
    ("SK046", routing("migration: {from: [7, laon]}"), "7", "no source has the version 7", ""),
    ("SK047", routing("migration: {from: [1, 0]}"), "0", "version 0 is not among the sources given (loan@1)", ""),
    ("SK048", routing("migration: {anchors: {q: {event: PAYY}}}"), "PAYY", "loan@1 listens to 'PAYY'", "'PAY'?"),
    ("SK048", routing("migration: {anchors: {q: {path: [PAY, zz]}}}"), "zz", "nothing in loan@1 listens", ""),
    ("SK048", routing("migration: {anchors: {q: {transition: {event: zz}}}}"), "zz", "nothing in loan@1 listens", ""),
    ("SK048", routing("migration: {rename: {events: {APROVE: OK}}}"), "APROVE", "no source listens", "'APPROVE'?"),
    ("SK048", routing("migration: {rename: {events: {APPROVE: PAYY}}}"), "PAYY", "nothing here listens to 'PAYY'", "'PAY'?"),
    ("SK049", routing("migration: {rename: {guards: {isBg: isLarge}}}"), "isBg", "no source has a guard", "'isBig'?"),
    ("SK049", routing("migration: {rename: {guards: {isBig: isLage}}}"), "isLage", "has no guard", "'isLarge'?"),
    ("SK049", routing("migration: {changed: {guards: [isHigh]}}"), "isHigh", "neither side has a guard", ""),
    ("SK050", routing("migration: {anchors: {q: {count: {of: {event: PAY}, atLeast: 3, atMost: 2}}}}"), "count",
     "atMost is less than atLeast", "exchange"),
    # --- schemas inside
    ("SK060", routing("contextSchema: {type: strin}"), "strin", "no valid JSON Schema", ""),
    ("SK060", routing("contextSchema: {properties: {a: {minimum: x}}}"), "x", "no valid JSON Schema", ""),
    ("SK060", routing("contextSchema: {properties: {a: {pattern: '['}}}"), "'['", "no valid pattern", ""),
    ("SK060", routing("contextSchema: {$ref: '#/$defs/none'}"), "contextSchema", "does not exist", ""),
    ("SK060", routing("contextSchema: {$schema: 'https://example.org/mine'}"), "contextSchema", "meta-schema", ""),
    ("SK060", routing("migration: {eligible: {context: {required: amount}}}"), "amount", "no valid JSON Schema", ""),
    ("SK061", routing("contextSchema: {properties: {a: {$ref: 'https://example.org/s.json'}}}"),
     "'https://example.org/s.json'", "leaves the schema; nothing is ever fetched", "$defs"),
    ("SK061", routing("contextSchema: {items: [{$ref: 'file:///etc/passwd'}]}"), "'file:///etc/passwd'", "", ""),
    ("SK061", routing("migration: {routes: [{when: {context: {not: {$dynamicRef: other.json}}}, stay: true}]}"),
     "other.json", "leaves the schema", ""),
    ("SK062", routing("contextSchema: {properties: {a: {pattern: '^(?=.*x)(a+)+$'}}}"), "'^(?=.*x)(a+)+$'",
     "linear time", "look-around"),
    ("SK062", routing(r"contextSchema: {patternProperties: {'(a)\1': {}}}"), r"'(a)\1'", "linear time", ""),
    ("SK062", routing("contextSchema: {pattern: 'a{1000}{1000}'}"), "'a{1000}{1000}'", "too large", ""),
    ("SK063", routing("contextSchema: {$ref: '#/$defs/a0', $defs: {" + ", ".join(
        f"a{i}: {{allOf: [{{$ref: '#/$defs/a{i + 1}'}}, {{$ref: '#/$defs/a{i + 1}'}}]}}" for i in range(40)
    ) + ", a40: {}}}"), "contextSchema", "expand to more than 100000 parts", "fewer times"),
    ("SK070", V1 + "description: edited\n", "1", "loan@1 is given twice, with different content", "own version"),
]  # fmt: skip


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(folder: Path, text: str, *sources: str) -> tuple[Problem, ...]:
    paths = [write(folder, f"source{i}.yaml", s) for i, s in enumerate(sources)]
    return examine_all([*paths, write(folder, "target.yaml", text)])[-1].problems


@pytest.mark.parametrize(
    ("code", "text", "underlined", "message", "hint"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_each_finding(tmp_path: Path, code: str, text: str, underlined: str, message: str, hint: str) -> None:
    problems = problems_of(tmp_path, text.lstrip("\n"), V1)
    marked = [(p.code, p.text[p.column - 1 : p.end_column - 1]) for p in problems]
    assert (code, underlined) in marked, problems
    found = problems[marked.index((code, underlined))]
    assert message in found.message
    assert hint in found.hint
    assert found.severity == CODES[code].severity
    assert found.path.endswith("target.yaml")
    if found.severity == "error":  # and nothing follows from it that would not be there without it
        assert {p.code for p in problems if p.severity == "error"} == {code}, problems


def test_every_code_of_the_table_is_tested() -> None:
    # test_source.py, test_definitions.py, test_baseline.py
    elsewhere = {"SK001", "SK002", "SK003", "SK004", "SK005", "SK071", "SK072"}
    bounds = {"SK007", "SK008", "SK034"}  # below
    assert {c[0] for c in CASES} | elsewhere | bounds == CODES.keys()
    assert all(c.meaning and c.severity in ("error", "warning") for c in CODES.values())


@pytest.mark.parametrize("text", [V1, V2, V1.replace("guard:", "cond:")])
def test_clean_definitions_have_no_errors(tmp_path: Path, text: str) -> None:
    assert [p for p in problems_of(tmp_path, text) if p.severity == "error"] == []


EVERYTHING = """
$schema: https://example.org/x
id: all
version: "2026-05"
initial: {target: a, actions: [log]}
context: {n: 1}
types: {}
schemas: {context: {}}
x-mine: {anything: [goes]}
description: every key that XState has
meta: {a: 1}
tags: [x]
output: 5
entry: start
exit: [{type: stop, params: {a: 1}}, null]
on: {RESET: .a, "*": {actions: log}, NEVER: {}, NOTHING: null}
invoke: [{id: job, src: fetch, input: {a: 1}, onDone: .b, onError: [{target: .a, guard: retry}], onSnapshot: {}}]
states:
  a:
    id: first
    tags: t
    after: {1000: b, long: {target: b, reenter: true}}
    always: [{guard: {type: g, params: {min: 3}}, target: b, description: d, meta: 1}]
    invoke: {src: {type: job}, systemId: s}
  b:
    type: parallel
    onDone: {target: c, actions: [x], internal: false}
    states:
      r1: {initial: x, states: {x: {on: {"e.*": y}}, y: {type: final, data: 1, output: 2}, h: {type: history, history: deep, target: y}}}
      r2: {initial: x, states: {x: {on: {E: [{target: ["#c"]}]}}, h: {history: shallow}}, x-y: 1}
  c: {id: c, type: final}
  d:
contextSchema: {$schema: "http://json-schema.org/draft-07/schema#", definitions: {a: {type: object}}, properties: {a: {$ref: "#/definitions/a"}, pattern: {type: string, format: email}, $ref: {const: {$ref: "http://not.a/ref"}}}}
migration:
  x-note: mine
  description: how
  from: [1, loan]
  eligible: {all: [paid], context: {required: [n]}}
  anchors:
    paid: {event: PAY, resume: b.r1.y, description: text}
    many: {event: [PAY, SKIP]}
    step: {transition: {from: filed, event: PAY, to: checking}}
    seq: {sequence: [{event: PAY}, {state: checking.open}, {transition: {event: SKIP}}]}
    begin: {startsWith: [PAY, xstate.after.1000.loan.filed]}
    exact: {path: []}
    often: {count: {of: {event: PAY}, atLeast: 1, atMost: 3}}
    fresh: {since: {of: {event: PAY}, reset: {event: note.added}}}
    both: {all: [paid, {any: [fresh, {none: [many]}]}]}
  routes:
    - {from: checking, when: {any: [both], none: [], context: {minimum: 1}}, to: {b: {r1: x, r2: {x: {}}}}}
    - {from: checking.open, strand: no way}
    - {from: approved, stay: true}
    - {when: {all: [exact]}, to: b}
  stateMapping: {checking.closed: c, filed: {b: {r1: y, r2: x}}}
  rename: {events: {PAY: e.paid}, guards: {isBig: g}}
  changed: {guards: [g]}
  obligations: {c: [paid], b.r1: []}
  context: {defaults: {a: {b: 1}}, rename: {old.path: new.path}, remove: [x]}
  accept: [{hazard: invoke_not_started, state: "", reason: looked at}, {hazard: gate_skipped, state: b, reason: yes}]
  policy: {diverged: follow, history: trust, entry: initial, loops: erase}
"""


def test_all_that_a_definition_may_hold_is_accepted(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, EVERYTHING.replace("d:\ncontext", "d: null\ncontext"), V1)
    assert [p.sentence for p in problems if p.code not in ("SK032", "SK029")] == []
    assert {p.message for p in problems if p.code == "SK029"} == {"'d' is never entered"}


def test_every_finding_of_a_run_is_shown_and_none_follows_from_another(tmp_path: Path) -> None:
    text = """
id: m
version: 1
intial: a
states:
  a: {on: {A: b, B: {tagret: c, guard: 5}}, stats: 1}
  b: 5
  c: {type: paralel, initial: x, states: {x: null}}
  d: {on: {A: nowhere}}
migration:
  routes: [{from: a, to: b, stay: true}, {form: a, to: zzz}, {to: b, when: {all: [q, r, nope]}}]
  anchors: {q: {evnt: X}, r: {count: {of: {event: A}}}, s: {all: [{event: A, state: b}, q, 5]}}
  policy: {loops: eras}
  accept: [{hazard: dead_ned, state: a}]
contextSchema: {$ref: other.json}
"""
    problems = problems_of(tmp_path, text.lstrip("\n"))
    assert [(p.code, p.line, p.text[p.column - 1 : p.end_column - 1]) for p in problems] == [
        ("SK010", 3, "intial"),
        ("SK010", 5, "tagret"),
        ("SK012", 5, "5"),
        ("SK010", 5, "stats"),
        ("SK012", 6, "5"),
        ("SK013", 7, "paralel"),
        ("SK020", 8, "nowhere"),
        ("SK014", 10, "{from: a, to: b, stay: true}"),
        ("SK010", 10, "form"),
        ("SK041", 10, "zzz"),
        ("SK043", 10, "nope"),
        ("SK010", 11, "evnt"),
        ("SK014", 11, "count"),
        ("SK014", 11, "{event: A, state: b}"),
        ("SK012", 11, "5"),
        ("SK013", 12, "eras"),
        ("SK011", 13, "{hazard: dead_ned, state: a}"),
        ("SK013", 13, "dead_ned"),
        ("SK061", 14, "other.json"),
    ]


def test_without_sources_what_names_one_is_left_alone(tmp_path: Path) -> None:
    text = V2 + "migration: {from: 9, stateMapping: {gone: filed}, anchors: {q: {state: gone, resume: nope}}}"
    assert [p.code for p in problems_of(tmp_path, text) if p.severity == "error"] == ["SK041"]


def test_a_name_in_any_source_will_do_and_from_chooses_the_sources(tmp_path: Path) -> None:
    other = "id: old\nversion: 0\ninitial: start\nstates: {start: {on: {GO: start}}}"
    text = V2 + "migration: {stateMapping: {start: filed, approved: filed}}"
    assert [p.code for p in problems_of(tmp_path, text, V1, other) if p.severity == "error"] == []
    text = V2 + "migration: {from: old, stateMapping: {start: filed, approved: filed}}"
    found = [p for p in problems_of(tmp_path, text, V1, other) if p.severity == "error"]
    assert [(p.code, p.message) for p in found] == [("SK040", "there is no state 'approved' in old@0")]


def test_routes_are_reached_while_a_condition_stands_before_them(tmp_path: Path) -> None:
    text = V2 + (
        "migration: {anchors: {q: {event: PAY}}, routes: [{from: checking, when: {all: [q]}, stay: true}, "
        "{from: checking.open, stay: true}, {from: checking, to: filed}, {from: filed, stay: true}]}"
    )
    assert [p.code for p in problems_of(tmp_path, text, V1) if p.severity == "error"] == []


def test_the_same_definition_twice_is_no_finding(tmp_path: Path) -> None:
    assert [p.code for p in problems_of(tmp_path, V1, V1, V1) if p.severity == "error"] == []


def config(**parts: Any) -> dict[str, Any]:
    return {"id": "m", "version": 1, **parts}


def run(parts: dict[str, Any], *sources: Definition) -> list[str]:
    return [f.code for f in check(parts, schemas.load("definition"), sources).findings]


def test_a_step_that_may_settle_is_no_finding() -> None:
    states = {
        "i": {"on": {"GO": "a"}},
        "a": {"always": [{"guard": "g", "target": "b"}]},
        "b": {"always": [{"guard": "h", "target": "a"}]},
        # With `out` false these two go round for ever; with it true they do not.
        "c": {"always": [{"guard": "out", "target": "i"}, {"target": "d"}]},
        "d": {"always": "c"},
    }
    assert run(config(initial="i", states=states, on={"C": ".c"})) == ["SK032"]


def test_unsettled_cycles_are_named_once(tmp_path: Path) -> None:
    states = {"i": {}, "a": {"always": "b"}, "b": {"always": "a"}}
    codes = run(config(initial="i", states=states, on={"X": ".a", "Y": ".b", "Z": ".a"}))
    assert codes.count("SK031") == 1


def test_states_that_only_migration_enters_are_not_unreachable() -> None:
    states = {"a": {}, "b": {}, "c": {"initial": "x", "states": {"x": {}, "y": {}}}, "d": {}, "e": {}}
    block = {"routes": [{"to": {"c": "y"}}], "anchors": {"q": {"event": "E", "resume": "d"}}}
    found = check(
        config(initial="a", states=states, stateMapping={"a": "b"}, migration=block),
        schemas.load("definition"),
    ).findings
    assert [f.message for f in found] == ["'e' is never entered"]


@pytest.mark.parametrize(
    ("name", "parts", "code"),
    [
        ("many states", config(initial="s0", states={f"s{i}": {} for i in range(MAX_STATES + 1)}), "SK008"),
        ("bad targets", config(initial="s0", states={f"s{i}": {"on": {"A": "x", "B": "y"}} for i in range(9000)}), "SK020"),
        ("bad keys", config(initial="s0", states={f"s{i}": {"onn": 1, f"q{i}": 1} for i in range(9000)}), "SK007"),
        ("bad states", config(initial="s0", states={f"s{i}": 5 for i in range(50_000)}), "SK012"),
        ("a long chain", config(initial="s0", states={f"s{i}": {"on": {"A": f"s{(i + 1) % 9000}"}} for i in range(9000)}), ""),
        ("many regions", config(type="parallel", states={
            f"r{i}": {"initial": "a", "states": {"a": {"always": [{"guard": f"g{i}", "target": "b"}], "on": {f"E{i}": "b"}},
                                                  "b": {"always": "c"}, "c": {"on": {f"F{i}": "a"}}}}
            for i in range(2000)}), "SK032"),
        ("a storm of guards", config(initial="x", states={
            "x": {"always": [{"guard": f"g{i}", "target": "y"} for i in range(3000)]},
            "y": {"on": {"E": [{"guard": f"g{i}", "target": "x"} for i in range(3000)]}}}), "SK032"),
    ],
)  # fmt: skip
def test_large_and_hostile_definitions_take_no_for_ever(name: str, parts: dict[str, Any], code: str) -> None:
    found = run(parts)
    assert len(found) <= 1001
    assert (code in found) if code else found == []


def test_deep_definitions_are_checked() -> None:
    inner: dict[str, Any] = {"initial": "a", "states": {"a": {}}}
    for _ in range(90):
        inner = {
            "initial": "a",
            "states": {"a": inner, "h": {"history": "deep"}},
            "always": [{"guard": "g", "target": ".h"}],
        }
    assert run(config(**inner)) == ["SK032"]


def test_check_never_raises_for_what_a_config_holds() -> None:
    schema = schemas.load("definition")
    whole = json.loads(json.dumps(yaml_value(EVERYTHING)))
    wrongs: tuple[Any, ...] = (None, 5, 1.5, True, "", "x", [], [None], {}, {"": None}, {"x": {"y": []}})
    for i, pointer in enumerate(pointers_of(whole)):
        for wrong in (wrongs[i % len(wrongs)], wrongs[(i + 4) % len(wrongs)]):
            spoilt = json.loads(json.dumps(whole))
            at = spoilt
            for step in pointer[:-1]:
                at = at[step]
            at[pointer[-1]] = wrong
            checked = check(spoilt, schema, [build(yaml_value(V1))])
            assert (checked.definition is None) == any(f.severity == "error" for f in checked.findings)


def yaml_value(text: str) -> Any:
    from statekeep_cli.readers.source import parse

    return parse(text.replace("d:\ncontext", "d: null\ncontext").encode(), "x.yaml").value


def pointers_of(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        found += pointers_of(inner, (*at, step))
    return found


# --- the command ---------------------------------------------------------------------------------------


def test_the_text_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write(tmp_path, "v1.yaml", V1.lstrip("\n"))
    write(tmp_path, "v2.yaml", V2.lstrip("\n") + "stateMapping:\n  aproved: filed\n  filed: séc😀ry\n")
    assert main(["check", "v1.yaml", "v2.yaml"]) == 3
    out, err = capsys.readouterr()
    assert err == ""
    assert out.endswith("\n\n2 definitions checked: 2 errors and 2 warnings\n")
    assert (
        "error[SK041]: this definition has no state 'séc😀ry'\n"
        "   --> v2.yaml:16:10\n"
        "   |\n"
        "16 |   filed: séc😀ry\n"
        "   |          ^^^^^^^\n"
    ) in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path, "good.yaml", V1)
    bad = write(tmp_path, "bad.yaml", V2 + "stateMapping: {x: y}")
    broken = write(tmp_path, "broken.yaml", "a: [")
    assert main(["check", good]) == 0
    assert "1 definition checked: 1 warning" in capsys.readouterr().out
    assert main(["check", good, bad]) == 3
    assert main(["check", bad, broken]) == 1  # and what can be said of the other is said
    out = capsys.readouterr().out
    assert "SK041" in out
    assert "SK003" in out
    assert main(["check", str(tmp_path / "none.yaml")]) == 1
    assert "cannot be opened: No such file or directory" in capsys.readouterr().out
    assert main(["check", str(tmp_path)]) == 1
    assert main(["check", "-", "-"]) == 2
    assert main(["check"]) == 2
    assert main(["check", good, "--format", "pdf"]) == 2


def test_the_json_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write(tmp_path, "v1.yaml", V1), write(tmp_path, "v2.yaml", V2 + "stateMapping: {filed: [}")
    assert main(["check", good, bad, "--format", "json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["formatVersion"] == 1
    assert (said["errors"], said["warnings"]) == (1, 1)
    assert said["definitions"][0]["id"] == "loan"
    assert said["definitions"][0]["digest"].startswith("sha256:")
    assert said["definitions"][1] == {"path": bad, "id": None, "version": None, "digest": None}
    finding = said["findings"][-1]
    assert {k: finding[k] for k in ("code", "severity", "path", "line")} == {
        "code": "SK003", "severity": "error", "path": bad, "line": 15,
    }  # fmt: skip
    assert set(finding) == {"code", "severity", "path", "line", "column", "endColumn", "message", "hint"}


def test_user_text_is_no_markup_and_steers_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'id: "[/x]"\nversion: "[bold]1"\ninitial: a\nstates:\n  a: {on: {"[red]": "\\e[31m\u202e[/x]"}}\n'
    path = write(tmp_path, "m.yaml", text)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["check", path]) == 3
    out = capsys.readouterr().out
    assert "\x1b[1;31merror[SK020]\x1b[0m" in out
    assert "'\\x1b[31m\\u202e[/x]'" in out
    assert "\u202e" not in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["check", path]) == 3
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[/x]" in out


def test_a_minified_file_is_shown_in_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parts = {f"state{i}": {"on": {"GO": "nowhere"}} for i in range(500)}
    path = write(tmp_path, "m.json", json.dumps(config(initial="state0", states=parts)))
    assert main(["check", path]) == 3
    lines = capsys.readouterr().out.splitlines()
    shown = next(i for i, line in enumerate(lines) if "state250" in line)
    assert max(len(line) for line in lines if not line.startswith((" -->", "  -->"))) <= 80
    excerpt, carets = lines[shown], lines[shown + 1]
    assert excerpt[carets.index("^") : carets.rindex("^") + 1] == '"nowhere"'


def test_examine_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(V2.encode())))
    reading = examine("-")
    assert reading.loaded is not None
    assert reading.loaded.definition.label == "loan@2"
    assert reading.problems[0].path == "<stdin>"
