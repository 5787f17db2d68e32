"""``tinify doctor``: what is amiss with this installation; of torch it asks for nothing but the kernels."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

from tinify import environment
from tinify.cli.options import json_option
from tinify.cli.tables import echo_table
from tinify.cli.validate import diagnose
from tinify.errors import InputError, PluginError
from tinify.host import GROUP
from tinify.machine import release
from tinify.plugin.offers import HOME, normal
from tinify.registry import Registry, get_registry

UNHEALTHY = 1
_NAMED = (HOME, "torch", "numpy", "numba", "triton")
# What each extra gives, for those who wonder whether they need it.
_EXTRAS = {
    "train": "several devices, TensorBoard",
    "eval": "figures of results, JPEG XL",
    "gpu": "Triton's kernels",
    "pointcloud": ".ply and .off files",
    "video": "video files",
}


class Finding(NamedTuple):
    """One line of the report: ``state`` is ``"ok"``, ``"warning"`` or ``"problem"``."""

    state: str
    text: str


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    """Look for what is amiss with this installation. Leaves with status 1 if something is."""
    registry = _registry()
    findings = [
        *_versions(),
        *_requirements(),
        *_rivals(),
        *_entry_points(),
        *_plugins(registry),
        *_specs(registry),
        *_kernels(registry),
        *_arithmetic(),
        *_variables(registry),
    ]
    if as_json:
        click.echo(json.dumps([found._asdict() for found in findings], indent=1))
    else:
        echo_table([found._asdict() for found in findings])
    click.get_current_context().exit(UNHEALTHY if any(found.state == "problem" for found in findings) else 0)


def _registry() -> Registry:
    try:
        return get_registry()
    except PluginError:  # strict, which is no reason to say less than all
        return Registry(strict=False)


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is not there, or it has been replaced
        return False


def _versions() -> Iterator[Finding]:
    found = ((name, release(name)) for name in _NAMED)
    words = [f"Python {platform.python_version()}", *(f"{name} {version}" for name, version in found if version)]
    yield Finding("ok", ", ".join(words))


def _requirements() -> Iterator[Finding]:
    """What tinify asks for and has not, or has in a version that does not fit."""
    from packaging.requirements import Requirement

    if release(HOME) is None:
        yield Finding("warning", f"{HOME} has no metadata here, so its plugins are not found: frozen, or not installed")
        return
    extras = metadata.metadata(HOME).get_all("Provides-Extra") or []
    for text in metadata.requires(HOME) or ():
        needed = Requirement(text)
        extra = next((one for one in extras if needed.marker and needed.marker.evaluate({"extra": one})), "")
        if needed.marker and not needed.marker.evaluate({"extra": extra}):
            continue
        version, wanted = release(needed.name), f"{needed.name}{needed.specifier}"
        if version is None and extra:
            gives = f" ({_EXTRAS[extra]})" if extra in _EXTRAS else ""
            missing = f"the extra {extra}{gives} is not installed: it needs {wanted}"
            yield Finding("ok", f"{missing}; python -m pip install '{HOME}[{extra}]'")
        elif version is None:
            yield Finding("problem", f"{needed.name} is not installed: python -m pip install '{wanted}'")
        elif not needed.specifier.contains(version, prereleases=True):
            yield Finding("problem", f"{needed.name} {version} does not fit: python -m pip install '{wanted}'")


def _rivals() -> Iterator[Finding]:
    """Distributions that stand in each other's way."""
    places: dict[str, set[str]] = {}
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if name:  # a folder of metadata that was half removed has none
            places.setdefault(normal(name), set()).add(f"{found.version} in {_place(found)}")
    if "tinify" in places:
        yield Finding(
            "problem",
            "the distribution 'tinify', another company's client, is installed and writes to the same folder: "
            f"python -m pip uninstall tinify, then python -m pip install --force-reinstall {HOME}",
        )
    if len(places.get(HOME, ())) > 1:
        yield Finding("warning", f"{HOME} is installed more than once: {', '.join(sorted(places[HOME]))}; keep one")


def _place(found: metadata.Distribution) -> str:
    """The folder of a distribution's files: of an editable install the checkout, which may have metadata of its own."""
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable")
    folder = url2pathname(urlsplit(origin["url"]).path) if editable else str(found.locate_file(""))
    return os.path.realpath(folder)


def _entry_points() -> Iterator[Finding]:
    for point in metadata.entry_points(group=GROUP):
        module = point.value.partition(":")[0].strip()
        if not _there(module.partition(".")[0]):
            owner = point.dist.name if point.dist else "its distribution"
            yield Finding(
                "problem",
                f"plugin {point.name} names the module {module!r}, which is not there: a stale entry point; "
                f"install {owner} again, or uninstall it",
            )


def _plugins(registry: Registry) -> Iterator[Finding]:
    for plugin in registry.plugins:
        if plugin.status != "ok":
            state = "ok" if plugin.status == "disabled" else "problem"
            yield Finding(state, f"{plugin} is {plugin.status}: {plugin.reason}")
    yield Finding("ok", f"{sum(plugin.status == 'ok' for plugin in registry.plugins)} plugins are loaded")


def _specs(registry: Registry) -> Iterator[Finding]:
    for name, owner in registry.spec_owners().items():
        try:
            errors = diagnose(name).errors
        except PluginError:  # strict, and said already
            return
        if errors:
            yield Finding("problem", f"spec {name} of {owner} has {len(errors)} errors: tinify validate {name}")


def _kernels(registry: Registry) -> Iterator[Finding]:
    try:
        from tinify.kernels import activate
    except ImportError as error:
        yield Finding("ok", f"no kernel is used: {error}")
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # of those that are told of below
            made = activate(registry)
    except InputError as error:
        yield Finding("problem", str(error))
        return
    alike: dict[tuple[str, str], list[str]] = {}
    for one in made:
        state = "active" if one.active else f"not used, {one.reason}"
        whose = f"kernels for {one.kernel.device} of {one.kernel.provider}, {state}"
        alike.setdefault(("problem" if one.broken else "ok", whose), []).append(one.kernel.op)
    yield from (Finding(state, f"{whose}: {', '.join(ops)}") for (state, whose), ops in alike.items())


def _arithmetic() -> Iterator[Finding]:
    """Whether sums are exact here in each carrier of portable models."""
    try:
        import torch

        from tinify.exact import CARRIERS, probe
    except ImportError:  # which the kernels have told
        return
    for name in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
        rounded = [carrier for carrier in CARRIERS if not probe(torch.device(name), carrier)]
        if rounded:
            used = (
                "float64 on the CPU chooses the tables of portable models"
                if "float32" in rounded
                else "float32 is used"
            )
            yield Finding("warning", f"sums of integers are not exact on {name} in {', '.join(rounded)}: {used}")
        else:
            yield Finding("ok", f"sums of integers are exact on {name} in {', '.join(CARRIERS)}")


def _variables(registry: Registry) -> Iterator[Finding]:
    known = {normal(name) for plugin in registry.plugins for name in (plugin.namespace, plugin.distribution)}
    for name, text in environment.VARIABLES.items():
        if environment.read(name) is None:
            continue
        yield Finding("ok", f"{name}={environment.read(name)} ({text})")
        for word in environment.words(name) or () if name.endswith("PLUGINS") and "STRICT" not in name else ():
            if normal(word) not in known:
                yield Finding("warning", f"{name} names {word!r}, and no plugin of that name is installed")
    for name in sorted(os.environ):
        if name.startswith("TINIFY_") and name not in environment.VARIABLES:
            listing = ", ".join(environment.VARIABLES)
            yield Finding("warning", f"{name} is set, but tinify reads no such variable; it reads {listing}")
