"""Checks of picture codecs: any size there and back, the same bytes everywhere, settings by rising rate."""

from __future__ import annotations

import numpy as np

from tinify.errors import InputError, MissingPackageError
from tinify.evaluation.codec import PictureCodec, Pixels
from tinify.testing.cases import Case
from tinify.testing.fresh import in_fresh_process

SIZES = ((64, 96), (17, 33), (1, 1))


def usable(case: Case) -> bool:
    """Whether the packages that the codec needs are installed; nothing is checked of it without them."""
    try:
        case.build()
    except MissingPackageError:
        return False
    except Exception:  # which the checks will meet again, and tell
        return True
    return True


def check_round_trip(case: Case) -> None:
    """Pictures of any size come back at that size, as uint8 (height, width, 3), at the first and last setting."""
    codec = codec_of(case)
    for setting in {codec.settings[0], codec.settings[-1]}:
        codec.check(setting)
        for height, width in SIZES:
            pixels = sample(height, width)
            data = codec.encode(pixels, setting)
            assert isinstance(data, bytes), f"{case.label}: encode gives a {type(data).__name__}, expected bytes"
            decoded = codec.decode(data)
            shown = getattr(decoded, "dtype", type(decoded).__name__), getattr(decoded, "shape", None)
            right = isinstance(decoded, np.ndarray) and shown == (np.uint8, pixels.shape)
            assert right, f"{case.label}: decode gives {shown}, expected uint8 {pixels.shape}"


def check_settings(case: Case) -> None:
    """The settings are by rising rate, within the limits, and a quality outside them is refused by InputError."""
    codec = codec_of(case)
    pixels = sample(*SIZES[0])
    sizes = [len(codec.encode(pixels, setting)) for setting in codec.settings]
    assert sizes == sorted(sizes), f"{case.label}: its settings give {sizes} bytes, which do not rise"
    beyond = 1.0 if codec.limits is None else codec.limits[1] + 1
    try:
        codec.check(beyond)
    except InputError:
        return
    assert beyond in codec.settings, f"{case.label}: quality {beyond:g} is not refused"


def check_pure(case: Case) -> None:
    """Encoding again, and by another object, gives the same bytes; decoding the same pixels; the input is kept."""
    codec, pixels = codec_of(case), sample(*SIZES[0])
    setting = codec.settings[len(codec.settings) // 2]
    data = codec.encode(pixels, setting)
    assert np.array_equal(pixels, sample(*SIZES[0])), f"{case.label}: encode writes to its input"
    for other in (codec, codec_of(case)):
        assert other.encode(pixels, setting) == data, f"{case.label}: the same picture gives other bytes"
        same = np.array_equal(other.decode(data), codec.decode(data))
        assert same, f"{case.label}: the same bytes give other pixels"


def check_fresh_process(case: Case) -> None:
    """Another process decodes what this one has encoded, to the same pixels."""
    codec = codec_of(case)
    data = codec.encode(sample(*SIZES[0]), codec.settings[-1])
    decoded = in_fresh_process(_decoded, case, data)
    assert np.array_equal(decoded, codec.decode(data)), f"{case.label}: a fresh process decodes other pixels"


def codec_of(case: Case) -> PictureCodec:
    """The codec of a case."""
    codec = case.build()
    assert isinstance(codec, PictureCodec), f"{case.label} makes a {type(codec).__name__}, expected a PictureCodec"
    assert codec.settings, f"{case.label} has no settings: give at least one, (None,) for a codec without a quality"
    return codec


def sample(height: int, width: int) -> Pixels:
    """Waves of several lengths with some grain, as photographs have them."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / scale + channel) * np.cos(y / scale) for channel, scale in enumerate((3.0, 7.0, 19.0))]
    grain = generator.normal(0, 6, (height, width, 3))
    return np.clip(128 + 80 * np.stack(waves, 2) + grain, 0, 255).astype(np.uint8)


def _decoded(case: Case, data: bytes) -> Pixels:
    return codec_of(case).decode(data)


PICTURE_CODEC_CHECKS = (check_round_trip, check_settings, check_pure, check_fresh_process)
