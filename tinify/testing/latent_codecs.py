"""Checks of latent codecs: what is coded is decoded bit for bit, damage is named, and rates are what was promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.entropy_models import EntropyModel
from tinify.errors import TinifyError
from tinify.latent_codecs import Encode, LatentCodec
from tinify.testing.cases import Case
from tinify.testing.entropy_models import draw, own_loss
from tinify.testing.fresh import in_fresh_process
from tinify.testing.modules import assert_gradients, assert_same_keys, load_state, state_of, stir

Strings = Sequence[Sequence[bytes]]

_STRING_BITS = 64
_RARE = 2**-8


def check_shape_rule(case: Case) -> None:
    """What comes out has the channels and size that the shape rule says, for three sizes."""
    declared, source = case.part().output, case.inputs[0]
    assert declared
    assert source
    codec = build(case)
    for size in case.sizes():
        y, side = inputs(case, size)
        expected = (len(y), declared.channels, *(int(length * source.stride / declared.stride) for length in size))
        got = tuple(codec(y, side)[codec.result].shape)
        assert got == expected, (
            f"the shape rule of {case.label} says {source} -> {declared}, so {tuple(y.shape)} -> {expected}; "
            f"a forward gives {got}"
        )


def check_round_trip(case: Case) -> None:
    """``decompress(compress(y))`` is the encoder's ``y_hat``, bit for bit, whatever the weights, values and size."""
    for seed, size in enumerate(case.sizes()):
        codec = build(case, seed)
        y, side = inputs(case, size, seed=seed)
        packed = codec.compress(y, side)
        got = codec.decompress(packed["strings"], packed["shape"], side)[codec.result]
        assert torch.equal(got, packed[codec.result]), (
            f"{case.label}: decompress gives another {codec.result} than compress (seed {seed}, y {tuple(y.shape)})"
        )


def check_readings_agree(case: Case) -> None:
    """In eval mode a forward gives the ``y_hat`` that compress gives, or one near it with ``exact_estimate = False``.

    There are no more likelihoods than coded tensors.
    """
    codec, (y, side) = build(case), inputs(case)
    out, packed = codec(y, side), codec.compress(y, side)
    gap = float((out[codec.result] - packed[codec.result]).abs().max())
    exact = all(part.exact_estimate for part in codec.modules() if isinstance(part, LatentCodec))
    assert gap <= (0 if exact else 1.0001), (
        f"{case.label}: a forward in eval mode gives another {codec.result} than compress"
    )
    count, coded = len(out["likelihoods"]), len(packed["strings"])
    assert 0 < count <= coded, f"{case.label}: {count} likelihoods but {coded} lists of strings"


def check_exact_consumption(case: Case) -> None:
    """A string too many, one too few, or bytes after the end of one are refused by a named error."""
    codec, (y, side) = build(case), inputs(case)
    packed = codec.compress(y, side)
    strings, shape = packed["strings"], packed["shape"]
    batch = [b""] * len(y)
    damaged: dict[str, Strings] = {
        "a list of strings too many": [*strings, batch],
        "a list of strings too many at the front": [batch, *strings],
        "the last list of strings missing": strings[:-1],
    }
    for index, listed in enumerate(strings):
        longer = [listed[0] + b"\1", *listed[1:]]
        damaged[f"a byte after string {index}"] = [*strings[:index], longer, *strings[index + 1 :]]
    for what, given in damaged.items():
        assert _refused(codec, given, shape, side), (
            f"{case.label} decodes strings with {what}: it must read exactly what it wrote, and refuse the rest"
        )


def check_damaged_strings(case: Case) -> None:
    """A string cut short, or with a wrong byte, gives a named error or other values, and no other error."""
    codec, (y, side) = build(case), inputs(case)
    packed = codec.compress(y, side)
    strings, shape = packed["strings"], packed["shape"]
    for index, listed in enumerate(strings):
        first = listed[0]
        places = range(0, len(first), max(1, len(first) // 8))
        damaged = [first[:place] for place in places]
        damaged += [first[:place] + bytes([first[place] ^ 0x55]) + first[place + 1 :] for place in places]
        for wrong in damaged:
            given = [*strings[:index], [wrong, *listed[1:]], *strings[index + 1 :]]
            try:
                codec.decompress(given, shape, side)
            except TinifyError:
                continue
            except Exception as error:
                raise AssertionError(
                    f"{case.label}: damage to string {index} gives {type(error).__name__}: {error}; "
                    "expected CorruptStreamError, or other values"
                ) from error


def check_fresh_process(case: Case) -> None:
    """What is coded here is decoded in another process, bit for bit."""
    codec, (y, side) = build(case), inputs(case)
    packed = codec.compress(y, side)
    got = in_fresh_process(_decoded, case, state_of(codec), packed["strings"], packed["shape"], side)
    assert torch.equal(got, packed[codec.result]), f"{case.label}: a fresh process decodes another {codec.result}"


def check_estimate(case: Case) -> None:
    """The strings are, within 2 %, as long as the likelihoods say, for a latent distributed as the codec thinks.

    Improbable elements, whose tables are coarser than the density, count with a tolerance of half their bits.
    """
    codec, (y, side) = build(case), inputs(case, _larger(case))
    y = codec.code(y, side, Draw()) if codec.result == "y_hat" else y
    likelihoods = [likelihood.double() for likelihood in codec(y, side)["likelihoods"].values()]
    bits = torch.cat([-torch.log2(likelihood).flatten() for likelihood in likelihoods])
    rare = torch.cat([likelihood.flatten() for likelihood in likelihoods]) < _RARE
    strings = [string for listed in codec.compress(y, side)["strings"] for string in listed]
    coded, estimated = 8 * sum(map(len, strings)), float(bits.sum())
    slack = 0.02 * estimated + _STRING_BITS * len(strings) + 0.5 * float(bits[rare].sum())
    assert abs(coded - estimated) <= slack, (
        f"{case.label}: the likelihoods promise {estimated:.0f} bits, the strings have {coded}; "
        f"allowed are {slack:.0f} more or less"
    )


def check_batch_order(case: Case) -> None:
    """A batch in another order gives the same strings and values in that order."""
    codec, (y, side) = build(case), inputs(case)
    one = codec.compress(y, side)
    other = codec.compress(y.flip(0), None if side is None else side.flip(0))
    for listed, flipped in zip(one["strings"], other["strings"], strict=True):
        assert list(listed) == list(reversed(flipped)), f"{case.label}: the strings depend on the order of the batch"
    same = torch.equal(one[codec.result], other[codec.result].flip(0))
    assert same, f"{case.label}: {codec.result} depends on the order of the batch"


def check_input_untouched(case: Case) -> None:
    """Neither the latent nor the side information is written to."""
    codec, (y, side) = build(case), inputs(case)
    before = y.clone(), None if side is None else side.clone()
    codec(y, side)
    codec.compress(y, side)
    same = torch.equal(y, before[0]) and (side is None or before[1] is None or torch.equal(side, before[1]))
    assert same, f"{case.label} changes its input in place"


def check_state_dict(case: Case) -> None:
    """The state dict has the same keys in every build, and a codec that loads it decodes what was coded."""
    one, other, (y, side) = build(case), build(case, seed=1), inputs(case)
    assert_same_keys(one, other)
    packed = one.compress(y, side)
    load_state(other, state_of(one))
    got = other.decompress(packed["strings"], packed["shape"], side)[other.result]
    assert torch.equal(got, packed[one.result]), f"{case.label}: a codec with the same state dict decodes other values"


def check_gradients(case: Case) -> None:
    """Every parameter gets a gradient from the rate, from ``y_hat``, or from an entropy model's own ``loss()``."""
    codec, (y, side) = stir(build(case)).train(), inputs(case, _larger(case))
    y.requires_grad_()
    with torch.enable_grad():
        out = codec(y.clone(), side)
        rate = torch.stack([-torch.log(likelihood).sum() for likelihood in out["likelihoods"].values()]).sum()
        result = out[codec.result]
        assert_gradients(codec, rate + (result * torch.randn(result.shape)).sum() + own_loss(codec))
    assert y.grad is not None, f"{case.label}: no gradient reaches y"
    assert torch.isfinite(y.grad).all(), f"{case.label}: the gradient of y is not finite"


class Draw(Encode):
    """A stream that codes, where parameters describe a latent, symbols drawn from the tables instead of that latent."""

    def code(self, model: EntropyModel, y: Tensor | None, *params: Tensor, quantizer: str = "noise") -> Tensor:
        assert y is not None
        model.ensure_tables()
        size = params[0].shape if params else y.shape
        drawn = model.dequantize(draw(model, size, list(params)), model.centre(size, *params))
        return super().code(model, drawn, *params, quantizer=quantizer)


def build(case: Case, seed: int = 0) -> LatentCodec:
    """The latent codec of a case, in eval mode, with tables."""
    codec = case.build(seed)
    assert isinstance(codec, LatentCodec), (
        f"{case.label} builds a {type(codec).__name__}: derive it from tinify.latent_codecs.LatentCodec"
    )
    for part in codec.modules():
        if isinstance(part, EntropyModel):
            part.ensure_tables()  # they move the centres that both readings round about
    return codec.eval()


def inputs(case: Case, size: tuple[int, ...] | None = None, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """A latent, and side information from 1 to 4 if the case has it."""
    y, *rest = case.tensors(size, batch=2, seed=seed)
    side = 1 + 3 * torch.sigmoid(rest[0]) if rest else None
    return 4 * y, side


def _larger(case: Case) -> tuple[int, int]:
    """A size of some hundred positions, or what is near it."""
    height, width = case.sizes()[1]
    times = max(1, 24 // height)
    return height * times, width * times


def _refused(codec: LatentCodec, strings: Strings, shape: Any, side: Tensor | None) -> bool:
    try:
        codec.decompress(strings, shape, side)
    except TinifyError:
        return True
    return False


def _decoded(case: Case, state: bytes, strings: Strings, shape: Any, side: Tensor | None) -> Tensor:
    codec = build(case, seed=4)
    load_state(codec, state)
    decoded: Tensor = codec.decompress(strings, shape, side)[codec.result]
    return decoded


LATENT_CODEC_CHECKS = (
    check_shape_rule,
    check_round_trip,
    check_readings_agree,
    check_exact_consumption,
    check_damaged_strings,
    check_fresh_process,
    check_estimate,
    check_batch_order,
    check_input_untouched,
    check_state_dict,
    check_gradients,
)
