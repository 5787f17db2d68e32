"""``tinify compress`` and ``tinify decompress``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinify import container
from tinify.cli.options import force_option, json_option, precision_option, progress, quiet_option
from tinify.errors import FileError, InputError, OutputError
from tinify.files import read_bytes, write_atomic
from tinify.images import MAX_BYTES, Picture, output_format, read_picture, write_picture
from tinify.weights import DEFAULT

if TYPE_CHECKING:
    from tinify.codec import Codec


def target(given: Path | None, source: Path, suffix: str, force: bool) -> Path:
    """The output: the one named, or the input's name with another suffix, which must not exist unless forced."""
    path = given or source.with_suffix(suffix)
    if path.resolve() == source.resolve():
        raise OutputError(f"{path} is the input: name another output")
    if given is None and path.exists() and not force:
        raise OutputError(f"{path} exists: name the output, or overwrite it with --force")
    return path


@click.command("compress")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="[OUT.tfy]", required=False, type=click.Path(path_type=Path))
@click.option("--model", "-m", default=DEFAULT, show_default=True, help="Weights: an installed name, or a file.")
@click.option("--quality", type=float, help="From 1 (small) to 10 (faithful), in any fraction.  [default: 5]")
@click.option("--bpp", type=float, help="Aim at this many bits per pixel, headers and all.")
@click.option("--bytes", "size", type=float, help="Aim at a file of this many bytes.")
@click.option("--psnr", type=float, help="Aim at this peak signal-to-noise ratio, in decibels.")
@precision_option
@quiet_option
@json_option
@force_option
def compress_command(
    source: Path,
    output: Path | None,
    model: str,
    quality: float | None,
    bpp: float | None,
    size: float | None,
    psnr: float | None,
    precision: str,
    quiet: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Compress the picture IN to a .tfy file.

    --bpp, --bytes and --psnr search for a quality: the file is at most 2 % smaller than asked, never larger, or the
    picture at most 0.1 dB better, never worse. Where no quality gives that, the nearest is taken, and a note says so.
    """
    asked = {"--quality": quality, "--bpp": bpp, "--bytes": size, "--psnr": psnr}
    given = [option for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} say the same thing twice: give one of them")
    picture = read_picture(source)
    output = target(output, source, ".tfy", force)
    if output.suffix.lower() != ".tfy":
        raise OutputError(f"{output} does not end in .tfy: one picture is compressed at a time, name it and its output")
    with progress(f"compressing {source.name}", quiet or as_json):
        from tinify.zoo import load_codec

        codec = load_codec(model, quality, precision=precision)
        begun = time.perf_counter()
        data, quality, notes = _coded(codec, picture, bpp, size, psnr)
        seconds = time.perf_counter() - begun
    write_atomic(output, data)
    height, width, _ = picture.pixels.shape
    rate = 8 * len(data) / (height * width)
    notes = (*picture.notes, *notes)
    if as_json:
        result = {"input": str(source), "output": str(output), "width": width, "height": height, "bytes": len(data)}
        result |= {"bpp": rate, "quality": quality, "seconds": seconds, "model": codec.name, "notes": notes}
        click.echo(json.dumps(result))
    elif not quiet:
        said = codec.name if quality is None else f"{codec.name} at quality {quality:g}"
        click.echo(f"{output}: {len(data)} bytes, {rate:.3f} bits per pixel, {width}x{height}, {said}, {seconds:.2f} s")
    _warn(notes, quiet or as_json)


def _coded(
    codec: Codec, picture: Picture, bpp: float | None, size: float | None, psnr: float | None
) -> tuple[bytes, float | None, tuple[str, ...]]:
    """The file, its quality, and a note where the target was not to be had."""
    if bpp is None and size is None and psnr is None:
        return codec.compress(picture), codec.quality, ()
    from tinify.targets import compress_to_psnr, compress_to_size

    height, width, _ = picture.pixels.shape
    if psnr is not None:
        hit, unit, wanted = compress_to_psnr(codec, picture, psnr), "dB", psnr
    else:
        wanted = size if size is not None else (bpp or 0) * height * width / 8
        hit, unit = compress_to_size(codec, picture, wanted), "bytes"
    near = f"{wanted:.6g} {unit} cannot be had from {codec.name}: the nearest is {hit.value:.6g} {unit}"
    return hit.data, hit.quality, () if hit.reached else (f"{near}, quality {hit.quality:g}",)


@click.command("decompress")
@click.argument("source", metavar="IN.tfy", type=click.Path(path_type=Path))
@click.argument("output", metavar="[OUT.png]", required=False, type=click.Path(path_type=Path))
@click.option("--model", "-m", help="Weights, where no installed package carries those that the file names.")
@precision_option
@click.option("--exact-pixels", is_flag=True, help="The same pixels, hash for hash, on every machine; slower.")
@quiet_option
@json_option
@force_option
def decompress_command(
    source: Path,
    output: Path | None,
    model: str | None,
    precision: str,
    exact_pixels: bool,
    quiet: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Turn the .tfy file IN back into a picture; the output's suffix says the format (png, jpg, webp, tif, ...)."""
    packed = container.read(read_bytes(source, limit=MAX_BYTES, error=FileError))
    output = target(output, source, ".png", force)
    output_format(output)
    with progress(f"decompressing {source.name}", quiet or as_json):
        from tinify.zoo import codec_for

        codec = codec_for(packed.header, model, precision=precision, exact_pixels=exact_pixels)
        begun = time.perf_counter()
        picture = codec.decode(packed)
        seconds = time.perf_counter() - begun
    notes = write_picture(picture, output)
    width, height = packed.header.width, packed.header.height
    if as_json:
        result = {"input": str(source), "output": str(output), "width": width, "height": height}
        click.echo(json.dumps(result | {"seconds": seconds, "model": codec.name, "notes": notes}))
    elif not quiet:
        click.echo(f"{output}: {width}x{height}, {codec.name}, {seconds:.2f} s")
    _warn(notes, quiet or as_json)


def _warn(notes: tuple[str, ...], quiet: bool) -> None:
    for note in () if quiet else notes:
        click.echo(f"note: {note}", err=True)
