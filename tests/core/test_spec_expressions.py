"""Expressions: equal to Python's own arithmetic where allowed, and nothing else is."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.spec.expressions import ExpressionError, UnknownValue, evaluate

REFUSED = ("arithmetic needs numbers", "out of range", "at most 256 characters")  # tinify's own limits
NAMES = {"N": 128, "M": 192, "x": 0.5, "deep": True, "groups": [16, 32, 64]}


def _binary(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "//", "%", "<", "<=", "==", "!=", ">", ">="])
    return st.one_of(
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("(not not {} {} not not {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(-{})".format, inner),
        st.builds("(not {})".format, inner),
        st.builds("max({}, {})".format, inner, inner),
        st.builds("abs({})".format, inner),
    )


leaves = st.integers(0, 300).map(str) | st.sampled_from(
    ["N", "M", "x", "0.25", "groups[1]", "len(groups)", "sum(groups)"]
)
expressions = st.recursive(leaves, _binary, max_leaves=8)


@given(expressions)
def test_what_is_allowed_equals_python(text: str) -> None:
    refusal = ""
    try:
        made = evaluate(text, NAMES)
    except ExpressionError as error:
        refusal = error.message
    if refusal == "division by zero":
        with pytest.raises(ZeroDivisionError):
            eval(text, {}, dict(NAMES))
    elif refusal:
        assert any(words in refusal for words in REFUSED)
    else:
        assert made == eval(text, {}, dict(NAMES))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6 / 3", 2), ("7 / 2", 3.5), ("2*N", 256), ("  N", 128), ("M*3 // 2", 288), ("groups[:2]", [16, 32]),
        ("groups[-1]", 64),
        ("true", True), ("not deep", False), ("N > 100 and deep", True), ("0 < 1 < 2", True), ("round(2.6)", 3),
        ("+N", 128),
        ("N == 0 or M / N > 1", True), ("N > 0 or 1 / 0", True), ("min(groups)", 16),
    ],
)  # fmt: skip
def test_examples(text: str, value: Any) -> None:
    assert evaluate(text, NAMES) == value
    assert type(evaluate(text, NAMES)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "2 *", "max(N", "N.real", "__import__('os')", "open('x')", "(lambda: 1)()", "[1, 2]", "(1, 2)", "{1}",
        "{}",
        "[i for i in groups]", "'a'", "N ** 2", "N << 3", "~N", "N & 1", "None", "1j", "b'x'", "f'{N}'", "N := 3",
        "max(*groups)",
        "max(N, key=abs)", "round(1, -99999999)", "groups[::2]", "groups[9]", "groups[x]", "groups[deep:x]", "N[0]",
        "1 / 0", "N % 0",
        "deep + 1", "groups + groups", "groups < 3", "N in groups", "N is N", "sum(N)", "len(3)", "min()", "abs(1, 2)",
        "x(3)", "Q",
        "9" * 30, "2000000 * 2000000 * 9", "1e999", "(" * 120 + ")" * 120, "N;M", "N\nM", "\x00",
        "1or 2or", "...",
        "N" + " + N" * 100, "yield", "await N", "groups[0].real", "not" * 20, "max.__class__", "()()",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, NAMES)
    assert caught.value.message
    assert 0 <= caught.value.column <= len(text)


def test_a_tower_of_signs_is_climbed() -> None:
    assert evaluate("-" * 250 + "1", NAMES) == 1


@given(st.text(max_size=40) | st.text("NMx0123 +-*/%()[]<>=!.,:andorif", max_size=60))
def test_any_text_has_a_value_or_an_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert isinstance(evaluate(text, NAMES), bool | int | float | list)


def test_errors_know_their_column_and_a_hint() -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate("  2*K + Mm", NAMES)
    assert (caught.value.column, caught.value.hint) == (4, "parameters: N, M, x, deep, groups")
    with pytest.raises(ExpressionError) as caught:
        evaluate("N + groupz[0]", NAMES)
    assert (caught.value.column, caught.value.hint) == (4, "did you mean 'groups'?")


def test_a_name_in_error_is_told_apart() -> None:
    with pytest.raises(UnknownValue):
        evaluate("2*N", {"N": None})
