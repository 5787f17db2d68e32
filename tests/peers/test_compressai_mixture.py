"""Gaussian mixtures have CompressAI's likelihoods, gradients and side information, and take no more bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peer import peer
from torch import Tensor

from tinify.coders.compat import CompatCoder
from tinify.entropy_models import GaussianMixtureConditional
from tinify.entropy_models.mixture_compat import mixture_rows

models = peer("entropy_models")


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
    for model in models.GaussianMixtureConditional(K=K).eval(), GaussianMixtureConditional(K=K).eval():
        inputs = [one.clone().requires_grad_() for one in params]
        y_hat, likelihood = model(y, *inputs)
        grads = torch.autograd.grad(-likelihood.log2().sum(), inputs)
        results.append((y_hat, likelihood, *grads))
    expected, ours = results
    assert torch.equal(ours[0], expected[0])
    torch.testing.assert_close(ours[1], expected[1], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(ours[2:], expected[2:], rtol=1e-4, atol=1e-5)


def test_the_state_dict_has_the_same_keys_and_loads() -> None:
    theirs, ours = models.GaussianMixtureConditional(3, [0.5, 1.0, 2.0]), GaussianMixtureConditional(3, [1.0, 2.0, 4.0])
    theirs.update()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    assert ours.tables.sizes.tolist() == theirs.cdf_length.tolist()


@pytest.mark.parametrize("width", [0.3, 1.0, 5.0])
def test_coding_takes_no_more_bytes(width: float) -> None:
    y, params = mixture((1, 8, 24, 24), 3, 1, width)
    y[:, 3] = 0.3
    theirs, ours = models.GaussianMixtureConditional(K=3).eval(), GaussianMixtureConditional(K=3).eval()
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


@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(1, 4, 6, 5), (1, 1, 3, 7), (1, 9, 4, 4), (1, 2, 40, 31)])
@pytest.mark.parametrize("width", [0.1, 1.0, 6.0])
def test_strings_are_the_same_bytes_and_each_decodes_the_others(K: int, size: tuple[int, ...], width: float) -> None:
    y, params = mixture(size, K, K + size[2], width)
    y[:, 0] += 1.6  # CompressAI cannot code a latent of zeros
    y[:, 1:2] = 0.4
    theirs, ours = models.GaussianMixtureConditional(K=K).eval(), GaussianMixtureConditional(K=K).eval()
    ours.coder = CompatCoder()
    (expected, abs_max, bitmap), y_hat = theirs.compress(y, *params)
    (string, own_abs_max, own_bitmap), own_y_hat = ours.compress(y, *params)
    assert string == expected
    assert (own_abs_max, own_bitmap.tolist()) == (abs_max, bitmap.tolist())
    assert torch.equal(own_y_hat, y_hat)
    assert torch.equal(ours.decompress(expected, abs_max, bitmap, *params), y_hat)
    assert torch.equal(theirs.decompress(string, own_abs_max, own_bitmap, *params), y_hat)


@pytest.mark.parametrize(("abs_max", "width"), [(1, 0.1), (4, 1.0), (30, 5.0), (300, 60.0)])
def test_rows_are_the_same_integers(abs_max: int, width: float) -> None:
    _, params = mixture((1, 1, 20, 100), 3, abs_max, width)
    scales, means, weights = (one.reshape(3, -1) for one in params)
    expected = _rows(abs_max, params)
    assert torch.equal(mixture_rows(abs_max, scales, means, weights), expected)


def _rows(abs_max: int, params: list[Tensor]) -> Tensor:
    """Those that CompressAI gives its coder."""
    seen: list[Tensor] = []

    class Spy:
        def encode_with_indexes(self, symbols: object, indexes: object, cdfs: list[list[int]], *_: object) -> bytes:
            seen.append(torch.from_numpy(np.array(cdfs, np.int32)))
            return b""

    model = models.GaussianMixtureConditional(K=3).eval()
    model.entropy_coder = type("EntropyCoder", (), {"_encoder": Spy()})()
    y = torch.full((1, 1, 20, 100), abs_max - 0.4)
    assert model.compress(y, *params)[0][1] == abs_max
    return seen[0]
