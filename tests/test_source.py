"""Definition files as text: values, places, and everything a hostile file may try."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from statekeep_cli.errors import InputUnreadable
from statekeep_cli.readers.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Document, Pointer
from statekeep_cli.readers.source import parse

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def doc(text: str | bytes, path: str = "d.yaml") -> Document:
    return parse(text.encode() if isinstance(text, str) else text, path)


def refused(text: str | bytes, path: str = "d.yaml") -> str:
    with pytest.raises(InputUnreadable) as caught:
        doc(text, path)
    assert caught.value.exit_code == 1
    problem = caught.value.problems[0]
    assert caught.value.message == problem.sentence
    return f"{problem.code} {problem.sentence}"


def here(document: Document, pointer: Pointer, part: Any = "value") -> str:
    start, end = document.span(pointer, part)
    return document.text.text[start:end]


# --- JSON ----------------------------------------------------------------------------------------------


@given(JSON, st.sampled_from([None, 1, 4]))
def test_json_reads_what_the_standard_library_reads(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    if text.strip():
        assert doc(text, "d.json").value == json.loads(text)


@given(JSON)
def test_every_json_value_is_where_the_document_says(value: Any) -> None:
    document = doc(json.dumps(value, indent=2, ensure_ascii=False), "d.json")

    def walk(part: Any, pointer: Pointer) -> None:
        if isinstance(part, dict | list) and part:
            steps = part.items() if isinstance(part, dict) else enumerate(part)
            for step, inner in steps:
                if isinstance(step, str):
                    assert json.loads(here(document, (*pointer, step), "key")) == step
                walk(inner, (*pointer, step))
        elif "\n" not in json.dumps(part, ensure_ascii=False):
            assert json.loads(here(document, pointer)) == part

    walk(document.value, ())


def test_positions_count_lines_and_characters_from_one() -> None:
    document = doc('{\n  "ä😀": {"b": [1,\r\n   "x"]}\n}', "d.json")
    assert document.text.position(document.span(("ä😀", "b", 1))[0]) == (3, 4)
    assert document.text.position(document.span(("ä😀", "b"), "key")[0]) == (2, 10)
    assert document.text.line(2) == '  "ä😀": {"b": [1,'


def test_a_collection_is_pointed_at_by_its_key_and_a_hole_by_what_is_around_it() -> None:
    document = doc('{"a": {"b": {"c": 1}}, "s": "t"}', "d.json")
    assert here(document, ("a", "b")) == '"b"'
    assert here(document, ("a", "b", "c")) == "1"
    assert here(document, ("a", "b", "zzz")) == '"b"'
    assert here(document, ("s",)) == '"t"'
    assert here(document, ("s",), "key") == '"s"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', "SK003 d.json:1:8: a comma before '}'; remove the comma"),
        ("[1,]", "SK003 d.json:1:3: a comma before ']'; remove the comma"),
        ('{"a": 1 "b": 2}', "SK003 d.json:1:9: expected ',' or '}', found '\"'"),
        ('{"a" 1}', "SK003 d.json:1:6: expected ':' after the key 'a', found '1'"),
        ("{a: 1}", "SK003 d.json:1:2: expected a key in double quotes, found 'a'"),
        ("{'a': 1}", "SK003 d.json:1:2: expected a key in double quotes, found '''"),
        ('{"a": tru}', "SK003 d.json:1:7: expected a value, found 't'; write text in double quotes"),
        ('{"a": NaN}', "SK003 d.json:1:7: NaN is no JSON number; use a finite number or null"),
        ('{"a": -Infinity}', "SK003 d.json:1:7: -Infinity is no JSON number"),
        ('{"a": 1e999}', "SK003 d.json:1:7: the number is too large; write it as text"),
        ('{"a": ' + "9" * 5000 + "}", "SK003 d.json:1:7: the number is too large"),
        ('{\n "a": "b\n}', "SK003 d.json:2:9: a control character in a text"),
        ('{"a": "b', "SK003 d.json:1:7: the text that starts here has no end"),
        ('{"a": "\\q"}', "SK003 d.json:1:8: an escape that JSON does not have"),
        ('{"a": "\\ud800"}', "SK003 d.json:1:7: half of a surrogate pair"),
        ('{"\\udfff": 1}', "SK003 d.json:1:2: half of a surrogate pair"),
        ('{"a": [1, 2\n\n', "SK003 d.json:1:12: the file ends where ',' or ']' is expected; complete it"),
        ("{", "SK003 d.json:1:2: the file ends where a key in double quotes is expected"),
        ('{"a": 1} {}', "SK003 d.json:1:10: expected the end of the file after the value"),
        (
            '{\n  // no\n  "a": 1}',
            "SK003 d.json:2:3: JSON has no comments; remove it, or write the file as YAML",
        ),
    ],
)
def test_broken_json_is_refused_at_its_place(text: str, said: str) -> None:
    assert refused(text, "d.json").startswith(said)


# --- YAML ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("y", "y"),
        ("true", True), ("False", False), ("TRUE", True), ("tRue", "tRue"),
        ("null", None), ("~", None), ("", None), ("Null", None), ("nULL", "nULL"),
        ("12", 12), ("-3", -3), ("+4", 4), ("0o17", 15), ("017", 17), ("0x1F", 31), ("1_000", "1_000"),
        ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("-1.5E-2", -0.015), ("1.2.3", "1.2.3"),
        ("12:30:45", "12:30:45"), ("2026-05-02", "2026-05-02"), ("0b11", "0b11"), ("=", "="), ("<<", "<<"),
        ("'12'", "12"), ('"on"', "on"), ("!!str 12", "12"), ("! 12", "12"), ("!!int '12'", 12),
        ("!!float 1", 1.0),
        ("'[/x] [bold]'", "[/x] [bold]"),
    ],
)  # fmt: skip
def test_yaml_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    read = doc(f"k: {text}\n").value["k"]
    assert read == value
    assert type(read) is type(value)


def test_yaml_keys_are_text_as_written() -> None:
    value = doc("on: {1000: a, true: b, null: c, 'off': d, 1.50: e}").value
    assert value == {"on": {"1000": "a", "true": "b", "null": "c", "off": "d", "1.50": "e"}}


@given(JSON)
def test_yaml_reads_json(value: Any) -> None:
    # But for surrogate pairs written as two escapes, which YAML does not have.
    text = json.dumps({"k": value})
    assume("\\ud" not in text)
    assert doc(text).value == json.loads(text)


def test_yaml_places_and_a_directive_and_a_byte_order_mark() -> None:
    text = (
        "%YAML 1.2\n---\nstates:\n  é😀:\n    on:\n      PAY:\n        - target: paid\n          guard: ok\n"
    )
    document = doc(b"\xef\xbb\xbf" + text.encode())
    assert document.text.position(document.span(("states", "é😀", "on", "PAY", 0, "target"))[0]) == (7, 19)
    assert here(document, ("states", "é😀", "on", "PAY", 0, "target")) == "paid"
    assert here(document, ("states", "é😀", "on", "PAY", 0, "guard"), "key") == "guard"
    assert here(document, ("states", "é😀")) == "é😀"


def test_aliases_and_merge_keys() -> None:
    document = doc(
        "x: &x {a: 1, b: {c: 2}}\ny: *x\nz: {<<: *x, b: 3, d: 4}\n"
        "w: {<<: [{a: 5, e: 6}, *x]}\nv: &k id\n*k : q\n"
    )
    assert document.value["y"] == {"a": 1, "b": {"c": 2}}
    assert document.value["z"] == {"a": 1, "b": 3, "d": 4}
    assert document.value["w"] == {"a": 5, "e": 6, "b": {"c": 2}}
    assert document.value["id"] == "q"
    assert here(document, ("y", "b", "c")) == "2"  # where it is written
    assert here(document, ("z", "b")) == "3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2\n\n", "SK003 d.yaml:1:4: "),
        ('a: 1\nb: "c\n', "SK003 d.yaml:2:4: found unexpected end of stream while scanning a quoted scalar"),
        ("a: b: c", "SK003 d.yaml:1:5: mapping values are not allowed"),
        ("a:\n\tb: 1", "SK003 d.yaml:2:1: a tab where YAML wants spaces; indent with spaces"),
        ("a: 1\n---\nb: 2", "SK003 d.yaml:2:1: a second document; put one definition in each file"),
        ("a: *b", "SK003 d.yaml:1:4: no anchor '&b' stands before this alias"),
        ("a: &a [*a]", "SK003 d.yaml:1:8: the alias '*a' is inside its own anchor"),
        ("a: &a {b: *a}", "SK003 d.yaml:1:11: the alias '*a' is inside its own anchor"),
        ("? [a, b]\n: 1", "SK003 d.yaml:1:3: a key that is no plain text"),
        (
            "a: !!python/object/apply:os.system ['id']",
            "SK003 d.yaml:1:4: the tag 'tag:yaml.org,2002:python/object",
        ),
        ("a: !!binary aGk=", "SK003 d.yaml:1:4: the tag 'tag:yaml.org,2002:binary' is not allowed here"),
        ("!!set {a: }", "SK003 d.yaml:1:1: the tag 'tag:yaml.org,2002:set' is not allowed here"),
        ("!!python/none a: 1", "SK003 d.yaml:1:1: the tag 'tag:yaml.org,2002:python/none' is not allowed"),
        ("a: !!int x", "SK003 d.yaml:1:4: 'x' is not of the type its tag says"),
        ("a: .nan", "SK003 d.yaml:1:4: .nan is no number that JSON has"),
        ("a: -.INF", "SK003 d.yaml:1:4: -.INF is no number that JSON has"),
        ("a: 1e999", "SK003 d.yaml:1:4: the number is too large"),
        ("a: " + "9" * 5000, "SK003 d.yaml:1:4: the number is too large"),
        ("a: {<<: 5}", "SK003 d.yaml:1:9: '<<' merges mappings, and this is none"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "SK003 d.yaml:1:17: a second '<<'"),
        ("é: \x07", "SK003 d.yaml:1:4: a character that YAML does not allow"),
        ("# nothing\n", "SK003 d.yaml:1:1: the file holds no value"),
    ],
)
def test_broken_yaml_is_refused_at_its_place(text: str, said: str) -> None:
    assert refused(text).startswith(said)


# Pieces that the grammars are made of, so that random texts come near to being files.
PIECES = st.lists(
    st.sampled_from(
        [
            *list("{}[]:,'\"\\#&*!|>%@`?-~ \n\t\ré😀\u2028\x85\ufeff\x07"),
            "a",
            "1",
            "<<",
            ": ",
            "- ",
            "\n  ",
            "---\n",
            "...\n",
            "&a ",
            "*a",
            "!!str ",
            "true",
            "1e9",
            "\\u12",
            "/*",
        ]
    ),
    max_size=30,
).map("".join)


@given(PIECES | st.text(max_size=20), st.sampled_from(["d.json", "d.yaml", "-"]))
@example("&a [*a]", "d.yaml")
@example("? ? ? a", "d.yaml")
@example("!<tag:yaml.org,2002:int> 0b1", "d.yaml")
def test_whatever_a_file_holds_it_is_read_or_refused_with_a_place(text: str, path: str) -> None:
    try:
        document = parse(text.encode("utf-8", "surrogatepass"), path)
    except InputUnreadable as error:
        for problem in error.problems:
            lines = text.encode("utf-8", "replace").decode().split("\n")
            assert 0 <= problem.line <= len(lines) + 1
            assert problem.message
    else:
        json.dumps(document.value, allow_nan=False)


# --- both ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "text"), [("d.json", '{"a": 1,\n "b": {"a": 2, "a": 3},\n "a": 4}'),
                                            ("d.yaml", "a: 1\nb: {a: 2, a: 3}\na: 4")])  # fmt: skip
def test_duplicate_keys_are_all_reported_with_both_places(path: str, text: str) -> None:
    document = doc(text, path)
    assert document.value == {"a": 1, "b": {"a": 2}}
    assert [(p.code, p.severity) for p in document.problems] == [("SK005", "error")] * 2
    inner, outer = document.problems
    assert (inner.line, outer.line) == (2, 3)
    assert "first is at line 2" in inner.message
    assert "first is at line 1" in outer.message


def test_there_is_an_end_to_duplicate_keys() -> None:
    assert refused("a: 1\n" * 50_000).startswith("SK004 d.yaml:1002:1: more than 1000 keys given twice")


@pytest.mark.parametrize("path", ["d.json", "d.yaml", "-"])
def test_empty_files(path: str) -> None:
    for data in (b"", b" \n\t\n", b"\xef\xbb\xbf"):
        assert "is empty; write a definition" in refused(data, path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{}".encode("utf-16"), "SK002 d.json:1:1: is UTF-16 or UTF-32, not UTF-8; save it as UTF-8"),
        ("{}".encode("utf-16-be"), "SK002 d.json:1:1: a NUL character"),
        (b"\xfe\xff\x00{", "SK002 d.json:1:1: is UTF-16, not UTF-8"),
        ("{}".encode("utf-32"), "SK002 d.json:1:1: is UTF-16 or UTF-32, not UTF-8"),
        ('{"ä":\n "ü\xff"}'.encode("latin-1"), "SK002 d.json:1:3: byte 0xe4 is not UTF-8; save it as UTF-8"),
        ('{"ä":\n "é'.encode() + b"\xc3", "SK002 d.json:2:4: byte 0xc3 is not UTF-8"),
        (b'{"a": "\x00"}', "SK002 d.json:1:8: a NUL character"),
        (b"\x1f\x8b\x08\x00", "SK002 d.json:1:2: byte 0x8b is not UTF-8"),
    ],
)
def test_other_encodings_are_refused_by_name(data: bytes, said: str) -> None:
    assert refused(data, "d.json").startswith(said)


def test_the_suffix_decides_and_else_the_content() -> None:
    assert doc("a: 1", "-").value == {"a": 1}
    assert doc(' {"a": 1}', "-").value == {"a": 1}
    assert "JSON has no comments" in refused('{"a": 1, # c\n}', "-")
    assert doc("{a: 1}", "d.YML").value == {"a": 1}
    assert "a key in double quotes" in refused("{a: 1}", "d.JSON")


def aliases(fan: int, levels: int, merge: bool = False) -> str:
    lines = ["a0: &a0 {k: [x, x]}"]
    for i in range(levels):
        inner = ", ".join([f"*a{i}"] * fan)
        lines.append(f"a{i + 1}: &a{i + 1}\n  b{i}: [{inner}]" + (f"\n  <<: [{inner}]" if merge else ""))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("deep.json", "[" * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("deep.json", '{"a":' * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("deep.yaml", "[" * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("deep.yaml", "{a: " * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("deep.yaml", "- " * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        (
            "deep.yaml",
            "\n".join(" " * i + "a:" for i in range(1000)),
            f"nested more than {MAX_DEPTH} levels deep",
        ),
        ("wide.json", "[" + "1," * 300_000 + "1]", f"more than {MAX_VALUES} values"),
        ("wide.yaml", "[" + "1," * 300_000 + "1]", f"more than {MAX_VALUES} values"),
        ("large.yaml", " " * (MAX_BYTES + 1), "is larger than 8 MiB"),
        ("bomb.yaml", aliases(10, 9), f"its aliases expand to more than {MAX_VALUES} values"),
        ("bomb.yaml", aliases(3, 200, merge=True), f"its aliases expand to more than {MAX_VALUES} values"),
        ("chain.yaml", aliases(1, 400), f"its aliases expand to more than {MAX_DEPTH} levels of nesting"),
    ],
)
def test_limits_hold_before_they_hurt(name: str, text: str, said: str) -> None:
    assert said in refused(text, name)


def test_what_stays_within_the_limits_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert doc(text, "d.json").value == doc(text, "d.yaml").value == json.loads(text)
    assert len(doc(aliases(10, 3)).value["a3"]["b2"]) == 10
