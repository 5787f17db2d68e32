"""Memory of the video codec by the length of a clip: flat, whatever that is. Closed loop: no frame drifts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from report import describe, finish, in_new_process, json_option, machine, table

MOST_GROWTH = 1.05
_SIDE = 128


def frames(count: int) -> Iterator[NDArray[np.uint8]]:
    """A pattern that moves, made as it is asked for."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    for k in range(count):
        waves = [127 + 100 * np.sin((x + 2 * k) / (5 + c)) * np.cos((y - k) / (7 - c)) for c in range(3)]
        yield np.stack(waves, 2).astype(np.uint8)


def measure(count: int, path: Path) -> tuple[float, float, int]:
    """Peak MiB of encoding, of encoding and decoding, and how many frames were not the encoder's own."""
    from tinify_plugins.video.codec import VideoCodec

    import tinify
    from tinify.evaluation.memory import peak_of_this_process

    torch.manual_seed(0)
    torch.set_num_threads(1)
    codec = VideoCodec(tinify.create_model("ssf2020", N=16, M=16).eval())
    sums = []
    with path.open("wb") as out:
        for _, pixels in codec.encode(frames(count), _SIDE, _SIDE, Fraction(25), out, group=count):
            sums.append(hash(pixels.tobytes()))
    encoded = peak_of_this_process()
    with path.open("rb") as file:
        wrong = sum(hash(played.pixels.tobytes()) != sums[played.number] for played in codec.decode(file))
    return encoded, peak_of_this_process(), wrong


@click.command()
@click.option("--frames", "counts", default="10,100,1000", show_default=True, help="Lengths, with commas between.")
@json_option
def main(counts: str, json_file: Path | None) -> None:
    """Encode and decode clips of several lengths, each in a process of its own, in one group of pictures."""
    facts = machine(1)
    click.echo(f"{describe(facts)}; {_SIDE}x{_SIDE}, one key frame\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.tfv"
        rows = [(count, *in_new_process(measure, count, path)) for count in map(int, counts.split(","))]
    found = [[count, f"{encoded:.0f}", f"{both:.0f}", wrong] for count, encoded, both, wrong in rows]
    click.echo(table(["frames", "MiB to encode", "MiB to encode and decode", "frames that drifted"], found) + "\n")
    growth = rows[-1][2] / rows[0][2]
    failures = [f"memory grows {growth:.2f} times from {rows[0][0]} to {rows[-1][0]} frames"] * (growth > MOST_GROWTH)
    failures += [f"{wrong} of {count} frames are not the encoder's own" for count, _, _, wrong in rows if wrong]
    finish({"machine": facts, "rows": rows, "growth": growth}, failures, json_file)


if __name__ == "__main__":
    main()
