"""Every architecture of CompressAI: keys, results, gradients, tables and strings are its own, both ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peer import peer
from torch import Tensor, nn

from tinify import models
from tinify.coders.compat import CompatCoder
from tinify.models.faces import FACES, Face

SMALL: dict[str, dict[str, Any]] = {
    "Cheng2020Anchor": {"N": 8},
    "Cheng2020Attention": {"N": 8},
    "Cheng2020AnchorCheckerboard": {"N": 8},
    "Elic2022Official": {"N": 8, "M": 12, "groups": [4, 8]},
    "Elic2022Chandelier": {"N": 8, "M": 24, "groups": [2, 4, 8, 10]},
}
each = pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)


peer_models = peer("models")


def pair_of(face: type[Face]) -> tuple[Any, Any]:
    """Small models with the same weights, whose latents spread over many tables; CompressAI's comes second."""
    torch.manual_seed(0)
    sizes = SMALL.get(face.__name__, {"N": 8, "M": 12})
    ours, theirs = face(**sizes).eval(), getattr(peer_models, face.__name__)(**sizes).eval()
    with torch.no_grad():
        for name, part in ours.named_modules():
            if name.startswith("g_a.") and isinstance(part, nn.Conv2d):
                part.weight.mul_(1.5)
            if name.endswith(("h_s", "entropy_parameters")) and isinstance(part, nn.Sequential):
                last = [layer for layer in part.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1]
                last.bias.uniform_(0.0, 4.0)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether tensors are of one size and differ by no more than ``tolerance`` of the greatest element."""
    return a.shape == b.shape and float((a - b).abs().max()) <= tolerance * float(b.abs().max())


@each
def test_keys_and_shapes(face: type[Face]) -> None:
    ours, theirs = pair_of(face)
    there = {key: (tensor.shape, tensor.dtype) for key, tensor in theirs.state_dict().items()}
    here = {key: (tensor.shape, tensor.dtype) for key, tensor in ours.state_dict().items()}
    assert here == there
    sizes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    assert sizes[0] == sizes[1]
    assert {name for name, _ in ours.named_children()} == {name for name, _ in theirs.named_children()}
    if hasattr(theirs, "downsampling_factor"):
        assert ours.downsampling_factor == theirs.downsampling_factor
    again = face.from_state_dict(theirs.state_dict())
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in again.state_dict().items())


@each
def test_results(face: type[Face]) -> None:
    ours, theirs = pair_of(face)
    x = torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        here, there = ours(x), theirs(x)
    assert close(here["x_hat"], there["x_hat"], 1e-5)
    assert here["likelihoods"].keys() == there["likelihoods"].keys()
    for name, likelihood in there["likelihoods"].items():
        assert close(here["likelihoods"][name], likelihood, 1e-5)


@each
def test_gradients(face: type[Face], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pair_of(face)
    # The same noise for both, in whatever order they draw it.
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, low, high: self.fill_(low + 0.7 * (high - low)))
    gradients = []
    x = torch.rand(1, 3, 64, 64)
    for model in pair:
        out = model.train()(x)
        bits = torch.stack([-likelihood.log2().sum() for likelihood in out["likelihoods"].values()]).sum()
        (bits / x.numel() + 100 * (out["x_hat"] - x).square().mean() + 0.01 * model.aux_loss()).backward()
        # Masked weights are zero whatever their gradient; CompressAI gives them one.
        masks = {f"{name.removesuffix('mask')}weight": mask for name, mask in model.named_buffers() if "mask" in name}
        gradients.append({name: p.grad * masks.get(name, 1) for name, p in model.named_parameters()})
    for name, gradient in gradients[1].items():
        assert close(gradients[0][name], gradient, 1e-4), name


@each
def test_tables_and_strings(face: type[Face]) -> None:
    ours, theirs = pair_of(face)
    assert ours.update(force=True)
    assert theirs.update(force=True)
    there = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, there[name]), name
    ours.use_coder(CompatCoder())
    x = torch.rand(2, 3, 64, 128)
    here = ours.compress(x)
    with torch.no_grad():
        packed = theirs.compress(x)
    assert here["strings"] == packed["strings"]
    with torch.no_grad():
        x_hat = theirs.decompress(here["strings"], packed["shape"])["x_hat"]
    assert close(ours.decompress(packed["strings"], here["shape"])["x_hat"], x_hat, 1e-5)


def test_weights_pass_both_ways_with_their_tables() -> None:
    ours, theirs = pair_of(models.MeanScaleHyperprior)
    theirs.update()
    fresh = models.MeanScaleHyperprior.from_state_dict(theirs.state_dict())
    assert not fresh.update()
    back = peer_models.MeanScaleHyperprior.from_state_dict(fresh.state_dict())
    assert all(torch.equal(tensor, back.state_dict()[key]) for key, tensor in theirs.state_dict().items())
    assert ours.N == back.N
