"""The package that ``tinify plugin new`` writes: one layer, with tests that pass as generated."""

from __future__ import annotations

from string import Template

# Paths and texts; $name is the namespace, $version that of this tinify.
_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "tinify-$name"
version = "0.1.0"
description = "A plugin of tinify"
requires-python = ">=3.11"
dependencies = ["tinify-codec>=$version"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."tinify.plugins"]
$name = "tinify_$name"

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """\
# tinify-$name

A plugin of tinify: the layer `$name/gain`.

```sh
pip install -e .[test]
tinify plugins
tinify show $name/gain
tinify plugin check $name
python -m pytest
```
""",
    "src/tinify_$name/__init__.py": '''\
"""What tinify is told of this plugin's parts. Keep it light: every listing imports it, so no torch here."""

from __future__ import annotations

from typing import Annotated

from tinify.plugin import Cost, Range, Sig, component, hookimpl


@component("layer", "$name/gain", target="tinify_$name.layers:Gain")
class Gain:
    """A learned factor for each channel."""

    start: Annotated[float, Range(0.001, 1000.0), "the factor before training"] = 1.0

    def shape(self, x: Sig) -> Sig:
        return x

    def cost(self, x: Sig) -> Cost:
        return Cost(parameters=x.channels)


@hookimpl
def tinify_components() -> list[type]:
    return [Gain]
''',
    "src/tinify_$name/layers.py": '''\
"""The layers themselves, imported when a model that has one is built."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gain(nn.Module):
    """Multiplies each channel by a factor of its own."""

    def __init__(self, in_channels: int, start: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((in_channels, 1, 1), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor
''',
    "tests/test_conformance.py": '''\
"""The parts keep the promises of their kinds."""

from __future__ import annotations

from collections.abc import Callable

from tinify.testing import component_checks


@component_checks("$name", cases={"$name/gain": [{}, {"start": 0.5}]})
def test_conformance(check: Callable[[], None]) -> None:
    check()
''',
}


def files(name: str, version: str) -> dict[str, str]:
    """The texts of a new package for a namespace, by their paths."""
    words = {"name": name, "version": version}
    return {Template(path).substitute(words): Template(text).safe_substitute(words) for path, text in _FILES.items()}
