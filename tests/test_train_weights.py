"""Runs that begin with weights, of which some are frozen."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from small_runs import draw_photos, everything, new_state, reload, run

import tinify
from tinify.checkpoint import load_checkpoint, save_model
from tinify.cli import main
from tinify.errors import CheckpointError, InputError, UnknownNameError
from tinify.training.recipe import Recipe
from tinify.training.run import begin, resume
from tinify.training.steps import Step

CPU = torch.device("cpu")
FROZEN = ("g_a.", "latent_codec.hyper.h_s.0.")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos"))


def test_frozen_parts_stay_and_the_others_learn(photos: Path, tmp_path: Path) -> None:
    before = {name: p.detach().clone() for name, p in new_state().model.named_parameters()}
    whole = run(new_state(4, freeze="g_a, latent_codec.hyper.h_s.0"), photos, tmp_path / "whole")
    shipped = dict(load_checkpoint(tmp_path / "whole" / "model.safetensors").named_parameters())
    for name, parameter in whole.model.named_parameters():
        if name.endswith(".quantiles"):
            continue
        frozen = name.startswith(FROZEN)
        assert torch.equal(parameter, before[name]) == frozen, name
        assert torch.equal(shipped[name], before[name]) == frozen, name
        assert (name in whole.trained) != frozen

    def interrupt(step: Step) -> None:
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        run(new_state(4, freeze="g_a, latent_codec.hyper.h_s.0"), photos, half, report=interrupt)
    resumed = run(reload(half), photos, half)
    for name, tensor in everything(whole).items():
        assert torch.equal(everything(resumed)[name], tensor), name


def test_what_cannot_be_frozen_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="part to freeze 'latent_code': did you mean 'latent_codec'"):
        new_state(freeze="latent_code")
    with pytest.raises(UnknownNameError, match=r"latent_codec\.hyper\.h_x"):
        new_state(freeze="latent_codec.hyper.h_x")
    with pytest.raises(InputError, match="leaves nothing to train"):
        new_state(freeze="g_a,g_s,latent_codec")
    run(new_state(2), photos, tmp_path)
    for changes in ({"freeze": "g_a"}, {"optimizer": "sgd"}):
        with pytest.raises(InputError, match=r"cannot become .* begin another with --weights .*model\.safetensors"):
            resume(tmp_path / "state.safetensors", Recipe(spec="mbt2018-mean"), changes, CPU)


def test_another_specs_weights_are_taken_where_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "source.safetensors"
    source = tinify.create_model("bmshj2018-hyperprior", N=8, M=8)
    save_model(source, path)
    recipe = Recipe(spec="mbt2018-mean", parameters={"N": 8, "M": 8}, settings={"lmbda": 0.01, "crop": 64})
    state = begin(recipe, {}, CPU, path, fitting=True)
    theirs, taken = dict(source.named_parameters()), 0
    for name, parameter in state.model.named_parameters():
        fits = name in theirs and theirs[name].shape == parameter.shape
        taken += parameter.numel() if fits else 0
        if fits:
            assert torch.equal(parameter, theirs[name]), name
    assert 0 < taken < sum(parameter.numel() for parameter in state.model.parameters())
    assert state.origin["weights"] == f"{taken:,} of {path}"
    with pytest.raises(CheckpointError, match="do not fit"):
        begin(recipe, {}, CPU, path)
    with pytest.raises(CheckpointError, match="no parameter with a name and shape"):
        begin(Recipe(spec="mnist", settings={"lmbda": 1.0, "crop": 28}), {}, CPU, path, fitting=True)


def test_the_command_says_how_much_fits(photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "source.safetensors"
    save_model(tinify.create_model("bmshj2018-hyperprior", N=8, M=8), path)
    command = ["train", "mbt2018-mean", "--set", "N=8", "--set", "M=8", "--data", str(photos), "--crop", "64"]
    command += ["--lmbda", "0.01", "--steps", "1", "--batch", "1", "--validate-every", "0"]
    command += ["--out", str(tmp_path / "out")]
    for more, code, words in (
        (["--fitting"], 2, "give --weights FILE too"),
        (["--fitting", "--weights", str(path), "--freeze", "g_a"], 0, f" of {path})"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*command, *more])
        assert int(ended.value.code or 0) == code
        assert words in capfd.readouterr().err
