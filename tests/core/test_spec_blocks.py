"""Blocks (``define`` and ``use``), counted repeats, slots for each element of a list, versions of a component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinify.registry
from tinify.errors import PluginError, SpecError
from tinify.plugin import Cost, Range, Sig, Slot, component
from tinify.registry import Registry
from tinify.spec import Architecture, Spec, elaborate_part

TEXT = """\
tinify: 1
name: test
params: {N: 8}
define:
  down: {params: {c: int, s: {type: int, default: N // 4, max: 4}}, do: [{type: conv, out: c, stride: s}, relu]}
  twice: {params: {n: int}, do: [{use: down, with: {c: n}}, {use: down, with: {c: n + 1, s: 1}}]}
  prior: {do: {type: entropy_bottleneck}}
model:
  type: autoencoder
  g_a: BODY
  latent_codec: {use: prior}
  g_s: [{type: deconv, out: 3, stride: 16}]
"""
PLAIN = """\
tinify: 1
name: test
model:
  type: autoencoder
  g_a: BODY
  latent_codec: entropy_bottleneck
  g_s: [{type: deconv, out: 3, stride: 16}]
"""


def of(body: str, text: str = TEXT) -> Architecture:
    return Spec.loads(text.replace("BODY", body)).elaborate()


def errors(body: str, text: str = TEXT) -> list[str]:
    with pytest.raises(SpecError) as caught:
        of(body, text)
    return [line.partition("error")[2] for line in str(caught.value).splitlines() if "error[" in line]


def test_a_block_is_what_is_written_in_it() -> None:
    used = of("[{use: twice, with: {n: N}}, {use: down, with: {c: 2*N, s: 4}}, {type: conv, out: 5}]")
    written = of(
        "[{type: conv, out: 8, stride: 2}, relu, {type: conv, out: 9, stride: 1}, relu,"
        " {type: conv, out: 16, stride: 4}, relu, {type: conv, out: 5}]",
        PLAIN,
    )
    assert used.model == written.model
    assert used.id == written.id


@given(st.integers(0, 6), st.integers(1, 9))
def test_a_repeat_counts(times: int, step: int) -> None:
    tail = "{type: conv, out: 4, stride: 16}"
    counted = of(f"[{{repeat: {times}, as: i, do: {{type: conv, out: 1 + i*{step}, stride: 1}}}}, {tail}]", PLAIN)
    layers = [f"{{type: conv, out: {1 + i * step}, stride: 1}}" for i in range(times)]
    assert counted.model == of(f"[{', '.join([*layers, tail])}]", PLAIN).model


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[{use: dwn}]", ["[D001]: no block 'dwn' is defined"]),
        ("[{use: [down]}]", ["[D001]: no block ['down'] is defined"]),
        ("[{use: down}]", ["[P002]: block 'down' needs 'c'"]),
        ("[{use: down, with: 3}]", ["[P002]: block 'down' needs 'c'", "[D003]: `with` is a mapping, got 3"]),
        ("[{use: down, with: {c: 3, d: 4}}]", ["[P001]: block 'down' has no parameter 'd'"]),
        ("[{use: down, with: {c: big}}]", ["[X001]: down.c: unknown name 'big'"]),
        ("[{use: down, with: {c: 3, s: 5}}]", ["[T001]: down.s: expected an integer, at most 4; got 5"]),
        ("[{use: down, with: {c: 3.5}}]", ["[T001]: down.c: expected an integer, got 3.5"]),
        ("[{use: down, wiht: {c: 3}}]", ["[P002]: block 'down' needs 'c'", "[D003]: use has no key 'wiht'"]),
        ("[{repeat: 2, as: 3, do: relu}]", ["[N003]: `as` names the count of the repeat, got 3"]),
        ("[{repeat: 2, as: i, do: {type: conv, out: j}}]", ["[X001]: conv.out: unknown name 'j'"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_use_is_said(body: str, expected: list[str]) -> None:
    assert errors(body)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("{a: {do: [{use: b}]}, b: {do: {use: a}}}", "[D002]: a block cannot use itself: a -> b -> a"),
        ("{a: {do: {use: a}}}", "[D002]: a block cannot use itself: a -> a"),
        ("{a: [relu]}", "[D003]: block 'a' has no `do`"),
        ("{a-b: {do: relu}}", "[D003]: 'a-b' cannot be a block's name"),
        ("{a: {do: relu, param: {}}}", "[D003]: a block has no key 'param'"),
        ("{a: {params: {c: integer}, do: relu}}", "[X001]: parameter c: unknown name 'integer'"),
        ("[a]", "[D003]: define is a mapping of blocks"),
    ],
)
def test_what_is_wrong_with_a_block_is_said(blocks: str, expected: str) -> None:
    assert expected in errors("[{use: a}]", PLAIN.replace("model:", f"define: {blocks}\nmodel:"))


def test_a_block_sees_its_arguments_and_the_spec_but_not_its_caller() -> None:
    text = TEXT.replace(
        "BODY", "[{repeat: 2, as: i, do: {use: down, with: {c: i + 1}}}, {type: conv, out: 4, stride: 4}]"
    )
    assert [layer["out"] for layer in Spec.loads(text).elaborate().model["g_a"] if "out" in layer] == [1, 2, 4]
    with pytest.raises(SpecError, match="unknown name 'i'"):
        Spec.loads(text.replace("out: c", "out: c + i")).elaborate()


def test_blocks_that_double_are_bounded() -> None:
    levels = "".join(f"  b{n}: {{do: [{{use: b{n - 1}}}, {{use: b{n - 1}}}]}}\n" for n in range(1, 60))
    assert errors("[{use: b59}]", PLAIN.replace("model:", f"define:\n  b0: {{do: relu}}\n{levels}model:"))[
        0
    ].startswith("[N005]")


def test_a_child_may_replace_a_block_of_its_parent(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text(
        TEXT.replace("BODY", "[{use: down, with: {c: 4, s: 4}}, {use: down, with: {c: 4, s: 4}}]")
    )
    child = tmp_path / "child.yaml"
    child.write_text(
        "tinify: 1\nname: child\nextends: ./base.yaml\ndefine: {down: {do: [{type: conv, out: c, stride: s}]}}\n"
    )
    assert [layer["type"] for layer in Spec.load(child).elaborate().model["g_a"]] == ["conv", "conv"]


def test_a_node_of_another_form_replaces_the_parents(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text(TEXT.replace("BODY", "{repeat: 4, do: {type: conv, out: 4}}"))
    child = tmp_path / "child.yaml"
    child.write_text("tinify: 1\nname: child\nextends: ./base.yaml\nmodel: {g_a: {use: down, with: {c: 4, s: 16}}}\n")
    with pytest.raises(SpecError, match="at most 4; got 16"):
        Spec.load(child).elaborate()


@component(
    "latent_codec",
    "each/groups",
    target="math:pi",
    slots={"context": Slot("transform", each="sizes"), "codec": Slot("latent_codec", each="sizes")},
)
class Groups:
    """Groups of channels, each with a codec, and with a context from the second on."""

    sizes: list[int]

    def shape(self, slots: Callable[..., Sig], y: Sig, side: Sig | None = None) -> Sig:
        done = 0
        for k, size in enumerate(self.sizes):
            if k:
                slots("context", y.with_channels(done), index=k)
            slots("codec", y.with_channels(size), index=k)
            done += size
        return y

    def cost(self, y: Sig, side: Sig | None = None) -> Cost:
        return Cost(len(self.sizes))


@component("layer", "each/wide", target="math:pi", slots={"inner": Slot("transform", optional=True)})
class Wide:
    """A layer whose child may be left out, version 1."""

    def shape(self, slots: Callable[..., Sig], x: Sig) -> Sig:
        return slots("inner", x)


@component("layer", "each/wide", target="math:e", version=2)
class Wider:
    """The same, version 2."""

    by: Annotated[int, Range(1, 8), "how much wider"] = 2

    def shape(self, x: Sig) -> Sig:
        return x.with_channels(self.by * x.channels)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    mine = Registry(disabled=())
    mine.register([Groups, Wide, Wider], namespace="each")
    monkeypatch.setattr(tinify.registry, "_current", mine)
    return mine


def grouped(sizes: str, context: str, codec: str = "entropy_bottleneck") -> Architecture:
    text = PLAIN.replace(
        "entropy_bottleneck", f"{{type: each/groups, sizes: {sizes}, context: {context}, codec: {codec}}}"
    )
    return of("[{type: conv, out: 12, stride: 16}]", text)


CONTEXT = "[{type: conv, out: 2*g + k, stride: 1}]"


def test_a_template_is_filled_once_for_each_element(registry: Registry) -> None:
    made = grouped("[2, 4, 6]", CONTEXT)
    context = made.model["latent_codec"]["context"]["each"]
    assert [child and child[0]["out"] for child in context] == [None, 9, 14]
    assert [child and child[0]["in"] for child in context] == [None, 2, 6]
    assert [child["entropy_bottleneck"]["in"] for child in made.model["latent_codec"]["codec"]["each"]] == [2, 4, 6]
    assert Architecture.from_json(made.to_json()) == made
    paths = [row.path for row in made.parts()]
    assert paths[2:6] == [
        "latent_codec",
        "latent_codec.context.1.0",
        "latent_codec.context.2.0",
        "latent_codec.codec.0",
    ]
    assert [row.cost for row in made.parts() if row.type == "each/groups"] == [Cost(3)]


def test_the_list_form_says_each_child(registry: Registry) -> None:
    listed = "{each: [null, [{type: conv, out: 9, stride: 1}], [{type: conv, out: 14, stride: 1}]]}"
    assert grouped("[2, 4, 6]", listed).id == grouped("[2, 4, 6]", CONTEXT).id


@pytest.mark.parametrize(
    ("sizes", "context", "expected"),
    [
        ("[2, 4]", "{each: [null]}", "[N006]: context has a child for each of the 2 sizes, got 1 of them"),
        ("[2, 4]", "{each: relu}", "[N006]: context has a child for each of the 2 sizes, got 'relu'"),
        ("[2, 4]", "{each: [null, null]}", "[N006]: context needs a child for element 1"),
        ("[2, 4]", "{each: [relu, relu]}", "[N006]: context has no child for element 0"),
        ("[2, 4]", "{each: [null, relu], do: 3}", "[N006]: each has no key 'do'"),
        ("[2, 4]", "[{type: conv, out: h}]", "[X001]: conv.out: unknown name 'h'"),
        ("[2, x]", "[gnd]", "[R001]: unknown transform 'gnd'"),
        ("[2]", "[gnd]", "[R001]: unknown transform 'gnd'"),
        ("3", "[relu]", "[T001]: each/groups.sizes: expected list[int], got 3"),
    ],
)
def test_what_is_wrong_with_each_is_said(registry: Registry, sizes: str, context: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        grouped(sizes, context)
    assert expected in str(caught.value)


def test_an_optional_slot_may_stay_empty(registry: Registry) -> None:
    empty = of("[{type: each/wide@1}, {type: conv, out: 12, stride: 16}]", PLAIN)
    assert "inner" not in empty.model["g_a"][0]
    full = of("[{type: each/wide@1, inner: [{type: conv, out: 5}]}, {type: conv, out: 12, stride: 8}]", PLAIN)
    assert full.model["g_a"][1]["in"] == 5
    for made in (empty, full):
        assert Architecture.from_json(made.to_json()) == made
    with pytest.raises(SpecError, match="expected a transform, got nothing"):
        of("[{type: each/wide@1, inner: null}]", PLAIN)


def test_a_version_can_be_asked_for_and_the_canonical_form_pins_it(registry: Registry) -> None:
    newest = elaborate_part("layer", "each/wide", Sig(3))
    assert newest.canonical == {"type": "each/wide", "version": 2, "kind": "layer", "in": 3, "by": 2}
    assert elaborate_part("layer", "each/wide@2", Sig(3)).canonical == newest.canonical
    assert elaborate_part("layer", "each/wide@1", Sig(3)).output == Sig(3)
    with pytest.raises(SpecError, match="has no version '3' here but 1 and 2"):
        elaborate_part("layer", "each/wide@3", Sig(3))


def test_an_architecture_names_the_plugins_that_it_needs(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    made = grouped("[2, 10]", CONTEXT)
    assert [plugin.namespace for plugin in made.plugins] == ["each"]
    assert of("[{type: conv, out: 12, stride: 16}]", PLAIN).plugins == []
    text = made.to_json()
    monkeypatch.setattr(tinify.registry, "_current", Registry(disabled=()))
    with pytest.raises(
        SpecError, match=r"R003.*needs plugin each .*: no plugin 'each' is installed\n.*tinify.register"
    ):
        Architecture.from_json(text)
    released = text.replace("in this process", "0.3.0").replace('"distribution":"list"', '"distribution":"tinify-each"')
    with pytest.raises(SpecError, match=r"needs plugin each \(tinify-each 0.3.0\)[^?]*pip install tinify-each==0.3.0"):
        Architecture.from_json(released)


@pytest.mark.parametrize("plugins", ["3", "[3]", "[{}]", '[{"namespace":"a","distribution":"b","version":3}]'])
def test_a_wrong_list_of_plugins_is_refused(plugins: str) -> None:
    text = of("[{type: conv, out: 12, stride: 16}]", PLAIN).to_json()
    with pytest.raises(SpecError, match=r"S010.*field 'plugins' cannot be"):
        Architecture.from_json(text[:-1] + f',"plugins":{plugins}}}')


def test_a_cost_that_is_none_is_the_plugins_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"shape": lambda self, x: x, "cost": lambda self, x: 3}
    registry = Registry(disabled=())
    registry.register(component("layer", "local/x", target="math:pi")(type("X", (), body)))
    monkeypatch.setattr(tinify.registry, "_current", registry)
    with pytest.raises(PluginError, match=r"cost rule of layer 'local/x' .* returned 3, expected a Cost"):
        elaborate_part("layer", "local/x", Sig(3))


def test_a_child_sets_a_default_and_keeps_the_limits(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text(
        PLAIN.replace("model:", "params: {K: 3, N: {type: int, default: 8, max: 64}}\nmodel:").replace(
            "BODY", "[{type: conv, out: N, stride: 16}]"
        )
    )
    child = tmp_path / "child.yaml"
    for params, expected in [("{N: 12}", 12), ("{N: {default: 16}}", 16), ("{N: K + 1}", 4), ("{K: 5}", 8)]:
        child.write_text(f"tinify: 1\nname: child\nextends: ./base.yaml\nparams: {params}\n")
        assert Spec.load(child).elaborate().model["g_a"][0]["out"] == expected
        assert Spec.load(child).parameters["N"].limits == (Range(None, 64),)
    for wrong, message in [("{N: 64.5}", "expected an integer, got 64.5"), ("{N: 65}", "at most 64; got 65")]:
        child.write_text(f"tinify: 1\nname: child\nextends: ./base.yaml\nparams: {wrong}\n")
        with pytest.raises(SpecError, match=f"4:13: error.T001.: parameter N: expected an integer.*{message[-6:]}"):
            Spec.load(child).elaborate()


@pytest.mark.parametrize("factor", [0, -1])
def test_a_stride_is_positive(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(disabled=())
    body = {"shape": lambda self, x: x.strided(factor)}
    registry.register(component("layer", "local/x", target="math:pi")(type("X", (), body)))
    monkeypatch.setattr(tinify.registry, "_current", registry)
    with pytest.raises(SpecError, match="C002"):
        elaborate_part("layer", "local/x", Sig(3))
