"""A codec is a model with weights and frozen tables: pictures of any size in, `.tfy` bytes out, and back."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tinify import container
from tinify.checkpoint import model_digest, tables_digest
from tinify.coders.default import rans_by_default
from tinify.container import Box, Container, Header, Tile
from tinify.errors import CheckpointError, CorruptFileError, CorruptStreamError, ImageError, InputError, WrongModelError
from tinify.images import Picture, as_picture, read_picture
from tinify.latent_codecs.witness import witness
from tinify.models import CompressionModel
from tinify.models.domain import PICTURES
from tinify.models.portable import PORTABLE, settle
from tinify.ops import compute_padding

# Pictures beyond this side are coded in tiles, so that memory stays bounded; neighbours overlap and are cross-faded.
TILE, OVERLAP = 2048, 64
MAX_TILE = 4096
PRECISIONS = ("float32", "bfloat16")


class Codec:
    """Compresses pictures with one model, which it takes over: set to evaluation, and not to be trained meanwhile.

    ``precision="bfloat16"`` computes the two transforms with fewer digits, which is several times as fast on a CPU or
    GPU with instructions for it, and costs some hundredths of a decibel. Files of either precision decode with either.

    ``exact_pixels`` computes the synthesis so that every machine gets the same pixels, hash for hash, in several times
    the time; it is for portable weights, whose latents are the same everywhere.

    ``quality``, in thousandths at the finest, is for models of variable rate: ``qualities`` are the lowest and the
    highest, None for a model of one rate. Files say what theirs was. Raises :class:`~tinify.errors.InputError` for one
    that the model does not have.

    >>> import numpy as np, tinify
    >>> codec = Codec(tinify.create_model("bmshj2018-factorized", N=8, M=8).eval())
    >>> picture = Picture(np.zeros((20, 30, 3), np.uint8))
    >>> codec.decompress(codec.compress(picture)).pixels.shape
    (20, 30, 3)
    """

    def __init__(
        self,
        model: CompressionModel,
        *,
        quality: float | None = None,
        precision: str = "float32",
        exact_pixels: bool = False,
        tile: int = TILE,
        overlap: int = OVERLAP,
    ) -> None:
        if model.architecture is None:
            raise CheckpointError("a codec needs a model built from a spec, whose id its files can carry")
        if model.domain.command != PICTURES.command:
            name, domain = model.architecture.name, model.domain
            raise CheckpointError(f"{name} codes {domain.name}, not {PICTURES.name}: use `{domain.command}`")
        if precision not in PRECISIONS:
            raise InputError(f"unknown precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
        if exact_pixels and model.arithmetic != PORTABLE:
            raise InputError(
                f"exact pixels are for portable weights, and {model_name(model)} is of {model.arithmetic} arithmetic: "
                "freeze it first (tinify freeze --portable)"
            )
        if exact_pixels and precision != "float32":
            raise InputError(f"exact pixels are computed in float32: leave the precision {precision} out")
        model.ensure_tables()
        settle(model)
        model.exact_pixels = exact_pixels
        model.transform_dtype = getattr(torch, precision)
        self.model = model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = model_name(model)
        self.digest = model_digest(model)
        self.tables = tables_digest(model)
        self._device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self._stride = model.architecture.stride
        self._tile, self._overlap = tile, overlap
        self._unit = self._coded_shape()
        self.qualities = model.qualities
        self._thousandths = self._checked(model.default_quality if quality is None else quality)

    @property
    def quality(self) -> float | None:
        """What pictures are coded with; None for a model of one rate."""
        return None if self._thousandths is None else self._thousandths / 1000

    def at(self, quality: float) -> Codec:
        """The same codec with another quality."""
        other = copy.copy(self)
        other._thousandths = self._checked(quality)
        return other

    def compress(self, image: Picture | Image.Image | NDArray[Any], quality: float | None = None) -> bytes:
        """The picture as `.tfy` bytes, complete with headers; takes what :func:`tinify.compress` takes."""
        if quality is not None:
            return self.at(quality).compress(image)
        picture = as_picture(image)
        header = self._header(picture)
        tiles = tuple(self._encode(self._tensor(picture, box)) for box in header.boxes)
        alpha = None if picture.alpha is None else _pack_plane(picture.alpha)
        packed = Container(header, tiles, picture.icc, picture.exif, alpha, quality=self._thousandths)
        return container.write(packed)

    def decompress(self, data: bytes) -> Picture:
        """The picture that ``compress`` coded; a :class:`~tinify.errors.FileError` says why not."""
        return self.decode(container.read(data))

    def decode(self, packed: Container) -> Picture:
        """The picture in an already parsed file."""
        header = packed.header
        if header.model_digest != self.digest:
            raise WrongModelError(
                f"this file was coded by model {header.model_name!r} ({header.model_digest.hex()[:12]}), and "
                f"the model at hand is {self.name!r} ({self.digest.hex()[:12]}): "
                "give the weights it was coded with (--model FILE)"
            )
        if any(max(right - left, bottom - top) > MAX_TILE for left, top, right, bottom in header.boxes):
            raise CorruptFileError(f"this file has tiles of more than {MAX_TILE} pixels a side, which no writer makes")
        check_arithmetic((header.profile, header.tables), (self.model.arithmetic, self.tables))
        tiles, codec = iter(packed.tiles), self._as_coded(packed.quality)
        pixels = _assemble(header, lambda box: codec._decode(next(tiles), box))
        alpha = None if packed.alpha is None else _unpack_plane(packed.alpha, header)
        return Picture(pixels, alpha=alpha, icc=packed.icc, exif=packed.exif)

    def reconstruct(self, picture: Picture) -> Picture:
        """The encoder's own reconstruction: what decoding will give, found without going through bytes."""

        def coded(box: Box) -> Tensor:
            y_hat = self.model.compress(self._tensor(picture, box), **self._asked)["y_hat"]
            return self._crop(self.model.reconstruct(y_hat)["x_hat"], box)

        pixels = _assemble(self._header(picture), coded)
        return Picture(pixels, alpha=picture.alpha, icc=picture.icc, exif=picture.exif)

    def estimate(self, picture: Picture) -> float:
        """The rate that the densities predict for the picture, in bits, headers not counted."""
        bits = 0.0
        with torch.no_grad():
            for box in self._header(picture).boxes:
                likelihoods = self.model(self._tensor(picture, box), **self._asked)["likelihoods"]
                bits -= sum(float(torch.log2(likelihood).sum()) for likelihood in likelihoods.values())
        return bits

    @property
    def _asked(self) -> dict[str, Any]:
        """What the model is told of quality; nothing, if it has one rate."""
        return {} if self.quality is None else {"quality": self.quality}

    def _checked(self, quality: float | None) -> int | None:
        if quality is None:
            return None
        if self.qualities is None:
            raise InputError(f"quality {quality:g}: {self.name} has one rate; leave the quality out")
        low, high = self.qualities
        if not low <= quality <= high:
            raise InputError(f"quality {quality:g}: expected a number from {low:g} to {high:g}")
        return round(1000 * quality)

    def _as_coded(self, thousandths: int | None) -> Codec:
        """The codec with a file's quality."""
        if (thousandths is None) != (self.qualities is None):
            raise CorruptFileError(f"this file has quality {thousandths}, and its model the qualities {self.qualities}")
        try:
            return self if thousandths is None else self.at(thousandths / 1000)
        except InputError as error:
            raise CorruptFileError(f"this file is damaged: {error}") from error

    def _header(self, picture: Picture) -> Header:
        height, width, channels = picture.pixels.shape
        return Header(
            width=width,
            height=height,
            channels=channels,
            model_name=self.name,
            model_digest=self.digest,
            tile_size=self._tile,
            overlap=self._overlap,
            profile=self.model.arithmetic,
            tables=self.tables,
        )

    def _tensor(self, picture: Picture, box: Box) -> Tensor:
        """The part of a picture that is coded for a tile, (1, 3, height, width) in [0, 1], padded to the stride."""
        left, top, right, bottom = box
        part = torch.tensor(picture.pixels[top:bottom, left:right], device=self._device)
        x = part.permute(2, 0, 1)[None].float().div_(255).expand(-1, 3, -1, -1)
        pad, _ = compute_padding(bottom - top, right - left, min_div=self._stride)
        return F.pad(x, pad, mode="replicate").contiguous(memory_format=torch.channels_last)

    def _encode(self, x: Tensor) -> Tile:
        with rans_by_default(), witness() as seen:
            packed = self.model.compress(x, **self._asked)
        strings = tuple(strings[0] for strings in packed["strings"])
        return Tile(strings, tuple(packed["shape"]), seen.checksum)

    def _decode(self, tile: Tile, box: Box) -> Tensor:
        # What a tile's latent measures follows from its box; a file that says otherwise must not make us allocate it.
        sides = zip(self._padded(box), self._unit, strict=True)
        expected = tuple(side // self._stride * unit for side, unit in sides)
        if tile.shape != expected:
            raise CorruptFileError(f"a tile has a latent of {tile.shape}, where its box {box} gives {expected}")
        strings = [[string] for string in tile.strings]
        try:
            with rans_by_default(), witness() as seen:
                x_hat = self.model.decompress(strings, torch.Size(tile.shape), **self._asked)["x_hat"]
        except CorruptStreamError as error:
            raise other_symbols(self.model, str(error)) from error
        check_symbols(self.model, seen.checksum, tile.checksum)
        return self._crop(x_hat, box)

    def _coded_shape(self) -> tuple[int, int]:
        """The spatial size that one square of the stride leaves of the latent whose size the file records."""
        square = torch.zeros(1, self.model.channels, self._stride, self._stride, device=self._device)
        shape = self.model.compress(square)["shape"]
        if not isinstance(shape, torch.Size) or len(shape) != 2:
            raise CheckpointError(f"a .tfy file records the size of one latent; this model needs {shape}")
        return shape[0], shape[1]

    def _padded(self, box: Box) -> tuple[int, int]:
        """Height and width that the model sees of a tile."""
        left, top, right, bottom = box
        pad, _ = compute_padding(bottom - top, right - left, min_div=self._stride)
        return bottom - top + pad[2] + pad[3], right - left + pad[0] + pad[1]

    def _crop(self, x_hat: Tensor, box: Box) -> Tensor:
        """The picture's own part of a padded reconstruction, (height, width, 3)."""
        left, top, right, bottom = box
        _, unpad = compute_padding(bottom - top, right - left, min_div=self._stride)
        return F.pad(x_hat, unpad)[0].permute(1, 2, 0).cpu()


def model_name(model: CompressionModel) -> str:
    """The name that files carry: the spec's, with the preset if there is one (``mbt2018-mean-q4``)."""
    assert model.architecture is not None
    name, preset = model.architecture.name, model.architecture.preset
    return f"{name}-{preset}" if preset else name


def check_arithmetic(file: tuple[str, bytes | None], model: tuple[str, bytes]) -> None:
    """Raises :class:`~tinify.errors.CorruptFileError` for a file whose arithmetic is not its model's, or whose tables.

    Of the tables both have the digest, a file perhaps not.
    """
    if file[0] != model[0]:
        raise CorruptFileError(f"this file is of {file[0]} arithmetic, and its model of {model[0]}")
    if file[1] not in (None, model[1]):
        raise CorruptFileError("this file was coded with other coding tables than its model has: it is damaged")


def check_symbols(model: CompressionModel, checksum: int, coded: int | None) -> None:
    """Raises :class:`~tinify.errors.CorruptStreamError` where symbols are others than were coded, if that is known."""
    if coded not in (None, checksum):
        raise other_symbols(model, f"their checksum is {checksum:08x}, and was {coded:08x}")


def other_symbols(model: CompressionModel, found: str) -> CorruptStreamError:
    """What is wrong with a file whose bytes are right, and whose symbols are not."""
    if model.arithmetic == PORTABLE:
        return CorruptStreamError(
            f"the file is whole, but its symbols do not decode, though {model_name(model)} is portable: is this the "
            f"version of tinify that it was coded with, or a newer one? Please report it ({found})"
        )
    return CorruptStreamError(
        "this file was written with float arithmetic on another device: its symbols do not decode here. Use a "
        "processor of the same family, and the torch version and number of threads that it was coded with; or "
        f"code it anew with portable weights (tinify freeze) ({found})"
    )


def _assemble(header: Header, tile: Callable[[Box], Tensor]) -> NDArray[np.uint8]:
    """Pixels (height, width, channels) from tiles in [0, 1], cross-faded where they overlap, row by row of tiles."""
    pixels = np.empty((header.height, header.width, header.channels), np.uint8)
    rows = [[*row] for _, row in groupby(header.boxes, key=lambda box: box[1])]
    ends = [row[0][1] for row in rows[1:]] + [header.height]
    carried = (torch.zeros(0, header.width, header.channels), torch.zeros(0, header.width, 1))
    for row, end in zip(rows, ends, strict=True):
        _, top, _, bottom = row[0]
        total = torch.zeros(bottom - top, header.width, header.channels)
        weights = torch.zeros(bottom - top, header.width, 1)
        for strip, above in zip((total, weights), carried, strict=True):
            strip[: len(above)] = above
        for left, _, right, _ in row:
            x_hat = tile((left, top, right, bottom))
            # Written out, for a library may add in any order.
            part = (x_hat[..., :1] + x_hat[..., 1:2] + x_hat[..., 2:]) / 3 if header.channels == 1 else x_hat
            down = _fade(bottom - top, top > 0, bottom < header.height, header.overlap)
            across = _fade(right - left, left > 0, right < header.width, header.overlap)
            weight = (down[:, None] * across)[..., None]
            total[:, left:right] += part * weight
            weights[:, left:right] += weight
        done = end - top
        faded = total[:done] / weights[:done]
        pixels[top:end] = torch.round(faded * 255).clamp_(0, 255).to(torch.uint8).numpy()
        carried = (total[done:], weights[done:])
    return pixels


def _fade(length: int, before: bool, after: bool, overlap: int) -> Tensor:
    """A weight along one axis that rises over the overlap with a neighbour before, and falls over one after."""
    ramp = (torch.arange(min(overlap, length)) + 0.5) / max(1, overlap)
    weight = torch.ones(length)
    if before:
        weight[: len(ramp)] *= ramp
    if after:
        weight[length - len(ramp) :] *= ramp.flip(0)
    return weight


def _pack_plane(plane: NDArray[np.uint8]) -> bytes:
    """An alpha plane without loss, as PNG."""
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "png", optimize=True)
    return stream.getvalue()


def _unpack_plane(data: bytes, header: Header) -> NDArray[np.uint8]:
    try:
        plane = read_picture(io.BytesIO(data)).pixels
    except ImageError as error:
        raise CorruptFileError(f"the alpha plane cannot be read: {error}") from error
    if plane.shape != (header.height, header.width, 1):
        raise CorruptFileError(f"the alpha plane is {plane.shape}, the picture {header.width}x{header.height}")
    return plane[..., 0]
