"""A plugin for a newer tinify; it is not imported by this one."""

raise AssertionError("imported although incompatible")
