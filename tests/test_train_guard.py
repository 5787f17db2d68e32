"""Batches without a finite loss are skipped, bad weights rolled back, and a resumed run does just the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import assert_same, draw_photos, everything, new_state, reload, run

from tinify.errors import DivergedError, InputError
from tinify.training.data import Crops
from tinify.training.state import TrainingState
from tinify.training.steps import Step


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos"))


class BadBatches(Crops):
    """Crops of which those of steps 3 and 6 are no numbers."""

    def batch(self, seed: int, step: int, crop: int = 0, size: int = 0) -> torch.Tensor:
        return super().batch(seed, step, crop, size) * (float("nan") if step in (3, 6) else 1)


def spoil_at(step: int, state: TrainingState, interrupt: int = 0) -> Callable[[Step], None]:
    """Makes weights infinite after a step, as one too large would; and may interrupt after another."""

    def report(done: Step) -> None:
        if done.step == step:
            next(iter(state.trained.values())).data.fill_(float("inf"))
        if done.step == interrupt:
            os.kill(os.getpid(), signal.SIGINT)

    return report


@pytest.mark.filterwarnings("ignore:.*skipped its batch:UserWarning")
@pytest.mark.parametrize("stop", [2, 3, 4, 6])
def test_a_bad_batch_is_skipped_in_a_resumed_run_too(stop: int, photos: Path, tmp_path: Path) -> None:
    whole = run(new_state(steps=9), photos, tmp_path / "whole", crops=BadBatches)
    assert (whole.skipped, whole.rollbacks) == ([3, 6], [])
    assert all(bool(tensor.isfinite().all()) for tensor in everything(whole).values())
    state = new_state(steps=9)
    with pytest.raises(KeyboardInterrupt):
        run(state, photos, tmp_path / "broken", crops=BadBatches, report=spoil_at(0, state, interrupt=stop))
    assert_same(run(reload(tmp_path / "broken"), photos, tmp_path / "broken", crops=BadBatches), whole)


def test_a_skipped_batch_is_told(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="step 4: loss nan, gradient norm nan; skipped its batch"):
        state = run(new_state(steps=4), photos, tmp_path, crops=BadBatches)
    before = run(new_state(steps=3), photos, tmp_path, crops=BadBatches)
    assert all(torch.equal(weight, before.trained[name]) for name, weight in state.trained.items())


@pytest.mark.filterwarnings("ignore:.*skipped its batch:UserWarning")
def test_bad_weights_are_rolled_back_in_a_resumed_run_too(photos: Path, tmp_path: Path) -> None:
    state = new_state(steps=12, save_every=4)
    with pytest.warns(UserWarning, match="rolled back to the weights of step 4"):
        whole = run(state, photos, tmp_path / "whole", report=spoil_at(6, state))
    assert (whole.skipped, whole.rollbacks) == ([6, 7], [7])
    state = new_state(steps=12, save_every=4)
    with pytest.raises(KeyboardInterrupt):
        run(state, photos, tmp_path / "broken", report=spoil_at(0, state, interrupt=5))
    again = reload(tmp_path / "broken")
    with pytest.warns(UserWarning, match="rolled back to the weights of step 4"):
        run(again, photos, tmp_path / "broken", report=spoil_at(6, again))
    assert_same(again, whole)


@pytest.mark.filterwarnings("ignore:.*(skipped its batch|rolled back):UserWarning")
def test_too_many_rollbacks_are_too_many(photos: Path, tmp_path: Path) -> None:
    state = new_state(steps=100, save_every=4, rollbacks=2)

    def spoil(done: Step) -> None:
        if done.step > 5:
            next(iter(state.trained.values())).data.fill_(float("nan"))

    with pytest.raises(DivergedError, match="after 2 rollbacks; go on from the last checkpoint"):
        run(state, photos, tmp_path, report=spoil)
    assert reload(tmp_path).finite()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what the compiler calls
def test_compiling_keeps_the_names_of_weights(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile
    monkeypatch.setattr("torch.compile", lambda model: compiled(model, backend="eager"))
    quick = run(new_state(steps=2, compile=True), photos, tmp_path / "quick")
    plain = run(new_state(steps=2), photos, tmp_path / "plain")
    for name, tensor in everything(plain).items():
        assert torch.allclose(everything(quick)[name], tensor, atol=1e-5), name


def test_a_missing_compiler_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    def refuse(*_: object) -> None:
        raise InvalidCxxCompiler

    monkeypatch.setattr("torch.compile", lambda model: refuse)
    with pytest.raises(InputError, match=r"torch\.compile cannot compile this model here: .*install a C\+\+ compiler"):
        run(new_state(steps=2, compile=True), photos, tmp_path)
