"""Checks of layers and transforms: modules that take one tensor and return one."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tinify import ops
from tinify.plugin import Cost, Sig
from tinify.testing.cases import Case
from tinify.testing.modules import assert_gradients, assert_same_keys, devices, equal, load_state, state_of, stir


def check_shape_rule(case: Case) -> None:
    """The shape rule, a forward on the meta device and a real forward agree, at three sizes."""
    source, declared = _signatures(case)
    with torch.device("meta"):
        phantom = case.build().eval()
    module = case.build().eval()
    for size in case.sizes():
        (x,) = case.tensors(size)
        sides = [length * source.stride / declared.stride for length in size]
        expected = (len(x), declared.channels, *map(int, sides))
        for way, made in (("meta", phantom(x.to("meta"))), ("real", module(x))):
            assert isinstance(made, Tensor), f"{case.label} returns a {type(made).__name__}, expected a tensor"
            assert tuple(made.shape) == expected, (
                f"the shape rule of {case.label} says {source} -> {declared}, so {tuple(x.shape)} -> {expected}; "
                f"the {way} forward gives {tuple(made.shape)}"
            )


def check_cost(case: Case) -> None:
    """Declared parameters are those of the module, declared multiply-accumulates those that a forward counts."""
    rows = case.part().rows
    total = Cost()
    for row in rows:
        if row.cost is None:
            return  # not declared
        total += row.cost
    module = case.build().eval()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert total.parameters == parameters, (
        f"the cost rule of {case.label} says {total.parameters} parameters, the module has {parameters}"
    )
    (x,) = case.tensors(batch=1)
    with FlopCounterMode(display=False, custom_mapping=ops.FLOPS) as counter:
        module(x)
    source, _ = _signatures(case)
    pixels = math.prod(x.shape[2:]) * source.stride**source.axes
    macs = Fraction(counter.get_total_flops(), 2) / pixels
    assert total.macs == macs, (
        f"the cost rule of {case.label} says {total.macs} multiply-accumulates per pixel of the picture, "
        f"a forward makes {macs}"
    )


def check_dtype(case: Case) -> None:
    """What comes out has the dtype, and is on the device, of what went in."""
    (x,) = case.tensors()
    for device in devices():
        for dtype in (torch.float32, torch.float64):
            got = case.build().to(device, dtype).eval()(x.to(device, dtype))
            assert got.dtype == dtype, f"{case.label} turns {dtype} into {got.dtype}"
            assert got.device.type == device.type, f"{case.label} moves from {device} to {got.device}"


def check_batch(case: Case) -> None:
    """A batch of three gives what three batches of one give."""
    module, (x,) = case.build().double().eval(), case.tensors(batch=3)
    alone = torch.cat([module(item[None]) for item in x.double()])
    assert equal(module(x.double()), alone, 1e-9), f"{case.label}: an item of a batch depends on the items beside it"


def check_input_untouched(case: Case) -> None:
    """The input is not written to."""
    for training in (False, True):
        module, (x,) = case.build().train(training), case.tensors()
        before = x.clone()
        module(x)
        assert torch.equal(x, before), (
            f"{case.label} changes its input in place: whoever passed it may need it still (h_a is given the latent)"
        )


def check_gradients(case: Case) -> None:
    """Gradients are finite, and every parameter gets one that is not zero."""
    module, (x,) = stir(case.build().train()), case.tensors()
    x.requires_grad_()
    with torch.enable_grad():
        out = module(x.clone())
        assert_gradients(module, (out * torch.randn(out.shape)).sum())
    assert x.grad is not None, f"{case.label}: no gradient reaches the input, so no layer before it can be trained"
    assert torch.isfinite(x.grad).all(), f"{case.label}: the gradient of the input is not finite"


def check_state_dict(case: Case) -> None:
    """The state dict has the same keys in every build, loads strictly, and is all that the output depends on."""
    one, other, (x,) = stir(case.build()).eval(), case.build(seed=1).eval(), case.tensors()
    assert_same_keys(one, other)
    load_state(other, state_of(one))
    assert equal(other(x), one(x)), f"{case.label}: a module with the same state dict gives another output"


def check_eval_deterministic(case: Case) -> None:
    """In eval mode the same input gives the same output."""
    module, (x,) = case.build().eval(), case.tensors()
    first = module(x.clone())
    assert equal(module(x.clone()), first), f"{case.label}: in eval mode the same input gives different outputs"


def check_deepcopy(case: Case) -> None:
    """A deep copy gives the same output and shares no parameter."""
    module, (x,) = case.build().eval(), case.tensors()
    twin: nn.Module = copy.deepcopy(module)
    assert equal(twin(x.clone()), module(x.clone())), f"{case.label}: a deep copy gives another output"
    shared = {parameter.data_ptr() for parameter in module.parameters()}
    assert not shared & {parameter.data_ptr() for parameter in twin.parameters()}, (
        f"{case.label}: a deep copy shares parameters with the original"
    )


def check_bfloat16(case: Case) -> None:
    """Under autocast to bfloat16 the output is finite."""
    module, (x,) = case.build().eval(), case.tensors()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = module(x)
    assert torch.isfinite(got).all(), f"{case.label}: under bfloat16 autocast the output is not finite"


def _signatures(case: Case) -> tuple[Sig, Sig]:
    source, declared = case.inputs[0], case.part().output
    assert source
    assert declared
    return source, declared


LAYER_CHECKS = (
    check_shape_rule,
    check_cost,
    check_dtype,
    check_batch,
    check_input_untouched,
    check_gradients,
    check_state_dict,
    check_eval_deterministic,
    check_deepcopy,
    check_bfloat16,
)
