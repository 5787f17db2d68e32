"""The field's model classes: names, keys and sizes of the field, over the parts of a spec."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_faces import SMALL, each, each_flat, same_state, small
from torch import nn

import tinify
from tinify import registry
from tinify.checkpoint import load_checkpoint, model_digest, save_model
from tinify.codec import Codec
from tinify.entropy_models import EntropyBottleneck, GaussianConditional
from tinify.errors import CheckpointError, InputError, UnknownNameError
from tinify.images import Picture
from tinify.latent_codecs import HyperLatentCodec, HyperpriorLatentCodec
from tinify.models import (
    Autoencoder,
    Cheng2020Anchor,
    Cheng2020AnchorCheckerboard,
    Cheng2020Attention,
    CompressionModel,
    Elic2022Chandelier,
    Elic2022Official,
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
    ScaleHyperprior,
    SimpleVAECompressionModel,
    utils,
)
from tinify.models.faces import FACES, Face


def test_every_face_is_tested() -> None:
    assert set(FACES) == set(SMALL)


@pytest.mark.parametrize(
    ("face", "sizes", "count"),
    [
        (FactorizedPrior, {"N": 128, "M": 192}, 2_998_147),
        (FactorizedPrior, {"N": 192, "M": 320}, 7_030_531),
        (FactorizedPriorReLU, {"N": 128, "M": 192}, 2_899_075),
        (ScaleHyperprior, {"N": 128, "M": 192}, 5_075_843),
        (ScaleHyperprior, {"N": 192, "M": 320}, 11_816_323),
        (MeanScaleHyperprior, {"N": 128, "M": 192}, 7_028_003),
        (MeanScaleHyperprior, {"N": 192, "M": 320}, 17_561_699),
        (JointAutoregressiveHierarchicalPriors, {}, 14_130_467),
        (JointAutoregressiveHierarchicalPriors, {"N": 192, "M": 320}, 25_504_596),
        (Cheng2020Anchor, {"N": 128}, 11_833_149),
        (Cheng2020Anchor, {}, 26_598_956),
        (Cheng2020Attention, {"N": 128}, 13_183_293),
        (Cheng2020Attention, {}, 29_631_788),
        (Cheng2020AnchorCheckerboard, {}, 26_598_956),
        (Elic2022Official, {}, 32_074_200),
        (Elic2022Chandelier, {}, 33_792_771),
    ],
)
def test_parameter_counts_are_the_fields(face: type[Face], sizes: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in face(**sizes).parameters()) == count


@each_flat
def test_keys_are_flat(face: type[Face]) -> None:
    model = small(face)
    roots = {{"Gain": "gain"}.get(root, root) for root in (key.partition(".")[0] for key in model.state_dict())}
    assert roots == {"g_a", "g_s", *model.PARTS} == {name for name, _ in model.named_children()}
    assert model.downsampling_factor == (16 if "h_a" not in face.PARTS else 64)


@each
def test_the_spec_says_it_all(face: type[Face], tmp_path: Path) -> None:
    """A face and the model of its spec are one: weights, results, strings, digests, files."""
    model = small(face)
    plain = tinify.create_model(face.SPEC, **SMALL[face]).eval()
    plain.load_state_dict(model.spec_model().state_dict())
    x = torch.rand(1, 3, 128, 64)
    # The field's classes of variable rate take another rate where none is said.
    asked: dict[str, Any] = {} if model.qualities is None else {"quality": 3.0}
    ours, theirs = model(x, **asked), plain(x, **asked)
    assert torch.equal(ours["x_hat"], theirs["x_hat"])
    assert ours["likelihoods"].keys() == theirs["likelihoods"].keys()
    packed = model.compress(x, **asked)
    assert packed["strings"] == plain.compress(x, **asked)["strings"]  # type: ignore[call-arg]
    x_hat = model.decompress(packed["strings"], packed["shape"], **asked)["x_hat"]
    assert torch.equal(x_hat, model.reconstruct(packed["y_hat"])["x_hat"])
    assert model_digest(model) == model_digest(plain)
    assert model.to_spec().elaborate().id == plain.architecture.id  # type: ignore[union-attr]
    save_model(model, tmp_path / "face.safetensors")
    loaded = load_checkpoint(tmp_path / "face.safetensors")
    assert type(loaded) is Autoencoder
    assert model_digest(loaded) == model_digest(model)
    again = face.from_state_dict(loaded.state_dict()).eval()
    assert same_state(again, model)
    picture = Picture(np.zeros((20, 30, 3), np.uint8))
    assert Codec(loaded).decompress(Codec(model).compress(picture)).pixels.shape == (20, 30, 3)


@each
def test_a_state_dict_makes_its_model(face: type[Face]) -> None:
    model = small(face)
    fresh = face.from_state_dict(model.state_dict())
    assert same_state(fresh, model)
    assert {name: getattr(fresh, name) for name in SMALL[face]} == SMALL[face]
    model.update()
    with_tables = face.from_state_dict(model.state_dict())
    assert same_state(with_tables, model)
    assert not with_tables.update()


@each_flat
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_keep_both_views_one(face: type[Face], duplicate: Any) -> None:
    model = duplicate(small(face))
    assert model.spec_model().state_dict().keys() > set()
    for name, path in face.PARTS.items():
        assert model.latent_codec.get_submodule(path) is getattr(model, name)
    model.double().train()
    assert model.latent_codec.training
    assert all(parameter.dtype == torch.float64 for parameter in model.latent_codec.parameters())
    assert not any(part.training for part in model.eval().latent_codec.modules())


@each_flat
@pytest.mark.parametrize("put", [setattr, nn.Module.register_module, lambda m, k, v: m._modules.update({k: v})])
def test_an_exchanged_part_is_the_codecs_too(face: type[Face], put: Any) -> None:
    model = small(face)
    for name, path in face.PARTS.items():
        part = copy.deepcopy(getattr(model, name))
        put(model, name, part)
        assert model.latent_codec.get_submodule(path) is part is dict(model.named_children())[name]
    codec = copy.deepcopy(model.latent_codec)
    model.latent_codec = codec
    assert model.latent_codec is codec
    assert all(getattr(model, name) is codec.get_submodule(path) for name, path in face.PARTS.items())
    assert model.architecture is None  # nobody knows whether it is still what the spec says


@each
def test_replicas_do_not_share_parts(face: type[Face]) -> None:
    """As ``torch.nn.DataParallel`` makes them."""
    model = small(face)
    replica = model._replicate_for_data_parallel()
    for name, part in model.named_children():
        setattr(replica, name, copy.deepcopy(part))
    x = torch.rand(1, 3, 64, 64)
    expected = model(x)["x_hat"]
    with torch.no_grad():
        replica.g_s.apply(lambda part: [parameter.zero_() for parameter in part.parameters(recurse=False)])
    for name, path in face.PARTS.items():
        assert model.latent_codec.get_submodule(path) is getattr(model, name)
        assert replica.latent_codec.get_submodule(path) is getattr(replica, name) is not getattr(model, name)
    assert torch.equal(model(x)["x_hat"], expected)
    assert not torch.equal(replica(x)["x_hat"], expected)


def test_a_subclass_with_its_own_parts(tmp_path: Path) -> None:
    class Wide(ScaleHyperprior):
        def __init__(self, N: int, M: int, **kwargs: Any) -> None:
            super().__init__(N, M, **kwargs)
            self.h_a = nn.Sequential(utils.conv(M, 2 * N), nn.ReLU(), utils.conv(2 * N, N))

    torch.manual_seed(0)
    model = Wide(8, 12).eval()
    x = torch.rand(1, 3, 64, 64)
    packed = model.compress(x)
    with torch.no_grad():
        model.h_a[2].bias.add_(3.0)
    assert model.compress(x)["strings"] != packed["strings"]
    assert same_state(Wide.from_state_dict(model.state_dict()), model)
    with pytest.raises(CheckpointError, match="assembled by hand"):
        save_model(model, tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match=r"latent_codec.hyper.h_a"):
        model.to_spec()


def test_groups_must_make_the_latent() -> None:
    with torch.device("meta"):
        assert Elic2022Official(8, 140).groups == [16, 16, 32, 64, 12]
        for groups in (None, [4, 4], [], [12, 0]):
            with pytest.raises(InputError, match="add up to M"):
                Elic2022Official(8, 12, groups=groups)


@each
def test_pictures_that_do_not_fit_are_named(face: type[Face]) -> None:
    model = small(face)
    with pytest.raises(InputError, match=f"multiples of {model.downsampling_factor}"):
        model.compress(torch.rand(1, 3, 72, 64))


class Mine(SimpleVAECompressionModel):
    """A model put together as the field does it."""

    def __init__(self, N: int = 8) -> None:
        super().__init__()
        self.g_a = nn.Sequential(utils.conv(1, N), nn.ReLU(), utils.conv(N, N))
        self.g_s = nn.Sequential(utils.deconv(N, N), nn.ReLU(), utils.deconv(N, 1))
        self.latent_codec = HyperpriorLatentCodec(
            latent_codec={
                "y": tinify.latent_codecs.GaussianConditionalLatentCodec(quantizer="ste"),
                "hyper": HyperLatentCodec(
                    EntropyBottleneck(N),
                    h_a=utils.conv(N, N),
                    h_s=utils.deconv(N, 2 * N),
                    quantizer="ste",
                ),
            }
        )


def test_three_modules_make_a_model() -> None:
    torch.manual_seed(0)
    model = Mine().eval()
    assert model["hyper"] is model.latent_codec.hyper
    assert isinstance(model["y.gaussian_conditional"], GaussianConditional)
    with pytest.raises(UnknownNameError, match="did you mean 'hyper'"):
        model["hypr"]
    assert model.update()
    assert not model.update()
    x = torch.rand(2, 1, 16, 24)
    packed = model.compress(x)
    assert torch.equal(model.decompress(packed["strings"], packed["shape"])["x_hat"], model(x)["x_hat"].clamp(0, 1))
    other = Mine()
    other.load_state_dict(model.state_dict())
    assert same_state(other, model)


def test_given_up_arguments_warn() -> None:
    with pytest.warns(DeprecationWarning, match="entropy_bottleneck_channels"):
        model = CompressionModel(entropy_bottleneck_channels=4)
    assert torch.equal(model.aux_loss(), model.entropy_bottleneck.loss())  # type: ignore[operator]
    with pytest.warns(DeprecationWarning, match="init_weights"):
        ScaleHyperprior(8, 12, init_weights=True)
    with pytest.raises(UnknownNameError, match="entropy_bottlenck"):
        ScaleHyperprior(8, 12, entropy_bottlenck=3)
    assert float(CompressionModel().aux_loss()) == 0


def test_the_old_module_warns() -> None:
    sys.modules.pop("tinify.models.priors", None)
    with pytest.warns(DeprecationWarning, match="import from tinify.models"):
        priors = importlib.import_module("tinify.models.priors")
    assert priors.ScaleHyperprior is ScaleHyperprior


def test_helpers_of_the_field() -> None:
    model, saved = small(ScaleHyperprior), small(ScaleHyperprior)
    saved.update()
    state, prior = saved.state_dict(), model.gaussian_conditional
    names = ["_quantized_cdf", "_offset", "_cdf_length", "scale_table"]
    utils.update_registered_buffers(prior, "gaussian_conditional", names, state)
    assert prior._quantized_cdf.shape == state["gaussian_conditional._quantized_cdf"].shape
    prior.scale_table.resize_(0)
    utils.update_registered_buffers(prior, "gaussian_conditional", names, state, policy="resize")
    model.load_state_dict(state)
    assert same_state(model, saved)
    assert utils.find_named_module(model, "h_a.0") is model.h_a[0]
    assert utils.find_named_buffer(model, "gaussian_conditional.scale_table") is prior.scale_table
    assert utils.find_named_module(model, "h_b") is None is utils.find_named_buffer(model, "h_a")
    empty = nn.Module()
    utils.update_registered_buffers(empty, "gaussian_conditional", ["_offset"], state, policy="register")
    assert empty._offset.dtype == torch.int32
    for wrong in (
        {"policy": "shrink"},
        {"policy": "register"},
        {"buffer_names": ["nothing"]},
        {"module_name": "entropy_model"},
    ):
        call = {"module_name": "gaussian_conditional", "buffer_names": names, "state_dict": state, **wrong}
        with pytest.raises(InputError):
            utils.update_registered_buffers(prior, **call)


@pytest.mark.parametrize("name", tinify.zoo.image_models)
def test_entry_points(name: str) -> None:
    entry = tinify.zoo.models[name]
    assert entry is getattr(tinify.zoo, name.replace("-", "_"))
    with torch.device("meta"):
        sizes = [entry(quality=quality).N for quality in (1, 6)]
        assert name == entry(1, metric="ms-ssim", pretrained=False, progress=True).SPEC
        assert entry(1, **SMALL[type(entry(1))]).N == 8
    assert sizes == ([192, 192] if name.startswith(("mbt2018", "elic")) and name != "mbt2018-mean" else [128, 192])
    worst = 7 if name.startswith("cheng") else 9
    for wrong in (0, worst, True, "3", 2.0):
        with pytest.raises(ValueError, match=f"qualities 1 to {worst - 1}"):
            entry(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"metric 'psnr': expected one of mse, ms-ssim"):
        entry(1, metric="psnr")
    with pytest.raises(InputError, match="import-compressai"):
        entry(1, pretrained=True)


def test_entry_points_are_those_of_the_plugins_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tinify.zoo.image_models.items() < tinify.zoo.models.items()
    assert {"ssf2020", "mbt2018-vbr"} <= set(tinify.zoo.models)
    assert "mbt2018" in repr(tinify.zoo.models)
    monkeypatch.setattr(registry, "_current", registry.Registry(disabled=["pointcloud", "vbr", "video"]))
    assert dict(tinify.zoo.models) == tinify.zoo.image_models
    with pytest.raises(KeyError):
        tinify.zoo.models["ssf2020"]
