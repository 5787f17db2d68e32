"""Models of variable rate by one step: any rate from one set of weights and tables, by the plugin's own door."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tinify_plugins.vbr.bottleneck import STEPS
from tinify_plugins.vbr.gain import LevelGain
from tinify_plugins.vbr.offsets import ReconstructionOffset
from tinify_plugins.vbr.quality import InputScale
from torch import Tensor

import tinify
from tinify.checkpoint import load_checkpoint, save_model
from tinify.codec import Codec
from tinify.entropy_models import EntropyBottleneck, EntropyBottleneckVbr  # type: ignore[attr-defined]
from tinify.errors import InputError, StateDictError
from tinify.images import Picture
from tinify.latent_codecs import (  # type: ignore[attr-defined]
    GainHyperLatentCodec,
    GainHyperpriorLatentCodec,
    GaussianConditionalLatentCodec,
)
from tinify.models import CompressionModel, MeanScaleHyperpriorVbr, ScaleHyperpriorVbr  # type: ignore[attr-defined]

SPECS = {f"{name}-vbr": name for name in ("bmshj2018-hyperprior", "mbt2018-mean", "mbt2018")}


def lively(model: CompressionModel) -> CompressionModel:
    """Weights that give latents some spread, and let what varies the rate do something."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in (".offset.", "QuantABCD", "scale_to_context", ".step.", "gayn2zqstep")):
                parameter.add_(0.2 * torch.randn_like(parameter))
            if name.endswith(("g_a.6.weight", "h_a.4.weight")):
                parameter.mul_(30)
    return model.eval()


@pytest.fixture(scope="module", params=SPECS)
def model(request: pytest.FixtureRequest) -> CompressionModel:
    torch.manual_seed(1)
    return lively(tinify.create_model(request.param, N=8, M=12))


def picture(height: int = 64, width: int = 128, batch: int = 1) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.stack([torch.sin(x / (5.0 + c)) * torch.cos(y / (9.0 - c)) for c in range(3)])
    return (0.5 + 0.4 * waves)[None].repeat(batch, 1, 1, 1)


@settings(max_examples=12)
@given(quality=st.floats(1, 8))
def test_what_is_decoded_is_what_the_encoder_and_a_forward_have(model: CompressionModel, quality: float) -> None:
    x = picture()
    packed = model.compress(x, quality=quality)
    decoded = model.decompress(packed["strings"], packed["shape"], quality=quality)["x_hat"]
    assert torch.equal(decoded, model.reconstruct(packed["y_hat"])["x_hat"])  # type: ignore[operator]
    with torch.no_grad():
        out = model(x, quality=quality)
    assert torch.equal(decoded, out["x_hat"].clamp(0, 1))
    bits = -sum(float(torch.log2(likelihood).sum()) for likelihood in out["likelihoods"].values())
    coded = 8 * sum(len(string) for strings in packed["strings"] for string in strings)
    # What is less likely than the bound costs less than the bound says.
    assert coded <= 1.02 * bits + 64 * len(packed["strings"])


def test_higher_qualities_take_more_bits(model: CompressionModel) -> None:
    sizes = [sum(len(s[0]) for s in model.compress(picture(), quality=quality)["strings"]) for quality in range(1, 9)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3 * sizes[0]


def test_no_rate_needs_tables_of_its_own(model: CompressionModel) -> None:
    model.update(force=True)
    before = [part.tables.digest for _, part in model.entropy_models()]
    for quality in (1, 2.5, 8):
        model.compress(picture(), quality=quality)
    assert [part.tables.digest for _, part in model.entropy_models()] == before


def test_a_file_carries_its_quality(model: CompressionModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model.safetensors")
    pixels = (255 * picture(70, 90)[0].permute(1, 2, 0)).round().to(torch.uint8).numpy()
    codec = Codec(load_checkpoint(tmp_path / "model.safetensors"))
    files = {quality: codec.at(quality).compress(Picture(pixels)) for quality in (1.0, 4.321, 8.0)}
    assert len(files[1.0]) < len(files[4.321]) < len(files[8.0])
    for quality, data in files.items():
        assert np.array_equal(codec.decompress(data).pixels, codec.at(quality).reconstruct(Picture(pixels)).pixels)


@pytest.mark.parametrize("spec", SPECS)
def test_at_its_best_rate_a_new_model_is_the_plain_one(spec: str) -> None:
    torch.manual_seed(2)
    ours, plain = tinify.create_model(spec, N=8, M=12), tinify.create_model(SPECS[spec], N=8, M=12)
    found = plain.load_state_dict(
        {key: value for key, value in ours.state_dict().items() if key in plain.state_dict()}, strict=True
    )
    assert not found.missing_keys
    x = picture()
    with torch.no_grad():
        one, other = ours.eval()(x), plain.eval()(x)
    for name, likelihood in other["likelihoods"].items():
        if spec != "mbt2018-vbr" or name == "z":  # whose forward goes position by position
            torch.testing.assert_close(one["likelihoods"][name], likelihood)
    packed, theirs = ours.compress(x), plain.compress(x)
    torch.testing.assert_close(packed["y_hat"], theirs["y_hat"])


def test_each_picture_of_a_batch_has_a_quality_of_its_own(model: CompressionModel) -> None:
    x, qualities = picture(batch=2), torch.tensor([2.0, 7.0])
    if model.architecture is not None and model.architecture.name == "mbt2018-vbr":
        with pytest.raises(InputError, match="2 qualities for one batch"):
            model.compress(x, quality=qualities)
        return
    both = model.compress(x, quality=qualities)
    for k, quality in enumerate(qualities.tolist()):
        alone = model.compress(x[k : k + 1], quality=quality)
        assert [strings[k] for strings in both["strings"]] == [strings[0] for strings in alone["strings"]]


def test_training_reaches_every_weight(model: CompressionModel) -> None:
    model.train()
    try:
        out = model(picture(batch=2), quality=torch.tensor([1.3, 6.2]))
        rate = -torch.stack([likelihood.log().sum() for likelihood in out["likelihoods"].values()]).sum()
        (rate + out["x_hat"].square().sum()).backward()  # type: ignore[no-untyped-call]
        bare = [name for name, one in model.named_parameters() if one.grad is None and not name.endswith("quantiles")]
        assert bare == []
        gain = next(one for name, one in model.named_parameters() if "gain" in name)
        assert gain.grad is not None
        assert int((gain.grad != 0).sum()) == 4  # two levels about each quality
    finally:
        model.zero_grad()
        model.eval()


@pytest.mark.parametrize("quality", [0.99, 8.01, -1, float("nan")])
def test_qualities_out_of_range_are_named(model: CompressionModel, quality: float) -> None:
    with pytest.raises(InputError, match="expected a number from 1 to 8"):
        model.compress(picture(), quality=quality)


# The parts.


@given(st.floats(1, 8))
def test_gains_rise_as_the_roots_of_lambdas(quality: float) -> None:
    gain = LevelGain()(quality).item()
    assert gain == pytest.approx((0.0018 / 0.18) ** (0.5 * (8 - quality) / 7), rel=1e-5)


def test_an_input_scale_is_a_gain() -> None:
    assert LevelGain()(InputScale(0.123)).item() == pytest.approx(0.123)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="expected a positive number"):
            InputScale(wrong)
    with pytest.raises(InputError, match="1 levels of gain"):
        LevelGain(levels=1)


def test_offsets_leave_zeros_and_signs_alone() -> None:
    torch.manual_seed(0)
    net = ReconstructionOffset()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    q, scales, gain = torch.randint(-3, 4, (2, 5, 7, 3)).float(), torch.rand(2, 5, 7, 3), torch.rand(2, 1, 1, 1)
    moved = net.eval()(q, scales, gain)
    assert torch.equal(moved == 0, q == 0)
    torch.testing.assert_close(moved, net.train()(q, scales, gain))
    assert not torch.equal(moved, q)


@pytest.fixture(scope="module")
def bottleneck() -> EntropyBottleneckVbr:
    torch.manual_seed(3)
    return EntropyBottleneckVbr(4).eval()


@settings(max_examples=20)
@given(step=st.floats(0.5, 30), seed=st.integers(0, 99))
def test_a_bottleneck_codes_in_any_step(bottleneck: EntropyBottleneckVbr, step: float, seed: int) -> None:
    x = 4 * torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        x_hat, likelihood = bottleneck(x, qs=step)
    strings = bottleneck.compress(x, qs=step)
    assert torch.equal(bottleneck.decompress(strings, (6, 5), qs=step), x_hat)
    used = min(STEPS, key=lambda one: abs(np.log(one / step)))
    assert 1 / 1.05 < used / step < 1.05
    assert float((x - x_hat).abs().max()) <= used / 2 + 1e-5
    bits = -float(torch.log2(likelihood).sum())
    assert 8 * sum(map(len, strings)) <= 1.03 * bits + 2 * 64


@pytest.mark.parametrize("step", [0.5, 1.0, 3.3, 17.0])
def test_the_likelihoods_of_a_step_add_up_to_one(bottleneck: EntropyBottleneckVbr, step: float) -> None:
    view = bottleneck.at(step)
    grid = torch.arange(-200, 201.0).reshape(1, 1, -1, 1).expand(1, 4, -1, 1) + view.centre(torch.Size((1, 4, 401, 1)))
    _, likelihood = view(grid)
    torch.testing.assert_close(likelihood.sum(2), torch.ones(1, 4, 1), atol=2e-4, rtol=0)


def test_at_step_one_it_is_the_plain_bottleneck(bottleneck: EntropyBottleneckVbr) -> None:
    plain = EntropyBottleneck(4).eval()
    state = bottleneck.state_dict()
    plain.load_state_dict(
        {key: state[key] for key in plain.state_dict() if not key.startswith(("_q", "_c", "_o"))}
        | {key: torch.empty(0, dtype=torch.int32) for key in ("_quantized_cdf", "_cdf_length", "_offset")}
    )
    x = 3 * torch.randn(1, 4, 8, 8)
    for one, other in zip(bottleneck(x), plain(x), strict=True):
        torch.testing.assert_close(one, other)
    assert bottleneck.compress(x) == plain.compress(x)


def test_tables_of_one_step_are_for_that_step(bottleneck: EntropyBottleneckVbr) -> None:
    model = EntropyBottleneckVbr(4).eval()
    model.load_state_dict(bottleneck.state_dict())
    assert model.update_variable(force=True, qs=2.2)
    x = 4 * torch.randn(1, 4, 3, 3)
    assert torch.equal(model.decompress(model.compress(x, qs=2.2), (3, 3), qs=2.2), model(x, qs=2.2)[0])
    again = EntropyBottleneckVbr(4).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.decompress(model.compress(x, qs=2.2), (3, 3), qs=2.2), model(x, qs=2.2)[0])
    with pytest.raises(InputError, match=r"there are tables for 2\.2 alone"):
        model.compress(x, qs=3.0)
    model.update(force=True)
    model.compress(x, qs=3.0)


def test_steps_that_are_none_are_named() -> None:
    with pytest.raises(InputError, match="positive and rising"):
        EntropyBottleneckVbr(2, steps=[1.0, 0.5])
    with pytest.raises(InputError, match="expected a positive number"):
        EntropyBottleneckVbr(2).at(0.0)


def test_given_gains_go_around_the_codes() -> None:
    torch.manual_seed(4)
    hyper = GainHyperLatentCodec(EntropyBottleneck(4), torch.nn.Conv2d(4, 4, 1), torch.nn.Conv2d(4, 8, 1))
    y_codec = GaussianConditionalLatentCodec(quantizer="ste")
    codec = GainHyperpriorLatentCodec(latent_codec={"y": y_codec, "hyper": hyper}).eval()
    y, gains = 5 * torch.randn(2, 4, 6, 6), [torch.rand(4, 1, 1) + 0.5 for _ in range(4)]
    packed = codec.compress(y, *gains)
    decoded = codec.decompress(packed["strings"], packed["shape"], *gains[2:])["y_hat"]
    assert torch.equal(decoded, packed["y_hat"])
    assert torch.equal(codec(y, *gains)["y_hat"], decoded)
    z = hyper.compress(y, gains[1], gains[3])
    again = hyper.decompress(z["strings"], z["shape"], gains[3])["params"]
    assert torch.equal(again, z["params"])
    # The steps of y are those of y times its gain, brought back.
    _, means = again.chunk(2, 1)
    assert torch.equal(decoded, (torch.round(y * gains[0] - means) + means) * gains[2])


# The faces.


@pytest.mark.parametrize("variable", [False, True])
def test_the_fields_calls_mean_qualities(variable: bool) -> None:
    torch.manual_seed(5)
    model: Any = lively(MeanScaleHyperpriorVbr(8, 12, vr_entbttlnck=variable))
    x = picture()
    for s in (0, 3, 7):
        packed, ours = model.compress(x, s=s), model.spec_model().compress(x, quality=s + 1)
        assert packed["strings"] == ours["strings"]
        again = model.compress(x, inputscale=model.Gain[s])
        assert again["strings"] == packed["strings"]
    plain = model.compress(x, stage=1)
    assert model.decompress(plain["strings"], plain["shape"], stage=1)["x_hat"].shape == x.shape
    for wrong in ({"stage": 3}, {"s": 8}, {"s": -1}, {"s": 1.5}, {"inputscale": -2.0}):
        with pytest.raises(InputError):
            model(x, **wrong)


@pytest.mark.parametrize("variable", [False, True])
def test_a_state_dict_shows_what_it_is_of(variable: bool) -> None:
    model = ScaleHyperpriorVbr(8, 12, vr_entbttlnck=variable)
    again = ScaleHyperpriorVbr.from_state_dict(model.state_dict())
    assert again.vr_entbttlnck == variable
    assert again.levels == 8
    assert again.aux_loss().item() > 0
    with pytest.raises(InputError, match="vr_entbttlnck"):
        ScaleHyperpriorVbr.from_state_dict(model.state_dict(), vr_entbttlnck=not variable)
    with pytest.raises(StateDictError, match="no 'Gain'"):
        ScaleHyperpriorVbr.from_state_dict(tinify.models.ScaleHyperprior(8, 12).state_dict())


def test_a_checkpoint_of_a_face_is_that_of_the_spec(tmp_path: Path) -> None:
    torch.manual_seed(6)
    face = lively(MeanScaleHyperpriorVbr(8, 12, vr_entbttlnck=True))
    save_model(face, tmp_path / "face.safetensors")
    model = load_checkpoint(tmp_path / "face.safetensors")
    assert model.architecture is not None
    assert model.architecture.name == "mbt2018-mean-vbr"
    assert model.compress(picture(), quality=3.0)["strings"] == face.compress(picture(), quality=3.0)["strings"]
    back = MeanScaleHyperpriorVbr(8, 12, vr_entbttlnck=True)
    back.load_state_dict(model.state_dict())
    assert all(torch.equal(value, face.state_dict()[key]) for key, value in back.state_dict().items())


def test_the_fields_entry_points() -> None:
    from tinify.zoo import bmshj2018_hyperprior_vbr, mbt2018_vbr, models  # type: ignore[attr-defined]

    assert models["mbt2018-vbr"] is mbt2018_vbr
    assert bmshj2018_hyperprior_vbr(N=8, M=12).vr_entbttlnck
    assert not mbt2018_vbr(quality=0, N=8, M=12).vr_entbttlnck
    for wrong in ({"quality": 3}, {"metric": "ms-ssim"}, {"pretrained": True}):
        with pytest.raises(InputError):
            mbt2018_vbr(**wrong)


def test_names_are_nowhere_while_plugins_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tinify.registry, "_making", True)  # as for a plugin that imports from these modules
    assert not hasattr(tinify.models, "ScaleHyperpriorVbr")
    assert hasattr(tinify.models, "ScaleHyperprior")


# Absence.


@pytest.mark.parametrize(
    "code",
    [
        "tinify.create_model('mbt2018-mean-vbr')",
        "tinify.Spec.loads('{tinify: 1, name: a, extends: mbt2018-mean-vbr}').elaborate()",
        "tinify.models.ScaleHyperpriorVbr",
    ],
)
def test_without_the_plugin_an_error_names_it(code: str) -> None:
    known = "tinify.errors.TinifyError, AttributeError"
    program = f"import tinify\ntry:\n    {code}\nexcept ({known}) as error:\n    print(error)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"TINIFY_DISABLE_PLUGINS": "vbr", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    assert "plugin vbr" in run.stdout
    assert "is disabled" in run.stdout
