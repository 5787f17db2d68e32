"""CompressAI's checkpoints, strings and files: read, and written back."""

from __future__ import annotations

from tinify.plugin import Command, hookimpl

_COMMANDS = {
    "import-compressai": "Turn a checkpoint of CompressAI into one of tinify.",
    "decompress-compressai": "Turn a file of CompressAI's codec into a picture.",
    "compress-compressai": "Compress a picture to a file of CompressAI's codec.",
}


@hookimpl
def tinify_commands() -> list[Command]:
    return [
        Command(name, f"tinify_plugins.compressai.commands:{name.partition('-')[0]}_command", summary)
        for name, summary in _COMMANDS.items()
    ]
