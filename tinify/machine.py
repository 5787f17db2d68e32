"""What this machine is: its processor, and the releases of packages on it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def processor() -> str:
    """The processor's name.

    >>> bool(processor())
    True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def release(package: str) -> str | None:
    """The release of an installed distribution; None if there is none.

    >>> release("no-such-package") is None
    True
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None
