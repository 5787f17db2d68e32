"""tinify's operators are sound ones of torch: schemas, fake tensors, gradients, autocast, compiled graphs."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tinify import ops
from tinify.layers import GDN, GDN1, CheckerboardMaskedConv2d, MaskedConv2d
from tinify.models import build_model, create_model
from tinify.plugin import Cost
from tinify.registry import get_registry
from tinify.spec import Spec
from tinify.testing.kernel_samples import SAMPLES

# Of what the compiler does in its own code, torch itself warns.
compiled = pytest.mark.filterwarnings("ignore")
DIFFERENTIABLE = ("gdn", "masked_conv2d", "gaussian_likelihood", "add_noise")


def plain(name: str) -> Any:
    return inspect.unwrap(getattr(ops, name))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_schemas_and_fakes_are_true(name: str) -> None:
    operator = getattr(torch.ops.tinify, name.partition("::")[2]).default
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    torch.library.opcheck(operator, SAMPLES[name]((2, 3, 5, 7), torch.float32), test_utils=checks)


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name != "add_noise"])
def test_gradients_are_those_of_differences(name: str) -> None:
    arguments = [
        one.requires_grad_() if isinstance(one, Tensor) and one.is_floating_point() else one
        for one in SAMPLES[f"tinify::{name}"]((1, 2, 3, 2), torch.float64)
    ]
    assert torch.autograd.gradcheck(getattr(ops, name), arguments)
    assert torch.autograd.gradgradcheck(getattr(ops, name), arguments)


@pytest.mark.parametrize(
    "layer", [GDN(4), GDN1(4, inverse=True), MaskedConv2d(4, 4, 3), CheckerboardMaskedConv2d(4, 4, 3)]
)
def test_layers_under_autocast(layer: nn.Module) -> None:
    x = torch.randn(1, 4, 6, 5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == (torch.float32 if isinstance(layer, GDN) else torch.bfloat16)
    out.float().sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_a_mask_that_changes_is_seen() -> None:
    conv, x = MaskedConv2d(2, 3, 3, padding=1), torch.randn(1, 2, 5, 5)
    assert conv.taps() == (0, 1, 2, 3)
    conv.mask[:, :, 2, 2] = 1
    assert conv.taps() == (0, 1, 2, 3, 8)
    expected = torch.conv2d(x, conv.weight * conv.mask, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected)
    conv.load_state_dict({**conv.state_dict(), "mask": torch.ones_like(conv.mask)})
    torch.testing.assert_close(conv(x), torch.conv2d(x, conv.weight, conv.bias, padding=1))
    torch.testing.assert_close(conv.at(x, torch.tensor([0, 4]), torch.tensor([3, 1])), conv(x)[:, :, [0, 4], [3, 1]])


@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding_mode": "reflect"}])
def test_other_convolutions_are_torchs(options: dict[str, Any]) -> None:
    conv, x = MaskedConv2d(2, 4, 3, padding=1, **options), torch.randn(1, 2, 7, 7)
    same = nn.Conv2d(2, 4, 3, padding=1, **options)
    same.load_state_dict({"weight": conv.weight * conv.mask, "bias": conv.bias})
    torch.testing.assert_close(conv(x), same(x))
    torch.testing.assert_close(conv.at(x, torch.tensor([0]), torch.tensor([1])), same(x)[:, :, [0], [1]])


@compiled
@pytest.mark.parametrize("name", ["mbt2018-mean", "mbt2018", "cheng2020-anchor-checkerboard"])
def test_models_compile(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, **({"N": 8, "M": 12} if "mbt" in name else {"N": 8})).eval()
    x = torch.rand(1, 3, 64, 64)
    quick = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(quick(x)["x_hat"], model(x)["x_hat"])
    model.train()
    out = torch.compile(model, backend="aot_eager")(x)
    (out["x_hat"].square().mean() - out["likelihoods"]["y"].log().mean()).backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())


@compiled
def test_a_layer_compiles_without_a_break() -> None:
    layer = nn.Sequential(GDN(4), MaskedConv2d(4, 4, 5, padding=2), GDN(4, inverse=True))
    x = torch.randn(1, 4, 6, 5)
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), layer(x))


def test_no_compiler_is_imported_where_nothing_asks_for_it() -> None:
    code = (
        "import sys, torch, tinify; from tinify.models import create_model;"
        "model = create_model('mbt2018-mean', N=8, M=8).eval(); model(torch.rand(1, 3, 64, 64));"
        "print(sorted({'triton', 'torch._dynamo', 'torch._inductor'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_products_are_counted_by_formula() -> None:
    x = torch.randn(1, 4, 6, 5)
    for layer in GDN(4), MaskedConv2d(4, 6, 3, padding=1):
        with FlopCounterMode(display=False, custom_mapping=ops.FLOPS) as counter:
            layer(x)
        outputs, taps = (4, 1) if isinstance(layer, GDN) else (6, 9)
        assert counter.get_total_flops() == 2 * 4 * outputs * taps * 30


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_declared_products_are_those_of_a_picture(name: str) -> None:
    architecture = Spec.load(name).elaborate()
    # In training all offsets of a latent are counted, and not those of what is not zero.
    model = build_model(architecture).train("-pcc-" not in name)
    frames = 2 if name == "ssf2020" else 1  # one by itself, and one predicted
    stride = architecture.stride
    extent = (stride, 2 * stride) if model.domain.same_size else model.domain.extents(stride)[0]
    x = model.domain.example(model.channels, extent, frames)
    with FlopCounterMode(display=False, custom_mapping=ops.FLOPS) as counter:
        model(x)
    rows = architecture.parts()
    declared = sum((row.cost for row in rows if row.cost), Cost())
    for part in (row.path for row in rows if row.type == "checkerboard"):  # it predicts for either colour
        inside = (row.cost for row in rows if row.path.startswith(f"{part}.entropy_parameters") and row.cost)
        declared = sum(inside, declared)
    counts = counter.get_flop_counts()["Global"]  # the densities multiply as well
    counted = sum(counts.get(op, 0) for op in (torch.ops.aten.convolution, torch.ops.aten.addmm, *ops.FLOPS))
    once = sum(counts.get(op, 0) for op in (torch.ops.aten.addmm,) if "vbr" in name) % 8192  # by the gain, a picture
    assert declared.macs * math.prod(extent) * 2 == counted - once
