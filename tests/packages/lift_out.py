"""Takes tinify's own vocabulary out of the house: the same folder as a third party's distribution, tinify-ext.

``python lift_out.py PLUGINS FOLDER`` copies PLUGINS/vocabulary into a package at FOLDER, under the namespace ``ext``.
Nothing in it is changed but the names that it declares: whatever tinify's own parts use, a stranger's may use.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

KINDS = "layer|transform|entropy_model|latent_codec|coder|model|loss|picture_codec"
PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "tinify-ext"
version = "1.0"
dependencies = ["tinify-codec>=0.1"]

[project.entry-points."tinify.plugins"]
ext = "tinify_ext"

[tool.setuptools]
packages = ["tinify_ext"]
"""


def main(plugins: Path, folder: Path) -> None:
    package = folder / "tinify_ext"
    shutil.copytree(plugins / "vocabulary", package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text(PROJECT)
    renamed = 0
    for file in package.glob("*.py"):
        text, count = re.subn(rf'("(?:{KINDS})",\s*")(?=[a-z0-9_]+",\s*target=)', r"\1ext/", file.read_text())
        file.write_text(re.sub(r'(Slot\("\w+", default=")', r"\1ext/", text))
        renamed += count
    assert renamed, f"no declarations found in {plugins / 'vocabulary'}"
    print(f"{renamed} components as ext/...")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
