"""Portable models: whatever chooses their coding tables is integers, so that every machine decodes the same symbols."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tinify.errors import CheckpointError, CorruptStreamError, InputError
from tinify.exact import (
    CARRIERS,
    ExactGain,
    ExactLayer,
    IndexHead,
    exact_layers,
    exchange,
    fitted,
    probe,
    shell,
    straight_through,
    use_carrier,
    watched,
)
from tinify.exact import settle as settle_layers
from tinify.exact.convert import LAYERS, changes
from tinify.exact.layers import parameters_of
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.parameters import LINKS, Chunks
from tinify.latent_codecs.stream import Shape
from tinify.latent_codecs.witness import witness
from tinify.models.base import CompressionModel, SimpleVAECompressionModel
from tinify.models.build import build_model

FLOAT, PORTABLE = "float32", "portable"
MOST_BYTES = 2048
"""Of a self-test, in strings."""


def index_path(model: nn.Module) -> list[str]:
    """Paths of the parts that choose coding tables, or are fed to those that do, as latent codecs name them."""
    return [path for path, _ in _deciding(model)]


def make_portable(
    model: CompressionModel,
    calibrate: Callable[[CompressionModel], Any],
    tune: Callable[[CompressionModel, list[str]], Any] | None = None,
) -> None:
    """Exchanges, in place, what chooses coding tables by integers that fit what ``calibrate(model)`` sends through it.

    ``tune(model, paths)`` may train the layers at these paths with their rounding in place, before it is for good: see
    :func:`~tinify.exact.fine_tune`.
    The model is set to evaluation. Raises :class:`~tinify.errors.InputError` for parts that have no exact form.
    """
    if model.arithmetic == PORTABLE:
        raise InputError("this model is portable already: freeze the float model that it was made from")
    _refuse(model)
    model.eval()
    model.ensure_tables()
    paths = index_path(model)
    with watched(model, paths) as seen, torch.no_grad():
        calibrate(model)
    if tune and any(isinstance(change.module, LAYERS) for change in changes(model, paths)):
        straight_through(model, paths, seen)
        tune(model, paths)
        settle_layers(model)
    else:
        exchange(model, paths, lambda change: fitted(change, seen))
    for codec, split in _splits(model):
        density = codec.gaussian_conditional
        assert split.head is not None
        split.head.fit(LINKS[split.scale_link], density.scale_table, float(density.lower_bound_scale.bound))
    model.arithmetic = PORTABLE


def portable_shell(model: CompressionModel) -> None:
    """Gives a model, in place, the form that :func:`make_portable` does, its integers to be loaded."""
    exchange(model, index_path(model), shell)
    list(_splits(model))
    model.arithmetic = PORTABLE


def thawed(model: CompressionModel) -> CompressionModel:
    """A float model of the weights that a portable one's integers stand for, to be trained further.

    Its coding tables are those of the portable one, until training forgets them.
    """
    assert model.architecture is not None
    made = build_model(model.architecture)
    state = made.state_dict()
    state |= {name: tensor for name, tensor in model.state_dict().items() if name in state}
    for change in changes(made, index_path(made)):
        exact, module = model.get_submodule(change.path), cast(Any, change.module)
        if isinstance(exact, ExactLayer):
            found = parameters_of(module, exact)
            state |= {f"{change.path}.{name}": tensor for name, tensor in found.items()}
        elif isinstance(exact, ExactGain):
            state[f"{change.path}.log_gain"] = exact.log_gain_of()
    made.load_state_dict(state)
    return made.eval()


def check_bounds(model: CompressionModel) -> None:
    """Raises :class:`~tinify.errors.InputError` where integers of a portable model leave what the carriers hold."""
    for path, layer in exact_layers(model):
        layer.check(path)


@dataclass(frozen=True)
class SelfTest:
    """A short message, and the checksum of the symbols in it: a device that finds others is not exact."""

    strings: tuple[bytes, ...]
    shape: Shape
    quality: float | None
    checksum: int

    @classmethod
    def of(cls, model: CompressionModel) -> SelfTest:
        """A test of a model: of several noisy pictures that whose strings take most, up to ``MOST_BYTES``."""
        stride = model.architecture.stride if model.architecture else 64
        patterns = (
            _pattern(model.channels, side * stride, contrast)
            for side in (4, 2, 1)
            for contrast in (1.0, 0.5, 0.25, 0.12, 0.06, 0.0)
        )
        short = [test for test in (cls._of(model, x) for x in patterns) if test.size <= MOST_BYTES]
        if not short:
            raise InputError(f"no picture of this model takes less than {MOST_BYTES} bytes: no self-test can be made")
        return max(short, key=lambda test: test.size)

    @property
    def size(self) -> int:
        """Bytes of its strings."""
        return sum(map(len, self.strings))

    @classmethod
    def _of(cls, model: CompressionModel, x: Tensor) -> SelfTest:
        quality = model.default_quality
        asked: dict[str, Any] = {} if quality is None else {"quality": quality}
        with witness() as seen:
            packed = model.compress(x.to(device_of(model)), **asked)
        return cls(tuple(one[0] for one in packed["strings"]), tuple(packed["shape"]), quality, seen.checksum)

    def passes(self, model: SimpleVAECompressionModel) -> bool:
        """Whether a model, where it is, decodes the symbols that were coded."""
        asked: dict[str, Any] = {} if self.quality is None else {"quality": self.quality}
        try:
            with witness() as seen, torch.no_grad():
                model.latent_codec.decompress([[one] for one in self.strings], torch.Size(self.shape), **asked)
        except CorruptStreamError:
            return False
        return seen.checksum == self.checksum

    def to_json(self) -> str:
        strings = [base64.b64encode(string).decode() for string in self.strings]
        known = {"strings": strings, "shape": self.shape, "quality": self.quality, "checksum": self.checksum}
        return json.dumps(known)

    @classmethod
    def from_json(cls, text: str) -> SelfTest:
        """The test in a checkpoint; :class:`~tinify.errors.CheckpointError` for any other text."""
        try:
            known = json.loads(text)
            strings = tuple(base64.b64decode(string, validate=True) for string in known["strings"])
            return cls(strings, tuple(map(int, known["shape"])), known["quality"], int(known["checksum"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the self-test in this checkpoint is damaged: {error!r}") from error


def settle(model: CompressionModel) -> None:
    """Has a portable model decode its self-test where it is; one that fails computes tables in float64 on the CPU.

    One warning says so. Raises :class:`~tinify.errors.CheckpointError` where that fails as well.
    """
    test = model.self_test
    if test is None:
        return
    assert isinstance(model, SimpleVAECompressionModel)  # no other has a test
    device = device_of(model.latent_codec)
    if model.settled == device:
        return
    model.settled = device
    if probe(device, CARRIERS[0]) and test.passes(model):
        return
    use_carrier(model, "float64")
    model.latent_codec.to("cpu")
    model.settled = torch.device("cpu")
    if not test.passes(model):
        raise CheckpointError(
            "this model decodes its own self-test neither where it is nor in float64 on the CPU: its file is damaged, "
            "or was frozen by another version of tinify"
        )
    warnings.warn(
        f"float32 arithmetic of {device.type} is not exact here: coding tables are chosen in float64 on the CPU",
        stacklevel=2,
    )


def device_of(module: nn.Module) -> torch.device:
    """Where a module's tensors are; the CPU if it has none."""
    tensors = (tensor for found in (module.parameters(), module.buffers()) for tensor in found)
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _deciding(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, codec in model.named_modules():
        for name in codec.decides if isinstance(codec, LatentCodec) else ():
            part = getattr(codec, name, None)
            if isinstance(part, nn.Module):
                yield (f"{path}.{name}" if path else name), part


def _splits(model: nn.Module) -> Iterator[tuple[Any, Chunks]]:
    """Every latent codec whose scales go through a link, with what splits them; there are heads from then on."""
    for module in model.modules():
        codec: Any = module
        split = getattr(codec, "split", None)
        if isinstance(split, Chunks) and split.scale_link != "identity":
            split.head = split.head or IndexHead(len(codec.gaussian_conditional.scale_table))
            yield codec, split


def _refuse(model: CompressionModel) -> None:
    if not isinstance(model, SimpleVAECompressionModel):
        raise InputError(f"{type(model).__name__} has no portable form: expected g_a, a latent codec and g_s")
    for path, split in model.named_modules():
        if isinstance(split, Chunks) and "weights" in split.chunks:
            raise InputError(f"{path}: a mixture is coded by probabilities of its own, which have no exact form")


def _pattern(channels: int, side: int, contrast: float) -> Tensor:
    """A grey picture with squares of noise, from integers."""
    place = torch.arange(channels * side * side)
    noise = (place * 2654435761 % 4294967291 >> 16) % 256
    return (0.5 + contrast * (noise.reshape(1, channels, side, side) / 255.0 - 0.5)).float()
