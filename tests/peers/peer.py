"""CompressAI's modules, imported as the benchmarks know how to."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any


def _import() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "pair.py"
    spec = importlib.util.spec_from_file_location("pair", path)
    assert spec is not None
    assert spec.loader is not None
    pair = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of what it imports
        pair.peer_models()


def peer(name: str) -> Any:
    """The module ``compressai.NAME``."""
    return importlib.import_module(f"compressai.{name}")


_import()
