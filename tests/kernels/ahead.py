"""Compiles the kernels that a function launches, for a GPU that need not be there, and says what they take."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

_TYPES = {
    torch.float64: "*fp64", torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16",
    torch.int64: "*i64", torch.int32: "*i32", torch.int16: "*i16", torch.uint8: "*u8", torch.uint16: "*u16",
}  # fmt: skip
_OPTIONS = ("num_warps", "num_stages", "maxnreg")


@dataclass(frozen=True)
class Built:
    """A kernel's name, registers of a thread, bytes of spilled registers and of shared memory, and its machine code."""

    name: str
    registers: int
    spilled: int
    shared: int
    code: str

    @property
    def loops(self) -> list[list[str]]:
        """The instructions of every loop: from the target of a jump backwards to the jump."""
        lines = [line.strip() for line in self.code.splitlines()]
        labels = {line[:-1]: place for place, line in enumerate(lines) if re.fullmatch(r"\.L_x_\d+:", line)}
        found = []
        for place, line in enumerate(lines):
            jump = re.search(r"\bBRA\b.*?`?\(?(\.L_x_\d+)\)?", line)
            if jump and labels.get(jump[1], place) < place:
                found.append(lines[labels[jump[1]] : place])
        return found


def build(monkeypatch: pytest.MonkeyPatch, launch: Callable[..., Any], *arguments: Any, arch: int = 90) -> list[Built]:
    """What ``launch(*arguments)`` would run on a GPU of compute capability ``arch``; tensors lie on the CPU."""
    found: list[Built] = []

    def compile_instead(self: JITFunction[Any], *values: Any, grid: Any, warmup: bool, **named: Any) -> None:
        options = {key: named.pop(key) for key in _OPTIONS if key in named}
        given = dict(zip(self.arg_names, values, strict=False)) | named
        constant = {p.name for p in self.params if p.is_constexpr}
        # What Triton would see for itself: an integer that is 1, and what is divisible by 16.
        constant |= {name for name, value in given.items() if value is None or (type(value) is int and value == 1)}
        signature = {name: "constexpr" if name in constant else _type(given[name]) for name in self.arg_names}
        even = {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(self.arg_names)
            if name not in constant
            and (isinstance(given[name], torch.Tensor) or (type(given[name]) is int and given[name] % 16 == 0))
        }
        source = ASTSource(self, signature, {name: given[name] for name in constant}, even)
        kernel = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
        found.append(_read(self.__name__, kernel))

    monkeypatch.setattr(JITFunction, "run", compile_instead)
    launch(*arguments)
    return found


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _TYPES[value.dtype]
    if isinstance(value, bool):
        return "i1"
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    return "fp32"


def _read(name: str, kernel: Any) -> Built:
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = _run(tools / "cuobjdump", "--dump-resource-usage", file.name)
        code = _run(tools / "nvdisasm", "-c", file.name)
    registers, stack = (int(re.findall(rf"{word}:(\d+)", usage)[-1]) for word in ("REG", "STACK"))
    return Built(name, registers, stack, kernel.metadata.shared, code)


def _run(*command: Any) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
