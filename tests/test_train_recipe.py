"""Recipes: what is written is read, every error is told at its line, and a run's papers say what it was."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import draw_photos

from tinify.cli import main
from tinify.errors import SpecError
from tinify.losses import LAMBDAS
from tinify.spec import Spec
from tinify.training.config import TrainingConfig
from tinify.training.recipe import Recipe, is_recipe
from tinify.training.run import resolved
from tinify.training.schedule import plateau_drops

RECIPE = """recipe: 1
spec: mbt2018-mean
set: {N: 8, M: 8}
lambda: 0.013
data: photos
crop: 64
batch: 1
steps: 4
optimizer: {type: adamw, lr: 1e-3, weight_decay: 0.01}
schedule: {warmup: 2, final: 0.1}
save_every: 2
validate_every: 2
"""
COUNTS = st.integers(1, 10**6)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "lmbda": st.floats(1e-6, 1e3) | st.tuples(st.floats(1e-6, 0.1), st.floats(0.2, 1e3)),
        "metric": st.sampled_from(["mse", "ms-ssim"]),
        "loss": st.sampled_from(["rate_distortion", '{"type": "rate_distortion", "metric": "mse"}']),
        "optimizer": st.sampled_from(["sgd", '{"type": "sgd", "momentum": 0.5}']),
        "steps": COUNTS,
        "crop": COUNTS,
        "lr": st.floats(1e-9, 1),
        "warmup": COUNTS,
        "final": st.floats(0, 1),
        "patience": COUNTS,
        "seed": st.integers(0, 2**32 - 1),
        "precision": st.sampled_from(["float32", "bfloat16", "float16"]),
        "compile": st.booleans(),
        "freeze": st.sampled_from(["g_a", "g_a,g_s"]),
        "stages": st.lists(
            st.fixed_dictionaries({"steps": COUNTS}, optional={"crop": COUNTS, "lr": st.floats(1e-9, 1)}), min_size=1
        ).map(tuple),
    },
)


@given(SETTINGS, st.sampled_from([None, "q3"]), st.integers(1, 8))
def test_what_is_written_is_read(settings: dict[str, Any], preset: str | None, workers: int) -> None:
    if "stages" in settings and "steps" not in settings:
        settings["steps"] = sum(stage["steps"] for stage in settings["stages"])
    recipe = Recipe(
        spec="mbt2018-mean",
        preset=preset,
        parameters={"N": 8},
        data=(Path("/photos"), Path("/more")),
        workers=workers,
        settings=settings,
    )
    assert Recipe.loads(recipe.to_yaml()) == recipe


def test_a_complete_recipe_makes_the_same_settings() -> None:
    config = TrainingConfig(lmbda=(0.01, 0.1), stages=({"steps": 3, "lr": 0.1},), steps=7, patience=2)
    settings = json.loads(json.dumps(config.as_dict()))
    recipe = Recipe.loads(Recipe(spec="mbt2018-mean", settings=settings).to_yaml())
    assert TrainingConfig(**recipe.settings) == config


WRONG = """recipe: 1
spec: mbt2018-meen
preset: q4
stepps: 100
batch: 0
crop: big
lambda: -1
metric: psnr
optimizer: {type: adamm}
schedule: {warmup: 1.5, plateau: {patience: 3, factr: 0.5}}
stages: [{crop: 64}]
precision: int8
data: [3]
"""


def test_every_error_is_told_at_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        Recipe.loads(WRONG, "wrong.yaml")
    text = str(caught.value)
    for place, words in {
        "2:7": "did you mean 'mbt2018-mean'",
        "4:1": "did you mean 'steps'",
        "5:8": "batch: expected an integer, at least 1; got 0",
        "6:7": "crop",
        "7:9": "lambda is -1: expected a positive number",
        "8:9": "metric: expected 'mse' or 'ms-ssim'",
        "9:19": "did you mean 'adam",
        "10:20": "warmup: expected an integer, got 1.5",
        f"10:{WRONG.splitlines()[9].index('factr') + 1}": "did you mean 'factor'",
        "11:10": "a stage needs steps",
        "12:12": "precision: expected 'float32' or",
        "13:8": "data is a folder, or a list of them; got 3",
    }.items():
        _, found, rest = text.partition(f"wrong.yaml:{place}: error")
        assert found, place
        assert words in rest.split("wrong.yaml:")[0], place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe: 2\nspec: mbt2018-mean", "upgrade tinify"),
        ("recipe: 1", "a recipe needs a spec"),
        ("recipe: 1\nspec: mbt2018-mean\npreset: q9", "no preset 'q9'"),
        ("recipe: 1\nspec: mbt2018-mean\nset: {Q: 3}", "has no key 'Q'"),
        ("recipe: 1\nspec: mbt2018-mean\noptimizer: {type: sgd, speed: 3}", "sgd does not take"),
        ("recipe: 1\nspec: mbt2018-mean\nschedule: 3", "schedule is a mapping"),
        ("recipe: 1\nspec: mbt2018-mean\nset: 3", "set of mbt2018-mean is a mapping"),
        ("recipe: 1\nspec: mbt2018-mean\nstages: 3", "stages is a list"),
        ("recipe: 1\nspec: mbt2018-mean\npreset: [q1]", "no preset"),
        ("recipe: 1\nspec: absent.yaml", "cannot read the spec"),
    ],
)
def test_what_else_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Recipe.loads(text)


@pytest.mark.parametrize("metric", ["mse", "ms-ssim"])
@pytest.mark.parametrize("spec", ["bmshj2018-factorized", "cheng2020-anchor", "elic2022-official", "mbt2018-mean"])
def test_the_eight_lambdas_of_each_metric(spec: str, metric: str) -> None:
    for preset, lmbda in LAMBDAS[metric].items():
        if preset in Spec.load(spec).presets:
            recipe = Recipe(spec=spec, preset=preset, settings={"metric": metric})
            assert resolved(recipe, Spec.load(spec).elaborate(preset))["lmbda"] == lmbda


@given(st.lists(st.floats(0.1, 10), max_size=30), st.integers(0, 4))
def test_a_plateau_is_a_matter_of_the_past(losses: list[float], patience: int) -> None:
    drops = [plateau_drops(losses[:count], patience) for count in range(len(losses) + 1)]
    assert all(0 <= after - before <= (patience > 0) for before, after in itertools.pairwise(drops))
    assert drops[-1] <= len(losses) / (patience + 1)
    assert plateau_drops(sorted(losses, reverse=True)[::1], 30) == 0


def train(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, words)])
    return int(ended.value.code or 0)


def test_a_run_by_its_recipe(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "photos")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(RECIPE, encoding="utf-8")
    assert is_recipe(str(recipe))

    def fails(*words: object) -> str:
        capfd.readouterr()
        before = (out / "state.safetensors").read_bytes()
        assert train(*words) == 2
        assert (out / "state.safetensors").read_bytes() == before
        return capfd.readouterr().err

    assert train(recipe, "--out", out, "-q", "--batch", 2) == 0
    complete = Recipe.load(out / "recipe.yaml")
    assert (complete.settings["batch"], complete.settings["clip"]) == (2, 1.0)
    (start,) = json.loads((out / "environment.json").read_text())
    assert start["packages"]["torch"]
    assert len(json.loads((out / "data.json").read_text())["files"]) == 4

    assert train(recipe, "--out", out, "-q", "--resume", "--steps", 5) == 0
    assert train(out / "recipe.yaml", "--out", out, "-q", "--resume", "--steps", 6) == 0
    assert train("mbt2018-mean", "--out", out, "-q", "--resume", "--steps", 7) == 0
    assert [entry["step"] for entry in json.loads((out / "environment.json").read_text())] == [0, 4, 5, 6]

    other = tmp_path / "other.yaml"
    other.write_text(RECIPE.replace("lr: 1e-3", "lr: 1e-4").replace("crop: 64", "crop: 128"), encoding="utf-8")
    error = fails(other, "--out", out, "--resume")
    assert "run of another recipe: crop is 128, in the run 64; lr is 0.0001, in the run 0.001" in error
    other.write_text(RECIPE.replace("N: 8", "N: 16"), encoding="utf-8")
    assert "a run of another model" in fails(other, "--out", out, "--resume")
    other.write_text(RECIPE.replace("1e-3", "1e-4"), encoding="utf-8")
    assert train(other, "--out", out, "-q", "--resume", "--steps", 8, "--batch", 2, "--lr", 1e-4) == 0
    assert train(other, "--out", out, "-q", "--resume") == 0

    shutil.copy(tmp_path / "photos" / "0.png", tmp_path / "photos" / "new.png")
    (tmp_path / "photos" / "1.png").write_bytes(b"no picture")
    error = fails(other, "--out", out, "--resume")
    assert "1 new (new.png); 1 altered (1.png); put them back, or go on with these by --changed-data" in error
    assert train(other, "--out", out, "-q", "--resume", "--changed-data", "--steps", 9) == 0
    assert "no folder of photographs" in fails("mbt2018-mean", "--out", tmp_path / "absent", "--lmbda", 1)
