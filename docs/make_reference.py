"""Writes docs/reference.md from the code: ``python docs/make_reference.py``, without torch or third-party plugins."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tinify import errors, plugin
from tinify.cli import cli
from tinify.environment import VARIABLES
from tinify.errors import TinifyError
from tinify.plugin import KINDS, REQUIRED, RESERVED, Component, Hooks, component
from tinify.registry import Registry
from tinify.spec.diagnostics import CODES

PAGE = Path(__file__).parent / "reference.md"
HEAD = """# Reference

Written by `python docs/make_reference.py` from the code; a test keeps it current. How these things are used is shown in
[plugins](plugins.md) and [specs](specs.md).
"""
# The classes that a plugin's author meets, in the order of need.
CLASSES = ("Slot", "Sig", "ShapeError", "Cost", "Range", "MultipleOf", "Kernel", "Command", "Plugin")


def reference() -> str:
    """The whole page."""
    registry = Registry(only=(), disabled=(), strict=False)
    parts = (
        hooks(),
        declarations(),
        components(registry),
        section("Errors of specs", table(("code", "meaning"), ((f"`{code}`", text) for code, text in CODES.items()))),
        section("Exceptions", exceptions()),
        section("Environment variables", table(("variable", "meaning"), variables())),
        section("Command line", commands()),
    )
    return "\n".join((HEAD, *parts)).rstrip() + "\n"


def hooks() -> str:
    """Every hook, with what it returns."""
    found = [(name, hook) for name, hook in vars(Hooks).items() if name.startswith("tinify_")]
    rows = ((f"`{name}`", f"`{hook.__annotations__['return']}`", prose(hook)) for name, hook in found)
    words = "A plugin's module may have these functions, each with `@hookimpl` before it and without arguments.\n\n"
    return section("Hooks", words + table(("hook", "returns", ""), rows))


def declarations() -> str:
    """``component``, and the classes that stand around it."""
    kinds, reserved = names(KINDS), names(sorted(RESERVED))
    words = [f"`@component{arguments(component)}`", prose(component), f"Kinds: {kinds}."]
    words.append(f"Names that no parameter or slot may have: {reserved}, and of parameters `shape` and `cost`.")
    return section("Declarations", "\n\n".join((*words, *(about(getattr(plugin, name)) for name in CLASSES))) + "\n")


def about(cls: type) -> str:
    """A class: how it is constructed, what it is, and what else it offers."""
    offered = [(name, one) for name, one in vars(cls).items() if name[0] != "_"]
    methods = [(f"`{name}{arguments(one)}`", prose(one)) for name, one in offered if inspect.isfunction(one)]
    properties = [(f"`{name}`", prose(one)) for name, one in offered if isinstance(one, property)]
    lines = [f"* {': '.join(filter(None, words))}" for words in (*methods, *properties)]
    text = f"### {cls.__name__}\n\n`{cls.__name__}{arguments(cls)}`\n\n{prose(cls)}"
    return "\n".join([text, "", *lines] if lines else [text])


def arguments(one: Callable[..., Any]) -> str:
    """A signature without types."""
    found = inspect.signature(one)
    plain = [part.replace(annotation=part.empty) for name, part in found.parameters.items() if name != "self"]
    return str(found.replace(parameters=plain, return_annotation=found.empty))


def components(registry: Registry) -> str:
    """tinify's own components, by kind."""
    lines = []
    for kind in KINDS:
        found = [part for part in registry.components(kind) if part.provider and part.provider.at_home]
        lines += [f"### {kind}\n", *map(described, found)] if found else []
    return section(
        "Components", "Those that ship with tinify; `tinify show NAME` tells as much of any.\n\n" + "\n".join(lines)
    )


def described(part: Component) -> str:
    """A component, its parameters and its slots."""
    lines = [f"**`{part.name}`** {part.summary}\n"]
    for name, taken in part.params.items():
        default = "" if taken.default is REQUIRED else f", default `{written(taken.default)}`"
        lines.append(f"* `{name}`: {taken}{default}{': ' + taken.help if taken.help else ''}")
    for name, slot in part.slots.items():
        filled = f", default `{slot.default}`" if slot.default else ", may be left out" if slot.optional else ""
        lines.append(
            f"* `{name}`: a slot of kind {slot.kind}{filled}{f', for each of {slot.each}' if slot.each else ''}"
        )
    return "\n".join([*lines, ""] if len(lines) > 1 else lines)


def written(value: Any) -> str:
    """A value as a spec would have it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def exceptions() -> str:
    """Every exception that is raised on purpose."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, TinifyError)]
    return table(("exception", "meaning"), ((f"`{one.__name__}`", prose(one)) for one in found))


def variables() -> Iterator[tuple[str, str]]:
    """The environment variables, by name."""
    return ((f"`{name}`", text) for name, text in VARIABLES.items())


def commands() -> str:
    """The help of the command line: its own options, and a line for each command of its own."""
    with cli.make_context("tinify", [], resilient_parsing=True, terminal_width=100) as context:
        own, _, _ = cli.get_help(context).partition("Commands of plugins:")
    return f"```text\n{own.rstrip()}\n```\n"


def section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *(tuple(map(cell, row)) for row in rows))]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]]) + "\n"


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def names(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def prose(one: Any) -> str:
    """A docstring without its examples, as Markdown."""
    text = (inspect.getdoc(one) or "").partition("\n>>> ")[0].strip()
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
