"""Checkpoints and the plugins they need: what is said when one is gone, and digests that no release may change."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import tinify.registry
from tinify.checkpoint import load_checkpoint, model_digest, save_model
from tinify.errors import SpecError
from tinify.models import CompressionModel, build_model
from tinify.registry import Registry
from tinify.spec import Spec
from tinify.weights import find_weights

SPEC = """\
tinify: 1
name: small
model:
  type: autoencoder
  g_a: [{type: conv, out: 2, kernel: 3}, gdn%s]
  latent_codec: entropy_bottleneck
  g_s: [{type: deconv, out: 3, kernel: 3}]
"""

MODULE = """
from tinify.plugin import Cost, component, hookimpl

@component("layer", "outside/twice", target="torch.nn:Identity")
class Twice:
    def shape(self, x):
        return x

@hookimpl
def tinify_components():
    return [Twice]
"""


def install(folder: Path, module: str, version: str = "0.3.0") -> None:
    """What pip leaves of a distribution tinify-outside whose plugin is of namespace outside."""
    info = folder / f"tinify_outside-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / "tinify_outside.py").write_text(module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinify-outside\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[tinify.plugins]\noutside = tinify_outside\n")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of a model with a layer of tinify-outside 0.3.0, which is gone again from the path."""
    with monkeypatch.context() as patch:
        install(tmp_path / "site", MODULE)
        patch.syspath_prepend(tmp_path / "site")
        patch.setattr(tinify.registry, "_current", Registry())
        save_model(build_model(Spec.loads(SPEC % ", outside/twice").elaborate()), tmp_path / "small.safetensors")
        assert load_checkpoint(tmp_path / "small.safetensors")
    monkeypatch.delitem(sys.modules, "tinify_outside")
    return tmp_path / "small.safetensors"


def refusal(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tinify.registry, "_current", Registry())
    with pytest.raises(SpecError) as caught:
        load_checkpoint(path)
    return str(caught.value)


def test_a_plugin_that_is_gone_is_named_with_what_to_install(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(saved, monkeypatch)
    assert str(saved) in said
    assert "this model needs plugin outside (tinify-outside 0.3.0): no plugin 'outside' is installed" in said
    assert said.endswith("hint: pip install tinify-outside==0.3.0")


def test_a_plugin_that_is_broken_is_named_with_its_reason(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "other", "raise RuntimeError('no licence')", "0.4.0")
    monkeypatch.syspath_prepend(tmp_path / "other")
    said = refusal(saved, monkeypatch)
    assert "plugin outside (tinify-outside 0.4.0) is broken: RuntimeError: no licence" in said
    assert said.endswith("hint: pip install tinify-outside==0.3.0")


def test_a_release_without_the_component_is_named(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "other", MODULE.replace("outside/twice", "outside/thrice"), "0.4.0")
    monkeypatch.syspath_prepend(tmp_path / "other")
    said = refusal(saved, monkeypatch)
    assert said.startswith(f"{saved}:1:1: error[R001]: unknown transform 'outside/twice@1'")
    made, installed = "plugin outside (tinify-outside 0.3.0)", "plugin outside (tinify-outside 0.4.0)"
    assert f"this model was made with {made}; installed is {installed}" in said
    assert said.endswith("hint: pip install tinify-outside==0.3.0")


def filled() -> CompressionModel:
    """A model whose weights and tables are written down here, and so the same everywhere."""
    model = build_model(Spec.loads(SPEC % "").elaborate())
    table = [[0, 16384, 49152, 65535, 65536]] * 2
    tables = {"_quantized_cdf": table, "_cdf_length": [5, 5], "_offset": [-1, 0]}
    weights = {}
    for name, tensor in model.state_dict().items():
        buffer = tables.get(name.rpartition(".")[2])
        steps = torch.arange(tensor.numel(), dtype=torch.float32).reshape(tensor.shape) / 64
        weights[name] = steps if buffer is None else torch.tensor(buffer, dtype=torch.int32)
    model.load_state_dict(weights)
    return model


def test_the_digest_of_a_model_never_changes() -> None:
    # Files name the digest of their model: code that computes another can no longer read them.
    model = filled()
    assert model.architecture is not None
    assert model.architecture.id == "ee8fb3e97362b1d8"
    assert model_digest(model).hex() == "43b4cef9449752c8a6b0f7a646555f1b"


def test_the_shipped_weights_are_those_of_their_digest_after_a_round_trip(tmp_path: Path) -> None:
    model = load_checkpoint(find_weights())
    save_model(model, tmp_path / "again.safetensors")
    assert model_digest(load_checkpoint(tmp_path / "again.safetensors")) == model_digest(model)
