"""Comparisons with other programs, collected only where those are installed (the tox environment ``peers``)."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("compressai") else ["test_*.py"]
