"""Declarations of deliberately wrong components, each with the check that must catch it, and of their correct twins."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from tinify.plugin import Cost, Kernel, Sig, Slot, component, hookimpl

CAUGHT_BY = {
    "mutant/swapped_stride": "check_shape_rule",
    "mutant/lying_channels": "check_shape_rule",
    "mutant/forgotten_stride": "check_shape_rule",
    "mutant/wrong_macs": "check_cost",
    "mutant/wrong_parameters": "check_cost",
    "mutant/in_place": "check_input_untouched",
    "mutant/batch_mean": "check_batch",
    "mutant/wrong_default": "check_signature",
    "mutant/missing_argument": "check_signature",
    "mutant/dead_parameter": "check_gradients",
    "mutant/detached": "check_gradients",
    "mutant/single_precision": "check_dtype",
    "mutant/noisy_eval": "check_eval_deterministic",
    "mutant/restless_keys": "check_state_dict",
    "mutant/hidden_state": "check_state_dict",
    "mutant/shared_copy": "check_deepcopy",
    "mutant/half_overflow": "check_bfloat16",
    "mutant/no_summary": "check_description",
    "mutant/off_by_one_cdf": "check_coded_length",
    "mutant/likelihood_above_one": "check_likelihoods",
    "mutant/mass_missing": "check_likelihoods_sum",
    "mutant/moody_tables": "check_rebuild",
    "mutant/tables_of_this_process": "check_fresh_process",
    "mutant/tables_not_saved": "check_state_dict",
    "mutant/means_ignored": "check_coding",
    "mutant/index_out_of_range": "check_tables",
    "mutant/dead_density": "check_gradients",
    "mutant/strings_unread": "check_exact_consumption",
    "mutant/encoder_memory": "check_fresh_process",
    "mutant/batch_sum": "check_batch_order",
    "mutant/unrounded": "check_round_trip",
    "mutant/two_flows": "check_readings_agree",
    "mutant/crashes_on_damage": "check_damaged_strings",
    "mutant/half_the_rate": "check_estimate",
    "mutant/lying_codec": "check_shape_rule",
    "mutant/clamps_its_input": "check_input_untouched",
    "mutant/dead_codec": "check_gradients",
    "mutant/hidden_codec_state": "check_state_dict",
    "mutant/truncation_ignored": "check_truncation",
    "mutant/rest_ignored": "check_trailing_bytes",
    "mutant/over_read": "check_over_read",
    "mutant/small_escapes": "check_escapes",
    "mutant/last_symbol_lost": "check_round_trip",
    "mutant/no_slices": "check_slices",
    "mutant/bytes_of_this_process": "check_fresh_process",
    "mutant/coder_crash": "check_damage",
    "mutant/raw": "check_length",
    "mutant/loss_detached": "check_gradients",
    "mutant/loss_unnamed": "check_loss",
    "mutant/loss_noisy": "check_deterministic",
    "mutant/not_clamped": "check_round_trip",
    "mutant/model_strings_unread": "check_exact_consumption",
    "mutant/cropped": "check_forward",
    "mutant/model_memory": "check_fresh_process",
    "mutant/hidden_model_state": "check_state_dict",
    "mutant/dead_model": "check_gradients",
    "mutant::contiguous_only": "check_strides",
    "mutant::last_unwritten": "check_fully_written",
    "mutant::off_by_one": "check_equal",
    "mutant::empty_refused": "check_equal",
    "mutant::wrong_gradient": "check_gradients",
    "mutant::wrong_fake": "check_operator",
    "mutant/picture_cropped": "check_round_trip",
    "mutant/picture_falling": "check_settings",
    "mutant/picture_moody": "check_pure",
    "mutant/picture_memory": "check_fresh_process",
    "heavy/declaration": "check_light_import",
}
TWINS = (
    "mutant/twin_layer",
    "mutant/twin_density",
    "mutant/twin_codec",
    "mutant/twin_coder",
    "mutant/twin_loss",
    "mutant/twin_picture",
    "mutant/twin_model",
    "mutant::twin",
)

Slots = Callable[..., Sig]


class Halving:
    """A convolution of stride 2, and what it costs."""

    def shape(self, x: Sig) -> Sig:
        return Sig(8, x.stride * 2)

    def cost(self, x: Sig) -> Cost:
        weights = 8 * x.channels * 9
        return Cost(weights + 8, Fraction(weights) / (x.stride * 2) ** 2)


@component("layer", "mutant/twin_layer", target="mutant_parts:Layer")
class TwinLayer(Halving):
    """As it should be."""

    slope: float = 0.1


@component("layer", "mutant/lying_channels", target="mutant_parts:Layer")
class LyingChannels:
    """Its shape rule says a channel more than there is."""

    def shape(self, x: Sig) -> Sig:
        return Sig(9, x.stride * 2)


@component("layer", "mutant/forgotten_stride", target="mutant_parts:Layer")
class ForgottenStride:
    """Its shape rule forgets the stride of the input."""

    def shape(self, x: Sig) -> Sig:
        return Sig(8, Fraction(2))


@component("layer", "mutant/wrong_macs", target="mutant_parts:Layer")
class WrongMacs(Halving):
    """Its cost rule counts at the input's resolution."""

    def cost(self, x: Sig) -> Cost:
        return Cost(8 * x.channels * 9 + 8, Fraction(8 * x.channels * 9) / x.stride**2)


@component("layer", "mutant/wrong_parameters", target="mutant_parts:Layer")
class WrongParameters(Halving):
    """Its cost rule forgets the bias."""

    def cost(self, x: Sig) -> Cost:
        weights = 8 * x.channels * 9
        return Cost(weights, Fraction(weights) / (x.stride * 2) ** 2)


@component("layer", "mutant/wrong_default", target="mutant_parts:Layer")
class WrongDefault(Halving):
    """Declares another default than its target has."""

    slope: float = 0.2


@component("layer", "mutant/missing_argument", target="mutant_parts:Needy")
class MissingArgument(Halving):
    """Does not declare what its target needs."""


@component("layer", "mutant/no_summary", target="mutant_parts:Layer")
class NoSummary(Halving):
    slope: float = 0.1


@component("latent_codec", "mutant/twin_codec", target="mutant_coding:Codec", slots={"em": Slot("entropy_model")})
class TwinCodec:
    """As it should be."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("em", y)


@component("latent_codec", "mutant/lying_codec", target="mutant_coding:Codec", slots={"em": Slot("entropy_model")})
class LyingCodec:
    """Its shape rule says twice the channels."""

    def shape(self, slots: Slots, y: Sig, side: Sig | None = None) -> Sig:
        return slots("em", y).with_channels(2 * y.channels)


MODEL_SLOTS = {"g_a": Slot("transform"), "latent_codec": Slot("latent_codec"), "g_s": Slot("transform")}


@component("model", "mutant/twin_model", target="mutant_parts:Model", slots=MODEL_SLOTS)
class TwinModel:
    """As it should be."""

    def shape(self, slots: Slots, x: Sig) -> Sig:
        return slots("g_s", slots("latent_codec", slots("g_a", x)))


def _family(kind: str, twin: type | None, names: dict[str, str]) -> list[type]:
    """Declarations that differ only in their name and target; each is an attribute of this module too."""
    module = "mutant_coding" if kind in ("entropy_model", "latent_codec", "coder") else "mutant_parts"
    made = []
    for name, target in names.items():
        shape = {"shape": twin.shape} if twin else {}  # type: ignore[attr-defined]
        slots = twin.__component__.slots if twin else {}  # type: ignore[attr-defined]
        body = {"__doc__": f"Wrong: {name}.", "__module__": __name__, **shape}
        found = component(kind, f"mutant/{name}", target=f"{module}:{target}", slots=slots)(type(target, (), body))
        globals()[target] = found
        made.append(found)
    return made


LAYERS = _family(
    "layer",
    TwinLayer,
    {
        "swapped_stride": "SwappedStride",
        "in_place": "InPlace",
        "batch_mean": "BatchMean",
        "dead_parameter": "DeadParameter",
        "detached": "Detached",
        "single_precision": "SinglePrecision",
        "noisy_eval": "NoisyEval",
        "restless_keys": "RestlessKeys",
        "hidden_state": "HiddenState",
        "shared_copy": "SharedCopy",
        "half_overflow": "HalfOverflow",
    },
)
DENSITIES = _family(
    "entropy_model",
    None,
    {
        "twin_density": "Density",
        "off_by_one_cdf": "OffByOneCdf",
        "likelihood_above_one": "LikelihoodAboveOne",
        "mass_missing": "MassMissing",
        "moody_tables": "MoodyTables",
        "tables_of_this_process": "TablesOfThisProcess",
        "tables_not_saved": "TablesNotSaved",
        "means_ignored": "MeansIgnored",
        "index_out_of_range": "IndexOutOfRange",
        "dead_density": "DeadDensity",
    },
)
CODECS = _family(
    "latent_codec",
    TwinCodec,
    {
        "strings_unread": "StringsUnread",
        "encoder_memory": "EncoderMemory",
        "batch_sum": "BatchSum",
        "unrounded": "Unrounded",
        "two_flows": "TwoFlows",
        "crashes_on_damage": "CrashesOnDamage",
        "half_the_rate": "HalfTheRate",
        "clamps_its_input": "ClampsItsInput",
        "dead_codec": "DeadCodec",
        "hidden_codec_state": "HiddenCodecState",
    },
)
CODERS = _family(
    "coder",
    None,
    {
        "twin_coder": "TwinCoder",
        "truncation_ignored": "TruncationIgnored",
        "rest_ignored": "RestIgnored",
        "over_read": "OverRead",
        "small_escapes": "SmallEscapes",
        "last_symbol_lost": "LastSymbolLost",
        "no_slices": "NoSlices",
        "bytes_of_this_process": "BytesOfThisProcess",
        "coder_crash": "CoderCrash",
        "raw": "Raw",
    },
)
LOSSES = _family(
    "loss",
    None,
    {
        "twin_loss": "TwinLoss",
        "loss_detached": "LossDetached",
        "loss_unnamed": "LossUnnamed",
        "loss_noisy": "LossNoisy",
    },
)
PICTURE_CODECS = _family(
    "picture_codec",
    None,
    {
        "twin_picture": "TwinPicture",
        "picture_cropped": "PictureCropped",
        "picture_falling": "PictureFalling",
        "picture_moody": "PictureMoody",
        "picture_memory": "PictureMemory",
    },
)
MODELS = _family(
    "model",
    TwinModel,
    {
        "not_clamped": "NotClamped",
        "model_strings_unread": "ModelStringsUnread",
        "cropped": "Cropped",
        "model_memory": "ModelMemory",
        "hidden_model_state": "HiddenModelState",
        "dead_model": "DeadModel",
    },
)
ALONE = [
    TwinLayer, LyingChannels, ForgottenStride, WrongMacs, WrongParameters, WrongDefault, MissingArgument, NoSummary,
    TwinCodec, LyingCodec, TwinModel,
]  # fmt: skip


@hookimpl
def tinify_components() -> list[type]:
    return [*ALONE, *LAYERS, *DENSITIES, *CODECS, *CODERS, *LOSSES, *PICTURE_CODECS, *MODELS]


@hookimpl
def tinify_kernels() -> list[Kernel]:
    names = [name for name in (*CAUGHT_BY, *TWINS) if "::" in name]
    return [Kernel(name, "cpu", f"mutant_parts:{name.partition('::')[2]}") for name in names]
