"""Time and memory of tinify's `mbt2018-mean` against CompressAI's, with the same weights, in the same run."""

from __future__ import annotations

import importlib
import importlib.util
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import click
from report import describe, finish, in_new_process, json_option, machine, table

ARCHITECTURE = "mbt2018-mean"
# Largest relative difference of bits, and largest difference of pixels in [0, 1], between the two libraries.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Subject:
    """One way to code the picture: ``compress()`` gives what ``decompress`` takes."""

    name: str
    compress: Callable[[], Any]
    decompress: Callable[[Any], Any]
    size: Callable[[Any], int]


@dataclass(frozen=True)
class Memory:
    """Peaks of resident memory in MiB: of a process that only imports the library, and of one that codes."""

    imported: float
    coding: float


@dataclass(frozen=True)
class Parity:
    """How far the two libraries' numbers are apart: relative for bits, absolute for ``y_hat`` and ``x_hat``."""

    bits: float
    y_hat: float
    x_hat: float


def subjects(checkpoint: Path, image: Path, N: int, M: int) -> list[Subject]:
    """tinify, CompressAI as it comes, CompressAI in tinify's memory layout, and tinify with its file format around."""
    import torch
    from pair import load_ours, load_peer, photo

    from tinify.codec import Codec
    from tinify.images import Picture

    x = photo(image)
    ours = load_ours(checkpoint)
    peer, peer_last = (load_peer(checkpoint, ARCHITECTURE, N=N, M=M) for _ in range(2))
    peer_last.to(memory_format=torch.channels_last)
    codec = Codec(ours)
    picture = Picture((x[0].permute(1, 2, 0) * 255).round().byte().numpy())

    def tensors(name: str, model: Any, x: torch.Tensor) -> Subject:
        return Subject(
            name,
            lambda: model.compress(x),
            lambda packed: model.decompress(packed["strings"], packed["shape"]),
            lambda packed: sum(len(string) for strings in packed["strings"] for string in strings),
        )

    return [
        tensors("tinify", ours, x),
        tensors("CompressAI", peer, x),
        tensors("CompressAI, channels last", peer_last, x.contiguous(memory_format=torch.channels_last)),
        Subject("tinify, picture to file", lambda: codec.compress(picture), codec.decompress, len),
    ]


def seconds(subject: Subject) -> tuple[float, float, int]:
    """Times of one compress and one decompress, and the coded bytes."""
    begun = time.perf_counter()
    packed = subject.compress()
    middle = time.perf_counter()
    subject.decompress(packed)
    return middle - begun, time.perf_counter() - middle, subject.size(packed)


def time_all(checkpoint: Path, image: Path, N: int, M: int, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Median seconds and coded bytes of every subject, the rounds interleaved."""
    import torch

    torch.set_num_threads(threads)
    ways = subjects(checkpoint, image, N, M)
    runs: dict[str, list[tuple[float, float, int]]] = {way.name: [] for way in ways}
    with torch.no_grad():
        for number in range(rounds + 1):
            for way in ways:
                run = seconds(way)
                if number:  # the first round compiles and allocates
                    runs[way.name].append(run)
    return {
        name: {
            "compress": median(e for e, _, _ in timed),
            "decompress": median(d for _, d, _ in timed),
            "bytes": timed[0][2],
        }
        for name, timed in runs.items()
    }


def peak(library: str, checkpoint: Path, image: Path | None, N: int, M: int, threads: int) -> float:
    """Peak resident memory of this process in MiB, after it imported a library, and used it if there is an image."""
    import torch
    from pair import load_ours, load_peer, peer_models, photo

    torch.set_num_threads(threads)
    if image is None:
        importlib.import_module("tinify.checkpoint") if library == "tinify" else peer_models()
    else:
        model = load_ours(checkpoint) if library == "tinify" else load_peer(checkpoint, ARCHITECTURE, N=N, M=M)
        x = photo(image)
        with torch.no_grad():
            for _ in range(3):
                packed = model.compress(x)
                model.decompress(packed["strings"], packed["shape"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


def compare(checkpoint: Path, image: Path, N: int, M: int, threads: int) -> Parity:
    """The two libraries' numbers on one picture, in one memory layout, so that the convolutions round alike."""
    import torch
    from pair import load_ours, load_peer, photo

    torch.set_num_threads(threads)
    ours = load_ours(checkpoint).to(memory_format=torch.contiguous_format)
    peer = load_peer(checkpoint, ARCHITECTURE, N=N, M=M)
    latents = []
    for part in (ours.latent_codec.y.gaussian_conditional, peer.gaussian_conditional):
        part.register_forward_hook(lambda _module, _args, output: latents.append(output[0]))
    x = photo(image)
    with torch.no_grad():
        results = [ours(x), peer(x)]
    bits = [sum(-float(p.double().log2().sum()) for p in result["likelihoods"].values()) for result in results]
    far = [float((a - b).abs().max()) for a, b in (latents, [result["x_hat"] for result in results])]
    return Parity(abs(bits[0] - bits[1]) / bits[1], far[0], far[1])


@click.command()
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A photograph; it is resized to 768x512.",
)
@click.option("-N", "channels", default=128, show_default=True, help="Channels of the transforms.")
@click.option("-M", "latents", default=192, show_default=True, help="Channels of the latent.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1), help="Interleaved runs of each.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="CPU threads of each.")
@json_option
def main(image: Path | None, channels: int, latents: int, rounds: int, threads: int, json_file: Path | None) -> None:
    """Time compress and decompress of a 768x512 picture, and compare memory and numbers."""
    if importlib.util.find_spec("compressai") is None:
        raise click.ClickException("CompressAI is not installed here: benchmarks/README.md says how to install it")
    image = image or Path(str(files("skimage") / "data" / "coffee.png"))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.safetensors"
        try:
            in_new_process(_save, checkpoint, image, channels, latents)
        except OSError as error:
            raise click.ClickException(f"{image} cannot be read as a picture: {error}") from error
        memory = {
            library: Memory(
                *(in_new_process(peak, library, checkpoint, used, channels, latents, threads) for used in (None, image))
            )
            for library in ("tinify", "CompressAI")
        }
        parity = in_new_process(compare, checkpoint, image, channels, latents, threads)
        times = in_new_process(time_all, checkpoint, image, channels, latents, rounds, threads)
    facts = machine(threads)
    ours, peer = times["tinify"], times["CompressAI"]
    ratios = {what: peer[what] / ours[what] for what in ("compress", "decompress")}
    ratios["memory"] = memory["CompressAI"].coding / memory["tinify"].coding
    click.echo(f"{ARCHITECTURE}, N={channels}, M={latents}, 768x512, medians of {rounds} rounds; {describe(facts)}\n")
    click.echo(_times_table(times))
    click.echo(f"\n{_memory_table(memory)}\n")
    click.echo("CompressAI over tinify: " + ", ".join(f"{what} {ratio:.2f}" for what, ratio in ratios.items()))
    click.echo(f"Numbers apart: bits {parity.bits:.1e} (relative), y_hat {parity.y_hat:.1e}, x_hat {parity.x_hat:.1e}")
    failures = [
        f"{what}: CompressAI takes {ratio:.2f} of what tinify takes" for what, ratio in ratios.items() if ratio < 1
    ]
    failures += [
        f"the libraries differ in {name} by {gap:.1e}" for name, gap in vars(parity).items() if gap > TOLERANCE
    ]
    result = {
        "machine": facts,
        "times": times,
        "memory": {library: vars(found) for library, found in memory.items()},
        "ratios": ratios,
        "parity": vars(parity),
    }
    finish(result, failures, json_file)


def _save(checkpoint: Path, image: Path, N: int, M: int) -> None:
    from pair import save_weights

    save_weights(checkpoint, image, ARCHITECTURE, N=N, M=M)


def _times_table(times: dict[str, dict[str, float]]) -> str:
    rows = [[name, f"{t['compress']:.3f}", f"{t['decompress']:.3f}", f"{t['bytes']:.0f}"] for name, t in times.items()]
    return table(["library", "compress s", "decompress s", "bytes"], rows)


def _memory_table(memory: dict[str, Memory]) -> str:
    rows = [[name, f"{m.imported:.0f}", f"{m.coding:.0f}"] for name, m in memory.items()]
    return table(["library", "MiB, imported", "MiB, peak"], rows)


if __name__ == "__main__":
    main()
