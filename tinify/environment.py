"""The environment variables that tinify reads, each said once."""

from __future__ import annotations

import os

VARIABLES = {
    "TINIFY_DISABLE_PLUGINS": "plugins that are not loaded: namespaces or distributions, between commas",
    "TINIFY_PLUGINS": "the only third-party plugins that are loaded, between commas; set but empty, none is",
    "TINIFY_STRICT_PLUGINS": "1: a plugin that is broken, incompatible or in conflict is an error, for CI",
    "TINIFY_KERNELS": "`none`, or `op=none` and `op=namespace` between commas: switches kernels off, or picks one",
}


def read(name: str) -> str | None:
    """The value of a variable of :data:`VARIABLES`, None if it is not set.

    >>> read("TINIFY_STRICT_PLUGINS") in (None, "", "0", "1")
    True
    """
    if name not in VARIABLES:
        raise KeyError(f"{name} is not declared in tinify.environment.VARIABLES")
    return os.environ.get(name)


def words(name: str) -> list[str] | None:
    """The words of a variable that holds a list, None if it is not set."""
    value = read(name)
    return None if value is None else [word.strip() for word in value.split(",") if word.strip()]
