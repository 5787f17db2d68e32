"""Photographs through the command line in one process and back in another, beside JPEG and WebP of no fewer bytes."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from report import describe, finish, in_new_process, json_option, machine, table

from tinify.errors import TinifyError

# A file may take one per cent and so many bytes more than the densities promise.
OVERHEAD, HEADER = 1.01, 64
# Decibels by which the shipped weights lead at equal bytes.
TARGETS = {"JPEG": 2.5, "WebP": 0.8}

Pixels = NDArray[np.uint8]
RIVALS: dict[str, Callable[..., None]] = {
    "JPEG": lambda image, stream, quality: image.save(stream, "jpeg", quality=quality, subsampling=2, optimize=True),
    "WebP": lambda image, stream, quality: image.save(stream, "webp", quality=quality),
    "WebP, method 6": lambda image, stream, quality: image.save(stream, "webp", quality=quality, method=6),
}


@dataclass(frozen=True)
class Score:
    """One codec on one picture: bits per pixel of the real file, and 8-bit distances."""

    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float


@dataclass(frozen=True)
class Photo:
    """Everything measured on one picture; ``estimate`` is the densities' promise in bits."""

    name: str
    estimate: float
    identical: bool
    scores: dict[str, Score]

    @property
    def failures(self) -> list[str]:
        """What should not be."""
        ours = self.scores["tinify"].bytes
        limit = OVERHEAD * self.estimate / 8 + HEADER
        found = [] if self.identical else [f"{self.name}: the decoded pixels are not the encoder's own reconstruction"]
        if ours > limit:
            found.append(
                f"{self.name}: {ours} bytes, more than {limit:.0f}, where the densities promise {self.estimate / 8:.0f}"
            )
        poor = [rival for rival in RIVALS if self.scores[rival].bytes < ours]
        return found + [
            f"{self.name}: {rival} cannot be made as large as {ours} bytes, so nothing is compared" for rival in poor
        ]


def encode(images: list[Path], folder: Path, model: str) -> None:
    """Codes every picture with `tinify compress`; ``folder`` also gets the encoder's pixels and the estimated bits."""
    from tinify.cli import cli
    from tinify.images import read_picture
    from tinify.zoo import load_codec

    codec = load_codec(model, None)
    for path in images:
        arguments = ["compress", str(path), str(folder / f"{path.stem}.tfy"), "--model", model, "--quiet"]
        cli.main(arguments, standalone_mode=False)
        picture = read_picture(path)
        np.save(folder / f"{path.stem}.npy", codec.reconstruct(picture).pixels)
        (folder / f"{path.stem}.json").write_text(json.dumps(codec.estimate(picture)))


def decode(folder: Path, model: str | None) -> None:
    """Decodes every file in ``folder`` with `tinify decompress`, to PNG."""
    from tinify.cli import cli

    option = ["--model", model] if model else []
    for path in sorted(folder.glob("*.tfy")):
        arguments = ["decompress", str(path), str(path.with_suffix(".png")), "--quiet", *option]
        cli.main(arguments, standalone_mode=False)


def pixels_of(image: Image.Image) -> Pixels:
    """(height, width, 3), uint8."""
    return np.asarray(image.convert("RGB"))


def at_least(encode_at: Callable[[int], bytes], size: int) -> bytes:
    """The file of the lowest quality from 1 to 100 that has ``size`` bytes or more; that of 100 if none has.

    >>> len(at_least(bytes, 42))
    42
    """
    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(encode_at(middle)) >= size else (middle + 1, high)
    return encode_at(low)


def coded(image: Image.Image, save: Callable[..., None], quality: int) -> bytes:
    """The picture in a rival's format."""
    stream = io.BytesIO()
    save(image, stream, quality=quality)
    return stream.getvalue()


def score(original: Pixels, decoded: Pixels, size: int) -> Score:
    """Rate and distances of one coded picture."""
    import torch

    from tinify.metrics import MS_SSIM_MIN_SIDE, ms_ssim, psnr

    if min(original.shape[:2]) < MS_SSIM_MIN_SIDE:
        raise click.ClickException(
            f"MS-SSIM needs pictures of {MS_SSIM_MIN_SIDE} pixels a side; one has {original.shape[:2]}"
        )
    a, b = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255 for pixels in (original, decoded))
    height, width, _ = original.shape
    return Score(size, 8 * size / (height * width), psnr(a, b), float(ms_ssim(b, a)))


def examine(path: Path, folder: Path) -> Photo:
    """One picture, after both processes have done their work."""
    with Image.open(path) as image:
        original = pixels_of(image)
    plain = Image.fromarray(original)
    with Image.open(folder / f"{path.stem}.png") as image:
        decoded = pixels_of(image)
    size = (folder / f"{path.stem}.tfy").stat().st_size
    scores = {"tinify": score(original, decoded, size)}
    for name, save in RIVALS.items():
        data = at_least(partial(coded, plain, save), size)
        scores[name] = score(original, pixels_of(Image.open(io.BytesIO(data))), len(data))
    identical = np.array_equal(np.broadcast_to(np.load(folder / f"{path.stem}.npy"), original.shape), decoded)
    return Photo(path.name, json.loads((folder / f"{path.stem}.json").read_text()), identical, scores)


def at_one_quality(originals: list[Pixels], save: Callable[..., None], size: float) -> dict[str, float]:
    """The lowest quality at which a rival's files take ``size`` bytes or more in the mean, and its mean PSNR there."""
    images = [Image.fromarray(original) for original in originals]
    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        mean = fmean(len(coded(image, save, middle)) for image in images)
        low, high = (low, middle) if mean >= size else (middle + 1, high)
    files = [coded(image, save, low) for image in images]
    pairs = zip(originals, files, strict=True)
    scores = [score(original, pixels_of(Image.open(io.BytesIO(file))), len(file)) for original, file in pairs]
    return {"quality": low, "bytes": fmean(s.bytes for s in scores), "psnr": fmean(s.psnr for s in scores)}


def mean_scores(photos: list[Photo]) -> dict[str, dict[str, float]]:
    """Each codec's figures, averaged over the pictures."""
    fields = ("bytes", "bpp", "psnr", "ms_ssim")
    codecs = ("tinify", *RIVALS)
    return {codec: {f: fmean(getattr(photo.scores[codec], f) for photo in photos) for f in fields} for codec in codecs}


@click.command()
@click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of PNG files.",
)
@click.option("--model", default="tinify-photo", show_default=True, help="Weights: an installed name, or a file.")
@click.option("--limit", type=click.IntRange(1), help="Only the first pictures.")
@json_option
def main(images: Path, model: str, limit: int | None, json_file: Path | None) -> None:
    """Check files, pixels and rates of the shipped codec on real photographs, and compare it with JPEG and WebP."""
    paths = sorted(images.glob("*.png"))[:limit]
    if not paths:
        raise click.UsageError(f"there are no PNG files in {images}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            in_new_process(encode, paths, folder, model)
            in_new_process(decode, folder, model if Path(model).is_file() else None)
        except TinifyError as error:
            raise click.ClickException(str(error)) from error
        photos = [examine(path, folder) for path in paths]
    facts, means = machine(), mean_scores(photos)
    leads = {rival: means["tinify"]["psnr"] - means[rival]["psnr"] for rival in RIVALS}
    originals = [pixels_of(Image.open(path)) for path in paths]
    level = {rival: at_one_quality(originals, save, means["tinify"]["bytes"]) for rival, save in RIVALS.items()}
    click.echo(f"{model}, {len(photos)} pictures, means; {describe(facts)}\n")
    click.echo(_summary(means))
    click.echo("\nRivals at one quality for all pictures, their mean bytes no fewer:\n")
    click.echo(table(["codec", "quality", "bytes", "PSNR dB"], [_level_row(*item) for item in level.items()]))
    overhead = max(photo.scores["tinify"].bytes - photo.estimate / 8 for photo in photos)
    identical = sum(photo.identical for photo in photos)
    click.echo(f"\nPictures that decode to the encoder's own pixels: {identical} of {len(photos)}.")
    click.echo(f"Bytes of a file above what the densities promise: at most {overhead:.0f}.")
    failures = [failure for photo in photos for failure in photo.failures]
    failures += [
        f"{leads[rival]:.2f} dB above {rival}, less than {least}"
        for rival, least in TARGETS.items()
        if leads[rival] < least
    ]
    result = {
        "machine": facts,
        "model": model,
        "means": means,
        "leads": leads,
        "at one quality": level,
        "photos": [asdict(photo) for photo in photos],
    }
    finish(result, failures, json_file)


def _level_row(codec: str, found: dict[str, float]) -> list[str]:
    return [codec, f"{found['quality']:.0f}", f"{found['bytes']:.0f}", f"{found['psnr']:.2f}"]


def _summary(means: dict[str, dict[str, float]]) -> str:
    rows = []
    for codec, mean in means.items():
        lead = means["tinify"]["psnr"] - mean["psnr"]
        margin = "" if codec == "tinify" else f"{lead:+.2f}"
        rows.append(
            [
                codec,
                f"{mean['bytes']:.0f}",
                f"{mean['bpp']:.4f}",
                f"{mean['psnr']:.2f}",
                f"{mean['ms_ssim']:.4f}",
                margin,
            ]
        )
    return table(["codec", "bytes", "bits/pixel", "PSNR dB", "MS-SSIM", "tinify leads by dB"], rows)


if __name__ == "__main__":
    main()
