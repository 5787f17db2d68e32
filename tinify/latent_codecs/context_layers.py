"""What the network of a raster-scan context model is made of, where it has the field's form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeGuard, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tinify.exact import Entry, ExactLayer, Geometry

T = TypeVar("T")


@dataclass(frozen=True)
class Layer:
    """Sums of products: ``weight`` is (outputs, inputs), what is negative is multiplied by ``slope`` afterwards.

    That of an exact model has an ``entry``, which makes integers of each channel that comes in.
    """

    weight: Tensor
    bias: Tensor | None
    slope: float = 1.0
    entry: Entry | None = None


@dataclass(frozen=True, eq=False)
class ContextLayers:
    """A masked convolution of what is decoded, then layers of 1x1 kernels over the side information and it.

    These are copies of the modules' weights as they were. The inputs of ``context`` are the taps before the position,
    in the order of the raster, all channels of each. The first layer after it is in two parts: ``side`` sees the side
    information, and ``dense[0]`` adds what it sees of the context.
    """

    channels: int
    kernel: int
    context: Layer
    side: Layer
    dense: tuple[Layer, ...]
    _derived: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, context_prediction: nn.Module, entropy_parameters: nn.Module) -> ContextLayers | None:
        """The layers of two modules; None where they are of another kind.

        ``context_prediction`` is a convolution with a mask of type A (an odd square kernel, padding that keeps the
        size); ``entropy_parameters`` is 1x1 convolutions with ReLU or LeakyReLU between, which see
        ``cat(side, context)``. Weights are float32, or the integers of exact layers, all on one device.
        """
        tensors = list(_tensors(context_prediction, entropy_parameters))
        if any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors):
            return None
        if device_of(context_prediction, entropy_parameters) is None:
            return None
        # In-place changes through .data leave a version as it is, but hardly ever a sum.
        state = [(t.data_ptr(), t._version, float(t.detach().sum())) for t in tensors]
        known = _known.get(context_prediction)
        if known is None or known[0] is not entropy_parameters or known[1] != state:
            known = entropy_parameters, state, cls._of(context_prediction, entropy_parameters)
            _known[context_prediction] = known
        return known[2]

    @classmethod
    def _of(cls, context_prediction: nn.Module, entropy_parameters: nn.Module) -> ContextLayers | None:
        dense = _dense_layers(entropy_parameters)
        if not dense or not (_is_context(context_prediction) or _is_exact_context(context_prediction)):
            return None
        if any(len(one.weight) != two.weight.shape[1] for one, two in pairwise(dense)):
            return None
        channels, kernel = context_prediction.in_channels, context_prediction.kernel_size[0]
        context = _context_layer(context_prediction)
        at = dense[0].weight.shape[1] - len(context.weight)
        if at < 0:
            return None
        side, rest = _parted(dense[0], at)
        return cls(channels, kernel, context, side, (rest, *dense[1:]))

    def derive(self, name: str, build: Callable[[ContextLayers], T]) -> T:
        """What is made of the layers, at the first call, and kept under that name."""
        if name not in self._derived:
            self._derived[name] = build(self)
        kept: T = self._derived[name]
        return kept


_known: WeakKeyDictionary[nn.Module, tuple[nn.Module, list[Any], ContextLayers | None]] = WeakKeyDictionary()
"""The last layers by their convolution, with the state of the weights that they were made of."""


def device_of(*modules: nn.Module) -> torch.device | None:
    """The device that all weights of modules are on; None where there are several, or no weights."""
    devices = {t.device for t in _tensors(*modules)}
    return devices.pop() if len(devices) == 1 else None


def _tensors(*modules: nn.Module) -> Iterator[Tensor]:
    return (t for module in modules for kind in (module.parameters(), module.buffers()) for t in kind)


def is_causal(convolution: nn.Module) -> bool:
    """Whether a convolution's mask hides the position itself and all that comes after it."""
    if isinstance(convolution, ExactLayer):
        height, width = convolution.kernel_size
        return all(row * width + column < height * width // 2 for row, column in convolution.geometry.taps)
    mask = getattr(convolution, "mask", None)
    if not isinstance(mask, Tensor):
        return False
    taps = mask.flatten(2)
    return mask.is_meta or not bool(taps[..., taps.shape[2] // 2 :].any())


def _dense_layers(module: nn.Module) -> list[Layer]:
    """The layers of 1x1 kernels that a module is; none where it is anything else."""
    layers: list[Layer] = []
    for part in _parts(module):
        if isinstance(part, nn.Conv2d) and _is_pointwise(part):
            layers.append(Layer(part.weight.detach().flatten(1).clone(), _copy(part.bias)))
        elif isinstance(part, ExactLayer) and part.geometry == Geometry():
            weight, bias = part.floats()
            layers.append(Layer(weight.t().contiguous(), bias, entry=part.entry.part(0, part.in_channels)))
        elif type(part) in (nn.ReLU, nn.LeakyReLU) and layers and layers[-1].slope == 1:
            layers[-1] = replace(layers[-1], slope=float(getattr(part, "negative_slope", 0)))
        elif type(part) is not nn.Identity:
            return []
    return layers


def _context_layer(convolution: nn.Conv2d | ExactLayer) -> Layer:
    """A convolution as a layer over the taps before the position."""
    kernel, channels = convolution.kernel_size[0], convolution.in_channels
    before = kernel * kernel // 2
    if isinstance(convolution, ExactLayer):
        weight, bias = convolution.floats()
        taps = weight.new_zeros(before, channels, convolution.out_channels)
        for place, (row, column) in enumerate(convolution.geometry.taps):
            taps[row * kernel + column] = weight[place * channels : (place + 1) * channels]
        return Layer(taps.flatten(0, 1).t().contiguous(), bias, entry=convolution.entry.part(0, channels))
    seen = (convolution.weight.detach() * convolution.mask).flatten(2)  # type: ignore[operator]
    return Layer(seen[:, :, :before].transpose(1, 2).flatten(1).contiguous(), _copy(convolution.bias))


def _parted(layer: Layer, at: int) -> tuple[Layer, Layer]:
    """A layer as two whose sums are its own: the first sees the inputs before ``at``, and starts the second."""
    weight, entry, inputs = layer.weight, layer.entry, layer.weight.shape[1]
    one, other = (None, None) if entry is None else (entry.part(0, at), entry.part(at, inputs))
    first = Layer(weight[:, :at].clone(), layer.bias, entry=one)
    return first, replace(layer, weight=weight[:, at:].clone(), bias=None, entry=other)


def _copy(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach().clone()


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for part in module:
            yield from _parts(part)
    else:
        yield module


def _is_pointwise(layer: nn.Conv2d) -> bool:
    plain = type(layer).forward is nn.Conv2d.forward and not isinstance(layer.padding, str)
    return plain and _form(layer) == ((1, 1), (1, 1), (0, 0), 1)


def _is_context(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a convolution that keeps the size and sees nothing but what comes before a position."""
    if not isinstance(module, nn.Conv2d) or not isinstance(getattr(module, "mask", None), Tensor):
        return False
    size, pad = module.kernel_size[0], module.kernel_size[0] // 2
    plain = _form(module) == ((size, size), (1, 1), (pad, pad), 1) and size % 2 == 1
    plain = plain and module.padding_mode == "zeros" and module.dilation == (1, 1)
    return plain and module.mask.shape == module.weight.shape and is_causal(module)


def _is_exact_context(module: nn.Module) -> TypeGuard[ExactLayer]:
    """The same of an exact one, whose window ends with the last tap that counts."""
    if not isinstance(module, ExactLayer) or not module.geometry.taps:
        return False
    size, pad, (height, width) = module.kernel_size[0], module.kernel_size[0] // 2, module.geometry.size
    plain = Geometry(module.geometry.taps, pad=(pad, height - 1 - pad, pad, width - 1 - pad))
    return module.kernel_size == (size, size) and size % 2 == 1 and module.geometry == plain and is_causal(module)


def _form(layer: nn.Conv2d) -> tuple[Any, ...]:
    return layer.kernel_size, layer.stride, layer.padding, layer.groups
