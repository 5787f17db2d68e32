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
    """A forward gives ``x_hat`` of the input's size and likelihoods in (0, 1], in training and in eval mode."""
    for training in (True, False):
        model = build(case).train(training)
        x = sample(case, model)
        out = model(x)
        assert set(out) >= {"x_hat", "likelihoods"}, f"{case.label}: a forward returns {sorted(out)}"
        size = tuple(out["x_hat"].shape)
        fits = size == tuple(x.shape) or (not model.domain.same_size and size[0] == len(x) and len(size) == x.ndim)
        assert fits, f"{case.label}: x of size {tuple(x.shape)} gives an x_hat of size {size}"
        assert torch.isfinite(out["x_hat"]).all(), f"{case.label}: x_hat is not finite"
        assert out["likelihoods"], f"{case.label}: there are no likelihoods, so there is no rate to train"
        for name, likelihood in out["likelihoods"].items():
            low, high = float(likelihood.min()), float(likelihood.max())
            assert 0 < low <= high <= 1, f"{case.label}: likelihoods of {name} from {low:g} to {high:g}"


def check_round_trip(case: Case) -> None:
    """What decompress gives is within limits, is what a forward in eval mode gives, and is the same each time."""
    for index in range(len(build(case).domain.extents(case.unit))):
        model = build(case)
        x, limits = sample(case, model, index), model.domain.limits
        packed = model.compress(x)
        first, again = (model.decompress(packed["strings"], packed["shape"])["x_hat"] for _ in range(2))
        assert torch.equal(first, again), f"{case.label}: decoding twice gives two pictures"
        inside = limits is None or limits[0] <= float(first.min()) <= float(first.max()) <= limits[1]
        assert inside, f"{case.label}: decoded values leave {limits}"
        expected = model(x)["x_hat"]
        expected = expected if limits is None else expected.clamp(*limits)
        assert equal(first, expected, 1e-5), f"{case.label}: decompress and a forward in eval mode differ"


def check_exact_consumption(case: Case) -> None:
    """A string too many or too few is refused by a named error."""
    model = build(case)
    x = sample(case, model)
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
    model = build(case)
    packed = model.compress(sample(case, model))
    got = in_fresh_process(_decoded, case, state_of(model), packed["strings"], packed["shape"])
    expected = model.decompress(packed["strings"], packed["shape"])["x_hat"]
    assert torch.equal(got, expected), f"{case.label}: a fresh process decodes another picture"


def check_state_dict(case: Case) -> None:
    """The state dict has the same keys in every build, and a model that loads it decodes what was coded."""
    one, other = build(case), build(case, seed=1)
    assert_same_keys(one, other)
    packed = one.compress(sample(case, one))
    load_state(other, state_of(one))
    pictures = [model.decompress(packed["strings"], packed["shape"])["x_hat"] for model in (one, other)]
    assert torch.equal(*pictures), f"{case.label}: a model with the same state dict decodes another picture"


def check_gradients(case: Case) -> None:
    """Every parameter gets a gradient from the rate, the picture, or an entropy model's own ``loss()``."""
    model = build(case)
    x = sample(case, model, 1)
    stir(model).train()
    with torch.enable_grad():
        out = model(x)
        rate = torch.stack([-torch.log(likelihood).sum() for likelihood in out["likelihoods"].values()]).sum()
        given = [value for key, part in out.items() if key not in ("x_hat", "likelihoods") for value in _tensors(part)]
        distance = (out["x_hat"] - x if out["x_hat"].shape == x.shape else out["x_hat"]).square().sum()
        distance = distance + sum(value.square().sum() for value in given if value.requires_grad)
        assert_gradients(model, rate + 1000 * distance + own_loss(model))


def build(case: Case, seed: int = 0) -> CompressionModel:
    """The model of a case, in eval mode."""
    model = case.build(seed)
    assert isinstance(model, CompressionModel), (
        f"{case.label} builds a {type(model).__name__}: derive it from tinify.models.CompressionModel"
    )
    return model.eval()


def sample(case: Case, model: CompressionModel, index: int = 0) -> Tensor:
    """Two random inputs of the model, of the extents with that index."""
    extents = model.domain.extents(case.unit)
    generator = torch.Generator().manual_seed(0)
    return model.domain.example(model.channels, extents[index % len(extents)], generator=generator)


def _tensors(part: Any) -> list[Tensor]:
    """The tensors in what a forward returns beside: one, or a list of them."""
    return [one for one in (part if isinstance(part, list) else [part]) if isinstance(one, Tensor)]


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
