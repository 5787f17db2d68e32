"""What every compression model shares, whatever its architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tinify.coders import Coder
from tinify.entropy_models import EntropyBottleneck, EntropyModel
from tinify.errors import InputError
from tinify.latent_codecs.stream import Shape
from tinify.models.tree import tree_of
from tinify.spec import Architecture, Spec


class CompressionModel(nn.Module):
    """A model that compresses tensors to strings and back.

    ``architecture`` is the checked spec that the model was built from, or None for one assembled by hand.
    """

    architecture: Architecture | None = None
    channels: int = 3
    coder: Coder | None = None

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

    def update(self, *, force: bool = False, update_quantiles: bool = False) -> bool:
        """The field's name for building the tables, anew with ``force``; returns whether any was built.

        ``update_quantiles`` sets the tails and medians of factorized priors by bisection first.
        """
        built = False
        for _, part in self.entropy_models():
            options = {"update_quantiles": update_quantiles} if isinstance(part, EntropyBottleneck) else {}
            built |= part.update(force, **options)
        return built

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
        return Spec.loads(replace(known, model=tree_of(self)).to_yaml(), f"<{known.name}>")

    def aux_loss(self) -> Tensor | int:
        """The field's auxiliary loss, summed over the factorized priors; not needed by tinify's own training."""
        return sum(part.loss() for _, part in self.entropy_models() if isinstance(part, EntropyBottleneck))
