"""The conformance kit: whether the components and kernels of a plugin keep the promises of their kinds.

For pytest, in a plugin's own tests::

    from tinify.testing import component_checks

    @component_checks("acme")
    def test_conformance(check):
        check()

On the command line: ``python -m tinify.testing acme``. Fixtures for tests of plugins are in
:mod:`tinify.testing.plugin`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinify.errors import InputError

if TYPE_CHECKING:
    from tinify.testing.cases import Case, KernelCase
    from tinify.testing.run import CHECKS, Result, component_checks, run_checks

if not __debug__:
    raise InputError("the checks are assertions, which python -O leaves out: run python without -O")

_HOMES = {
    "CHECKS": "run",
    "Case": "cases",
    "KernelCase": "cases",
    "Result": "run",
    "component_checks": "run",
    "run_checks": "run",
}

__all__ = ["CHECKS", "Case", "KernelCase", "Result", "component_checks", "run_checks"]


def __getattr__(name: str) -> Any:
    # Late, so that a fresh process which only imports declarations does not import torch on the way.
    if name not in _HOMES:
        raise AttributeError(f"module 'tinify.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tinify.testing.{_HOMES[name]}"), name)
