"""The conformance kit as an author meets it: names, results, expected failures, the table, the fixtures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tinify.errors import InputError, PluginError, UnknownNameError
from tinify.plugin import ShapeError, Sig, component, hookimpl
from tinify.registry import get_registry
from tinify.testing import component_checks, run_checks
from tinify.testing.__main__ import main, table
from tinify.testing.cases import cases_of, derived_arguments
from tinify.testing.plugin import PluginHost, Run
from tinify.testing.run import jobs

pytest_plugins = ["tinify.testing.plugin"]


class Noise(nn.Module):
    def __init__(self, in_channels: int, amount: float = 0.5) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount * torch.rand_like(x)


@component("layer", "acme/noise", target=f"{__name__}:Noise")
class NoiseLayer:
    """Adds noise, in eval mode too."""

    amount: float = 0.5

    def shape(self, x: Sig) -> Sig:
        return x


CASES = {"acme/noise": [{}, {"amount": 0.0}]}
ALWAYS = dict.fromkeys(("check_eval_deterministic", "check_batch", "check_state_dict", "check_deepcopy"), "it is noise")
LIGHT_IMPORT = {"check_light_import": "declared beside its target"}


@pytest.fixture
def acme(plugin_host: PluginHost, monkeypatch: pytest.MonkeyPatch) -> PluginHost:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    plugin_host.add(NoiseLayer)
    return plugin_host


def failures(**options: Any) -> set[tuple[str, str]]:
    results = run_checks("acme", "report", **options)
    return {(result.case, result.check) for result in results if result.status == "failed"}


def test_results_say_what_failed_in_which_case(acme: PluginHost) -> None:
    failed = failures(cases=CASES)
    assert {check for case, check in failed if case == "acme/noise"} == {*ALWAYS, "check_light_import"}
    assert {check for case, check in failed if case == "acme/noise[amount=0.0]"} == {"check_light_import"}


def test_the_first_failure_is_raised(acme: PluginHost) -> None:
    with pytest.raises(AssertionError, match=r"acme/noise-check_light_import: .*imports.*torch"):
        run_checks("acme/noise")


def test_expected_failures_are_strict(acme: PluginHost) -> None:
    both = {"acme/noise": {**ALWAYS, **LIGHT_IMPORT}}
    assert failures(expected_failures=both) == set()
    quiet = "acme/noise[amount=0.0]"
    assert failures(cases=CASES, expected_failures=both) == {(quiet, check) for check in ALWAYS}
    split = {"layer:acme/noise": ALWAYS, "acme/noise": LIGHT_IMPORT}
    assert failures(expected_failures=split) == set()
    with pytest.raises(InputError, match="check_speling"):
        run_checks("acme", expected_failures={"acme/noise": {"check_speling": "?"}})


def test_pytest_gets_a_parameter_for_each_check(acme: PluginHost) -> None:
    mark = component_checks("acme", cases=CASES, expected_failures={"acme/noise[amount=0.0]": {"check_batch": "why"}})
    names, parameters = mark.mark.args
    assert names == "check"
    ids = [parameter.id for parameter in parameters]
    assert "acme/noise[amount=0.0]-check_shape_rule" in ids
    assert len(set(ids)) == len(ids) == len(jobs("acme", cases=CASES))
    strict = [parameter for parameter in parameters if parameter.marks]
    assert [parameter.id for parameter in strict] == ["acme/noise[amount=0.0]-check_batch"]
    assert strict[0].marks[0].kwargs == {"strict": True, "reason": "why"}


def test_wrong_names_are_named(acme: PluginHost) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'acme/noise'"):
        run_checks("acme/nose")
    with pytest.raises(UnknownNameError, match="did you mean 'acme/noise'"):
        run_checks("acme", cases={"acme/noize": [{}]})
    with pytest.raises(InputError, match="'raise' or 'report'"):
        run_checks("acme", "ignore")
    with pytest.raises(InputError, match="a list of arguments"):
        run_checks("acme", cases={"acme/noise": lambda shape, dtype: ()})


@component("layer", "acme/picky", target=f"{__name__}:Noise")
class Picky:
    """Takes 40 channels, or none."""

    def shape(self, x: Sig) -> Sig:
        if x.channels != 40:
            raise ShapeError(f"40 channels are wanted, got {x}")
        return x


def test_inputs_that_cannot_be_found_are_asked_for(plugin_host: PluginHost) -> None:
    plugin_host.add(Picky)
    with pytest.raises(InputError, match=r"(?s)pass inputs=\{'acme/picky': Sig.*40 channels are wanted, got 8ch"):
        jobs("acme")
    assert all(job.case.inputs == (Sig(40),) for job in jobs("acme", inputs={"acme/picky": Sig(40)}))


@component("layer", "acme/many", target=f"{__name__}:Noise")
class Many:
    """Has parameters of all sorts without a default."""

    out: int
    rate: float
    fast: bool
    name: str
    groups: list[int]
    limit: int | None

    def shape(self, x: Sig) -> Sig:
        return x


def test_what_has_no_default_gets_a_small_value(plugin_host: PluginHost) -> None:
    plugin_host.add(Many)
    (case,) = cases_of(get_registry().component("layer", "acme/many"), None, None)
    assert case.arguments == {"out": 8, "rate": 0.5, "fast": False, "name": "a", "groups": [8, 8], "limit": None}
    assert derived_arguments(get_registry().component("latent_codec", "hyperprior"))[0].keys() == {"hyper", "y"}


# Side information has to fit a slot that has to be filled, or one slot another.
GIVEN = (
    "vbr/raster_scan",
    "video/scale_space_flow",
    "pointcloud/autoencoder",
    "pointcloud/hierarchy",
    "pointcloud/density_preserving",
)


@pytest.mark.parametrize("part", [part for part in get_registry().components() if part.name not in GIVEN], ids=str)
def test_every_derived_case_of_tinifys_own_elaborates(part: Any) -> None:
    for case in cases_of(part, None, None):
        assert case.part().canonical["type"] == part.name  # type: ignore[call-overload]


def test_the_table_and_the_exit_status(acme: PluginHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acme"]) == 1
    out = capsys.readouterr().out
    assert "acme/noise" in out
    assert "check_eval_deterministic: acme/noise: in eval mode the same input gives different outputs" in out
    assert out.splitlines()[-1].endswith("5 failed")
    assert main(["abs"]) == 0
    assert main(["acme/nose"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main([]) == 2
    assert "0 failed" in table([])


def test_a_broken_plugin_is_named(tmp_plugin: Callable[..., Any]) -> None:
    assert tmp_plugin("acme", "import no_such_module").status == "broken"
    with pytest.raises(PluginError, match=r"acme \(tinify-acme 1\.0\) is broken: .*no_such_module"):
        run_checks("acme")


def test_checks_are_refused_where_assertions_are_left_out() -> None:
    done = subprocess.run([sys.executable, "-O", "-c", "import tinify.testing"], capture_output=True, text=True)
    assert done.returncode
    assert "run python without -O" in done.stderr


LIGHT = '''
from tinify.plugin import Sig, component, hookimpl

@component("layer", "acme/twice", target="tinify_acme.layers:Twice")
class Twice:
    """Doubles."""

    def shape(self, x: Sig) -> Sig:
        return x

@hookimpl
def tinify_components():
    return [Twice]
'''
LAYERS = """
from torch import nn

class Twice(nn.Module):
    def __init__(self, in_channels):
        super().__init__()

    def forward(self, x):
        return 2 * x
"""


def test_a_plugin_written_for_a_test_is_one_like_any_other(
    tmp_plugin: Callable[..., Any], run_cli: Callable[..., Run], fresh_process: Callable[[str], str]
) -> None:
    plugin = tmp_plugin("acme", LIGHT, files={"tinify_acme/layers.py": LAYERS})
    assert (plugin.status, str(plugin)) == ("ok", "plugin acme (tinify-acme 1.0)")
    assert {result.status for result in run_checks("acme")} == {"passed"}
    assert "acme/twice" in run_cli("list", "layer").stdout
    assert fresh_process("from tinify.registry import get_registry; print(get_registry().plugins)").count("acme")


def test_nothing_of_it_is_left_after_the_test() -> None:
    assert "acme" not in {plugin.namespace for plugin in get_registry().plugins}
    assert "tinify_acme" not in sys.modules


def test_a_plugin_for_a_newer_tinify_is_incompatible(tmp_plugin: Callable[..., Any]) -> None:
    plugin = tmp_plugin("acme", "raise SystemExit", requires=["tinify-codec>=99"])
    assert plugin.status == "incompatible"
    assert "tinify-codec>=99" in plugin.reason


def test_a_module_with_hooks_can_be_added(plugin_host: PluginHost) -> None:
    class Hooks:
        @hookimpl
        def tinify_components(self) -> list[type]:
            return [NoiseLayer]

    assert plugin_host.add(Hooks()).status == "ok"
    assert get_registry() is plugin_host.registry
    assert get_registry().component("layer", "acme/noise").summary


def test_specs_are_elaborated_and_their_errors_placed(
    elaborate: Callable[..., Any], spec_errors: Callable[[str], list[tuple[int, int, str]]]
) -> None:
    text = "tinify: 1\nname: mine\nextends: bmshj2018-factorized\nparams: {N: 8, M: 8}\n"
    assert elaborate(text, M=16).parameters == {"N": 8, "M": 16}
    assert spec_errors(text) == []
    assert spec_errors("tinify: 1\nname: mine\nmodel: {type: autoencoderr}\n") == [(3, 15, "R001")]


def test_a_command_that_fails_says_so(run_cli: Callable[..., Run]) -> None:
    done = run_cli("show", "no_such_part")
    assert done.exit_code == 2
    assert "no_such_part" in done.stderr
    assert not done.stdout


def test_the_cpu_is_always_a_device(devices: list[torch.device]) -> None:
    assert devices[0] == torch.device("cpu")


def test_a_deprecated_version_is_checked_without_a_warning(plugin_host: PluginHost) -> None:
    old = component("layer", "past/same", target="torch.nn:Identity", deprecated="use abs")(
        type("Old", (), {"__doc__": "Keeps what it is given.", "shape": lambda self, x: x})
    )
    plugin_host.add(old, namespace="past")
    found = [job for job in jobs("past") if job.check.__name__ in ("check_description", "check_shape_rule")]
    for job in found:  # warnings are errors here
        job()
    assert len(found) == 2
