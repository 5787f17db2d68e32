"""Faces: the field's classes, names and state-dict keys over the parts of a spec, which alone says the architecture."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tinify.errors import StateDictError, TinifyError
from tinify.latent_codecs import LatentCodec
from tinify.models.autoencoder import Autoencoder
from tinify.models.base import CompressionModel, warn_deprecated
from tinify.models.build import create_model
from tinify.models.state_dict import bare_key, checked, differences, present_key, respelt, size_of

FACES: list[type[Face]] = []


class PublishedModel(CompressionModel):
    """A published architecture as a class of the field's calls and keys; the spec :attr:`SPEC` says what it is.

    What is told of weights in a file stands here, of whatever they code: those who know only the file find the class
    by it. ``spec_model()`` is the same model under the keys of its spec.
    """

    SPEC: ClassVar[str]
    SIZES: ClassVar[Mapping[str, tuple[str, int]]] = {}
    """Where a state dict shows a parameter: the key of a tensor, and its axis."""

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """The model of a state dict, of the size that its tensors show.

        Raises :class:`~tinify.errors.StateDictError` for that of another architecture, and for NaN or infinite weights.

        >>> from tinify.models import ScaleHyperprior
        >>> again = ScaleHyperprior.from_state_dict(ScaleHyperprior(8, 12).state_dict())
        >>> again.N, again.M
        (8, 12)
        """
        renamed = checked(state_dict)
        try:
            parameters = cls.parameters_of(renamed)
        except KeyError as error:
            raise StateDictError(
                f"these weights are not those of {cls.__name__}: they have no {error}{like(renamed)}"
            ) from error
        model = cls(**parameters)
        model.load_state_dict(renamed)
        return model

    @classmethod
    def parameters_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that make a model of the sizes in a state dict; ``KeyError`` where it does not show them."""
        return {name: size_of(state_dict, key, axis) for name, (key, axis) in cls.SIZES.items()}


class Face(PublishedModel, Autoencoder):
    """A published image model as a class: its parts, made by the spec :attr:`SPEC`, under the field's names.

    :attr:`PARTS` maps those names to paths in the latent codec. Where there are any, the latent codec, which says the
    flow, holds the very same modules without being a registered child, so that no key appears twice. A module put
    under one of the names (``self.h_a = ...`` in a subclass) is the codec's part from then on.
    """

    PARTS: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "SPEC" in vars(cls):
            FACES.append(cls)

    def __init__(
        self, entropy_bottleneck_channels: int | None = None, init_weights: bool | None = None, **parameters: Any
    ) -> None:
        built: Any = create_model(self.SPEC, **parameters)
        super().__init__(built.g_a, built.latent_codec, built.g_s, built.channels)
        warn_deprecated(entropy_bottleneck_channels, init_weights)
        self.spec_node = built.spec_node
        self.architecture = built.architecture
        self.downsampling_factor = built.architecture.stride
        """Height and width of a picture are multiples of it."""
        for name, value in parameters.items():
            setattr(self, name, value)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of every model; takes the keys of a tinify checkpoint as well."""
        flat = {f"latent_codec.{path}.": f"{name}." for name, path in self.PARTS.items()}
        return super().load_state_dict(respelt(state_dict, lambda key: _swap(key, flat)), strict, assign)

    @property
    def latent_codec(self) -> LatentCodec:
        """The latent codec, made of the parts as they are now."""
        codec: LatentCodec = self._modules["latent_codec"] if not self.PARTS else self.__dict__["_flow"]  # type: ignore[assignment]
        for name, path in self.PARTS.items():
            owner, _, last = path.rpartition(".")
            holder, part = codec.get_submodule(owner), self._modules[name]
            if getattr(holder, last) is not part:
                setattr(holder, last, part)
        return codec

    @latent_codec.setter
    def latent_codec(self, codec: LatentCodec) -> None:
        self.__dict__["_flow"] = codec
        for name, path in self.PARTS.items():
            setattr(self, name, codec.get_submodule(path))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module) and name in ("g_a", "g_s", "latent_codec", *self.PARTS):
            self.architecture = None  # what the spec says no longer, once it was built
        if name == "latent_codec" and self.PARTS:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def spec_model(self) -> Autoencoder:
        model = Autoencoder(self.g_a, self.latent_codec, self.g_s, self.channels).train(self.training)
        model.architecture, model.coder, model.spec_node = self.architecture, self.coder, self.spec_node
        return model

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.latent_codec.train(mode)  # which is not a child
        return self

    def _replicate_for_data_parallel(self) -> Self:
        # Each replica gets a codec of its own, into which its own parts go.
        replica: Self = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        if self.PARTS:
            shared: dict[int, Any] = {id(part): part for part in map(self._modules.get, self.PARTS)}
            replica.__dict__["_flow"] = copy.deepcopy(self.latent_codec, shared)
        return replica


def recognise(state_dict: Mapping[str, Tensor]) -> str:
    """The call that makes a model of exactly these keys and shapes, like ``ScaleHyperprior(N=8, M=12)``; else empty."""
    tensors = respelt(state_dict, present_key)
    for face in FACES:
        try:
            parameters = face.parameters_of(tensors)
            with torch.device("meta"):
                own = face(**parameters).state_dict()
        except (KeyError, TinifyError):
            continue
        if not differences(tensors, own):
            return f"{face.__name__}({', '.join(f'{name}={value}' for name, value in parameters.items())})"
    return ""


def like(state_dict: Mapping[str, Tensor]) -> str:
    """What a foreign state dict looks like, as the end of a message."""
    face = recognise(state_dict)
    return f". They look like {face}: load them with its from_state_dict" if face else ""


def _swap(key: str, prefixes: Mapping[str, str]) -> str:
    """A key with its prefix replaced, if it is one of those."""
    bare = bare_key(key)
    return next((new + bare[len(old) :] for old, new in prefixes.items() if bare.startswith(old)), key)
