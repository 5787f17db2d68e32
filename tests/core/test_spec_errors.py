"""What is wrong with a spec is said at its place, all at once, with something to do about it."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinify.registry
from tinify.errors import PluginError, SpecError, UnknownNameError
from tinify.plugin import ShapeError, Sig, Slot, component
from tinify.registry import Registry
from tinify.spec import Architecture, DiagnosedSpecError, Spec
from tinify.spec.diagnostics import MAX_SHOWN

GOOD = """\
tinify: 1
name: test
params:
  N: {type: int, default: 8, min: 1, max: 64, multiple_of: 4}
presets:
  q1: {params: {N: 12}, training: {lmbda: 0.1}}
training: {metric: mse}
model:
  type: autoencoder
  g_a:
    - {type: conv, out: N, kernel: 5}
    - {repeat: 2, do: gdn}
  latent_codec:
    type: hyperprior
    hyper: {type: hyper, h_a: [{type: conv, out: 4}], h_s: [{type: deconv, out: 2*N}]}
    y: gaussian_conditional
  g_s:
    - {type: deconv, out: 3}
"""


def errors(text: str) -> list[tuple[str, str]]:
    """The code of each error and the text at its place."""
    with pytest.raises(DiagnosedSpecError) as caught:
        Spec.loads(text).elaborate()
    lines = text.splitlines()
    return [(found.code, lines[found.line - 1][found.column - 1 :]) for found in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("old", "new", "expected", "message"),
    [
        ("tinify: 1", "tinify: 2", ["V001 2"], "upgrade tinify"),
        ("tinify: 1", "tinify: '1'", ["V001 '1'"], "write `tinify: 1` first"),
        ("tinify: 1\n", "", ["V001 name"], "reads spec language 1"),
        ("name: test", "name: Test me", ["V002 Test me"], "needs a name"),
        ("name: test\n", "", ["V002 tinify"], "write `name: my-spec`"),
        ("name: test", "summary: [a]\nname: test", ["T001 [a]"], "summary is text"),
        ("params:", "parms:", ["N002 parms", "P001 N: 12", "X001 N, kernel", "X001 N}"], "did you mean 'params'"),
        ("params:\n", "params: 3\nx:\n", ["N002 3", "N002 x:", "P001 N: 12", "X001 N, kernel", "X001 N}"],
         "params is a mapping"),
        ("type: int", "type: integer", ["T002 integer"], "did you mean 'int'"),
        ("min: 1", "minimum: 1", ["P001 minimum"], "a parameter has no key 'minimum'"),
        ("min: 1", "min: [1]", ["T001 [1]"], "expected a number"),
        ("multiple_of: 4", "multiple_of: 0", ["T001 0"], "expected a number"),
        ("default: 8", "default: 10", ["T001 10"], "a multiple of 4; got 10"),
        ("default: 8, ", "", ["P002 params"], "pass N=..., or choose a preset"),
        ("  N: {", "  if: 3\n  N: {", ["P004 if"], "'if' cannot be a parameter's name"),
        ("{N: 12}", "{K: 12}", ["P001 K"], "there are: N"),
        ("training: {lmbda", "train: {lmbda", ["N002 train:"], "did you mean 'training'"),
        ("q1: {params: {N: 12}, training: {lmbda: 0.1}}", "q1: 3", ["N002 3"], "'q1' is a mapping"),
        ("{metric: mse}", "mse", ["N002 mse"], "training is a mapping"),
        ("type: autoencoder", "kind: autoencoder", ["N001 kind"], "a mapping without `type`"),
        ("type: autoencoder", "type: conv", ["R001 conv"], "'conv' is of kind layer"),
        ("type: autoencoder", "type: [a]", ["R001 [a]"], "`type` is the name of a model"),
        ("out: N, kernel: 5", "out: N, kernal: 5", ["P001 kernal"], "did you mean 'kernel'"),
        ("kernel: 5", "kernel: 4", ["C001 {type: conv, out: N"], "must be odd"),
        ("kernel: 5", "kernel: 33", ["T001 33"], "at most 31; got 33"),
        ("kernel: 5", "kernel: 2 + big", ["X001 big"], "unknown name 'big'"),
        ("kernel: 5", "kernel: '2 + big'", ["X001 big"], "unknown name 'big'"),
        ("out: N,", "out: N / 3,", ["T001 N / 3"], "use // for integer division"),
        ("out: N,", "out: max(N, 3),", ["X001 (N", "P001 3)"], "quote values that contain"),
        ("out: N,", "", ["P002 conv"], "conv needs 'out'"),
        ("do: gdn", "do: gnd", ["R001 gnd"], "did you mean 'gdn'"),
        ("do: gdn", "does: gdn", ["N003 {repeat", "N003 does"], "repeat needs `do`"),
        ("repeat: 2", "repeat: 257", ["N004 257"], "allowed are 0 to 256"),
        ("repeat: 2", "repeat: two", ["X001 two"], "unknown name 'two'"),
        ("y: gaussian_conditional", "y: [gaussian_conditional]", ["N001 [gauss"], "got a list"),
        ("y: gaussian_conditional", "y:", ["N001 "], "expected a latent_codec, got nothing"),
        ("    y: gaussian_conditional\n", "", ["P003 hyperprior"], "hyperprior needs 'y'"),
        ("out: 2*N", "out: N", ["C001 gaussian"], "take side information of 16ch@1/2"),
        ("h_a: [{type: conv, out: 4}]", "h_a: []", ["C001 gaussian"], "the side information is 16ch@1/1"),
        ("out: 3}", "out: 4}", ["C001 {type: deconv, out: 4"], "at the picture's shape, 3ch@1/1; it ends at 4ch@1/1"),
        ("out: 3}", "out: 1.5}", ["T001 1.5"], "expected an integer, got 1.5"),
        ("- {type: deconv, out: 3}", "- 3", ["N001 3"], "or a list of these"),
        ("model:", "modell:", ["N002 tinify", "N002 modell"], "a spec needs `model`"),
    ],
)  # fmt: skip
def test_each_error_has_its_place_and_a_way_out(old: str, new: str, expected: list[str], message: str) -> None:
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    found = [f"{code} {place}" for code, place in errors(text)]
    assert len(found) == len(expected)
    assert all(place.startswith(start) for place, start in zip(found, expected, strict=True)), found
    with pytest.raises(SpecError) as caught:
        Spec.loads(text).elaborate()
    assert message in str(caught.value)


def test_all_errors_come_at_once_in_the_order_of_the_lines() -> None:
    text = GOOD.replace("name: test", "nam: test").replace("kernel: 5", "kernel: '3 +'").replace("do: gdn", "do: gnd")
    text = (
        text.replace("out: 4", "out: no")
        .replace("y: gaussian_conditional", "y: gaussian")
        .replace("type: deconv, out: 3", "type: 3")
    )
    assert [code for code, _ in errors(text)] == ["V002", "N002", "X001", "R001", "X001", "R001", "R001"]


def test_an_error_looks_like_this() -> None:
    with pytest.raises(SpecError) as caught:
        Spec.loads(GOOD.replace("do: gdn", "do: gnd"), "specs/my.yaml").elaborate()
    assert str(caught.value) == (
        "specs/my.yaml:12:23: error[R001]: unknown transform 'gnd'\n"
        "  12 |     - {repeat: 2, do: gnd}\n"
        "     |                       ^\n"
        "  = hint: did you mean 'gdn'?"
    )


def test_a_parameter_in_error_is_reported_once() -> None:
    assert errors(GOOD.replace("default: 8", "default: 8.5")) == [("T001", "8.5, min: 1, max: 64, multiple_of: 4}")]


def test_many_errors_are_cut_and_errors_survive_pickling() -> None:
    text = GOOD.replace("    - {repeat: 2, do: gdn}\n", "    - {type: conv, owt: 1}\n" * 30)
    with pytest.raises(DiagnosedSpecError) as caught:
        Spec.loads(text).elaborate()
    assert len(caught.value.diagnostics) == 60
    assert str(caught.value).endswith(f"... and {60 - MAX_SHOWN} more errors")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_bomb_of_repeats_is_refused() -> None:
    body = "relu"
    for _ in range(20):
        body = f"{{repeat: 256, do: {body}}}"
    assert errors(GOOD.replace("{repeat: 2, do: gdn}", body))[0][0] == "N005"


def test_a_tower_of_repeats_of_nothing_is_refused() -> None:
    body = "[]"
    for _ in range(20):
        body = f"{{repeat: 256, do: {body}}}"
    assert errors(GOOD.replace("{repeat: 2, do: gdn}", body))[0][0] == "N005"


def test_a_deep_nest_of_codecs_is_followed_to_its_end() -> None:
    nest = "y: {type: hyperprior, hyper: {type: hyper, h_a: [], h_s: [{type: conv, out: 2*N, kernel: 1, stride: 1}]}, "
    depth = 58
    text = GOOD.replace("y: gaussian_conditional", nest * depth + "y: gaussian_conditional" + "}" * depth)
    made = Spec.loads(text).elaborate()
    assert Architecture.from_json(made.to_json()) == made


@pytest.mark.parametrize("layer", ["{type: conv, out: 4, stride: 16}", "{type: pixel_unshuffle, factor: 16}"])
def test_shapes_have_limits(layer: str) -> None:
    found = errors(GOOD.replace("{repeat: 2, do: gdn}", f"{{repeat: 8, do: {layer}}}"))
    assert {code for code, _ in found} == {"C002"}


@settings(max_examples=150)
@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 12),
    st.text("{}[]:,- N013*/x'\"\n&!", max_size=6),
    st.sampled_from([None, "q1"]),
)
def test_any_damage_gives_a_spec_or_a_named_error(at: int, cut: int, put: str, preset: str | None) -> None:
    with contextlib.suppress(SpecError, UnknownNameError):
        made = Spec.loads(GOOD[:at] + put + GOOD[at + cut :]).elaborate(preset)
        assert Architecture.from_json(made.to_json()) == made


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of this test alone, which specs use."""
    mine = Registry(disabled=())
    monkeypatch.setattr(tinify.registry, "_current", mine)
    return mine


def layer(registry: Registry, rule: Any, **options: Any) -> None:
    made = component("layer", "acme/x", target="acme:X", **options)(type("X", (), {"shape": rule}))
    registry.register(made, namespace="acme")


def with_layer() -> Architecture:
    return Spec.loads(GOOD.replace("do: gdn", "do: acme/x")).elaborate()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda self, x: 3, "returned 3, expected a Sig"),
        (lambda self, x: None, "returned None, expected a Sig"),
        (lambda self, x: x.channels / 0, "failed: ZeroDivisionError"),
        (lambda self: None, "failed: TypeError"),
    ],
)
def test_a_wrong_shape_rule_is_the_plugins_fault(registry: Registry, rule: Any, message: str) -> None:
    layer(registry, rule)
    with pytest.raises(PluginError, match=message) as caught:
        with_layer()
    assert "layer 'acme/x' (plugin acme (" in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda self, slots, x: x, r"leaves out the slots \['inner'\]"),
        (lambda self, slots, x: slots("outer", x), "asks for slot 'outer', which it has not"),
        (lambda self, slots, x: slots("inner", slots("inner", x)), "asks for slot 'inner', twice"),
        (lambda self, slots, x: slots("inner", 3), "AttributeError"),
    ],
)
def test_a_shape_rule_must_visit_every_slot_once(registry: Registry, rule: Any, message: str) -> None:
    layer(registry, rule, slots={"inner": Slot("transform", default="relu")})
    with pytest.raises(PluginError, match=message):
        with_layer()


def test_a_layer_may_have_children(registry: Registry) -> None:
    layer(registry, lambda self, slots, x: slots("inner", x), slots={"inner": Slot("transform", default="relu")})
    assert with_layer().model["g_a"][1]["inner"] == {"type": "relu", "version": 1, "kind": "layer", "in": 8}


def test_a_shape_error_is_reported_at_the_layer(registry: Registry) -> None:
    def rule(self: Any, x: Sig) -> Sig:
        raise ShapeError(f"no {x}")

    layer(registry, rule)
    with pytest.raises(SpecError, match=r"12:23: error\[C001\]: acme/x: no 8ch@1/2"):
        with_layer()


def test_a_deprecated_component_warns_with_its_place(registry: Registry) -> None:
    layer(registry, lambda self, x: x, deprecated="use gdn")
    with pytest.warns(FutureWarning, match=r"<string>:12:23: layer 'acme/x' is deprecated: use gdn"):
        with_layer()
