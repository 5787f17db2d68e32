"""Specs: the published ones, their canonical form and identity, ``extends``, and the JSON."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinify.errors import SpecError, UnknownNameError
from tinify.registry import get_registry
from tinify.spec import Architecture, Spec

SMALL, LARGE = (128, 192), (192, 320)
LMBDA = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)
PUBLISHED = {  # sizes of q1 to q8, stride, and the identity with the small and the large size
    "bmshj2018-factorized": ([SMALL] * 5 + [LARGE] * 3, 16, "82f9ffeae209bce4", "eaa335d654461f7a"),
    "bmshj2018-hyperprior": ([SMALL] * 5 + [LARGE] * 3, 64, "1cf3f668aaaa71fb", "5059ef755945e11b"),
    "mbt2018-mean": ([SMALL] * 4 + [LARGE] * 4, 64, "04822dcf9beeb9a6", "817a680cb1e1aa72"),
}
HEAD = "tinify: 1\nname: test\n"
CONV = "{{type: conv, out: {}, kernel: {}, stride: {}}}"


def model(body: str, head: str = HEAD) -> Spec:
    return Spec.loads(head + "model:\n  type: autoencoder\n" + body)


def ends(g_a: str, g_s: str = "[{type: deconv, out: 3}]", head: str = HEAD) -> Architecture:
    return model(f"  g_a: {g_a}\n  latent_codec: entropy_bottleneck\n  g_s: {g_s}\n", head).elaborate()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_specs_keep_their_identity(name: str) -> None:
    sizes, stride, small, large = PUBLISHED[name]
    spec = Spec.load(name)
    assert [*spec.presets] == [f"q{quality}" for quality in range(1, 9)]
    for preset, (n, m), lmbda in zip(spec.presets, sizes, LMBDA, strict=True):
        made = spec.elaborate(preset)
        assert (made.parameters, made.stride, made.channels) == ({"N": n, "M": m}, stride, 3)
        assert made.training == {"metric": "mse", "lmbda": lmbda}
        assert made.id == (small if (n, m) == SMALL else large)


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_shipped_specs_are_complete(name: str) -> None:
    spec = Spec.load(name)
    assert spec.name == name
    assert spec.summary
    assert spec.cite
    assert spec.text.startswith("tinify: 1\n")
    for preset in [None, *spec.presets]:
        made = spec.elaborate(preset)
        assert Architecture.from_json(made.to_json()) == made
        assert json.loads(made.to_json())["model"] == made.model
        assert made.id == Architecture.from_json(made.to_json()).id


def nodes(tree: Any) -> list[dict[str, Any]]:
    if isinstance(tree, list):
        return [found for child in tree for found in nodes(child)]
    if isinstance(tree, dict):
        own = [] if "each" in tree else [tree]  # a list of children, one for each element
        return own + [found for child in tree.values() for found in nodes(child)]
    return []


@pytest.mark.parametrize("name", sorted(get_registry().spec_files()))
def test_canonical_nodes_say_everything(name: str) -> None:
    for node in nodes(Spec.load(name).elaborate().model):
        part = get_registry().component(node["kind"], node["type"])
        implied = {"type", "version", "kind"} | ({"in"} if part.kind in ("layer", "entropy_model") else set())
        optional = {slot for slot, place in part.slots.items() if place.optional}
        assert node.keys() - optional == implied | part.params.keys() | part.slots.keys() - optional
        for key, parameter in part.params.items():
            assert parameter.convert(node[key]) == node[key]


layers = st.lists(
    st.builds(CONV.format, st.integers(1, 64), st.sampled_from([1, 3, 5]), st.integers(1, 4))
    | st.sampled_from(["relu", "gdn", "{type: pixel_unshuffle, factor: 2}"]),
    max_size=5,
)


@given(layers, st.integers(1, 8))
def test_input_channels_and_stride_follow_the_layers(written: list[str], channels: int) -> None:
    body = f"  channels: {channels}\n  g_a: [{', '.join(written)}]\n  latent_codec: entropy_bottleneck\n"
    width, stride = channels, Fraction(1)
    for layer in written:
        if "conv" in layer:
            numbers = [int(word.split(": ")[1]) for word in layer.strip("{}").split(", ")[1:]]
            width, stride = numbers[0], stride * numbers[2]
        elif "unshuffle" in layer:
            width, stride = 4 * width, stride * 2
    finish = f"[{{type: deconv, out: {channels}, stride: {min(16, int(stride))}}}]"
    if stride <= 16:
        architecture = model(body + f"  g_s: {finish}\n").elaborate()
        assert architecture.stride == stride
        assert architecture.channels == channels
        assert architecture.model["g_s"][0]["in"] == width
        assert architecture.model["latent_codec"]["entropy_bottleneck"]["in"] == width
    else:
        with pytest.raises(SpecError, match="g_s must end at the picture's shape"):
            model(body + f"  g_s: {finish}\n").elaborate()


@given(st.integers(0, 5), st.integers(0, 3))
def test_repeats_and_nested_lists_are_written_out(times: int, inner: int) -> None:
    block = "{type: conv, out: 8, kernel: 3, stride: 1}, gdn"
    tail = "{type: conv, out: 8}"
    repeated = ends(
        f"[{{repeat: N, do: [{{repeat: {inner}, do: relu}}, {block}]}}, [[{tail}]]]",
        head=HEAD + f"params: {{N: {times}}}\n",
    )
    flat = ends("[" + ", ".join((["relu"] * inner + [block]) * times + [tail]) + "]")
    assert repeated.model == flat.model
    assert repeated.id == flat.id


def test_one_layer_and_a_list_of_one_are_different_modules() -> None:
    assert isinstance(ends("{type: conv, out: 8}").model["g_a"], dict)
    assert isinstance(ends("[{type: conv, out: 8}]").model["g_a"], list)


def test_identity_is_the_model_alone() -> None:
    spec = Spec.load("mbt2018-mean")
    same = Spec.loads(
        "tinify: 1\nname: other\nsummary: words\nextends: mbt2018-mean\n"
        "training: {lmbda: 9}\nparams: {N: {default: 128}}"
    )
    assert spec.elaborate("q1").id == spec.elaborate("q4").id == same.elaborate().id
    assert spec.elaborate("q1").id != spec.elaborate("q5").id
    assert spec.elaborate("q1", N=192, M=320).id == spec.elaborate("q8").id


def test_values_come_from_the_call_then_the_preset_then_the_default() -> None:
    spec = Spec.loads(
        "tinify: 1\nname: t\nextends: mbt2018-mean\n"
        "params: {N: 16, M: {default: 2*N}}\npresets: {q1: {params: {M: N + 1}}}"
    )
    assert spec.elaborate().parameters == {"N": 16, "M": 32}
    assert spec.elaborate("q2").parameters == {"N": 128, "M": 192}
    assert spec.elaborate(N=np.int64(8)).to_json() == spec.elaborate(N=8, M="2*N").to_json()
    assert spec.elaborate("q1").parameters == {"N": 128, "M": 129}
    assert spec.elaborate("q1", N=4).parameters == {"N": 4, "M": 5}


def test_lists_may_be_parameters() -> None:
    head = HEAD + "params: {widths: {type: 'list[int]', default: [8, 3*4]}}\n"
    assert [node["out"] for node in ends("[{type: conv, out: 'widths[1]'}]", head=head).model["g_a"]] == [12]
    spec = model(
        "  g_a: [{type: conv, out: sum(widths)}]\n  latent_codec: entropy_bottleneck\n  g_s: {type: deconv, out: 3}\n",
        head,
    )
    assert spec.elaborate(widths=(1, 2)).model["g_a"][0]["out"] == 3


def test_unknown_presets_and_parameters_are_named() -> None:
    spec = Spec.load("mbt2018-mean")
    with pytest.raises(UnknownNameError, match="unknown preset of mbt2018-mean 'q9': did you mean"):
        spec.elaborate("q9")
    with pytest.raises(UnknownNameError, match=r"unknown parameter of mbt2018-mean 'K'.* There are: M, N"):
        spec.elaborate(K=3)
    with pytest.raises(UnknownNameError, match="unknown spec 'mbt2018_mean': did you mean 'mbt2018-mean'"):
        Spec.load("mbt2018_mean")
    with pytest.raises(UnknownNameError, match="no plugin 'acme' is installed"):
        Spec.load("acme/elic")


@pytest.mark.parametrize("value", [0, -1, 2.5, True, None, "wide", "1 / 0", [3], {"a": 1}, math.nan, 10**30, object()])
def test_a_wrong_parameter_is_named(value: Any) -> None:
    with pytest.raises(SpecError, match=r"N=.*:1:3: error\[(T|X)001\]: parameter N"):
        Spec.load("mbt2018-mean").elaborate(N=value)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"tinify: 1\nname: {name}\n{text}", encoding="utf-8")
    return path


def test_a_file_extends_its_sibling_and_blocks_of_another_type_replace(tmp_path: Path) -> None:
    write(tmp_path, "base", "extends: mbt2018-mean\nmodel: {latent_codec: {y: {quantizer: ste}}}")
    child = write(tmp_path, "child", "extends: ./base.yaml\nmodel: {latent_codec: {type: entropy_bottleneck}}")
    base = Spec.load(tmp_path / "base.yaml").elaborate()
    published = Spec.load("mbt2018-mean").elaborate()
    expected = copy.deepcopy(published.model)
    expected["latent_codec"]["y"]["quantizer"] = "ste"
    assert base.model == expected
    assert Spec.load(str(child)).elaborate().id == Spec.load("bmshj2018-factorized").elaborate().id


def test_an_error_in_an_inherited_block_points_into_the_parent(tmp_path: Path) -> None:
    base = write(tmp_path, "base", "extends: mbt2018-mean\nmodel: {latent_codec: {y: {quantizer: loud}}}")
    child = write(tmp_path, "child", "extends: ./base.yaml")
    with pytest.raises(SpecError) as caught:
        Spec.load(child).elaborate()
    assert str(caught.value).startswith(
        f"{base}:4:39: error[T001]: gaussian_conditional.quantizer: expected 'noise' or 'ste'"
    )


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ("./b.yaml", "E002.*specs extend each other"),
        ("./missing.yaml", "E001.*there is no such file"),
        ("../x.yaml", "E001.*extends takes a registered name"),
        ("./../x.yaml", "E001.*in the same folder"),
        ("./b.txt", "E001.*in the same folder"),
        ("/etc/passwd", "E001.*extends takes a registered name"),
        ("mbt2018-meen", "E001.*unknown spec 'mbt2018-meen'"),
        ("[a]", "E001.*extends takes"),
        ("https://x/y.yaml", "E001.*extends takes a registered name"),
    ],
)
def test_what_cannot_be_extended_is_named(tmp_path: Path, parent: str, message: str) -> None:
    write(tmp_path, "b", "extends: ./a.yaml")
    with pytest.raises(SpecError, match=message):
        Spec.load(write(tmp_path, "a", f"extends: {parent}"))


def test_a_text_has_no_siblings_and_a_chain_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no folder"):
        Spec.loads(HEAD + "extends: ./x.yaml")
    for number in range(12):
        write(tmp_path, f"s{number}", f"extends: ./s{number + 1}.yaml")
    with pytest.raises(SpecError, match=r"E003.*more than 8 deep"):
        Spec.load(tmp_path / "s0.yaml")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"x" * 300_000, b""])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=r"x.yaml:1:1: error\[S00[79]\]"):
        Spec.load(path)
    with pytest.raises(SpecError, match="cannot read the spec"):
        Spec.load(tmp_path)


@given(st.data())
def test_json_with_anything_changed_is_refused_or_is_that_other_model(data: st.DataObject) -> None:
    original = json.loads(Spec.load("bmshj2018-hyperprior").elaborate(N=8, M=8).to_json())
    node = data.draw(st.sampled_from(nodes(original["model"])))
    key = data.draw(st.sampled_from(sorted(node)))
    value: Any = data.draw(st.sampled_from([None, 0, 7, 2.5, "x", "4*2", [], {}, True, [1], float("1e300")]))
    node[key] = value
    with contextlib.suppress(SpecError):
        assert json.loads(Architecture.from_json(json.dumps(original)).to_json()) == original


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", "null", '{"tinify": 2}', '{"tinify": true}', '{"tinify": 1}', "[" * 100_000,
        '{"a":' * 90 + "1" + "}" * 90,
        '{"tinify": 1, "tinify": 1}', '{"tinify": NaN}',
        '{"tinify": 1, "name": 3, "preset": null, "parameters": {}, "training": {}, "model": {}}',
        '{"tinify": 1, "name": "x", "preset": null, "parameters": {}, "training": {}, "model": {}}',
        '{"tinify": 1, "name": "x", "preset": null, "parameters": {}, "training": {}, "model": {"type": "os.system"}}',
        "9" * 5000,
    ],
)  # fmt: skip
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        Architecture.from_json(text, "weights.safetensors")


def test_another_version_of_a_component_is_refused() -> None:
    text = Spec.load("mbt2018-mean").elaborate().to_json().replace('"version":1', '"version":2', 1)
    with pytest.raises(SpecError, match=r"unknown \w+ '\w+@2'"):
        Architecture.from_json(text)
