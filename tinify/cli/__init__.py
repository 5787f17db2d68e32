"""The command line. Each command's module is imported only when it runs, so that listing starts without torch."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

import click

from tinify import __version__
from tinify.errors import TinifyError

_COMMANDS = {
    "compress": ("tinify.cli.files", "Compress a picture to a .tfy file."),
    "decompress": ("tinify.cli.files", "Turn a .tfy file back into a picture."),
    "info": ("tinify.cli.info", "Say what is in a .tfy file or a weights file."),
    "list": ("tinify.cli.catalogue", "List components, specs, weights and plugins."),
    "show": ("tinify.cli.catalogue", "Show a component or a spec."),
    "train": ("tinify.cli.train", "Train a spec on a folder of photographs."),
    "demo": ("tinify.cli.demo", "Compress a photograph and compare it with JPEG."),
}

# What every command understands.
EXIT_ERROR, EXIT_INTERRUPTED = 2, 130


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinify")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; also after the command.")
def cli(debug: bool) -> None:
    """Learned compression: real photographs in, small files out, and back."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 for success, 2 for an error, 130 when interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: click.echo(f"warning: {message}", err=True)
        sys.exit(_run([word for word in words if word != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        status: Any = cli.main(args=arguments, prog_name="tinify", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, which is its right
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            raise
        foreseen = isinstance(error, TinifyError | OSError)
        message = str(error) if foreseen else f"unforeseen {type(error).__name__}: {error or 'no more is known'}"
        click.echo(f"tinify: {message}" + ("" if foreseen else "; --debug shows where"), err=True)
        return EXIT_ERROR
    return status if isinstance(status, int) else 0
