"""Kernels, one file per accelerated op; they arrive through the plugin group like those of any other package."""

from __future__ import annotations

from tinify.plugin import Kernel, hookimpl

# Operators with a kernel in Triton: the file, and what it does better than the definition.
_TRITON = {
    "gdn": ("gdn", "one read of the picture, one write"),
    "gdn_backward": ("gdn", "the pool is worked out again"),
    "masked_conv2d": ("masked_conv2d", "the taps that count, no others"),
    "masked_conv2d_backward": ("masked_conv2d", "the taps that count, no others"),
    "conv_at": ("masked_conv2d", "some positions alone"),
    "ordered_linear": ("ordered_linear", "sums in one order, as on a CPU"),
    "scale_indexes": ("gaussian", "one pass over the latent"),
    "quantize_indexes": ("gaussian", "one pass over the latent"),
    "gaussian_likelihood": ("gaussian", "one pass over the latent"),
    "gaussian_likelihood_backward": ("gaussian", "one pass over the latent"),
    "add_noise": ("gaussian", "one pass over the latent"),
    "rans_encode": ("rans", "a chunk a warp"),
    "rans_decode": ("rans", "a chunk a warp"),
    "rans_pop": ("rans_pop", "a slice a launch"),
}


@hookimpl
def tinify_kernels() -> list[Kernel]:
    numba = Kernel(
        "tinify::scale_indexes",
        device="cpu",
        target="tinify_kernels.scale_indexes:scale_indexes",
        requires=("numba",),
        summary="comparisons in vector registers",
    )
    return [numba] + [
        Kernel(f"tinify::{op}", "cuda", f"tinify_kernels.{file}:{op}", requires=("triton",), summary=summary)
        for op, (file, summary) in _TRITON.items()
    ]
