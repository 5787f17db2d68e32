"""What is written as YAML is read back the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import InputError
from tinify.spec.emit import to_yaml
from tinify.spec.reader import MAX_DEPTH, read

# Strings that YAML could take for something else, between those of any sort.
TRICKY = [
    "", " ", "~", "null", "Null", "true", "false", "True", "no", "on", "y", "0", "-0", "12", "+3", "012", "1_000",
    "1:30", "1e-4", "1.", ".5", ".inf", ".nan", "1e999", "0x10", "2026-01-01", "-", "--", "---", "...", "?", ":",
    "a: b", "a:", ": a", "#", "a #b", "# a", "&a", "*N", "!t", "!!int", "%x", "@x", "`x", "|", ">", "<<", "=", "[a",
    "a]", "{a", "a}", ",", "a, b", "'", '"', "it's", '"a"', "\\", "\t", "\n", "a\n", "\na", "a\n\nb", "a \nb", " a",
    "a ", "a\tb", "\x00", "\x07", "\x85", "\u2028", "a\u2029b c", "\ufeff", "\u00e9", "\U0001f600", "max(M, 8)",
    "2*(N + 1)", "-N", "x[1:2]", "word " * 60, "x" * 300,
]  # fmt: skip
STRINGS = st.sampled_from(TRICKY) | st.text(max_size=30) | st.text("ab:#-?,[]{}'\" \n", max_size=12)
INTEGERS = st.integers(-(10**18) + 1, 10**18 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | STRINGS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4), max_leaves=20
)


def same(a: Any, b: Any) -> bool:
    """Equal, of the same types, mappings in the same order, and 0.0 apart from -0.0."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and bool(a == b)


@given(st.dictionaries(STRINGS, VALUES, max_size=5))
def test_the_reader_reads_what_is_written(plain: dict[str, Any]) -> None:
    text = to_yaml(plain)
    assert same(read(text, "x.yaml").plain(), plain)
    assert to_yaml(read(text, "x.yaml").plain()) == text


@pytest.mark.parametrize("word", TRICKY)
def test_a_string_stays_a_string_everywhere(word: str) -> None:
    plain = {word: word, "list": [word, [word]], "mapping": {word: {word: [word, {"a": word}]}}}
    assert same(read(to_yaml(plain), "x.yaml").plain(), plain)


@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, 0.1, 1e-9, 1e16, 1e300, 5e-324, 1.7976931348623157e308, -2.5])
def test_a_float_stays_that_float(number: float) -> None:
    assert same(read(to_yaml({"x": number}), "x.yaml").plain(), {"x": number})


def test_the_layout_is_that_of_a_spec() -> None:
    layer = {"type": "conv", "out": "2*N", "kernel": 5}
    plain = {
        "tinify": 1,
        "params": {"N": {"type": "int", "default": 8}},
        "model": {"g_a": [layer, "gdn", [layer, layer]], "chunks": ["scales", "means"], "empty": [], "none": {}},
    }
    assert to_yaml(plain) == (
        "tinify: 1\n"
        "params:\n"
        "  N: {type: int, default: 8}\n"
        "model:\n"
        "  g_a:\n"
        "    - {type: conv, out: 2*N, kernel: 5}\n"
        "    - gdn\n"
        "    - - {type: conv, out: 2*N, kernel: 5}\n"
        "      - {type: conv, out: 2*N, kernel: 5}\n"
        "  chunks: [scales, means]\n"
        "  empty: []\n"
        "  none: {}\n"
    )
    assert to_yaml({"tinify": 1, "name": "x"}) == "tinify: 1\nname: x\n"


def test_long_lines_are_broken() -> None:
    text = to_yaml({"groups": list(range(100)), "words": {"a": "word " * 60}})
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "the number nan"),
        (-math.inf, "the number -inf"),
        (10**18, "more than 18 digits"),
        ("\ud800", "UTF-8"),
        ({1: 2}, "keys of a spec are strings"),
        (object, "got <class 'object'>"),
        ((1, 2), "got (1, 2)"),
        (b"bytes", "got b'bytes'"),
    ],
)
def test_what_a_spec_cannot_hold_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InputError, match="a spec") as caught:
        to_yaml({"a": [{"b": value}]})
    assert said in str(caught.value)


def test_depth_is_that_of_the_reader() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert read(to_yaml({"a": deep}), "x.yaml").plain() == {"a": deep}
    with pytest.raises(InputError, match="deeper than 64"):
        to_yaml({"a": [deep]})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="deeper than 64"):
        to_yaml({"a": endless})
