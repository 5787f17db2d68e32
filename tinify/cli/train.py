"""``tinify train``: a run from the command line, with progress, interruption and resume."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tinify.cli.options import assignments, quiet_option, set_option
from tinify.cli.progress import Bar
from tinify.errors import InputError, OutputError
from tinify.training.config import TrainingConfig

if TYPE_CHECKING:
    from tinify.training.recipe import Recipe
    from tinify.training.state import TrainingState

_LAMBDA = "Weight of distortion against bits, or LOW:HIGH over the qualities of a model of variable rate."
WORKERS = 2
_FOLDER = click.Path(path_type=Path)


class _Range(click.ParamType):  # type: ignore[type-arg]
    """A number, or two with a colon between."""

    name = "number or low:high"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            numbers = [float(part) for part in value.split(":", 1)]
        except ValueError:
            self.fail(f"{value!r} is neither a number nor LOW:HIGH", param, ctx)
        return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _settings(command: Any) -> Any:
    """An option for each setting of a run, with its default and its help; lambda may be left to the preset."""
    for name, parameter in reversed(TrainingConfig.parameters().items()):
        option = f"--{name.replace('_', '-')}"
        kind = click.Choice(parameter.choices) if parameter.choices else parameter.type
        known = {"is_flag": True} if kind is bool else {"type": kind, "show_default": str(parameter.default)}
        command = click.option(option, default=None, help=parameter.help, **known)(command)
    return click.option("--lmbda", type=_Range(), help=_LAMBDA)(command)


@click.command("train")
@click.argument("spec", metavar="RECIPE|SPEC")
@click.option("--data", multiple=True, type=_FOLDER, help="Folder of photographs, searched below; may be repeated.")
@click.option("--out", required=True, type=_FOLDER, help="Folder for checkpoints, the log and the papers of the run.")
@click.option("--val", multiple=True, type=_FOLDER, help="Folder of held-out pictures; else some of --data.")
@click.option("--preset", help="A preset of the spec, which sets its parameters and lambda.")
@set_option
@_settings
@click.option("--weights", type=_FOLDER, help="Begin with the weights of this checkpoint.")
@click.option("--fitting", is_flag=True, help="Of --weights take what fits this spec; the rest begins at random.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, help="Processes, one a device.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each process.")
@click.option("--workers", type=click.IntRange(1, 256), help=f"Threads that read pictures; else {WORKERS}.")
@click.option("--tensorboard", is_flag=True, help="Log for TensorBoard too.")
@click.option("--resume", is_flag=True, help="Go on from the state in --out, by its settings where none are given.")
@click.option("--changed-data", is_flag=True, help="Resume though the pictures are not the same.")
@quiet_option
def train_command(
    spec: str,
    data: tuple[Path, ...],
    out: Path,
    val: tuple[Path, ...],
    preset: str | None,
    pairs: tuple[str, ...],
    weights: Path | None,
    fitting: bool,
    device: str,
    devices: int,
    threads: int | None,
    workers: int | None,
    tensorboard: bool,
    resume: bool,
    changed_data: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train by RECIPE, a YAML file that begins with `recipe: 1`, or SPEC, a name from `tinify list specs` or a file.

    Options take the place of what a recipe says. --out receives model.safetensors, ready for `tinify compress --model`,
    state.safetensors, from which --resume goes on exactly, log.csv, and what the run was: recipe.yaml,
    environment.json and data.json.
    """
    import torch

    from tinify.training.feed import domain_of, feed_of
    from tinify.training.files import DATA, Files
    from tinify.training.log import RunLog
    from tinify.training.loop import LOG, STATE, train
    from tinify.training.processes import launch
    from tinify.training.run import begin, write_papers
    from tinify.training.run import resume as resume_run

    if threads:
        torch.set_num_threads(threads)
    asked = _recipe(spec)
    if preset or pairs:
        asked = replace(asked, preset=preset or asked.preset, parameters={**asked.parameters, **assignments(pairs)})
    state_file = out / STATE
    if state_file.exists() != resume:
        hint = "go on with --resume, or name another --out" if state_file.exists() else "leave --resume out"
        raise OutputError(f"{state_file} {'exists' if state_file.exists() else 'does not exist'}: {hint}")
    if resume and (preset or pairs or weights):
        raise InputError("with --resume the model is that of the state: leave --preset, --set and --weights out")
    if fitting and not weights:
        raise InputError("--fitting says what to take of --weights: give --weights FILE too")
    recipe = _complete(asked, out if resume else None, data, val, workers)
    domain = domain_of(recipe.spec)
    feed = feed_of(domain)
    files = Files.find(recipe.data, recipe.validation, feed.list_files, domain.name)
    processes, torch_device = launch(devices, _device(device))
    first = processes.rank == 0
    if not first:
        warnings.simplefilter("ignore")
    changes = {name: value for name, value in options.items() if _given(name)}
    state = (
        resume_run(state_file, asked, changes, torch_device)
        if resume
        else begin(asked, changes, torch_device, weights, fitting)
    )
    if state.config.validate_every:
        files = files.with_held_out()
    part = (processes.rank, processes.size)
    crops = feed.batches(files.training, state.config, recipe.workers or WORKERS, part)
    held_out = feed.held_out(files.held_out)
    # A folder without a usable file is found before anything is written.
    crops.batch(state.config.seed, state.step, *state.config.shape_at(state.step))
    if first:
        found = files.check(state, out, changed_data)
        write_papers(out, recipe, state, torch_device, processes.size)
        found.save(out / DATA)
    quiet = quiet or not first
    if not quiet:
        click.echo(_summary(state, len(files.training), len(held_out), processes.size), err=True)
    log = RunLog(out / LOG, state.step, tensorboard=tensorboard) if first else None
    with Bar(state, quiet) as report:
        train(state, crops, out, held_out=held_out, report=report, log=log, processes=processes)
    if first and crops.skipped:
        click.echo(f"skipped {len(crops.skipped)} of {len(crops.files)} files that could not be used", err=True)
    if not quiet:
        last = state.history[-1] if state.history else {}
        values = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        click.echo(f"{out / 'model.safetensors'}: {state.step} steps{', validation ' + values if values else ''}")


def _recipe(argument: str) -> Recipe:
    """The recipe in a file, or one that has nothing but a spec."""
    from tinify.training.recipe import Recipe, is_recipe

    return Recipe.load(Path(argument)) if is_recipe(argument) else Recipe(spec=argument)


def _complete(
    recipe: Recipe, resumed: Path | None, data: tuple[Path, ...], val: tuple[Path, ...], workers: int | None
) -> Recipe:
    """A recipe with the folders of the options in place of its own, or those of the run that is resumed."""
    from tinify.training.recipe import Recipe
    from tinify.training.run import RECIPE

    if resumed and not recipe.data and (resumed / RECIPE).exists():
        recipe = Recipe.load(resumed / RECIPE)
    return replace(
        recipe, data=data or recipe.data, validation=val or recipe.validation, workers=workers or recipe.workers
    )


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def _given(name: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _summary(state: TrainingState, files: int, held_out: int, processes: int) -> str:
    assert state.model.architecture is not None
    count = sum(p.numel() for p in state.model.parameters())
    return (
        f"{state.model.architecture.name}: {count:,} parameters"
        + (f" ({state.origin['weights']})" if "weights" in state.origin else "")
        + f", {files} training and {held_out} validation {state.model.domain.name}, "
        f"step {state.step} of {state.config.steps}, {next(state.model.parameters()).device}"
        + (f", {processes} processes" if processes > 1 else "")
    )
