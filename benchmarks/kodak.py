"""Photographs through the command line in one process and back in another, beside JPEG and WebP of no fewer bytes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import click
import numpy as np
from report import describe, finish, in_new_process, json_option, machine, table

from tinify.errors import TinifyError
from tinify.evaluation.codec import PictureCodec, Pixels, open_codec
from tinify.evaluation.pictures import read_pixels
from tinify.evaluation.quality import compare

# A file may take one per cent and so many bytes more than the densities promise.
OVERHEAD, HEADER = 1.01, 64
# Decibels by which the shipped weights lead at equal bytes.
TARGETS = {"JPEG": 2.5, "WebP": 0.8}
RIVALS = {"JPEG": "jpeg", "WebP": "webp", "WebP, method 6": "webp[method=6]"}


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


def encode(images: list[Path], folder: Path, model: str, quality: float | None) -> None:
    """Codes every picture with `tinify compress`; ``folder`` also gets the encoder's pixels and the estimated bits."""
    from tinify.cli import cli
    from tinify.images import read_picture
    from tinify.zoo import load_codec

    codec = load_codec(model, quality)
    option = [] if quality is None else ["--quality", f"{quality:g}"]
    for path in images:
        arguments = ["compress", str(path), str(folder / f"{path.stem}.tfy"), "--model", model, "--quiet", *option]
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


def lowest(enough: Callable[[int], bool]) -> int:
    """The lowest quality from 1 to 100 that is ``enough``; 100 if none is.

    >>> lowest(lambda quality: quality > 41)
    42
    """
    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def score(original: Pixels, decoded: Pixels, size: int) -> Score:
    """Rate and distances of one coded picture."""
    height, width, _ = original.shape
    found = compare(original, decoded)
    if found.ms_ssim is None:
        raise click.ClickException(f"a picture of {width}x{height} pixels is too small for MS-SSIM: leave it out")
    return Score(size, 8 * size / (height * width), found.psnr, found.ms_ssim)


def rival(codec: PictureCodec, original: Pixels, quality: int) -> Score:
    """A rival's picture at one of its qualities."""
    data = codec.encode(original, quality)
    return score(original, codec.decode(data), len(data))


def no_smaller(codec: PictureCodec, original: Pixels, size: int) -> Score:
    """A rival's picture at its lowest quality that takes ``size`` bytes or more; at its best if none does."""
    return rival(codec, original, lowest(lambda quality: len(codec.encode(original, quality)) >= size))


def examine(path: Path, folder: Path) -> Photo:
    """One picture, after both processes have done their work."""
    original, decoded = read_pixels(path), read_pixels(folder / f"{path.stem}.png")
    size = (folder / f"{path.stem}.tfy").stat().st_size
    scores = {"tinify": score(original, decoded, size)}
    for name, text in RIVALS.items():
        scores[name] = no_smaller(open_codec(text), original, size)
    identical = np.array_equal(np.broadcast_to(np.load(folder / f"{path.stem}.npy"), original.shape), decoded)
    return Photo(path.name, json.loads((folder / f"{path.stem}.json").read_text()), identical, scores)


def at_one_quality(codec: PictureCodec, originals: list[Pixels], size: float) -> dict[str, float]:
    """The lowest quality at which a rival's files take ``size`` bytes or more in the mean, and its mean PSNR there."""
    quality = lowest(lambda quality: fmean(len(codec.encode(pixels, quality)) for pixels in originals) >= size)
    scores = [rival(codec, pixels, quality) for pixels in originals]
    return {"quality": quality, "bytes": fmean(s.bytes for s in scores), "psnr": fmean(s.psnr for s in scores)}


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
@click.option("--quality", type=float, help="Of a model of variable rate; its own default if not given.")
@click.option("--limit", type=click.IntRange(1), help="Only the first pictures.")
@json_option
def main(images: Path, model: str, quality: float | None, limit: int | None, json_file: Path | None) -> None:
    """Check files, pixels and rates of the shipped codec on real photographs, and compare it with JPEG and WebP."""
    paths = sorted(images.glob("*.png"))[:limit]
    if not paths:
        raise click.UsageError(f"there are no PNG files in {images}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            in_new_process(encode, paths, folder, model, quality)
            in_new_process(decode, folder, model if Path(model).is_file() else None)
        except TinifyError as error:
            raise click.ClickException(str(error)) from error
        photos = [examine(path, folder) for path in paths]
    facts, means = machine(), mean_scores(photos)
    leads = {name: means["tinify"]["psnr"] - means[name]["psnr"] for name in RIVALS}
    originals, size = [read_pixels(path) for path in paths], means["tinify"]["bytes"]
    level = {name: at_one_quality(open_codec(text), originals, size) for name, text in RIVALS.items()}
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
        "quality": quality,
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
