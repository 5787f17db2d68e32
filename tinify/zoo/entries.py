"""The entry points of the field in one mapping: tinify's own, and those that plugins offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinify.registry import get_registry
from tinify.zoo.image import image_models


class EntryPoints(Mapping[str, Callable[..., Any]]):
    """Those of tinify, and of every ``NAME_models`` that a plugin puts under ``tinify.zoo``, a mapping of its own.

    Plugins are asked when the mapping is, not when it is made: making it imports none of their models.
    """

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __repr__(self) -> str:
        return f"EntryPoints({', '.join(self)})"

    def _found(self) -> dict[str, Callable[..., Any]]:
        names = get_registry().names().values()
        tables = [name.load() for name in names if name.module == "tinify.zoo" and name.name.endswith("_models")]
        return {name: entry for table in (*tables, image_models) for name, entry in table.items()}
