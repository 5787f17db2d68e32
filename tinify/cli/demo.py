"""``tinify demo``: a photograph through the shipped codec and back, beside JPEG at the same size."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinify.cli.options import json_option, progress, quiet_option
from tinify.errors import OutputError
from tinify.files import write_atomic
from tinify.images import Picture, from_pil, read_picture, to_pil, write_picture
from tinify.weights import DEFAULT


@dataclass(frozen=True)
class Result:
    """One codec on one photograph; sizes in bytes, PSNR in decibels, times in seconds."""

    codec: str
    size: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    encode: float
    decode: float


@click.command("demo")
@click.argument("photo", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    default=Path("tinify-demo"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the results.",
)
@click.option("--model", "-m", default=DEFAULT, show_default=True, help="Weights: an installed name, or a file.")
@quiet_option
@json_option
def demo_command(photo: Path | None, out: Path, model: str, quiet: bool, as_json: bool) -> None:
    """Compress PHOTO (or one that scikit-image carries) and put it beside a JPEG of the same size.

    Writes the .tfy file, the decoded picture and a side-by-side PNG to --out.
    """
    source = Path(str(files("skimage") / "data" / "astronaut.png")) if photo is None else photo
    picture = read_picture(source)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror}") from error
    with progress(f"coding {source.name}", quiet or as_json):
        from tinify.zoo import load_codec

        codec = load_codec(model)
        codec.decompress(codec.compress(picture))  # the first call compiles and allocates; it is not timed
        begun = time.perf_counter()
        data = codec.compress(picture)
        encoded = time.perf_counter()
        decoded = codec.decompress(data)
        ended = time.perf_counter()
        ours = _result(codec.name, picture, decoded, len(data), encoded - begun, ended - encoded)
        jpeg, jpeg_picture = _jpeg(picture, len(data))
    stem = source.stem
    write_atomic(out / f"{stem}.tfy", data)
    write_picture(decoded, out / f"{stem}.decoded.png")
    sheet = out / f"{stem}.side-by-side.png"
    write_picture(from_pil(_side_by_side(picture, [(ours, decoded), (jpeg, jpeg_picture)])), sheet)
    if as_json:
        click.echo(json.dumps({"photo": source.name, "picture": str(sheet), "results": [vars(ours), vars(jpeg)]}))
    elif not quiet:
        _table(source.name, picture, [ours, jpeg])
        click.echo(f"the picture: {sheet}")


def _result(name: str, original: Picture, decoded: Picture, size: int, encode: float, decode: float) -> Result:
    import torch

    from tinify.metrics import MS_SSIM_MIN_SIDE, ms_ssim, psnr

    height, width, _ = original.pixels.shape
    a, b = (torch.from_numpy(p.pixels.copy()).permute(2, 0, 1)[None].float() / 255 for p in (original, decoded))
    similarity = float(ms_ssim(b, a)) if min(height, width) >= MS_SSIM_MIN_SIDE else None
    return Result(name, size, 8 * size / (height * width), psnr(a, b), similarity, encode, decode)


def _jpeg(picture: Picture, size: int) -> tuple[Result, Picture]:
    """The JPEG (4:2:0, optimised) of the lowest quality that has ``size`` bytes or more: the rival never has fewer."""
    image = to_pil(Picture(picture.pixels))

    def coded(quality: int) -> bytes:
        stream = io.BytesIO()
        image.save(stream, "jpeg", quality=quality, optimize=True, subsampling=2)
        return stream.getvalue()

    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(coded(middle)) >= size else (middle + 1, high)
    begun = time.perf_counter()
    data = coded(low)
    encoded = time.perf_counter()
    decoded = from_pil(Image.open(io.BytesIO(data)))
    ended = time.perf_counter()
    return _result(f"JPEG, quality {low}", picture, decoded, len(data), encoded - begun, ended - encoded), decoded


def _side_by_side(picture: Picture, coded: list[tuple[Result, Picture]]) -> Image.Image:
    """Original and decoded pictures in a row, each under its figures."""
    height, width, _ = picture.pixels.shape
    panels = [("original", picture)]
    panels += [(f"{r.codec}: {r.size:,} bytes, {r.bpp:.3f} bpp, {r.psnr:.2f} dB", p) for r, p in coded]
    caption, gap = max(18, width // 24), 4
    font = ImageFont.load_default(size=caption * 0.6)
    sheet = Image.new("RGB", (len(panels) * (width + gap) - gap, height + caption), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (text, panel) in enumerate(panels):
        left = index * (width + gap)
        pixels = panel.pixels if panel.pixels.shape[2] == 3 else np.repeat(panel.pixels, 3, axis=2)
        sheet.paste(Image.fromarray(pixels), (left, caption))
        draw.text((left + 2, caption // 6), text, fill="black", font=font)
    return sheet


def _table(name: str, picture: Picture, results: list[Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    height, width, channels = picture.pixels.shape
    table = Table(title=f"{name}, {width}x{height}, {width * height * channels:,} bytes of samples")
    for column in ("codec", "bytes", "bpp", "PSNR dB", "MS-SSIM", "encode s", "decode s"):
        table.add_column(column, justify="left" if column == "codec" else "right", no_wrap=True)
    for r in results:
        similarity = "too small" if r.ms_ssim is None else f"{r.ms_ssim:.4f}"
        table.add_row(
            r.codec, f"{r.size:,}", f"{r.bpp:.4f}", f"{r.psnr:.2f}", similarity, f"{r.encode:.3f}", f"{r.decode:.3f}"
        )
    Console().print(table)
