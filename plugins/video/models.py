"""Scale-space flow by the name that the field knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinify.entropy_models import EntropyBottleneck
from tinify.errors import InputError
from tinify.models import create_model
from tinify.models.faces import PublishedModel

from .flow import ScaleSpaceModel

_PARTS = ("img", "motion", "res")
_SLOTS = tuple(f"{part}_{role}" for part in _PARTS for role in ("encoder", "decoder", "hyperprior"))
_DECONVS = {f"hyper_decoder_scale.{2 * k}.": f"hyper_decoder_scale.deconv{k + 1}." for k in range(3)}


class _NotAListError(InputError, RuntimeError):
    """A clip that is no list of frames."""


class ScaleSpaceFlow(PublishedModel, ScaleSpaceModel):
    """The spec ``ssf2020`` with the field's calls and keys.

    ``forward(frames)`` takes a list; ``compress(frames)`` returns the strings and shapes of every frame, in lists of
    their own, and ``decompress(strings, shapes)`` the list of frames, not clamped. ``encode_keyframe``,
    ``decode_keyframe``, ``encode_inter`` and ``decode_inter`` do one frame. ``scale_field_shift`` does nothing, as in
    the field. ``aux_loss()`` is a list of three.
    Agustsson, Minnen, Johnston, Ballé, Hwang, Toderici: Scale-Space Flow for End-to-End Optimized Video Compression,
    CVPR 2020.

    >>> model = ScaleSpaceFlow(N=8, M=8).eval()
    >>> frames = [torch.rand(1, 3, 128, 128) for _ in range(2)]
    >>> strings, shapes = model.compress(frames)
    >>> [frame.shape for frame in model.decompress(strings, shapes)]
    [torch.Size([1, 3, 128, 128]), torch.Size([1, 3, 128, 128])]
    """

    SPEC = "ssf2020"
    SIZES: ClassVar = {"N": ("img_encoder.0.weight", 0), "M": ("img_encoder.6.weight", 0)}

    def __init__(
        self, num_levels: int = 5, sigma0: float = 1.5, scale_field_shift: float = 1.0, **parameters: Any
    ) -> None:
        built: Any = create_model(self.SPEC, **parameters)
        super().__init__(**{slot: getattr(built, slot) for slot in _SLOTS}, num_levels=num_levels, sigma0=sigma0)
        self.scale_field_shift = scale_field_shift
        if (num_levels, sigma0) == (built.num_levels, built.sigma0):
            self.architecture, self.spec_node = built.architecture, built.spec_node
        self._register_state_dict_hook(_by_the_fields_names)  # type: ignore[no-untyped-call]

    def forward(self, frames: Sequence[Tensor]) -> dict[str, Any]:  # type: ignore[override]
        """Returns ``{"x_hat": [...], "likelihoods": [...]}``, for each frame: nested mappings by part and latent."""
        return super().forward(_listed(frames))

    def compress(self, frames: Sequence[Tensor]) -> tuple[list[Any], list[Any]]:  # type: ignore[override]
        """Strings and shapes of each frame: of the key frame lists, of the others mappings of motion and residual."""
        strings: list[Any] = []
        shapes: list[Any] = []
        reference = None
        for frame in self._frames(_listed(frames)):
            if reference is None:
                reference, strings_, shape = self.encode_keyframe(frame)
            else:
                reference, strings_, shape = self.encode_inter(frame, reference)
            strings.append(strings_)
            shapes.append(shape)
        return strings, shapes

    @torch.no_grad()
    def decompress(self, strings: Sequence[Any], shapes: Sequence[Any]) -> list[Tensor]:  # type: ignore[override]
        """The frames, not clamped."""
        if len(strings) != len(shapes) or not strings:
            raise InputError(f"strings of {len(strings)} frames, and shapes of {len(shapes)}: expected as many")
        frames = [self.decode_keyframe(strings[0], shapes[0])]
        for one, shape in zip(strings[1:], shapes[1:], strict=True):
            frames.append(self.decode_inter(frames[-1], one, shape))
        return frames

    def encode_keyframe(self, x: Tensor) -> tuple[Tensor, Any, Any]:
        """``x_hat``, strings and shape of a frame by itself."""
        packed = self.encode(x, None)
        return packed["x_hat"], _swapped(packed["strings"]), packed["shape"]

    def decode_keyframe(self, strings: Any, shape: Any) -> Tensor:
        """The ``x_hat`` of ``encode_keyframe``."""
        return self.decode(_swapped(strings), shape, None)

    def encode_inter(self, x_cur: Tensor, x_ref: Tensor) -> tuple[Tensor, Any, Any]:
        """``x_hat``, strings and shapes of a frame by the one before."""
        packed = self.encode(x_cur, x_ref)
        strings, shape = packed["strings"], packed["shape"]
        parts = {"motion": _swapped(strings[:2]), "residual": _swapped(strings[2:])}
        return packed["x_hat"], parts, {"motion": shape, "residual": shape}

    def decode_inter(self, x_ref: Tensor, strings: Any, shapes: Any) -> Tensor:
        """The ``x_hat`` of ``encode_inter``."""
        return self.decode([*_swapped(strings["motion"]), *_swapped(strings["residual"])], shapes["motion"], x_ref)

    def aux_loss(self) -> list[Tensor]:  # type: ignore[override]
        """The field's auxiliary loss of each of the three hyperpriors."""
        parts = [part for _, part in self.entropy_models() if isinstance(part, EntropyBottleneck)]
        return [part.loss() for part in parts]

    def spec_model(self) -> ScaleSpaceModel:
        parts = {slot: getattr(self, slot) for slot in _SLOTS}
        model = ScaleSpaceModel(**parts, num_levels=self.num_levels, sigma0=self.sigma0).train(self.training)
        model.architecture, model.coder = self.architecture, self.coder
        if hasattr(self, "spec_node"):
            model.spec_node = self.spec_node
        return model

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for own, theirs in _DECONVS.items():
            for key in [key for key in state_dict if theirs in key]:
                state_dict[key.replace(theirs, own)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _by_the_fields_names(model: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: Any) -> None:
    for own, theirs in _DECONVS.items():
        for key in [key for key in state_dict if own in key]:
            state_dict[key.replace(own, theirs)] = state_dict.pop(key)


def _listed(frames: Any) -> Any:
    if not isinstance(frames, list | tuple):
        raise _NotAListError(f"a clip is a list of frames, got {type(frames).__name__}")
    return frames


def _swapped(strings: Any) -> list[Any]:
    """The field lists the latent's strings before the hyper-latent's, which is coded first."""
    return [strings[1], strings[0]]
