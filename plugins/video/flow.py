"""Scale-space flow: every frame predicted from the one before, blurred where the motion is not sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tinify.coders import Coder
from tinify.errors import CorruptStreamError, InputError
from tinify.latent_codecs import Decode, Encode, Estimate, LatentCodec
from tinify.latent_codecs.stream import Stream
from tinify.models import CompressionModel
from tinify.models.base import beside

from .scale_space import gaussian_volume, warp

Clip = Tensor | Sequence[Tensor]


class ScaleSpaceModel(CompressionModel):
    """Codes clips: the first frame by itself, each other as motion from the one before, and what that leaves.

    A clip is a list of frames, each (batch, 3, height, width) in [0, 1], or the frames of one clip as a tensor,
    (frames, 3, height, width); sides are multiples of the stride, 128 in the published one. The flow is told once,
    by :meth:`keyframe` and :meth:`inter`, against a stream; ``forward``, ``compress`` and ``decompress`` are three
    readings of it. A frame is predicted from what the decoder has of the one before, so that encoder and decoder never
    drift apart. ``coder`` writes the strings of every entropy model; rANS by default.
    Agustsson, Minnen, Johnston, Ballé, Hwang, Toderici: Scale-Space Flow for End-to-End Optimized Video Compression,
    CVPR 2020.
    """

    def __init__(
        self,
        img_encoder: nn.Module,
        img_decoder: nn.Module,
        img_hyperprior: LatentCodec,
        motion_encoder: nn.Module,
        motion_decoder: nn.Module,
        motion_hyperprior: LatentCodec,
        res_encoder: nn.Module,
        res_decoder: nn.Module,
        res_hyperprior: LatentCodec,
        num_levels: int = 5,
        sigma0: float = 1.5,
        coder: Coder | None = None,
    ) -> None:
        super().__init__()
        self.img_encoder, self.img_decoder, self.img_hyperprior = img_encoder, img_decoder, img_hyperprior
        self.motion_encoder, self.motion_decoder = motion_encoder, motion_decoder
        self.motion_hyperprior = motion_hyperprior
        self.res_encoder, self.res_decoder, self.res_hyperprior = res_encoder, res_decoder, res_hyperprior
        self.num_levels = num_levels
        self.sigma0 = sigma0
        if coder is not None:
            self.use_coder(coder)

    def keyframe(self, x: Tensor | None, stream: Stream) -> Tensor:
        """What the decoder has of a frame coded by itself; ``x`` is None when decoding."""
        y = None if x is None else self.img_encoder(x)
        y_hat = self._coded(self.img_hyperprior, y, stream.at("keyframe"), self.img_decoder)
        x_hat: Tensor = self.img_decoder(y_hat)
        return x_hat

    def inter(self, x: Tensor | None, reference: Tensor, stream: Stream) -> Tensor:
        """What the decoder has of a frame predicted from ``reference``, which it has of the frame before."""
        y = None if x is None else self.motion_encoder(torch.cat([x, reference], 1))
        motion_hat = self._coded(self.motion_hyperprior, y, stream.at("motion"), self.motion_decoder)
        predicted = self.predict(reference, self.motion_decoder(motion_hat))
        y = None if x is None else self.res_encoder(x - predicted)
        residual_hat = self._coded(self.res_hyperprior, y, stream.at("residual"), self.res_decoder)
        x_hat: Tensor = predicted + self.res_decoder(torch.cat([residual_hat, motion_hat], 1))
        return x_hat

    def _coded(self, codec: LatentCodec, y: Tensor | None, stream: Stream, decoder: nn.Module) -> Tensor:
        """What the decoder has of a latent, beside the transform that takes it: its codec may be elsewhere."""
        return beside(decoder, codec.code(None if y is None else beside(codec, y), None, stream))

    def predict(self, reference: Tensor, motion: Tensor) -> Tensor:
        """``reference`` moved by a motion of three channels: two of flow, one of scale."""
        flow, scale = torch.split(motion, [2, 1], 1)
        return warp(gaussian_volume(reference, self.sigma0, self.num_levels), flow, scale)

    def code(self, x: Tensor | None, reference: Tensor | None, stream: Stream) -> Tensor:
        """What the decoder has of a frame: a key frame where there is no ``reference``."""
        return self.keyframe(x, stream) if reference is None else self.inter(x, reference, stream)

    def forward(self, x: Clip, frames: int | None = None) -> dict[str, Any]:
        """Returns ``{"x_hat": like x, "likelihoods": ...}``: a list of nested mappings for a list of frames.

        For a tensor ``x_hat`` is one, and the likelihoods are by path: ``"1.motion.y"``; ``frames`` says that it holds
        several clips of so many frames, one after another. Gradients reach the frames before, but not through the key
        frame.
        """
        if frames is not None and isinstance(x, Tensor):
            return self._several(x, frames)
        hats: list[Tensor] = []
        rates: list[dict[str, Tensor]] = []
        reference = None
        for frame in self._frames(x):
            stream = Estimate()
            hats.append(self.code(frame, reference, stream))
            reference = hats[0].detach() if reference is None else hats[-1]
            rates.append(stream.likelihoods)
        if isinstance(x, Tensor):
            flat = {f"{k}.{path}": value for k, rate in enumerate(rates) for path, value in rate.items()}
            return {"x_hat": torch.cat(hats), "likelihoods": flat}
        return {"x_hat": hats, "likelihoods": [_nested(rate) for rate in rates]}

    def _several(self, x: Tensor, frames: int) -> dict[str, Any]:
        """A forward of clips, in a tensor (clips * frames, 3, height, width)."""
        if len(x) % frames:
            raise InputError(f"{len(x)} frames are no clips of {frames}")
        out = ScaleSpaceModel.forward(self, list(torch.unflatten(x, 0, (-1, frames)).unbind(1)))
        rates = enumerate(out["likelihoods"])
        flat = {f"{k}.{p}.{n}": v for k, rate in rates for p, part in rate.items() for n, v in part.items()}
        return {"x_hat": torch.stack(out["x_hat"], 1).flatten(0, 1), "likelihoods": flat}

    @torch.no_grad()
    def compress(self, x: Clip) -> dict[str, Any]:
        """Returns ``{"strings": [[bytes, one for each batch item], ...], "shape": torch.Size, "x_hat": [Tensor]}``.

        A key frame has two lists of strings, each other frame four; ``shape`` is the spatial size of a hyper-latent.
        """
        strings: list[list[bytes]] = []
        hats: list[Tensor] = []
        for frame in self._frames(x):
            packed = self.encode(frame, hats[-1] if hats else None)
            strings += packed["strings"]
            hats.append(packed["x_hat"])
        return {"strings": strings, "shape": packed["shape"], "x_hat": hats}

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: torch.Size) -> dict[str, Any]:
        """Returns ``{"x_hat": Tensor}``, the frames one after another, in [0, 1]."""
        hats: list[Tensor] = []
        if len(strings) < 2 or (len(strings) - 2) % 4:
            raise CorruptStreamError(f"{len(strings)} lists of strings: a clip has two, and four for each frame more")
        for begin, end in zip([0, *range(2, len(strings), 4)], range(2, len(strings) + 1, 4), strict=True):
            hats.append(self.decode(strings[begin:end], shape, hats[-1] if hats else None))
        return {"x_hat": torch.cat(hats).clamp(0, 1)}

    @torch.no_grad()
    def encode(self, x: Tensor, reference: Tensor | None) -> dict[str, Any]:
        """One frame: ``{"strings": ..., "shape": torch.Size, "x_hat": Tensor}``, the last the next one's reference."""
        self._check(x)
        stream = Encode()
        x_hat = self.code(x, reference, stream)
        shapes = stream.shape if isinstance(stream.shape, dict) else {"": stream.shape}
        return {"strings": stream.strings, "shape": next(iter(shapes.values())), "x_hat": x_hat}

    @torch.no_grad()
    def decode(self, strings: Sequence[Sequence[bytes]], shape: torch.Size, reference: Tensor | None) -> Tensor:
        """The ``x_hat`` that :meth:`encode` returned, not clamped."""
        stream = Decode(strings, shape)
        x_hat = self.code(None, reference, stream)
        stream.finish()
        return x_hat

    def _frames(self, x: Clip) -> list[Tensor]:
        frames = [*torch.split(x, 1)] if isinstance(x, Tensor) else list(x)
        if not frames:
            raise InputError("a clip of no frames: expected one at least")
        for frame in frames:
            self._check(frame)
            if frame.shape != frames[0].shape:
                raise InputError(f"a clip with frames of sizes {tuple(frames[0].shape)} and {tuple(frame.shape)}")
        return frames

    def _check(self, x: Tensor) -> None:
        """Raises :class:`~tinify.errors.InputError` for what is no frame."""
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            got = f"{x.dtype} of size {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"a frame is {got}: expected floats in [0, 1] of size (batch, 3, height, width)")
        stride = self.architecture.stride if self.architecture else 1
        if x.shape[2] % stride or x.shape[3] % stride or not x.numel():
            raise InputError(
                f"a frame is {x.shape[2]} high and {x.shape[3]} wide: this model takes multiples of {stride}; pad it "
                "(tinify.ops.compute_padding), or use `tinify video`, which takes any size"
            )


def _nested(rate: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for path, value in rate.items():
        part, _, name = path.rpartition(".")
        found.setdefault(part, {})[name] = value
    return found
