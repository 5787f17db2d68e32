"""A raster-scan context model: every position given all that came before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from tinify.coders.default import default_coder
from tinify.entropy_models import GaussianConditional
from tinify.errors import InputError
from tinify.exact import ExactLayer
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.context_device import DeviceContext
from tinify.latent_codecs.context_layers import is_causal
from tinify.latent_codecs.context_net import ContextNet
from tinify.latent_codecs.context_plain import Convolution, PlainContext
from tinify.latent_codecs.parameters import Chunks
from tinify.latent_codecs.replay import scanned
from tinify.latent_codecs.serial import Serial
from tinify.latent_codecs.stream import Stream
from tinify.layers import MaskedConv2d


class RasterScanLatentCodec(LatentCodec):
    """Codes ``y`` position by position, under side information and a masked convolution of what was decoded.

    ``entropy_parameters`` sees ``cat(side, context)`` and gives the channels that ``chunks`` splits. Positions that do
    not see one another are coded together, along wavefronts; in the order of the raster where a coder says
    ``raster = True``, as that of the field's strings does. A forward estimates rates from a context of ``y`` with noise
    (in training) or rounded, as the field's does: its ``y_hat`` is near that of ``compress``, not equal.
    Minnen, Ballé, Toderici: Joint Autoregressive and Hierarchical Priors for Learned Image Compression, NeurIPS 2018.
    """

    decides: tuple[str, ...] = ("context_prediction", "entropy_parameters", "split")
    exact_estimate = False

    def __init__(
        self,
        gaussian_conditional: GaussianConditional,
        entropy_parameters: nn.Module,
        context_prediction: MaskedConv2d | ExactLayer,
        chunks: Sequence[str] = ("scales", "means"),
        scale_link: str = "identity",
    ) -> None:
        super().__init__()
        if not is_causal(context_prediction):
            raise InputError(
                f"context_prediction {type(context_prediction).__name__}: expected a MaskedConv2d of mask type 'A', "
                "which sees nothing but what comes before the position that it predicts"
            )
        self.gaussian_conditional = gaussian_conditional
        self.entropy_parameters = entropy_parameters
        self.context_prediction = context_prediction
        self.split = Chunks(chunks, scale_link)

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a raster scan needs the side information that its parameters are predicted from")
        model = self.gaussian_conditional
        guess = stream.proxy(y, self.training)
        if guess is not None:
            predicted = self.entropy_parameters(torch.cat([side, self.context_prediction(guess)], 1))
            stream.code(model, y, *self.split(predicted, model))
            return guess
        return self.scan(side, stream.serial(model, y, self.size(side)), self.context_prediction, self.step)

    def size(self, side: Tensor) -> torch.Size:
        """That of the latent which side information describes."""
        return torch.Size((len(side), self.context_prediction.in_channels, *side.shape[2:]))

    def scan(self, side: Tensor, serial: Any, context_prediction: Convolution, step: StepRule) -> Tensor:
        """``y_hat``, a few positions at a time: ``step`` codes those that the scan has come to by ``serial``."""
        raster = getattr(self.gaussian_conditional.coder or default_coder(), "raster", False)
        modules = context_prediction, self.entropy_parameters
        quick = None if raster else DeviceContext.of(*modules) or ContextNet.of(*modules)
        context = quick or PlainContext(*modules, one_by_one=raster)
        height, width = side.shape[2:]
        reach = context_prediction.kernel_size[1] // 2 + 1
        steps = raster_order(height, width) if raster else _on(context.device, height, width, reach)

        def run(steps: Iterable[Step], scan: Any, serial: Any) -> None:
            for rows, columns in steps:
                scan.put(rows, columns, step(serial, rows, columns, scan.params(rows, columns)))

        return scanned(self, run, steps, context.start(side), serial)

    def step(self, serial: Serial, rows: Tensor, columns: Tensor, predicted: Tensor) -> Tensor:
        """``y_hat`` of positions, (batch * positions, channels), of which the network ``predicted`` the parameters."""
        return serial.code(rows, columns, *self.split(predicted, self.gaussian_conditional))


Step = tuple[Tensor, Tensor]
"""Rows and columns of the positions that are coded together."""

StepRule = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""Serial, rows, columns and predicted parameters to the values of the positions."""


@lru_cache(maxsize=16)
def wavefronts(height: int, width: int, slope: int) -> tuple[Step, ...]:
    """Steps of positions with one ``column + slope * row``: none of them sees another, nor one that comes later.

    ``slope`` is one more than a kernel reaches to the right.

    >>> [rows.tolist() for rows, _ in wavefronts(2, 4, 2)]
    [[0], [0], [0, 1], [0, 1], [1], [1]]
    """
    found = []
    for step in range(width + slope * (height - 1) if height and width else 0):
        rows = torch.arange(max(0, -(-(step - width + 1) // slope)), min(height - 1, step // slope) + 1)
        if len(rows):  # a narrow latent leaves some steps empty
            found.append((rows, step - slope * rows))
    return tuple(found)


def raster_order(height: int, width: int) -> Iterator[Step]:
    """Every position by itself, row by row."""
    for row in range(height):
        for column in range(width):
            yield torch.tensor([row]), torch.tensor([column])


@lru_cache(maxsize=16)
def _on(device: torch.device, height: int, width: int, slope: int) -> tuple[Step, ...]:
    """The wavefronts on a device: sent there once, not step by step."""
    return tuple((rows.to(device), columns.to(device)) for rows, columns in wavefronts(height, width, slope))
