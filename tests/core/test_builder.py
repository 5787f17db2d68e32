"""The builder: expressions as the language reads them, names checked at the call, errors at the caller's line."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinify.registry
from tinify import builder as b
from tinify.errors import InputError, SpecError, UnknownNameError
from tinify.plugin import MultipleOf, Sig, Slot, component
from tinify.registry import Registry, get_registry
from tinify.spec import DiagnosedSpecError, Spec, elaborate_part
from tinify.spec.expressions import ExpressionError, evaluate

N, M = b.var("N", "M")
NAMES = {"N": 7, "M": 3}
BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip
NUMBERS = st.integers(-9, 9) | st.floats(-4, 4).map(lambda x: round(x, 2))
TREES = st.recursive(
    st.sampled_from(["N", "M"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(BINARY), inner, inner | NUMBERS),
        st.tuples(st.sampled_from(BINARY), NUMBERS, inner),
        st.tuples(st.just(operator.neg), inner),
    ),
    max_leaves=8,
)
# A model of one's own: what an error is about stands in g_a.
CODEC, LAST = "entropy_bottleneck", {"type": "deconv", "out": 3}


def spec_of(*g_a: Any, **params: Any) -> Spec:
    return b.spec("test", b.autoencoder(g_a=[*g_a], latent_codec=CODEC, g_s=[LAST]), params=params or None)


def calculated(tree: Any, names: dict[str, Any]) -> Any:
    if isinstance(tree, tuple):
        return tree[0](*[calculated(part, names) for part in tree[1:]])
    return names[tree] if isinstance(tree, str) else tree


def exact(tree: Any) -> Any:
    """What a tree is worth in the language: arithmetic is for numbers, and a quotient that is whole is an integer."""
    if not isinstance(tree, tuple):
        return NAMES[tree] if isinstance(tree, str) else tree
    values = [exact(part) for part in tree[1:]]
    arithmetic = tree[0] in BINARY[:6] or tree[0] is operator.neg
    assume(not (arithmetic and any(isinstance(value, bool) for value in values)))
    if tree[0] is operator.truediv and all(isinstance(value, int) for value in values):
        quotient = Fraction(*values)
        return int(quotient) if quotient.denominator == 1 else values[0] / values[1]
    return tree[0](*values)


@given(TREES)
def test_an_expression_is_read_as_it_was_calculated(tree: Any) -> None:
    try:
        symbolic, expected = calculated(tree, {"N": N, "M": M}), exact(tree)
    except ZeroDivisionError:
        return
    found = evaluate(str(symbolic), NAMES)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (2 * N, "2*N"),
        (2 * (N + 1), "2*(N + 1)"),
        (3 * M // 2, "3*M // 2"),
        (3 * (M // 2), "3*(M // 2)"),
        (N + M - 1, "N + M - 1"),
        (N - (M - 1), "N - (M - 1)"),
        (1 - N, "1 - N"),
        (-(N + M), "-(N + M)"),
        (-N * M, "-N*M"),
        (-(N * M), "-(N*M)"),
        (N - -1, "N - -1"),
        (64 // N % 3, "64 // N % 3"),
        (N / M * 0.5, "N / M*0.5"),
        ((N > M) == (M <= 2), "(N > M) == (M <= 2)"),
        (N + 1 >= 2 * M, "N + 1 >= 2*M"),
        (3 > N, "N < 3"),  # noqa: SIM300
        (N != 3, "N != 3"),
        (N == True, "N == true"),  # noqa: E712
        (np.int64(4) + N, "4 + N"),
    ],
)
def test_expressions_are_written_with_few_brackets(made: Any, text: str) -> None:
    assert str(made) == text


def grown() -> Any:
    x = N
    while True:
        x = x + x


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: N + "1", "got '1'"),
        (lambda: N == "conv", "got 'conv'"),
        (lambda: N * [2], r"got \[2\]"),
        (lambda: N + float("inf"), "got inf"),
        (lambda: N if N > 3 else M, "'N > 3' is true or false only once"),
        (lambda: 1 < N < 4, "'N > 1' is true or false only once"),
        (grown, "at most 256 characters"),
        (lambda: b.var("a b"), "'a b' cannot be a parameter's name"),
        (lambda: b.var("if"), "'if' cannot be"),
        (b.var, "var takes names"),
    ],
)
def test_what_no_expression_can_be_is_refused(wrong: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        wrong()


def test_names_are_checked_at_the_call() -> None:
    for call, said in (
        (lambda: b.cnov(out=3), r"^unknown component 'cnov': did you mean 'conv'\?$"),
        (lambda: b.node("cnov", out=3), r"^unknown component 'cnov': did you mean 'conv'\?$"),
        (lambda: b.node("acme/gdn"), r"^unknown component 'acme/gdn': no plugin 'acme' is installed$"),
        (lambda: b.node("conv@7"), r"'conv' has no version '7' here but 1"),
        (lambda: b.conv(oot=3), r"^conv has no parameter 'oot': did you mean 'out'\?$"),
        (lambda: b.conv(type="gdn"), "conv has no parameter 'type'"),
        (lambda: b.gdn(out=3), "gdn has no parameter 'out': there are: inverse"),
        (lambda: b.relu(out=3), "relu has no parameter 'out': there are none"),
        (lambda: b.entropy_bottleneck(tail_mass=0.1, entropy_bottleneck=CODEC), "has no parameter"),
        (lambda: b.spec("x", extends="mbt2018-maen"), "did you mean 'mbt2018-mean'"),
        (lambda: b.spec("x", extends=["a"]), "unknown spec"),
    ):
        with pytest.raises(UnknownNameError, match=said):
            call()  # type: ignore[no-untyped-call]


def test_an_attribute_is_there_where_the_component_is() -> None:
    assert hasattr(b, "conv")
    assert not hasattr(b, "cnov")
    assert not hasattr(b, "__wrapped__")
    assert {"conv", "gdn", "autoencoder", "seq"} <= set(dir(b))
    assert not {part.name for part in get_registry().components()} & set(vars(b)), "hidden by a name of the module"


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", {"each": {3: 4}}, 1 + 2j, np.zeros(2)])
def test_what_no_spec_holds_is_refused_at_the_call(value: Any) -> None:
    with pytest.raises(InputError, match=r"test_builder\.py:\d+:\d+: a spec is made of nodes, numbers"):
        b.conv(out=[value])
    with pytest.raises(InputError, match="name of a component is a string"):
        b.node(value)


def test_trees_without_end_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep = wide = b.seq("gdn")
    for _ in range(64):
        deep, wide = b.seq(deep), b.seq(wide, wide)
    for tree, said in ((deep, "deeper than 64"), (wide, "at most 20000 nodes"), (float("nan"), "the number nan")):
        with pytest.raises(InputError, match=said):
            spec_of(tree)
    with pytest.raises(InputError, match="deeper than 64"):
        b.seq(endless)


def test_the_ways_to_say_a_part_agree() -> None:
    ways = [
        [b.conv(out=8, kernel=5, stride=2), b.gdn(), b.gdn()],
        [b.seq(b.node("conv@1", out=8), "gdn", {"type": "gdn", "inverse": False})],
        (b.conv(out=np.int32(8)), b.repeat(2, "gdn")),
        [b.conv(out=N), b.repeat(N - 6, b.gdn(inverse=N < 8))],
        [b.conv(out="N if N > 7 else 1"), b.repeat("N // 4", [b.gdn()])],
    ]
    made = [spec_of(*way, N=8).elaborate() for way in ways]
    assert [each.model for each in made] == [made[0].model] * len(ways)
    assert {each.id for each in made} == {made[0].id} != {spec_of(b.conv(out=8), "gdn").elaborate().id}


def test_a_spec_has_every_section() -> None:
    spec = b.spec(
        "all",
        b.autoencoder(g_a=[b.conv(out=N)], latent_codec=CODEC, g_s=[LAST], channels=3),
        params={"N": {"type": "int", "default": 8, "min": 4, "help": "width"}, "K": N // 2},
        presets={"q1": {"params": {"N": 16}, "training": {"lmbda": 0.01}}},
        training={"metric": "mse"},
        summary="Everything",
        cite="Nobody: Nothing. 2018",
    )
    assert spec.text == (
        "tinify: 1\n"
        "name: all\n"
        "summary: Everything\n"
        "cite: 'Nobody: Nothing. 2018'\n"
        "params:\n"
        "  N: {type: int, default: 8, min: 4, help: width}\n"
        "  K: N // 2\n"
        "presets:\n"
        "  q1:\n"
        "    params: {N: 16}\n"
        "    training: {lmbda: 0.01}\n"
        "training: {metric: mse}\n"
        "model:\n"
        "  type: autoencoder\n"
        "  g_a:\n"
        "    - {type: conv, out: N}\n"
        "  latent_codec: entropy_bottleneck\n"
        "  g_s:\n"
        "    - {type: deconv, out: 3}\n"
        "  channels: 3\n"
    )
    made = spec.elaborate("q1")
    assert (made.parameters, made.training) == ({"N": 16, "K": 8}, {"metric": "mse", "lmbda": 0.01})
    assert Spec.loads(spec.text).elaborate("q1") == made


def test_a_spec_extends_a_registered_one() -> None:
    changes = {"hyper": {"h_a": [b.conv(out=N, stride=1), b.relu(), b.conv(out=N), b.conv(out=N)]}}
    spec = b.spec("mine", {"latent_codec": changes}, params={"N": 16, "M": 24}, extends="mbt2018-mean")
    assert "extends: mbt2018-mean\n" in spec.text
    made = spec.elaborate()
    assert [part["type"] for part in made.model["latent_codec"]["hyper"]["h_a"]] == ["conv", "relu", "conv", "conv"]
    assert made.id == Spec.loads(spec.text).elaborate().id == Spec.loads(spec.to_yaml()).elaborate().id
    assert spec.elaborate("q1").parameters == {"N": 128, "M": 192}
    assert b.spec("same", extends="mbt2018-mean").elaborate().id == Spec.load("mbt2018-mean").elaborate().id


def test_errors_point_at_the_call_with_its_line() -> None:
    early = b.conv(out=M / 5)
    spec = spec_of(early, b.conv(out=2 * b.var("Q")), "gnd", M=17)
    with pytest.raises(DiagnosedSpecError) as caught:
        spec.elaborate()
    lines = Path(__file__).read_text("utf-8").splitlines()
    rendered = str(caught.value).splitlines()
    for code, call in (("T001", "b.conv(out=M / 5"), ("X001", "b.conv(out=2 * b.var"), ("R001", "b.autoencoder(g_a")):
        number, line = next((number, line) for number, line in enumerate(lines, 1) if call in line)
        shown = next(place for place, text in enumerate(rendered) if f"error[{code}]" in text)
        column = line.index(call) + 1
        assert rendered[shown].startswith(f"{__file__}:{number}:{column}: ")
        assert rendered[shown + 1] == f"  {number} | {line}"
        assert rendered[shown + 2] == " " * (len(f"  {number} | ") - 2) + "| " + " " * (column - 1) + "^"


def test_a_part_is_elaborated_by_itself() -> None:
    part = elaborate_part("transform", b.seq(b.conv(out=4), b.gdn()), Sig(3))
    assert (str(part.output), [row.path for row in part.rows]) == ("4ch@1/2", ["0", "1"])
    with pytest.raises(SpecError, match=r"test_builder\.py:\d+:\d+: error\[T001\]: conv\.out"):
        elaborate_part("layer", b.conv(out=0), Sig(3))


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    @component("layer", "acme/wide", target="acme:Wide")
    class Wide:
        groups: Annotated[int, MultipleOf(2)] = 2

        def shape(self, x: Sig) -> Sig:
            return x

    @component("transform", "acme/split", target="acme:Split", slots={"part": Slot("transform", each="sizes")})
    class Split:
        sizes: list[int]

        def shape(self, slots: Callable[..., Sig], x: Sig) -> Sig:
            for index, size in enumerate(self.sizes):
                slots("part", x.with_channels(size), index=index)
            return x

    registry = Registry()
    registry.register([Wide, Split], namespace="acme")
    monkeypatch.setattr(tinify.registry, "_current", registry)


@pytest.mark.usefixtures("acme")
def test_parts_of_plugins_go_by_their_full_name() -> None:
    g, k = b.var("g", "k")
    template = b.node("acme/split", sizes=[3, N], part=[b.node("acme/wide", groups=4), b.conv(out=g + k, stride=1)])
    children = [[b.node("acme/wide", groups=4), b.conv(out=out, stride=1)] for out in (3, N + 1)]
    written = b.node("acme/split@1", sizes=(3, N), part={"each": children})
    made = [spec_of(part, b.conv(out=8), N=8).elaborate() for part in (template, written)]
    assert made[0].model == made[1].model
    assert Spec.loads(made[0].to_yaml()).elaborate().id == made[0].id
    with pytest.raises(UnknownNameError, match="acme/wide has no parameter 'group': did you mean 'groups'"):
        b.node("acme/wide", group=4)
    with pytest.raises(UnknownNameError, match="did you mean 'acme/wide'"):
        b.node("acme/wyde")


def test_the_builder_needs_no_torch() -> None:
    code = "import sys; from tinify import builder as b; b.conv(out=3); print({'torch', 'numba'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_an_unread_expression_is_an_error_of_the_spec() -> None:
    with pytest.raises(ExpressionError, match="unknown name"):
        evaluate(str(N + 1), {})
    with pytest.raises(SpecError, match=r"error\[X001\]: conv\.out: unknown name 'N'"):
        spec_of(b.conv(out=N)).elaborate()
