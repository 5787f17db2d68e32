"""What is particular to acme."""

from __future__ import annotations

import pytest
import torch

import tinify
from tinify.errors import SpecError
from tinify.models import build_part
from tinify.plugin import Sig
from tinify.spec import Spec

pytest_plugins = ["tinify.testing.plugin"]


def test_one_group_is_plain_gdn() -> None:
    ours, theirs = (
        build_part("layer", {"type": "acme/group_gdn", "groups": 1}, Sig(6)),
        build_part("layer", "gdn", Sig(6)),
    )
    x = torch.randn(2, 6, 5, 7)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_groups_must_divide_the_channels() -> None:
    with pytest.raises(SpecError, match="4 groups do not divide 6 channels"):
        build_part("layer", {"type": "acme/group_gdn", "groups": 4}, Sig(6))


def test_the_bigint_coder_is_as_short_as_rans() -> None:
    model = tinify.create_model("acme/tiny").eval()
    x = torch.rand(1, 3, 64, 64)
    ours = sum(len(string) for listed in model.compress(x)["strings"] for string in listed)
    model.use_coder(None)
    theirs = sum(len(string) for listed in model.compress(x)["strings"] for string in listed)
    assert ours <= theirs + 8


def test_the_spec_uses_every_part() -> None:
    architecture = Spec.load("acme/tiny").elaborate()
    kinds = {row.type for row in architecture.parts() if row.type.startswith("acme/")}
    assert kinds == {"acme/group_gdn", "acme/two_halves", "acme/laplace_conditional", "acme/bigint"}
    assert [plugin.distribution for plugin in architecture.plugins] == ["tinify-acme"]


def test_the_command_names_the_parts(run_cli) -> None:
    run = run_cli("acme", "acme/tiny")
    assert run.exit_code == 0
    assert "latent_codec.y: acme/two_halves(quantizer=ste)" in run.stdout
