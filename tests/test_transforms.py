"""Laws of the colour transforms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinify.errors import InputError
from tinify.transforms import RGB2YCbCr, YCbCr2RGB, YUV420To444, YUV444To420, functional

UPSAMPLING = st.sampled_from(functional.UPSAMPLING)


@st.composite
def pictures(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> Tensor:
    """(3, H, W) or (batch, 3, H, W) in [0, 1]."""
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    return torch.rand(*batch, 3, height, width, generator=generator, dtype=dtype)


@given(pictures())
def test_rgb_comes_back(rgb: Tensor) -> None:
    torch.testing.assert_close(YCbCr2RGB()(RGB2YCbCr()(rgb)), rgb, rtol=0, atol=1e-12)


@given(pictures())
def test_ycbcr_stays_in_range_and_is_linear(rgb: Tensor) -> None:
    ycbcr = RGB2YCbCr()(rgb)
    assert ycbcr.shape == rgb.shape
    assert -1e-12 <= float(ycbcr.min()) <= float(ycbcr.max()) <= 1 + 1e-12
    half = torch.tensor([0.0, 0.5, 0.5], dtype=rgb.dtype)[:, None, None]
    torch.testing.assert_close(RGB2YCbCr()(0.25 * rgb) - half, 0.25 * (ycbcr - half))


@given(st.floats(0, 1))
def test_grey_has_neutral_chroma_both_ways(level: float) -> None:
    grey = torch.full((3, 2, 2), level)
    y, cb, cr = RGB2YCbCr()(grey)
    torch.testing.assert_close(torch.stack([cb, cr]), torch.full((2, 2, 2), 0.5))
    torch.testing.assert_close(y, grey[0])
    neutral = torch.stack([grey[0], torch.full((2, 2), 0.5), torch.full((2, 2), 0.5)])
    assert torch.equal(YCbCr2RGB()(neutral), grey)


def test_primaries_are_those_of_bt_709() -> None:
    red, green, blue = (torch.eye(3)[:, :, None, None][index] for index in range(3))
    got = torch.stack([RGB2YCbCr()(primary).flatten() for primary in (red, green, blue)])
    expected = [[0.2126, 0.5 - 0.1063 / 0.9278, 1.0], [0.7152, 0.5 - 0.3576 / 0.9278, 0.5 - 0.3576 / 0.7874]]
    torch.testing.assert_close(got[:2], torch.tensor(expected))
    torch.testing.assert_close(got[2], torch.tensor([0.0722, 1.0, 0.5 - 0.0361 / 0.7874]))


@given(pictures(), UPSAMPLING)
def test_any_size_goes_to_420_and_back(yuv: Tensor, mode: str) -> None:
    y, u, v = YUV444To420()(yuv)
    height, width = yuv.shape[-2:]
    assert u.shape == v.shape == (*yuv.shape[:-3], 1, (height + 1) // 2, (width + 1) // 2)
    assert torch.equal(y, yuv[..., :1, :, :])
    back = YUV420To444(mode)((y, u, v))
    assert isinstance(back, Tensor)
    assert back.shape == yuv.shape
    planes = YUV420To444(mode, return_tuple=True)([y, u, v])
    assert isinstance(planes, tuple)
    assert torch.equal(torch.cat(planes, -3), back)


@given(pictures())
def test_chroma_is_the_mean_of_the_square_that_it_covers(yuv: Tensor) -> None:
    _, u, v = functional.yuv_444_to_420(yuv)
    for plane, full in ((u, yuv[..., 1, :, :]), (v, yuv[..., 2, :, :])):
        for row in range(plane.shape[-2]):
            for column in range(plane.shape[-1]):
                square = full[..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                torch.testing.assert_close(plane[..., 0, row, column], square.mean((-2, -1)))


@given(pictures())
def test_a_tensor_and_its_planes_are_the_same(yuv: Tensor) -> None:
    for one, other in zip(YUV444To420()(yuv), YUV444To420()(yuv.split(1, -3)), strict=True):
        assert torch.equal(one, other)


@given(pictures(), st.floats(0, 1), UPSAMPLING)
def test_flat_chroma_survives(yuv: Tensor, level: float, mode: str) -> None:
    flat = torch.cat([yuv[..., :1, :, :], torch.full_like(yuv[..., 1:, :, :], level)], -3)
    back = YUV420To444(mode)(YUV444To420()(flat))
    torch.testing.assert_close(back, flat)


def test_the_mode_counts() -> None:
    y420 = functional.yuv_444_to_420(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    made = [YUV420To444(mode)(y420) for mode in functional.UPSAMPLING]
    expected = [functional.yuv_420_to_444(y420, mode) for mode in functional.UPSAMPLING]
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))  # type: ignore[arg-type]
    assert not any(torch.equal(made[i], made[j]) for i, j in ((0, 1), (0, 2), (1, 2)))  # type: ignore[arg-type]
    nearest = made[2]
    assert isinstance(nearest, Tensor)
    assert torch.equal(nearest[:, 1:, ::2, ::2], torch.cat(y420[1:], 1))


@given(pictures())
def test_gradients_pass(rgb: Tensor) -> None:
    rgb.requires_grad_()
    back = YCbCr2RGB()(YUV420To444()(YUV444To420()(RGB2YCbCr()(rgb))))  # type: ignore[arg-type]
    back.sum().backward()
    assert rgb.grad is not None
    assert bool(torch.isfinite(rgb.grad).all())
    assert bool(rgb.grad.any())


def test_transforms_show_what_they_are() -> None:
    assert [repr(made) for made in (RGB2YCbCr(), YUV444To420(), YUV420To444("nearest"))] == [
        "RGB2YCbCr()",
        "YUV444To420(mode='avg_pool')",
        "YUV420To444(mode='nearest', return_tuple=False)",
    ]


PLANE, HALF = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)
WRONG: list[tuple[Any, Any, str]] = [
    (functional.rgb2ycbcr, torch.zeros(2, 4, 4), r"got torch.float32 \(2, 4, 4\)"),
    (functional.rgb2ycbcr, torch.zeros(3, 4, 4, dtype=torch.uint8), r"got torch.uint8 \(3, 4, 4\)"),
    (functional.ycbcr2rgb, torch.zeros(1, 1, 3, 4, 4), r"got torch.float32 \(1, 1, 3, 4, 4\)"),
    (functional.ycbcr2rgb, "picture", "got 'picture'"),
    (functional.yuv_444_to_420, torch.zeros(4, 4), r"got torch.float32 \(4, 4\)"),
    (functional.yuv_444_to_420, (PLANE, PLANE, HALF), "planes of 4:4:4 have one shape, got .*2, 2"),
    (functional.yuv_444_to_420, 3, "got a int"),
    (functional.yuv_420_to_444, torch.zeros(1, 3, 4, 4), "got a Tensor"),
    (functional.yuv_420_to_444, (PLANE, HALF), r"three float tensors .* got torch.float32 \(1, 1, 4, 4\), "),
    (functional.yuv_420_to_444, (PLANE, HALF, torch.zeros(1, 2, 2, 2)), r"\(1, 2, 2, 2\)"),
    (functional.yuv_420_to_444, (PLANE, HALF, PLANE), r"beside luma \(1, 1, 4, 4\) is \(1, 1, 2, 2\), got"),
    (YUV444To420, "bilinear", "unknown mode 'bilinear': expected 'avg_pool'"),
    (YUV420To444, "lanczos", "unknown mode 'lanczos': expected 'bilinear' or 'bicubic' or 'nearest'"),
]


@pytest.mark.parametrize(("function", "argument", "words"), WRONG)
def test_wrong_input_is_named(function: Any, argument: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        function(argument)
    assert isinstance(raised.value, ValueError)
