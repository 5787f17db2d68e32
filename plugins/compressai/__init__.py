"""CompressAI's checkpoints, strings and files: read, and written back."""

from __future__ import annotations

from typing import Annotated

from tinify.plugin import Command, Range, component, hookimpl

_COMMANDS = {
    "import-compressai": "Turn a checkpoint of CompressAI into one of tinify.",
    "decompress-compressai": "Turn a file of CompressAI's codec into a picture.",
    "compress-compressai": "Compress a picture to a file of CompressAI's codec.",
}


@component("picture_codec", "compressai", target="tinify_plugins.compressai.picture_codec:CompressaiCodec")
class Compressai:
    """A model of the installed CompressAI; untrained without a checkpoint."""

    architecture: Annotated[str, "as CompressAI names it, such as mbt2018-mean"]
    checkpoint: Annotated[str | None, "a file of weights"] = None
    quality: Annotated[int, Range(1, 8), "the sizes of an untrained model"] = 4


@hookimpl
def tinify_components() -> list[type]:
    return [Compressai]


@hookimpl
def tinify_commands() -> list[Command]:
    return [
        Command(name, f"tinify_plugins.compressai.commands:{name.partition('-')[0]}_command", summary)
        for name, summary in _COMMANDS.items()
    ]
