"""How fast the entropy coder is, against CompressAI's as its entropy models call it and constriction's Gaussians."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from pair import peer_models
from report import describe, finish, json_option, machine, table

from tinify.coders import CdfTables
from tinify.coders.rans import RansCoder
from tinify.entropy_models import GaussianConditional
from tinify.entropy_models.gaussian import get_scale_table

# How many times a rival's time ours must be, encoding and decoding, with one thread.
TARGETS = {"CompressAI": (40.0, 75.0), "constriction": (25.0, 75.0)}
BITS_ASKED = 1.001

Ints = npt.NDArray[np.int32]
Pair = tuple[Callable[[], Any], Callable[[Any], Any]]


def workload(tables: CdfTables, count: int, seed: int = 0) -> tuple[Ints, Ints]:
    """Symbols drawn from the tables themselves, at rows like those of a hyperprior's latent: 1.3 bits a symbol."""
    random = np.random.default_rng(seed)
    rows = np.clip(np.abs(np.round(random.laplace(0, 12, count))), 0, len(tables) - 1).astype(np.int32)
    slots, symbols = random.integers(0, 65535, count), np.empty(count, np.int32)
    for row in range(len(tables)):
        here, cdf = rows == row, tables.cdfs[row, : tables.sizes[row] - 1]
        symbols[here] = np.searchsorted(cdf, np.minimum(slots[here], cdf[-1] - 1), "right") - 1 + tables.offsets[row]
    return symbols, rows


def information(tables: CdfTables, symbols: Ints, rows: Ints) -> float:
    """Bits that the symbols take under the tables."""
    place = symbols - tables.offsets[rows]
    widths = tables.cdfs[rows, place + 1] - tables.cdfs[rows, place]
    return float((16 - np.log2(widths)).sum())


def ours(tables: CdfTables, symbols: Ints, rows: Ints, *, kernels: str | None = None) -> Pair:
    given, indexes, coder = torch.from_numpy(symbols), torch.from_numpy(rows), RansCoder(kernels)
    return (
        lambda: tables.encode(given, indexes, coder=coder),
        lambda data: torch.from_numpy(tables.decode(data, indexes, coder=coder)),
    )


def compressai(tables: CdfTables, symbols: Ints, rows: Ints) -> Pair:
    """CompressAI's Gaussian, with these tables: lists of Python integers on the way in and out."""
    peer_models()
    from compressai.entropy_models import GaussianConditional as Peer

    peer = Peer(get_scale_table().tolist())
    for name, array in (("_quantized_cdf", tables.cdfs), ("_cdf_length", tables.sizes), ("_offset", tables.offsets)):
        setattr(peer, name, torch.tensor(array, dtype=torch.int32))
    given, indexes = torch.from_numpy(symbols)[None, None].float(), torch.from_numpy(rows)[None, None]
    return lambda: peer.compress(given, indexes), lambda data: peer.decompress(data, indexes)[0, 0]


def constriction(tables: CdfTables, symbols: Ints, rows: Ints) -> Pair:
    """constriction's ANS with a quantised Gaussian for each symbol."""
    import constriction as peer

    reach = int(np.abs(symbols).max()) + 1
    scales = get_scale_table().numpy().astype(np.float64)[rows]
    family, means = peer.stream.model.QuantizedGaussian(-reach, reach), np.zeros(len(symbols))

    def encode() -> Any:
        coder = peer.stream.stack.AnsCoder()
        coder.encode_reverse(symbols, family, means, scales)
        return coder.get_compressed()

    return encode, lambda data: peer.stream.stack.AnsCoder(data).decode(family, means, scales)


def measure(coders: dict[str, Pair], symbols: Ints, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds to encode and to decode, the coders taking turns; each must give the symbols back."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in coders}
    for round_ in range(rounds + 1):
        for name, (encode, decode) in coders.items():
            begun = time.perf_counter()
            data = encode()
            coded = time.perf_counter()
            got = decode(data)
            done = time.perf_counter()
            if not np.array_equal(np.asarray(got).astype(np.int64), symbols):
                raise click.ClickException(f"{name} decodes other symbols")
            if round_:  # the first compiles and warms up
                times[name].append((coded - begun, done - coded))
    return {name: (median(a for a, _ in pairs), median(b for _, b in pairs)) for name, pairs in times.items()}


@click.command()
@click.option("--symbols", "count", default=1 << 22, show_default=True, type=click.IntRange(1), help="In a string.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Interleaved rounds.")
@json_option
def main(count: int, rounds: int, json_file: Path | None) -> None:
    """Time the coders, one thread each."""
    torch.set_num_threads(1)
    facts = machine(1)
    model = GaussianConditional(None)
    model.update()
    symbols, rows = workload(model.tables, count)
    coders = {
        "tinify": ours(model.tables, symbols, rows),
        "tinify, scalar kernels": ours(model.tables, symbols, rows, kernels="scalar"),
        "CompressAI": compressai(model.tables, symbols, rows),
        "constriction": constriction(model.tables, symbols, rows),
    }
    seconds = measure(coders, symbols, rounds)
    bits, asked = 8 * len(coders["tinify"][0]()), information(model.tables, symbols, rows)
    encode_s, decode_s = seconds["tinify"]
    lines = [
        [name, f"{count / a / 1e6:.1f}", f"{count / b / 1e6:.1f}", f"{a / encode_s:.1f}", f"{b / decode_s:.1f}"]
        for name, (a, b) in seconds.items()
    ]
    click.echo(f"{count} symbols of {asked / count:.3f} bits, {describe(facts)}; median of {rounds} rounds\n")
    click.echo(table(["coder", "encode Msym/s", "decode Msym/s", "its time over ours", "decoding"], lines))
    click.echo(f"\ntinify's string is {100 * (bits / asked - 1):.4f} % above the information")
    failures = []
    for name, targets in TARGETS.items():
        ratios = seconds[name][0] / encode_s, seconds[name][1] / decode_s
        if ratios[0] < targets[0] or ratios[1] < targets[1]:
            failures.append(f"{name} takes {ratios[0]:.1f} and {ratios[1]:.1f} times ours, not {targets}")
    if bits > BITS_ASKED * asked:
        failures.append(f"the string is {100 * (bits / asked - 1):.3f} % above the information, more than 0.1 %")
    finish({"machine": facts, "symbols": count, "seconds": seconds, "bits": bits, "asked": asked}, failures, json_file)


if __name__ == "__main__":
    main()
