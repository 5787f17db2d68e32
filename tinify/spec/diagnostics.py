"""Everything that is wrong with a spec, each with its place, reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from tinify.errors import SpecError

MAX_SHOWN, MAX_WIDTH, MAX_MESSAGE = 20, 120, 400

# The first letter is the family: S reading, V version and names, E extends, D define, N form of a node, R registry,
# P parameters, T types, X expressions, C shapes.
CODES = {
    "S000": "not valid YAML, or not valid JSON",
    "S001": "too large: more bytes, levels or nodes than a spec may have",
    "S002": "more than one document in a file",
    "S003": "an anchor or alias",
    "S004": "a tag",
    "S005": "a key that stands twice in one mapping",
    "S006": "a key that is no string",
    "S007": "the file is no mapping",
    "S008": "a number too large for floating point",
    "S009": "the file cannot be read",
    "S010": "a canonical architecture with fields missing, unknown or of the wrong type",
    "V001": "another version of the spec language",
    "V002": "no name, or one of a wrong form",
    "V003": "the name of a shipped spec is not that of its file",
    "V004": "no spec, preset or parameter of that name (`validate`)",
    "E001": "`extends` of a spec that is not there, or in a wrong form",
    "E002": "specs that extend each other",
    "E003": "too long a chain of `extends`",
    "D001": "`use` of a block that no `define` has",
    "D002": "a block that uses itself",
    "D003": "a `define` or `use` in a wrong form",
    "N001": "something else where a component is expected",
    "N002": "an unknown or missing section, or one of a wrong form",
    "N003": "`repeat` in a wrong form",
    "N004": "`repeat` too many times",
    "N005": "a model of too many parts",
    "N006": "`each` in a wrong form, or of a wrong length",
    "R001": "no component of that kind and name",
    "R002": "the installed components make another architecture of a checkpoint's",
    "R003": "a plugin that a checkpoint needs is not there, or there in another release",
    "P001": "a parameter or slot that is not there",
    "P002": "a parameter without a value",
    "P003": "a slot without a child",
    "P004": "a parameter's name of a wrong form",
    "T001": "a value of the wrong type, or beyond its limits",
    "T002": "an unknown type of parameter",
    "X001": "an expression that cannot be evaluated",
    "C001": "shapes that do not fit",
    "C002": "more channels, or a larger stride, than a tensor may have",
    "C003": "a module whose real shapes or parameters are not those declared (`validate --meta`)",
}


@dataclass(frozen=True)
class Location:
    """A place in a text; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def moved(self, columns: int) -> Location:
        return Location(self.file, self.line, self.column + columns)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Diagnostic:
    """One error; ``code`` is one of :data:`CODES`."""

    code: str
    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def render(self, source: str | None = None) -> str:
        """The error as text, with the line that it is about when the ``source`` is known."""
        lines = [f"{self.file}:{self.line}:{self.column}: error[{self.code}]: {self.message}"]
        text = (source or "").splitlines()
        if self.line <= len(text) and text[self.line - 1].strip():
            number, start = str(self.line), max(0, self.column - 1 - MAX_WIDTH // 2)
            shown = _printable(text[self.line - 1][start : start + MAX_WIDTH])
            lines += [f"  {number} | {shown}", f"  {' ' * len(number)} | {' ' * (self.column - 1 - start)}^"]
        return "\n".join(lines + [f"  = hint: {self.hint}"] * bool(self.hint))


class DiagnosedSpecError(SpecError):
    """A :class:`~tinify.errors.SpecError` with every :class:`Diagnostic` in ``diagnostics``."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...], sources: Mapping[str, str]) -> None:
        super().__init__(diagnostics, sources)
        self.diagnostics, self.sources = diagnostics, sources

    def __str__(self) -> str:
        shown = [found.render(self.sources.get(found.file)) for found in self.diagnostics[:MAX_SHOWN]]
        more = len(self.diagnostics) - len(shown)
        return "\n".join(shown + [f"... and {more} more errors"] * (more > 0))


class Diagnostics:
    """Collects errors, each once, and the ``sources`` (file name to text) that they point into."""

    def __init__(self, sources: Mapping[str, str] | None = None) -> None:
        self.sources = dict(sources or {})
        self._found: dict[Diagnostic, None] = {}

    def error(self, code: str, where: Location, message: str, hint: str = "") -> None:
        assert code in CODES
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE // 2]} ... {message[-MAX_MESSAGE // 2 :]}"
        found = Diagnostic(code, where.file, where.line, where.column, _printable(message), hint)
        self._found[found] = None

    def fatal(self, code: str, where: Location, message: str, hint: str = "") -> NoReturn:
        """Adds an error after which nothing else makes sense, and raises them all."""
        self.error(code, where, message, hint)
        raise DiagnosedSpecError(self.found, self.sources)

    def check(self) -> None:
        """Raises :class:`DiagnosedSpecError` if there are errors."""
        if self._found:
            raise DiagnosedSpecError(self.found, self.sources)

    @property
    def found(self) -> tuple[Diagnostic, ...]:
        """What was reported, in the order of the files' lines."""
        return tuple(sorted(self._found, key=lambda found: (found.file, found.line, found.column)))

    def extend(self, other: Diagnostics) -> None:
        self.sources |= other.sources
        self._found |= other._found


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
