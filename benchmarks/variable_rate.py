"""One model of variable rate beside models trained for one rate each: real files of the same pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
from report import describe, finish, json_option, machine, table

from tinify.evaluation.bd import Curve, bd_rate

TOGETHER, APART = "one model", "a model for each rate"


@dataclass(frozen=True)
class Point:
    """A model at a setting: means over the pictures, in bits per pixel of whole files and decibels."""

    model: str
    setting: str
    bpp: float
    psnr: float


def coded(codec: Any, pictures: list[Any], name: str, setting: str) -> Point:
    """Every picture to a file's bytes and back."""
    rates, qualities = [], []
    for picture in pictures:
        data = codec.compress(picture)
        decoded = codec.decompress(data).pixels
        difference = picture.pixels.astype(np.float64) - decoded
        rates.append(8 * len(data) / (picture.pixels.shape[0] * picture.pixels.shape[1]))
        qualities.append(10 * float(np.log10(255**2 / np.mean(difference**2))))
    point = Point(name, setting, fmean(rates), fmean(qualities))
    click.echo(f"{name} {setting}: {point.bpp:.4f} bpp, {point.psnr:.3f} dB", err=True)
    return point


def curve(points: list[Point], name: str) -> Curve:
    """The points of a model, or of several, as a curve."""
    mine = sorted((one for one in points if one.model == name), key=lambda one: one.bpp)
    return Curve(tuple(one.bpp for one in mine), tuple(one.psnr for one in mine), name)


def rounded(point: Point) -> list[str]:
    """The cells of a point's row."""
    return [point.model, point.setting, f"{point.bpp:.4f}", f"{point.psnr:.2f}"]


def draw(points: list[Point], path: Path) -> None:
    """Both curves."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    for name, colour in ((TOGETHER, "#0072B2"), (APART, "#D55E00")):
        found = curve(points, name)
        axes.plot(found.rates, found.qualities, "o-", color=colour, label=name)
    axes.set(xlabel="bits per pixel, whole files", ylabel="PSNR, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


@click.command()
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Folder of pictures.")
@click.option("--variable", required=True, help="Weights of the model of variable rate.")
@click.option("--single", multiple=True, required=True, help="Weights of a model of one rate; repeat it.")
@click.option("--steps", default=8, show_default=True, help="Qualities of the model of variable rate.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curves here.")
@json_option
def main(
    images: Path, variable: str, single: tuple[str, ...], steps: int, plot: Path | None, json_file: Path | None
) -> None:
    """BD-rate of one model against several over the rates that both have, and how far its rates reach."""
    from tinify.images import read_picture
    from tinify.training.data import list_images
    from tinify.zoo import load_codec

    facts = machine(1)
    click.echo(f"{describe(facts)}\n")
    pictures = [read_picture(path) for path in list_images(images)]
    codec = load_codec(variable)
    if codec.qualities is None:
        raise click.UsageError(f"{variable} is of one rate")
    points = [
        coded(codec.at(float(quality)), pictures, TOGETHER, f"quality {quality:g}")
        for quality in np.linspace(*codec.qualities, steps)
    ]
    points += [coded(load_codec(path), pictures, APART, Path(path).parent.name) for path in single]
    together, apart = (curve(points, name) for name in (TOGETHER, APART))
    span, difference = together.rates[-1] / together.rates[0], bd_rate(apart, together)
    click.echo(table(["model", "setting", "bits per pixel", "PSNR, dB"], [rounded(one) for one in points]) + "\n")
    rows = [["highest rate over lowest", f"{span:.2f}", "at least 4"]]
    rows += [["BD-rate against a model for each rate", f"{difference:+.1f} %", "at most +10 %"]]
    click.echo(table(["figure", "value", "target"], rows) + "\n")
    if plot:
        draw(points, plot)
    failures = ["the rates span less than 4:1"] * (span < 4) + ["the BD-rate is above +10 %"] * (difference > 10)
    result = {"machine": facts, "points": [asdict(one) for one in points], "span": span, "bd_rate": difference}
    finish(result, failures, json_file)


if __name__ == "__main__":
    main()
