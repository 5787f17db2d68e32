"""Triton's kernels on this machine's GPU against eager PyTorch, `torch.compile` and the bandwidth of a copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from report import describe, finish, json_option, machine, table
from torch import Tensor
from torch.nn import functional as F
from weights import fit

from tinify import ops
from tinify.coders import CdfTables
from tinify.coders.rans import for_gpus
from tinify.entropy_models import GaussianConditional
from tinify.entropy_models.device import DeviceTables
from tinify.kernels import activate
from tinify.layers import MaskedConv2d
from tinify.models import create_model

DEVICE = "cuda"
HALF = torch.bfloat16
Row = tuple[str, str, str, str, bool]
"""What is measured; the figure, and what it is compared with; what is asked; whether that is reached."""


def milliseconds(run: Callable[..., Any], *inputs: Any, rounds: int = 30) -> float:
    """The median of rounds, by CUDA events; a ring of copies of the inputs keeps them out of the last cache."""
    size = sum(one.nbytes for one in inputs if isinstance(one, Tensor))
    cache = torch.cuda.get_device_properties(DEVICE).L2_cache_size
    ring = [inputs] + [
        tuple(
            one.detach().clone().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in inputs
        )
        for _ in range(min(8, 2 * cache // max(1, size)))
    ]
    for turn in range(3):
        run(*ring[turn % len(ring)])
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    for turn, (begin, end) in enumerate(marks):
        begin.record()
        run(*ring[turn % len(ring)])
        end.record()
    torch.cuda.synchronize()
    return float(median(begin.elapsed_time(end) for begin, end in marks))


def _copy(one: Any) -> Any:
    return one.detach().clone().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one


def seconds(run: Callable[[], Any], rounds: int = 10) -> float:
    """The median of rounds by the clock, everything that the call waits for within."""
    spent = []
    for _ in range(rounds + 2):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        run()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - begun)
    return median(spent[2:])


def eager_gdn(x: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """As the field writes it."""
    return x * torch.rsqrt(F.conv2d(x * x, gamma[:, :, None, None].to(x.dtype), beta.to(x.dtype)))


def there_and_back(function: Callable[..., Tensor]) -> Callable[..., None]:
    def run(x: Tensor, *others: Tensor) -> None:
        torch.autograd.grad(function(x, *others).sum(), (x, *others))

    return run


def bandwidth() -> float:
    """Bytes a second of a copy within the GPU, each byte read once and written once."""
    x = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    y = torch.empty_like(x)
    return 2 * x.nbytes / milliseconds(y.copy_, x) * 1e3


def normalisation(copy: float) -> list[Row]:
    rows: list[Row] = []
    for dtype in (HALF, torch.float16):
        x = torch.randn(1, 192, 540, 960, device=DEVICE).to(dtype).requires_grad_()
        beta = (torch.rand(192, device=DEVICE) + 0.5).requires_grad_()
        gamma = (torch.rand(192, 192, device=DEVICE) / 192).requires_grad_()
        with torch.no_grad():
            ours, eager = milliseconds(ops.gdn, x, beta, gamma), milliseconds(eager_gdn, x, beta, gamma)
            compiled = milliseconds(torch.compile(eager_gdn), x, beta, gamma)
        share = 2 * x.nbytes / (ours / 1e3) / copy
        what = f"GDN forward, 192 channels, 540x960, {str(dtype).removeprefix('torch.')}"
        rows.append((what, f"{ours:.3f} ms, {share:.0%} of a copy", "", "70 %", share >= 0.7))
        rows.append((what, f"{ours:.3f} ms", f"eager {eager / ours:.2f}", "3", eager >= 3 * ours))
        rows.append((what, f"{ours:.3f} ms", f"compiled {compiled / ours:.2f}", "1.2", compiled >= 1.2 * ours))
        both, other = (milliseconds(there_and_back(one), x, beta, gamma) for one in (ops.gdn, eager_gdn))
        rows.append((f"{what} and backward", f"{both:.3f} ms", f"eager {other / both:.2f}", "2.5", other >= 2.5 * both))
    return rows


def masked() -> list[Row]:
    rows: list[Row] = []
    for channels in (192, 320):
        for batch in (1, 8):
            x = (
                torch.randn(batch, channels, 68, 120, device=DEVICE)
                .to(HALF)
                .contiguous(memory_format=torch.channels_last)
            )
            conv = MaskedConv2d(channels, 2 * channels, 5, padding=2).to(DEVICE, HALF)
            weight, taps = (conv.weight * conv.mask).detach(), list(conv.taps())
            packed = weight.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                dense = milliseconds(lambda x, w: F.conv2d(x, w, padding=2), x, packed)
                ours = milliseconds(lambda x, w, taps=taps: ops.masked_conv2d(x, w, None, taps, [2, 2]), x, weight)
            what = f"masked 5x5, {channels} to {2 * channels} channels, {batch}x68x120, bfloat16"
            rows.append((what, f"{ours:.3f} ms", f"dense {dense / ours:.2f}", "1.3", dense >= 1.3 * ours))
    return rows


def steps() -> list[Row]:
    """One pass over a latent each, beside the same in eager steps; nothing is asked of them."""
    y, means = (torch.randn(8, 320, 68, 120, device=DEVICE) for _ in range(2))
    scales, model = torch.rand_like(y) + 0.2, GaussianConditional(None).to(DEVICE)
    table, bound = model.scale_table, torch.tensor([0.11], device=DEVICE)
    rows: list[Row] = []
    for name, arguments in {
        "gaussian_likelihood": (y, scales, means),
        "quantize_indexes": (y, scales, means, bound, table),
        "scale_indexes": (scales, table),
        "add_noise": (y,),
    }.items():
        operator = getattr(ops, name)
        with torch.no_grad():
            ours, eager = milliseconds(operator, *arguments), milliseconds(operator.__wrapped__, *arguments)
        rows.append((f"{name}, 8x320x68x120", f"{ours:.3f} ms", f"eager {eager / ours:.2f}", "", True))
    return rows


def strings() -> list[Row]:
    model = GaussianConditional(None)
    model.update()
    tables: CdfTables = model.tables
    form = DeviceTables.of(tables, torch.device(DEVICE, 0))
    indexes = torch.randint(0, 24, (1, 64 << 20), dtype=torch.int32, device=DEVICE)
    scales = model.scale_table.to(DEVICE)[indexes]
    symbols = torch.round(scales * torch.randn_like(scales)).int()
    coded = ops.rans_encode(symbols, indexes, form.rows, form.cdf, 1 << 14)
    assert torch.equal(ops.rans_decode(*coded, indexes, form.rows, form.cdf, form.table), symbols)
    there = seconds(lambda: ops.rans_encode(symbols, indexes, form.rows, form.cdf, 1 << 14))
    back = seconds(lambda: ops.rans_decode(*coded, indexes, form.rows, form.cdf, form.table))
    bits = 8 * len(coded[0]) / symbols.numel()
    return [
        (f"rANS {way}, 64M symbols of {bits:.2f} bits", f"{speed:.1f} Gsymbol/s", "", "40", speed >= 40)
        for way, speed in (("encode", symbols.numel() / there / 1e9), ("decode", symbols.numel() / back / 1e9))
    ]


@torch.no_grad()
def models() -> list[Row]:
    picture = torch.rand(1, 3, 512, 768)
    picture = F.interpolate(F.avg_pool2d(picture, 8), scale_factor=8, mode="bicubic").clamp(0, 1)
    slow = create_model("mbt2018", N=192, M=192).eval()
    fit(slow, picture)
    slow = slow.to(DEVICE)
    packed = slow.compress(picture.to(DEVICE))
    decoded = slow.decompress(packed["strings"], packed["shape"])
    spent = seconds(lambda: slow.decompress(packed["strings"], packed["shape"]))
    assert torch.equal(slow.decompress(packed["strings"], packed["shape"])["x_hat"], decoded["x_hat"])
    rows = [("mbt2018 decode, 768x512", f"{spent:.3f} s", "the published peer 5.9 s", "0.15 s", spent < 0.15)]
    frame = F.interpolate(picture, (1088, 1920), mode="bicubic").clamp(0, 1)
    quick = create_model("mbt2018-mean", N=192, M=320).eval()
    fit(quick, frame)
    quick = quick.to(DEVICE)
    quick.use_coder(for_gpus())
    quick.transform_dtype = HALF
    x = frame.to(DEVICE).contiguous(memory_format=torch.channels_last)
    packed = quick.compress(x)
    for way, run in {
        "compress": lambda: quick.compress(x),
        "decompress": lambda: quick.decompress(packed["strings"], packed["shape"]),
    }.items():
        rate = 1 / seconds(run)
        rows.append(
            (f"mbt2018-mean {way}, 1920x1088, bfloat16 transforms", f"{rate:.1f} frames/s", "", "60", rate >= 60)
        )
    return rows


@click.command()
@json_option
def main(json_file: Path | None) -> None:
    """Time the kernels on this machine's GPU. Leaves with status 1 if something asked for is not reached."""
    if not torch.cuda.is_available():
        raise click.ClickException("torch finds no CUDA GPU here, which is what this benchmark measures")
    idle = [made for made in activate() if made.kernel.device == DEVICE and not made.active]
    torch.manual_seed(0)
    copy = bandwidth()
    rows = [*normalisation(copy), *masked(), *steps(), *strings(), *models()]
    facts = {**machine(), "gpu": torch.cuda.get_device_name(), "copy": copy}
    click.echo(f"{describe(facts)}; {facts['gpu']}, copy {copy / 1e12:.2f} TB/s\n")
    columns = ["what", "median", "their time over ours", "asked"]
    click.echo(table(columns, [row[:4] for row in rows]))
    missed = [f"{what}: {figure} {ratio}, {asked} asked" for what, figure, ratio, asked, reached in rows if not reached]
    missed += [f"{made.kernel} is not active: {made.reason}" for made in idle]
    finish({**facts, "rows": [dict(zip(columns, row, strict=False)) for row in rows]}, missed, json_file)


if __name__ == "__main__":
    main()
