"""Running the checks: for pytest, for a program, and as a table of results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tinify.errors import InputError, PluginError, UnknownNameError
from tinify.plugin import Component, Kernel, Sig
from tinify.registry import get_registry
from tinify.testing.cases import Case, KernelCase, cases_of
from tinify.testing.coders import CODER_CHECKS
from tinify.testing.declarations import DECLARATION_CHECKS
from tinify.testing.entropy_models import ENTROPY_MODEL_CHECKS
from tinify.testing.kernels import KERNEL_CHECKS, available, sample_of
from tinify.testing.latent_codecs import LATENT_CODEC_CHECKS
from tinify.testing.layers import LAYER_CHECKS
from tinify.testing.losses import LOSS_CHECKS
from tinify.testing.models import MODEL_CHECKS
from tinify.testing.picture_codecs import PICTURE_CODEC_CHECKS, usable

Check = Callable[[Any], None]

CHECKS: dict[str, tuple[Check, ...]] = {
    "layer": (*DECLARATION_CHECKS, *LAYER_CHECKS),
    "transform": (*DECLARATION_CHECKS, *LAYER_CHECKS),
    "entropy_model": (*DECLARATION_CHECKS, *ENTROPY_MODEL_CHECKS),
    "latent_codec": (*DECLARATION_CHECKS, *LATENT_CODEC_CHECKS),
    "coder": (*DECLARATION_CHECKS, *CODER_CHECKS),
    "model": (*DECLARATION_CHECKS, *MODEL_CHECKS),
    "loss": (*DECLARATION_CHECKS, *LOSS_CHECKS),
    "picture_codec": (*DECLARATION_CHECKS, *PICTURE_CODEC_CHECKS),
    "kernel": KERNEL_CHECKS,
}
"""The checks of each kind of component, and of kernels. Each takes a case and raises AssertionError."""

Cases = Mapping[str, Sequence[Mapping[str, Any]] | Callable[..., Any]]
Expected = Mapping[str, Mapping[str, str]]
Inputs = Mapping[str, Sig | Sequence[Sig | None]]


@dataclass(frozen=True)
class Result:
    """What became of one check: ``status`` is "passed", "failed" or "expected" (a failure that was expected)."""

    component: str
    case: str
    check: str
    status: str
    detail: str = ""


@dataclass(frozen=True)
class Job:
    """One check of one case; ``expected`` is the reason why it is expected to fail, or ""."""

    case: Case | KernelCase
    check: Check
    expected: str = ""

    @property
    def id(self) -> str:
        """``acme/gdn[groups=4]-check_shape_rule``, for kinds other than layers after the kind."""
        kind = getattr(self.case.component, "kind", "kernel")
        return f"{'' if kind == 'layer' else kind + ':'}{self.case.label}-{self.check.__name__}"

    def __call__(self) -> None:
        """Runs the check, apart from the random numbers and the gradients of the caller."""
        with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated versions are checked as well
            torch.manual_seed(0)
            self.check(self.case)

    def result(self) -> Result:
        """Runs the check and says what became of it."""
        made = partial(Result, str(self.case.component), self.case.label, self.check.__name__)
        try:
            self()
        except Exception as error:
            detail = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            return made("expected", self.expected) if self.expected else made("failed", detail)
        if self.expected:
            return made("failed", f"passes, although expected to fail ({self.expected}): expect that no longer")
        return made("passed")


def jobs(
    name: str | None = None,
    cases: Cases | None = None,
    expected_failures: Expected | None = None,
    inputs: Inputs | None = None,
) -> list[Job]:
    """Every check of what ``name`` means: a component, a plugin's namespace, ``.`` or None for tinify's own.

    Keys of ``cases``, ``expected_failures`` and ``inputs`` are names, or ``kind:name`` where two kinds share one;
    those of ``expected_failures`` may also be a case's label.
    """
    cases, expected_failures, inputs = cases or {}, expected_failures or {}, inputs or {}
    parts = _parts(name)
    known = {key for part in parts for key in _keys(part)}
    for key in (*cases, *inputs):
        if key not in known:
            raise UnknownNameError.among("component to check", key, known)
    found: list[Job] = []
    used: set[tuple[str, str]] = set()
    for part in parts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated versions are checked as well
            made = list(_cases(part, cases, inputs))
        for case in made:
            for check in CHECKS[getattr(part, "kind", "kernel")]:
                reasons = {key: expected_failures.get(key, {}) for key in (case.label, *_keys(part))}
                at = next((key for key, reason in reasons.items() if check.__name__ in reason), "")
                used.add((at, check.__name__))
                found.append(Job(case, check, reasons[at][check.__name__] if at else ""))
    for key, reasons_given in expected_failures.items():
        for check_name in reasons_given:
            if (key, check_name) not in used:
                raise InputError(f"expected_failures has {check_name} of {key!r}: there is no such check")
    return found


def run_checks(
    name: str | None = None,
    on_fail: str = "raise",
    *,
    cases: Cases | None = None,
    expected_failures: Expected | None = None,
    inputs: Inputs | None = None,
) -> list[Result]:
    """Checks a component, or all that a namespace offers (``.`` for tinify's own), and returns a result for each check.

    With ``on_fail="raise"`` the first failure is raised as AssertionError; with ``"report"`` they are in the results.
    Raises :class:`~tinify.errors.UnknownNameError` for a name that nothing has, and
    :class:`~tinify.errors.PluginError` for a plugin that is not ok.

    >>> {result.status for result in run_checks("relu", on_fail="report", cases={"relu": []})}
    set()
    """
    if on_fail not in ("raise", "report"):
        raise InputError(f"on_fail {on_fail!r}: expected 'raise' or 'report'")
    results = []
    for job in jobs(name, cases, expected_failures, inputs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(job.result())
        if on_fail == "raise" and results[-1].status == "failed":
            raise AssertionError(f"{job.id}: {results[-1].detail}")
    return results


def component_checks(
    namespace: str | None = None,
    cases: Cases | None = None,
    expected_failures: Expected | None = None,
    inputs: Inputs | None = None,
) -> Callable[[Any], Any]:
    """Parametrises a pytest test with every check of a plugin's components and kernels (None: tinify's own).

    ``cases`` says which arguments a component is checked with (else its defaults); for a kernel, keyed by its operator,
    it is a function ``sample(shape, dtype)`` that returns arguments of the operator. ``inputs`` gives the :class:`Sig`
    of a component's inputs, where those tried do not suit it. ``expected_failures`` gives reasons, and is strict.

    .. code-block:: python

        @component_checks("acme", cases={"acme/gdn": [{"groups": 1}, {"groups": 4}]})
        def test_conformance(check):
            check()
    """
    import pytest

    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                job,
                id=job.id,
                marks=[pytest.mark.xfail(strict=True, reason=job.expected)] if job.expected else [],
            )
            for job in jobs(namespace, cases, expected_failures, inputs)
        ],
    )


def _parts(name: str | None) -> list[Component | Kernel]:
    registry = get_registry()
    parts: list[Component | Kernel] = [*registry.components(), *registry.kernels()]
    if name in (None, "."):
        return [part for part in parts if part.provider and part.provider.at_home]
    assert name is not None
    owned = [part for part in parts if part.provider and part.provider.namespace == name]
    for plugin in registry.plugins:
        if plugin.namespace == name and plugin.status != "ok":
            raise PluginError(f"{plugin} is {plugin.status}: {plugin.reason}")
    found = [part for part in parts if name in _keys(part)] or owned
    if not found and not any(plugin.namespace == name for plugin in registry.plugins):
        names = {key for part in parts for key in _keys(part)} | {plugin.namespace for plugin in registry.plugins}
        raise UnknownNameError.among("component or plugin", name, names)
    return found


def _keys(part: Component | Kernel) -> tuple[str, ...]:
    """The names that ``cases`` and others may use for a part."""
    if isinstance(part, Kernel):
        return (part.op,)
    return f"{part.kind}:{part.name}", part.name, f"{part.kind}:{part.key}", part.key


def _cases(part: Component | Kernel, cases: Cases, inputs: Inputs) -> Iterator[Case | KernelCase]:
    given = next((cases[key] for key in _keys(part) if key in cases), None)
    if isinstance(part, Kernel):
        if available(part):
            yield KernelCase(part, sample_of(part, given if callable(given) else None))
        return
    if callable(given):
        raise InputError(f"cases[{part.name!r}] is a function: expected a list of arguments")
    found = cases_of(part, given, next((inputs[key] for key in _keys(part) if key in inputs), None))
    yield from found if part.kind != "picture_codec" else filter(usable, found)
