"""The conformance kit catches what it is for: every mutant by its check, and no correct twin by any."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tinify import registry
from tinify.testing.declarations import DECLARATION_CHECKS
from tinify.testing.fresh import load_module
from tinify.testing.plugin import PluginHost
from tinify.testing.run import CHECKS, jobs

HERE = Path(__file__).parent
DECLARED = load_module("mutants", str(HERE / "mutants.py"))


@pytest.fixture(scope="module", autouse=True)
def mutants() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        host = PluginHost()
        host.add(DECLARED, "mutant")
        host.add(importlib.import_module("mutant_parts").Heavy, "heavy")
        patch.setattr(registry, "_current", host.registry)
        yield DECLARED
        del sys.modules["mutant_parts"]


@pytest.mark.parametrize("name", DECLARED.CAUGHT_BY)
def test_a_mutant_is_caught_by_its_check(name: str) -> None:
    (job,) = [job for job in jobs(name) if job.check.__name__ == DECLARED.CAUGHT_BY[name]]
    with pytest.raises(AssertionError, match=r".{30}"):
        job()


@pytest.mark.parametrize("name", DECLARED.TWINS)
def test_a_correct_twin_passes(name: str) -> None:
    results = [job.result() for job in jobs(name)]
    assert len(results) >= 5
    assert [result for result in results if result.status != "passed"] == []


def test_every_mutant_is_declared_and_every_declaration_is_a_mutant_or_a_twin() -> None:
    found = registry.get_registry()
    names = {part.name for part in found.components() if part.name.startswith(("mutant/", "heavy/"))}
    names |= {kernel.op for kernel in found.kernels() if kernel.op.startswith("mutant::")}
    assert names == {*DECLARED.CAUGHT_BY, *DECLARED.TWINS}


# What no declaration that the host accepts can break: they stand guard over the host.
OF_THE_HOST = {"check_spellings", "check_unknown_parameter"}


@pytest.mark.parametrize("kind", [kind for kind in CHECKS if kind != "transform"])
def test_every_check_has_a_mutant(kind: str) -> None:
    shared = OF_THE_HOST if kind == "layer" else {check.__name__ for check in DECLARATION_CHECKS}
    found = registry.get_registry()
    kinds = {part.name: part.kind for part in found.components()} | {one.op: "kernel" for one in found.kernels()}
    caught = {check for name, check in DECLARED.CAUGHT_BY.items() if kinds[name] == kind}
    assert caught == {check.__name__ for check in CHECKS[kind]} - shared


@pytest.mark.parametrize("kind", CHECKS)
def test_checks_of_one_kind_have_names_of_their_own(kind: str) -> None:
    names = [check.__name__ for check in CHECKS[kind]]
    assert len(set(names)) == len(names)
    assert all(check.__doc__ for check in CHECKS[kind])
