"""How fast the entropy coders are, against those of CompressAI, constriction and torch_ans in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
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

Ints = npt.NDArray[np.int32]
Pair = tuple[Callable[[], Any], Callable[[Any], Any]]
Seconds = dict[str, tuple[float, float]]

# What is coded: how the rows are drawn (the Laplacian spread of the row's number), or None for a row for each channel.
WORKLOADS = {"low": 12.0, "high": 32.0, "static": None}
CHANNELS = 192

# How many times a rival's time ours must be, encoding and decoding: workload, our coder, rival.
TARGETS = {
    ("low", "tinify", "CompressAI"): (40.0, 75.0),
    ("static", "tinify", "CompressAI"): (40.0, 95.0),
    ("low", "tinify, 2 threads", "CompressAI"): (70.0, 145.0),
    ("low", "tinify", "torch_ans"): (4.0, 5.5),
    ("low", "tinify", "constriction"): (25.0, 75.0),
}
WITHOUT_AVX512 = (12.0, 20.0)
COMPAT_TARGET = 10.0
BITS_ASKED = 1.001


def workload(tables: CdfTables, count: int, spread: float | None, seed: int = 0) -> tuple[Ints, Ints]:
    """Symbols drawn from the tables: at rows like those of a hyperprior's latent, or a row for each channel."""
    random = np.random.default_rng(seed)
    if spread is None:
        channels = random.integers(0, 33, CHANNELS).astype(np.int32)
        rows = np.repeat(channels, -(-count // CHANNELS))[:count]
    else:
        rows = np.clip(np.abs(np.round(random.laplace(0, spread, count))), 0, len(tables) - 1).astype(np.int32)
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


def ours(tables: CdfTables, symbols: Ints, indexes: Any, threads: int = 1, kernels: str | None = None) -> Pair:
    """Tensors in, a string; a string, a tensor out."""
    given, coder = torch.from_numpy(symbols).reshape(indexes.shape), RansCoder(kernels)
    return (
        lambda: tables.encode(given, indexes, coder=coder, threads=threads),
        lambda data: tables.decode(data, indexes, coder=coder, threads=threads),
    )


def compat(tables: CdfTables, symbols: Ints, rows: Ints) -> Pair:
    """The field's strings, byte for byte CompressAI's."""
    from tinify.coders.compat import CompatCoder

    given, indexes, coder = torch.from_numpy(symbols), torch.from_numpy(rows), CompatCoder()
    return (
        lambda: tables.encode(given, indexes, coder=coder),
        lambda data: tables.decode(data, indexes, coder=coder),
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


def interleaved(coders: dict[str, Pair], symbols: Ints, rounds: int, calls: int) -> tuple[Seconds, Seconds]:
    """Median seconds to encode and to decode, the coders taking turns: the first call of a turn, and the later ones.

    A first call finds the caches full of what the other coders used. Each must give the symbols back.
    """
    cold: dict[str, list[tuple[float, float]]] = {name: [] for name in coders}
    warm: dict[str, list[tuple[float, float]]] = {name: [] for name in coders}
    for round_ in range(rounds + 1):
        for name, (encode, decode) in coders.items():
            for call in range(calls if name.startswith("tinify") else 1):
                begun = time.perf_counter()
                data = encode()
                coded = time.perf_counter()
                got = decode(data)
                done = time.perf_counter()
                if not np.array_equal(np.asarray(got).reshape(-1), symbols):
                    raise click.ClickException(f"{name} decodes other symbols")
                if round_:  # the first compiles
                    (warm if call else cold)[name].append((coded - begun, done - coded))
    both = [
        {name: (median(a for a, _ in pairs), median(b for _, b in pairs)) for name, pairs in times.items() if pairs}
        for times in (cold, warm)
    ]
    return both[0], both[0] | both[1]


def torch_ans(tables: CdfTables, symbols: Ints, rows: Ints) -> Pair:
    """torch_ans' rans64 with four states in turn, as its CompressAI-like interface calls it, and bytes of it."""
    from importlib import import_module

    peer = import_module("torch_ans._C")

    given, indexes = torch.from_numpy(symbols)[None], torch.from_numpy(rows)[None]
    arrays = tuple(torch.tensor(array) for array in (tables.cdfs, tables.sizes, tables.offsets))
    how = {"freq_precision": 16, "bypass_coding": True, "bypass_precision": 4}

    def encode() -> Any:
        stream = peer.rans64_init_stream(1, 4, symbols.size)
        peer.rans64_i4_push(stream, given, indexes, *arrays, **how)
        return peer.rans_stream_to_byte_strings(stream)

    return encode, lambda data: peer.rans64_i4_pop(peer.rans_byte_strings_to_stream(data), indexes, *arrays, **how)


def contestants(name: str, tables: CdfTables, count: int) -> tuple[dict[str, Pair], Ints, float]:
    """The coders, the symbols and their bits."""
    spread = WORKLOADS[name]
    symbols, rows = workload(tables, count, spread)
    indexes = torch.from_numpy(rows)
    if spread is None:  # as an entropy model has them: an index a channel
        indexes = indexes.reshape(CHANNELS, -1)[:, :1].expand(CHANNELS, count // CHANNELS)
    coders = {
        "tinify": ours(tables, symbols, indexes),
        "tinify, 2 threads": ours(tables, symbols, indexes, threads=2),
        "tinify, scalar kernels": ours(tables, symbols, indexes, kernels="scalar"),
        "tinify, the field's strings": compat(tables, symbols, rows),
        "CompressAI": compressai(tables, symbols, rows),
        "torch_ans": torch_ans(tables, symbols, rows),
        "constriction": constriction(tables, symbols, rows),
    }
    return coders, symbols, information(tables, symbols, rows)


def again(arguments: list[str], **environment: str) -> str:
    """What this script prints when it runs in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise click.ClickException(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def ratios_without_avx512(count: int, rounds: int) -> tuple[float, float]:
    """CompressAI's time over ours where numba is told of a processor that has AVX2 at most."""
    encode, decode = again(
        ["--duel", "--symbols", str(count), "--rounds", str(rounds)], NUMBA_CPU_NAME="haswell"
    ).split()
    return float(encode), float(decode)


def duel(tables: CdfTables, count: int, rounds: int) -> None:
    """Prints CompressAI's time over ours."""
    coders, symbols, _ = contestants("low", tables, count)
    kept = {name: coders[name] for name in ("tinify", "CompressAI")}
    _, warm = interleaved(kept, symbols, rounds, 5)
    print(*(theirs / own for own, theirs in zip(warm["tinify"], warm["CompressAI"], strict=True)))


def failed(name: str, seconds: Seconds, targets: Any) -> list[str]:
    """What of the targets for a workload is not reached."""
    failures = []
    for (where, own, rival), asked in targets.items():
        if where == name:
            found = tuple(seconds[rival][way] / seconds[own][way] for way in (0, 1))
            if found[0] < asked[0] or found[1] < asked[1]:
                failures.append(
                    f"{name}: {rival} takes {found[0]:.1f} and {found[1]:.1f} times {own}'s time, not {asked}"
                )
    return failures


@click.command()
@click.option(
    "--symbols", "count", default=1 << 22, show_default=True, type=click.IntRange(1 << 19), help="In a string."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Interleaved rounds.")
@click.option("--duel", "only_duel", is_flag=True, hidden=True)
@json_option
def main(count: int, rounds: int, only_duel: bool, json_file: Path | None) -> None:
    """Time the coders, one thread each unless said."""
    torch.set_num_threads(1)
    count -= count % CHANNELS
    model = GaussianConditional(None)
    model.update()
    if only_duel:
        duel(model.tables, count, rounds)
        return
    facts = machine(1)
    click.echo(f"{count} symbols, {describe(facts)}; median of {rounds} rounds\n")
    result: dict[str, Any] = {"machine": facts, "symbols": count}
    failures = []
    for name in WORKLOADS:
        coders, symbols, bits = contestants(name, model.tables, count)
        cold, warm = interleaved(coders, symbols, rounds, 5)
        result[name] = {"cold": cold, "warm": warm}
        lines = [
            [
                coder,
                *(f"{count / x / 1e6:.0f}" for x in (*first, *later)),
                *(f"{a / b:.1f}" for a, b in zip(warm["CompressAI"], later, strict=True)),
            ]
            for (coder, first), later in zip(cold.items(), (warm[coder] for coder in cold), strict=True)
        ]
        click.echo(f"{name}: {bits / count:.2f} bits a symbol; Msym/s\n")
        columns = ["coder", "encode, cold", "decode, cold", "encode", "decode", "CompressAI's time over it", "decoding"]
        click.echo(table(columns, lines) + "\n")
        failures += failed(name, warm, TARGETS)
        if name == "low":
            own, theirs = warm["tinify, the field's strings"], warm["CompressAI"]
            if min(theirs[0] / own[0], theirs[1] / own[1]) < COMPAT_TARGET:
                failures.append(f"the field's strings: {theirs[0] / own[0]:.1f} and {theirs[1] / own[1]:.1f}, not 10")
            length = 8 * len(coders["tinify"][0]())
            result["bits over information"] = length / bits
            click.echo(f"tinify's string is {100 * (length / bits - 1):.4f} % above the information\n")
            if length > BITS_ASKED * bits:
                failures.append(f"the string is {100 * (length / bits - 1):.3f} % above the information, not 0.1 %")
    ratios = result["without AVX-512"] = ratios_without_avx512(count, rounds)
    click.echo(f"without AVX-512, CompressAI's time over ours: encode {ratios[0]:.1f}, decode {ratios[1]:.1f}")
    asked = WITHOUT_AVX512
    if ratios[0] < asked[0] or ratios[1] < asked[1]:
        failures.append(f"without AVX-512 {ratios[0]:.1f} and {ratios[1]:.1f} times CompressAI's speed, not {asked}")
    finish(result, failures, json_file)


if __name__ == "__main__":
    main()
