"""A corpus of bad specs and the exact words that each is answered with.

``python tests/core/test_bad_specs.py --write`` writes the expected texts anew; read what changed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tinify.errors import SpecError
from tinify.plugin import hookimpl
from tinify.registry import Registry, get_registry
from tinify.spec import Architecture, Spec
from tinify.spec.diagnostics import CODES

FOLDER = Path(__file__).parent / "bad_specs"
# What only a parent in the folder is for, not bad by itself, or bad in its child's name.
PARENTS = {"parent", *(f"e003-chain{number}" for number in range(2, 12))}
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.stem not in PARENTS)
# What no spec in this folder shows: of checkpoints, of slots that no part of tinify's own has, of shipped specs, of
# commands.
ELSEWHERE = {"S010", "R002", "R003", "N006", "V003", "V004", "C003"}


def answer(path: Path) -> str:
    """What a spec is answered with, without the folder that it and its parents lie in."""
    try:
        Spec.load(path).elaborate()
    except SpecError as error:
        return str(error).replace(f"{FOLDER}/", "").replace(str(FOLDER), "FOLDER") + "\n"
    return "no error\n"


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """First-party plugins alone, whatever is installed beside them."""
    monkeypatch.setattr("tinify.registry._current", Registry(disabled=(), only=()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_spec_is_answered_in_these_words(path: Path) -> None:
    assert answer(path) == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_named_for_its_first_error(path: Path) -> None:
    codes = re.findall(r"error\[(\w+)\]", path.with_suffix(".txt").read_text(encoding="utf-8"))
    assert path.stem == "many" or path.stem.partition("-")[0].upper() in codes


def test_the_corpus_shows_every_code() -> None:
    shown = {code for path in FILES for code in re.findall(r"error\[(\w+)\]", path.with_suffix(".txt").read_text())}
    assert len(FILES) >= 60
    assert shown == CODES.keys() - ELSEWHERE


def test_a_shipped_spec_bears_the_name_of_its_file(tmp_path: Path) -> None:
    class Plugin:
        @hookimpl
        def tinify_spec_paths(self) -> Iterable[Path]:
            return [tmp_path]

    (tmp_path / "tiny.yaml").write_text("tinify: 1\nname: acme/small\nextends: mbt2018-mean\n", encoding="utf-8")
    get_registry().register(Plugin(), namespace="acme")
    with pytest.raises(SpecError) as caught:
        Spec.load("acme/tiny").elaborate()
    message = "2:7: error[V003]: this file must be named after its spec, got 'acme/small'"
    assert message in str(caught.value)
    assert "write name: acme/tiny" in str(caught.value)


def test_a_checkpoint_is_what_the_installed_components_make_of_it() -> None:
    made = Spec.load("mbt2018-mean").elaborate()
    data = json.loads(made.to_json())
    assert Architecture.from_json(json.dumps(data)) == made
    data["model"]["latent_codec"]["y"]["gaussian_conditional"]["in"] = 100
    with pytest.raises(SpecError) as caught:
        Architecture.from_json(json.dumps(data), "model.safetensors")
    message = (
        "model.safetensors:1:1: error[R002]: not what the installed components make of it:"
        " model.latent_codec.y.gaussian_conditional.in is 100, expected 192"
    )
    assert str(caught.value).startswith(message)


if __name__ == "__main__" and "--write" in sys.argv:
    for each in FILES:
        each.with_suffix(".txt").write_text(answer(each), encoding="utf-8")
