"""``tinify compress`` and ``tinify decompress``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from tinify import container
from tinify.cli.options import force_option, json_option, precision_option, progress, quiet_option
from tinify.errors import FileError, OutputError
from tinify.files import read_bytes, write_atomic
from tinify.images import MAX_BYTES, output_format, read_picture, write_picture
from tinify.weights import DEFAULT


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
@click.option("--quality", type=int, help="One of the model's qualities, 1 (small) to 8 (faithful).")
@precision_option
@quiet_option
@json_option
@force_option
def compress_command(
    source: Path,
    output: Path | None,
    model: str,
    quality: int | None,
    precision: str,
    quiet: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Compress the picture IN to a .tfy file."""
    picture = read_picture(source)
    output = target(output, source, ".tfy", force)
    if output.suffix.lower() != ".tfy":
        raise OutputError(f"{output} does not end in .tfy: one picture is compressed at a time, name it and its output")
    with progress(f"compressing {source.name}", quiet or as_json):
        from tinify.zoo import load_codec

        codec = load_codec(model, quality, precision)
        begun = time.perf_counter()
        data = codec.compress(picture)
        seconds = time.perf_counter() - begun
    write_atomic(output, data)
    height, width, _ = picture.pixels.shape
    bpp = 8 * len(data) / (height * width)
    if as_json:
        result = {"input": str(source), "output": str(output), "width": width, "height": height, "bytes": len(data)}
        click.echo(json.dumps(result | {"bpp": bpp, "seconds": seconds, "model": codec.name, "notes": picture.notes}))
    elif not quiet:
        click.echo(
            f"{output}: {len(data)} bytes, {bpp:.3f} bits per pixel, {width}x{height}, {codec.name}, {seconds:.2f} s"
        )
    _warn(picture.notes, quiet or as_json)


@click.command("decompress")
@click.argument("source", metavar="IN.tfy", type=click.Path(path_type=Path))
@click.argument("output", metavar="[OUT.png]", required=False, type=click.Path(path_type=Path))
@click.option("--model", "-m", help="Weights, where no installed package carries those that the file names.")
@precision_option
@quiet_option
@json_option
@force_option
def decompress_command(
    source: Path, output: Path | None, model: str | None, precision: str, quiet: bool, as_json: bool, force: bool
) -> None:
    """Turn the .tfy file IN back into a picture; the output's suffix says the format (png, jpg, webp, tif, ...)."""
    packed = container.read(read_bytes(source, limit=MAX_BYTES, error=FileError))
    output = target(output, source, ".png", force)
    output_format(output)
    with progress(f"decompressing {source.name}", quiet or as_json):
        from tinify.zoo import codec_for

        codec = codec_for(packed.header, model, precision)
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
