"""Laws of exact arithmetic: integers are those of the definition in every carrier, near the float model's."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tinify.errors import InputError
from tinify.exact import (
    CARRIERS,
    Entry,
    ExactActivation,
    ExactGain,
    ExactLayer,
    IndexHead,
    arithmetic,
    exact_layers,
    exchange,
    fitted,
    geometry,
    probe,
    products,
    shell,
    use_carrier,
    watched,
)
from tinify.exact.arithmetic import INPUT_LIMIT, LIMIT, WEIGHT_LIMIT, digits, integer_products, plain_arithmetic
from tinify.exact.choose import Seen, exact_layer
from tinify.exact.convert import changes
from tinify.exact.entry import SLOPE_BITS, power_of_two
from tinify.exact.gain import _power
from tinify.layers import GDN, CheckerboardMaskedConv2d, DepthwiseBlock, GainUnit, MaskedConv2d, ResidualBlock

CPU = torch.device("cpu")
KINDS: dict[str, Callable[[], Any]] = {
    "1x1": lambda: nn.Conv2d(3, 4, 1),
    "3x3": lambda: nn.Conv2d(5, 7, 3, padding=1),
    "without bias or padding": lambda: nn.Conv2d(2, 3, (3, 2), bias=False),
    "strided": lambda: nn.Conv2d(4, 6, 5, stride=2, padding=2),
    "of each channel": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "of each channel, strided": lambda: nn.Conv2d(4, 4, 5, stride=2, padding=2, groups=4),
    "two of each channel": lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3),
    "grouped": lambda: nn.Conv2d(6, 8, 3, padding=1, groups=2),
    "transposed 3": lambda: nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1, output_padding=1),
    "transposed 4": lambda: nn.ConvTranspose2d(4, 5, 4, stride=2, padding=1),
    "transposed 5": lambda: nn.ConvTranspose2d(4, 5, 5, stride=2, padding=2, output_padding=1),
    "transposed 1": lambda: nn.ConvTranspose2d(4, 5, 3, stride=1, padding=1),
    "masked A": lambda: MaskedConv2d(3, 6, 5, padding=2),
    "masked B": lambda: MaskedConv2d(3, 6, 3, padding=1, mask_type="B"),
    "masked, without padding": lambda: MaskedConv2d(3, 6, 3),
    "checkerboard": lambda: CheckerboardMaskedConv2d(3, 6, 5, padding=2),
    "linear": lambda: nn.Linear(9, 5),
}
SLOPES = st.sampled_from([1.0, 0.0, 3 / 256, 0.25])
SEEDS = st.integers(0, 2**31)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(kind: str, seed: int, slope: float = 1.0) -> tuple[Any, ExactLayer]:
    """A layer of random weights, and its exact form by inputs of a few sizes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = KINDS[kind]().eval()
        for parameter in layer.parameters():
            parameter.data *= torch.exp(torch.randn(parameter.shape[0], *[1] * (parameter.ndim - 1)))
    seen = Seen()
    for part in range(2):
        seen.add(inputs(layer, 2, 12, 12, seed + part))
    return layer, exact_layer(layer, seen, slope)


def inputs(layer: Any, batch: int, height: int, width: int, seed: int) -> Tensor:
    """Channels of different sizes."""
    channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    sides = () if isinstance(layer, nn.Linear) else (height, width)
    return normal(batch, channels, *sides, seed=seed) * 4.0 ** (torch.arange(channels) % 3).reshape(
        -1, *[1] * len(sides)
    )


def rounded(entry: Entry, x: Tensor) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The definition of an entry: int64, channels last."""
    e, low, high = (value.numpy().astype(np.int64) for value in (entry.exponent, entry.low, entry.high))
    scaled = np.moveaxis(x.numpy().astype(np.float64), 1, -1) * 2.0**e
    a = np.clip(np.rint(scaled), low, high).astype(np.int64)
    return np.where(a < 0, np.rint(np.float32(a) * np.float32(int(entry.slope) / 2**SLOPE_BITS)), a).astype(np.int64)


def defined(layer: ExactLayer, x: Tensor) -> Tensor:
    """The definition of an exact layer: loops over outputs and taps, in int64."""
    a, geometry = rounded(layer.entry, x), layer.geometry
    a = a[:, None, None] if x.ndim == 2 else a
    top, bottom, left, right = (max(0, side) for side in geometry.pad)
    cut = [max(0, -side) for side in geometry.pad]
    a = np.pad(a, ((0, 0), (top, bottom), (left, right), (0, 0)))[:, cut[0] : a.shape[1] + top + bottom - cut[1]]
    a = a[:, :, cut[2] : a.shape[2] - cut[3]]
    weight = layer.weight.numpy().astype(np.int64).reshape(len(geometry.taps), -1, layer.weight.shape[1])
    last = np.max(geometry.taps, 0)
    rows, columns = ((side - 1 - end) // geometry.stride + 1 for side, end in zip(a.shape[1:3], last, strict=True))
    sums = np.zeros((len(a), rows, columns, weight.shape[2]), np.int64) + layer.bias.numpy()
    for row, column, (tap, (i, j)) in itertools.product(range(rows), range(columns), enumerate(geometry.taps)):
        seen = a[:, row * geometry.stride + i, column * geometry.stride + j]
        sums[:, row, column] += seen * weight[tap, 0] if geometry.each else np.einsum("bi,io->bo", seen, weight[tap])
    assert (np.abs(sums) <= layer.bound().numpy()).all()
    y = torch.tensor(sums * 2.0 ** -layer.shift.numpy().astype(np.float64)).permute(0, 3, 1, 2)
    return y[:, :, 0, 0] if x.ndim == 2 else F.pixel_shuffle(y, geometry.shuffle)


def worst(layer: ExactLayer, output: int, up: bool) -> Tensor:
    """The window, (1, inputs, height, width), that brings a sum of a layer as far up or down as it goes."""
    geometry, entry = layer.geometry, layer.entry
    x = torch.zeros(1, layer.in_channels, *geometry.size)
    weight = layer.weight.reshape(len(geometry.taps), -1, layer.weight.shape[1])[:, :, output]
    for (row, column), of_tap in zip(geometry.taps, weight, strict=True):
        for place, one in enumerate(of_tap.tolist()):
            channel = output if geometry.each else place
            limit = entry.high[channel] if (one >= 0) == up else entry.low[channel]
            x[0, channel, row, column] = float(limit) * 2.0 ** -int(entry.exponent[channel])
    return x


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def same_in_all_carriers(layer: ExactLayer, x: Tensor) -> Tensor:
    """What a layer makes of inputs, once it is the same in all carriers and layouts."""
    wanted: Tensor = layer(x)
    assert wanted.dtype == torch.float32
    laid_out = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.t().contiguous().t()
    for carrier in CARRIERS:
        layer.carrier = carrier
        for given_x in (x, laid_out):
            assert torch.equal(layer(given_x), wanted), carrier
        assert torch.equal(torch.cat([layer(one) for one in x.split(1)]), wanted), carrier
    layer.carrier = CARRIERS[0]
    return wanted


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(SEEDS, st.integers(1, 3), st.integers(3, 7), st.integers(3, 9), SLOPES)
def test_every_layer_is_its_definition_in_all_carriers(
    kind: str, seed: int, batch: int, height: int, width: int, slope: float
) -> None:
    layer, exact = made(kind, seed, slope)
    exact.check("it")
    x = inputs(layer, batch, height, width, seed)
    assert torch.equal(same_in_all_carriers(exact, x).double(), defined(exact, x))


HOSTILE: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": torch.zeros_like,
    "minus zeros": lambda x: -torch.zeros_like(x),
    "ones": torch.ones_like,
    "1e30": lambda x: torch.full_like(x, 1e30),
    "-1e30": lambda x: torch.full_like(x, -1e30),
    "infinity": lambda x: torch.full_like(x, torch.inf) * torch.sign(x),
    "halves": lambda x: torch.round(x * 4) / 8,
    "huge integers": lambda x: torch.round(x * 2**24),
    "tiny": lambda x: x * 1e-38,
    "extremes": lambda x: 1e9 * (1 - 2 * (torch.arange(x.numel()).reshape(x.shape) % 2)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slope", [1.0, 3 / 256])
def test_hostile_inputs_change_nothing_of_it(kind: str, slope: float) -> None:
    layer, exact = made(kind, 1, slope)
    for what in HOSTILE.values():
        x = what(inputs(layer, 2, 4, 5, 2))
        assert torch.equal(same_in_all_carriers(exact, x).double(), defined(exact, x))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(SEEDS, SLOPES)
def test_the_worst_inputs_reach_the_bound_and_no_more(kind: str, seed: int, slope: float) -> None:
    _, exact = made(kind, seed, slope)
    assert int(exact.bound().max()) < LIMIT
    shuffle = exact.geometry.shuffle
    for output in range(exact.weight.shape[1]):
        reached = []
        for up in (True, False):
            window = worst(exact, output, up)
            found = []
            for exact.carrier in CARRIERS:
                y = exact(window[:, :, 0, 0]) if kind == "linear" else F.pixel_unshuffle(exact.valid(window), shuffle)
                found.append(y.flatten(1))
            assert all(torch.equal(one, found[0]) for one in found)
            reached.append(abs(float(found[0][0, output]) * 2.0 ** int(exact.shift[output])))
        assert max(reached) <= int(exact.bound()[output])
        if slope in (0.0, 1.0):
            assert max(reached) >= int(exact.bound()[output]) - abs(int(exact.bias[output]))


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_threads_libraries_and_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(48, 40, 5, padding=2)
    seen, x = Seen(), normal(2, 48, 12, 11)
    seen.add(x)
    exact = exact_layer(layer, seen)
    wanted = exact(x)
    for count, mkldnn in itertools.product((1, 2), (True, False)):
        with threads(count), torch.backends.mkldnn.flags(enabled=mkldnn):
            assert torch.equal(same_in_all_carriers(exact, x), wanted)
    monkeypatch.setattr(geometry, "_BLOCK", 30_000)
    assert torch.equal(same_in_all_carriers(exact, x), wanted)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(SEEDS)
def test_the_float_layer_is_approximated(kind: str, seed: int) -> None:
    layer, exact = made(kind, seed)
    with torch.no_grad():
        wanted = layer(inputs(layer, 2, 12, 12, seed))
    found = exact(inputs(layer, 2, 12, 12, seed))
    assert found.shape == wanted.shape
    assert float((found - wanted).norm() / wanted.norm()) < 0.005


TOO_LARGE: dict[str, Callable[[ExactLayer], Any]] = {
    "h_s.0: a weight can reach 8192": lambda exact: exact.weight.fill_(WEIGHT_LIMIT + 1),
    "h_s.0: a sum can reach": lambda exact: exact.weight.fill_(WEIGHT_LIMIT),
    "h_s.0: an input can reach 32640": lambda exact: exact.entry.high.fill_(INPUT_LIMIT + 1),
    "h_s.0: an exponent can reach 100": lambda exact: exact.shift.fill_(100),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_integers_made_too_large_by_hand_are_refused_by_name(what: str) -> None:
    _, exact = made("3x3", 0)
    exact.check("h_s.0")
    TOO_LARGE[what](exact)
    with pytest.raises(InputError, match=what):
        exact.check("h_s.0")


@given(SEEDS, st.integers(1, 300), st.integers(1, 9), st.integers(1, 70))
@settings(max_examples=10)
def test_products_of_digits_are_products(seed: int, count: int, rows: int, outputs: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    most = min(WEIGHT_LIMIT, LIMIT // (INPUT_LIMIT * count) + 1)
    a = torch.randint(-INPUT_LIMIT, INPUT_LIMIT + 1, (rows, count), generator=generator)
    weight = torch.randint(-most, most + 1, (count, outputs), generator=generator)
    weight = weight * ((a.abs().amax(0)[:, None] * weight.abs()).cumsum(0) < LIMIT)
    wanted = (a[:, :, None] * weight).sum(1)
    for carrier in CARRIERS:
        assert torch.equal(products(a.float(), weight.to(torch.int16), carrier).long(), wanted)


@pytest.mark.parametrize("value", [WEIGHT_LIMIT, -WEIGHT_LIMIT, 0, 63, 64, -64, -65, 4096])
def test_digits_have_seven_bits_and_make_the_weight(value: int) -> None:
    high, low = digits(torch.tensor([[value]], dtype=torch.int16))
    assert high.dtype == low.dtype == torch.int8
    assert 128 * int(high) + int(low) == value
    assert max(abs(int(high)), abs(int(low))) <= 64
    for a in (INPUT_LIMIT, -INPUT_LIMIT, 127, 128, -128, -129, 1):
        assert int(integer_products(torch.tensor([[float(a)]]), (high, low))) == a * value


def test_more_inputs_than_int32_holds_digits_of_are_added_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "_PIECE", 7)
    assert probe.__wrapped__(CPU, "integer")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_probe_finds_shorter_arithmetic(carrier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(CPU, carrier)
    whole, wrong = torch.addmm, torch._int_mm
    monkeypatch.setattr(torch, "addmm", lambda *of: whole(*(one.bfloat16() for one in of)).to(of[0].dtype))
    monkeypatch.setattr(torch, "_int_mm", lambda *of: wrong(*of).clamp(-(2**15), 2**15 - 1))
    assert not probe.__wrapped__(CPU, carrier)


def test_another_carrier_is_named() -> None:
    with pytest.raises(InputError, match="carrier 'float16': expected one of float32, float64, integer"):
        products(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.int16), "float16")


def test_autocast_changes_nothing() -> None:
    layer, exact = made("3x3", 0)
    x = inputs(layer, 2, 6, 6, 0)
    wanted = same_in_all_carriers(exact, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(same_in_all_carriers(exact, x), wanted)
        assert torch.is_autocast_enabled("cpu")


def precision() -> tuple[str, ...]:
    parts: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    return tuple(part.fp32_precision for part in parts)


@pytest.mark.parametrize("setting", ["highest", "high", "medium"])
def test_the_precision_of_products_is_that_of_before(setting: str) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(setting)
        with contextlib.suppress(KeyError), plain_arithmetic(CPU):
            assert torch.get_float32_matmul_precision() == "highest"
            raise KeyError
        assert torch.get_float32_matmul_precision() == setting
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="newer versions of torch have it")
def test_precision_that_is_set_by_library_is_that_of_before_too() -> None:
    matmul: Any = torch.backends.mkldnn.matmul
    try:
        matmul.fp32_precision = "bf16"
        before = precision()
        with plain_arithmetic(CPU):
            assert {"tf32", "bf16"}.isdisjoint(precision())
        assert precision() == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_meta_device_gives_shapes() -> None:
    _, exact = made("transposed 5", 0)
    assert exact.to("meta")(torch.zeros(1, 4, 3, 5, device="meta")).shape == (1, 5, 6, 10)


def test_rounding_has_no_gradient() -> None:
    layer, exact = made("3x3", 0)
    assert not exact(inputs(layer, 1, 4, 4, 0).requires_grad_()).requires_grad


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-40, 40, width=32), min_size=1, max_size=20),
    st.integers(-12, 24),
    st.integers(0, 2**20),
    st.integers(0, INPUT_LIMIT),
    st.sampled_from([0, 1, 164, 4096, 16383, 16384]),
)
@example([-1.0, -300.0, 7.5], 0, 2**20, INPUT_LIMIT, 0)
def test_an_entry_is_its_definition(numbers: list[float], exponent: int, low: int, high: int, slope: int) -> None:
    # More below zero than what the slope brings back into the range has no place there.
    low = min(low, INPUT_LIMIT * 2**SLOPE_BITS // slope) if slope else low
    entry, x = Entry(1), torch.tensor(numbers)[:, None]
    entry.set([exponent], [-low], [high], slope)
    a = entry(x)
    assert np.array_equal(a.numpy(), rounded(entry, x))
    down, up = entry.reach
    assert -int(down) <= float(a.min())
    assert float(a.max()) <= int(up)
    layered = entry(x.reshape(1, 1, -1, 1))
    assert layered.shape == (1, len(numbers), 1, 1)
    assert torch.equal(layered.flatten(), a.flatten())


def test_qrelu_is_an_entry_of_no_numbers_below_zero() -> None:
    entry, x = Entry(1), torch.tensor([[-3.0], [-0.2], [0.0], [1.6], [1e6]])
    for low, slope in ((0, 2**SLOPE_BITS), (-100, 0)):
        entry.set([2], [low], [255], slope)
        assert entry(x).flatten().tolist() == [0, 0, 0, 6, 255]


@given(SEEDS, st.floats(0, 1), st.integers(1, 3))
@settings(max_examples=10)
def test_an_exact_activation_is_near_the_float_one(seed: int, slope: float, dimensions: int) -> None:
    x = normal(2, 3, *[4] * (dimensions - 1), seed=seed) * torch.tensor([0.01, 1.0, 100.0]).reshape(
        -1, *[1] * (dimensions - 1)
    )
    model = nn.ModuleDict({"a": nn.LeakyReLU(slope)})
    with watched(model, ["a"]) as seen:
        wanted = model["a"](x)
    exchange(model, ["a"], lambda change: fitted(change, seen))
    assert isinstance(model["a"], ExactActivation)
    found = model["a"](x)
    assert found.shape == x.shape
    size = x.transpose(0, 1).flatten(1).abs().amax(1)
    error = (found - wanted).transpose(0, 1).flatten(1).abs().amax(1)
    assert bool((error <= size * (2**-13 + 2**-9)).all())


def test_powers_of_two_are_exact() -> None:
    exponent = torch.arange(-126, 128)
    assert torch.equal(power_of_two(exponent).double(), torch.exp2(exponent.double()))


LINKS: dict[str, Callable[[Tensor], Tensor]] = {"softplus": F.softplus, "identity": lambda x: x}
TABLE = torch.exp(torch.linspace(np.log(0.11), np.log(256), 64))


@pytest.mark.parametrize("link", LINKS)
@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.floats(-8, 300, width=32), min_size=1, max_size=50))
def test_an_index_head_is_the_link_and_the_table(link: str, numbers: list[float]) -> None:
    head, x = IndexHead(len(TABLE)), torch.tensor(numbers)
    head.fit(LINKS[link], TABLE, 0.3)
    wide, table = torch.cat([x.double() - 2.0**-15, x.double() + 2.0**-15]), TABLE.double()
    scale = LINKS[link](wide).clamp(min=0.3)
    below, above = table[torch.searchsorted(table, scale).clamp(max=63)].chunk(2)
    found = head(x).double()
    assert bool(((below == found) | (above == found)).all())
    assert bool((head(x.sort().values).diff() >= 0).all())


def test_what_an_index_head_chooses_is_a_scale_of_the_table() -> None:
    head = IndexHead(len(TABLE))
    head.fit(F.softplus, TABLE, 0.0)
    x = torch.linspace(-20, 300, 10_000)
    assert set(head(x).tolist()) <= set(TABLE.tolist())
    assert torch.equal(head(x.reshape(2, 50, 100, 1)).flatten(), head(x))
    loaded = IndexHead(len(TABLE))
    loaded.load_state_dict(head.state_dict())
    assert torch.equal(loaded(x), head(x))


def gains(seed: int, points: int = 10) -> GainUnit:
    unit = GainUnit(6, points=points, span=20.0)
    unit.log_gain.data += 0.7 * normal(points, 6, seed=seed)
    return unit


@given(SEEDS, st.floats(1, 10))
def test_an_exact_gain_is_near_the_float_one(seed: int, quality: float) -> None:
    unit, y = gains(seed), normal(2, 6, 3, 2, seed=seed)
    exact = ExactGain.of(unit)
    assert exact.qualities == unit.qualities
    thousandth = round(quality * 1000) / 1000
    found = exact(y, quality)
    torch.testing.assert_close(found, unit(y, thousandth).detach(), rtol=1e-4, atol=0)
    assert torch.equal(found, exact(y, thousandth))
    each = exact(y, torch.tensor([quality, 2.0]))
    assert torch.equal(each[:1], found[:1])
    assert torch.equal(each[1:], exact(y, 2)[1:])


def test_an_exact_gain_refuses_what_the_float_one_does() -> None:
    with pytest.raises(InputError, match=r"quality 11: expected a number from 1 to 10"):
        ExactGain.of(gains(0))(torch.ones(1, 6, 1, 1), 11)


@given(st.lists(st.integers(-(2**21), 2**21), min_size=1, max_size=100))
@example(list(range(0, 2**16, 255)))
@example([0, 65535, 65536, -1, -65536])
def test_powers_from_tables_are_near(logarithms: list[int]) -> None:
    found = _power(torch.tensor(logarithms)).double()
    wanted = torch.exp2(torch.tensor(logarithms).double() / 2**16)
    assert float((found / wanted - 1).abs().max()) < 2.0**-22


class Shared(nn.Module):
    """Layers and activations that stand in several places."""

    def __init__(self) -> None:
        super().__init__()
        relu, layer = nn.LeakyReLU(0.25), nn.Conv2d(4, 4, 3, padding=1)
        self.twice = nn.Sequential(nn.Conv2d(4, 4, 1), relu, nn.Conv2d(4, 4, 1), relu, nn.Conv2d(4, 4, 1))
        self.again = nn.Sequential(layer, nn.LeakyReLU(0.125), layer)
        self.raw = nn.Sequential(layer)
        self.after = nn.Sequential(nn.ReLU(), layer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.raw(self.after(self.again(self.twice(x))))
        return y


def frozen(model: nn.Module, paths: list[str], x: Tensor) -> tuple[Tensor, Tensor]:
    """What a model gives before and after its parts at ``paths`` become exact."""
    with torch.no_grad():
        with watched(model, paths) as seen:
            wanted = model(x)
        exchange(model, paths, lambda change: fitted(change, seen))
        assert not [
            name
            for path in paths
            for name, part in model.get_submodule(path).named_modules()
            if isinstance(part, (nn.Conv2d, nn.ReLU, nn.LeakyReLU))
        ]
        return wanted, model(x)


def near(found: Tensor, wanted: Tensor) -> bool:
    return float((found - wanted).norm() / wanted.norm()) < 0.01


def test_what_stands_in_several_places_is_exchanged_in_all() -> None:
    model, paths = Shared(), ["twice", "again", "raw", "after"]
    wanted, found = frozen(model, paths, normal(2, 4, 6, 6))
    assert near(found, wanted)
    assert model.again[0] is model.again[2] is model.raw[0] is model.after[1]
    assert isinstance(model.twice[1], ExactActivation)
    assert isinstance(model.again[1], ExactActivation)
    assert isinstance(model.after[0], ExactActivation)


NETS: dict[str, Callable[[], nn.Module]] = {
    "shuffled": lambda: nn.Sequential(nn.Conv2d(4, 16, 1), nn.LeakyReLU(0.25), nn.PixelShuffle(2), nn.Conv2d(4, 4, 3)),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU()), nn.Sequential(nn.Sequential(nn.Conv2d(6, 4, 3)))
    ),
    "of a block": lambda: nn.Sequential(ResidualBlock(4, 6), nn.LeakyReLU(0.1), DepthwiseBlock(6), nn.ReLU()),
    "alone": lambda: nn.Conv2d(4, 4, 3),
}
IDENTITIES = {"shuffled": 1, "nested": 1, "of a block": 2, "alone": 0}


@pytest.mark.parametrize("kind", NETS)
def test_a_network_becomes_exact(kind: str) -> None:
    model = nn.ModuleDict({"net": NETS[kind]()})
    model.forward = lambda x: model["net"](x)  # type: ignore[method-assign]
    wanted, found = frozen(model, ["net"], normal(2, 4, 6, 6))
    assert near(found, wanted)
    assert sum(isinstance(part, nn.Identity) for part in model.modules()) == IDENTITIES[kind]
    for carrier in CARRIERS:
        use_carrier(model, carrier)
        assert torch.equal(model(normal(2, 4, 6, 6)), found)
    empty = nn.ModuleDict({"net": NETS[kind]()})
    exchange(empty, ["net"], shell)
    assert {name for name, _ in exact_layers(empty)} == {name for name, _ in exact_layers(model)}


REFUSED: dict[str, Callable[[], nn.Module]] = {
    "dilation": lambda: nn.Conv2d(4, 4, 3, dilation=2),
    "reflected": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "by name": lambda: nn.Conv2d(4, 4, 3, padding="same"),
    "two strides": lambda: nn.Conv2d(4, 4, 3, stride=(1, 2)),
    "odd output": lambda: nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1),
    "groups": lambda: nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=2),
    "gdn": lambda: GDN(4),
    "gelu": lambda: nn.GELU(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_layer_without_an_exact_form_is_refused_by_its_path(kind: str) -> None:
    model = nn.ModuleDict({"net": nn.Sequential(nn.Conv2d(4, 4, 1), REFUSED[kind]())})

    def convert() -> None:
        with watched(model, ["net"]) as seen, torch.no_grad():
            model["net"](normal(1, 4, 6, 6))
        exchange(model, ["net"], lambda change: fitted(change, seen))

    for act in (convert, lambda: exchange(model, ["net"], shell)):
        with pytest.raises(InputError, match=r"^net\.1: .* has no exact form"):
            act()


def test_a_part_that_the_calibration_misses_is_named() -> None:
    model = nn.ModuleDict({"net": nn.Sequential(nn.Conv2d(4, 4, 1))})
    with watched(model, ["net"]) as seen:
        pass
    with pytest.raises(InputError, match=r"^net\.0: the calibration never reached this layer"):
        exchange(model, ["net"], lambda change: fitted(change, seen))


def test_a_linear_layer_of_more_than_rows_is_refused() -> None:
    model = nn.ModuleDict({"net": nn.Linear(4, 4)})
    with watched(model, ["net"]), pytest.raises(InputError, match=r"net: its exact form takes \(batch, channels\)"):
        model["net"](normal(1, 4, 4))


def test_every_change_has_its_path_and_slope() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.LeakyReLU(0.25), nn.Conv2d(4, 4, 1), nn.ReLU())
    found = changes(nn.ModuleDict({"net": net}), ["net"])
    assert [(one.path, one.slope, one.taken) for one in found] == [
        ("net.0", 1.0, False),
        ("net.1", 1.0, True),
        ("net.2", 0.25, False),
        ("net.3", 1.0, False),
    ]
