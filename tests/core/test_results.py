"""Results in files and back, what is no result, codecs by name, published curves; all of it without torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import InputError, OutputError, PluginError, SpecError, TinifyError, UnknownNameError
from tinify.evaluation.codec import PictureCodec, names, open_codec, parse, split
from tinify.evaluation.published import reference, references
from tinify.evaluation.results import (
    BdResult,
    CodecResult,
    Machine,
    PictureScore,
    PictureSet,
    Point,
    Results,
    from_json,
    load,
    save,
    to_json,
)
from tinify.plugin import component
from tinify.registry import get_registry

numbers = st.floats(0.001, 1e6)
maybe = st.none() | numbers
words = st.text(max_size=12)
scores = st.builds(
    PictureScore, words, st.integers(1, 10**9), numbers, numbers, numbers, maybe, numbers, numbers, lpips=maybe
)
points = st.builds(
    Point, maybe, numbers, numbers, numbers, maybe, numbers, numbers, pictures=st.lists(scores, max_size=2).map(tuple)
)
codecs = st.builds(CodecResult, words, words, st.lists(points, max_size=2).map(tuple), maybe, st.none(), maybe)
pictures = st.builds(
    PictureSet, words, st.integers(1, 9), words, st.tuples(words), st.tuples(st.tuples(st.just(3), st.just(2)))
)
deltas = st.builds(BdResult, words, words, words, maybe, maybe, st.floats(0, 1), st.none() | words)
machines = st.builds(Machine, words, st.integers(1, 9), st.integers(1, 9), words, st.none() | words, words)
results = st.builds(
    Results, machines, pictures, st.lists(codecs, max_size=2).map(tuple), st.lists(deltas, max_size=2).map(tuple)
)

SMALL = Results(
    Machine("cpu", 2, 1, "3.11", None, "2030-01-01"),
    PictureSet("photos", 1, "ab", ("a.png",), ((3, 2),)),
    (CodecResult("jpeg", "JPEG", (Point(50, 0.5, 30.0, 31.0, 0.9, 0.1, 0.2),)),),
)


@given(results)
def test_what_is_written_is_read(found: Results) -> None:
    assert from_json(to_json(found)) == found


def test_files_hold_results(tmp_path: Path) -> None:
    save(SMALL, tmp_path / "r.json")
    assert load(tmp_path / "r.json") == SMALL
    assert SMALL.codec("jpeg").label == "JPEG"
    with pytest.raises(InputError, match=r"no codec 'webp'.*jpeg"):
        SMALL.codec("webp")
    with pytest.raises(OutputError, match="folder does not exist"):
        save(SMALL, tmp_path / "none" / "r.json")
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "none.json")


def test_keys_that_are_not_known_are_left_out() -> None:
    assert from_json(json.dumps(json.loads(to_json(SMALL)) | {"later": [1]})) == SMALL


def changed(*path: str | int, value: Any) -> str:
    found = json.loads(to_json(SMALL))
    place = found
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no results of tinify"),
        ("{}", "no results of tinify"),
        ('{"tinify_results": NaN}', "NaN is no number"),
        (changed("tinify_results", value=7), "format 7"),
        (changed("machine", value=3), "machine is 3: expected an object"),
        (changed("machine", "cores", value=None), "machine has no 'cores'"),
        (changed("codecs", value={"a": 1}), "codecs is .*expected a list"),
        (
            changed("codecs", 0, "points", 0, "bpp", value="0.5"),
            r"codecs\[0\]: points\[0\]: bpp is '0.5': expected",
        ),
        (changed("codecs", 0, "points", 0, "bpp", value=True), "bpp is True"),
        (changed("pictures", "sizes", value=[[1, 2, 3]]), "sizes.*expected a list"),
    ],
)
def test_what_is_no_result_says_where(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_json(text)


@given(st.recursive(st.none() | st.booleans() | numbers | words, lambda inner: st.lists(inner, max_size=3)))
def test_anything_in_a_field_is_read_or_refused(value: Any) -> None:
    for field in dataclasses.fields(Results):
        found = json.loads(to_json(SMALL)) | {field.name: value}
        try:
            from_json(json.dumps(found))
        except InputError as error:
            assert field.name in str(error)  # noqa: PT017


def test_codecs_by_name() -> None:
    assert {"jpeg", "jpeg2000", "webp", "avif", "jpegxl", "compressai"} <= set(names())
    assert open_codec("jpeg[subsampling=4:4:4,progressive=true]").label == "JPEG 4:4:4"
    assert parse(" a/b[x=1, y = z] ") == ("a/b", {"x": "1", "y": "z"})
    assert split("a[x=1,y=2], b,,c") == ["a[x=1,y=2]", "b", "c"]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("jpg", UnknownNameError, "unknown codec 'jpg': did you mean 'jpeg'"),
        ("acme/none", UnknownNameError, "no plugin 'acme' is installed"),
        ("mbt2018-mean", UnknownNameError, "no weights here"),
        ("mbt2018-mean[x=1]", InputError, "takes arguments"),
        ("jpeg[", InputError, "expected NAME or NAME"),
        ("jpeg[subsampling]", InputError, "expected NAME or NAME"),
        ("jpeg[subsampling=4:1:0]", SpecError, "'4:2:0' or '4:4:4'"),
        ("jpeg[sampling=4:4:4]", SpecError, "did you mean 'subsampling'"),
        ("webp[method=nan]", SpecError, "method"),
        ("webp[method=7]", SpecError, "at most 6"),
        ("avif[speed=1.5]", SpecError, "speed"),
        ("compressai", SpecError, "architecture"),
    ],
)
def test_what_is_no_codec_is_named(text: str, kind: type[TinifyError], said: str) -> None:
    with pytest.raises(kind, match=said):
        open_codec(text)


def test_a_component_must_make_a_codec() -> None:
    @component("picture_codec", "local/wrong", target="builtins:object")
    class Wrong:
        """None."""

    get_registry().register(Wrong)
    with pytest.raises(PluginError, match="made a object: expected a PictureCodec"):
        open_codec("local/wrong")


@pytest.mark.parametrize("name", ["jpeg", "jpeg[subsampling=4:4:4]", "jpeg2000", "webp", "avif"])
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_classic_codecs_give_pictures_back(name: str, height: int, width: int, seed: int) -> None:
    codec = open_codec(name)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for quality in (codec.settings[0], codec.settings[-1]):
        decoded = codec.decode(codec.encode(pixels, quality))
        assert decoded.dtype == np.uint8
        assert decoded.shape == pixels.shape


def test_more_quality_is_nearer() -> None:
    y, x = np.mgrid[:64, :96]
    waves = (128 + 90 * np.sin(x / 5 + y / 9)[..., None] * [1, 0.5, -0.7]).astype(np.uint8)
    for name in ("jpeg", "jpeg2000", "webp", "avif"):
        codec = open_codec(name)
        errors = [
            np.square(codec.decode(codec.encode(waves, quality)).astype(float) - waves).mean()
            for quality in (codec.settings[0], codec.settings[-1])
        ]
        assert errors[1] < errors[0] / 4


class Two(PictureCodec):
    """A codec of two settings."""

    settings = (1, 2)

    def encode(self, pixels: Any, quality: float | None) -> bytes:
        return b""

    def decode(self, data: bytes) -> Any:
        return None


def test_qualities_are_checked() -> None:
    Two().check(2)
    for quality, said in ((3.0, "quality 3: .*qualities 1, 2"), (None, "quality none")):
        with pytest.raises(InputError, match=said):
            Two().check(quality)
    for quality, said in ((101.0, "0 to 100"), (float("nan"), "nan"), (None, "none")):
        with pytest.raises(InputError, match=said):
            open_codec("jpeg").check(quality)
    with pytest.raises(InputError, match="whole numbers"):
        open_codec("jpeg").encode(np.zeros((2, 2, 3), np.uint8), 50.5)


def test_published_curves_are_whole() -> None:
    for name, curve in references().items():
        assert curve.name == name
        assert curve.label
        assert curve.source
        assert list(curve.bpp) == sorted(curve.bpp)
        assert curve.psnr or curve.ms_ssim
        for values in (curve.psnr, curve.ms_ssim, curve.encode_s, curve.decode_s):
            assert len(values) in (0, len(curve.bpp))
        assert all(20 < value < 50 for value in curve.psnr)
        assert all(0.8 < value < 1 for value in curve.ms_ssim)
    assert "float" in reference("vtm").caveat or "rounded" in reference("vtm").caveat
    with pytest.raises(UnknownNameError, match="did you mean 'vtm'"):
        reference("vmt")
