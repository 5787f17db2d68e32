"""``tinify freeze``: weights whose files decode to the same symbols on every machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tinify.cli.options import json_option, progress, quiet_option
from tinify.errors import InputError, OutputError


@click.command("freeze")
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUT.safetensors", type=click.Path(path_type=Path))
@click.option("--portable", is_flag=True, help="With integers in the place of all that chooses coding tables.")
@click.option(
    "--calibrate",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Pictures, 10 to 100, by which the integers are chosen; of a model of video, folders of frames.",
)
@click.option("--pictures", type=int, default=32, show_default=True, help="How many of them.")
@click.option(
    "--tune",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Steps of training, for the rate of these pictures, with the rounding in place.",
)
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Pictures to measure by what it costs; those of the calibration will flatter.",
)
@click.option(
    "--out",
    "-o",
    "tables",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write the report to a .json, .csv or .md file.",
)
@quiet_option
@json_option
def freeze_command(
    model: str,
    output: Path,
    portable: bool,
    calibrate: Path | None,
    pictures: int,
    tune: int,
    report: Path | None,
    tables: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Freeze the weights MODEL, a name or a file, to OUT.safetensors.

    A file that was coded with portable weights decodes to the same symbols whatever the processor, the library and the
    number of threads. The transforms stay as they are; what that costs in bits is told by --report.
    """
    from tinify.cli.evaluation import check_outputs, show, write

    if not portable or calibrate is None:
        raise InputError("say which arithmetic, and give pictures: tinify freeze MODEL OUT --portable --calibrate DIR")
    if output.suffix != ".safetensors":
        raise OutputError(f"{output} does not end in .safetensors: name a file of weights")
    if tables and report is None:
        raise InputError("--out writes what --report DIR measures: give pictures to measure by")
    check_outputs(tables)
    with progress(f"freezing {model}", quiet or as_json) as status:
        from tinify.checkpoint import save_model
        from tinify.evaluation.bench import evaluate
        from tinify.evaluation.results import to_json
        from tinify.exact import exact_layers
        from tinify.freezing import FRAMES, calibration, freeze_portable
        from tinify.models.domain import PICTURES
        from tinify.training.pictures import takes_clips
        from tinify.weights import find_weights, read_notes
        from tinify.zoo import load_model

        source = find_weights(model)
        loaded = load_model(source)
        assert loaded.architecture is not None
        clips = takes_clips(loaded)
        if loaded.domain.command != PICTURES.command and not clips:
            raise InputError(f"{model} codes {loaded.domain.name}, and a calibration takes pictures, or clips of them")
        if report is not None and clips:
            raise InputError(f"{model} takes clips, and --report measures pictures: leave it out")
        frozen = freeze_portable(
            loaded,
            calibration(calibrate, loaded.architecture.stride, pictures, FRAMES if clips else 1),
            tune=tune,
            progress=status.update,
        )
        training = json.loads(read_notes(source).get("training", "{}"))
        save_model(frozen, output, training=training)
        layers = len(list(exact_layers(frozen)))
        results = None
        if report is not None:
            names = [str(source), str(output)]
            results = evaluate(names, report, anchor=names[0], progress=status.update, memory=False)
            write(results, tables)
    if as_json:
        facts = {"input": str(source), "output": str(output), "layers": layers, "bytes": output.stat().st_size}
        click.echo(json.dumps(facts | ({} if results is None else {"report": json.loads(to_json(results))})))
    elif not quiet:
        click.echo(f"{output}: portable, {layers} layers of integers")
        if results is not None:
            show(results)
