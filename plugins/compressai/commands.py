"""The commands ``import-compressai``, ``decompress-compressai`` and ``compress-compressai``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tinify.cli.files import target
from tinify.cli.options import force_option, json_option, progress, quiet_option
from tinify.errors import FileError, OutputError
from tinify.files import read_bytes, write_atomic
from tinify.images import MAX_BYTES, output_format, read_picture, write_picture

from .file import METRICS, read, write

_SUFFIX = ".bin"
_model_option = click.option("--model", "-m", required=True, help="Weights: an installed name, or an imported file.")


@click.command("import-compressai")
@click.argument("checkpoint", metavar="CKPT", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.safetensors", type=click.Path(path_type=Path))
@click.option("--arch", metavar="NAME", help="The architecture, as CompressAI names it; recognised without.")
@click.option(
    "--compat/--no-compat",
    default=True,
    show_default=True,
    help="Code strings that CompressAI reads, or those of tinify's own coder.",
)
@json_option
@quiet_option
def import_command(checkpoint: Path, output: Path, arch: str | None, compat: bool, as_json: bool, quiet: bool) -> None:
    """Turn a checkpoint of CompressAI (.pth, .pth.tar, .pt, .safetensors) into one that --model takes.

    No code in CKPT is run. Coding tables are kept as they are, and built where there are none.
    """
    if output.suffix != ".safetensors":
        raise OutputError(f"{output} does not end in .safetensors: name a file that does")
    if output.resolve() == checkpoint.resolve():
        raise OutputError(f"{output} is the input: name another output")
    with progress(f"reading {checkpoint.name}", quiet or as_json):
        from tinify.checkpoint import save_model

        from .importing import import_checkpoint

        model = import_checkpoint(checkpoint, arch, compat=compat)
        save_model(model, output, training={"imported from": checkpoint.name})
    assert model.architecture is not None
    count = sum(parameter.numel() for parameter in model.parameters())
    sizes = dict(model.architecture.parameters)
    if as_json:
        result = {"input": str(checkpoint), "output": str(output), "spec": model.architecture.name}
        click.echo(json.dumps(result | {"parameters": sizes, "weights": count, "coder": "compat" if compat else "ans"}))
    elif not quiet:
        text = ", ".join(f"{name}={value}" for name, value in sizes.items())
        click.echo(f"{output}: {model.architecture.name} with {text}, {count:,} parameters")


@click.command("decompress-compressai")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="[OUT.png]", required=False, type=click.Path(path_type=Path))
@_model_option
@quiet_option
@force_option
def decompress_command(source: Path, output: Path | None, model: str, quiet: bool, force: bool) -> None:
    """Turn the file IN of CompressAI's codec script into a picture."""
    packed = read(read_bytes(source, limit=MAX_BYTES, error=FileError))
    output = target(output, source, ".png", force)
    output_format(output)
    with progress(f"decompressing {source.name}", quiet):
        from tinify.zoo import load_model

        from .pictures import decode

        notes = write_picture(decode(packed, load_model(model)), output)
    if not quiet:
        click.echo(f"{output}: {packed.width}x{packed.height}, {packed.model}")
    _warn(notes, quiet)


@click.command("compress-compressai")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar=f"[OUT{_SUFFIX}]", required=False, type=click.Path(path_type=Path))
@_model_option
@click.option("--metric", type=click.Choice(METRICS), default=METRICS[0], show_default=True)
@click.option("--quality", type=click.IntRange(1, 8), required=True, help="Which of its weights CompressAI loads.")
@quiet_option
@force_option
def compress_command(
    source: Path, output: Path | None, model: str, metric: str, quality: int, quiet: bool, force: bool
) -> None:
    """Compress the picture IN to a file that CompressAI's codec script decodes.

    Such a file names its weights by --metric and --quality: those are to be the ones that --model was imported from.
    """
    picture = read_picture(source)
    output = target(output, source, _SUFFIX, force)
    with progress(f"compressing {source.name}", quiet):
        from tinify.zoo import load_model

        from .pictures import encode

        data = write(encode(picture, load_model(model), metric, quality))
    write_atomic(output, data)
    height, width, _ = picture.pixels.shape
    if not quiet:
        click.echo(f"{output}: {len(data)} bytes, {8 * len(data) / (height * width):.3f} bits per pixel")
    lost = ("alpha",) if picture.alpha is not None else ()
    _warn((*picture.notes, *(f"{what} has no place in this file, and is left out" for what in lost)), quiet)


def _warn(notes: tuple[str, ...], quiet: bool) -> None:
    for note in () if quiet else notes:
        click.echo(f"note: {note}", err=True)
