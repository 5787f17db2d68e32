"""A plugin that calls itself acme, as another distribution does; neither is imported."""

raise AssertionError("imported in spite of a conflict")
