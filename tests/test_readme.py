"""The README's code runs, and its commands exist."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

import tinify
from tinify.cli import cli
from tinify.spec import Spec

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_blocks_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec", dont_inherit=True), module.__dict__)
    assert module.image.size == (64, 48)


def test_the_spec_in_the_readme_builds() -> None:
    (text,) = blocks("yaml")
    architecture = Spec.loads(text).elaborate(preset="q4")
    assert (architecture.parameters["N"], architecture.parameters["M"]) == (64, 96)
    assert isinstance(tinify.build_model(architecture), tinify.models.CompressionModel)


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if line.startswith("tinify")]
)
def test_commands_and_options_exist(line: str) -> None:
    words = line.partition("#")[0].split()
    context = cli.make_context("tinify", ["--help"], resilient_parsing=True)
    command = cli.get_command(context, words[1])
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[2:] if word.startswith("--")} <= known


def test_published_commands_are_all_described() -> None:
    context = cli.make_context("tinify", ["--help"], resilient_parsing=True)
    for name in cli.list_commands(context):
        assert f"tinify {name}" in README
