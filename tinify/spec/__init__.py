"""Specs: YAML in, a checked architecture out. Nothing here imports torch."""

from tinify.spec.architecture import Architecture
from tinify.spec.diagnostics import DiagnosedSpecError, Diagnostic, Location
from tinify.spec.spec import Spec

__all__ = ["Architecture", "DiagnosedSpecError", "Diagnostic", "Location", "Spec"]
