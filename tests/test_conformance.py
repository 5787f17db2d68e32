"""tinify's own parts pass the conformance kit, by the same door as a stranger's."""

from __future__ import annotations

from collections.abc import Callable

import jsonschema
import pytest

from tinify.plugin import SPEC_KINDS, Sig
from tinify.registry import get_registry
from tinify.spec.json_schema import schema
from tinify.testing import Case, component_checks
from tinify.testing.run import jobs

DOWN = [{"type": "conv", "out": 8}, "gdn", {"type": "conv", "out": 12}]
UP = [{"type": "deconv", "out": 8}, {"type": "gdn", "inverse": True}, {"type": "deconv", "out": 3}]
HYPER = {
    "type": "hyper",
    "h_a": [{"type": "conv", "out": 4}, "leaky_relu", {"type": "conv", "out": 4, "kernel": 3, "stride": 1}],
    "h_s": [{"type": "deconv", "out": 24}, {"type": "offset", "value": 3.0}],
}
GAUSSIAN = {"type": "gaussian_conditional", "quantizer": "ste"}
GAINED = {"gain": {"type": "gain_unit", "points": 4, "span": 3.0}, "inverse": {"type": "gain_unit", "points": 4}}
MASKED = {"type": "masked_conv", "out": 16}
COLOURED = {"type": "checkerboard_conv", "out": 16, "kernel": 3}
POINTWISE = [{"type": "conv", "out": 12, "kernel": 1, "stride": 1}, "leaky_relu"]
PREDICTED = [*POINTWISE, {"type": "conv", "out": 16, "kernel": 1, "stride": 1}, {"type": "offset", "value": 2.0}]

POINTS = [{"type": "pointcloud/conv", "out": 8}, "pointcloud/batch_norm", "relu"]

VIDEO_HYPERPRIOR = {
    "type": "video/hyperprior",
    "hyper_encoder": [{"type": "conv", "out": 4}],
    "hyper_decoder_mean": [{"type": "deconv", "out": 12}],
    "hyper_decoder_scale": [{"type": "deconv", "out": 12}, {"type": "offset", "value": 3.0}],
}

CASES = {
    "conv": [{"out": 8}, {"out": 5, "kernel": 3, "stride": 1}, {"out": 4, "kernel": 5, "stride": 3}],
    "deconv": [{"out": 8}, {"out": 5, "kernel": 3, "stride": 1}, {"out": 4, "kernel": 7, "stride": 4}],
    "gdn": [{}, {"inverse": True}],
    "leaky_relu": [{}, {"slope": 0.2}],
    "depthwise_block": [{}, {"kernel": 5, "expansion": 3}],
    "pixel_shuffle": [{}, {"factor": 4}, {"factor": 3}],
    "pixel_unshuffle": [{}, {"factor": 3}],
    "gdn1": [{}, {"inverse": True}],
    "masked_conv": [{"out": 8}, {"out": 3, "kernel": 3, "mask": "B"}],
    "checkerboard_conv": [{"out": 8}, {"out": 3, "kernel": 3}],
    "residual_block": [{"out": 8}, {"out": 5}],
    "residual_block_stride": [{"out": 5}, {"out": 8, "stride": 1}, {"out": 5, "stride": 3}],
    "residual_block_upsample": [{"out": 5}, {"out": 8, "factor": 1}, {"out": 5, "factor": 3}],
    "subpel_conv": [{"out": 5}, {"out": 3, "kernel": 5, "factor": 3}, {"out": 3, "kernel": 1, "factor": 1}],
    "channel_ramp": [
        {"out": 3},
        {"out": 17, "layers": 5, "kernel": 3},
        {"out": 3, "min": 7, "activation": "leaky_relu"},
        {"out": 3, "layers": 1},
    ],
    "gain_unit": [{}, {"points": 3, "span": 20.0}],
    "interleave": [{"groups": 2}, {"groups": 8}],
    "layer:gain": [{}, {"factor": 3.0}],
    "entropy_model:entropy_bottleneck": [{}, {"init_scale": 4.0, "tail_mass": 1e-6}],
    "same_conv": [{"out": 8}, {"out": 5, "kernel": 1, "stride": 1}, {"out": 4, "kernel": 4, "stride": 3}],
    "same_deconv": [{"out": 8}, {"out": 5, "kernel": 3, "stride": 1}, {"out": 4, "kernel": 4, "stride": 3}],
    "entropy_model:logistic_prior": [{}, {"tail_mass": 1e-4}],
    "entropy_model:gaussian_conditional": [{}, {"scale_min": 0.5, "scale_max": 32.0, "levels": 32}],
    "entropy_model:gaussian_mixture": [{}, {"components": 2, "scale_min": 0.5, "scale_max": 32.0, "levels": 32}],
    "latent_codec:entropy_bottleneck": [{}],
    "latent_codec:gaussian_conditional": [
        {},
        {"chunks": ["means", "scales"], "scale_link": "softplus", "quantizer": "ste"},
        {"chunks": ["scales"]},
    ],
    "hyper": [{key: HYPER[key] for key in ("h_a", "h_s")}, {"h_a": HYPER["h_a"], "h_s": "abs", "magnitude": True}],
    "hyperprior": [{"hyper": HYPER, "y": GAUSSIAN}],
    "channel_conditional": [{"channels": 8}, {"channels": 12, "groups": 3, "hidden": 6}],
    "raster_scan": [{"context_prediction": MASKED, "entropy_parameters": PREDICTED}],
    "checkerboard": [
        {"context_prediction": COLOURED, "entropy_parameters": PREDICTED, "y": GAUSSIAN},
        {"context_prediction": COLOURED, "entropy_parameters": PREDICTED, "y": GAUSSIAN, "anchor_parity": "odd"},
    ],
    "channel_groups": [
        {
            "groups": [2, 6],
            "channel_context": [{"type": "conv", "out": "2*g - 4", "kernel": 3, "stride": 1}],
            "latent_codec": GAUSSIAN,
        }
    ],
    "quadtree": [
        {
            "latent_codec": {
                "type": "channel_groups",
                "groups": [8, 8, 8, 8],
                "channel_context": [{"type": "conv", "out": "2*g", "kernel": 1, "stride": 1}],
                "latent_codec": GAUSSIAN
                | {"entropy_parameters": [{"type": "conv", "out": 16, "kernel": 1, "stride": 1}]},
            }
        }
    ],
    "latent_codec:gain": [{"latent_codec": {"type": "hyperprior", "hyper": HYPER | GAINED, "y": GAUSSIAN}, **GAINED}],
    "vbr/entropy_bottleneck": [{}, {"variable": False}],
    "vbr/hyper": [{key: HYPER[key] for key in ("h_a", "h_s")}],
    "vbr/gaussian_conditional": [{}, {"chunks": ["scales"]}],
    "vbr/raster_scan": [{"context_prediction": MASKED, "entropy_parameters": PREDICTED}],
    "vbr/hyperprior": [
        {"hyper": HYPER | {"type": "vbr/hyper"}, "y": {"type": "vbr/gaussian_conditional"}},
        {
            "hyper": HYPER | {"type": "vbr/hyper", "variable": False},
            "y": {"type": "vbr/gaussian_conditional"},
            "levels": 3,
            "lowest": 0.4,
        },
    ],
    "video/qrelu": [{}, {"bit_depth": 4, "beta": 10.0}],
    "video/hyperprior": [{key: part for key, part in VIDEO_HYPERPRIOR.items() if key != "type"}],
    "video/scale_space_flow": [
        {
            **{f"{part}_encoder": DOWN for part in ("img", "motion", "res")},
            **{f"{part}_decoder": UP for part in ("img", "motion", "res")},
            **{f"{part}_hyperprior": VIDEO_HYPERPRIOR for part in ("img", "motion", "res")},
            "num_levels": 3,
        }
    ],
    "pointcloud/conv": [{"out": 8}, {"out": 6, "groups": 2}],
    "pointcloud/batch_norm": [{}],
    "pointcloud/group_norm": [{}, {"groups": 2}],
    "pointcloud/gain": [{}, {"factor": 10.0}],
    "pointcloud/max_pool": [{"points": 3}],
    "pointcloud/unfold": [{"points": 2}, {"points": 4, "interleaved": True}],
    "pointcloud/set_abstraction": [{"out": [8, 12], "ratio": 3, "radius": 1.5, "neighbours": 4}],
    "pointcloud/set_pool": [{"out": [8, 12], "points": 3}],
    "pointcloud/density_down": [{"ratio": 3, "hidden": 8, "neighbours": 4}],
    "pointcloud/autoencoder": [
        {
            "g_a": [*POINTS, {"type": "pointcloud/max_pool", "points": 16}],
            "latent_codec": "entropy_bottleneck",
            "g_s": [{"type": "pointcloud/conv", "out": 48}, {"type": "pointcloud/unfold", "points": 16}],
        }
    ],
    "pointcloud/hierarchy": [
        {
            "levels": [True, True],
            "down": {"type": "pointcloud/set_abstraction", "out": [8], "ratio": 4, "radius": 1.0, "neighbours": 4},
            "h_a": [{"type": "pointcloud/conv", "out": 4}],
            "latent_codec": "entropy_bottleneck",
            "h_s": [{"type": "pointcloud/conv", "out": 8}],
            "up": [{"type": "pointcloud/conv", "out": 16}, {"type": "pointcloud/unfold", "points": 4}],
            "g_s": [{"type": "pointcloud/conv", "out": 3}],
        }
    ],
    "model:pointcloud/density_preserving": [
        {
            "ratios": [2, 3],
            "candidates": 4,
            "embed": [{"type": "pointcloud/conv", "out": 4}],
            "down": {"type": "pointcloud/density_down", "ratio": "g", "hidden": 8, "neighbours": 4},
            "feat": "entropy_bottleneck",
            "xyz_analysis": [{"type": "pointcloud/conv", "out": 4}, {"type": "pointcloud/gain", "factor": 10.0}],
            "xyz": "entropy_bottleneck",
            "xyz_synthesis": [{"type": "pointcloud/conv", "out": 3}],
            **{
                prefix + name: [*parted, {"type": "pointcloud/conv", "out": out}]
                for prefix, parted in (("", [{"type": "pointcloud/unfold", "points": 4}]), ("refine_", []))
                for name, out in (("weights", 43), ("scale", 1), ("features", 4))
            },
            "number": [{"type": "pointcloud/conv", "out": 1}],
        }
    ],
    "pointcloud/rate_distortion": [{}, {"lmbda": 100.0}],
    "loss:pointcloud/density_preserving": [{}],
    "picture_codec:compressai": [],  # needs CompressAI: tests/peers has it
    "rate_distortion": [{}, {"metric": "ms-ssim", "lmbda": 8.73}],
    "autoencoder": [
        {"g_a": DOWN, "latent_codec": "entropy_bottleneck", "g_s": UP},
        {"g_a": DOWN, "latent_codec": {"type": "hyperprior", "hyper": HYPER, "y": GAUSSIAN}, "g_s": UP},
        {
            "channels": 1,
            "coder": "ans",
            "g_a": [{"type": "conv", "out": 8}],
            "latent_codec": "entropy_bottleneck",
            "g_s": [{"type": "deconv", "out": 1}],
        },
    ],
}
SETS = ["conv", "batch_norm", "group_norm", "gain", "max_pool", "unfold", "set_abstraction", "set_pool", "density_down"]
INPUTS = {
    "hyperprior": Sig(12),
    "latent_codec:gain": Sig(12),
    "hyper": Sig(12),
    "video/hyperprior": Sig(12),
    "vbr/hyper": Sig(12),
    "vbr/hyperprior": Sig(12),
    **{f"pointcloud/{name}": Sig(8, 4, 1) for name in SETS},
    "quadtree": (Sig(8, 4), Sig(4, 8)),
    "channel_groups": (Sig(8, 4), Sig(4, 4)),
}


@component_checks(cases=CASES, inputs=INPUTS)
def test_conformance(check: Callable[[], None]) -> None:
    check()


CHECKED = [job.case for job in jobs(cases=CASES, inputs=INPUTS) if isinstance(job.case, Case)]
IN_SPECS = {case.label: case for case in CHECKED if case.component.kind in SPEC_KINDS}


@pytest.mark.parametrize("label", IN_SPECS)
def test_the_schema_accepts_what_is_checked(label: str) -> None:
    case = IN_SPECS[label]
    kind = case.component.kind
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema()["$defs"]})
    validator.validate(case.node)
    assert not validator.is_valid({**case.node, "misspelt": 1})


def test_all_of_tinifys_own_are_checked() -> None:
    checked = {(case.component.kind, case.component.key) for case in CHECKED}
    own = {(part.kind, part.key) for part in get_registry().components() if part.provider and part.provider.at_home}
    assert checked == own - {("picture_codec", "compressai@1")}
