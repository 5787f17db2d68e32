"""Specs: YAML in, a checked architecture out. Nothing here imports torch."""

from tinify.spec.architecture import Architecture
from tinify.spec.diagnostics import DiagnosedSpecError, Diagnostic, Location
from tinify.spec.parts import Part, PartRow, elaborate_part
from tinify.spec.spec import Spec

__all__ = [
    "Architecture",
    "DiagnosedSpecError",
    "Diagnostic",
    "Location",
    "Part",
    "PartRow",
    "Spec",
    "elaborate_part",
]
