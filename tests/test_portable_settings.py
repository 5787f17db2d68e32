"""What one arithmetic coded, decoded under another: portable models agree, and float models show that it is another."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_portable import lively, pictures

from tinify.checkpoint import save_model
from tinify.freezing import freeze_portable
from tinify.latent_codecs.witness import witness
from tinify.models import CompressionModel

OTHER = """
import pickle, sys, torch
from tinify.checkpoint import load_checkpoint
from tinify.errors import TinifyError
from tinify.exact import use_carrier
from tinify.latent_codecs.witness import witness
import json

found = {}
for name, packed in pickle.load(open(sys.argv[1], "rb")).items():
    model = load_checkpoint(f"{sys.argv[2]}/{name}.safetensors")
    model.to(memory_format=torch.contiguous_format)
    use_carrier(model, sys.argv[3])
    try:
        with witness() as seen:
            model.latent_codec.decompress(packed["strings"], packed["shape"])
        found[name] = seen.checksum
    except TinifyError:
        found[name] = None
print(json.dumps(found))
"""
SCALAR = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
MODELS = {"mbt2018-mean": {"N": 16, "M": 24}, "cheng2020-anchor-checkerboard": {"N": 8}, "mbt2018": {"N": 8, "M": 12}}


def on_thresholds(x: torch.Tensor) -> CompressionModel:
    """A float model whose scales lie on the thresholds of its tables, as this arithmetic computes them."""
    model: Any = lively("mbt2018-mean", N=16, M=24)
    with torch.no_grad():
        model.latent_codec.hyper.h_a[4].weight.mul_(20)
        model.latent_codec.hyper.h_s[4].weight.mul_(20)
        model.latent_codec.hyper.h_s[4].bias.fill_(1.0)
        z_hat = model.latent_codec.hyper.entropy_bottleneck(model.latent_codec.hyper.h_a(model.g_a(x)))[0]
        scales = model.latent_codec.hyper.h_s(z_hat).chunk(2, 1)[0]
    table = scales[scales > 0.12].unique()
    model.update(scale_table=table[:: max(1, len(table) // 200)].tolist(), force=True)
    return model  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Strings of models in a folder, with their weights, and the checksums of their symbols."""
    folder, checksums, kept = tmp_path_factory.mktemp("coded"), {}, {}
    x = torch.cat([*pictures(2), torch.rand(1, 3, 128, 128), torch.zeros(1, 3, 128, 128)])
    models = {name: freeze_portable(lively(name, **size), pictures()) for name, size in MODELS.items()}
    for name, model in {**models, "control": on_thresholds(x)}.items():
        save_model(model, folder / f"{name}.safetensors")
        with witness() as seen:
            kept[name] = model.compress(x)
        checksums[name] = seen.checksum
    (folder / "coded.pickle").write_bytes(pickle.dumps(kept))
    return folder, checksums


@pytest.mark.parametrize(("variables", "carrier"), [(SCALAR, "float32"), ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "integer")])
def test_older_instructions_decode_the_same_symbols(
    coded: tuple[Path, dict[str, int]], variables: dict[str, str], carrier: str
) -> None:
    folder, checksums = coded
    given = [sys.executable, "-c", OTHER, str(folder / "coded.pickle"), str(folder), carrier]
    done = subprocess.run(given, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: found[name] for name in MODELS} == {name: checksums[name] for name in MODELS}
    if variables is SCALAR:
        assert found["control"] != checksums["control"], "the comparison sees nothing"
