"""A run that is killed or interrupted ends where one that was left alone does, and no checkpoint is ever broken."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import assert_same, draw_photos, new_state, reload, run

from tinify.checkpoint import load_checkpoint
from tinify.errors import InputError, OutputError
from tinify.training.steps import Step

KINDS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw": {"optimizer": "{type: adamw, weight_decay: 0.1}"},
    "muon": {"optimizer": "muon"},
    "sgd": {"optimizer": "sgd", "lr": 1e-6},
    "sgd with momentum": {"optimizer": "{type: sgd, momentum: 0.9}", "lr": 1e-6},
    "plateau": {"patience": 1, "factor": 0.1, "lr": 1e-12},
    "stages": {"stages": ({"steps": 4}, {"steps": 2, "crop": 64, "batch": 1, "lr": 1e-2}, {"steps": 1, "batch": 3})},
    "float16": {"precision": "float16"},
    "float16 that overflows": {"precision": "float16", "lmbda": 1e5, "lr": 1e-8},
    "bfloat16, three threads": {"precision": "bfloat16", "workers": 3},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos"))


def interrupt_at(step: int) -> Any:
    def report(done: Step) -> None:
        if done.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return report


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_has_the_same_bits(kind: str, photos: Path, tmp_path: Path) -> None:
    options = dict(KINDS[kind])
    workers = options.pop("workers", 1)
    options = {"validate_every": 2, "save_every": 2, "steps": 9} | options
    whole = run(new_state(**options), photos, tmp_path / "whole", held_out=1, workers=1)
    with pytest.raises(KeyboardInterrupt):
        run(new_state(**options), photos, tmp_path / "broken", 1, workers=workers, report=interrupt_at(5))
    resumed = reload(tmp_path / "broken")
    assert resumed.step == 5
    assert_same(run(resumed, photos, tmp_path / "broken", held_out=1, workers=workers), whole)
    if kind == "plateau":
        assert whole.lr == pytest.approx(1e-12 * 0.1**1 * 0.1, rel=1e-6)
    if kind == "float16 that overflows":
        assert whole.scale.value < 2**13


# One process that has imported everything forks a child for each attempt, and kills it at a random moment after it has
# said so often that it did a step; the last one is left alone.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch, tinify.training.loop, tinify.training.run, tinify.training.steps, rich.progress
from tinify.checkpoint import read_safetensors
from tinify.cli import main

folder, draw = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
out, step = folder / "killed", tinify.training.steps.Stepper.__call__
line = ["train", str(folder / "recipe.yaml"), "--out", str(out), "--quiet"]
steps = []
for attempt in range(7):
    hear, say = os.pipe()
    child = os.fork()
    if not child:
        tinify.training.steps.Stepper.__call__ = lambda self, x: (step(self, x), os.write(say, b"."))[0]
        main(line + ["--resume"] * (out / "state.safetensors").exists())
    os.close(say)
    if attempt < 6:
        os.read(hear, 1)
        for _ in range(draw.randrange(6)):
            os.read(hear, 1)
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    os.close(hear)
    state = out / "state.safetensors"
    steps.append(json.loads(read_safetensors(state)[1]["training"])["step"] if state.exists() else 0)
    logged = [int(row.split(",")[0]) for row in (out / "log.csv").read_text().splitlines()[1:-1]]
    assert max(logged, default=0) - steps[-1] <= 2, (logged, steps)
print(steps)
"""

RECIPE = """
recipe: 1
spec: mbt2018-mean
set: {N: 8, M: 8}
lambda: 0.013
data: photos
validation: photos
crop: 64
batch: 1
steps: 60
save_every: 2
validate_every: 50
"""


def test_kill_nine_at_any_moment_loses_at_most_an_interval(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    script = tmp_path / "killer.py"
    script.write_text(KILLER, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "1"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads(done.stdout)
    assert steps == sorted(steps)
    assert steps[-2] < steps[-1] == 60
    whole = ["import sys; from tinify.cli import main; main(sys.argv[1:])", "train", str(tmp_path / "recipe.yaml")]
    subprocess.run(
        [sys.executable, "-c", *whole, "--out", str(tmp_path / "whole"), "--quiet"], env=environment, check=True
    )
    assert_same(reload(tmp_path / "killed"), reload(tmp_path / "whole"))
    assert not list((tmp_path / "killed").glob(".tinify-*"))


def test_a_full_disk_is_named_and_leaves_the_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    run(new_state(steps=4, save_every=2), photos, tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()
    state = reload(tmp_path)
    object.__setattr__(state.config, "steps", 8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*state\.safetensors: "):
            run(state, photos, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "state.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "model.safetensors", "state.safetensors"]
    assert load_checkpoint(tmp_path / "model.safetensors")
    assert reload(tmp_path).step == 4


def test_half_a_line_of_log_is_dropped(photos: Path, tmp_path: Path) -> None:
    run(new_state(steps=20, save_every=10), photos, tmp_path)
    log = tmp_path / "log.csv"
    log.write_bytes(log.read_bytes() + b"1")
    state = reload(tmp_path)
    object.__setattr__(state.config, "steps", 30)
    run(state, photos, tmp_path)
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["step", "10", "20", "30"]


def test_a_device_that_cannot_train_in_half_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("not implemented for 'Half'")

    monkeypatch.setattr("tinify.training.precision.nn.Conv2d.forward", refuse)
    with pytest.raises(InputError, match="float16 cannot be trained on cpu"):
        run(new_state(precision="float16"), photos, tmp_path)
