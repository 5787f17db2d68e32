"""The command line. Each command's module is imported only when it runs, so that listing starts without torch."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tinify import __version__, environment
from tinify.errors import PluginError, TinifyError, UnknownNameError
from tinify.registry import get_registry

_COMMANDS = {
    "compress": ("tinify.cli.files", "Compress a picture to a .tfy file."),
    "decompress": ("tinify.cli.files", "Turn a .tfy file back into a picture."),
    "info": ("tinify.cli.info", "Say what is in a .tfy file or a weights file."),
    "list": ("tinify.cli.catalogue", "List what is installed: components, specs, weights, ..."),
    "show": ("tinify.cli.catalogue", "Show a component or a spec."),
    "explain": ("tinify.cli.specs", "Explain a spec: shapes, parameters, kMAC per pixel."),
    "validate": ("tinify.cli.validate", "Check specs; every error at its line."),
    "diff": ("tinify.cli.specs", "Say how the models of two specs differ."),
    "schema": ("tinify.cli.specs", "Print the JSON Schema of specs, for editors."),
    "train": ("tinify.cli.train", "Train a spec on a folder of photographs."),
    "freeze": ("tinify.cli.freeze", "Make weights portable: files decode alike on every machine."),
    "report": ("tinify.cli.report", "Make one HTML page of the results of benchmarks."),
    "eval": ("tinify.cli.eval", "Measure models on a folder of pictures."),
    "bench": ("tinify.cli.bench", "Compare codecs on a folder of pictures."),
    "plot": ("tinify.cli.plot", "Draw rate-distortion figures of results."),
    "demo": ("tinify.cli.demo", "Compress a photograph and compare it with JPEG."),
    "plugins": ("tinify.cli.plugins", "List the installed plugins, and how they fare."),
    "plugin": ("tinify.cli.plugin", "Write a plugin package, or check one."),
    "doctor": ("tinify.cli.doctor", "Look for what is amiss with this installation."),
}

# What every command understands.
EXIT_ERROR, EXIT_INTERRUPTED = 2, 130


class _Lazy(click.Group):
    """Built-in commands by name, then those of plugins; the registry is read only where no built-in one is meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *(name for name in get_registry().commands() if name not in _COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module, _ = _COMMANDS[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), f"{cmd_name}_command")
            return command
        offered = get_registry().commands()
        if cmd_name not in offered:
            reason = get_registry().missing(f"{cmd_name.partition('-')[0]}/")
            if reason and not reason.startswith("no plugin"):
                raise PluginError(f"no command {cmd_name!r}: {reason}")
            reason = get_registry().missing(cmd_name)
            raise UnknownNameError.among("command", cmd_name, {*_COMMANDS, *offered}, reason)
        found = offered[cmd_name].load()
        if not isinstance(found, click.Command):
            raise PluginError(f"{offered[cmd_name]} of {offered[cmd_name].provider} is {found!r}: no click command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])
        offered = [one for name, one in get_registry().commands().items() if name not in _COMMANDS]
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(one.name, one.summary) for one in offered])


def _disable(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    """Leaves plugins out, before anything reads the registry."""
    for word in value:
        no, _, name = word.partition(":")
        if no != "no" or not name:
            raise click.BadParameter(f"{word!r}: expected no:NAME, with the namespace or distribution of a plugin")
    names = [word.partition(":")[2] for word in value]
    if names:
        known = environment.words("TINIFY_DISABLE_PLUGINS") or []
        ctx.with_resource(_environment("TINIFY_DISABLE_PLUGINS", ",".join([*known, *names])))


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets a variable for the length of a command."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinify")
@click.option(
    "-p",
    multiple=True,
    metavar="no:NAME",
    is_eager=True,  # --help lists the commands of the plugins that are left
    expose_value=False,
    callback=_disable,
    help="Leave a plugin out.",
)
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
