"""Clips to bytes and back, a frame at a time: memory does not grow with the length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tinify.checkpoint import model_digest, tables_digest
from tinify.codec import check_arithmetic, check_symbols, model_name, other_symbols
from tinify.coders.default import rans_by_default
from tinify.errors import CheckpointError, CorruptStreamError, FileError, InputError, WrongModelError
from tinify.latent_codecs.witness import witness
from tinify.models.portable import settle
from tinify.ops import compute_padding

from .clips import Pixels
from .container import Frame, Header, Reader, Writer
from .flow import ScaleSpaceModel

GROUP = 12


@dataclass(frozen=True)
class Played:
    """A decoded frame and its number; ``pixels`` is None for one that a damaged file has lost."""

    number: int
    pixels: Pixels | None


class VideoCodec:
    """A model with weights as a codec of clips.

    Encoder and decoder have the same reconstruction of every frame, which the next is predicted from; a key frame
    begins anew every ``group`` frames.

    >>> import io, numpy as np, tinify
    >>> codec = VideoCodec(tinify.create_model("ssf2020", N=8, M=8).eval())
    >>> stream = io.BytesIO()
    >>> clip = [np.zeros((40, 60, 3), np.uint8)] * 3
    >>> sizes = list(codec.encode(clip, 60, 40, Fraction(25), stream))
    >>> [played.pixels.shape for played in codec.decode(stream)]
    [(40, 60, 3), (40, 60, 3), (40, 60, 3)]
    """

    def __init__(self, model: ScaleSpaceModel) -> None:
        model = model.spec_model()  # type: ignore[assignment]
        if not isinstance(model, ScaleSpaceModel) or model.architecture is None:
            raise CheckpointError(
                f"a video codec is made of a model of scale-space flow built from a spec, got {type(model).__name__}: "
                "give the weights of one, such as ssf2020"
            )
        model.eval().ensure_tables()
        settle(model)
        self.model = model
        self.name = model_name(model)
        self.digest = model_digest(model)
        self.tables = tables_digest(model)
        self._device = next(model.parameters()).device
        self._stride = model.architecture.stride

    def encode(
        self, frames: Iterable[Pixels], width: int, height: int, rate: Fraction, stream: BinaryIO, group: int = GROUP
    ) -> Iterator[tuple[int, Pixels]]:
        """Writes a clip to a stream; yields the bytes of each frame, and the encoder's reconstruction of it.

        Raises :class:`~tinify.errors.InputError` for no frames, or one of another size.
        """
        known = self.name, self.digest, self.model.arithmetic, self.tables
        header = Header(width, height, rate, group, *known)
        writer, reference, count = Writer(stream, header), None, 0
        for frame in frames:
            if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
                raise InputError(
                    f"frame {count} is {frame.dtype} of {frame.shape}: expected uint8 of {(height, width, 3)}"
                )
            key = count % group == 0
            with rans_by_default(), witness() as seen:
                packed = self.model.encode(self._tensor(frame), None if key else reference)
            reference = packed["x_hat"]
            taken = writer.write([strings[0] for strings in packed["strings"]], packed["shape"], key, seen.checksum)
            count += 1
            yield taken, self._pixels(reference, header)
        if not count:
            raise InputError("a clip of no frames: expected one at least")
        writer.finish()

    def decode(self, stream: BinaryIO, start: int = 0, salvage: bool = False) -> Iterator[Played]:
        """The frames of a file from number ``start`` on, decoded from the key frame before it.

        With ``salvage``, what can be read of a damaged file, with lost frames marked; else damage raises a
        :class:`~tinify.errors.FileError` once the frames before it have been given. Raises WrongModelError for a file
        of another model.
        """
        reader = Reader(stream)
        self._check(reader.header)
        reference, expected = None, 0
        frames = reader.salvage() if salvage else reader.frames(start)
        for frame in frames:
            if salvage:
                yield from (Played(number, None) for number in range(max(expected, start), frame.number))
            if frame.key:
                reference = None
            elif reference is None:
                continue
            try:
                reference = self._decode(frame, reader.header, reference)
            except FileError:
                if not salvage:
                    raise
                reference = None
                continue
            expected = frame.number + 1
            if frame.number >= start:
                yield Played(frame.number, self._pixels(reference, reader.header))

    def _decode(self, frame: Frame, header: Header, reference: Tensor | None) -> Tensor:
        wanted = tuple(side // self._stride for side in self._padded(header))
        if frame.shape != wanted:
            raise CorruptStreamError(f"frame {frame.number} has a latent of {frame.shape}: its size gives {wanted}")
        try:
            with rans_by_default(), witness() as seen:
                x_hat = self.model.decode([[s] for s in frame.strings], torch.Size(frame.shape), reference)
        except CorruptStreamError as error:
            raise other_symbols(self.model, f"frame {frame.number}: {error}") from error
        check_symbols(self.model, seen.checksum, frame.checksum)
        return x_hat

    def _check(self, header: Header) -> None:
        if header.model_digest != self.digest:
            raise WrongModelError(
                f"this file was coded by model {header.model_name!r} ({header.model_digest.hex()[:12]}), and the model "
                f"at hand is {self.name!r} ({self.digest.hex()[:12]}): give those it was coded with (--model FILE)"
            )
        check_arithmetic((header.profile, header.tables), (self.model.arithmetic, self.tables))

    def _padded(self, header: Header) -> tuple[int, int]:
        pad, _ = compute_padding(header.height, header.width, min_div=self._stride)
        return header.height + pad[2] + pad[3], header.width + pad[0] + pad[1]

    def _tensor(self, frame: Pixels) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device).permute(2, 0, 1)[None].float().div_(255)
        pad, _ = compute_padding(*frame.shape[:2], min_div=self._stride)
        return F.pad(x, pad, mode="replicate")

    def _pixels(self, x_hat: Tensor, header: Header) -> Pixels:
        _, unpad = compute_padding(header.height, header.width, min_div=self._stride)
        cropped = F.pad(x_hat, unpad)[0].clamp(0, 1).mul(255).round().to(torch.uint8)
        pixels: Pixels = cropped.permute(1, 2, 0).cpu().numpy()
        return pixels
