"""Coders, losses and kernels from plugins; parts built alone; costs that are what a module has."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import tinify
import tinify.registry
from tinify.checkpoint import load_checkpoint, model_digest, save_model
from tinify.cli.train import train_command
from tinify.coders import CdfTables
from tinify.errors import PluginError, SpecError, UnknownNameError
from tinify.models import build_model, build_part, create_model
from tinify.models.tree import parts_of
from tinify.plugin import Cost, Sig, Slot, component
from tinify.registry import Registry, get_registry
from tinify.spec import Spec
from tinify.training.config import TrainingConfig
from tinify.training.criterion import Criterion

SMALL = """\
tinify: 1
name: small
model:
  type: autoencoder
  g_a: [{type: conv, out: 4, kernel: 3}]
  latent_codec: entropy_bottleneck
  g_s: [{type: deconv, out: 3, kernel: 3}]
"""


class RawReader:
    """Reads 32-bit symbols one after another."""

    def __init__(self, data: bytes) -> None:
        self.left = np.frombuffer(data, "<i4")

    def pop(self, indexes: Any, out: Any) -> None:
        out[:], self.left = self.left[: len(out)], self.left[len(out) :]

    def finish(self) -> None:
        assert not len(self.left)


class RawCoder:
    """Four bytes for each symbol."""

    def __init__(self, tag: str = "raw") -> None:
        self.name = f"parts/{tag}"

    def encode(self, tables: CdfTables, symbols: Any, indexes: Any) -> bytes:
        return bytes(symbols.astype("<i4").tobytes())

    def decoder(self, tables: CdfTables, data: bytes, count: int) -> RawReader:
        return RawReader(data)


class Charbonnier(nn.Module):
    """A smooth absolute difference."""

    def __init__(self, epsilon: float, lmbda: float) -> None:
        super().__init__()
        self.epsilon, self.lmbda = epsilon, lmbda

    def forward(self, output: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        return {"loss": self.lmbda * torch.sqrt((output["x_hat"] - target) ** 2 + self.epsilon).mean()}


class Weighted(nn.Module):
    """A squared difference under weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 1, 1), 2.0))

    def forward(self, output: dict[str, Any], target: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.weight * (output["x_hat"] - target) ** 2).mean()}


class Wrong(nn.Module):
    def forward(self, output: dict[str, Any], target: Tensor) -> float:
        return 3.0


class Split(nn.Module):
    """Keeps what it is given."""

    def __init__(self, in_channels: int, sizes: list[int], parts: list[nn.Module | None], extra: Any) -> None:
        super().__init__()
        self.sizes, self.parts, self.extra = sizes, nn.ModuleList(p for p in parts if p), extra
        self.given = len(parts)


@component("coder", "parts/raw", target=f"{__name__}:RawCoder")
class RawDeclaration:
    """Four bytes for each symbol."""

    tag: str = "raw"


@component("loss", "parts/charbonnier", target=f"{__name__}:Charbonnier")
class CharbonnierDeclaration:
    """A smooth absolute difference."""

    epsilon: float
    lmbda: float = 1.0


@component("loss", "parts/weighted", target=f"{__name__}:Weighted")
class WeightedDeclaration:
    """A loss with weights."""


@component("loss", "parts/wrong", target=f"{__name__}:Wrong")
class WrongDeclaration:
    """No dict."""


@component(
    "layer",
    "parts/split",
    target=f"{__name__}:Split",
    slots={"parts": Slot("transform", each="sizes"), "extra": Slot("transform", optional=True)},
)
class SplitDeclaration:
    """A child for each size but the first."""

    sizes: list[int]

    def shape(self, slots: Any, x: Sig) -> Sig:
        for k, size in list(enumerate(self.sizes))[1:]:
            slots("parts", x.with_channels(size), index=k)
        return slots("extra", x)


class Failing(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.scale = in_channels / 0


@component("layer", "parts/failing", target=f"{__name__}:Failing")
class FailingDeclaration:
    """Cannot be built."""

    def shape(self, x: Sig) -> Sig:
        return x


def nothing(*_: Any) -> None:
    """Makes nothing."""


@component("layer", "parts/nothing", target=f"{__name__}:nothing")
class NothingDeclaration:
    """Its target forgets to return."""

    def shape(self, x: Sig) -> Sig:
        return x


DECLARATIONS = [
    RawDeclaration,
    CharbonnierDeclaration,
    WeightedDeclaration,
    WrongDeclaration,
    SplitDeclaration,
    FailingDeclaration,
    NothingDeclaration,
]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry with the parts above, whose targets are found in this module."""
    mine = Registry(disabled=())
    mine.register(DECLARATIONS, namespace="parts")
    monkeypatch.setattr(tinify.registry, "_current", mine)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[CharbonnierDeclaration.__module__])
    return mine


def small(coder: str = "") -> Any:
    torch.manual_seed(0)
    return build_model(Spec.loads(SMALL + coder).elaborate()).eval()


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_tables_code_by_the_coder_they_are_given(values: list[int]) -> None:
    tables = CdfTables([[0, 65535, 65536]], [3], [0])
    symbols, indexes, coder = np.array([values], np.int32), np.zeros((1, len(values)), np.int32), RawCoder()
    assert tables.encode(symbols, indexes, coder=coder) == symbols.astype("<i4").tobytes()
    strings = tables.encode_batch(symbols, indexes, coder=coder)
    assert np.array_equal(tables.decode_batch(strings, indexes, coder=coder), symbols)
    assert np.array_equal(tables.decode(strings[0], indexes[0], coder=coder), symbols[0])


def test_a_spec_may_name_a_coder() -> None:
    x = torch.rand(1, 3, 8, 8)
    plain, raw = small(), small("  coder: parts/raw\n")
    ours, theirs = plain.compress(x), raw.compress(x)
    assert torch.equal(ours["y_hat"], theirs["y_hat"])
    assert len(theirs["strings"][0][0]) == 4 * theirs["y_hat"].numel()
    assert torch.equal(
        raw.decompress(theirs["strings"], theirs["shape"])["x_hat"], plain.reconstruct(ours["y_hat"])["x_hat"]
    )
    assert small("  coder: ans\n").compress(x)["strings"] == ours["strings"]


def test_a_coder_is_part_of_what_a_file_needs(tmp_path: Path) -> None:
    plain, raw = small(), small("  coder: {type: parts/raw, tag: other}\n")
    for model in (plain, raw):
        model.ensure_tables()
    before = model_digest(plain)
    assert before != model_digest(raw)
    plain.use_coder(RawCoder())
    assert model_digest(plain) != before
    plain.use_coder(None)
    assert model_digest(plain) == before
    save_model(raw, tmp_path / "raw.safetensors")
    assert load_checkpoint(tmp_path / "raw.safetensors").coder.name == "parts/other"


def test_an_entropy_model_keeps_the_coder_that_it_was_given() -> None:
    model = small()
    bottleneck = model.latent_codec.entropy_bottleneck
    bottleneck.coder = RawCoder()
    assembled = tinify.models.Autoencoder(model.g_a, model.latent_codec, model.g_s)
    assert len(assembled.compress(torch.rand(1, 3, 8, 8))["strings"][0][0]) == 4 * 64
    y = torch.randn(2, 4, 2, 2)
    strings = bottleneck.compress(y)
    assert {len(string) for string in strings} == {4 * 16}
    assert torch.equal(bottleneck.decompress(strings, (2, 2)), bottleneck.eval()(y)[0])


OUTPUT = {"x_hat": torch.zeros(1, 3, 4, 4, requires_grad=True), "likelihoods": {"y": torch.full((1, 2), 0.5)}}
TARGET = torch.ones(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("rate_distortion", 2 / 16 + 0.5 * 255**2),
        ("{type: rate_distortion, lmbda: 2}", 2 / 16 + 2 * 255**2),
        ("{type: parts/charbonnier, epsilon: 3}", 0.5 * 2),
        ('{"type": "parts/charbonnier", "epsilon": 3, "lmbda": 4}', 4 * 2),
    ],
)
def test_a_loss_is_a_component_and_gets_the_settings_that_it_takes(loss: str, expected: float) -> None:
    total = Criterion(TrainingConfig(lmbda=0.5, loss=loss))(OUTPUT, TARGET)
    assert total.requires_grad
    assert total.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("rate_distorsion", SpecError, "did you mean 'rate_distortion'"),
        ("parts/charbonnier", SpecError, "parts/charbonnier needs 'epsilon'"),
        ("{type: rate_distortion, lmbd: 2}", SpecError, "did you mean 'lmbda'"),
        ("conv", SpecError, "'conv' is of kind layer; loss is wanted here"),
        ("3", SpecError, "unknown loss 3"),
        ("[", SpecError, "not valid YAML"),
        ("parts/wrong", PluginError, "returned 3.0: expected a dict with a scalar tensor 'loss'"),
    ],
)
def test_a_wrong_loss_is_named(loss: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Criterion(TrainingConfig(lmbda=0.5, loss=loss))(OUTPUT, TARGET)


def test_a_loss_with_weights_is_on_the_models_device_and_stays_as_it_is() -> None:
    criterion = Criterion(TrainingConfig(lmbda=1, loss="parts/weighted"))
    criterion(OUTPUT, TARGET).backward()
    assert criterion.loss.weight.grad is None
    assert Criterion(TrainingConfig(lmbda=1, loss="parts/weighted"), "meta").loss.weight.device.type == "meta"


@pytest.mark.parametrize("place", ["option", "spec"])
def test_a_run_minimises_the_loss_that_it_is_told(place: str, tmp_path: Path) -> None:
    for index in range(2):
        Image.new("RGB", (24, 16), (90 * index, 120, 30)).save(tmp_path / f"{index}.png")
    loss = "{type: parts/charbonnier, epsilon: 3}"
    (tmp_path / "small.yaml").write_text(SMALL + (f"training: {{loss: {loss}}}\n" if place == "spec" else ""))
    out = tmp_path / "out"

    def run(*options: str) -> None:
        small = [str(tmp_path / "small.yaml"), "--data", str(tmp_path), "--out", str(out), "--crop", "16"]
        told = [*small, "--batch", "2", "--val", str(tmp_path), "--validate-every", "10", "--quiet", *options]
        done = CliRunner().invoke(train_command, told)
        assert done.exit_code == 0, done.output + repr(done.exception)

    run("--steps", "10", "--lmbda", "0.5", *(["--loss", loss] if place == "option" else []))
    run("--resume", "--steps", "20")
    with (out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    measured = [row for row in rows if row["loss"]]
    assert [row["step"] for row in measured] == ["10", "20"]
    # lambda x a difference of at most one under a root of three, and no rate in it
    assert all(0.5 * 3**0.5 <= float(row["loss"]) <= 0.5 * 2 and float(row["bpp"]) > 1 for row in measured)
    assert [float(row["val_loss"]) <= 1 for row in rows if row["val_loss"]] == [True, True]


def test_parts_are_built_alone_and_know_their_spec() -> None:
    layers = build_part("transform", [{"type": "conv", "out": 8, "kernel": 3}, "gdn"], Sig(3))
    assert [type(layer).__name__ for layer in layers] == ["Conv2d", "GDN"]
    assert layers[0].spec_node == {
        "type": "conv",
        "version": 1,
        "kind": "layer",
        "in": 3,
        "out": 8,
        "kernel": 3,
        "stride": 2,
    }
    assert build_part("coder", "parts/raw").name == "parts/raw"
    with pytest.raises(SpecError, match="did you mean 'gdn'"):
        build_part("layer", "gnd", Sig(3))


def test_slots_for_each_element_and_empty_ones_reach_the_target() -> None:
    node = {"type": "parts/split", "sizes": [2, 4, 6], "parts": {"type": "conv", "out": "2*g"}}
    made = build_part("layer", node, Sig(3))
    assert (made.given, made.extra) == (3, None)
    assert [(conv.in_channels, conv.out_channels) for conv in made.parts] == [(4, 8), (6, 12)]
    assert isinstance(build_part("layer", {**node, "extra": ["relu"]}, Sig(3)).extra, nn.Sequential)


def test_a_constructor_that_fails_says_whose_it_is() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        build_part("layer", "parts/failing", Sig(3))
    [note] = caught.value.__notes__
    assert note.startswith("while building layer 'parts/failing' of plugin parts")


def test_a_target_that_makes_nothing_is_named() -> None:
    with pytest.raises(PluginError, match=r"'parts/nothing' of plugin parts .* made a NoneType: expected a Module"):
        build_part("transform", ["relu", "parts/nothing"], Sig(3))


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_declared_parameters_are_those_of_the_model(name: str) -> None:
    architecture = Spec.load(name).elaborate()
    rows = architecture.parts()
    assert all(row.cost is not None for row in rows if row.inputs)  # coders have neither
    model = build_model(architecture)
    total = sum((row.cost for row in rows if row.cost), Cost())
    assert total.parameters == sum(parameter.numel() for parameter in model.parameters())
    modules = dict(parts_of(model))
    for row in rows:
        if row.cost and row.cost.parameters:
            own = sum(p.numel() for p in modules[row.path].parameters())
            assert own >= row.cost.parameters, row.path


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(UnknownNameError, match="has no version '7' here"):
        get_registry().component("layer", "conv@7")
    with pytest.raises(SpecError, match="has no version '7' here"):
        build_part("layer", {"type": "conv@7", "out": 3}, Sig(3))


def test_use_coder_reaches_every_entropy_model() -> None:
    model = create_model("mbt2018-mean", N=8, M=8)
    model.use_coder(RawCoder())
    assert {part.coder.name for _, part in model.entropy_models() if part.coder} == {"parts/raw"}
    model.use_coder(None)
    assert not [part for _, part in model.entropy_models() if part.coder]
    with pytest.raises(tinify.errors.InputError, match="'ans' is no coder: give one like"):
        model.use_coder("ans")  # type: ignore[arg-type]
