"""Checkpoints that CompressAI saved, and strings both ways, for every image architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peer import peer
from tinify_plugins.compressai.importing import import_checkpoint
from tinify_plugins.compressai.strings import shape_to_compressai

MODELS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "bmshj2018-factorized": ("FactorizedPrior", (8, 12)),
    "bmshj2018-factorized-relu": ("FactorizedPriorReLU", (8, 12)),
    "bmshj2018-hyperprior": ("ScaleHyperprior", (8, 12)),
    "mbt2018-mean": ("MeanScaleHyperprior", (8, 12)),
    "mbt2018": ("JointAutoregressiveHierarchicalPriors", (8, 12)),
    "cheng2020-anchor": ("Cheng2020Anchor", (8,)),
    "cheng2020-attn": ("Cheng2020Attention", (8,)),
    "cheng2020-anchor-checkerboard": ("Cheng2020AnchorCheckerboard", (8,)),
    "elic2022-official": ("Elic2022Official", (8, 12, [2, 4, 6])),
    "elic2022-chandelier": ("Elic2022Chandelier", (8, 12, [2, 4, 6])),
}


peer_models = peer("models")


def uneven(model: Any) -> None:
    """Latents of some size, so that strings hold more than zeros."""
    for name, parameter in model.named_parameters():
        if name.startswith("g_a") and name.endswith("weight"):
            parameter.data *= 1.5


@pytest.mark.filterwarnings("ignore")  # those of the peer
@torch.no_grad()
@pytest.mark.parametrize("updated", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_of_the_peer(name: str, updated: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    kind, sizes = MODELS[name]
    theirs = getattr(peer_models, kind)(*sizes).eval()
    uneven(theirs)
    if updated:
        theirs.update()
    content = {
        "epoch": 3,
        "state_dict": theirs.state_dict(),
        "optimizer": torch.optim.Adam(theirs.parameters()).state_dict(),
    }
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    theirs.update()
    ours = import_checkpoint(tmp_path / "checkpoint.pth.tar")
    assert ours.architecture is not None
    assert ours.architecture.name == name

    x = torch.rand(2, 3, 64, 128)
    given, wanted = ours(x), theirs(x)
    assert torch.allclose(given["x_hat"], wanted["x_hat"], rtol=1e-5, atol=1e-6)
    for latent, likelihood in wanted["likelihoods"].items():
        assert torch.allclose(given["likelihoods"][latent], likelihood, rtol=1e-5, atol=1e-8)

    packed, packed_theirs = ours.compress(x), theirs.compress(x)
    assert packed["strings"] == packed_theirs["strings"]
    assert shape_to_compressai(ours, packed["shape"]) == packed_theirs["shape"]
    ours_of_theirs = ours.decompress(packed_theirs["strings"], packed_theirs["shape"])
    theirs_of_ours = theirs.decompress(packed["strings"], shape_to_compressai(ours, packed["shape"]))
    assert torch.allclose(ours_of_theirs["x_hat"], theirs_of_ours["x_hat"], rtol=1e-5, atol=1e-6)
