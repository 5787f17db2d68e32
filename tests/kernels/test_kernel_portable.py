"""Portable models where kernels run: the symbols are those that a plain processor coded."""

from __future__ import annotations

import pytest
import torch
from test_portable import PHOTO, lively

from tinify.exact import CARRIERS, probe, use_carrier
from tinify.freezing import freeze_portable
from tinify.latent_codecs.witness import witness

MODELS = {"mbt2018-mean": {"N": 8, "M": 12}, "cheng2020-anchor-checkerboard": {"N": 8}, "tinify-photo": PHOTO}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_processor_coded_is_decoded_alike(name: str, device: str, request: pytest.FixtureRequest) -> None:
    random = torch.Generator().manual_seed(0)
    pictures = [torch.rand(1, 3, 64, 64, generator=random) for _ in range(2)]
    model = freeze_portable(lively(name, **MODELS[name]), pictures)
    with witness() as coded:
        packed = model.compress(torch.cat(pictures))
    request.getfixturevalue("kernels")
    model.to(device)
    for carrier in CARRIERS:
        use_carrier(model, carrier)
        with witness() as decoded:
            y_hat = model.latent_codec.decompress(packed["strings"], packed["shape"])["y_hat"]  # type: ignore[union-attr, operator]
        assert decoded.checksum == coded.checksum, carrier
        assert torch.equal(y_hat.cpu(), packed["y_hat"]), carrier


@pytest.mark.parametrize("carrier", CARRIERS)
def test_sums_are_exact_here(carrier: str, device: str) -> None:
    assert probe(torch.device(device), carrier)
