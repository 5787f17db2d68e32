"""Every kernel compiles for GPUs that are not there, within bounds of registers, spills and shared memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ahead import Built, build
from torch import Tensor

HALF, FLOAT = torch.bfloat16, torch.float32
REGISTERS = 255  # of a thread
SPILLED = {80: 512, 90: 32}  # bytes of a thread; before Hopper, products have more of their operands in registers
SHARED = 128 << 10  # bytes of a program


def empty(*shape: int, dtype: torch.dtype = FLOAT) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


def counts(*shape: int) -> Tensor:
    return empty(*shape, dtype=torch.int32)


def wide(*shape: int) -> Tensor:
    return empty(*shape, dtype=torch.int64)


def octets(*shape: int) -> Tensor:
    return empty(*shape, dtype=torch.uint8)


def gdn(dtype: torch.dtype, channels: int = 192, last: bool = False) -> tuple[Tensor, ...]:
    x = empty(1, channels, 32, 32, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    return x, empty(channels), empty(channels, channels)


def conv(dtype: torch.dtype) -> tuple[Any, ...]:
    return empty(1, 192, 32, 32, dtype=dtype), empty(384, 192, 5, 5, dtype=dtype), None, list(range(12)), [2, 2]


def without_bias(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return *arguments[:2], *arguments[3:]


def triton(file: str, name: str) -> Callable[..., Any]:
    kernel: Callable[..., Any] = getattr(importlib.import_module(f"tinify_kernels.{file}"), name)
    return kernel


def kernels(file: str, name: str, arguments: tuple[Any, ...]) -> Any:
    return pytest.param(file, name, arguments, id=f"{name} {str(arguments[0].dtype).removeprefix('torch.')}")


latent, words, tables = empty(4, 5, 6, 7), empty(900, dtype=torch.int16), (counts(64, 3), counts(900), wide(900))
LAUNCHES = (
    kernels("gdn", "gdn", gdn(HALF)),
    kernels("gdn", "gdn", gdn(torch.float16, last=True)),
    kernels("gdn", "gdn", gdn(FLOAT, channels=320)),
    kernels("gdn", "gdn_backward", (gdn(HALF)[0], *gdn(HALF), False, False)),
    kernels("gdn", "gdn_backward", (gdn(FLOAT)[0], *gdn(FLOAT), True, False)),
    kernels("masked_conv2d", "masked_conv2d", conv(HALF)),
    kernels("masked_conv2d", "masked_conv2d", conv(FLOAT)),
    kernels("masked_conv2d", "masked_conv2d_backward", (empty(1, 384, 32, 32, dtype=HALF), *without_bias(conv(HALF)))),
    kernels("masked_conv2d", "conv_at", (*conv(FLOAT), wide(12), wide(12))),
    kernels("ordered_linear", "ordered_linear", (empty(12, 3840), empty(3840, 640), empty(640), 0.01)),
    kernels("gaussian", "gaussian_likelihood", (latent, latent, latent)),
    kernels("gaussian", "gaussian_likelihood_backward", (latent, latent, latent, None)),
    kernels("gaussian", "quantize_indexes", (latent, latent, latent, empty(1), empty(64))),
    kernels("gaussian", "scale_indexes", (latent, empty(64))),
    kernels("gaussian", "add_noise", (latent,)),
    kernels("rans_pop", "rans_pop", (counts(5000), octets(900), words, wide(9), wide(32), *tables)),
)  # fmt: skip


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize(("file", "name", "arguments"), LAUNCHES)
def test_they_compile_within_bounds(
    file: str, name: str, arguments: tuple[Any, ...], arch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(monkeypatch, triton(file, name), *arguments, arch=arch)
    assert built
    for kernel in built:
        within(kernel, arch)


def within(kernel: Built, arch: int) -> None:
    assert kernel.registers <= REGISTERS
    assert kernel.spilled <= SPILLED[arch]
    assert kernel.shared <= SHARED


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("name", ["_encode", "_decode"])
def test_coders_step_without_barriers(name: str, arch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    [kernel] = build(monkeypatch, LOOPS[name], arch=arch)
    assert kernel.name == name
    assert kernel.registers <= 64  # so that a processor holds 32 warps
    assert kernel.spilled == kernel.shared == 0
    assert max(map(len, kernel.loops)) > 100
    assert not [line for loop in kernel.loops for line in loop if "BAR" in line]


def encode() -> None:
    from tinify_kernels.rans import _encode

    count, chunk = 1 << 16, 1 << 14
    words, escapes = empty(4, chunk, dtype=torch.int16), octets(4, 5 * chunk)
    tables = counts(64, 3), counts(3000)
    _encode[4,](
        counts(1, count), counts(1, count), *tables, words, escapes, wide(4, 32), counts(3, 4), count, chunk, 4, 64, 4,
        K=32, num_warps=1,
    )  # fmt: skip


def decode() -> None:
    from tinify_kernels.rans import _decode

    count = 1 << 16
    tables = counts(64, 3), counts(3000), wide(3000)
    _decode[4,](
        octets(1000), wide(4), wide(4), counts(1, count), *tables, counts(1, count), counts(4), count, 1 << 14, 4, 64,
        K=32, FLAGS=20, ESCAPED=64, BUCKETS=256, LONGEST=5, num_warps=1,
    )  # fmt: skip


LOOPS = {"_encode": encode, "_decode": decode}


@pytest.mark.parametrize("arch", [80, 90])
def test_strings_are_put_together(arch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinify_kernels.rans import _compose

    parts = empty(4, 1 << 14, dtype=torch.int16), octets(4, 5 << 14), wide(4, 32), counts(3, 4), wide(4), octets(1000)
    form = {"K": 32, "FLAGS": 20, "ESCAPED": 64, "LONGEST": 5, "BLOCK": 2048}
    [kernel] = build(monkeypatch, lambda: _compose[4,](*parts, 1 << 14, 4, **form), arch=arch)
    within(kernel, arch)
