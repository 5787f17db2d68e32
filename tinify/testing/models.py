"""Checks of models: forward, compress and decompress obey one law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.errors import TinifyError
from tinify.models import CompressionModel
from tinify.testing.cases import Case
from tinify.testing.entropy_models import own_loss
from tinify.testing.fresh import in_fresh_process
from tinify.testing.modules import assert_gradients, assert_same_keys, equal, load_state, state_of, stir


def check_forward(case: Case) -> None:
    """A forward gives ``x_hat`` of the picture's size and likelihoods in (0, 1], in training and in eval mode."""
    for training in (True, False):
        model, x = build(case).train(training), picture(case)
        out = model(x)
        assert set(out) >= {"x_hat", "likelihoods"}, f"{case.label}: a forward returns {sorted(out)}"
        size = tuple(out["x_hat"].shape)
        assert size == tuple(x.shape), f"{case.label}: x of size {tuple(x.shape)} gives an x_hat of size {size}"
        assert torch.isfinite(out["x_hat"]).all(), f"{case.label}: x_hat is not finite"
        assert out["likelihoods"], f"{case.label}: there are no likelihoods, so there is no rate to train"
        for name, likelihood in out["likelihoods"].items():
            low, high = float(likelihood.min()), float(likelihood.max())
            assert 0 < low <= high <= 1, f"{case.label}: likelihoods of {name} from {low:g} to {high:g}"


def check_round_trip(case: Case) -> None:
    """What decompress gives is in [0, 1], is what a forward in eval mode gives, and is the same each time."""
    for size in case.sizes():
        model, x = build(case), picture(case, size)
        packed = model.compress(x)
        first, again = (model.decompress(packed["strings"], packed["shape"])["x_hat"] for _ in range(2))
        assert torch.equal(first, again), f"{case.label}: decoding twice gives two pictures"
        assert 0 <= float(first.min()) <= float(first.max()) <= 1, f"{case.label}: decoded values leave [0, 1]"
        expected = model(x)["x_hat"].clamp(0, 1)
        assert equal(first, expected, 1e-5), f"{case.label}: decompress and a forward in eval mode differ"


def check_exact_consumption(case: Case) -> None:
    """A string too many or too few is refused by a named error."""
    model, x = build(case), picture(case)
    packed = model.compress(x)
    strings = packed["strings"]
    for what, given in (("many", [*strings, [b""] * len(x)]), ("few", strings[:-1])):
        try:
            model.decompress(given, packed["shape"])
        except TinifyError:
            continue
        raise AssertionError(f"{case.label} decodes with a list of strings too {what}: expected a named error")


def check_fresh_process(case: Case) -> None:
    """What is compressed here is decompressed in another process to the same picture."""
    model, x = build(case), picture(case)
    packed = model.compress(x)
    got = in_fresh_process(_decoded, case, state_of(model), packed["strings"], packed["shape"])
    expected = model.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert torch.equal(got, expected), f"{case.label}: a fresh process decodes another picture"


def check_state_dict(case: Case) -> None:
    """The state dict has the same keys in every build, and a model that loads it decodes what was coded."""
    one, other, x = build(case), build(case, seed=1), picture(case)
    assert_same_keys(one, other)
    packed = one.compress(x)
    load_state(other, state_of(one))
    pictures = [model.decompress(packed["strings"], packed["shape"])["x_hat"] for model in (one, other)]
    assert torch.equal(*pictures), f"{case.label}: a model with the same state dict decodes another picture"


def check_gradients(case: Case) -> None:
    """Every parameter gets a gradient from the rate, the picture, or an entropy model's own ``loss()``."""
    model, x = stir(build(case)).train(), picture(case, case.sizes()[1])
    with torch.enable_grad():
        out = model(x)
        rate = torch.stack([-torch.log(likelihood).sum() for likelihood in out["likelihoods"].values()]).sum()
        assert_gradients(model, rate + 1000 * (out["x_hat"] - x).square().sum() + own_loss(model))


def build(case: Case, seed: int = 0) -> CompressionModel:
    """The model of a case, in eval mode."""
    model = case.build(seed)
    assert isinstance(model, CompressionModel), (
        f"{case.label} builds a {type(model).__name__}: derive it from tinify.models.CompressionModel"
    )
    return model.eval()


def picture(case: Case, size: tuple[int, int] | None = None) -> Tensor:
    """Two pictures in [0, 1]."""
    return torch.sigmoid(case.tensors(size)[0])


def _decoded(case: Case, state: bytes, strings: Sequence[Sequence[bytes]], shape: Any) -> Tensor:
    model = build(case, seed=4)
    load_state(model, state)
    decoded: Tensor = model.decompress(strings, shape)["x_hat"]
    return decoded


MODEL_CHECKS = (
    check_forward,
    check_round_trip,
    check_exact_consumption,
    check_fresh_process,
    check_state_dict,
    check_gradients,
)
