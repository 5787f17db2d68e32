"""``tinify plot``: figures of the results that ``tinify bench`` and ``tinify eval`` wrote."""

from __future__ import annotations

from pathlib import Path

import click

from tinify.cli.evaluation import check_outputs

_METRICS = ("psnr", "psnr-yuv", "ms-ssim", "lpips", "rate")
_AXES = ("bpp", "encode-time", "decode-time", "kmac")


@click.command("plot")
@click.argument("sources", metavar="RESULTS.json...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", default=Path("rd.png"), show_default=True, type=click.Path(path_type=Path), help=".png, .svg or .pdf"
)
@click.option("--metric", type=click.Choice(_METRICS), default="psnr", show_default=True)
@click.option("--x", "axis", type=click.Choice(_AXES), default="bpp", show_default=True, help="The axis below.")
@click.option("--reference", "references", help="Published curves, with commas between: vtm,bpg444,...")
@click.option("--title", help="Above the figure; what was measured without.")
def plot_command(
    sources: tuple[Path, ...], out: Path, metric: str, axis: str, references: str | None, title: str | None
) -> None:
    """Draw the codecs in one or more files of results: quality over rate, over time or over multiplications."""
    check_outputs([out], (".png", ".svg", ".pdf"))
    from tinify.evaluation.codec import split
    from tinify.evaluation.figures import draw
    from tinify.evaluation.results import load

    results = [load(source) for source in sources]
    curves = tuple(split(references)) if references else None
    draw(results, out, metric=metric, axis=axis, curves=curves, title=title)
    click.echo(f"the figure: {out}")
