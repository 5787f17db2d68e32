"""One tree, four ways: as YAML, by the builder, unrolled by hand, and written out again."""

from __future__ import annotations

import json
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify import builder as b
from tinify.registry import get_registry
from tinify.spec import Architecture, Spec

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod}

# An expression is a number, a name, ("-", x) or (operator, x, y). A tree is ("part", name, arguments),
# ("seq", [tree, ...]) or ("repeat", expression, tree), whose count is named i.


def expressions(names: list[str]) -> st.SearchStrategy[Any]:
    def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        divisors = st.integers(1, 5) | inner.map(lambda x: ("+", ("%", x, 3), 1))
        return (
            st.tuples(st.sampled_from("+-*"), inner, inner)
            | st.tuples(st.sampled_from(["//", "%"]), inner, divisors)
            | st.tuples(st.just("-"), inner)
        )

    return st.recursive(st.sampled_from(names) | st.integers(-9, 9), grow, max_leaves=5)


def within(low: int, count: int, names: list[str]) -> st.SearchStrategy[Any]:
    """Expressions of ``low`` to ``low + count - 1``."""
    return expressions(names).map(lambda x: ("+", ("%", x, count), low))


def trees(names: list[str], depth: int = 3) -> st.SearchStrategy[Any]:
    """Transforms that keep height and width, of few channels."""
    out, counted = within(1, 7, names), sorted({*names, "i"})
    part = st.one_of(
        st.tuples(
            st.just("part"),
            st.sampled_from(["conv", "deconv"]),
            st.fixed_dictionaries({"out": out, "stride": st.just(1)}, optional={"kernel": st.sampled_from([1, 3])}),
        ),
        st.sampled_from(["gdn", "relu", "leaky_relu", "abs"]).map(lambda name: ("part", name, {})),
        st.booleans().map(lambda inverse: ("part", "gdn", {"inverse": inverse})),
        st.floats(-4, 4).map(lambda factor: ("part", "scale", {"factor": factor})),
    )
    if not depth:
        return part
    inner = trees(names, depth - 1)
    return st.one_of(
        part,
        st.lists(inner, max_size=4).map(lambda children: ("seq", children)),
        st.tuples(st.just("repeat"), within(0, 3, names), trees(counted, depth - 1)),
        st.builds(resampled, inner, out, within(1, 3, names).map(lambda x: ("*", 4, x))),
    )


def resampled(inner: Any, out: Any, fourfold: Any) -> Any:
    """A tree between changes of the size, and a shuffle."""
    down, up = (("part", name, {"out": out}) for name in ("conv", "deconv"))
    wide = ("part", "conv", {"out": fourfold, "stride": 1})
    return ("seq", [down, inner, up, ("part", "pixel_unshuffle", {}), wide, ("part", "pixel_shuffle", {})])


def text_of(x: Any) -> Any:
    """An expression with all its brackets; a number as it is."""
    if isinstance(x, tuple):
        words = [f"({text_of(part)})" for part in x[1:]]
        return f"{words[0]} {x[0]} {words[1]}" if len(words) == 2 else f"{x[0]}{words[0]}"
    return x


def value_of(x: Any, names: dict[str, Any]) -> Any:
    """The value of an expression by Python's operators: a number, or the builder's expression."""
    if isinstance(x, tuple):
        parts = [value_of(part, names) for part in x[1:]]
        return OPERATORS[x[0]](*parts) if len(parts) == 2 else -parts[0]
    return names[x] if isinstance(x, str) else x


def as_yaml(tree: Any) -> Any:
    if tree[0] == "part":
        return {"type": tree[1], **{key: text_of(x) for key, x in tree[2].items()}}
    if tree[0] == "seq":
        return [as_yaml(child) for child in tree[1]]
    return {"repeat": text_of(tree[1]), "as": "i", "do": as_yaml(tree[2])}


def as_built(tree: Any, names: dict[str, Any]) -> Any:
    if tree[0] == "part":
        return b.node(tree[1], **{key: value_of(x, names) for key, x in tree[2].items()})
    if tree[0] == "seq":
        return b.seq(*[as_built(child, names) for child in tree[1]])
    return b.repeat(value_of(tree[1], names), as_built(tree[2], names), as_="i")


def unrolled(tree: Any, names: dict[str, Any]) -> list[Any]:
    """The parts of a tree one after another, with numbers for expressions."""
    if tree[0] == "part":
        return [{"type": tree[1], **{key: value_of(x, names) for key, x in tree[2].items()}}]
    if tree[0] == "seq":
        return [part for child in tree[1] for part in unrolled(child, names)]
    times = value_of(tree[1], names)
    return [part for i in range(times) for part in unrolled(tree[2], {**names, "i": i})]


def model_of(g_a: Any, g_s: Any, last: Any) -> dict[str, Any]:
    return {"type": "autoencoder", "g_a": [g_a], "latent_codec": "entropy_bottleneck", "g_s": [g_s, last]}


def loads(**sections: Any) -> Spec:
    return Spec.loads(json.dumps({"tinify": 1, "name": "tree", **sections}))


@given(trees(["N", "M"]), trees(["N", "M"]), st.integers(1, 6), st.integers(1, 6))
def test_yaml_builder_and_canonical_form_agree(g_a: Any, g_s: Any, n: int, m: int) -> None:
    params, last = {"N": n, "M": m}, {"type": "conv", "out": 3, "stride": 1}
    symbols: dict[str, Any] = {name: b.var(name) for name in ("N", "M", "i")}
    by_hand = loads(model=model_of(unrolled(g_a, params), unrolled(g_s, params), last)).elaborate()
    from_yaml = loads(params=params, model=model_of(as_yaml(g_a), as_yaml(g_s), last))
    model = b.autoencoder(
        g_a=[as_built(g_a, symbols)], latent_codec="entropy_bottleneck", g_s=[as_built(g_s, symbols), last]
    )
    built = b.spec("tree", model, params=params)
    for spec in (from_yaml, built, Spec.loads(built.text), Spec.loads(from_yaml.to_yaml())):
        made = spec.elaborate()
        assert made.model == by_hand.model
        assert made.id == by_hand.id
        assert Spec.loads(made.to_yaml()).elaborate() == Architecture("tree", None, {}, {}, made.model, made.stride)
    assert Spec.loads(built.to_yaml()).elaborate(N=n + 1).id == from_yaml.elaborate(N=n + 1).id


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_registered_specs_survive_being_written(name: str) -> None:
    spec = Spec.load(name)
    again = Spec.loads(spec.to_yaml())
    assert (again.name, again.summary, again.cite, again.presets) == (name, spec.summary, spec.cite, spec.presets)
    assert again.parameters == spec.parameters
    assert again.to_yaml() == spec.to_yaml()
    assert "extends" not in again.root.mapping
    for preset in (None, *spec.presets):
        made = spec.elaborate(preset)
        assert again.elaborate(preset) == made
        pinned = Spec.loads(made.to_yaml()).elaborate()
        assert (pinned.id, pinned.model, pinned.training) == (made.id, made.model, made.training)


BLOCKS = """\
tinify: 1
name: blocks
params: {N: 8, wide: {type: bool, default: true}, sizes: [4, N]}
define:
  down: {params: {c: int, s: {type: int, default: N // 4}}, do: [{type: conv, out: c, stride: s}, relu]}
  prior: {do: {type: entropy_bottleneck}}
training: {lmbda: 1e-2, note: "1e-2"}
model:
  type: autoencoder
  g_a:
    - {use: down, with: {c: "sizes[1] if wide else N"}}
    - {repeat: len(sizes), as: i, do: {use: down, with: {c: "sizes[i]"}}}
  latent_codec: {use: prior}
  g_s: [{type: deconv@1, out: 3, stride: 8}]
"""


@pytest.mark.parametrize("parameters", [{}, {"wide": False}, {"sizes": [1, 2]}, {"N": 9}])
def test_blocks_and_presets_survive_being_written(parameters: dict[str, Any]) -> None:
    spec = Spec.loads(BLOCKS)
    again = Spec.loads(spec.to_yaml())
    made = spec.elaborate(**parameters)
    assert again.elaborate(**parameters) == made
    assert again.to_yaml() == spec.to_yaml()
    assert Spec.loads(made.to_yaml()).elaborate().training == {"lmbda": 0.01, "note": "1e-2"}


def test_a_pinned_architecture_says_everything() -> None:
    made = loads(
        model=model_of(
            [{"type": "conv", "out": 4}], {"type": "deconv", "out": 3}, {"type": "conv", "out": 3, "stride": 1}
        )
    )
    assert made.elaborate().to_yaml() == (
        "tinify: 1\n"
        "name: tree\n"
        "model:\n"
        "  type: autoencoder@1\n"
        "  channels: 3\n"
        "  g_a:\n"
        "    - {type: conv@1, out: 4, kernel: 5, stride: 2}\n"
        "  latent_codec:\n"
        "    type: entropy_bottleneck@1\n"
        "    entropy_bottleneck: {type: entropy_bottleneck@1, tail_mass: 1.0e-09, init_scale: 10.0}\n"
        "  g_s:\n"
        "    - {type: deconv@1, out: 3, kernel: 5, stride: 2}\n"
        "    - {type: conv@1, out: 3, kernel: 5, stride: 1}\n"
    )
