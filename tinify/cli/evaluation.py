"""What ``tinify eval``, ``tinify bench`` and ``tinify plot`` share: options, files, tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinify.cli.options import json_option, precision_option, quiet_option
from tinify.cli.tables import echo_table
from tinify.errors import OutputError
from tinify.files import write_atomic

if TYPE_CHECKING:
    from tinify.evaluation.results import Results

SUFFIXES = (".json", ".csv", ".md")
_OPTIONS = (
    click.option("--rounds", type=int, default=3, show_default=True, help="Seconds are the median of so many."),
    click.option("--limit", type=click.IntRange(1), help="Only the first pictures."),
    click.option("--memory/--no-memory", default=True, help="Measure peak memory, each codec in its own process."),
    precision_option,
    click.option(
        "--out",
        "-o",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Write results to a .json, .csv or .md file; may be repeated.",
    ),
    quiet_option,
    json_option,
)


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that the commands share."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_outputs(paths: Sequence[Path], suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raises :class:`~tinify.errors.OutputError` before the work begins for what could not be written after it."""
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise OutputError(f"{path}: {path.suffix!r} is not written; choose {', '.join(suffixes)}")
        if path.is_dir() or not path.resolve().parent.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder, or its folder does not exist: make that first")
        if not os.access(path.resolve().parent, os.W_OK):
            raise OutputError(f"cannot write {path}: permission denied: choose another folder")


def write(results: Results, paths: Sequence[Path]) -> None:
    """Writes results, each file in the format that its suffix says."""
    from tinify.evaluation import tables
    from tinify.evaluation.results import to_json

    forms = {".json": to_json, ".csv": tables.comma_separated, ".md": tables.markdown}
    for path in paths:
        write_atomic(path, forms[path.suffix.lower()](results).encode())


def show(results: Results, *, pictures: bool = False) -> None:
    """Prints the tables, with every picture if asked; notes go to standard error."""
    from tinify.evaluation import tables

    def echo(title: str, rows: list[dict[str, str]]) -> None:
        if rows:
            click.echo(title)
            echo_table(rows, head=True, right=[name for name in rows[0] if name not in _TEXTS])

    if pictures:
        for codec in results.codecs:
            echo(codec.name, tables.picture_rows(codec))
    echo(f"means of {results.pictures.count} pictures", tables.point_rows(results))
    echo("costs", tables.cost_rows(results))
    echo("Bjøntegaard deltas", tables.bd_rows(results))
    for note in (*results.notes, *(f"left out: {skipped}" for skipped in results.pictures.skipped)):
        click.echo(f"note: {note}", err=True)


_TEXTS = ("codec", "anchor", "of", "warning", "picture")
