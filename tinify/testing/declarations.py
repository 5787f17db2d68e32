"""Checks of every declaration: it agrees with its target, imports lightly, and means the same in every spelling."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tinify import builder
from tinify.plugin import REQUIRED
from tinify.spec import DiagnosedSpecError, elaborate_part
from tinify.spec.emit import to_yaml
from tinify.spec.reader import read
from tinify.testing.cases import Case, parameters_of
from tinify.testing.fresh import heavy_imports

_FIRST = {"layer": "in_channels", "transform": "in_channels", "entropy_model": "channels"}


def check_description(case: Case) -> None:
    """The declaration has a summary, and a name in its plugin's namespace."""
    part = case.component
    written = part.summary and not part.summary.startswith(f"{part.declaration.__name__}(")  # which a dataclass writes
    assert written, f"{part} has no summary: give its declaration a docstring, whose first line is listed"
    assert len(part.summary) <= 120, f"the summary of {part} is {len(part.summary)} characters long: 120 are listed"
    provider = part.provider
    assert provider, f"{part} is not registered: return it from the hook tinify_components"
    own = provider.at_home or part.name.startswith(f"{provider.namespace}/")
    assert own, f"{part} is outside the namespace {provider.namespace!r}"


def check_signature(case: Case) -> None:
    """The target takes every parameter and slot by name, with the declared defaults, and needs nothing else."""
    part = case.component
    takes = {parameter.name: parameter for parameter in parameters_of(part.load())}
    rest = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in takes.values())
    positional = list(takes)[:1] if part.kind in _FIRST else []
    if part.kind in _FIRST:
        assert positional == [_FIRST[part.kind]], (
            f"the target {part.target} is called with the channels first: name that argument {_FIRST[part.kind]!r}"
        )
    for key in (*part.params, *part.slots):
        assert key in takes or rest, f"the target {part.target} takes no {key!r}, which {part} declares"
    for key, parameter in part.params.items():
        if key not in takes:
            continue
        default = takes[key].default
        if parameter.default is REQUIRED:
            assert default is inspect.Parameter.empty, (
                f"{key!r} of {part} is declared without a default, but {part.target} has one: {default!r}"
            )
        elif default is not inspect.Parameter.empty:
            assert _same(parameter.convert, default, parameter.default), (
                f"the default of {key!r} is {parameter.default!r} in the declaration of {part}, "
                f"{default!r} in {part.target}"
            )
    declared = {*part.params, *part.slots, *positional}
    for key, taken in takes.items():
        variable = taken.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        needed = taken.default is inspect.Parameter.empty and not variable
        assert not needed or key in declared, f"the target {part.target} needs {key!r}, which {part} does not declare"


def check_light_import(case: Case) -> None:
    """The plugin's declarations are imported, in a fresh process, without torch, triton or numba."""
    heavy = heavy_imports(case.component)
    assert not heavy, (
        f"the module that declares {case.component} imports {', '.join(heavy)}: "
        "keep declarations apart from their targets, for every listing imports them"
    )


def check_spellings(case: Case) -> None:
    """The canonical form elaborates to itself, as plain data, as YAML and as the builder makes it."""
    canonical = case.part().canonical
    bare = pinned(canonical)
    text = read(to_yaml({"part": bare}), "<case>").mapping["part"]
    built = builder.node(bare["type"], **{key: value for key, value in bare.items() if key != "type"})
    for way, node in (("plain data", bare), ("YAML", text), ("calls of the builder", built)):
        again = elaborate_part(case.component.kind, node, *case.inputs).canonical
        assert again == canonical, f"{case.label} means {canonical}, but {again} when that is written as {way}"


def check_unknown_parameter(case: Case) -> None:
    """A misspelt parameter is refused, at its place, with the right one suggested."""
    for key in (*case.component.params, *case.component.slots):
        wrong = f"{key}_x"
        hints = []
        try:
            elaborate_part(case.component.kind, {**case.node, wrong: 1}, *case.inputs)
        except DiagnosedSpecError as error:
            hints = [one.hint for one in error.diagnostics if one.code == "P001"]
        assert hints, f"{case.label} takes a parameter {wrong!r} that it does not declare"
        assert key in hints[0], f"for {wrong!r}, {case.label} does not suggest {key!r} but says: {hints[0]}"


def pinned(canonical: Any) -> Any:
    """A canonical form as a spec would write it, with every version."""
    if isinstance(canonical, list):
        return [pinned(child) for child in canonical]
    if not isinstance(canonical, dict):
        return canonical
    bare = {key: pinned(value) for key, value in canonical.items() if key not in ("version", "kind", "in")}
    return {**bare, "type": f"{canonical['type']}@{canonical['version']}"} if "version" in canonical else bare


def _same(convert: Callable[[Any], Any], one: Any, other: Any) -> bool:
    try:
        return bool(convert(one) == other)
    except ValueError:
        return False


DECLARATION_CHECKS = (check_description, check_signature, check_light_import, check_spellings, check_unknown_parameter)
