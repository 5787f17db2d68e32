"""A recipe: one page of YAML that says all of a run, read like a spec, with every error at its line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinify.errors import InputError, TinifyError, UnknownNameError
from tinify.plugin import Parameter, Range
from tinify.spec import Spec
from tinify.spec.diagnostics import Diagnostics
from tinify.spec.emit import to_yaml
from tinify.spec.merge import open_file
from tinify.spec.parameters import suggest, value_of
from tinify.spec.reader import Node, read
from tinify.training.config import STAGE_SETTINGS, TrainingConfig, weights

VERSION = 1

_WORKERS = Parameter(int, limits=(Range(1, 256),))
_OWN = ("recipe", "spec", "preset", "set", "data", "validation", "workers")
_SCHEDULE = {"warmup": "warmup", "hold": "hold", "final": "final"}
_PLATEAU = {"patience": "patience", "factor": "factor"}
_GROUPED = {*_SCHEDULE, *_PLATEAU, "lr", "loss", "optimizer"}
_PLAIN = tuple(name for name in TrainingConfig.parameters() if name not in _GROUPED)
_KEYS = (*_OWN, "lambda", "loss", "optimizer", "schedule", "stages", *_PLAIN)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is written in a recipe; ``settings`` are those of :class:`TrainingConfig` that it has, under their names.

    >>> recipe = Recipe.loads("{recipe: 1, spec: mbt2018-mean, preset: q4, optimizer: {type: adamw, lr: 1e-3}}")
    >>> recipe.spec, recipe.settings
    ('mbt2018-mean', {'lr': 0.001, 'optimizer': 'adamw'})
    """

    spec: str
    preset: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    workers: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """The recipe in a file, its paths from its folder; :class:`~tinify.errors.SpecError` lists all errors."""
        return cls.loads(open_file(path, str(path)).text, str(path), path.parent)

    @classmethod
    def loads(cls, text: str, source: str = "<string>", folder: Path | None = None) -> Recipe:
        """The recipe in a text; ``source`` names it in errors."""
        return _Reader(text, source, folder or Path()).recipe()

    def to_yaml(self) -> str:
        """The recipe as a file whose paths are absolute; :meth:`loads` reads the same."""
        settings = dict(self.settings)
        plateau = {key: settings.pop(key) for key in _PLATEAU if key in settings}
        schedule = {key: settings.pop(key) for key in _SCHEDULE if key in settings}
        written: dict[str, Any] = {"recipe": VERSION, "spec": _absolute(self.spec), "preset": self.preset}
        written |= {"set": dict(self.parameters) or None, "data": [str(path.absolute()) for path in self.data] or None}
        written |= {"validation": [str(path.absolute()) for path in self.validation] or None, "workers": self.workers}
        rate = settings.pop("lmbda", None)
        written |= {
            "lambda": list(rate) if isinstance(rate, tuple) else rate,
            "loss": _unpacked(settings.pop("loss", None)),
        }
        optimizer = _unpacked(settings.pop("optimizer", None))
        own = optimizer if isinstance(optimizer, dict) else {"type": optimizer} if optimizer else {}
        written["optimizer"] = own | ({"lr": settings.pop("lr")} if "lr" in settings else {}) or None
        written["schedule"] = schedule | ({"plateau": plateau} if plateau else {}) or None
        written["stages"] = [dict(stage) for stage in settings.pop("stages", ())] or None
        return to_yaml({key: value for key, value in (written | settings).items() if value is not None})


def is_recipe(argument: str) -> bool:
    """Whether a command's argument names a recipe, rather than a spec.

    >>> is_recipe("mbt2018-mean")
    False
    """
    path = Path(argument)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    keys = read(open_file(path, argument).text, argument).mapping
    return "tinify" not in keys and ("recipe" in keys or "spec" in keys)


class _Reader:
    """Checks the nodes of one recipe, and collects its settings."""

    def __init__(self, text: str, source: str, folder: Path) -> None:
        self.root, self.folder = read(text, source), folder
        self.problems = Diagnostics({source: text})
        self.known = TrainingConfig.parameters()
        self.settings: dict[str, Any] = {}

    def recipe(self) -> Recipe:
        self.version()
        self.unknown(self.root, _KEYS, "a recipe")
        parts = self.root.mapping
        for name in _PLAIN:
            self.take(name, parts.get(name))
        self.rate(parts.get("lambda"))
        self.take("loss", _packed(parts.get("loss")))
        self.optimizer(parts.get("optimizer"))
        self.schedule(parts.get("schedule"))
        self.stages(parts.get("stages"))
        spec = self.spec(parts.get("spec"))
        parameters = (
            parts["set"].plain() if isinstance(parts.get("set", self.root).value, dict) and "set" in parts else {}
        )
        found = Recipe(
            spec=spec,
            preset=parts["preset"].plain() if "preset" in parts else None,
            parameters=parameters,
            data=self.paths("data"),
            validation=self.paths("validation"),
            workers=self.value(parts["workers"], _WORKERS, "workers") if "workers" in parts else None,
            settings=dict(sorted(self.settings.items())),
        )
        self.problems.check()
        return found

    def version(self) -> None:
        node = self.root.mapping.get("recipe")
        if node is None or type(node.value) is not int or node.value != VERSION:
            where, got = (node.location, f", got {node.plain()!r}") if node else (self.root.location, "")
            newer = node is not None and type(node.value) is int and node.value > VERSION
            hint = "upgrade tinify to read it" if newer else f"write `recipe: {VERSION}` first"
            self.problems.fatal("V001", where, f"this tinify reads recipes of version {VERSION}{got}", hint)

    def unknown(self, node: Node, keys: tuple[str, ...], what: str) -> None:
        for key in node.mapping:
            if key not in keys:
                self.problems.error("N002", node.keys[key], f"{what} has no key {key!r}", suggest(key, keys))

    def mapping(self, node: Node | None, keys: tuple[str, ...], what: str) -> dict[str, Node]:
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.problems.error("T001", node.location, f"{what} is a mapping, got {node.plain()!r}", _braces(keys))
        self.unknown(node, keys, what)
        return node.mapping

    def value(self, node: Node, parameter: Parameter, what: str) -> Any:
        return value_of(node, parameter, {}, what, self.problems)

    def take(self, name: str, node: Node | None) -> None:
        if node is not None:
            self.settings[name] = self.value(node, self.known[name], name)

    def rate(self, node: Node | None) -> None:
        if node is not None:
            try:
                self.settings["lmbda"] = weights(node.plain())
            except InputError as error:
                message = str(error).replace("lmbda", "lambda", 1)
                self.problems.error("T001", node.location, message, "write 0.013, or [0.0018, 0.18]")

    def optimizer(self, node: Node | None) -> None:
        if node is None:
            return
        own = dict(node.mapping)
        self.take("lr", own.pop("lr", None))
        arguments = Node(own, node.location) if isinstance(node.value, dict) else node
        if isinstance(node.value, dict) and not own:  # only a learning rate
            return
        from torch import nn, zeros

        from tinify.training.optimizers import build_optimizer

        text = own["type"] if own.keys() == {"type"} else _packed(arguments) or node
        try:
            build_optimizer(str(text.value), [nn.Parameter(zeros(2, 2))], 1.0)
            self.settings["optimizer"] = text.value
        except UnknownNameError as error:
            self.problems.error("R001", own.get("type", node).location, str(error))
        except TinifyError as error:
            self.problems.error("P001", node.location, str(error))

    def schedule(self, node: Node | None) -> None:
        parts = self.mapping(node, (*_SCHEDULE, "plateau"), "schedule")
        for key, name in _SCHEDULE.items():
            self.take(name, parts.get(key))
        for key, part in self.mapping(parts.get("plateau"), tuple(_PLATEAU), "plateau").items():
            if key in _PLATEAU:
                self.take(_PLATEAU[key], part)

    def stages(self, node: Node | None) -> None:
        if node is None:
            return
        if not isinstance(node.value, list):
            self.problems.error(
                "T001", node.location, f"stages is a list, got {node.plain()!r}", "write [{steps: 1000}]"
            )
            return
        found = []
        for child in node.value:
            parts = self.mapping(child, STAGE_SETTINGS, "a stage")
            if "steps" not in parts and isinstance(child.value, dict):
                self.problems.error("P002", child.location, "a stage needs steps", "write {steps: 1000}")
            known = {name: part for name, part in parts.items() if name in STAGE_SETTINGS}
            found.append({name: self.value(part, self.known[name], name) for name, part in known.items()})
        self.settings["stages"] = tuple(found)
        if "steps" not in self.root.mapping and all(isinstance(stage.get("steps"), int) for stage in found):
            self.settings["steps"] = sum(stage["steps"] for stage in found)

    def spec(self, node: Node | None) -> str:
        if node is None or not isinstance(node.value, str):
            where = node.location if node else self.root.location
            self.problems.error(
                "N002", where, "a recipe needs a spec", "write `spec: NAME`, one of `tinify list specs`"
            )
            return ""
        name = node.value
        if name.endswith((".yaml", ".yml")):
            name = str(self.folder / name)
        try:
            spec = Spec.load(name)
        except UnknownNameError as error:
            self.problems.error("V004", node.location, str(error))
            return name
        parts = self.root.mapping
        preset, chosen = parts.get("preset"), parts.get("set")
        if preset and preset.plain() not in [*spec.presets]:
            message = f"{spec.name} has no preset {preset.plain()!r}"
            self.problems.error("V004", preset.location, message, suggest(str(preset.plain()), spec.presets))
        if chosen:
            self.mapping(chosen, tuple(spec.parameters), f"set of {spec.name}")
        return name

    def paths(self, key: str) -> tuple[Path, ...]:
        node = self.root.mapping.get(key)
        if node is None:
            return ()
        nodes = node.value if isinstance(node.value, list) else [node]
        wrong = [one for one in nodes if not isinstance(one.value, str) or not one.value]
        for one in wrong:
            self.problems.error("T001", one.location, f"{key} is a folder, or a list of them; got {one.plain()!r}")
        return () if wrong else tuple(self.folder / str(one.value) for one in nodes)


def _packed(node: Node | None) -> Node | None:
    """A component written as a mapping, as the text that settings hold."""
    if node is None or not isinstance(node.value, dict):
        return node
    return Node(json.dumps(node.plain()), node.location)


def _unpacked(text: str | None) -> Any:
    return read(f"component: {text}", "a setting").mapping["component"].plain() if text else text


def _absolute(spec: str) -> str:
    return os.path.abspath(spec) if spec.endswith((".yaml", ".yml")) else spec


def _braces(keys: tuple[str, ...]) -> str:
    return f"write {{{', '.join(f'{key}: ...' for key in keys[:2])}}}"
