"""``tinify plugin new`` and ``tinify plugin check``: for authors of plugins."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from tinify import __version__
from tinify.cli.options import json_option
from tinify.cli.template import files
from tinify.errors import InputError, OutputError
from tinify.files import write_atomic
from tinify.registry import get_registry

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("codec", "local", "plugins", "kernels", "specs")
FAILED = 1


@click.group("plugin")
def plugin_command() -> None:
    """Write a plugin package, or check one."""


@plugin_command.command("new")
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), help="The new folder; tinify-NAME here if not given.")
def new(name: str, into: Path | None) -> None:
    """Write a package tinify-NAME with one layer; its tests pass as generated."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InputError(f"a plugin's name is lower-case letters, digits and _, got {name!r}: try my_parts")
    taken = [plugin for plugin in get_registry().plugins if plugin.namespace == name]
    if name in _RESERVED or (taken and taken[0].at_home):
        raise InputError(f"{name!r} is a name of tinify's own: choose another")
    folder = into or Path(f"tinify-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already: nothing is overwritten; name another with --into")
    for path, text in files(name, __version__).items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {target.parent}: {error.strerror}") from error
        write_atomic(target, text.encode())
        click.echo(target)
    click.echo(f"next: pip install -e {folder}, then tinify plugin check {name}")


@plugin_command.command("check")
@click.argument("name")
@json_option
def check(name: str, as_json: bool) -> None:
    """Run the conformance checks on NAME: a plugin's namespace, or one component. Status 1 if any fails."""
    import json
    from dataclasses import asdict

    from tinify.testing import run_checks
    from tinify.testing.__main__ import table

    results = run_checks(name, on_fail="report")
    click.echo(json.dumps([asdict(result) for result in results], indent=1) if as_json else table(results))
    click.get_current_context().exit(FAILED if any(result.status == "failed" for result in results) else 0)
