"""Portable models: whatever chooses their coding tables is integers, so that every machine decodes the same symbols."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from tinify.container import PROFILES
from tinify.errors import CheckpointError, CorruptStreamError, InputError
from tinify.exact import (
    CARRIERS,
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
from tinify.models.base import CompressionModel
from tinify.models.build import build_model

FLOAT, PORTABLE = PROFILES
MOST_BYTES = 2048
"""Of a self-test, in strings."""


def index_path(model: nn.Module) -> list[str]:
    """Paths of the parts that choose coding tables, or are fed to those that do, as latent codecs name them."""
    return [
        f"{path}.{name}" if path else name
        for path, codec in model.named_modules()
        for name in (codec.decides if isinstance(codec, LatentCodec) else ())
        if isinstance(getattr(codec, name, None), nn.Module)
    ]


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
    if not latent_codecs(model):
        raise InputError(f"{type(model).__name__} has no portable form: it has no latent codec")
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
        exact, module = cast(Any, model.get_submodule(change.path)), cast(Any, change.module)
        if isinstance(exact, ExactLayer):
            found = parameters_of(module, exact)
            state |= {f"{change.path}.{name}": tensor for name, tensor in found.items()}
        elif hasattr(exact, "thawed"):
            state |= {f"{change.path}.{name}": tensor for name, tensor in exact.thawed().items()}
    made.load_state_dict(state)
    return made.eval()


def check_bounds(model: CompressionModel) -> None:
    """Raises :class:`~tinify.errors.InputError` where integers of a portable model leave what the carriers hold."""
    for path, layer in exact_layers(model):
        layer.check(path)


def latent_codecs(model: nn.Module) -> dict[str, LatentCodec]:
    """The outermost latent codecs of a model by their paths: those that code the latents it makes."""
    found: dict[str, LatentCodec] = {}
    for path, module in model.named_modules():
        if isinstance(module, LatentCodec) and not any(path.startswith(f"{known}.") for known in found):
            found[path] = module
    return found


@dataclass(frozen=True)
class Message:
    """The strings of a latent, and the path of the latent codec that decodes them."""

    codec: str
    strings: tuple[bytes, ...]
    shape: Shape


@dataclass(frozen=True)
class SelfTest:
    """Short messages, and the checksum of the symbols in them: a device that finds others is not exact."""

    messages: tuple[Message, ...]
    quality: float | None
    checksum: int

    @classmethod
    def of(cls, model: CompressionModel) -> SelfTest:
        """A test of a model: of several noisy pictures that whose strings take most, up to ``MOST_BYTES``."""
        stride = model.architecture.stride if model.architecture else 64
        # Of a model with several latent codecs, two: one may code what is new in a picture after another.
        count = min(2, len(latent_codecs(model)))
        patterns = (
            _pattern(count, model.channels, side * stride, contrast)
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
        return sum(len(string) for message in self.messages for string in message.strings)

    @classmethod
    def _of(cls, model: CompressionModel, x: Tensor) -> SelfTest:
        quality = model.default_quality
        with _latents(model) as latents, suppress(_EnoughError), torch.no_grad():
            model(x.to(device_of(model)), **_asked(quality))
        messages = []
        with witness() as seen:
            for path, y in latents.items():
                codec: Any = model.get_submodule(path)
                packed = codec.compress(y, **_asked(quality))
                messages.append(Message(path, tuple(one[0] for one in packed["strings"]), tuple(packed["shape"])))
        return cls(tuple(messages), quality, seen.checksum)

    def passes(self, model: CompressionModel) -> bool:
        """Whether a model, where it is, decodes the symbols that were coded."""
        try:
            with witness() as seen, torch.no_grad():
                for message in self.messages:
                    codec: Any = model.get_submodule(message.codec)
                    strings = [[one] for one in message.strings]
                    codec.decompress(strings, torch.Size(message.shape), **_asked(self.quality))
        except CorruptStreamError:
            return False
        return seen.checksum == self.checksum

    def to_json(self) -> str:
        messages = [
            {**vars(one), "strings": [base64.b64encode(string).decode() for string in one.strings]}
            for one in self.messages
        ]
        return json.dumps({"messages": messages, "quality": self.quality, "checksum": self.checksum})

    @classmethod
    def from_json(cls, text: str) -> SelfTest:
        """The test in a checkpoint; :class:`~tinify.errors.CheckpointError` for any other text."""
        try:
            known = json.loads(text)
            messages = tuple(
                Message(
                    one["codec"],
                    tuple(base64.b64decode(string, validate=True) for string in one["strings"]),
                    tuple(map(int, one["shape"])),
                )
                for one in known["messages"]
            )
            return cls(messages, known["quality"], int(known["checksum"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the self-test in this checkpoint is damaged: {error!r}") from error


def settle(model: CompressionModel) -> None:
    """Has a portable model decode its self-test where it is; one that fails computes tables in float64 on the CPU.

    One warning says so. Raises :class:`~tinify.errors.CheckpointError` where that fails as well.
    """
    test = model.self_test
    if test is None:
        return
    codecs = latent_codecs(model).values()
    device = next(map(device_of, codecs), torch.device("cpu"))
    if model.settled == device:
        return
    model.settled = device
    if probe(device, CARRIERS[0]) and test.passes(model):
        return
    use_carrier(model, "float64")
    for codec in codecs:
        codec.to("cpu")
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


def _splits(model: nn.Module) -> Iterator[tuple[Any, Chunks]]:
    """Every latent codec whose scales choose rows through a link, with what splits them; it has a head from then on.

    What splits the others' takes functions that all machines compute alike.
    """
    for module in model.modules():
        codec: Any = module
        split = getattr(codec, "split", None)
        if isinstance(split, Chunks):
            split.reproducible = True
            if split.choosing and split.scale_link != "identity":
                split.head = split.head or IndexHead(len(codec.gaussian_conditional.scale_table))
                yield codec, split


class _EnoughError(Exception):
    """Every latent codec has been given a latent."""


@contextmanager
def _latents(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The first item of the first latent that each outermost latent codec is given, by its path.

    The model inside runs until all have one.
    """
    found: dict[str, Tensor] = {}
    codecs = latent_codecs(model)

    def noted(path: str, code: Callable[..., Tensor], y: Tensor, *args: Any) -> Tensor:
        found.setdefault(path, y[:1])
        if len(found) == len(codecs):
            raise _EnoughError
        return code(y, *args)

    for path, codec in codecs.items():
        vars(codec)["code"] = partial(noted, path, codec.code)
    try:
        yield found
    finally:
        for codec in codecs.values():
            del vars(codec)["code"]


def _asked(quality: float | None) -> dict[str, Any]:
    return {} if quality is None else {"quality": quality}


def _pattern(count: int, channels: int, side: int, contrast: float) -> Tensor:
    """Grey pictures with squares of noise, from integers."""
    place = torch.arange(count * channels * side * side)
    noise = (place * 2654435761 % 4294967291 >> 16) % 256
    return (0.5 + contrast * (noise.reshape(count, channels, side, side) / 255.0 - 0.5)).float()
