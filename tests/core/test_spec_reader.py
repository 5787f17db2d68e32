"""The reader: YAML 1.2 scalars with their places, and a named error with a place for everything else."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import SpecError
from tinify.spec import DiagnosedSpecError
from tinify.spec.reader import MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, read

words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs", "Co", "Cn"]), max_size=8)
numbers = st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
trees = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


def first(text: str) -> Any:
    with pytest.raises(DiagnosedSpecError) as caught:
        read(text, "x.yaml")
    return caught.value.diagnostics[0]


@given(st.dictionaries(words, trees, max_size=4))
def test_json_reads_as_itself(data: dict[str, Any]) -> None:
    assert read(json.dumps(data), "x").plain() == data
    assert read(json.dumps(data, indent=2, ensure_ascii=False), "x").plain() == data


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), trees, max_size=4))
def test_every_scalar_knows_its_place(data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=2)
    lines = text.splitlines()

    def check(node: Node) -> None:
        if isinstance(node.value, dict | list):
            for child in node.mapping.values() if isinstance(node.value, dict) else node.value:
                check(child)
        else:
            written = lines[node.location.line - 1][node.location.column - 1 :]
            assert written.startswith(json.dumps(node.value))

    check(read(text, "x"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-3", -3), ("+4", 4), ("0", 0), ("012", "012"), ("0x10", "0x10"), ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e-4", 1e-4), ("1.", 1.0), (".5", 0.5), ("0.0130", 0.013), ("1e3", 1000.0), ("-.5E+1", -5.0),
        (".inf", ".inf"), (".nan", ".nan"), ("inf", "inf"), ("no", "no"), ("on", "on"), ("True", "True"),
        ("true", True),
        ("false", False), ("null", None), ("~", None), ("", None), ("'1'", "1"), ('"true"', "true"),
        ("2026-01-01", "2026-01-01"),
        ("2*N", "2*N"), ("1" * 19, "1" * 19),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    made = read(f"key: {text}", "x").mapping["key"].value
    if isinstance(value, str) and value.isdigit() and len(value) > 18:
        assert math.isclose(float(made), float(value))  # type: ignore[arg-type]
    else:
        assert made == value
        assert type(made) is type(value)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: [1, 2\n", "S000", 3, 1),
        ("a: 1\nb: {c: ${2*N}}", "S000", 2, 9),
        ("a:\n\t- 1", "S000", 2, 1),
        ("a: @x", "S000", 1, 4),
        ("a: 1\n---\nb: 2", "S002", 2, 1),
        ("a: &x 1", "S003", 1, 4),
        ("a: 1\nb: *N", "S003", 2, 4),
        ("a: !!python/object:os.system x", "S004", 1, 4),
        ("a: !int 3", "S004", 1, 4),
        ("a: {b: 1, b: 2}", "S005", 1, 11),
        ("a: 1\nb: 2\na: 3", "S005", 3, 1),
        ("1: a", "S006", 1, 1),
        ("? [a, b]\n: 1", "S006", 1, 3),
        ("a: {null: 1}", "S006", 1, 5),
        ("- a", "S007", 1, 1),
        ("", "S007", 1, 1),
        ("# only words", "S007", 1, 1),
        ("just words", "S007", 1, 1),
        ("a: 1e999", "S008", 1, 4),
        ("a: \x00", "S000", 1, 1),
    ],
)
def test_what_is_refused_is_refused_at_its_place(text: str, code: str, line: int, column: int) -> None:
    found = first(text)
    assert (found.code, found.line, found.column, found.file) == (code, line, column, "x.yaml")


def test_limits_hold() -> None:
    assert read("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "x")
    for text in (
        "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "a: " + "[" * 100_000,
        "a: [" + "1," * MAX_NODES + "]",
        "a: '" + "x" * MAX_BYTES + "'",
    ):
        assert first(text).code == "S001"


@given(st.text(max_size=60) | st.text("ab:-[]{},&*!|>'\"#?% \n\t1.", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DiagnosedSpecError):
        assert isinstance(read(text, "x").plain(), dict)


@pytest.mark.parametrize("text", ["a: \ud800", "\ud800"])
def test_half_a_character_is_refused(text: str) -> None:
    assert first(text).code == "S000"


def test_a_long_or_hostile_line_is_shown_short_and_clean() -> None:
    with pytest.raises(SpecError) as caught:
        read("a: '" + "\u202e" * 5000 + "', b: 1", "x")
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) < 200
    assert "\u202e" not in str(caught.value)
    assert lines[2].index("^") == lines[1].index(", b")
