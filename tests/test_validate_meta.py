"""``tinify validate --meta`` finds the parts that are not what they are declared to be."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest
from torch import Tensor, nn

import tinify.registry
from tinify.cli import main
from tinify.plugin import Cost, Sig, component
from tinify.registry import Registry

SPEC = """\
tinify: 1
name: x
model:
  type: autoencoder
  g_a: [{{type: conv, out: 4}}, {part}, gdn]
  latent_codec: entropy_bottleneck
  g_s: [{{repeat: {ups}, do: {{type: deconv, out: 3}}}}]
"""


class Scaled(nn.Module):
    """What the declarations below are about: the same channels, a weight for each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Conv2d(channels, channels, 1, groups=channels, bias=False).weight

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, 0]


class Unbuildable:
    def __init__(self, channels: int) -> None:
        raise RuntimeError("no such luck")


class Unrunnable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum())


class _Same:
    def shape(self, x: Sig) -> Sig:
        return x


def parts() -> list[type]:
    """Declarations, honest and not."""
    here = __name__

    @component("layer", "meta/honest", target=f"{here}:Scaled")
    class Honest(_Same):
        def cost(self, x: Sig) -> Cost:
            return Cost(x.channels, 0)

    @component("layer", "meta/silent", target=f"{here}:Scaled")
    class Silent(_Same):
        """Says no cost."""

    @component("layer", "meta/cheap", target=f"{here}:Scaled")
    class Cheap(_Same):
        def cost(self, x: Sig) -> Cost:
            return Cost(x.channels + 1, 0)

    @component("layer", "meta/huge", target=f"{here}:Unbuildable")
    class Huge(_Same):
        def cost(self, x: Sig) -> Cost:
            return Cost(10**10, 0)

    @component("layer", "meta/wide", target=f"{here}:Scaled")
    class Wide:
        def shape(self, x: Sig) -> Sig:
            return x.with_channels(2 * x.channels)

    @component("layer", "meta/halved", target=f"{here}:Scaled")
    class Halved:
        def shape(self, x: Sig) -> Sig:
            return x.strided(2)

    @component("layer", "meta/lost", target=f"{here}:no_such_class")
    class Lost(_Same):
        pass

    @component("layer", "meta/unbuildable", target=f"{here}:Unbuildable")
    class CannotBuild(_Same):
        pass

    @component("layer", "meta/unrunnable", target=f"{here}:Unrunnable")
    class CannotRun(_Same):
        pass

    return [Honest, Silent, Cheap, Huge, Wide, Halved, Lost, CannotBuild, CannotRun]


@pytest.fixture(autouse=True)
def meta(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(disabled=(), only=())
    registry.register(parts(), namespace="meta")
    monkeypatch.setattr(tinify.registry, "_current", registry)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Scaled.__module__])


def validate(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main(["validate", "--meta", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue()


@pytest.mark.parametrize("part", ["gdn", "meta/honest", "meta/silent"])
def test_what_is_true_passes(part: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SPEC.format(part=part, ups=2 if part == "meta/halved" else 1))
    status, out = validate(path)
    assert (status, out.partition(",")[0]) == (0, f"{path}: ok")


def test_the_shipped_specs_pass() -> None:
    names = sorted(tinify.registry.get_registry().spec_files())
    status, out = validate(*names)
    assert status == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == names


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("meta/wide", "g_a.1: meta/wide() is declared 4ch@1/2 -> 8ch@1/2, so (1, 8, 4, 4) of an input of 8x8"),
        ("meta/halved", "g_a.1: meta/halved() is declared 4ch@1/2 -> 4ch@1/4, so (1, 4, 4, 4) of an input of 16x16"),
        ("meta/cheap", "g_a.1: meta/cheap() is declared with 5 parameters; it has 4"),
        ("meta/huge", "parameters: the limit is 10,000,000,000"),
        ("meta/lost", "layer 'meta/lost' of plugin meta (list in this process) cannot be loaded"),
        ("meta/unbuildable", "RuntimeError: no such luck, while building layer 'meta/unbuildable' of plugin meta"),
        ("meta/unrunnable", "RuntimeError: "),
    ],
)
def test_what_is_not_is_named_and_hides_nothing_else(part: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SPEC.format(part=part, ups=2 if part == "meta/halved" else 1))
    other = tmp_path / "y.yaml"
    other.write_text(SPEC.format(part="gnd", ups=1))
    status, out = validate(path, other, "--format", "json")
    found = json.loads(out)
    assert status == 2
    assert {(one["file"], one["code"]) for one in found} == {(str(path), "C003"), (str(other), "R001")}
    assert said in found[0]["message"]
