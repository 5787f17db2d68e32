"""``tinify info``: what is in a file, without decoding it and without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tinify import container
from tinify.cli.options import json_option
from tinify.errors import CheckpointError, FileError
from tinify.files import read_bytes
from tinify.images import MAX_BYTES
from tinify.registry import get_registry
from tinify.weights import read_notes


@click.command("info")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def info_command(file: Path, as_json: bool) -> None:
    """Say what is in FILE: a .tfy picture or a .safetensors checkpoint."""
    facts = _weights(file) if file.suffix == ".safetensors" else _picture(file)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        click.echo(f"{name:<{width}}  {text}")


def _picture(file: Path) -> dict[str, Any]:
    data = read_bytes(file, limit=MAX_BYTES, error=FileError)
    packed = container.read(data)
    header = packed.header
    strings = [len(string) for tile in packed.tiles for string in tile.strings]
    return {
        "file": str(file),
        "bytes": len(data),
        "bits per pixel": round(8 * len(data) / (header.width * header.height), 4),
        "width": header.width,
        "height": header.height,
        "channels": header.channels + (packed.alpha is not None),
        "bit depth": header.bit_depth,
        "model": header.model_name,
        "model digest": header.model_digest.hex(),
        "model installed": header.model_name in get_registry().weight_files(),
        "arithmetic": header.profile,
        "quality": "of one rate" if packed.quality is None else packed.quality / 1000,
        "tiles": len(packed.tiles),
        "bytes in strings": sum(strings),
        "bytes of ICC profile": len(packed.icc or b""),
        "bytes of EXIF": len(packed.exif or b""),
        "bytes of alpha": len(packed.alpha or b""),
    }


def _weights(file: Path) -> dict[str, Any]:
    notes = read_notes(file)
    try:
        architecture, training = json.loads(notes["architecture"]), json.loads(notes["training"])
        return {
            "file": str(file),
            "bytes": file.stat().st_size,
            "spec": architecture["name"],
            "preset": architecture["preset"],
            "arithmetic": notes.get("arithmetic", "float32"),
            "parameters": architecture["parameters"],
            "plugins": {need["distribution"]: need["version"] for need in architecture.get("plugins", [])} or "none",
            "training": training.get("config", training),
            "step": training.get("step"),
        }
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} has no readable tinify spec inside: {error!r}") from error
