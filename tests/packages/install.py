"""Installs packages from their folders, each from a copy, so that nothing is written beside the sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as scratch:
    copies = [
        shutil.copytree(folder, Path(scratch, Path(folder).name), ignore=shutil.ignore_patterns("build", "*.egg-info"))
        for folder in sys.argv[1:]
    ]
    # Without dependencies: on an index, tinify-codec could be another than the wheel under test.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, *map(str, copies)], check=True)
