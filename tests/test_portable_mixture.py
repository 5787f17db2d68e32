"""Portable mixtures of Gaussians: weights and scales that every machine computes alike."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_portable import pictures

from tinify.checkpoint import load_checkpoint, save_model
from tinify.errors import InputError
from tinify.exact import CARRIERS, audit, use_carrier
from tinify.exact.elementary import softmax, softplus
from tinify.freezing import freeze_portable
from tinify.latent_codecs.parameters import Chunks
from tinify.latent_codecs.witness import witness
from tinify.models import CompressionModel, build_model
from tinify.models.portable import PORTABLE
from tinify.spec import Spec

HYPERPRIOR = """
tinify: 1
name: mixture
model:
  type: autoencoder
  g_a:
    - {repeat: 3, do: [{type: conv, out: 8, kernel: 5, stride: 2}, relu]}
    - {type: conv, out: 6, kernel: 5, stride: 2}
  latent_codec:
    type: hyperprior
    hyper:
      type: hyper
      h_a: [{type: conv, out: 8, kernel: 5, stride: 2}, relu, {type: conv, out: 8, kernel: 5, stride: 2}]
      h_s: [{type: deconv, out: 8, kernel: 5, stride: 2}, relu, {type: deconv, out: 54, kernel: 5, stride: 2}]
      entropy_bottleneck: entropy_bottleneck
    y:
      type: gaussian_conditional
      chunks: [scales, means, weights]
      scale_link: softplus
      gaussian_conditional: {type: gaussian_mixture, components: 3}
  g_s:
    - {repeat: 3, do: [{type: deconv, out: 8, kernel: 5, stride: 2}, relu]}
    - {type: deconv, out: 3, kernel: 5, stride: 2}
"""
RASTER = HYPERPRIOR.replace(
    "type: gaussian_conditional\n",
    """type: raster_scan
      context_prediction: {type: masked_conv, out: 12, kernel: 5, mask: A}
      entropy_parameters:
        - {type: conv, out: 32, kernel: 1, stride: 1}
        - leaky_relu
        - {type: conv, out: 54, kernel: 1, stride: 1}
""",
)
KINDS = {"hyperprior": HYPERPRIOR, "raster scan": RASTER}


@lru_cache
def frozen(kind: str) -> tuple[CompressionModel, CompressionModel]:
    """A float model whose weights and scales differ from place to place, and what freezing makes of it."""
    torch.manual_seed(0)
    model = build_model(Spec.loads(KINDS[kind], kind).elaborate()).eval()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            weight.mul_(4.0 if weight.ndim == 4 and path.startswith("g_a") else 2.0 if weight.ndim == 4 else 1.0)
    return model, freeze_portable(model, pictures())


@pytest.mark.parametrize("kind", KINDS)
def test_every_carrier_decodes_what_another_coded(kind: str) -> None:
    model, portable = frozen(kind)
    assert (model.arithmetic, portable.arithmetic) == ("float32", PORTABLE)
    x = torch.cat([*pictures(2), torch.rand(1, 3, 128, 128), torch.ones(1, 3, 128, 128)])
    try:
        with witness() as coded:
            packed = portable.compress(x)
        for carrier in CARRIERS:
            use_carrier(portable, carrier)
            with witness() as decoded, audit(portable):
                y_hat = portable.latent_codec.decompress(packed["strings"], packed["shape"])["y_hat"]  # type: ignore[operator, union-attr]
            assert coded.checksum == decoded.checksum
            assert torch.equal(y_hat, packed["y_hat"])
    finally:
        use_carrier(portable, CARRIERS[0])
    assert coded.symbols
    assert float(packed["y_hat"].abs().max()) > 1
    length = sum(len(one) for strings in packed["strings"] for one in strings)
    assert length < 1.03 * sum(len(one) for strings in model.compress(x)["strings"] for one in strings) + 16


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_brings_it_back(kind: str, tmp_path: Path) -> None:
    _, portable = frozen(kind)
    save_model(portable, tmp_path / "portable.safetensors")
    again = load_checkpoint(tmp_path / "portable.safetensors")
    assert again.self_test == portable.self_test
    [x] = pictures(1)
    assert again.compress(x)["strings"] == portable.compress(x)["strings"]


def test_a_float_mixture_is_no_proof() -> None:
    """Without its own softmax, the audit names what is not exact."""
    _, portable = frozen("hyperprior")
    split = portable.get_submodule("latent_codec.y.split")
    assert isinstance(split, Chunks)
    assert split.reproducible
    assert split.head is None
    split.reproducible = False
    try:
        with audit(portable), pytest.raises(InputError, match=r"in latent_codec\.y\.split is no exact operation"):
            portable.self_test.passes(portable)
    finally:
        split.reproducible = True


@given(st.integers(1, 8), st.floats(0.01, 1000), st.integers(0, 99))
def test_a_softmax_is_that_of_torch(components: int, spread: float, seed: int) -> None:
    torch.manual_seed(seed)
    x = spread * torch.randn(2, components, 3, 4)
    found = softmax(x)
    assert torch.allclose(found, x.softmax(1), rtol=1e-5, atol=1e-7)
    assert torch.equal(softmax(x[1:]), found[1:])


@given(st.floats(0.1, 4), st.floats(5, 30))
def test_softplus_is_that_of_torch(beta: float, threshold: float) -> None:
    x = torch.cat([torch.linspace(-40, 40, 999), torch.tensor([-150.0, 0.0, 200.0, 1e30])]).double()
    wanted = torch.nn.functional.softplus(x, beta, threshold)
    assert torch.allclose(softplus(x, beta, threshold), wanted, rtol=1e-12, atol=0)
    assert torch.equal(softplus(x.float()), torch.nn.functional.softplus(x).float())
    assert torch.isnan(softplus(torch.tensor(torch.nan)))
