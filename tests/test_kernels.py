"""Kernels of plugins: each takes an operator's place, unless something speaks against it; and the first operator."""

from __future__ import annotations

import inspect
import itertools
import math
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tinify
import tinify.registry
from tinify.errors import InputError
from tinify.kernels import activate
from tinify.ops import scale_indexes
from tinify.plugin import Kernel, hookimpl
from tinify.registry import Registry

scales = st.lists(st.floats(2**-10, 2**13, width=32), min_size=1, max_size=30)


@given(scales, st.sets(st.floats(0.0625, 512, width=32), min_size=1, max_size=9))
def test_a_scales_index_counts_the_smaller_entries(values: list[float], entries: set[float]) -> None:
    table = torch.tensor(sorted(entries))
    found = scale_indexes(torch.tensor(values), table)
    assert found.dtype == torch.int32
    assert found.tolist() == [int(sum(bool(v > t) for t in table[:-1].tolist())) for v in torch.tensor(values).tolist()]


def test_scales_that_are_no_numbers_have_one_row_for_all() -> None:
    strange, table = torch.tensor([math.nan, math.inf, -math.inf]), torch.tensor([0.5, 1.0, 2.0])
    activate()
    defined: torch.Tensor = inspect.unwrap(scale_indexes)(strange, table)
    assert torch.equal(scale_indexes(strange, table), defined)


def test_the_operator_is_sound() -> None:
    scales, table = torch.rand(2, 3, 4, 5).transpose(1, 3), torch.tensor([0.2, 0.5, 0.9])
    torch.library.opcheck(torch.ops.tinify.scale_indexes.default, (scales, table))


def plain(x: Tensor) -> Tensor:
    """The definition of the operators below; their kernels add something else, to tell which one ran."""
    return x + 1


def fast(x: Tensor) -> Tensor:
    return x + 2


def rival(x: Tensor) -> Tensor:
    return x + 3


@pytest.fixture
def op(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An operator that no test had before, and a registry of its own."""
    monkeypatch.setattr(tinify.registry, "_current", Registry(disabled=()))
    monkeypatch.setitem(sys.modules, "fastlane", types.SimpleNamespace(fast=fast, rival=rival))
    monkeypatch.delenv("TINIFY_KERNELS", raising=False)
    return torch.library.custom_op(f"kernel_tests::op{next(NUMBERS)}", mutates_args=())(plain)


NUMBERS = itertools.count()


def offer(op: Any, namespace: str = "fast", device: str = "cpu", target: str = "fastlane:fast", **options: Any) -> None:
    """Registers a plugin with a kernel of that operator."""

    class Plugin:
        @hookimpl
        def tinify_kernels(self) -> list[Kernel]:
            return [Kernel(op._qualname, device, target, **options)]

    tinify.register(Plugin(), namespace=namespace)


def outcome(op: Any) -> dict[str, str]:
    """By namespace, why the kernels of that operator do not run."""
    made = [found for found in activate() if found.kernel.op == op._qualname]
    assert all(found.active == (not found.reason) for found in made)
    return {found.kernel.provider.namespace: found.reason for found in made if found.kernel.provider}


def result(op: Any) -> float:
    return float(op(torch.zeros(1)))


@pytest.mark.parametrize("switch", ["", "OP=fast", "other=none", "none,OP=fast"])
def test_a_kernel_takes_its_operators_place(op: Any, switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINIFY_KERNELS", switch.replace("OP", op._qualname))
    offer(op)
    assert result(op) == 1
    assert outcome(op) == outcome(op) == {"fast": ""}
    assert result(op) == 2


@pytest.mark.parametrize(
    ("options", "switch", "reason"),
    [
        ({}, "none", "TINIFY_KERNELS asks for none"),
        ({}, "OP=none", "TINIFY_KERNELS asks for none"),
        ({}, "OP=other,gdn=none", "TINIFY_KERNELS asks for other"),
        ({"requires": ("os", "no_such_module")}, "", "no_such_module is not installed"),
        ({"requires": ("no_such_package.module",)}, "", "no_such_package.module is not installed"),
        ({"requires": ("math.no_package",)}, "", "math.no_package is not installed"),
        ({"device": "mtia"}, "", "this machine has no mtia device that torch can use"),
        ({"device": "no_device"}, "", "this machine has no no_device device that torch can use"),
    ],
)
def test_a_kernel_gives_way_to_the_definition(
    op: Any, options: dict[str, Any], switch: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINIFY_KERNELS", switch.replace("OP", op._qualname))
    offer(op, **options)
    assert outcome(op) == {"fast": reason}
    assert result(op) == 1


@pytest.mark.parametrize("target", ["fastlane:slow", "no_such_module:fast"])
def test_a_kernel_that_cannot_be_imported_gives_a_warning_and_harms_nothing(op: Any, target: str) -> None:
    offer(op, target=target)
    with pytest.warns(
        UserWarning, match=rf"kernel of {op._qualname} for cpu of plugin fast .* is not used: .*{target}"
    ):
        assert target in outcome(op)["fast"]
    assert result(op) == 1


def test_of_rivals_the_first_runs_or_the_one_asked_for(op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = torch.library.custom_op(f"kernel_tests::op{next(NUMBERS)}", mutates_args=())(plain)
    for each in (op, other):
        offer(each, "fast")
        offer(each, "slow", target="fastlane:rival")
    monkeypatch.setenv("TINIFY_KERNELS", f"{other._qualname}=slow")
    found = outcome(op)
    assert found["fast"] == ""
    assert re.fullmatch(
        rf"that of plugin fast .* is used: TINIFY_KERNELS={op._qualname}=slow picks this", found["slow"]
    )
    assert outcome(other) == {"fast": "TINIFY_KERNELS asks for slow", "slow": ""}
    assert (result(op), result(other)) == (2, 3)


@pytest.mark.parametrize("switch", ["scale_indexes", "=fast", "scale_indexes="])
def test_a_switch_that_cannot_be_read_is_named(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINIFY_KERNELS", switch)
    with pytest.raises(InputError, match=f"TINIFY_KERNELS has '{switch}': expected none, OP=none or OP=NAMESPACE"):
        activate()


def test_a_kernels_module_may_build_a_model(op: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import tinify, torch\ntinify.create_model('bmshj2018-factorized', N=8, M=8)\n\ndef fast(x): return x + 2\n"
    (tmp_path / "kernel_that_builds.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    offer(op, target="kernel_that_builds:fast")
    assert outcome(op) == {"fast": ""}
    assert result(op) == 2


SCALES = """
import torch, tinify
from tinify.entropy_models import GaussianConditional
from tinify.plugin import Kernel, hookimpl

calls = []
def fast(scales, table):
    calls.append(scales.shape)
    return torch.bucketize(scales.contiguous(), table[:-1], out_int32=True)

class Plugin:
    @hookimpl
    def tinify_kernels(self):
        return [Kernel("tinify::scale_indexes", "cpu", "__main__:fast")]

tinify.register(Plugin(), namespace="fast")
tinify.create_model("bmshj2018-factorized", N=8, M=8)
found = GaussianConditional([1.0, 2.0, 4.0]).build_indexes(torch.tensor([0.5, 3.0])).tolist()
assert (found, calls) == ([0, 2], [(2,)]), (found, calls)
"""


def test_building_a_model_gives_the_kernels_their_places() -> None:
    chosen = {**os.environ, "TINIFY_KERNELS": "scale_indexes=fast"}  # tinify has one of its own
    run = subprocess.run([sys.executable, "-c", SCALES], capture_output=True, text=True, check=False, env=chosen)
    assert (run.returncode, run.stderr) == (0, "")
