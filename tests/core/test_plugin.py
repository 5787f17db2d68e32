"""Declarations: signatures, parameters, and what ``component`` makes of a class."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import PluginError
from tinify.plugin import REQUIRED, MultipleOf, Parameter, Range, ShapeError, Sig, Slot, component

ANNOTATIONS = (int, float, bool, str, Literal["a", "b"], list[int], list[Literal["a", "b"]], int | None)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b", "c"]), st.lists, max_leaves=4
)


@component("layer", "acme/example", target="acme.layers:Example", version=3)
class Example:
    """Says what it is.

    And more.
    """

    out: Annotated[int, Range(1, 64), MultipleOf(8)]
    mode: Literal["a", "b"] = "a"
    groups: list[int] = [1, 2]  # noqa: RUF012
    bias: bool | None = None

    def shape(self, x: Sig) -> Sig:
        return x.with_channels(self.out)


def part_of(declaration: Any) -> Any:
    return declaration.__component__


@given(st.integers(1, 999), st.integers(1, 64), st.integers(1, 64))
def test_strides_compose(channels: int, a: int, b: int) -> None:
    x = Sig(channels)
    assert x.strided(a).strided(b) == x.strided(a * b)
    assert x.strided(a).strided(Fraction(1, a)) == x
    assert str(x.strided(a).with_channels(b)) == f"{b}ch@1/{a}"


def test_a_larger_output_is_written_as_a_multiple() -> None:
    assert str(Sig(3).strided(Fraction(1, 2))) == "3ch@2/1"


@given(st.sampled_from(ANNOTATIONS), values)
def test_convert_gives_the_declared_type_or_a_value_error(annotation: Any, value: Any) -> None:
    parameter = Parameter.of(annotation)
    try:
        made = parameter.convert(value)
    except ValueError:
        return
    assert parameter.convert(made) == made == value
    items = made if parameter.many else [made]
    assert all(type(item) is parameter.type or (item is None and parameter.optional) for item in items)
    assert not any(isinstance(item, float) and not math.isfinite(item) for item in items)


@given(st.integers(-100, 100), st.integers(-50, 50), st.integers(0, 50), st.integers(1, 9))
def test_limits_admit_exactly_what_they_say(value: int, low: int, width: int, step: int) -> None:
    parameter = Parameter.of(Annotated[int, Range(low, low + width), MultipleOf(step)])
    if low <= value <= low + width and value % step == 0:
        assert parameter.convert(value) == value
    else:
        with pytest.raises(ValueError, match=f"got {value}$"):
            parameter.convert(value)


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**53 + 1, math.inf, math.nan, 1.0, "1", True, None])
def test_an_integer_is_a_usual_integer(value: Any) -> None:
    with pytest.raises(ValueError, match="expected an integer"):
        Parameter(int).convert(value)


@pytest.mark.parametrize("annotation", [dict, list, Any, bytes, int | str, list[list[int]], Literal[1, 2], "int", None])
def test_other_annotations_are_refused(annotation: Any) -> None:
    with pytest.raises(TypeError):
        Parameter.of(annotation)


def test_a_declaration_carries_its_component() -> None:
    part = part_of(Example)
    assert (part.kind, part.name, part.version, part.summary) == ("layer", "acme/example", 3, "Says what it is.")
    assert [*part.params] == ["out", "mode", "groups", "bias"]
    assert part.params["out"].default is REQUIRED
    assert part.params["groups"].default == [1, 2]
    assert part.params["mode"].choices == ("a", "b")
    assert str(part.params["out"]) == "int, at least 1 and at most 64, a multiple of 8"
    assert Example(out=8).shape(Sig(3)) == Sig(8)  # type: ignore[call-arg]


def test_declarations_do_not_change() -> None:
    example = Example(out=8)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        example.out = 16
    assert repr(example.groups) == "(1, 2)"


def declare(body: dict[str, Any] | None = None, *, kind: str = "layer", name: str = "acme/x", **options: Any) -> Any:
    options = {"target": "acme:X", **options}
    attributes = {"shape": lambda self, x: x, **(body or {})}
    return component(kind, name, **options)(type("X", (), attributes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "network"}, "kind"),
        ({"name": "Acme/X"}, "name"),
        ({"name": "a/b/c"}, "name"),
        ({"name": "acme.x"}, "name"),
        ({"target": "acme"}, "target"),
        ({"target": "os; import x:y"}, "target"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"slots": {"type": Slot("layer")}}, "slots"),
        ({"slots": {"a": Slot("network")}}, "slots"),
        ({"slots": {"a": "layer"}}, "slots"),
        ({"body": {"__annotations__": {"out": dict}}}, "annotated"),
        ({"body": {"__annotations__": {"out": int}, "out": "three"}}, "expected an integer"),
        ({"body": {"__annotations__": {"out": "Missing"}}}, "Missing"),
        ({"body": {"__annotations__": {"out": ClassVar[int]}}}, "annotated"),
        ({"body": {"__annotations__": {"type": int}}}, "'type'"),
        ({"body": {"__annotations__": {"a": int}}, "slots": {"a": Slot("layer")}}, "'a'"),
    ],
)
def test_a_wrong_declaration_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        declare(**options)


def test_a_layer_needs_a_shape_rule_and_an_entropy_model_does_not() -> None:
    with pytest.raises(PluginError, match="shape rule"):
        component("layer", "acme/x", target="acme:X")(type("X", (), {}))
    model = component("entropy_model", "acme/x", target="acme:X")(type("X", (), {}))
    assert model().shape(Sig(7)) == Sig(7)


def test_fields_of_a_plain_base_class_are_refused() -> None:
    class Base:
        out: int = 1

    with pytest.raises(PluginError, match="base class"):
        component("entropy_model", "acme/x", target="acme:X")(type("X", (Base,), {}))


def test_load_imports_the_target() -> None:
    assert part_of(declare(target="math:pi")).load() == math.pi
    assert part_of(declare(target="pathlib:Path.home")).load()


@pytest.mark.parametrize("target", ["no_such_module:X", "math:no_such_name", "math:pi.x"])
def test_a_target_that_cannot_be_loaded_is_named_with_its_cause(target: str) -> None:
    with pytest.raises(PluginError, match=f"layer 'acme/x' .* {target}: (ModuleNotFound|Attribute)Error") as caught:
        part_of(declare(target=target)).load()
    assert caught.value.__cause__ is not None


def test_a_shape_error_keeps_its_slot() -> None:
    error = ShapeError("too wide", "h_s")
    assert (error.message, error.slot) == ("too wide", "h_s")


def test_declarations_and_specs_import_nothing_heavy() -> None:
    code = (
        "import sys, tinify.spec as s, tinify.registry as r; registry = r.get_registry(); registry.components();"
        "[s.Spec.load(name).elaborate() for name in registry.spec_files()];"
        "print(sorted({'torch', 'numba', 'numpy', 'triton', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
