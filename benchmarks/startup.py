"""How long `tinify list` takes to start, against an interpreter that imports click and yaml and does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import click
from report import describe, finish, json_option, machine, table

TARGET = 3.0

LIST_CODE = "import sys; from tinify.cli import cli; cli.main(['list'], standalone_mode=False)"
LIST = [str(Path(sys.executable).with_name("tinify")), "list"]
BARE = [sys.executable, "-c", "import click, yaml"]
TORCH_FREE = {
    "import tinify": "import tinify, sys; sys.exit('torch' in sys.modules)",
    "tinify list": f"{LIST_CODE}; sys.exit('torch' in sys.modules)",
}


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run; raises if the command fails."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def torch_users() -> list[str]:
    """Those of the commands that must do without torch, and import it."""
    runs = {
        name: subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        for name, code in TORCH_FREE.items()
    }
    return [name for name, run in runs.items() if run.returncode]


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1), help="Interleaved runs of each.")
@json_option
def main(rounds: int, json_file: Path | None) -> None:
    """Time the start of `tinify list`."""
    commands = {"tinify list": LIST, 'python -c "import click, yaml"': BARE}
    for command in commands.values():
        seconds(command)  # the first run reads from disk and writes bytecode
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: median(values) for name, values in times.items()}
    ours, bare = medians.values()
    facts = machine()
    click.echo(f"{describe(facts)}; median of {rounds} runs\n")
    click.echo(
        table(
            ["command", "seconds", "ratio"],
            [[name, f"{value:.3f}", f"{value / bare:.2f}"] for name, value in medians.items()],
        )
    )
    failures = [f"{name} imports torch" for name in torch_users()]
    if ours > TARGET * bare:
        failures.append(f"tinify list takes {ours / bare:.2f} times the bare imports, more than {TARGET:g}")
    finish({"machine": facts, "rounds": rounds, "seconds": medians, "ratio": ours / bare}, failures, json_file)


if __name__ == "__main__":
    main()
