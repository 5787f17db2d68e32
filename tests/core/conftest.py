"""Fixtures of the tests without torch."""

from __future__ import annotations

from installed_plugins import install

__all__ = ["install"]
