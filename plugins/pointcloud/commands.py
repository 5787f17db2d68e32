"""The command group ``tinify points``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinify.cli.files import target
from tinify.cli.options import force_option, json_option, progress, quiet_option
from tinify.errors import FileError, InputError, OutputError, WrongModelError
from tinify.files import read_bytes, write_atomic
from tinify.registry import get_registry

from .clouds import MAX_BYTES, Cloud, read_cloud, write_cloud
from .container import Header, read, read_header

if TYPE_CHECKING:
    from .codec import PointCodec

_model_option = click.option("--model", "-m", help="Weights: an installed name, or a file.")


@click.group("points")
def points() -> None:
    """Compress point clouds, and bring them back."""


@points.command("compress")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="[OUT.tfp]", required=False, type=click.Path(path_type=Path))
@_model_option
@click.option("--item", type=click.IntRange(0), help="Which cloud of an array of several, from 0.")
@quiet_option
@json_option
@force_option
def compress_command(
    source: Path, output: Path | None, model: str | None, item: int | None, quiet: bool, as_json: bool, force: bool
) -> None:
    """Compress the cloud IN: a .ply, .off, .npy, .npz, or .bin of KITTI. Its points, and nothing that they carry."""
    output = target(output, source, ".tfp", force)
    if output.suffix.lower() != ".tfp":
        raise OutputError(f"{output} does not end in .tfp: name a file that does")
    begun = time.perf_counter()
    cloud = read_cloud(source, item)
    with progress(f"compressing {source.name}", quiet or as_json):
        codec = _load(model)
        data = codec.compress(cloud.points)
        write_atomic(output, data)
    seconds = time.perf_counter() - begun
    facts: dict[str, Any] = {"input": str(source), "output": str(output), "points": len(cloud.points)}
    facts |= {"bytes": len(data), "bpp": 8 * len(data) / len(cloud.points), "model": codec.name, "seconds": seconds}
    if as_json:
        click.echo(json.dumps(facts))
    elif not quiet:
        click.echo(
            f"{output}: {len(data)} bytes, {facts['points']} points, {facts['bpp']:.3f} bits per point, {codec.name}, "
            f"{seconds:.1f} s"
        )


@points.command("decompress")
@click.argument("source", metavar="IN.tfp", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@_model_option
@quiet_option
@force_option
def decompress_command(source: Path, output: Path, model: str | None, quiet: bool, force: bool) -> None:
    """Turn IN.tfp into OUT: a .ply, .npy or .npz."""
    if output.exists() and not force:
        raise OutputError(f"{output} exists: overwrite it with --force")
    data = read_bytes(source, MAX_BYTES)
    header, _ = read_header(data)
    with progress(f"decoding {source.name}", quiet):
        codec = _load(model, header)
        cloud = Cloud(codec.decompress(data))
        write_cloud(output, cloud)
    if not quiet:
        click.echo(f"{output}: {len(cloud.points)} points, {codec.name}")


@points.command("info")
@click.argument("source", metavar="IN.tfp", type=click.Path(path_type=Path))
@json_option
def info_command(source: Path, as_json: bool) -> None:
    """Say what IN.tfp is: points, blocks, model, and whether its checksums are right."""
    data = read_bytes(source, MAX_BYTES)
    header, _ = read_header(data)
    damage, blocks = "", 0
    try:
        blocks = len(read(data)[1])
    except FileError as error:
        damage = str(error)
    facts: dict[str, Any] = {"bytes": len(data), "points": header.points, "blocks": blocks, "model": header.model_name}
    facts |= {"digest": header.model_digest.hex(), "damage": damage, "bpp": 8 * len(data) / header.points}
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{source}: {header.points} points in {blocks} blocks, {len(data)} bytes, {facts['bpp']:.3f} bits per point"
    )
    click.echo(f"model {header.model_name} ({header.model_digest.hex()[:12]})")
    click.echo(f"damaged: {damage}" if damage else "all checksums are right")


def _load(model: str | None, header: Header | None = None) -> PointCodec:
    """The codec named, or that of a file."""
    from tinify.zoo import load_model

    from .codec import PointCodec

    if model is None and header is not None:
        if header.model_name not in get_registry().weight_files():
            raise WrongModelError(
                f"this file was coded by model {header.model_name!r} ({header.model_digest.hex()[:12]}), which is not "
                "among the installed weights: give its weights with --model FILE"
            )
        model = header.model_name
    if model is None:
        raise InputError("no weights of point clouds come with tinify: name a file of trained ones with --model FILE")
    return PointCodec(load_model(model))
