"""From the channels that a network predicts to the parameters of a density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.errors import InputError
from tinify.exact import elementary
from tinify.exact.head import IndexHead

LINKS: dict[str, Callable[[Tensor], Tensor]] = {"identity": lambda scales: scales, "softplus": F.softplus}
_REPRODUCIBLE = LINKS | {"softplus": elementary.softplus}
_NAMES = ("scales", "means", "weights")


class Chunks(nn.Module):
    """Splits predicted channels into scales, means and mixture weights, whatever the order they were predicted in.

    ``scale_link`` maps the predicted scales to positive ones: ``"identity"`` leaves that to the entropy model's lower
    bound, as the field does; ``"softplus"`` starts training faster. Weights, those of all components for one latent
    channel, are made to sum to one.

    >>> scales, means = Chunks(["means", "scales"])(torch.tensor([[5.0, 1.0]]))
    >>> float(scales), float(means)
    (1.0, 5.0)
    """

    def __init__(self, chunks: Sequence[str] = ("scales", "means"), scale_link: str = "identity") -> None:
        if "scales" not in chunks or set(chunks) - set(_NAMES) or len(set(chunks)) != len(chunks):
            raise InputError(
                "chunks must be 'scales', or 'scales' and 'means' (and 'weights', of a mixture), in the order they are "
                f"predicted; got {chunks!r}"
            )
        if scale_link not in LINKS:
            raise InputError(f"unknown scale_link {scale_link!r}: expected one of {', '.join(LINKS)}")
        super().__init__()
        self.chunks = tuple(chunks)
        self.scale_link = scale_link
        self.choosing = "weights" not in chunks
        """Whether scales choose rows of coding tables as they are."""
        self.head: IndexHead | None = None
        """Takes the place of the link in a portable model whose scales choose rows."""
        self.reproducible = False
        """Whether links and weights are computed as every machine computes them: so they are in portable models."""

    def forward(self, predicted: Tensor, model: Any = None) -> list[Tensor]:
        """Scales, means if predicted, weights if predicted; of ``model``, a mixture, each for all its components.

        Raises :class:`~tinify.errors.InputError` for weights of a model that is no mixture, and for channels that
        cannot be split.
        """
        components = getattr(model, "K", 0) if "weights" in self.chunks else 1
        if not components:
            raise InputError(
                f"chunks {self.chunks!r} have weights, those of a mixture's components, but the entropy model "
                f"is {type(model).__name__}: take gaussian_mixture, or leave the weights out"
            )
        if predicted.shape[1] % (len(self.chunks) * components):
            raise InputError(
                f"{predicted.shape[1]} predicted channels: expected as many for each of the chunks {self.chunks!r}"
                + (f" and of {components} components" if components > 1 else "")
            )
        parts = dict(zip(self.chunks, predicted.float().chunk(len(self.chunks), 1), strict=True))
        link = self.head or (_REPRODUCIBLE if self.reproducible else LINKS)[self.scale_link]
        parts["scales"] = link(parts["scales"])
        if "weights" in parts:
            apart = torch.unflatten(parts["weights"], 1, (components, -1))
            parts["weights"] = (elementary.softmax(apart) if self.reproducible else apart.softmax(1)).flatten(1, 2)
        return [parts[name] for name in _NAMES if name in parts]
