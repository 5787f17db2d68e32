"""What strings cost beside the time for their symbols: bytes, microseconds of a call, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import torch
from coders import WORKLOADS, information, workload
from report import describe, finish, in_new_process, json_option, machine, table

from tinify.coders import CdfTables
from tinify.entropy_models import GaussianConditional

CALL_US, BATCH_MSYM, MEMORY_MIB = 5.0, 80.0, 64.0


def tables() -> CdfTables:
    """Those of a Gaussian conditional."""
    model = GaussianConditional(None)
    model.update()
    return model.tables


def excess(used: CdfTables) -> dict[int, float]:
    """Bytes above the information of strings of several lengths, the mean of some."""
    found = {}
    for count in (10, 100, 1000, 4096, 4097, 16384, 65536, 131072, 262143, 262144, 655359, 655360, 1 << 20):
        over = []
        for seed in range(max(16, min(200, 65536 // count))):
            symbols, rows = workload(used, count, WORKLOADS["low"], seed)
            over.append(len(used.encode(symbols, rows)) - information(used, symbols, rows) / 8)
        found[count] = float(np.mean(over))
    return found


def small(used: CdfTables) -> tuple[dict[str, float], dict[str, float]]:
    """Microseconds of a call for 100 symbols; and Msym/s of ten thousand such strings in a call."""
    symbols, rows = workload(used, 1_000_000, WORKLOADS["low"])
    one, row = symbols[:100].copy(), rows[:100].copy()
    many, their = torch.from_numpy(symbols).reshape(-1, 100), torch.from_numpy(rows).reshape(-1, 100)
    tensor, index = many[0].clone(), their[0].clone()
    data, strings = used.encode(one, row), used.encode_batch(many, their)
    calls = {
        "encode": lambda: used.encode(one, row),
        "decode": lambda: used.decode(data, row),
        "encode, tensors": lambda: used.encode(tensor, index),
        "decode, tensors": lambda: used.decode(data, index),
    }
    batches = {
        "encode": lambda: used.encode_batch(many, their),
        "decode": lambda: used.decode_batch(strings, their),
    }
    return (
        {name: 1e6 * _seconds(call, 2000) for name, call in calls.items()},
        {name: 1.0 / _seconds(call, 5) for name, call in batches.items()},
    )


def _seconds(call: Callable[[], Any], times: int) -> float:
    rounds = []
    for _ in range(9):
        begun = time.perf_counter()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter() - begun) / times)
    return median(rounds)


def peak_memory(count: int, spread: float) -> tuple[float, float]:
    """MiB that encoding and decoding take at their peak beside inputs and output."""
    used = tables()
    symbols, rows = (torch.from_numpy(array) for array in workload(used, count, spread))
    warm = used.encode(symbols[: 1 << 20], rows[: 1 << 20], threads=2)  # compiles
    used.decode(warm, rows[: 1 << 20], threads=2)

    def peak(call: Callable[[], Any], size: Callable[[Any], int]) -> tuple[Any, float]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        before = _resident("VmRSS")
        result = call()
        return result, (_resident("VmHWM") - before - size(result) / 1024) / 1024

    data, encode = peak(lambda: used.encode(symbols, rows, threads=2), len)
    _, decode = peak(lambda: used.decode(data, rows, threads=2), lambda got: got.numel() * 4)
    return encode, decode


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


@click.command()
@click.option("--symbols", "count", default=1 << 22, show_default=True, help="In the string whose memory is measured.")
@json_option
def main(count: int, json_file: Path | None) -> None:
    """Count bytes, microseconds and memory; one thread."""
    torch.set_num_threads(1)
    facts, used, failures = machine(1), tables(), []
    click.echo(f"{describe(facts)}\n")
    over = excess(used)
    click.echo(table(["symbols", "bytes above the information"], [[n, f"{x:.2f}"] for n, x in over.items()]) + "\n")
    for n, found in over.items():
        limit = 2.0 if n <= 4096 else 16.0 if n < 262144 else 0.001 * 1.33 * n / 8
        if found > limit:
            failures.append(f"{n} symbols take {found:.2f} bytes more than their information, more than {limit:.0f}")
    calls, batches = small(used)
    click.echo(table(["call for 100 symbols", "us"], [[name, f"{x:.1f}"] for name, x in calls.items()]) + "\n")
    click.echo(table(["10000 strings of 100", "Msym/s"], [[name, f"{x:.0f}"] for name, x in batches.items()]) + "\n")
    failures += [f"{name} takes {x:.1f} us" for name, x in calls.items() if x > CALL_US and "tensors" not in name]
    failures += [f"{name} of many: {x:.0f} Msym/s" for name, x in batches.items() if x < BATCH_MSYM]
    memory = {name: in_new_process(peak_memory, count, spread) for name, spread in WORKLOADS.items() if spread}
    for name, (encode, decode) in memory.items():
        click.echo(f"peak memory beside inputs and output, {name}: encode {encode:.0f} MiB, decode {decode:.0f} MiB")
        if max(encode, decode) > MEMORY_MIB:
            failures.append(f"{name}: {max(encode, decode):.0f} MiB beside inputs and output")
    result = {"machine": facts, "excess": over, "calls": calls, "batches": batches, "memory": memory}
    finish(result, failures, json_file)


if __name__ == "__main__":
    main()
