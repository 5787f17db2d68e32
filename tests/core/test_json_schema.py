"""The JSON Schema of specs: valid itself, current, and of one mind with the reader as far as a schema can be."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import SpecError
from tinify.plugin import Component, MultipleOf, Parameter, Range, Slot, component
from tinify.registry import Registry, get_registry
from tinify.spec import Spec
from tinify.spec.json_schema import _component, schema
from tinify.spec.reader import read

OURS = schema(Registry(disabled=(), only=()))
VALIDATOR = jsonschema.Draft202012Validator(OURS)
GOOD = """\
tinify: 1
name: test
summary: For tests
params: {N: 8, M: {type: int, default: 2*N, min: 1, help: channels}, deep: true}
presets: {q1: {params: {N: 12}, training: {lmbda: 0.1}}}
training: {metric: mse}
define:
  down: {params: {c: int}, do: [{type: conv, out: c}, gdn]}
model:
  type: autoencoder
  g_a:
    - {use: down, with: {c: N}}
    - {repeat: 2, as: i, do: {type: conv, out: N + i, kernel: 3, stride: 1}}
    - [[relu, leaky_relu@1]]
  latent_codec:
    type: hyperprior
    hyper: {type: hyper, h_a: [{type: conv, out: 4}], h_s: [{type: deconv, out: 2*(N + 1)}]}
    y:
      type: gaussian_conditional
      chunks: [scales, means]
      gaussian_conditional: {type: gaussian_conditional, levels: 32}
  g_s:
    - {type: deconv@1, out: 3}
  coder: ans
"""


def accepts(text: str) -> bool:
    return VALIDATOR.is_valid(read(text, "x.yaml").plain())


def elaborates(text: str) -> bool:
    try:
        Spec.loads(text).elaborate()
    except SpecError:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(OURS)
    assert json.loads(json.dumps(OURS)) == OURS


def test_the_shipped_schema_is_current() -> None:
    shipped = files("tinify_specs").joinpath(f"tinify-spec-{OURS['properties']['tinify']['const']}.schema.json")
    expected = json.dumps(OURS, indent=1, ensure_ascii=False) + "\n"
    assert shipped.read_text(encoding="utf-8") == expected, (
        "write it anew: tinify schema -o specs/tinify-spec-1.schema.json"
    )


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_shipped_specs_are_accepted(name: str) -> None:
    VALIDATOR.validate(read(Spec.load(name).text, name).plain())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("tinify: 1", "tinify: 2"),
        ("tinify: 1\n", ""),
        ("name: test", "name: Test"),
        ("summary: For tests", "summary: [1]"),
        ("params:", "parms:"),
        ("type: int, default", "type: integer, default"),
        ("help: channels", "halp: channels"),
        ("{N: 12}, training", "{N: 12}, trainin"),
        ("lmbda: 0.1}", "lmbda: 0.1}, more: 3"),
        ("do: [{type: conv, out: c}, gdn]", "does: [gdn]"),
        ("c: int}", "c-d: int}"),
        ("use: down", "uses: down"),
        ("with: {c: N}", "with: [3]"),
        ("as: i, do", "as: i, does"),
        ("repeat: 2", "repeat: 1000"),
        ("relu, leaky", "rely, leaky"),
        ("leaky_relu@1", "leaky_relu@2"),
        ("kernel: 3", "kernel: 99"),
        ("kernel: 3", "kernel: 1.5"),
        ("kernel: 3", "kernal: 3"),
        ("out: 4}", "kernel: 3}"),
        ("type: hyperprior\n", "type: hyper\n"),
        ("chunks: [scales, means]", "chunks: [scale]"),
        ("chunks: [scales, means]", "chunks: {a: b}"),
        ("levels: 32", "levels: true"),
        ("    - {type: deconv@1, out: 3}\n", "    - 3\n"),
        ("coder: ans", "coder: conv"),
        ("coder: ans", "coder: [ans]"),
        ("model:\n", "model: autoencoder\nmodels:\n"),
    ],
)
def test_schema_and_reader_agree(old: str, new: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    assert accepts(text) == elaborates(text) == (text == GOOD)


# What no schema can know: whether shapes fit, what an expression comes to, and which names are defined.
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("out: 3}", "out: 4}"),
        ("kernel: 3", "kernel: 4"),
        ("kernel: 3", "kernel: 3 +"),
        ("kernel: 3", "kernel: 1 + 98"),
        ("kernel: 3", "kernel: K"),
        ("use: down", "use: up"),
        ("with: {c: N}", "with: {d: N}"),
        ("params: {N: 12}", "params: {K: 12}"),
        ("default: 2*N", "default: 0"),
    ],
)
def test_elaboration_knows_more(old: str, new: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    assert accepts(text)
    assert not elaborates(text)


def test_a_child_is_accepted_without_what_it_takes_from_its_parent() -> None:
    child = "tinify: 1\nname: child\nextends: mbt2018-mean\nmodel: {latent_codec: {y: {quantizer: ste}}}\n"
    assert accepts(child)
    assert elaborates(child)
    assert not accepts(child.replace("extends: mbt2018-mean\n", ""))


@given(
    st.integers(-3, 40) | st.floats(-3, 40) | st.booleans() | st.none() | st.sampled_from(["a", "b", ["a"], [1], []])
)
def test_plain_values_are_judged_as_the_parameter_judges_them(value: Any) -> None:
    for parameter in (
        Parameter(int, limits=(Range(1, 32), MultipleOf(4))),
        Parameter(float, limits=(Range(0.5),)),
        Parameter(bool),
        Parameter(str, choices=("a", "b")),
        Parameter(int, many=True),
        Parameter(float, optional=True),
    ):
        part = Component("coder", "x/x", "math:pi", object, params={"value": parameter})
        found = jsonschema.Draft202012Validator({**_component(part), "$defs": {"expression": False}})
        try:
            parameter.convert(value)
        except ValueError:
            assert not found.is_valid({"value": value}) or (isinstance(value, float) and value.is_integer())
        else:
            assert found.is_valid({"value": value})


def test_plugins_versions_and_slots_enter_the_schema() -> None:
    def shape(self: Any, slots: Any, x: Any) -> Any:
        return x

    body = {"__annotations__": {"sizes": list[int]}, "shape": shape, "__doc__": "A part."}
    slots = {"one": Slot("layer", default="relu"), "many": Slot("transform", each="sizes", optional=True)}
    registry = Registry(disabled=(), only=())
    declared = [
        component("layer", "acme/x", target="math:pi", version=version, slots=slots, deprecated=old)(
            type("X", (), dict(body))
        )
        for version, old in ((1, "use acme/x@2"), (2, None))
    ]
    registry.register(declared, namespace="acme")
    made = jsonschema.Draft202012Validator({"$ref": "#/$defs/layer", "$defs": schema(registry)["$defs"]})
    for node, good in [
        ("acme/x", True),
        ("acme/x@1", True),
        ("acme/x@3", False),
        ({"type": "acme/x", "sizes": [1, "2*N"]}, True),
        ({"type": "acme/x@1", "sizes": [1], "many": {"each": [None, ["relu"]]}}, True),
        ({"type": "acme/x", "sizes": [1], "many": {"each": [3]}}, False),
        ({"type": "acme/x"}, False),
        ({"type": "acme/x", "sizes": [1], "one": "relu"}, True),
        ({"type": "acme/x", "sizes": [1], "one": ["relu"]}, False),
    ]:
        assert made.is_valid(node) is good, node
    assert schema(registry)["$defs"]["layer acme.x@1"]["deprecated"] is True
