"""Another process: what is computed there must be what is computed here."""

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from typing import Any

from tinify import registry
from tinify.host import GROUP
from tinify.plugin import Component
from tinify.registry import Registry, get_registry

_PATIENCE_S = 300
_HEAVY = {"numba", "torch", "triton"}

# Where a declaration lives: module, file (for a module that no import finds), name in it, namespace.
_Home = tuple[str, str | None, str, str]


class Worker:
    """A process that answers calls one after another, until it is closed."""

    def __init__(self) -> None:
        self.path = list(sys.path)
        code = f"import sys; sys.path[:] = {self.path!r}; from tinify.testing.fresh import serve; serve()"
        self._process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, *request: Any) -> Any:
        """The answer to a request; AssertionError with what was raised there, or if the process died or hung."""
        assert self._process.stdin
        assert self._process.stdout
        timer = threading.Timer(_PATIENCE_S, self._process.kill)
        timer.start()
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            good, answer = pickle.load(self._process.stdout)
        except (EOFError, OSError) as error:
            self.close()
            raise AssertionError(f"the fresh process died, or gave no answer for {_PATIENCE_S} s: {error}") from error
        finally:
            timer.cancel()
        assert good, f"in a fresh process: {answer}"
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


_worker: Worker | None = None


def in_fresh_process(function: Callable[..., Any], case: Any, *arguments: Any) -> Any:
    """``function(case, *arguments)``, computed in another process that knows the same plugins.

    What goes over is pickled. Components that were registered by hand are registered there from their modules.
    """
    import torch

    global _worker
    if _worker is None or _worker.path != sys.path or _worker._process.poll() is not None:
        if _worker is not None:
            _worker.close()
        else:
            atexit.register(_close)
        _worker = Worker()
    where = (case.component.kind, case.component.key)
    made = (where, dict(case.arguments), case.inputs)
    by_hand = [part for part in get_registry().components() if part.provider and part.provider.in_process]
    homes = [_home(part) for part in by_hand if _importable(part)]
    assert _importable(case.component), (
        f"{case.component} is declared in a function or a notebook, where no other process finds it: use a module"
    )
    return _worker.call(torch.get_num_threads(), homes, function.__module__, function.__qualname__, made, arguments)


def _close() -> None:
    if _worker is not None:
        _worker.close()


def serve() -> None:
    """Answers the calls of :func:`in_fresh_process` until its input ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a component prints is no answer
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = (True, _answer(*request))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        pickle.dump(answer, answers)
        answers.flush()


def _answer(threads: int, homes: list[_Home], module: str, function: str, made: Any, arguments: Any) -> Any:
    import torch

    from tinify.testing.cases import Case

    torch.set_num_threads(threads)
    registry._current = _registry_with(tuple(homes))
    (kind, key), parameters, inputs = made
    case = Case(get_registry().component(kind, key), parameters, inputs)
    return getattr(importlib.import_module(module), function)(case, *arguments)


@functools.cache
def _registry_with(homes: tuple[_Home, ...]) -> Registry:
    """The registry of what is installed, with what was registered by hand in place of what has its namespaces."""
    taken = {namespace for _, _, _, namespace in homes}
    made = Registry([point for point in metadata.entry_points(group=GROUP) if point.name not in taken])
    for module, file, name, namespace in homes:
        found: Any = load_module(module, file)
        for word in name.split("."):
            found = getattr(found, word)
        made.register(found, namespace)
    return made


def load_module(name: str, file: str | None) -> Any:
    """The module of that name, from its file if no import finds it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        spec = file and importlib.util.spec_from_file_location(name, file)
        if not spec or not spec.loader:
            raise
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def heavy_imports(component: Component) -> list[str]:
    """Which of torch, triton and numba are imported together with the declarations of the component's plugin."""
    shelf = [part for part in get_registry().components() if part.provider == component.provider and _importable(part)]
    return _heavy_imports(tuple(sys.path), tuple(sorted({_home(part)[:2] for part in (component, *shelf)}, key=str)))


@functools.cache
def _heavy_imports(path: tuple[str, ...], homes: tuple[tuple[str, str | None], ...]) -> list[str]:
    code = f"import sys; sys.path[:] = {list(path)!r}; from tinify.testing.fresh import load_module; "
    code += f"[load_module(*home) for home in {homes!r}]; print(*{_HEAVY!r} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE_S)
    assert run.returncode == 0, f"the plugin cannot be imported in a fresh process:\n{run.stderr}"
    return sorted(run.stdout.splitlines()[-1].split())


def _importable(component: Component) -> bool:
    declaration = component.declaration
    return declaration.__module__ != "__main__" and "<" not in declaration.__qualname__


def _home(component: Component) -> _Home:
    declaration = component.declaration
    module = sys.modules.get(declaration.__module__)
    namespace = component.provider.namespace if component.provider else "local"
    return declaration.__module__, getattr(module, "__file__", None), declaration.__qualname__, namespace
