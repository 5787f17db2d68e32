"""Gaussian mixtures have CompressAI's likelihoods, gradients and side information, and take no more bytes."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tinify.entropy_models import GaussianMixtureConditional

ROOT = Path(__file__).parents[2]


def _peer() -> Any:
    """CompressAI's entropy models; the benchmarks know how to import it."""
    spec = importlib.util.spec_from_file_location("pair", ROOT / "benchmarks" / "pair.py")
    assert spec is not None
    assert spec.loader is not None
    pair = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of what it imports
        pair.peer_models()
    return importlib.import_module("compressai.entropy_models")


peer = _peer()


def mixture(size: tuple[int, ...], K: int, seed: int, width: float) -> tuple[Tensor, list[Tensor]]:
    """A latent drawn from a mixture, and its scales, means and weights."""
    torch.manual_seed(seed)
    batch, channels, *rest = size
    full = (batch, K, channels, *rest)
    scales, means = (width * torch.randn(full).exp()).clamp(0.05, 256), width * torch.randn(full)
    weights = (2 * torch.randn(full)).softmax(1)
    chosen = (weights.cumsum(1) < torch.rand(size)[:, None]).sum(1, keepdim=True).clamp(max=K - 1)
    y = means.gather(1, chosen)[:, 0] + scales.gather(1, chosen)[:, 0] * torch.randn(size)
    return y, [one.flatten(1, 2) for one in (scales, means, weights)]


@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("width", [0.1, 1.0, 20.0])
def test_likelihoods_and_gradients(K: int, width: float) -> None:
    y, params = mixture((2, 4, 3, 5), K, K, width)
    results = []
    for model in peer.GaussianMixtureConditional(K=K).eval(), GaussianMixtureConditional(K=K).eval():
        inputs = [one.clone().requires_grad_() for one in params]
        y_hat, likelihood = model(y, *inputs)
        grads = torch.autograd.grad(-likelihood.log2().sum(), inputs)
        results.append((y_hat, likelihood, *grads))
    expected, ours = results
    assert torch.equal(ours[0], expected[0])
    torch.testing.assert_close(ours[1], expected[1], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(ours[2:], expected[2:], rtol=1e-4, atol=1e-5)


def test_the_state_dict_has_the_same_keys_and_loads() -> None:
    theirs, ours = peer.GaussianMixtureConditional(3, [0.5, 1.0, 2.0]), GaussianMixtureConditional(3, [1.0, 2.0, 4.0])
    theirs.update()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    assert ours.tables.sizes.tolist() == theirs.cdf_length.tolist()


@pytest.mark.parametrize("width", [0.3, 1.0, 5.0])
def test_coding_takes_no_more_bytes(width: float) -> None:
    y, params = mixture((1, 8, 24, 24), 3, 1, width)
    y[:, 3] = 0.3
    theirs, ours = peer.GaussianMixtureConditional(K=3).eval(), GaussianMixtureConditional(K=3).eval()
    (expected, abs_max, bitmap), y_hat = theirs.compress(y, *params)
    (string, own_abs_max, own_bitmap), own_y_hat = ours.compress(y, *params)
    assert torch.equal(own_y_hat, y_hat)
    assert own_abs_max == abs_max
    assert torch.equal(own_bitmap, bitmap)
    assert torch.equal(ours.decompress(string, abs_max, bitmap, *params), y_hat)
    coded = GaussianMixtureConditional(K=3).encode(y_hat[:, own_bitmap > 0].int(), *_channels(params, own_bitmap > 0))
    assert len(coded[0]) <= 1.001 * len(expected)


def _channels(params: list[Tensor], which: Tensor) -> list[Tensor]:
    return [one.unflatten(1, (3, -1))[:, :, which].flatten(1, 2) for one in params]
