"""The house stands: floors, walls between packages, light imports, files that can be read in one sitting."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinify

FLOORS = {
    "errors": 0,
    "chunks": 1,
    "coders": 1,
    "environment": 1,
    "files": 1,
    "machine": 1,
    "optimizers": 1,
    "plugin": 1,
    "samples": 1,
    "ans": 2,
    "container": 2,
    "host": 2,
    "ops": 2,
    "distributions": 3,
    "images": 3,
    "registry": 3,
    "entropy_coders": 4,
    "kernels": 4,
    "names": 4,
    "spec": 4,
    "weights": 4,
    "builder": 5,
    "datasets": 5,
    "entropy_models": 5,
    "layers": 5,
    "metrics": 5,
    "transforms": 5,
    "exact": 6,
    "losses": 6,
    "latent_codecs": 7,
    "models": 8,
    "checkpoint": 9,
    "codec": 10,
    "training": 10,
    "evaluation": 11,
    "targets": 11,
    "zoo": 11,
    "freezing": 12,
    "testing": 12,
    "cli": 13,
}
ROOT = Path(tinify.__file__).parent
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


def part_of(source: str) -> str:
    """The part of the house that a file belongs to: ``spec`` for ``spec/reader.py`` and for ``spec.py``."""
    return source.split("/")[0].removesuffix(".py")


def imports(text: str) -> Iterator[str]:
    """Full names of all that a text imports, at the top and inside functions: ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_front_page_draws_these_floors() -> None:
    drawn = re.findall(r"^ +F(\d+) +(.+)$", tinify.__doc__ or "", re.MULTILINE)
    assert {part: int(floor) for floor, parts in drawn for part in parts.split(", ")} == FLOORS


def test_every_part_stands_on_a_floor() -> None:
    assert {part_of(source) for source in SOURCES} == {"__init__", *FLOORS}


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "__init__.py"])
def test_a_module_imports_only_from_lower_floors(source: str) -> None:
    own = part_of(source)
    used = {name.split(".")[1] for name in imports(SOURCES[source]) if name.startswith("tinify.")}
    known = used - {own, "__version__"}
    assert known <= FLOORS.keys()
    assert [part for part in sorted(known) if FLOORS[part] >= FLOORS[own]] == []


@pytest.mark.parametrize("source", SOURCES)
def test_the_host_knows_its_plugins_only_by_entry_points(source: str) -> None:
    top = {name.split(".")[0] for name in imports(SOURCES[source])}
    assert not top & {"tinify_plugins", "tinify_kernels", "tinify_specs"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_says_what_it_is_and_stays_short(source: str) -> None:
    assert ast.get_docstring(ast.parse(SOURCES[source]))
    assert len(SOURCES[source].splitlines()) <= 400


@pytest.mark.parametrize(
    "name", ["", ".builder", ".cli", ".coders", ".container", ".images", ".registry", ".spec", ".weights"]
)
def test_light_parts_import_neither_torch_nor_numba(name: str) -> None:
    code = f"import sys, tinify{name}; print(sorted({{'torch', 'numba'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
