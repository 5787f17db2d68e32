"""Checks of entropy models: densities that are ones, and tables that say the same as the density."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from torch import Tensor

from tinify.coders import CdfTables
from tinify.entropy_models import EntropyModel
from tinify.latent_codecs import Decode, Encode
from tinify.testing.cases import Case, parameters_of
from tinify.testing.fresh import in_fresh_process
from tinify.testing.modules import assert_gradients, assert_same_keys, load_state, state_of, stir

_STRING_BITS = 64
_WIDEST = 4096
_REACH = 48


def check_likelihoods(case: Case) -> None:
    """Likelihoods are like the input and in (0, 1], in training and in eval mode, and so is y_hat finite."""
    for training in (True, False):
        model, size = build(case).train(training), size_of(case)
        y = 5 * torch.randn(size)
        y_hat, likelihood = model(y, *parameters_for(model, size))
        assert y_hat.shape == likelihood.shape == y.shape, (
            f"{case.label}: y of size {tuple(y.shape)} gives y_hat {tuple(y_hat.shape)} "
            f"and likelihoods {tuple(likelihood.shape)}; all three must agree"
        )
        low, high = float(likelihood.min()), float(likelihood.max())
        assert 0 < low <= high <= 1, f"{case.label}: likelihoods from {low:g} to {high:g}, expected above 0 and up to 1"
        assert torch.isfinite(y_hat).all(), f"{case.label}: y_hat is not finite"


def check_likelihoods_sum(case: Case) -> None:
    """Over all symbols of the tables likelihoods sum to one."""
    model, size = ready(case), torch.Size((1, *size_of(case)[1:2], 2, 2))
    params = parameters_for(model, size)
    steps, likelihood = likelihoods_of_symbols(model, size, params)
    total = likelihood.double().sum(0)
    worst = float(total.flatten()[(total - 1).abs().argmax()])
    assert abs(worst - 1) <= 1e-4, (
        f"{case.label}: the likelihoods of the symbols {int(steps[0])} to {int(steps[-1])} sum to {worst:.6f}, "
        "expected 1"
    )


def check_tables(case: Case) -> None:
    """Indexes are int32 and in range, buffers hold the tables, and every symbol of every row can be coded.

    Of a model that codes without rows of tables, every int32 can be coded.
    """
    model, size = ready(case), size_of(case)
    tables = model.tables
    assert isinstance(tables, CdfTables), f"{case.label}: build_tables() gives a {type(tables).__name__}"
    if not by_rows(model):
        every = torch.full((size.numel(),), -(2**31)) >> torch.arange(size.numel()) % 32  # near and far
        every, params = torch.cat((every[::2], ~every[1::2])).int().reshape(size), parameters_for(model, size)
        same = torch.equal(model.decode(model.encode(every, *params), size, *params), every)
        assert same, f"{case.label}: encode() and decode() do not code every int32"
        return
    indexes = model.indexes(size, *parameters_for(model, size))
    assert indexes.dtype == torch.int32, f"{case.label}: indexes are {indexes.dtype}, expected torch.int32"
    assert indexes.shape == size, f"{case.label}: indexes of size {tuple(indexes.shape)} for y of {tuple(size)}"
    low, high = int(indexes.min()), int(indexes.max())
    assert 0 <= low <= high < len(tables), f"{case.label}: indexes {low} to {high} in tables of {len(tables)} rows"
    for row, (offset, length) in enumerate(zip(tables.offsets, tables.sizes, strict=True)):
        symbols = np.arange(offset - 1, offset + length, dtype=np.int32)  # one beyond either end as well
        where = np.full_like(symbols, row)
        got = tables.decode(tables.encode(symbols, where), where)
        assert np.array_equal(got, symbols), f"{case.label}: row {row} of the tables does not code all its symbols"


def check_coding(case: Case) -> None:
    """What is coded is decoded, and is the y_hat of a forward in eval mode."""
    model, size = ready(case), size_of(case)
    params, y = parameters_for(model, size), 4 * torch.randn(size)
    encode = Encode()
    y_hat = encode.code(model, y, *params)
    decode = Decode(encode.strings, encode.shape)
    got = decode.code(model, None, *params)
    decode.finish()
    assert torch.equal(got, y_hat), f"{case.label}: the decoder gets another y_hat than the encoder"
    assert torch.equal(model(y, *params)[0], y_hat), (
        f"{case.label}: forward in eval mode gives another y_hat than coding"
    )


def check_coded_length(case: Case) -> None:
    """Symbols drawn from the tables cost, within 1 %, what the density says of them."""
    model, size = ready(case), torch.Size((1, size_of(case)[1], 32, 32))
    params = parameters_for(model, size)
    symbols = draw(model, size, params)
    y = model.dequantize(symbols, model.centre(size, *params))
    expected = -float(torch.log2(model(y, *params)[1].double()).sum())
    coded = 8 * sum(map(len, model.encode(symbols, *params)))
    assert abs(coded - expected) <= 0.01 * expected + _STRING_BITS, (
        f"{case.label}: {symbols.numel()} symbols cost {coded} bits, the density says {expected:.0f}: "
        "do the tables belong to it, and are they in their place?"
    )


def check_rebuild(case: Case) -> None:
    """Tables built again from the same density are the same."""
    model = ready(case)
    first = model.tables
    model.update(force=True)
    assert model.tables == first, f"{case.label}: tables built twice from one density differ"


def check_state_dict(case: Case) -> None:
    """The state dict has the same keys in every build, and carries the tables and all that the density depends on."""
    one, other, size = ready(case), build(case, seed=1), size_of(case)
    assert_same_keys(one, build(case, seed=2))
    load_state(other, state_of(one))
    assert other.has_tables, f"{case.label}: tables are lost with the state dict"
    assert other.tables == one.tables, f"{case.label}: a state dict brings back other tables"
    params, y = parameters_for(one, size), torch.randn(size)
    same = torch.equal(other.eval()(y, *params)[1], one.eval()(y, *params)[1])
    assert same, f"{case.label}: a model with the same state dict gives other likelihoods"


def check_fresh_process(case: Case) -> None:
    """Another process builds the same tables from the same density, and reads the same ones from a state dict."""
    model = ready(case)
    read, built = in_fresh_process(_digests, case, state_of(model))
    assert read == model.tables.digest, f"{case.label}: a fresh process reads other tables from a state dict"
    model.update(force=True)
    assert built == model.tables.digest, f"{case.label}: a fresh process builds other tables from the same density"


def check_gradients(case: Case) -> None:
    """Every parameter gets a gradient from the rate, or from the model's own ``loss()``."""
    model, size = build(case).train(), size_of(case)
    stir(model)
    y = (3 * torch.randn(size)).requires_grad_()
    with torch.enable_grad():
        y_hat, likelihood = model(y, *parameters_for(model, size))
        rate = -torch.log(likelihood).sum() + y_hat.square().sum()
        assert_gradients(model, rate + own_loss(model))
    assert y.grad is not None, f"{case.label}: no gradient reaches y"
    assert torch.isfinite(y.grad).all(), f"{case.label}: the gradient of y is not finite"


def build(case: Case, seed: int = 0) -> EntropyModel:
    """The entropy model of a case."""
    model = case.build(seed)
    assert isinstance(model, EntropyModel), (
        f"{case.label} builds a {type(model).__name__}: derive it from tinify.entropy_models.EntropyModel"
    )
    return model


def ready(case: Case) -> EntropyModel:
    """The entropy model of a case in eval mode, with tables."""
    model = build(case).eval()
    model.ensure_tables()
    return model


def size_of(case: Case) -> torch.Size:
    """The size of a latent for the case."""
    return case.tensors((8, 8))[0].shape


def parameters_for(model: EntropyModel, size: torch.Size) -> list[Tensor]:
    """A tensor in 0.5 to 4.5 for each parameter that ``forward`` takes beside ``y``: good as scale and as mean.

    Of a mixture, a model with components ``K``, they have all components' channels; ``weights`` add up to one.
    """
    takes = [one for one in parameters_of(type(model).forward)[2:] if one.name != "training"]
    takes = [one for one in takes if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    generator = torch.Generator().manual_seed(11)
    components = getattr(model, "K", 1)
    full = (size[0], components, *size[1:])
    drawn = {one.name: 0.5 + 4 * torch.rand(full, generator=generator) for one in takes}
    if "weights" in drawn:
        drawn["weights"] /= drawn["weights"].sum(1, keepdim=True)
    return [parameter.flatten(1, 2) for parameter in drawn.values()]


def by_rows(model: EntropyModel) -> bool:
    """Whether the model codes by rows of tables, as most do."""
    return type(model).encode is EntropyModel.encode


def likelihoods_of_symbols(model: EntropyModel, size: torch.Size, params: list[Tensor]) -> tuple[Tensor, Tensor]:
    """All symbols that may matter, and their likelihoods (symbols, channels, ...), for a ``size`` of batch one."""
    low, high = -_REACH, _REACH
    if by_rows(model):
        tables, rows = model.tables, model.indexes(size, *params).reshape(-1).numpy()
        low, high = int(tables.offsets[rows].min()), int((tables.offsets[rows] + tables.sizes[rows]).max())
    steps = torch.arange(max(low, -_WIDEST), min(high, _WIDEST) + 1, dtype=torch.float32)
    spread = [parameter.expand(len(steps), *parameter.shape[1:]) for parameter in params]
    full = torch.Size((len(steps), *size[1:]))
    y = model.dequantize(steps.reshape(-1, 1, 1, 1).expand(full), model.centre(full, *spread))
    return steps, model(y, *spread)[1]


def draw(model: EntropyModel, size: torch.Size, params: list[Tensor]) -> Tensor:
    """Symbols, int32 of that size, as the model's tables say how probable they are; never an escape."""
    if not by_rows(model):
        steps, likelihood = likelihoods_of_symbols(model, size, params)
        below = likelihood.double().cumsum(0)
        slots = torch.rand(size, generator=torch.Generator().manual_seed(5)).double() * below[-1]
        return steps[(below < slots).sum(0)].int().reshape(size)
    rows = model.indexes(size, *params).numpy()
    tables, generator = model.tables, np.random.default_rng(5)
    symbols = np.empty(rows.shape, np.int32)
    for row in np.unique(rows):
        cdf = tables.cdfs[row, : tables.sizes[row] - 1]
        where = rows == row
        drawn = generator.integers(0, max(int(cdf[-1]), 1), where.sum())
        symbols[where] = np.searchsorted(cdf, drawn, side="right") - 1 + tables.offsets[row]
    return torch.from_numpy(symbols)


def own_loss(module: torch.nn.Module) -> Tensor:
    """The auxiliary losses of all entropy models in a module, summed."""
    found = [getattr(part, "loss", None) for part in module.modules() if isinstance(part, EntropyModel)]
    losses = [loss() for loss in found if callable(loss)]
    return torch.stack([torch.zeros(()), *losses]).sum()


def _digests(case: Case, state: bytes) -> tuple[bytes, bytes]:
    model = build(case, seed=3).eval()
    load_state(model, state)
    read = model.tables.digest
    model.update(force=True)
    return read, model.tables.digest


ENTROPY_MODEL_CHECKS = (
    check_likelihoods,
    check_likelihoods_sum,
    check_tables,
    check_coding,
    check_coded_length,
    check_rebuild,
    check_state_dict,
    check_fresh_process,
    check_gradients,
)
