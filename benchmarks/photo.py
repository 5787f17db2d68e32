"""The shipped codec on Kodak: rate against Pillow's encoders and BPG, time against CompressAI, memory."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
from report import describe, finish, in_new_process, json_option, machine, table

from tinify.errors import TinifyError
from tinify.evaluation.results import BdResult, Point, Results

PEER = "mbt2018-mean"
BPG = "bpg444"
# Rate in per cent at most, against codecs of the same run and a published curve.
RATES = {"jpeg": -50.0, "webp": -20.0, "jpeg2000": -30.0, "jpeg2000[wavelet=5/3]": -30.0, BPG: 0.0}
# Times as fast at decoding as CompressAI's model; MiB of a photograph of twelve megapixels, both ways.
FASTER, MEMORY = 4.0, 3072.0
LARGE = (4000, 3000)


@dataclass(frozen=True)
class Target:
    """Something that is to be reached; ``found`` is None where it was not measured."""

    name: str
    found: float | None
    wanted: float
    least: bool = False

    @property
    def reached(self) -> bool:
        if self.found is None:
            return False
        return self.found >= self.wanted if self.least else self.found <= self.wanted

    @property
    def row(self) -> list[str]:
        """Its line in the table."""
        found = "not measured" if self.found is None else f"{self.found:.1f}"
        wanted = f"{'at least' if self.least else 'at most'} {self.wanted:g}"
        return [self.name, found, wanted, "reached" if self.reached else "NOT REACHED"]


def rates(model: str, images: Path, limit: int | None, rounds: int, threads: int) -> tuple[Results, list[BdResult]]:
    """Everything over the pictures, and the deltas of PSNR and MS-SSIM against all rivals."""
    import torch

    from tinify.evaluation.bench import evaluate
    from tinify.evaluation.deltas import deltas
    from tinify.evaluation.published import KODAK, reference

    torch.set_num_threads(threads)
    rivals = [name for name in RATES if name != BPG]
    results = evaluate([model, *rivals], images, limit=limit, rounds=rounds, curves=[BPG], memory=False)
    anchors: list[Any] = [results.codec(name) for name in rivals]
    if results.pictures.digest == KODAK:
        anchors.append(reference(BPG))
    return results, [*deltas([results.codec(model)], anchors)]


def decoding(model: str, quality: float | None, image: Path, rounds: int, threads: int) -> dict[str, float]:
    """Median seconds to decode a 768x512 picture: ours from file to pixels, theirs from strings to a tensor."""
    import torch
    from pair import load_peer, photo, save_weights

    from tinify.evaluation.codec import open_codec

    torch.set_num_threads(threads)
    x = photo(image)
    ours = open_codec(model)
    data = ours.encode((x[0].permute(1, 2, 0) * 255).round().byte().numpy(), quality)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        checkpoint = Path(folder) / "peer.safetensors"
        save_weights(checkpoint, image, PEER)
        theirs = load_peer(checkpoint, PEER)
        packed = theirs.compress(x)
        ways: dict[str, Callable[[], Any]] = {
            "tinify": lambda: ours.decode(data),
            "CompressAI": lambda: theirs.decompress(packed["strings"], packed["shape"]),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                found[name].append(time.perf_counter() - begun)
    return {name: median(seconds[1:]) for name, seconds in found.items()}


def large(model: str, quality: float | None, image: Path, threads: int) -> dict[str, float]:
    """Seconds to encode and decode a photograph of twelve megapixels, and the peak of this process in MiB."""
    import numpy as np
    import torch
    from PIL import Image

    from tinify.evaluation.codec import open_codec
    from tinify.evaluation.memory import peak_of_this_process

    torch.set_num_threads(threads)
    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("RGB").resize(LARGE, Image.Resampling.LANCZOS))
    codec = open_codec(model)
    codec.decode(codec.encode(np.ascontiguousarray(pixels[:512, :768]), quality))  # compiles; not timed
    begun = time.perf_counter()
    data = codec.encode(pixels, quality)
    encoded = time.perf_counter()
    codec.decode(data)
    ended = time.perf_counter()
    times = {"encode_s": encoded - begun, "decode_s": ended - encoded}
    return {**times, "peak_mib": peak_of_this_process(), "bpp": 8 * len(data) / (LARGE[0] * LARGE[1])}


def middle(results: Results, model: str) -> float | None:
    """The middle one of the qualities that were measured."""
    points = results.codec(model).points
    return points[len(points) // 2].quality


@click.command()
@click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The 24 Kodak pictures.",
)
@click.option("--model", default="tinify-photo", show_default=True, help="Weights: an installed name, or a file.")
@click.option("--limit", type=click.IntRange(1), help="Only the first pictures; then nothing is compared with BPG.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@json_option
def main(images: Path, model: str, limit: int | None, rounds: int, threads: int, json_file: Path | None) -> None:
    """Measure the shipped codec, and say which of its targets it reaches."""
    try:
        results, found = in_new_process(rates, model, images, limit, rounds, threads)
        quality, first = middle(results, model), images / results.pictures.names[0]
        seconds = (
            in_new_process(decoding, model, quality, first, rounds + 2, threads)
            if importlib.util.find_spec("compressai")
            else {}
        )
        photograph = in_new_process(large, model, quality, first, threads)
    except TinifyError as error:
        raise click.ClickException(str(error)) from error
    facts = machine(threads)
    speed = seconds["CompressAI"] / seconds["tinify"] if seconds else None
    rate = {delta.anchor: delta.rate_percent for delta in found if delta.metric == "psnr"}
    targets = [Target(f"rate against {name}, %", rate.get(name), wanted) for name, wanted in RATES.items()]
    targets += [
        Target(f"times as fast at decoding as CompressAI's {PEER}", speed, FASTER, least=True),
        Target("MiB at most, 12 megapixels", photograph["peak_mib"], MEMORY),
    ]
    click.echo(f"{model}, {results.pictures.count} pictures, means; {describe(facts)}\n")
    click.echo(_points(results))
    click.echo("\n" + table(["deltas of", "against", "rate %", "dB", "overlap", "warning"], map(_delta, found)))
    click.echo(f"\n12 megapixels: {photograph['encode_s']:.2f} s, {photograph['decode_s']:.2f} s to decode")
    click.echo("\n" + table(["target", "found", "wanted", ""], [target.row for target in targets]) + "\n")
    failures = [" ".join(target.row) for target in targets if not target.reached]
    result = {"machine": facts, "results": asdict(results), "deltas": [asdict(delta) for delta in found]}
    finish({**result, "decode seconds": seconds, "12 megapixels": photograph}, failures, json_file)


def _points(results: Results) -> str:
    rows = [_point(codec.name, point) for codec in results.codecs for point in codec.points]
    return table(["codec", "quality", "bits/pixel", "PSNR dB", "MS-SSIM", "encode s", "decode s"], rows)


def _point(name: str, p: Point) -> list[str]:
    quality, similarity = ("" if value is None else f"{value:.4g}" for value in (p.quality, p.ms_ssim))
    return [name, quality, f"{p.bpp:.4f}", f"{p.psnr:.2f}", similarity, f"{p.encode_s:.3f}", f"{p.decode_s:.3f}"]


def _delta(delta: BdResult) -> list[str]:
    rate = "" if delta.rate_percent is None else f"{delta.rate_percent:+.1f}"
    quality = "" if delta.quality_db is None else f"{delta.quality_db:+.2f}"
    return [delta.metric, delta.anchor, rate, quality, f"{delta.overlap:.0%}", delta.warning or ""]


if __name__ == "__main__":
    main()
