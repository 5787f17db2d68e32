"""What every compression model shares, whatever its architecture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tinify.coders import Coder
from tinify.container import PROFILES
from tinify.entropy_models import (
    SCALES_LEVELS,
    SCALES_MAX,
    SCALES_MIN,
    EntropyBottleneck,
    EntropyModel,
    GaussianConditional,
    get_scale_table,
)
from tinify.errors import InputError, StateDictError, UnknownNameError
from tinify.exact import reproducible
from tinify.latent_codecs import LatentCodec
from tinify.latent_codecs.stream import Quality, Shape
from tinify.layers.gain import VariableRate
from tinify.models.domain import PICTURES, Domain
from tinify.models.state_dict import differences, fit_keys
from tinify.models.tree import tree_of
from tinify.spec import Architecture, Spec

__all__ = [
    "SCALES_LEVELS",
    "SCALES_MAX",
    "SCALES_MIN",
    "CompressionModel",
    "SimpleVAECompressionModel",
    "get_scale_table",
]


class CompressionModel(nn.Module):
    """A model that compresses tensors to strings and back.

    ``architecture`` is the checked spec that the model was built from, or None for one assembled by hand.

    A model of one's own sets its modules in ``__init__`` and writes ``forward``, ``compress`` and ``decompress``;
    updating, the auxiliary loss and the loading of state dicts follow from the entropy models that it holds.

    >>> class Plain(CompressionModel):
    ...     def __init__(self) -> None:
    ...         super().__init__()
    ...         self.entropy_bottleneck = EntropyBottleneck(4)
    >>> Plain().update()
    True
    """

    architecture: Architecture | None = None
    domain: Domain = PICTURES
    channels: int = 3
    coder: Coder | None = None
    transform_dtype: torch.dtype = torch.float32
    """What ``compress`` and ``decompress`` compute transforms in; all that chooses coding tables is float32."""
    exact_pixels: bool = False
    """Whether ``decompress`` computes the synthesis so that every machine gets the same bits, which takes longer."""
    arithmetic: str = PROFILES[0]
    """What coding tables are chosen in: ``"portable"`` where that is the same on every machine."""
    self_test: Any = None
    """Of a portable model, the :class:`~tinify.models.portable.SelfTest` that came with its weights."""
    settled: torch.device | None = None
    """Where a portable model has passed it, or has gone to after it failed."""

    def __init__(self, entropy_bottleneck_channels: int | None = None, init_weights: bool | None = None) -> None:
        super().__init__()
        if entropy_bottleneck_channels is not None:
            self.entropy_bottleneck = EntropyBottleneck(entropy_bottleneck_channels)
        warn_deprecated(entropy_bottleneck_channels, init_weights)

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Returns ``{"x_hat": Tensor, "likelihoods": {name: Tensor}}``."""
        raise NotImplementedError

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Returns ``{"strings": [[bytes, one for each batch item], ...], "shape": ...}``."""
        raise NotImplementedError

    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Shape) -> dict[str, Any]:
        """Returns ``{"x_hat": Tensor}``, clamped to [0, 1]."""
        raise NotImplementedError

    def entropy_models(self) -> Iterator[tuple[str, EntropyModel]]:
        """Every entropy model with its path, in a fixed order."""
        return ((name, part) for name, part in self.named_modules() if isinstance(part, EntropyModel))

    def use_coder(self, coder: Coder | None) -> None:
        """Lets ``coder`` write the strings of every entropy model; None for the default.

        The default is rANS in files, and elsewhere what :func:`tinify.set_entropy_coder` says. Raises
        :class:`~tinify.errors.InputError` for what is no coder.
        """
        if coder is not None and not callable(getattr(coder, "decoder", None)):
            raise InputError(f"{coder!r} is no coder: give one like tinify.models.build_part('coder', 'ans'), or None")
        self.coder = coder
        for _, part in self.entropy_models():
            part.coder = coder

    def ensure_tables(self) -> None:
        """Builds coding tables where there are none; nobody has to call it, ``compress`` and saving do."""
        for _, part in self.entropy_models():
            part.ensure_tables()

    def update(
        self, scale_table: Sequence[float] | Tensor | None = None, force: bool = False, update_quantiles: bool = False
    ) -> bool:
        """The field's name for building the tables, anew with ``force``; returns whether any was built.

        ``scale_table`` becomes that of every Gaussian that is built; ``update_quantiles`` sets the tails and medians of
        factorized priors by bisection first.
        """
        built = False
        for _, part in self.entropy_models():
            if isinstance(part, EntropyBottleneck):
                built |= part.update(force, update_quantiles=update_quantiles)
            elif isinstance(part, GaussianConditional) and scale_table is not None:
                built |= part.update_scale_table(scale_table, force)
            else:
                built |= part.update(force)
        return built

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights and tables, tables of any size, and returns the keys that do not match, as PyTorch does.

        Takes older spellings of the field's keys as well. Raises :class:`~tinify.errors.StateDictError`, a
        ``RuntimeError``, that lists what differs and names the architecture that the weights look like.
        """
        own = self.state_dict()
        fitting = fit_keys(state_dict, own)
        try:
            return super().load_state_dict(fitting, strict=strict, assign=assign)
        except RuntimeError as error:
            from tinify.models.faces import like  # which are models themselves

            found = "; ".join(differences(fitting, own)) or str(error)
            raise StateDictError(
                f"these weights are not those of {type(self).__name__}: {found}{like(fitting)}"
            ) from error

    def spec_model(self) -> CompressionModel:
        """The model as its spec lays it out, made of the very same parts: what is saved and hashed."""
        return self

    def to_spec(self) -> Spec:
        """The spec of the model as its parts are now, with every value written out.

        Raises :class:`~tinify.errors.InputError` that names the first part that was not made from a spec. Whether parts
        that were exchanged fit is checked by :meth:`Spec.elaborate <tinify.spec.Spec.elaborate>`.

        >>> import tinify
        >>> model = tinify.create_model("bmshj2018-factorized", N=8, M=8)
        >>> model.to_spec().elaborate().id == model.architecture.id
        True
        """
        known = self.architecture or Architecture(type(self).__name__.lower(), None, {}, {}, {}, 1)
        return Spec.loads(replace(known, model=tree_of(self.spec_model())).to_yaml(), f"<{known.name}>")

    @property
    def qualities(self) -> tuple[float, float] | None:
        """The lowest and the highest quality of a model of variable rate; None for one rate."""
        part = self._variable_rate()
        return part.qualities if part else None

    @property
    def default_quality(self) -> float | None:
        """The quality of a model of variable rate where none is said; None for one rate."""
        part = self._variable_rate()
        return part.default if part else None

    def _variable_rate(self) -> VariableRate | None:
        return next((part for part in self.modules() if isinstance(part, VariableRate)), None)

    def quality_at(self, place: Tensor) -> Tensor:
        """The quality at a place from 0, the lowest, to 1; :class:`~tinify.errors.InputError` for one rate."""
        if self.qualities is None:
            raise InputError(
                "this model has one rate, and a range of lambdas needs one of variable rate: give one lambda"
            )
        low, high = self.qualities
        return low + place * (high - low)

    def aux_loss(self) -> Tensor:
        """The field's auxiliary loss, summed over the factorized priors; not needed by tinify's own training."""
        losses = [part.loss() for _, part in self.entropy_models() if isinstance(part, EntropyBottleneck)]
        return torch.stack(losses).sum() if losses else torch.zeros(())


class SimpleVAECompressionModel(CompressionModel):
    """``y = g_a(x)``, coded by ``latent_codec``, ``x_hat = g_s(y_hat)``: a model that sets these three has it all.

    ``model["hyper"]`` is the part of the latent codec of that name.
    """

    g_a: nn.Module
    latent_codec: LatentCodec
    g_s: nn.Module

    def __getitem__(self, name: str) -> nn.Module:
        try:
            return self.latent_codec.get_submodule(name)
        except AttributeError:
            known = dict(self.latent_codec.named_children())
            raise UnknownNameError.among("part of the latent codec", name, known) from None

    def forward(self, x: Tensor, quality: Quality = None) -> dict[str, Any]:
        self._check(x)
        latent = self.latent_codec(self.g_a(x), **self._asked(quality))
        return {"x_hat": self.g_s(latent["y_hat"]), "likelihoods": latent["likelihoods"]}

    @torch.no_grad()
    def compress(self, x: Tensor, quality: Quality = None) -> dict[str, Any]:
        """Returns ``{"strings": ..., "shape": ..., "y_hat": Tensor}``; the decoder will have that ``y_hat``."""
        self._check(x)
        y = self._transform(self.g_a, x)
        packed: dict[str, Any] = self.latent_codec.compress(beside(self.latent_codec, y), **self._asked(quality))
        return packed

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Shape, quality: Quality = None) -> dict[str, Any]:
        latent = self.latent_codec.decompress(strings, shape, **self._asked(quality))
        return self.reconstruct(latent["y_hat"])

    @torch.no_grad()
    def reconstruct(self, y_hat: Tensor) -> dict[str, Any]:
        """The decoder's picture of a coded latent: ``{"x_hat": Tensor}``, clamped to [0, 1]."""
        with reproducible() if self.exact_pixels else nullcontext():
            return {"x_hat": self._transform(self.g_s, beside(self.g_s, y_hat)).clamp(0, 1)}

    def _variable_rate(self) -> VariableRate | None:
        # The latent codec of a face is not among its modules.
        return next((part for part in self.latent_codec.modules() if isinstance(part, VariableRate)), None)

    def _asked(self, quality: Quality) -> dict[str, Any]:
        if quality is None:
            return {}
        if self.qualities is None:
            raise InputError(f"quality {quality}: this model has one rate; leave the quality out")
        return {"quality": quality}

    def _transform(self, transform: nn.Module, x: Tensor) -> Tensor:
        reduced = self.transform_dtype != torch.float32
        with torch.autocast(x.device.type, self.transform_dtype) if reduced else nullcontext():
            made: Tensor = transform(x)
        return made.float()

    def _check(self, x: Tensor) -> None:
        """Raises :class:`~tinify.errors.InputError` for what the model cannot take."""


def beside(module: nn.Module, x: Tensor) -> Tensor:
    """``x`` where a module's weights are: those that choose coding tables may be elsewhere than the transforms."""
    weights = next(module.parameters(), None)
    return x if weights is None else x.to(weights.device)


def warn_deprecated(entropy_bottleneck_channels: int | None, init_weights: bool | None) -> None:
    """Warns of the arguments of models that the field has given up."""
    if entropy_bottleneck_channels is not None:
        _warn("entropy_bottleneck_channels is deprecated: set self.entropy_bottleneck = EntropyBottleneck(...)")
    if init_weights is not None:
        _warn("init_weights is deprecated, and does nothing: leave it out")


def _warn(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=4)
