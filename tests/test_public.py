"""The names that ``import tinify`` offers."""

from __future__ import annotations

import importlib

import pytest

import tinify


@pytest.mark.parametrize("name", tinify.__all__)
def test_every_public_name_is_there(name: str) -> None:
    thing = getattr(tinify, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("tinify.")
    assert name in dir(tinify)


def test_public_names_are_sorted_and_found_by_star() -> None:
    assert tinify.__all__ == sorted(tinify.__all__)
    names: dict[str, object] = {}
    exec("from tinify import *", names)
    assert set(tinify.__all__) <= names.keys()


@pytest.mark.parametrize("name", ["layers", "models", "training"])
def test_submodules_are_attributes(name: str) -> None:
    assert getattr(tinify, name) is importlib.import_module(f"tinify.{name}")


@pytest.mark.parametrize("name", ["compres", "_missing", "a b", "errors.Nothing"])
def test_unknown_attributes_are_attribute_errors(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'tinify' has no attribute '{name}'"):
        getattr(tinify, name)
