"""``tinify train``: a run from the command line, with progress, interruption and resume."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from tinify.cli.options import assignments, quiet_option, set_option
from tinify.errors import InputError, OutputError
from tinify.training.config import TrainingConfig

if TYPE_CHECKING:
    from tinify.training.state import TrainingState

# Without a validation folder, so many pictures are taken out of the training folder, evenly spaced.
HELD_OUT = 16


def _settings(command: Any) -> Any:
    """An option for each setting of a run, with its default and its help; lambda may be left to the preset."""
    hints = get_type_hints(TrainingConfig)
    for setting in reversed(fields(TrainingConfig)):
        kind = _kind(hints[setting.name])
        known = {} if setting.default is MISSING else {"default": setting.default, "show_default": True}
        command = click.option(f"--{setting.name}", type=kind, help=setting.metadata["help"], **known)(command)
    return command


def _kind(hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    return _Range() if get_args(hint) else hint


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


@click.command("train")
@click.argument("spec")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of photographs, searched below.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for checkpoints and the log.")
@click.option("--val", type=click.Path(path_type=Path), help="Folder of held-out pictures; else some of --data.")
@click.option("--preset", help="A preset of the spec, which sets its parameters and lambda.")
@set_option
@_settings
@click.option("--weights", type=click.Path(path_type=Path), help="Begin with the weights of this checkpoint.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--save-every", type=click.IntRange(1), default=1000, show_default=True, help="Steps between saves.")
@click.option("--validate-every", type=click.IntRange(0), default=1000, show_default=True, help="0 for never.")
@click.option("--tensorboard", is_flag=True, help="Log for TensorBoard too.")
@click.option("--resume", is_flag=True, help="Go on from the state in --out, by its settings where none are given.")
@quiet_option
def train_command(
    spec: str,
    data: Path,
    out: Path,
    val: Path | None,
    preset: str | None,
    pairs: tuple[str, ...],
    weights: Path | None,
    device: str,
    threads: int | None,
    save_every: int,
    validate_every: int,
    tensorboard: bool,
    resume: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train SPEC (a name from `tinify list specs`, or a YAML file) on the photographs in --data.

    --out receives model.safetensors, ready for `tinify compress --model`, state.safetensors, from which --resume goes
    on exactly, and log.csv.
    """
    import torch

    from tinify.training.data import Crops, list_images, read_usable
    from tinify.training.log import RunLog
    from tinify.training.loop import LOG, STATE, train

    if threads:
        torch.set_num_threads(threads)
    torch_device = _device(device)
    files = list_images(data)
    held_out = list_images(val) if val else []
    if validate_every and not val:
        count = min(HELD_OUT, len(files) // 10)
        held_out = [files[i * len(files) // count] for i in range(count)]
        files = sorted({*files} - {*held_out})
    state_file = out / STATE
    if state_file.exists() != resume:
        hint = "go on with --resume, or name another --out" if state_file.exists() else "leave --resume out"
        raise OutputError(f"{state_file} {'exists' if state_file.exists() else 'does not exist'}: {hint}")
    if resume:
        if preset or pairs or weights:
            raise InputError("with --resume the model is that of the state: leave --preset, --set and --weights out")
        state = _resumed(spec, state_file, torch_device, options)
    else:
        state = _new_state(spec, preset, pairs, weights, options, torch_device)
    pictures = read_usable(held_out)
    crops = Crops(files, state.config.crop, state.config.batch)
    crops.batch(state.config.seed, state.step)  # a folder without a usable picture is found before anything is written
    _make_folder(out)
    if not quiet:
        click.echo(_summary(state, len(files), len(pictures)), err=True)
    log = RunLog(out / LOG, state.step, tensorboard=tensorboard)
    with _Bar(state, quiet) as report:
        train(
            state,
            crops,
            out,
            held_out=pictures,
            save_every=save_every,
            validate_every=validate_every,
            report=report,
            log=log,
        )
    if crops.skipped:
        click.echo(f"skipped {len(crops.skipped)} of {len(files)} files that could not be used", err=True)
    if not quiet:
        last = state.history[-1] if state.history else {}
        values = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        click.echo(f"{out / 'model.safetensors'}: {state.step} steps{', validation ' + values if values else ''}")


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


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise OutputError(f"cannot write to the folder {out}")


def _new_state(
    spec: str, preset: str | None, pairs: tuple[str, ...], weights: Path | None, options: dict[str, Any], device: Any
) -> TrainingState:
    import torch

    from tinify.checkpoint import load_checkpoint, load_weights
    from tinify.losses import LAMBDAS
    from tinify.models import create_model
    from tinify.training.state import TrainingState

    torch.manual_seed(options["seed"])
    model = create_model(spec, preset=preset, **assignments(pairs))
    assert model.architecture is not None
    if weights:
        load_weights(model, load_checkpoint(weights).state_dict(), weights)
    training = model.architecture.training
    metric = options["metric"] if _given("metric") else training.get("metric", options["metric"])
    loss = options["loss"] if _given("loss") else training.get("loss", options["loss"])
    lmbda = options["lmbda"]
    if lmbda is None and metric == training.get("metric", "mse"):
        lmbda = training.get("lmbda")
    elif lmbda is None and preset in LAMBDAS[metric]:
        lmbda = LAMBDAS[metric][preset]
    if lmbda is None:
        raise InputError(f"{spec} without a preset has no lambda: give --lmbda, or a --preset")
    config = TrainingConfig(
        **{**options, "lmbda": lmbda, "metric": metric, "loss": loss if isinstance(loss, str) else json.dumps(loss)}
    )
    return TrainingState(model.to(device), config)


def _given(name: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _resumed(spec: str, path: Path, device: Any, options: dict[str, Any]) -> TrainingState:
    from tinify.spec import Spec
    from tinify.training.state import TrainingState

    state = TrainingState.load(path, device)
    assert state.model.architecture is not None
    asked, saved = Spec.load(spec).name, state.model.architecture.name
    if asked != saved:
        raise InputError(f"{path} is a run of {saved}, not of {asked}: name {saved}, or another --out")
    state.config = replace(state.config, **{name: value for name, value in options.items() if _given(name)})
    return state


def _summary(state: TrainingState, files: int, held_out: int) -> str:
    assert state.model.architecture is not None
    count = sum(p.numel() for p in state.model.parameters())
    return (
        f"{state.model.architecture.name}: {count:,} parameters, {files} training and {held_out} validation pictures, "
        f"step {state.step} of {state.config.steps}, {next(state.model.parameters()).device}"
    )


class _Bar:
    """A progress bar on standard error: bits per pixel, PSNR, crops a second, time left, all smoothed."""

    def __init__(self, state: TrainingState, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = "{task.fields[bpp]:.3f} bpp  {task.fields[psnr]:.2f} dB  {task.fields[speed]:.0f} crops/s"
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(columns),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._progress.add_task("", total=state.config.steps, completed=state.step, bpp=0, psnr=0, speed=0)
        self._mean: dict[str, float] = {}

    def __enter__(self) -> Any:
        self._progress.start()
        return self._report

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def _report(self, step: Any) -> None:
        for name in ("bpp", "psnr", "speed"):
            self._mean[name] = 0.98 * self._mean.get(name, getattr(step, name)) + 0.02 * getattr(step, name)
        bpp, psnr, speed = self._mean.values()
        self._progress.update(self._task, completed=step.step, bpp=bpp, psnr=psnr, speed=speed)
