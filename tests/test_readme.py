"""The code of the README and of docs/ runs, its files make a plugin, and its commands exist."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path

import click
import jsonschema
import pytest
import torch
from click.testing import CliRunner

import tinify
import tinify.registry
from tinify.cli import cli
from tinify.errors import SpecError
from tinify.ops import scale_indexes
from tinify.plugin import KINDS
from tinify.registry import Registry, get_registry
from tinify.spec import Spec, elaborate, expressions, reader, shapes
from tinify.spec.json_schema import schema
from tinify.testing.run import jobs
from tinify.training.config import TrainingConfig
from tinify.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
NAMES = (
    "README.md",
    "docs/benchmarks.md",
    "docs/coding.md",
    "docs/compressai.md",
    "docs/kernels.md",
    "docs/models.md",
    "docs/plugins.md",
    "docs/point-clouds.md",
    "docs/portable.md",
    "docs/specs.md",
    "docs/training.md",
    "docs/variable-rate.md",
    "docs/video.md",
)
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
README = PAGES["README.md"]
RECIPES = sorted(ROOT.glob("recipes/*.yaml"))
MOST_LINES = 30


def load(name: str, path: Path) -> types.ModuleType:
    """Imports a file as a module of that name, which others then find."""
    location = importlib.util.spec_from_file_location(name, path)
    assert location
    assert location.loader
    module = sys.modules[name] = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


from_readme = load("from_readme", ROOT / "tests/packages/from_readme.py")


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the files of a page to a folder, goes there, and leaves a registry of tinify's own parts in force."""

    def made(page: str) -> Path:
        from_readme.write(tmp_path, ROOT / page)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(tinify.registry, "_current", Registry(only=(), disabled=(), strict=False))
        return tmp_path

    return made


@pytest.mark.parametrize("page", [name for name in NAMES if name != "docs/plugins.md"])
def test_python_blocks_run_in_order(page: str, folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder(page)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks("python", page):
        exec(compile(block, page, "exec", dont_inherit=True), module.__dict__)


# The page declares an old version, and what it declares stands beside its implementation.
@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
def test_the_parts_of_the_plugin_page_pass_the_kit(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = folder("docs/plugins.md")
    (where / "acme.py").write_text("\n".join(blocks("python", "docs/plugins.md")), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "acme", types.ModuleType("acme"))  # taken away again at the end
    acme = load("acme", where / "acme.py")
    offers = (get_registry().commands().values(), get_registry().kernels())
    command, kernel = (next(one for one in some if one.provider.namespace == "acme") for some in offers)
    assert CliRunner().invoke(command.load(), [str(where / "acme.py")]).output.startswith(str(where))
    scales, table = torch.rand(3, 5), torch.linspace(0.1, 0.9, 7)
    assert kernel.load() is acme.scale_indexes
    assert torch.equal(acme.scale_indexes(scales, table), scale_indexes(scales, table))
    cases = {"acme/groups": [{"widths": [3, 5]}], "acme/grouped_conv": [{"out": 8}, {"out": 8, "groups": 4}]}
    found = [job for job in jobs("acme", cases) if job.check.__name__ != "check_light_import"]
    failed = [result for result in (job.result() for job in found) if result.status == "failed"]
    assert not failed
    assert {job.case.component.kind for job in found} == set(KINDS)


@pytest.mark.parametrize("page", PAGES)
def test_specs_elaborate(page: str, folder: Callable[[str], Path]) -> None:
    shown = [text for text in blocks("yaml", page) if "mine/" not in text and "acme/" not in text]
    shown = [text for text in shown if not text.startswith("recipe:")]
    for text in shown:
        if "name: wrong\n" in text:
            with pytest.raises(SpecError) as caught:
                Spec.loads(text, "wrong.yaml").elaborate()
            assert f"{caught.value}\n" in blocks("text", page)
        else:
            assert Spec.loads(text).elaborate().stride in (8, 16, 64)
            jsonschema.validate(Spec.loads(text).root.plain(), schema())


@pytest.mark.parametrize("text", [*blocks("yaml", "docs/training.md"), *(path.read_text() for path in RECIPES)])
def test_recipes_are_read_and_the_page_names_every_key(text: str) -> None:
    recipe = Recipe.loads(text)
    assert TrainingConfig(**{"lmbda": 1, **recipe.settings}).steps > 0
    if text in blocks("yaml", "docs/training.md"):
        assert recipe.settings.keys() >= TrainingConfig.parameters().keys() - {"loss"}


def test_a_preset_of_the_readmes_spec() -> None:
    (text,) = (text for text in blocks("yaml") if "name: small\n" in text)
    architecture = Spec.loads(text).elaborate(preset="q4")
    assert (architecture.parameters["N"], architecture.parameters["M"]) == (64, 96)
    assert isinstance(tinify.build_model(architecture), tinify.models.CompressionModel)


def test_the_first_plugin_is_short_and_works(folder: Callable[[str], Path]) -> None:
    where = folder("README.md")
    plugin = {name: text for name, text in from_readme.files().items() if not name.endswith(".yaml")}
    assert sum(len(text.splitlines()) for text in plugin.values()) <= MOST_LINES
    install(where)
    paths = os.pathsep.join(filter(None, [str(where), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", FIRST],
        cwd=where,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("(1, 3, 32, 48)\n")


# What the README says to do with the plugin, in one process.
FIRST = """
import torch, tinify
from tinify.cli import cli
for line in ("plugins --require mine", "validate --meta halved.yaml", "plugin check mine"):
    assert not cli.main(line.split(), standalone_mode=False), line
print(tuple(tinify.create_model("halved.yaml").eval()(torch.rand(1, 3, 32, 48))["x_hat"].shape))
"""


def install(where: Path) -> None:
    """Writes the metadata that pip would write of the pyproject.toml in a folder."""
    project = tomllib.loads((where / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    meta = where / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    meta.mkdir()
    needs = "".join(f"Requires-Dist: {need}\n" for need in project["dependencies"])
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{needs}"
    (meta / "METADATA").write_text(head, encoding="utf-8")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (meta / "entry_points.txt").write_text("\n".join(points), encoding="utf-8")


def commands() -> list[str]:
    texts = [block.replace("\\\n", " ") for page in PAGES for block in blocks("sh", page)]
    lines = [line.partition("#")[0] for text in texts for line in text.splitlines()]
    return [line.strip() for line in lines if re.match(r"(TINIFY_\w+=\S* )?tinify ", line)]


@pytest.mark.parametrize("line", commands())
def test_commands_and_options_exist(line: str) -> None:
    words = [word for word in shlex.split(line) if not word.startswith("TINIFY_")][1:]
    context = cli.make_context("tinify", ["--help"], resilient_parsing=True)
    command: click.Command = cli
    while isinstance(command, click.Group):
        if words[0] == "-p":  # the one option before a command that takes a word
            words = words[2:]
        found = command.get_command(context, words[0])
        assert found is not None
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_published_commands_are_all_described() -> None:
    context = cli.make_context("tinify", ["--help"], resilient_parsing=True)
    for name in cli.list_commands(context):
        assert f"tinify {name}" in README


def test_the_limits_that_are_told() -> None:
    _, _, told = PAGES["docs/specs.md"].partition("## Limits\n")
    numbers = [int(number.replace(" ", "")) for number in re.findall(r"\d+(?: \d{3})*", told)]
    limits = [reader.MAX_BYTES >> 10, reader.MAX_DEPTH, reader.MAX_NODES, reader.MAX_NODES, elaborate.MAX_REPEAT]
    assert numbers == [*limits, shapes.MAX_CHANNELS, shapes.MAX_STRIDE, expressions.MAX_LENGTH]


def test_links_of_pages_lead_somewhere() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
