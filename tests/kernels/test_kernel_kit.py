"""The conformance kit, which the kernels of others are held to, passes for ours."""

from __future__ import annotations

from dataclasses import replace
from inspect import unwrap

import pytest
import tinify_kernels
import torch

from tinify.kernels import activate
from tinify.plugin import Kernel
from tinify.testing.cases import KernelCase
from tinify.testing.kernels import KERNEL_CHECKS, check_equal, sample_of

KERNELS = [kernel for kernel in tinify_kernels.tinify_kernels() if kernel.device == "cuda"]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.op)
def test_ours_conform(kernel: Kernel, device: str) -> None:
    kernel = replace(kernel, device=device)
    for check in KERNEL_CHECKS:
        check(KernelCase(kernel, sample_of(kernel, None)))


def test_one_that_is_off_does_not(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import tinify_kernels.gdn as module

    right = unwrap(module.gdn)
    monkeypatch.setattr(module, "gdn", lambda *given: right(*given) * torch.tensor(1.001))
    kernel = replace(KERNELS[0], device=device)
    with pytest.raises(AssertionError, match=r"gdn-.* differs from its definition"):
        check_equal(KernelCase(kernel, sample_of(kernel, None)))


def test_all_are_active_on_a_gpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [made for made in activate() if made.kernel.device == "cuda"]
    assert len(found) >= len(KERNELS)
    for made in found:
        assert made.active or (device == "cpu" and "no cuda device" in made.reason)
