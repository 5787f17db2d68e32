"""Tests in a real browser, collected only where there is one (the tox environment ``browser`` insists on it)."""

from __future__ import annotations

import shutil

collect_ignore_glob = [] if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))) else ["test_*.py"]
