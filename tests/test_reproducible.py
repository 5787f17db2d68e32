"""Arithmetic that every machine does alike: near floats, the same bits whatever the kernels, and proof of both."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tinify
from tinify.errors import InputError
from tinify.exact import audit, reproducible
from tinify.models.portable import make_portable

pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of torch.backends.mkldnn.flags

MODELS: dict[str, dict[str, int]] = {
    "tinify-photo": {"N": 16, "M": 16, "Z": 8, "F": 16},
    "bmshj2018-factorized": {"N": 16, "M": 24},
    "bmshj2018-factorized-relu": {"N": 16, "M": 24},
    "cheng2020-attn": {"N": 16},
    "elic2022-official": {"N": 16},
    "mnist": {},
}


def latent_of(name: str, batch: int = 1) -> tuple[nn.Module, Tensor]:
    """A model of random weights, and a latent such as a decoder gets."""
    torch.manual_seed(0)
    model = tinify.create_model(name, **MODELS[name]).eval()
    x = torch.rand(batch, *((1, 28, 28) if name == "mnist" else (3, 128, 64)))
    with torch.no_grad():
        latent: Tensor = (8 * model.g_a(x)).round()  # type: ignore[operator]
    return model, latent


def synthesis(model: nn.Module, y_hat: Tensor) -> Tensor:
    """The picture before it is clamped."""
    with torch.no_grad():
        made: Tensor = model.g_s(y_hat)  # type: ignore[operator]
    return made


def reproduced(model: nn.Module, y_hat: Tensor) -> Tensor:
    with reproducible():
        return synthesis(model, y_hat)


def digest_of(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("name", MODELS)
def test_reproducible_is_near_float(name: str) -> None:
    model, y_hat = latent_of(name)
    found, wanted = reproduced(model, y_hat), synthesis(model, y_hat)
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-3
    levels = [(one.clamp(0, 1) * 255).round() for one in (found, wanted)]
    assert (levels[0] - levels[1]).abs().max() <= 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread(model: nn.Module, y_hat: Tensor, run: Callable[..., Tensor]) -> Tensor:
    with threads(1):
        return run(model, y_hat)


def two_threads(model: nn.Module, y_hat: Tensor, run: Callable[..., Tensor]) -> Tensor:
    with threads(2):
        return run(model, y_hat)


def channels_last(model: nn.Module, y_hat: Tensor, run: Callable[..., Tensor]) -> Tensor:
    return run(model.to(memory_format=torch.channels_last), y_hat.contiguous(memory_format=torch.channels_last))


def without_mkldnn(model: nn.Module, y_hat: Tensor, run: Callable[..., Tensor]) -> Tensor:
    with torch.backends.mkldnn.flags(enabled=False):
        return run(model, y_hat)


def stacked(model: nn.Module, y_hat: Tensor, run: Callable[..., Tensor]) -> Tensor:
    louder = [y_hat * 2.5**power for power in range(7)]
    return run(model, torch.cat([*louder, y_hat]))[7:]


def inference(model: nn.Module, y_hat: Tensor, run: Callable[..., Tensor]) -> Tensor:
    with torch.inference_mode():
        return run(model, y_hat).clone()


SETTINGS: list[Callable[..., Tensor]] = [one_thread, two_threads, channels_last, without_mkldnn, stacked, inference]


@pytest.mark.parametrize("name", MODELS)
def test_reproducible_has_the_same_bits_in_every_setting(name: str) -> None:
    model, y_hat = latent_of(name)
    assert {digest_of(setting(model, y_hat, reproduced)) for setting in SETTINGS} == {
        digest_of(reproduced(model, y_hat))
    }


def test_plain_floats_have_not() -> None:
    model, y_hat = latent_of("bmshj2018-factorized")
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        pytest.skip("there is one kind of kernels here")
    assert len({digest_of(setting(model, y_hat, synthesis)) for setting in SETTINGS}) > 1


def test_the_compiler_of_torch_stays_out_of_memory() -> None:
    code = """
import sys, torch
from tinify.exact import audit, reproducible
layer = torch.nn.Conv2d(1, 1, 1)
with reproducible():
    layer(torch.ones(1, 1, 1, 1)).sigmoid_()
print("torch._dynamo" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


OTHER_PROCESSOR = """
import hashlib, sys, torch
from tinify.exact import reproducible

for g_s, y_hat in torch.load(sys.argv[1], weights_only=False):
    with reproducible():
        print(hashlib.sha256(g_s(y_hat).contiguous().numpy().tobytes()).hexdigest())
"""


def test_the_bits_do_not_hang_on_the_instructions_of_the_processor(tmp_path: Path) -> None:
    cases = [latent_of(name) for name in MODELS]
    torch.save([(model.g_s, y_hat) for model, y_hat in cases], tmp_path / "cases.pt")
    older = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    command = [sys.executable, "-c", OTHER_PROCESSOR, str(tmp_path / "cases.pt")]
    run = subprocess.run(command, env=os.environ | older, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [digest_of(reproduced(*case)) for case in cases]


CONVOLUTIONS = [
    nn.Conv2d(6, 4, 3),
    nn.Conv2d(6, 4, (5, 1), stride=2, padding=(2, 0), bias=False),
    nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6),
    nn.Conv2d(6, 4, 3, padding=1, groups=2),
    nn.ConvTranspose2d(6, 4, 5, 2, 2, output_padding=1),
    nn.ConvTranspose2d(6, 4, 5, 2),
    nn.ConvTranspose2d(6, 4, 2, 3, output_padding=1, groups=2, bias=False),
    nn.ConvTranspose2d(6, 4, 4, 1, 1),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=repr)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_convolutions_of_every_form_are_as_good_as_floats(layer: nn.Module, scale: float) -> None:
    torch.manual_seed(0)
    x = scale * torch.randn(2, 6, 9, 14)
    with reproducible():
        found = layer(x)
        assert torch.equal(found[1:], layer(x[1:]))
        assert torch.equal(found, layer(x.contiguous(memory_format=torch.channels_last)))
    with torch.no_grad():
        wanted = layer.double()(x.double())
        layer.float()
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 2e-6 * wanted.abs().max()


def test_no_order_of_the_products_changes_a_bit() -> None:
    torch.manual_seed(0)
    x, weight, order = torch.randn(2, 300, 6, 6), torch.randn(8, 300, 3, 3), torch.randperm(300)
    a, b = torch.randn(9, 300), torch.randn(300, 9)
    with reproducible():
        assert torch.equal(F.conv2d(x, weight), F.conv2d(x[:, order], weight[:, order]))
        assert torch.equal(a @ b, a[:, order] @ b[order])


def test_tall_pictures_are_made_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 5, 5, stride=2, padding=2), torch.randn(2, 3, 41, 24)
    with reproducible():
        whole = layer(x)
        monkeypatch.setattr("tinify.exact.geometry._BLOCK", 1)
        assert torch.equal(layer(x), whole)


def test_products_of_matrices_and_reductions() -> None:
    torch.manual_seed(0)
    a, b, bias = torch.randn(4, 7, 33), torch.randn(4, 33, 5), torch.randn(5)
    cases: list[Callable[..., Tensor]] = [
        lambda a, b, bias: a @ b,
        lambda a, b, bias: a[0] @ b[0],
        lambda a, b, bias: torch.addmm(bias, a[0], b[0], beta=0.5, alpha=3),
        lambda a, b, bias: torch.baddbmm(bias, a, b),
        lambda a, b, bias: F.linear(a, b[0].t(), bias),
        lambda a, b, bias: torch.einsum("nik,nkj->ij", a, b),
        lambda a, b, bias: a.sum((0, -1), keepdim=True),
        lambda a, b, bias: a.sum(),
        lambda a, b, bias: a.mean(1),
    ]
    for case in cases:
        with reproducible():
            found = case(a, b, bias)
        wanted = case(a.double(), b.double(), bias.double())
        assert found.shape == wanted.shape
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_what_is_no_number_stays_within_its_batch_item() -> None:
    layer = nn.Conv2d(2, 2, 3)
    x = torch.zeros(4, 2, 5, 5)
    x[1, 0, 2, 2], x[2, 1, 0, 0] = torch.nan, torch.inf
    with reproducible():
        y = layer(x)
        assert y[1:3].isnan().all()
        assert layer.bias is not None
        assert torch.equal(y[::3], layer.bias[:, None, None].expand(2, 2, 3, 3))


NUMBERS = np.concatenate([np.linspace(-110, 110, 40001), np.geomspace(1e-30, 1, 2001), [0.0, np.inf, -np.inf, np.nan]])
REFERENCES: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "sigmoid": lambda x: np.where(x > 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x))),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_are_those_of_mathematics(name: str) -> None:
    with reproducible():
        found = getattr(torch, name)(torch.from_numpy(NUMBERS)).numpy()
        rounded = getattr(torch, name)(torch.from_numpy(NUMBERS).float())
    finite = np.isfinite(NUMBERS)
    np.testing.assert_allclose(found[finite], REFERENCES[name](NUMBERS[finite]), rtol=1e-13, atol=1e-300)
    plain = getattr(torch, name)(torch.from_numpy(NUMBERS).float())
    torch.testing.assert_close(rounded, plain, rtol=1e-6, atol=1e-37, equal_nan=True)


def test_operations_of_several_roundings_are_taken_apart() -> None:
    torch.manual_seed(0)
    x, a, b = (torch.rand(1000) + 0.5 for _ in range(3))
    with reproducible():
        assert torch.equal(torch.add(x, a, alpha=0.3), x + a * 0.3)
        assert torch.equal(torch.sub(x, a, alpha=0.3), x - a * 0.3)
        assert torch.equal(torch.addcmul(x, a, b, value=3), x + (a * b) * 3)
        assert torch.equal(torch.addcdiv(x, a, b), x + a / b)
        assert torch.equal(torch.lerp(x, a, b), x + (a - x) * b)
        assert torch.equal(torch.rsqrt(x), 1 / x.sqrt())
        assert torch.equal(x / 3, x / torch.full_like(x, 3))
        assert torch.equal(x**2, x * x)
        assert torch.equal(torch.sigmoid(x, out=torch.empty(0)), x.clone().sigmoid_())


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda x: x.log(), "aten.log has no reproducible form"),
        (lambda x: x.cumsum(0), "aten.cumsum has no"),
        (lambda x: x**3, "power of 3"),
        (lambda x: F.dropout(x), "aten.bernoulli_ has no"),
        (lambda x: x.bfloat16() * 2, "aten.mul of torch.bfloat16"),
        (lambda x: x.bfloat16().exp(), "aten.exp of torch.bfloat16"),
        (lambda x: F.conv1d(x[None], x[None]), "convolution by"),
        (lambda x: x.double() @ x.double().t(), "float64"),
        (lambda x: torch.rand(2), "aten.rand has no"),
    ],
)
def test_other_operations_are_refused_by_name(run: Callable[[Tensor], Tensor], name: str) -> None:
    with reproducible(), pytest.raises(InputError, match=name):
        run(torch.ones(2, 2))


def test_autocast_is_off_inside() -> None:
    x = torch.rand(2, 2)
    with torch.autocast("cpu", torch.bfloat16), reproducible():
        assert (x @ x).dtype == torch.float32


AUDITED: dict[str, dict[str, int]] = {
    "tinify-photo": MODELS["tinify-photo"],
    "mbt2018-mean": {"N": 16, "M": 24},
    "cheng2020-anchor-checkerboard": {"N": 16},
    "elic2022-official": {"N": 16},
}


@pytest.mark.parametrize("name", AUDITED)
def test_the_audit_tells_exact_models_from_floats(name: str) -> None:
    torch.manual_seed(0)
    model: Any = tinify.create_model(name, **AUDITED[name]).eval()
    quality = {"quality": 3.0} if model.qualities else {}
    x = torch.rand(1, 3, 128, 64)
    packed = model.compress(x, **quality)
    with audit(model), pytest.raises(InputError, match=r"aten\.\w+ in latent_codec\.\S+ is no exact operation"):
        model.latent_codec.decompress(packed["strings"], packed["shape"], **quality)
    make_portable(model, lambda model: model(x, **quality))
    packed = model.compress(x, **quality)
    with audit(model):
        found = model.latent_codec.decompress(packed["strings"], packed["shape"], **quality)
    assert torch.equal(found["y_hat"], packed["y_hat"])


@pytest.mark.parametrize(
    ("layer", "name"), [(nn.Conv2d(1, 1, 1), "convolution"), (nn.Softplus(), "softplus"), (nn.Linear(1, 1), "addmm")]
)
def test_the_audit_names_the_operation_and_its_module(layer: nn.Module, name: str) -> None:
    model = nn.Sequential(nn.ReLU(), layer)
    with audit(model), pytest.raises(InputError, match=f"{name} in 1 is"):
        model(torch.ones(1, 1, 1, 1))
    assert not layer._forward_hooks
