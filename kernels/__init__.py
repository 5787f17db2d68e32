"""Kernels, one file per accelerated op; they arrive through the plugin group like those of any other package."""

from __future__ import annotations

from tinify.plugin import Kernel, hookimpl


@hookimpl
def tinify_kernels() -> list[Kernel]:
    return [
        Kernel(
            "tinify::scale_indexes",
            device="cpu",
            target="tinify_kernels.scale_indexes:scale_indexes",
            requires=("numba",),
            summary="comparisons in vector registers",
        )
    ]
