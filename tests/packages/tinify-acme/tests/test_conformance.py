"""Acme's parts keep the promises of their kinds."""

from __future__ import annotations

from collections.abc import Callable

from tinify.plugin import Sig
from tinify.testing import component_checks

CONTEXT = [{"type": "conv", "out": 8, "kernel": 1, "stride": 1}]


@component_checks(
    "acme",
    cases={
        "acme/group_gdn": [{}, {"groups": 4}, {"inverse": True}],
        "acme/laplace_conditional": [{}, {"levels": 32}],
        "acme/two_halves": [{"context": CONTEXT}, {"context": CONTEXT, "quantizer": "noise"}],
        "acme/bigint": [{}],
        "acme/charbonnier": [{}, {"epsilon": 0.1}],
    },
    inputs={"acme/two_halves": [Sig(8, 4), Sig(16, 4)]},
)
def test_conformance(check: Callable[[], None]) -> None:
    check()
