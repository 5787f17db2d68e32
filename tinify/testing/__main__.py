"""``python -m tinify.testing NAME``: checks a component, a plugin's namespace, or ``.`` for all of tinify's own."""

from __future__ import annotations

import sys

from tinify.errors import TinifyError
from tinify.testing.run import Result, run_checks


def table(results: list[Result]) -> str:
    """A line for each case, with its failures below, and a line of totals."""
    lines, cases = [], list(dict.fromkeys((result.component, result.case) for result in results))
    for component, case in cases:
        own = [result for result in results if (result.component, result.case) == (component, case)]
        failed = [result for result in own if result.status == "failed"]
        verdict = f"{len(failed)} of {len(own)} failed" if failed else f"{len(own)} passed"
        kind = component.partition(" ")[0]
        lines.append(f"{kind:14} {case:50} {verdict}")
        lines += [f"    {result.check}: {result.detail}" for result in failed]
    failures = sum(result.status == "failed" for result in results)
    lines.append(f"{len(results)} checks of {len(cases)} cases, {failures} failed")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Prints the table and returns the exit status: 0 if all passed, 1 if a check failed, 2 for an error."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m tinify.testing NAME  (a component, a plugin's namespace, or . for tinify's own)")
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        results = run_checks(arguments[0], on_fail="report")
    except TinifyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(results))
    return int(any(result.status == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
