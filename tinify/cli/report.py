"""``tinify report``: the results of benchmarks as one HTML page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tinify.cli.options import json_option, progress, quiet_option
from tinify.errors import InputError, OutputError
from tinify.evaluation.results import Results, load
from tinify.files import write_atomic


@click.command("report")
@click.argument("results", metavar="RESULTS.json...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", default=Path("report.html"), show_default=True, type=click.Path(path_type=Path), help="The page to write."
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="Folder of the pictures to show side by side; by default that of the results.",
)
@click.option("--count", type=click.IntRange(0, 24), default=4, show_default=True, help="Pictures to show; 0 for none.")
@click.option(
    "--compare",
    metavar="CODEC,...",
    help="What is shown beside the original: the first at --quality, the others at as many bytes. "
    "By default a model of the results, and jpeg.",
)
@click.option("--quality", type=float, help="Of the first codec that is compared; by default one near 0.4 bpp.")
@click.option("--reference", metavar="NAME,...", help="Published curves to show; by default those of the results.")
@quiet_option
@json_option
def report_command(
    results: tuple[Path, ...],
    out: Path,
    pictures: Path | None,
    count: int,
    compare: str | None,
    quality: float | None,
    reference: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make one HTML page of the results that tinify bench wrote: charts, tables and pictures side by side.

    The page holds all that it shows and loads nothing; it can be opened from the disk, mailed or put on a server.
    """
    if out.resolve() in {path.resolve() for path in results}:
        raise OutputError(f"{out} is an input: name another page")
    if out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{out} does not end in .html: name a page, such as {out.with_suffix('.html').name}")
    read = _read(results)
    with progress("making the page", quiet or as_json):
        from tinify.evaluation.codec import split
        from tinify.evaluation.published import reference as published
        from tinify.evaluation.report import merge, page
        from tinify.evaluation.report.gather import Comparison, gather

        wanted = [name for one in read.values() for name in one.references] if reference is None else split(reference)
        merged = merge(read, [published(name) for name in dict.fromkeys(wanted)])
        if quality is not None and compare is None:
            raise InputError(f"--quality {quality:g} is of a codec in --compare: name it, such as tinify-photo,jpeg")
        comparison = Comparison(split(compare), quality) if compare is not None else None
        panels, notes = gather(merged, comparison, pictures, count)
        text = page(merged, panels, " ".join(notes))
    data = text.encode()
    write_atomic(out, data)
    facts = {"output": str(out), "bytes": len(data), "codecs": len(merged.codecs), "pictures": len(panels)}
    if as_json:
        click.echo(json.dumps(facts | {"notes": [*merged.notes, *notes]}))
    elif not quiet:
        click.echo(f"{out}: {len(merged.codecs)} codecs, {len(panels)} pictures side by side, {len(data):,} bytes")
        for note in (*merged.notes, *notes):
            click.echo(f"note: {note}", err=True)


def _read(paths: tuple[Path, ...]) -> dict[str, Results]:
    """Results by the names of their files, with the folder where two files share a name."""
    names = [path.name for path in paths]
    return {path.name if names.count(path.name) == 1 else str(path): load(path) for path in paths}
