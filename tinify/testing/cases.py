"""Cases: one component, or one kernel, with the arguments and inputs that a check meets it with."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from tinify.errors import InputError, SpecError
from tinify.models import build_part
from tinify.models.domain import PICTURES
from tinify.plugin import REQUIRED, Component, Kernel, MultipleOf, Parameter, Range, Sig, Slot
from tinify.spec import Part, elaborate_part

Inputs = tuple[Sig | None, ...]

# The plainest part of each kind: what fills a slot that has no default.
SIMPLEST: dict[str, Any] = {
    "layer": {"type": "offset", "value": 0.0},
    "transform": [{"type": "offset", "value": 0.0}],
    "entropy_model": "entropy_bottleneck",
    "latent_codec": "entropy_bottleneck",
    "coder": "ans",
    "loss": "rate_distortion",
}
_CHANNELS = (8, 16, 12, 18, 64, 3, 1)
# Not 1, so that a shape rule which forgets the stride of its input is found out.
_STRIDE = Fraction(4)
_MANY = 8


@dataclass(frozen=True)
class Case:
    """A component with ``arguments`` (parameters and slots, as in a spec) and the ``inputs`` of its shape rule."""

    component: Component
    arguments: Mapping[str, Any]
    inputs: Inputs

    @property
    def node(self) -> dict[str, Any]:
        """The component as a spec would write it."""
        return {"type": self.component.key, **self.arguments}

    @property
    def label(self) -> str:
        """The component's name and arguments: ``acme/gdn[groups=4]``."""
        words = [f"{key}={_short(value)}" for key, value in self.arguments.items()]
        return self.component.name + (f"[{','.join(words)}]" if words else "")

    def part(self) -> Part:
        """The component, elaborated: its canonical form, its output, its rows."""
        return elaborate_part(self.component.kind, self.node, *self.inputs)

    def build(self, seed: int = 0) -> Any:
        """The object, its weights drawn from that seed."""
        torch.manual_seed(seed)
        return build_part(self.component.kind, self.node, *self.inputs)

    @property
    def unit(self) -> int:
        """What the lengths of the first input must be multiples of."""
        first = self._first()
        ratios = [row.output.stride / first.stride for row in self.part().rows if row.output]
        return math.lcm(*(ratio.numerator for ratio in ratios))

    def sizes(self) -> list[tuple[int, ...]]:
        """Three sizes of the first input, (height, width) if it has two axes: multiples of the unit, even and odd."""
        sizes = PICTURES.extents(self.unit)
        return [(height * width // self.unit,) for height, width in sizes] if self._first().axes == 1 else sizes

    def tensors(self, size: tuple[int, ...] | None = None, batch: int = 2, seed: int = 0) -> list[Tensor]:
        """A normal float32 tensor for each input that there is, the first of that ``size``."""
        generator = torch.Generator().manual_seed(seed)
        first, lengths = self._first(), size or self.sizes()[0]
        ratios = [(sig, first.stride / sig.stride) for sig in self.inputs or (first,) if sig]
        return [
            torch.randn(batch, sig.channels, *(int(length * ratio) for length in lengths), generator=generator)
            for sig, ratio in ratios
        ]

    def _first(self) -> Sig:
        """The first input; a model's is the picture."""
        rows = self.part().rows
        return (self.inputs and self.inputs[0]) or (rows[0].inputs and rows[0].inputs[0]) or Sig(1)


Sample = Callable[[tuple[int, ...], torch.dtype], tuple[Any, ...]]


@dataclass(frozen=True)
class KernelCase:
    """A kernel, with ``sample(shape, dtype)``, which gives arguments of its operator on the CPU."""

    kernel: Kernel
    sample: Sample

    @property
    def component(self) -> Kernel:
        return self.kernel

    @property
    def label(self) -> str:
        """The operator and the device: ``acme::blur-cuda``."""
        return f"{self.kernel.op}-{self.kernel.device}"


def cases_of(
    component: Component, given: Sequence[Mapping[str, Any]] | None, inputs: Sig | Sequence[Sig | None] | None
) -> list[Case]:
    """The cases of a component: those given, else its defaults with small values where a parameter has none."""
    found = [dict(arguments) for arguments in given] if given is not None else derived_arguments(component)
    known = None if inputs is None else (inputs,) if isinstance(inputs, Sig) else tuple(inputs)
    return [Case(component, arguments, _inputs(component, arguments, known)) for arguments in found]


def derived_arguments(component: Component) -> list[dict[str, Any]]:
    """Arguments for what has no default, in as many ways as its required choices have."""
    found: list[dict[str, Any]] = [{}]
    for name, parameter in component.params.items():
        if parameter.default is REQUIRED:
            values = _small_values(name, parameter)
            found = [{**arguments, name: value} for arguments in found for value in values]
    slots = {name: SIMPLEST[slot.kind] for name, slot in component.slots.items() if _must_fill(slot)}
    return [{**arguments, **slots} for arguments in found]


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a callable; ``[]`` where it does not tell."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _must_fill(slot: Slot) -> bool:
    return slot.default is None and not slot.optional and slot.kind in SIMPLEST


def _small_values(name: str, parameter: Parameter) -> list[Any]:
    if parameter.optional:
        return [None]
    if parameter.choices:
        values: list[Any] = list(parameter.choices)
    elif parameter.type in (int, float):
        values = [_small_number(name, parameter)]
    else:
        values = [False if parameter.type is bool else "a"]
    return [[value, value] for value in values] if parameter.many else values


def _small_number(name: str, parameter: Parameter) -> int | float:
    ranges = [limit for limit in parameter.limits if isinstance(limit, Range)]
    low = max((limit.low for limit in ranges if limit.low is not None), default=0)
    high = min((limit.high for limit in ranges if limit.high is not None), default=math.inf)
    if parameter.type is float:
        return float(min(max(0.5, low), high))
    step = math.lcm(*(int(limit.step) for limit in parameter.limits if isinstance(limit, MultipleOf)))
    wanted = max(low, _MANY if name == "out" or "channels" in name or "groups" in name else 1)
    return int(min(math.ceil(wanted / step) * step, high))


def _inputs(component: Component, arguments: Mapping[str, Any], given: Inputs | None) -> Inputs:
    """The inputs given, or the first candidates that the shape rule takes."""
    candidates = (
        _candidates(component, arguments) if given is None else [given if isinstance(given, tuple) else (given,)]
    )
    problem: SpecError | None = None
    for inputs in candidates:
        try:
            elaborate_part(component.kind, {"type": component.key, **arguments}, *inputs)
        except SpecError as error:
            problem = problem or error
        else:
            return inputs
    raise InputError(
        f"no inputs are known for {component} with {dict(arguments)}: "
        f"pass inputs={{{component.name!r}: Sig(...)}}, or other cases. What it says of the first tried:\n{problem}"
    )


def _candidates(component: Component, arguments: Mapping[str, Any]) -> Iterable[Inputs]:
    if component.kind in ("model", "coder", "loss", "picture_codec"):
        return [()]
    own = [value for value in arguments.values() if type(value) is int and value > 0]
    ys = [Sig(channels, _STRIDE, axes) for axes in (2, 1) for channels in (*_CHANNELS, *own)]
    if component.kind != "latent_codec":
        return [(y,) for y in ys]
    return [(y, *side) for y in ys for side in ((), (y.with_channels(2 * y.channels),), (y,))]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("type", "..."))
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return f"[{len(value)}]"
    return str(value).replace(" ", "")
