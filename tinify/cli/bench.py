"""``tinify bench``: codecs, anybody's, over the pictures of a folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from tinify.cli.evaluation import check_outputs, shared, show, write
from tinify.cli.options import progress
from tinify.errors import InputError


@click.command("bench")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--codecs",
    "-c",
    default="tinify-photo,jpeg,webp",
    show_default=True,
    help="Names, with commas between; tinify list picture_codecs has some, models are named by their weights.",
)
@click.option(
    "--qualities",
    multiple=True,
    metavar="[CODEC=]Q,Q,...",
    help="Settings instead of the codec's own, for one codec or all; may be repeated.",
)
@click.option("--points", type=int, help="At most so many of each codec's own settings.")
@click.option("--anchor", help="The codec, or published curve, that deltas are taken against; the first JPEG without.")
@click.option("--reference", "references", help="Published curves, with commas between: vtm,bpg444,...")
@shared
def bench_command(
    folder: Path,
    codecs: str,
    qualities: tuple[str, ...],
    points: int | None,
    anchor: str | None,
    references: str | None,
    out: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare codecs over the pictures in DIR: rate, quality, time and memory, through real files."""
    check_outputs(out)
    with progress("starting", quiet or as_json) as status:
        from tinify.evaluation.bench import evaluate
        from tinify.evaluation.codec import split
        from tinify.evaluation.results import to_json

        named = split(codecs)
        results = evaluate(
            named,
            folder,
            qualities=settings(qualities),
            points=points,
            anchor=anchor or next((name for name in named if name.startswith("jpeg") and len(named) > 1), None),
            curves=split(references or ""),
            progress=status.update,
            **options,
        )
    write(results, out)
    if as_json:
        click.echo(to_json(results), nl=False)
    elif not quiet:
        show(results)


def settings(words: tuple[str, ...]) -> dict[str, list[float]]:
    """What ``--qualities`` says: settings by codec, under "" for all.

    >>> settings(("jpeg=10,50", "1,2"))
    {'jpeg': [10.0, 50.0], '': [1.0, 2.0]}
    """
    found: dict[str, list[float]] = {}
    for word in words:
        name, _, numbers = word.rpartition("=")
        try:
            found[name] = [float(number) for number in numbers.split(",") if number.strip()]
        except ValueError as error:
            raise InputError(f"--qualities {word}: expected numbers, such as --qualities jpeg=10,50,90") from error
        if not found[name] or not all(map(math.isfinite, found[name])):
            raise InputError(f"--qualities {word}: expected numbers, such as --qualities jpeg=10,50,90")
    return found
