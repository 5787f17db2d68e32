"""Two processes follow the curve of one with twice the batch, and end together."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_runs import draw_photos, reload

from tinify.errors import InputError
from tinify.training.processes import launch

# Without the noise of training, which each process draws for itself, the arithmetic is the same but for its order.
QUIET = """
import sys, torch
draw = torch.Tensor.uniform_
def uniform_(self, low=0, high=1, **options):
    return self.zero_() if (low, high) == (-0.5, 0.5) else draw(self, low, high, **options)
torch.Tensor.uniform_ = uniform_
"""
PLAIN = "import sys\n"
FAILING = """
import os, sys
from tinify.training.data import Crops
from tinify.errors import DataError
draw = Crops.batch
def batch(self, seed, step, *shape):
    if os.environ.get("LOCAL_RANK") == "1" and step > 3:
        raise DataError("the second process has lost its pictures")
    return draw(self, seed, step, *shape)
Crops.batch = batch
"""
MAIN = "from tinify.cli import main\nmain(sys.argv[1:])\n"
RECIPE = """
recipe: 1
spec: mbt2018-mean
preset: q4
set: {N: 8, M: 8}
data: photos
validation: photos
crop: 64
batch: 2
steps: 20
optimizer: {lr: 1e-3}
validate_every: 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    draw_photos(made / "photos")
    (made / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    for name, head in {"plain": PLAIN, "quiet": QUIET, "failing": FAILING}.items():
        (made / f"{name}.py").write_text(head + MAIN, encoding="utf-8")
    return made


def start(folder: Path, script: str, out: str, *words: object) -> subprocess.Popen[str]:
    line = [sys.executable, f"{script}.py", "train", "recipe.yaml", "--out", out, "-q", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        line, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def log(folder: Path, out: str) -> list[dict[str, str]]:
    with (folder / out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("script", "closeness"), [("quiet", 1e-3), ("plain", 0.1)])
def test_two_processes_are_one_with_twice_the_batch(folder: Path, script: str, closeness: float) -> None:
    assert finish(start(folder, script, f"{script}-1", "--batch", 4)) == (0, "")
    code, errors = finish(start(folder, script, f"{script}-2", "--devices", 2))
    assert code == 0, errors
    one, two = log(folder, f"{script}-1"), log(folder, f"{script}-2")
    assert [row["step"] for row in one] == [row["step"] for row in two] == ["10", "10", "20", "20"]
    for first, second in zip(one, two, strict=True):
        for name in ("loss", "val_loss", "psnr"):
            if first[name]:
                assert float(second[name]) == pytest.approx(float(first[name]), rel=closeness)
    assert reload(folder / f"{script}-2").step == 20


def test_an_error_in_one_process_ends_all(folder: Path) -> None:
    code, errors = finish(start(folder, "failing", "failing", "--devices", 2))
    assert code not in (0, None)
    assert "the second process has lost its pictures" in errors


def test_an_interrupt_of_the_first_process_saves_and_ends_all(folder: Path) -> None:
    process = start(folder, "plain", "stopped", "--devices", 2, "--steps", 100_000, "--validate-every", 0)
    while not (folder / "stopped" / "log.csv").exists() or len(log(folder, "stopped")) < 2:
        assert process.poll() is None, finish(process)
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, errors = finish(process)
    assert code == 130, errors
    assert reload(folder / "stopped").step >= 20
    process = start(folder, "plain", "stopped", "--resume", "--steps", reload(folder / "stopped").step + 5)
    assert finish(process)[0] == 0


def test_fabric_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    assert launch(1, torch.device("cpu"))[0].size == 1
    with pytest.raises(InputError, match=r"pip install 'tinify-codec\[train\]'"):
        launch(2, torch.device("cpu"))
