"""The entropy coder of a process: listed, set by name, used where none is given, and never where a format says more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinify
from tinify.coders import CdfTables
from tinify.coders.default import rans_by_default
from tinify.coders.range_coder import RangeCoder
from tinify.coders.rans import RansCoder
from tinify.errors import InputError, UnknownNameError
from tinify.plugin import Slot, component
from tinify.registry import Registry

ACME = Path(__file__).parents[1] / "packages" / "tinify-acme" / "src"
TABLES = CdfTables([[0, 16384, 49152, 65535, 65536]], [5], [-1])
SYMBOLS = np.array([[-1, 0, 1, 0], [7, 0, 0, 0]], np.int32)
INDEXES = np.zeros_like(SYMBOLS)


class Marked:
    """The range coder with another byte in front, a string at a time."""

    name = "marked"

    def __init__(self, marks: list[int]) -> None:
        self.mark = bytes(marks)

    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        return self.mark + RangeCoder().encode(tables, symbols, indexes)

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> Any:
        assert data.startswith(self.mark)
        return RangeCoder().decoder(tables, data[len(self.mark) :], count)


@component("coder", "other/marked", target=f"{__name__}:Marked")
class MarkedDeclaration:
    """Settings with defaults."""

    marks: list[int] = [77]  # noqa: RUF012 (a declaration)


@component("coder", "other/needy", target=f"{__name__}:Marked", slots={"inner": Slot("coder")})
class NeedyDeclaration:
    """Settings without."""

    marks: list[int]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registry with the coders above; and no choice of one test reaches another."""
    mine = Registry(disabled=())
    mine.register([MarkedDeclaration, NeedyDeclaration], namespace="other")
    monkeypatch.setattr("tinify.registry._current", mine)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Marked.__module__])
    yield
    tinify.set_entropy_coder("ans")


def in_new_process(code: str) -> str:
    path = os.pathsep.join(filter(None, [str(ACME), os.environ.get("PYTHONPATH", "")]))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    return run.stdout.strip()


def test_tinifys_own_come_first() -> None:
    names = tinify.available_entropy_coders()
    assert names[:2] == ["ans", "rangecoder"]
    own, theirs = ([name for name in names if ("/" in name) is foreign] for foreign in (False, True))
    assert names == own + theirs
    assert own[2:] == sorted(own[2:])
    assert theirs == sorted(theirs)
    assert {"other/marked", "other/needy"} <= {*theirs}


def test_every_listed_coder_without_needs_can_be_set_and_codes() -> None:
    for name in tinify.available_entropy_coders():
        if name != "other/needy":
            tinify.set_entropy_coder(name)
            assert tinify.get_entropy_coder() == name
            assert (TABLES.decode_batch(TABLES.encode_batch(SYMBOLS, INDEXES), INDEXES) == SYMBOLS).all()


def test_listing_and_asking_are_light() -> None:
    code = "import sys, tinify; tinify.available_entropy_coders(); print(tinify.get_entropy_coder())"
    assert in_new_process(f"{code}; print({{'torch', 'numba'}} & {{*sys.modules}})") == "ans\nset()"


@pytest.mark.parametrize(("name", "coder"), [("rangecoder", RangeCoder()), ("other/marked", Marked([77]))])
def test_what_is_set_codes_where_none_is_given(name: str, coder: Any) -> None:
    strings = TABLES.encode_batch(SYMBOLS, INDEXES, coder=coder)
    rans = TABLES.encode_batch(SYMBOLS, INDEXES)
    assert strings != rans
    tinify.set_entropy_coder(name)
    assert TABLES.encode_batch(SYMBOLS, INDEXES) == strings
    assert TABLES.encode(SYMBOLS[1], INDEXES[1]) == strings[1]
    assert (TABLES.decode_batch(strings, INDEXES) == SYMBOLS).all()
    assert (TABLES.decode(strings[1], INDEXES[1]) == SYMBOLS[1]).all()
    assert (TABLES.decoder(strings[0], 4).pop(INDEXES[0]) == SYMBOLS[0]).all()
    assert TABLES.encode_batch(SYMBOLS, INDEXES, coder=RansCoder()) == rans
    tinify.set_entropy_coder("ans")
    assert TABLES.encode_batch(SYMBOLS, INDEXES) == rans


def test_a_wrong_choice_changes_nothing() -> None:
    tinify.set_entropy_coder("rangecoder")
    with pytest.raises(UnknownNameError, match=r"unknown coder 'rangcoder': did you mean 'rangecoder'\?"):
        tinify.set_entropy_coder("rangcoder")
    with pytest.raises(UnknownNameError, match="no plugin 'nobody' is installed"):
        tinify.set_entropy_coder("nobody/coder")
    with pytest.raises(UnknownNameError, match="is of kind layer; coder is wanted here"):
        tinify.set_entropy_coder("conv")
    with pytest.raises(InputError, match=r"RangeCoder.* is no name of an entropy coder: expected one of ans, rangec"):
        tinify.set_entropy_coder(RangeCoder())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'other/needy' cannot be the default, for it needs marks, inner"):
        tinify.set_entropy_coder("other/needy")
    assert tinify.get_entropy_coder() == "rangecoder"


def test_a_format_knows_no_choice() -> None:
    rans = TABLES.encode(SYMBOLS, INDEXES)
    tinify.set_entropy_coder("rangecoder")
    chosen = TABLES.encode(SYMBOLS, INDEXES)
    assert chosen != rans
    with rans_by_default():
        with rans_by_default():
            assert TABLES.encode(SYMBOLS, INDEXES) == rans
        assert TABLES.encode(SYMBOLS, INDEXES) == rans
        assert TABLES.encode(SYMBOLS, INDEXES, coder=RangeCoder()) == chosen
        with ThreadPoolExecutor(1) as other:
            assert other.submit(TABLES.encode, SYMBOLS, INDEXES).result() == chosen
    assert TABLES.encode(SYMBOLS, INDEXES) == chosen
    with pytest.raises(InputError), rans_by_default():
        TABLES.encode(SYMBOLS, INDEXES + 1)
    assert TABLES.encode(SYMBOLS, INDEXES) == chosen


def test_threads_see_one_choice_or_the_other() -> None:
    sound = {TABLES.encode(SYMBOLS, INDEXES), TABLES.encode(SYMBOLS, INDEXES, coder=RangeCoder())}

    def work(thread: int) -> set[bytes]:
        found = set()
        for turn in range(50):
            tinify.set_entropy_coder(("ans", "rangecoder")[(thread + turn) % 2])
            found.add(TABLES.encode(SYMBOLS, INDEXES))
            assert tinify.get_entropy_coder() in ("ans", "rangecoder")
        return found

    with ThreadPoolExecutor(4) as threads:
        assert set().union(*threads.map(work, range(4))) == sound


def test_a_plugins_coder_is_one_of_them() -> None:
    code = """
import tinify, tinify_acme
tinify.register(tinify_acme, "acme")
assert "acme/bigint" in tinify.available_entropy_coders()
tinify.set_entropy_coder("acme/bigint")
tables = tinify.CdfTables([[0, 16384, 49152, 65535, 65536]], [5], [-1])
data = tables.encode([-1, 0, 1, 1000], [0, 0, 0, 0])
print(tables.decode(data, [0, 0, 0, 0]).tolist(), data.hex())
"""
    decoded, _, data = in_new_process(code).rpartition(" ")
    assert decoded == "[-1, 0, 1, 1000]"
    assert data != TABLES.encode([-1, 0, 1, 1000], [0, 0, 0, 0]).hex()
