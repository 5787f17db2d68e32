"""A run from its recipe: what it begins with or goes on from, and the papers in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tinify.checkpoint import load_checkpoint, load_weights
from tinify.errors import CheckpointError, InputError, OutputError
from tinify.files import write_atomic
from tinify.losses import LAMBDAS
from tinify.models import CompressionModel, create_model
from tinify.models.portable import PORTABLE, thawed
from tinify.spec import Architecture, Spec
from tinify.training.config import TrainingConfig
from tinify.training.feed import feed_of
from tinify.training.recipe import Recipe
from tinify.training.state import TrainingState
from tinify.training.surroundings import add_start, surroundings

RECIPE, ENVIRONMENT = "recipe.yaml", "environment.json"

# Settings that a spec may advise.
_ADVICE = ("metric", "loss", "lmbda", "crop")


def begin(
    recipe: Recipe,
    changes: Mapping[str, Any],
    device: torch.device,
    weights: Path | None = None,
    fitting: bool = False,
) -> TrainingState:
    """A new run by a recipe, with ``changes`` of its settings, from random weights or those of a checkpoint.

    With ``fitting`` the checkpoint may be of another spec: what has a parameter's name and shape is taken, and what is
    missing begins at random. Raises :class:`~tinify.errors.InputError` where nothing says lambda.
    """
    changed = replace(recipe, settings={**recipe.settings, **changes})
    torch.manual_seed(changed.settings.get("seed", 0))
    model = create_model(recipe.spec, preset=recipe.preset, **recipe.parameters)
    assert model.architecture is not None
    origin: dict[str, Any] = {}
    if weights and fitting:
        origin["weights"] = f"{take_fitting(model, _float_model(weights), weights):,} of {weights}"
    elif weights:
        load_weights(model, _float_model(weights).state_dict(), weights)
    settings = resolved(changed, model.architecture)
    if settings["lmbda"] is None:
        raise InputError(f"{recipe.spec} without a preset has no lambda: give --lmbda, or a --preset")
    origin["recipe"] = resolved(recipe, model.architecture)
    return TrainingState(model.to(device), TrainingConfig(**settings), origin=origin)


def _float_model(path: Path) -> CompressionModel:
    """The model of a checkpoint; of portable weights, what their integers stand for."""
    model = load_checkpoint(path)
    return thawed(model) if model.arithmetic == PORTABLE else model


def take_fitting(model: nn.Module, source: nn.Module, path: Path) -> int:
    """Gives a model the parameters of another that have the name and shape of its own; returns how many numbers.

    Raises :class:`~tinify.errors.CheckpointError` where there are none.
    """
    theirs = dict(source.named_parameters())
    fitting = {n: p for n, p in model.named_parameters() if n in theirs and theirs[n].shape == p.shape}
    if not fitting:
        raise CheckpointError(f"{path} has no parameter with a name and shape of this spec's: begin without --weights")
    with torch.no_grad():
        for name, parameter in fitting.items():
            parameter.copy_(theirs[name])
    return sum(parameter.numel() for parameter in fitting.values())


def resume(path: Path, recipe: Recipe, changes: Mapping[str, Any], device: torch.device) -> TrainingState:
    """The run whose state is at ``path``, with ``changes`` of settings for the rest of it.

    Raises :class:`~tinify.errors.InputError` where it is a run of another recipe, or, if the recipe has nothing but a
    spec, of another spec; and for changes that the moments in the state do not outlive.
    """
    state = TrainingState.load(path, device)
    for name in ("optimizer", "freeze"):
        running = getattr(state.config, name)
        if changes.get(name, running) != running:
            raise InputError(
                f"{name} is {running!r} in this run and cannot become {changes[name]!r} on the way: "
                f"begin another with --weights {path.with_name('model.safetensors')}"
            )
    if recipe == Recipe(spec=recipe.spec):
        _check_name(path, state, recipe)
    else:
        _check_recipe(path, state, recipe, changes)
    state.config = replace(state.config, **changes)
    feed_of(state.model.domain).check(state.model, state.config)
    return state


def resolved(recipe: Recipe, architecture: Architecture) -> dict[str, Any]:
    """All settings of a recipe as JSON has them: its own, those that the spec advises, and the defaults.

    ``lmbda`` is None where nothing says it.
    """
    advice = {key: value for key, value in architecture.training.items() if key in _ADVICE}
    if isinstance(advice.get("loss"), dict):
        advice["loss"] = json.dumps(advice["loss"])
    metric = recipe.settings.get("metric", advice.get("metric", "mse"))
    if metric != advice.get("metric", "mse") or "lmbda" not in advice:
        points = LAMBDAS[metric]
        whole = [points["q1"], points["q8"]] if isinstance(advice.get("lmbda"), list) else None
        advice["lmbda"] = points.get(recipe.preset or "", whole)
    defaults = {field.name: field.default for field in fields(TrainingConfig) if field.default is not MISSING}
    found: dict[str, Any] = json.loads(json.dumps({**defaults, **advice, **recipe.settings}))
    return found


def _check_name(path: Path, state: TrainingState, recipe: Recipe) -> None:
    assert state.model.architecture is not None
    asked, saved = Spec.load(recipe.spec).name, state.model.architecture.name
    if asked != saved:
        raise InputError(f"{path} is a run of {saved}, not of {asked}: name {saved}, or another --out")


def _check_recipe(path: Path, state: TrainingState, recipe: Recipe, changes: Mapping[str, Any]) -> None:
    """Refuses a recipe that is neither the one which the run was begun with, nor what the run does now."""
    _check_name(path, state, recipe)
    architecture = Spec.load(recipe.spec).elaborate(recipe.preset, **recipe.parameters)
    assert state.model.architecture is not None
    if architecture.id != state.model.architecture.id:
        raise CheckpointError(
            f"{path} is a run of another model than the recipe's, for all its name: go on by the recipe that it wrote, "
            f"{path.with_name(RECIPE)}, or name another --out"
        )
    asked, running = resolved(recipe, architecture), json.loads(json.dumps(state.config.as_dict()))
    begun = state.origin.get("recipe", {})
    other = {name for name, value in asked.items() if name not in begun or value != begun[name]}
    other = {name for name in other if asked[name] not in (running[name], None)}
    if other - changes.keys():
        listed = "; ".join(
            f"{name} is {asked[name]!r}, in the run {running[name]!r}" for name in sorted(other - changes.keys())
        )
        raise CheckpointError(
            f"{path} is a run of another recipe: {listed}. Give --{min(other - changes.keys()).replace('_', '-')} and "
            "the like to change the rest of the run, or name another --out"
        )
    if other:
        state.origin["recipe"] = asked


def write_papers(out: Path, recipe: Recipe, state: TrainingState, device: torch.device, processes: int) -> None:
    """Writes the complete recipe of a run, and adds to its environments the one in which it now starts."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror}") from error
    complete = replace(recipe, settings=json.loads(json.dumps(state.config.as_dict())))
    write_atomic(out / RECIPE, complete.to_yaml().encode())
    start = {"step": state.step, "processes": processes, **surroundings(str(device))}
    add_start(out / ENVIRONMENT, start)
    for stale in out.glob(".tinify-*.part"):  # what a killed run was writing
        stale.unlink(missing_ok=True)
