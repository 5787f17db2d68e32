"""Bjøntegaard deltas against another implementation, against what can be worked out, and where there is none."""

from __future__ import annotations

import math

import bjontegaard
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import InputError
from tinify.evaluation.bd import METHODS, Curve, bd_quality, bd_rate, caution, overlap
from tinify.evaluation.deltas import METRICS, deltas
from tinify.evaluation.published import reference
from tinify.evaluation.results import CodecResult, Point


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Curves that overlap: they all begin below 30 dB and 0.2 bpp, and end above."""
    steps = draw(st.lists(st.tuples(st.floats(0.3, 3), st.floats(0.1, 1)), min_size=3, max_size=8))
    rates, qualities = [draw(st.floats(0.05, 0.15))], [draw(st.floats(25, 29))]
    for more, rise in (*steps, (5.0, 1.5)):
        qualities.append(qualities[-1] + more)
        rates.append(rates[-1] * math.exp(rise))
    return Curve(tuple(rates), tuple(qualities))


@pytest.mark.parametrize("method", METHODS)
@given(curves(), curves())
def test_deltas_are_those_of_the_reference_implementation(method: str, anchor: Curve, test: Curve) -> None:
    data = (anchor.rates, anchor.qualities, test.rates, test.qualities)
    options = {"method": method, "require_matching_points": False, "min_overlap": 0}
    assert bd_rate(anchor, test, method) == pytest.approx(bjontegaard.bd_rate(*data, **options), rel=1e-6, abs=1e-6)
    assert bd_quality(anchor, test, method) == pytest.approx(bjontegaard.bd_psnr(*data, **options), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@given(curves(), st.floats(0.1, 10), st.floats(-0.5, 0.5))
def test_shifted_curves_differ_by_the_shift(method: str, curve: Curve, factor: float, lift: float) -> None:
    dearer = Curve(tuple(rate * factor for rate in curve.rates), curve.qualities)
    assert bd_rate(curve, dearer, method) == pytest.approx(100 * (factor - 1), abs=1e-6)
    better = Curve(curve.rates, tuple(quality + lift for quality in curve.qualities))
    assert bd_quality(curve, better, method) == pytest.approx(lift, abs=1e-9)


@given(curves(), curves())
def test_there_and_back_is_nothing(a: Curve, b: Curve) -> None:
    assert (1 + bd_rate(a, b) / 100) * (1 + bd_rate(b, a) / 100) == pytest.approx(1)
    assert bd_rate(a, a) == pytest.approx(0, abs=1e-9)
    assert overlap(a, b) == overlap(b, a) <= 1


def test_published_deltas() -> None:
    """What the field says of these curves: learned codecs of 2018 are near BPG, VTM and those of 2020 well below."""
    found = {
        name: bd_rate(*(Curve(reference(n).bpp, reference(n).psnr) for n in ("bpg444", name)))
        for name in ("mbt2018", "vtm", "bmshj2018-hyperprior", "cheng2020-anchor")
    }
    assert max(found["vtm"], found["cheng2020-anchor"]) < -10
    assert -15 < found["mbt2018"] < 0 < found["bmshj2018-hyperprior"] < 15


@pytest.mark.parametrize(
    ("rates", "qualities", "said"),
    [
        ((0.1,), (30.0,), "has 1 points"),
        ((0.1, 0.2, 0.3), (30.0, 29.0, 31.0), "does not rise from 0.1000 bpp, 30.000 dB"),
        ((0.1, 0.2, 0.2), (30.0, 31.0, 32.0), "does not rise from 0.2000 bpp"),
        ((0.0, 0.2), (30.0, 31.0), "not positive"),
        ((0.1, 0.2), (30.0, math.inf), "no number"),
    ],
)
def test_what_is_no_curve_is_refused(rates: tuple[float, ...], qualities: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Curve(rates, qualities)


def test_what_has_no_delta_is_refused() -> None:
    low, high = Curve((0.1, 0.2), (20.0, 25.0)), Curve((1.0, 2.0), (30.0, 35.0))
    with pytest.raises(InputError, match="share no quality"):
        bd_rate(low, high)
    with pytest.raises(InputError, match="share no rate"):
        bd_quality(low, high)
    with pytest.raises(InputError, match="unknown method 'cubic'"):
        bd_rate(low, low, "cubic")


def test_cautions() -> None:
    long = Curve((1, 2, 3, 4), (20.0, 30.0, 40.0, 50.0), "long")
    assert caution(long, long) is None
    assert "short has 2 points" in str(caution(long, Curve((1, 2), (20.0, 30.0), "short")))
    assert "share 20%" in str(caution(long, Curve((1, 2, 3, 4), (44.0, 54.0, 64.0, 74.0), "far")))


def test_results_say_why_a_delta_is_missing() -> None:
    def codec(name: str, *pairs: tuple[float, float]) -> CodecResult:
        return CodecResult(name, name, tuple(Point(None, bpp, db, db, 0.9, 0.1, 0.1) for bpp, db in pairs))

    anchor = codec("anchor", (0.1, 20.0), (0.2, 30.0), (0.4, 40.0), (0.8, 50.0))
    falling = codec("falling", (0.1, 30.0), (0.2, 29.0), (0.3, 31.0))
    assert {d.anchor for d in deltas([codec("vtm", (0.1, 28.0), (0.5, 35.0))], [reference("vtm")])} == {
        "vtm (published)"
    }
    found = {delta.metric: delta for delta in deltas([anchor, falling, codec("dot", (0.1, 30.0))], [anchor])}
    assert set(found) == set(METRICS)
    assert found["psnr"].rate_percent is None
    assert "falling does not rise" in str(found["psnr"].warning)
