"""How fast the entropy coders are, against those of CompressAI, constriction and torch_ans in the same run."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
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
WITHOUT_AVX512 = {("low", "tinify", "CompressAI"): (12.0, 20.0)}
COMPAT_TARGET = 10.0
BITS_ASKED = 1.001
CALL_US, BATCH_MSYM, MEMORY_MIB = 5.0, 80.0, 64.0


def workload(tables: CdfTables, count: int, spread: float | None, seed: int = 0) -> tuple[Ints, Ints]:
    """Symbols drawn from the tables themselves: at rows like those of a hyperprior's latent, or a row for each channel."""
    random = np.random.default_rng(seed)
    if spread is None:
        channels = random.integers(0, 40, CHANNELS).astype(np.int32)
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
                if not np.array_equal(np.asarray(got).reshape(-1).astype(np.int64), symbols):
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
    import torch_ans._C as peer

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
        #        "tinify, the field's strings": compat(tables, symbols, rows),
        "CompressAI": compressai(tables, symbols, rows),
        "torch_ans": torch_ans(tables, symbols, rows),
        "constriction": constriction(tables, symbols, rows),
    }
    return coders, symbols, information(tables, symbols, rows)


def excess(tables: CdfTables) -> dict[int, float]:
    """Bytes above the information of strings of several lengths, the mean of some."""
    found = {}
    for count in (10, 100, 1000, 4096, 4097, 16384, 65536, 131071, 131072, 262144, 524288, 1 << 20):
        over = []
        for seed in range(max(1, min(200, 65536 // count))):
            symbols, rows = workload(tables, count, WORKLOADS["low"], seed)
            over.append(len(tables.encode(symbols, rows)) - information(tables, symbols, rows) / 8)
        found[count] = float(np.mean(over))
    return found


def small(tables: CdfTables) -> dict[str, float]:
    """Microseconds of a call for 100 symbols, and Msym/s of ten thousand such strings in a call; encoding, decoding."""
    symbols, rows = workload(tables, 1_000_000, WORKLOADS["low"])
    one, row = symbols[:100].copy(), rows[:100].copy()
    many, their = torch.from_numpy(symbols).reshape(-1, 100), torch.from_numpy(rows).reshape(-1, 100)
    data, strings, out = tables.encode(one, row), tables.encode_batch(many, their), np.empty(100, np.int32)
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "encode 100": (lambda: tables.encode(one, row), 2000),
        "decode 100": (lambda: tables.decode(data, row, out), 2000),
        "encode 10000 x 100": (lambda: tables.encode_batch(many, their), 5),
        "decode 10000 x 100": (lambda: tables.decode_batch(strings, their), 5),
    }
    found = {}
    for name, (call, times) in calls.items():
        rounds = []
        for _ in range(7):
            begun = time.perf_counter()
            for _ in range(times):
                call()
            rounds.append((time.perf_counter() - begun) / times)
        found[name] = 1e6 * median(rounds) if times > 100 else 1.0 / median(rounds)
    return found


def peak_memory(count: int) -> None:
    """Prints MiB that encoding and decoding take at their peak beside inputs and output."""
    model = GaussianConditional(None)
    model.update()
    tables = model.tables
    symbols, rows = (torch.from_numpy(array) for array in workload(tables, count, WORKLOADS["low"]))
    warm = tables.encode(symbols[: 1 << 19], rows[: 1 << 19], threads=2)
    tables.decode(warm, rows[: 1 << 19], threads=2)

    def peak(call: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        result = call()
        print((_resident("VmHWM") - before - size(result) / 1024) / 1024)
        return result

    data = peak(lambda: tables.encode(symbols, rows, threads=2), len)
    peak(lambda: tables.decode(data, rows, threads=2), lambda got: got.numel() * 4)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


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
@click.option("--memory", "only_memory", is_flag=True, hidden=True)
@json_option
def main(count: int, rounds: int, only_duel: bool, only_memory: bool, json_file: Path | None) -> None:
    """Time the coders, one thread each unless said; count their bytes and their memory."""
    torch.set_num_threads(1)
    count -= count % CHANNELS
    if only_memory:
        return peak_memory(count)
    model = GaussianConditional(None)
    model.update()
    if only_duel:
        return duel(model.tables, count, rounds)
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
        if name == "low" and "tinify, the field's strings" in warm:
            own, theirs = warm["tinify, the field's strings"], warm["CompressAI"]
            if min(theirs[0] / own[0], theirs[1] / own[1]) < COMPAT_TARGET:
                failures.append(f"the field's strings: {theirs[0] / own[0]:.1f} and {theirs[1] / own[1]:.1f}, not 10")
            length = 8 * len(coders["tinify"][0]())
            result["bits over information"] = length / bits
            click.echo(f"tinify's string is {100 * (length / bits - 1):.4f} % above the information\n")
            if length > BITS_ASKED * bits:
                failures.append(f"the string is {100 * (length / bits - 1):.3f} % above the information, not 0.1 %")
    failures += rest(model.tables, count, rounds, result)
    finish(result, failures, json_file)


def rest(tables: CdfTables, count: int, rounds: int, result: dict[str, Any]) -> list[str]:
    """What is measured of tinify alone; returns what is not as asked."""
    failures = []
    over = result["excess"] = excess(tables)
    click.echo(
        table(["symbols", *map(str, over)], [["bytes above the information", *(f"{x:.1f}" for x in over.values())]])
    )
    for n, found in over.items():
        bits = 1.3 * n / 8
        if found > (2 if n <= 4096 else 16 if n < 262144 else 0.001 * bits):
            failures.append(f"{n} symbols take {found:.1f} bytes more than their information")
    times = result["small"] = small(tables)
    click.echo(
        "\n"
        + table(
            ["call", "figure"],
            [[name, f"{x:.1f} us" if "x" not in name else f"{x:.0f} Msym/s"] for name, x in times.items()],
        )
    )
    failures += [f"{name} takes {x:.1f} us" for name, x in times.items() if "x" not in name and x > CALL_US]
    failures += [f"{name}: {x:.0f} Msym/s" for name, x in times.items() if "x" in name and x < BATCH_MSYM]
    memory = result["memory"] = [float(x) for x in again(["--memory", "--symbols", str(count)]).split()]
    click.echo(f"\npeak memory beside inputs and output: encode {memory[0]:.0f} MiB, decode {memory[1]:.0f} MiB")
    failures += [f"{x:.0f} MiB beside inputs and output" for x in memory if x > MEMORY_MIB]
    found = result["without AVX-512"] = ratios_without_avx512(count, rounds)
    click.echo(f"without AVX-512, CompressAI's time over ours: encode {found[0]:.1f}, decode {found[1]:.1f}")
    asked = WITHOUT_AVX512["low", "tinify", "CompressAI"]
    if found[0] < asked[0] or found[1] < asked[1]:
        failures.append(f"without AVX-512 {found[0]:.1f} and {found[1]:.1f} times CompressAI, not {asked}")
    return failures


if __name__ == "__main__":
    main()
