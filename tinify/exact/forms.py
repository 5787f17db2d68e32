"""Modules that have an exact form of their own, by their classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {}
"""What makes the exact form of a module, by its class, which stands for those derived from it.

It takes the place of the module with all that is in it. Of a model to be loaded it is made as well, for a checkpoint to
fill, so its tensors are of one shape whatever the module's weights. Its ``thawed()``, if it has one, gives parameters
of the module, for training to go on. A plugin adds its own where it defines the class:
``FORMS[StepNet] = Reproduced``.
"""


def form_of(module: nn.Module) -> Callable[[Any], nn.Module] | None:
    """What makes a module's exact form; None where it has none of its own."""
    return next((FORMS[kind] for kind in type(module).__mro__ if kind in FORMS), None)
