"""Rate and distortion of point-cloud models beside Draco, by real bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from report import describe, finish, json_option, machine, table

from tinify.errors import TinifyError

Cloud = NDArray[np.float32]

DRACO_BITS = range(4, 12)
SEED = 0


@dataclass(frozen=True)
class Coded:
    """A cloud after one codec at one setting; bytes of the strings alone are None where there is but a file."""

    file: int
    strings: int | None
    points: Cloud
    repeats: bool = True
    """Whether a second round, from the points to the points, gave the same."""


@dataclass(frozen=True)
class Result:
    """Means over the clouds. Distances are of clouds within the unit ball, decibels of a peak of 1."""

    codec: str
    setting: str
    bits_per_point: float
    strings_bits_per_point: float | None
    chamfer: float
    d1_psnr: float
    d2_psnr: float


Codec = Callable[[Cloud], Coded]


def read_clouds(path: Path, count: int | None, points: int) -> list[Cloud]:
    """The first clouds of a test split, so many points drawn of each, around their mean, the farthest at 1."""
    from tinify_plugins.pointcloud.datasets import ModelNetDataset
    from tinify_plugins.pointcloud.transforms import NormalizeScaleV2, RandomSample

    draw, size = RandomSample(points, seed=SEED), NormalizeScaleV2(scale_method="l2")
    data = ModelNetDataset(path, split="test", transform=lambda sample: size(draw(sample))["pos"].numpy())
    return [data[index] for index in range(min(count or len(data), len(data)))]


def learned(path: Path) -> tuple[str, Codec]:
    """The name of a checkpoint's architecture, and its codec."""
    from tinify_plugins.pointcloud.codec import PointCodec

    import tinify

    model: Any = tinify.load_model(path)
    codec: Any = PointCodec(model)

    @torch.no_grad()
    def code(points: Cloud) -> Coded:
        data: bytes = codec.compress(points)
        found, again = codec.decompress(data), codec.decompress(codec.compress(points))
        strings = _bytes(model.compress({"pos": torch.from_numpy(points)[None]})["strings"])
        return Coded(len(data), strings, found, np.array_equal(found, again))

    return model.architecture.name if model.architecture else path.stem, code


def by_draco(bits: int) -> Codec:
    """Draco at so many bits for a coordinate, in the fewest bytes that any of its levels takes."""
    from tinify_plugins.pointcloud import draco

    def code(points: Cloud) -> Coded:
        data = min((draco.encode(points, bits, level) for level in draco.LEVELS), key=len)
        return Coded(len(data), None, draco.decode(data))

    return code


def measure(name: str, setting: str, clouds: Sequence[Cloud], coded: Sequence[Coded]) -> Result:
    """What a codec took of the clouds, and how far it moved them."""
    from tinify_plugins.pointcloud.metrics import chamfer_distance, d1_psnr, d2_psnr

    def mean(of: Callable[[Cloud, Coded], float]) -> float:
        return fmean(of(cloud, one) for cloud, one in zip(clouds, coded, strict=True))

    alone = all(one.strings is not None for one in coded)
    return Result(
        name,
        setting,
        mean(lambda cloud, one: 8 * one.file / len(cloud)),
        mean(lambda cloud, one: 8 * (one.strings or 0) / len(cloud)) if alone else None,
        mean(lambda cloud, one: chamfer_distance(cloud, one.points)),
        mean(lambda cloud, one: d1_psnr(cloud, one.points)),
        mean(lambda cloud, one: d2_psnr(cloud, one.points)),
    )


def _bytes(strings: Any) -> int:
    """Of strings in lists, however deep."""
    return len(strings) if isinstance(strings, bytes) else sum(map(_bytes, strings))


def _row(result: Result) -> list[str]:
    alone = "" if result.strings_bits_per_point is None else f"{result.strings_bits_per_point:.3f}"
    return [
        *(f"{result.codec} {result.setting}", f"{result.bits_per_point:.3f}", alone),
        *(f"{result.chamfer:.6f}", f"{result.d1_psnr:.2f}", f"{result.d2_psnr:.2f}"),
    ]


_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--clouds",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="ModelNet in any of its forms, such as an .npz with an array named test, (clouds, points, 3).",
)
@click.option("--count", type=click.IntRange(1), help="Only the first clouds.")
@click.option("--points", type=click.IntRange(1), default=1024, show_default=True, help="Drawn of each cloud.")
@click.option("--plot", type=_file, help="Draw the curves to this .png, .svg or .pdf.")
@click.option("--picture", type=_file, help="Draw clouds before and after to this .png, .svg or .pdf.")
@click.option("--shown", type=click.IntRange(1), default=2, show_default=True, help="So many clouds in the picture.")
@json_option
def main(
    models: tuple[Path, ...],
    clouds: Path,
    count: int | None,
    points: int,
    plot: Path | None,
    picture: Path | None,
    shown: int,
    json_file: Path | None,
) -> None:
    """Code the test clouds with MODELS, checkpoints of tinify, and with Draco."""
    torch.set_num_threads(1)
    try:
        given = read_clouds(clouds, count, points)
        codecs = [(*learned(path), path.parent.name if path.stem == "model" else path.stem) for path in models]
        codecs += [("Draco", by_draco(bits), f"{bits} bits") for bits in DRACO_BITS]
        coded = [[code(cloud) for cloud in given] for _, code, _ in codecs]
    except TinifyError as error:
        raise click.ClickException(str(error)) from error
    results = [measure(name, setting, given, found) for (name, _, setting), found in zip(codecs, coded, strict=True)]
    facts, title = machine(1), f"{len(given)} clouds of {points} points, means"
    columns = ["codec", "bits/point", "strings alone", "Chamfer", "D1 PSNR dB", "D2 PSNR dB"]
    click.echo(f"{title}; {describe(facts)}\n\n{table(columns, map(_row, results))}\n")
    if plot:
        from point_figures import draw_curves

        draw_curves(results, plot, title)
    if picture:
        from point_figures import draw_clouds

        rows = [
            (cloud, [(result, found[k]) for result, found in zip(results, coded, strict=True)])
            for k, cloud in enumerate(given[:shown])
        ]
        draw_clouds(rows, len(models), picture)
    failures = [
        f"{result.codec} {result.setting}: cloud {k} decodes to other points in a second round"
        for result, found in zip(results, coded, strict=True)
        for k, one in enumerate(found)
        if not one.repeats
    ]
    finish({"machine": facts, "clouds": len(given), "results": [asdict(one) for one in results]}, failures, json_file)


if __name__ == "__main__":
    main()
