"""A plugin whose hook is misspelt, so that it would never be called."""

from tinify.plugin import hookimpl


@hookimpl
def tinify_componets():
    return []
