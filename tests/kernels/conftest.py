"""Kernels are tested where they run: on a GPU, or under Triton's interpreter (TRITON_INTERPRET=1, from the start)."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterator

import pytest
import tinify_kernels
import torch

from tinify.kernels import activate

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # 3.9 warns of another default to come
_TRITON = importlib.util.find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not _INTERPRETED else "cpu"

# Compiling ahead of time wants Triton as it is; all else a device, or the interpreter.
collect_ignore_glob = []
if not _TRITON or (DEVICE == "cpu" and not _INTERPRETED):
    collect_ignore_glob.append("test_kernel_*.py")
if not _TRITON or _INTERPRETED:
    collect_ignore_glob.append("test_ahead*.py")


@pytest.fixture
def device() -> str:
    return DEVICE


@pytest.fixture(autouse=True)
def fresh_memory_is_nan() -> Iterator[None]:
    """torch.empty gives NaN, or the largest integer, so that an element that no kernel writes is found."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@pytest.fixture
def kernels() -> Iterator[None]:
    """Operators run by their kernels on the device: in the interpreter, which has none, on the CPU."""
    if DEVICE == "cuda":
        activate()
        yield
        return
    library = torch.library.Library("tinify", "IMPL")
    with warnings.catch_warnings(action="ignore"):  # torch tells once that the processor's own are overridden
        for op, (file, _) in tinify_kernels._TRITON.items():
            library.impl(op, getattr(importlib.import_module(f"tinify_kernels.{file}"), op), "CPU", allow_override=True)
    yield
    library._destroy()
