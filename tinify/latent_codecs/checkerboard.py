"""Checkerboard context: half of the positions first, the other half given them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.stream import Stream
from tinify.layers import MaskedConv2d
from tinify.ops import has_kernel

_METHODS = ("onepass", "twopass", "twopass_faster")


class CheckerboardLatentCodec(LatentCodec):
    """Codes ``y`` in two passes: anchors under side information alone, then the others with the anchors around them.

    ``entropy_parameters`` sees ``cat(context, side)``; for anchors the context is zero. Anchors are the positions whose
    row and column are both even or both odd, the others with ``anchor_parity="odd"``. Any height and width will do.
    ``forward_method="onepass"`` estimates rates from a context of ``y`` with noise (in training) or rounded, in half
    the time; ``"twopass"`` and ``"twopass_faster"`` from what the decoder will have.
    He, Zheng, Sun, Wang, Qin: Checkerboard Context Model for Efficient Learned Image Compression, CVPR 2021.
    """

    decides = ("context_prediction", "entropy_parameters")
    y: LatentCodec

    def __init__(
        self,
        latent_codec: Mapping[str, LatentCodec] | None = None,
        entropy_parameters: nn.Module | None = None,
        context_prediction: nn.Module | None = None,
        anchor_parity: str = "even",
        forward_method: str = "twopass",
        **codecs: LatentCodec,
    ) -> None:
        super().__init__()
        codecs = {**(latent_codec or {}), **codecs}
        if set(codecs) != {"y"} or context_prediction is None:
            raise InputError(
                f"a checkerboard needs the latent codec 'y' and a context_prediction; got the codecs {sorted(codecs)}"
            )
        widths = [int(part.out_channels) for part in context_prediction.modules() if isinstance(part, nn.Conv2d)]
        if not widths:
            raise InputError(f"context_prediction {type(context_prediction).__name__}: expected a masked convolution")
        if anchor_parity not in ("even", "odd"):
            raise InputError(f"anchor_parity {anchor_parity!r}: expected 'even' or 'odd'")
        if forward_method not in _METHODS:
            raise InputError(f"forward_method {forward_method!r}: expected one of {', '.join(_METHODS)}")
        self.y = codecs["y"]
        self.entropy_parameters = entropy_parameters or nn.Identity()
        self.context_prediction = context_prediction
        self._width = widths[-1]
        self.anchor_parity = anchor_parity
        self.forward_method = forward_method
        self.exact_estimate = forward_method != "onepass"

    def code(self, y: Tensor | None, side: Tensor | None, stream: Stream) -> Tensor:
        if side is None:
            raise InputError("a checkerboard needs the side information that its parameters are predicted from")
        anchors = self.anchors(*side.shape[2:])
        guess = stream.proxy(y, self.training) if self.forward_method == "onepass" else None
        if guess is not None:
            context = torch.where(anchors.to(side.device), 0, self.context_prediction(guess))
            self.y.code(y, self._predict(context, side), stream)
            return guess
        nothing = side.new_zeros(len(side), self._width, *side.shape[2:])
        given = self.y.code(y, self._predict(nothing, side), stream.only(anchors))
        context = self._context(given, ~anchors)
        return given + self.y.code(y, self._predict(context, side), stream.only(~anchors))

    def anchors(self, height: int, width: int) -> Tensor:
        """Which positions are coded first: a boolean (height, width), on the CPU."""
        place = torch.arange(height, device="cpu")[:, None] + torch.arange(width, device="cpu")
        return place % 2 == (self.anchor_parity == "odd")

    def _context(self, given: Tensor, where: Tensor) -> Tensor:
        """The context of the positions where a boolean is true; anything elsewhere."""
        prediction: Any = self.context_prediction
        context: Tensor
        alone = isinstance(prediction, MaskedConv2d) and has_kernel("conv_at", given.device)
        if not alone or torch.is_grad_enabled() or torch.compiler.is_compiling():
            context = prediction(given)
        else:
            rows, columns = where.nonzero().to(given.device).unbind(1)
            context = given.new_zeros(len(given), self._width, *given.shape[2:])
            context[:, :, rows, columns] = prediction.at(given, rows, columns)
        return context

    def _predict(self, context: Tensor, side: Tensor) -> Tensor:
        parameters: Tensor = self.entropy_parameters(torch.cat([context, side], 1))
        return parameters
