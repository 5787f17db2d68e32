"""Checks of kernels: on every shape, dtype and layout they give what the operator's definition gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError
from torch.utils import _pytree as pytree

from tinify import ops
from tinify.plugin import Kernel
from tinify.testing.cases import KernelCase, Sample
from tinify.testing.kernel_samples import SAMPLES

_SHAPES = ((1,), (7,), (1000,), (2, 3, 5, 7), (1, 8, 16, 16), (0,), (2, 0, 3))
_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def check_equal(case: KernelCase) -> None:
    """The definition's result, for every shape and every dtype that the definition takes; integers exactly."""
    for shape in _SHAPES:
        for dtype in _TOLERANCE:
            _assert_agrees(case, case.sample(shape, dtype), f"{dtype} of shape {shape}")


def check_strides(case: KernelCase) -> None:
    """The definition's result for tensors that are not contiguous, and none of them written to."""
    for name, lay in (("transposed", _transposed), ("every other element", _sparse), ("channels last", _channels_last)):
        arguments = case.sample((2, 3, 5, 7), torch.float32)
        laid = tuple(lay(one) if _shaped(one) else one for one in arguments)
        before = pytree.tree_map_only(Tensor, torch.clone, laid)
        _assert_agrees(case, laid, f"float32, {name}")
        schema = operator(case.kernel)._schema.arguments
        kept = [not (one.alias_info and one.alias_info.is_write) for one in schema][: len(laid)]
        found, expected = ([one for one, whole in zip(each, kept, strict=True) if whole] for each in (laid, before))
        assert _agree(found, expected), f"{case.label} changes its arguments in place"


def check_fully_written(case: KernelCase) -> None:
    """Every element of the result is written, none is left as the memory was."""
    state = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills torch.empty with NaN, or the largest integer
    try:
        for shape in _SHAPES:
            _assert_agrees(case, case.sample(shape, torch.float32), f"fresh memory filled with NaN, shape {shape}")
    finally:
        torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def check_operator(case: KernelCase) -> None:
    """The operator's schema and its fake implementation are true, as torch.library.opcheck finds."""
    arguments = _moved(case.sample((2, 3, 5, 7), torch.float32), case.kernel.device)
    try:
        torch.library.opcheck(operator(case.kernel), arguments, test_utils=("test_schema", "test_faketensor"))
    except torch.testing._internal.optests.OpCheckError as error:  # type: ignore[attr-defined]
        raise AssertionError(f"{case.label}: {error}") from error


def check_gradients(case: KernelCase) -> None:
    """The operator's gradient, where it has one, is that of finite differences, in float64."""
    custom = _custom_op(case.kernel)
    if custom is None or custom._backward_fn is None:
        return
    arguments = pytree.tree_map_only(
        Tensor,
        lambda one: one.requires_grad_() if one.is_floating_point() else one,
        _moved(case.sample((1, 2, 3, 2), torch.float64), case.kernel.device),
    )
    try:
        with torch.enable_grad():
            torch.autograd.gradcheck(operator(case.kernel), arguments)
    except GradcheckError as error:
        raise AssertionError(f"{case.label}: {error}") from error


def available(kernel: Kernel) -> bool:
    """Whether this machine has the device, and the modules, that a kernel needs."""
    try:
        there = kernel.device == "cpu" or torch.get_device_module(kernel.device).is_available()
    except RuntimeError:
        return False
    return there and all(find_spec(name) for name in kernel.requires)


def operator(kernel: Kernel) -> Any:
    """The operator that a kernel implements."""
    namespace, _, name = kernel.op.partition("::")
    kernel.load()  # its module may be the one that defines the operator
    found = getattr(getattr(torch.ops, namespace), name, None)
    assert found is not None, f"no torch operator is called {kernel.op}"
    return found.default


def sample_of(kernel: Kernel, given: Sample | None) -> Sample:
    """The sample given, else one for an operator of tinify, else one from the operator's schema."""
    return given or SAMPLES.get(kernel.op) or (lambda shape, dtype: tuple(_from_schema(kernel, shape, dtype)))


def _from_schema(kernel: Kernel, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[Any]:
    plain = {"float": 0.5, "int": 1, "bool": True, "number": 1.0}
    for place, argument in enumerate(operator(kernel)._schema.arguments):
        kind = str(argument.type)
        if kind == "Tensor":
            yield torch.rand(shape, generator=torch.Generator().manual_seed(place)).to(dtype) + 0.25
        elif argument.has_default_value():
            yield argument.default_value
        else:
            assert kind in plain, f"pass a sample for {kernel.op}: its argument {argument.name!r} is {kind}"
            yield plain[kind]


def _custom_op(kernel: Kernel) -> Any:
    """The operator's ``torch.library.custom_op``, None if it was defined in another way."""
    operator(kernel)
    return torch._library.custom_ops.OPDEFS.get(kernel.op)


def _definition(kernel: Kernel) -> Callable[..., Any]:
    """What the operator does where no kernel is: the operator itself, if that cannot be known."""
    custom, (namespace, _, name) = _custom_op(kernel), kernel.op.partition("::")
    if custom is None and namespace == "tinify":
        own: Callable[..., Any] = inspect.unwrap(getattr(ops, name))
        return own
    return custom._init_fn if custom else operator(kernel)  # type: ignore[no-any-return]


def _assert_agrees(case: KernelCase, arguments: tuple[Any, ...], what: str) -> None:
    defined = _definition(case.kernel)
    given = pytree.tree_map_only(Tensor, torch.clone, arguments)  # some operators write to theirs
    try:
        expected = defined(*given)
    except (IndexError, RuntimeError, TypeError, ValueError):
        return  # the definition takes no such arguments
    try:
        got = case.kernel.load()(*_moved(arguments, case.kernel.device))
    except Exception as error:
        raise AssertionError(f"{case.label} fails for {what}: {type(error).__name__}: {error}") from error
    if torch.Tag.nondeterministic_seeded in operator(case.kernel).tags:  # what is drawn is the kernel's own
        got, expected = (pytree.tree_map_only(Tensor, torch.zeros_like, one) for one in (got, expected))
    got, tolerance = _moved(got, "cpu"), max(_TOLERANCE.get(one.dtype, 0.0) for one in given if isinstance(one, Tensor))
    agrees = _agree(got, expected, tolerance) or _agree(got, _precise(defined, arguments, expected), tolerance)
    assert agrees, f"{case.label} differs from its definition: {what}"


def _precise(defined: Callable[..., Any], arguments: tuple[Any, ...], like: Any) -> Any:
    """The definition's result from half types in float32: what a kernel gives that adds up in it."""
    half = (torch.float16, torch.bfloat16)
    wide = pytree.tree_map_only(Tensor, lambda one: one.float() if one.dtype in half else one.clone(), arguments)
    return pytree.tree_map(lambda one, as_: one.to(as_.dtype) if isinstance(one, Tensor) else one, defined(*wide), like)


def _agree(got: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether results are alike, to the precision of their types or, if that is less, of what they were made of."""
    ours, theirs = pytree.tree_leaves(got), pytree.tree_leaves(expected)
    alike = (_leaf_agrees(one, other, tolerance) for one, other in zip(ours, theirs, strict=False))
    return len(ours) == len(theirs) and all(alike)


def _leaf_agrees(got: Any, expected: Any, tolerance: float) -> bool:
    if not isinstance(expected, Tensor):
        return bool(got == expected)
    if not isinstance(got, Tensor) or got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    if expected.dtype not in _TOLERANCE:
        return torch.equal(got, expected)
    tolerance = max(tolerance, _TOLERANCE[expected.dtype])
    got, expected = got.double(), expected.double()
    size = float(expected[expected.isfinite()].abs().max()) if bool(expected.isfinite().any()) else 0.0
    return torch.allclose(got, expected, rtol=tolerance, atol=tolerance * max(1.0, size), equal_nan=True)


def _moved(arguments: Any, device: str) -> Any:
    return pytree.tree_map_only(Tensor, lambda one: one.to(device), arguments)


def _shaped(one: Any) -> bool:
    return isinstance(one, Tensor) and one.ndim == 4


def _transposed(one: Tensor) -> Tensor:
    return one.transpose(1, 3).contiguous().transpose(1, 3)


def _sparse(one: Tensor) -> Tensor:
    return one.repeat_interleave(2, dim=3)[..., ::2]


def _channels_last(one: Tensor) -> Tensor:
    return one.contiguous(memory_format=torch.channels_last)


KERNEL_CHECKS = (check_equal, check_strides, check_fully_written, check_operator, check_gradients)
