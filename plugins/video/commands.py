"""The command group ``tinify video``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tinify.cli.files import target
from tinify.cli.options import force_option, json_option, progress, quiet_option
from tinify.errors import FileError, InputError, OutputError, WrongModelError
from tinify.files import write_atomic
from tinify.registry import get_registry

from .container import Header, Reader

if TYPE_CHECKING:
    from .codec import VideoCodec

_model_option = click.option("--model", "-m", help="Weights: an installed name, or a file.")


@click.group("video")
def video() -> None:
    """Compress clips, and play them."""


@video.command("compress")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="[OUT.tfv]", required=False, type=click.Path(path_type=Path))
@_model_option
@click.option("--group", type=click.IntRange(1, 65536), default=12, show_default=True, help="Frames to a key frame.")
@click.option("--frames", type=click.IntRange(1), help="Take no more than this many.")
@click.option("--rate", help="Frames a second of a folder or a raw file: 25, or 30000/1001.")
@quiet_option
@json_option
@force_option
def compress_command(
    source: Path,
    output: Path | None,
    model: str | None,
    group: int,
    frames: int | None,
    rate: str | None,
    quiet: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Compress the clip IN: a .y4m, .yuv, .mp4 or another file that FFmpeg reads, or a folder of pictures.

    Sound is left out. A .yuv says its format in its name: NAME_832x480_30Hz_8bit_P420.yuv.
    """
    from .clips import open_clip

    output = target(output, source, ".tfv", force)
    if output.suffix.lower() != ".tfv":
        raise OutputError(f"{output} does not end in .tfv: name a file that does")
    clip = open_clip(source, _rate(rate))
    count = 0
    begun = time.perf_counter()
    with progress(f"compressing {source.name}", quiet or as_json):
        codec = _load(model)

        def write(stream: BinaryIO) -> None:
            nonlocal count
            limited = (frame for _, frame in zip(range(frames or 2**63), clip.frames, strict=False))
            for _ in codec.encode(limited, clip.width, clip.height, clip.rate, stream, group):
                count += 1

        write_atomic(output, write)
    seconds = time.perf_counter() - begun
    size = output.stat().st_size
    facts: dict[str, Any] = {"input": str(source), "output": str(output), "frames": count, "bytes": size}
    facts |= {"width": clip.width, "height": clip.height, "rate": str(clip.rate), "model": codec.name}
    facts |= {"bpp": 8 * size / (count * clip.width * clip.height), "seconds": seconds}
    if as_json:
        click.echo(json.dumps(facts))
    elif not quiet:
        kilobits = 8 * size * float(clip.rate) / count / 1000
        click.echo(
            f"{output}: {size} bytes, {count} frames of {clip.width}x{clip.height}, {facts['bpp']:.3f} bits per pixel, "
            f"{kilobits:.0f} kbit/s, {codec.name}, {seconds:.1f} s"
        )


@video.command("decompress")
@click.argument("source", metavar="IN.tfv", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@_model_option
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="First frame, from 0.")
@click.option("--frames", type=click.IntRange(1), help="No more than this many.")
@click.option("--strict", is_flag=True, help="Write nothing of a damaged file.")
@quiet_option
@force_option
def decompress_command(
    source: Path,
    output: Path,
    model: str | None,
    start: int,
    frames: int | None,
    strict: bool,
    quiet: bool,
    force: bool,
) -> None:
    """Turn IN.tfv into OUT: a .y4m, .yuv or .mp4, or a new folder of PNG files.

    A damaged or truncated file plays as far as it can: frames that are lost repeat the one before, a note names them,
    and the exit status is 1.
    """
    from .clips import open_sink

    if output.exists() and output.is_file() and not force:
        raise OutputError(f"{output} exists: overwrite it with --force")
    lost: list[int] = []
    count = 0
    with _opened(source) as stream, progress(f"decoding {source.name}", quiet):
        header = Reader(stream).header
        codec = _load(model, header)
        damage = _damage(stream)
        if damage and strict:
            raise FileError(f"{source} is damaged: {damage}")
        sink, last = None, None
        for played in codec.decode(stream, start, salvage=bool(damage)):
            if frames is not None and count >= frames:
                break
            if played.pixels is None:
                lost.append(played.number)
            last = last if played.pixels is None else played.pixels
            if last is not None:
                sink = sink or open_sink(output, header.width, header.height, header.rate)
                sink.write(last)
                count += 1
        if sink is None:
            raise FileError(f"{source} has no frame that plays{f' from number {start} on' if start else ''}: {damage}")
        sink.close()
    if not quiet:
        click.echo(f"{output}: {count} frames of {header.width}x{header.height}, {codec.name}")
    if damage:
        held = f"; frames {_ranges(lost)} are lost, and the one before stands for them" if lost else ""
        click.echo(f"note: {source} is damaged: {damage}{held}", err=True)
        raise SystemExit(1)


@video.command("info")
@click.argument("source", metavar="IN.tfv", type=click.Path(path_type=Path))
@json_option
def info_command(source: Path, as_json: bool) -> None:
    """Say what IN.tfv is: size, frames, groups, model, and whether its checksums are right."""
    with _opened(source) as stream:
        reader = Reader(stream)
        header, keys, frames = reader.header, 0, 0
        damage = _damage(stream)
        for frame in reader.salvage():
            frames, keys = frames + 1, keys + frame.key
    size = source.stat().st_size
    facts: dict[str, Any] = {"bytes": size, "width": header.width, "height": header.height, "rate": str(header.rate)}
    facts |= {"frames": frames, "groups": keys, "group": header.group, "model": header.model_name}
    facts |= {"digest": header.model_digest.hex(), "arithmetic": header.profile, "damage": damage}
    facts |= {"bpp": 8 * size / (max(1, frames) * header.width * header.height)}
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{source}: {frames} frames of {header.width}x{header.height} at {header.rate} a second")
    click.echo(f"{size} bytes, {facts['bpp']:.3f} bits per pixel, {keys} groups of {header.group} frames at most")
    click.echo(f"model {header.model_name} ({header.model_digest.hex()[:12]}), {header.profile} arithmetic")
    click.echo(f"damaged: {damage}" if damage else "all checksums are right")


def _damage(stream: BinaryIO) -> str:
    """What is wrong with a file beyond its header, or ""."""
    try:
        for _ in Reader(stream).frames():
            pass
    except FileError as error:
        return str(error)
    return ""


def _load(model: str | None, header: Header | None = None) -> VideoCodec:
    """The codec named, or that of a file, or the only one installed."""
    from tinify.zoo import load_model

    from .codec import VideoCodec

    installed = get_registry().weight_files()
    if model is None and header is not None:
        if header.model_name not in installed:
            raise WrongModelError(
                f"this file was coded by model {header.model_name!r} ({header.model_digest.hex()[:12]}), which is not "
                "among the installed weights: give its weights with --model FILE"
            )
        model = header.model_name
    if model is None:
        raise InputError("no weights of video come with tinify: name a file of trained ones with --model FILE")
    return VideoCodec(load_model(model))  # type: ignore[arg-type]


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}; check the path") from error


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        rate = Fraction(text)
        if rate <= 0:
            raise ValueError
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"--rate {text}: expected a positive number of frames a second, 25 or 30000/1001") from error
    return rate


def _ranges(numbers: list[int]) -> str:
    """Numbers as ranges: ``3 to 5, 9``."""

    def runs() -> Iterator[tuple[int, int]]:
        first = last = numbers[0]
        for number in numbers[1:]:
            if number != last + 1:
                yield first, last
                first = number
            last = number
        yield first, last

    return ", ".join(f"{a} to {b}" if b > a else f"{a}" for a, b in runs())
