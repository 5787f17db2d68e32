"""Specs that mean harm: each is refused by name, soon, and in little memory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinify.errors import SpecError, UnknownNameError
from tinify.registry import get_registry
from tinify.spec import Architecture, Spec

HEAD = "tinify: 1\nname: hostile\n"
MODEL = "model: {type: autoencoder, g_a: BODY, latent_codec: entropy_bottleneck, g_s: []}\n"
DEEP = 100_000


def model(body: str, head: str = "") -> str:
    return HEAD + head + MODEL.replace("BODY", body)


def doubling(levels: int) -> str:
    blocks = "".join(f"  b{n}: {{do: [{{use: b{n - 1}}}, {{use: b{n - 1}}}]}}\n" for n in range(1, levels))
    return model(f"[{{use: b{levels - 1}}}]", f"define:\n  b0: {{do: relu}}\n{blocks}")


def laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


def expression(text: str) -> str:
    return model(f"[{{type: conv, out: '{text}'}}]")


HOSTILE: dict[str, Callable[[], str]] = {
    "brackets": lambda: "[" * DEEP,
    "closed brackets": lambda: "model: " + "[" * DEEP + "]" * DEEP,
    "braces": lambda: "{a: " * DEEP,
    "indentation": lambda: "".join(" " * n + "a:\n" for n in range(700)),
    "dashes": lambda: "- " * DEEP,
    "question marks": lambda: "? " * DEEP,
    "billion laughs": laughs,
    "a billion channels": lambda: model("[{type: conv, out: 1000000000}]"),
    "ten megabytes of text": lambda: HEAD + "summary: " + "x" * 10_000_000,
    "ten megabytes of nodes": lambda: "[" + "a," * 5_000_000 + "]",
    "ten megabytes of lines": lambda: "\n" * 10_000_000,
    "ten megabytes of keys": lambda: "".join(f"k{n}: 1\n" for n in range(900_000)),
    "a long key": lambda: HEAD + "k" * 200_000 + ": 1",
    "a long name": lambda: "tinify: 1\nname: " + "n" * 200_000,
    "long names of parts": lambda: model("[" + ", ".join(["gdn" + "x" * 4_000] * 40) + "]"),
    "many unknown names": lambda: model("[" + ", ".join(f"part{n}" for n in range(9_000)) + "]"),
    "NUL": lambda: HEAD + "summary: \0",
    "surrogates": lambda: HEAD + "summary: \ud800",
    "doubling blocks": lambda: doubling(60),
    "repeated repeats": lambda: model("{repeat: 256, do: " * 30 + "relu" + "}" * 30),
    "repeats of nothing": lambda: model("{repeat: 256, do: " * 30 + "[]" + "}" * 30),
    "repeats that repeat zero times": lambda: model("{repeat: 0, do: " * 30 + "gnd" + "}" * 30),
    "a block in a block": lambda: model("[{use: a}]", "define: {a: {do: [{use: b}]}, b: {do: [{use: a}]}}\n"),
    "a large power": lambda: expression("9**9**9**9"),
    "a large product": lambda: expression("*".join(["999999999"] * 25)),
    "a large number": lambda: expression("9" * 250),
    "a large shift": lambda: expression("1 << 99999999"),
    "brackets of an expression": lambda: expression("(" * 120 + "1" + ")" * 120),
    "minus signs": lambda: expression("-" * 250 + "1"),
    "a large list": lambda: model(
        "[{type: conv, out: 'g[999999999999]'}]", "params: {g: {type: 'list[int]', default: [1]}}\n"
    ),
    "a list times a number": lambda: model("[{type: conv, out: 'len(g*99999999)'}]", "params: {g: [1, 2]}\n"),
    "a comprehension": lambda: expression("sum([1 for a in b])"),
    "a lambda": lambda: expression("(lambda: 1)()"),
    "an import": lambda: expression('__import__(\\"os\\")'),
    "parameters of parameters": lambda: model(
        "[]", "params:\n  p0: 1\n" + "".join(f"  p{n}: p{n - 1} + p{n - 1}\n" for n in range(1, 5_000))
    ),
    "presets": lambda: model("[]", "presets:\n" + "".join(f"  q{n}: {{params: {{N: 1}}}}\n" for n in range(4_000))),
    "wide layers": lambda: model("[{repeat: 200, do: {type: pixel_unshuffle, factor: 16}}]"),
    "a large picture": lambda: (
        HEAD + "model: {type: autoencoder, channels: 99999999, g_a: [], latent_codec: x, g_s: []}"
    ),
}
# Runs the specs one after another in a process that may allocate 100 MiB more, and says what each came to.
JUDGE = """
import json, resource, sys, time
from tinify.errors import SpecError, UnknownNameError
from tinify.registry import get_registry
from tinify.spec import Spec
get_registry().components()
Spec.load("mbt2018-mean").elaborate()
texts = json.load(sys.stdin)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20), -1))
made = {}
for name, text in texts.items():
    begun = time.process_time()
    try:
        Spec.loads(text, name).elaborate()
        said = ""
    except (SpecError, UnknownNameError) as error:
        said = str(error)
    made[name] = [said, time.process_time() - begun]
json.dump(made, sys.stdout)
"""


def judge_all() -> dict[str, tuple[str, float]]:
    """What became of each hostile spec: its error, and the processor's seconds that it took."""
    texts = json.dumps({name: text() for name, text in HOSTILE.items()})
    run = subprocess.run([sys.executable, "-c", JUDGE], input=texts, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return {name: (said, seconds) for name, (said, seconds) in json.loads(run.stdout).items()}


@pytest.fixture(scope="module")
def judged() -> dict[str, tuple[str, float]]:
    return judge_all()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_spec_is_refused_in_few_words(name: str, judged: dict[str, tuple[str, float]]) -> None:
    said, _ = judged[name]
    assert "error[" in said
    assert len(said) < 20_000


def test_a_hostile_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing, which takes no room
    with pytest.raises(SpecError, match="it has more than"):
        Spec.load(path)
    for other, message in [(tmp_path, "Is a directory"), (Path("/dev/zero"), "it has more than")]:
        with pytest.raises(SpecError, match=message):
            Spec.load(other)


REAL = {name: Spec.load(name).text for name in get_registry().spec_files()}


def judge(text: str) -> None:
    """Nothing but a named error, or an architecture that survives its own JSON."""
    with contextlib.suppress(SpecError, UnknownNameError):
        made = Spec.loads(text).elaborate()
        assert Architecture.from_json(made.to_json()) == made


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(REAL)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_spec_with_wrong_bytes_is_harmless(name: str, damage: list[tuple[float, int]]) -> None:
    data = bytearray(REAL[name].encode())
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    judge(data.decode("utf-8", "replace"))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(REAL)), st.floats(0, 1), st.floats(0, 1), st.integers(0, 40),
    st.sampled_from(["", "{", "}", "[", "]", ": ", "- ", "&a ", "*a", "!t ", "'", '"', "#", "|", ">", "? ", "\n"]),
)  # fmt: skip
def test_a_spec_cut_and_pasted_is_harmless(name: str, at: float, to: float, length: int, put: str) -> None:
    text = REAL[name]
    start, end = int(at * len(text)), int(to * len(text))
    piece = text[start : start + length]
    judge(text[:end] + put + piece + text[end:])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["conv", "gdn", "hyperprior", "N", "2*N", "", "x/y", "conv@1", "relu@9"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["type", "repeat", "do", "as", "use", "with", "each", "out", "g_a", "y", "params", "kernel"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["params", "presets", "training", "define", "model", "extends", "cite"]), plain))
def test_any_tree_is_harmless(tree: dict[str, object]) -> None:
    judge(json.dumps({"tinify": 1, "name": "any", **tree}))


@settings(max_examples=200, deadline=None)
@given(plain)
def test_any_node_in_its_place_is_harmless(node: object) -> None:
    end = [{"type": "deconv", "out": 3}]
    whole = {"type": "autoencoder", "g_a": [node], "latent_codec": node, "g_s": end}
    judge(json.dumps({"tinify": 1, "name": "any", "params": {"N": 4}, "model": whole}))


if __name__ == "__main__":
    for each, (answer, seconds) in sorted(judge_all().items(), key=lambda one: -one[1][1]):
        print(f"{seconds:7.3f} s  {each}: {answer.splitlines()[0][:90]}")
