"""The models of point clouds by the names, calls and keys that the field knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.models import create_model
from tinify.models.faces import PublishedModel
from tinify.models.state_dict import size_of

from .autoencoder import PointAutoencoder
from .density_preserving import DensityPreserving
from .flow import Given, PointSetModel
from .hierarchy import PointHierarchy

Rename = tuple[str, str | Callable[[re.Match[str]], str]]


class _Face(PublishedModel, PointSetModel):
    """A spec's model under the field's keys: :attr:`KEYS` are patterns of ours, and what the field has instead."""

    KEYS: ClassVar[Sequence[Rename]] = ()
    OVER_TWO_AXES: ClassVar[str] = r"(?!)"
    """Which of the field's keys are of convolutions over two axes, where ours are over one."""

    def _take(self, **parameters: Any) -> None:
        """Becomes the spec's model, of the very same parts."""
        PointSetModel.__init__(self)
        built: Any = create_model(self.SPEC, **parameters)
        plain = vars(nn.Module())
        self.__dict__ |= {key: value for key, value in vars(built).items() if key not in plain}
        self.__dict__["_built"] = built
        self._modules |= built._modules
        for name, buffer in built._buffers.items():
            self.register_buffer(name, buffer, persistent=name not in built._non_persistent_buffers_set)
        self._register_state_dict_hook(_by_the_fields_keys)  # type: ignore[no-untyped-call]

    def spec_model(self) -> PointSetModel:
        built: PointSetModel = self.__dict__["_built"]
        built._modules |= self._modules
        built._buffers |= self._buffers
        built.coder = self.coder
        return built.train(self.training)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for ours, own in self.spec_model().state_dict().items():
            given = state_dict.pop(prefix + self._theirs(ours), None)
            if given is not None:
                alike = given.ndim == own.ndim + 1 and given.shape[-1] == 1
                state_dict[prefix + ours] = given.squeeze(-1) if alike else given
        super()._load_from_state_dict(state_dict, prefix, *args)

    @classmethod
    def _theirs(cls, ours: str) -> str:
        """The field's key of one of ours."""
        return next((re.sub(one, other, ours) for one, other in cls.KEYS if re.match(one, ours)), ours)


def _by_the_fields_keys(model: _Face, state_dict: dict[str, Any], prefix: str, metadata: Any) -> None:
    for ours in model.spec_model().state_dict():
        tensor, theirs = state_dict.pop(prefix + ours), model._theirs(ours)
        wide = re.match(model.OVER_TWO_AXES, theirs) and tensor.ndim == 3
        state_dict[prefix + theirs] = tensor.unsqueeze(-1) if wide else tensor


def _decoder(theirs: str, shift: int) -> Callable[[re.Match[str]], str]:
    """The field counts the decoder's levels as they come, from the last, and layers without the unfolding."""
    return lambda found: "decoder." + theirs.format(2 - int(found[1])) + f".{int(found[2]) - shift}."


class PointNetReconstructionPccModel(_Face, PointAutoencoder):
    """``sfu2023-pcc-rec-pointnet`` by the field's name.

    ``forward({"pos": (batch, points, 3)})`` returns ``x_hat``, ``likelihoods``, ``y``, ``y_hat`` and an empty
    ``debug_outputs``. Unlike in CompressAI 1.2.8, ``decompress`` works. Only the widths of the published one can be
    had; others take a spec. Ulhaq, Bajić: Learned Point Cloud Compression for Classification, MMSP 2023.

    >>> model = PointNetReconstructionPccModel(num_points=64).eval()
    >>> packed = model.compress({"pos": torch.rand(1, 64, 3)})
    >>> model.decompress(packed["strings"], packed["shape"])["x_hat"].shape
    torch.Size([1, 64, 3])
    """

    SPEC = "sfu2023-pcc-rec-pointnet"

    def __init__(
        self,
        num_points: int = 1024,
        num_channels: Mapping[str, Sequence[int]] | None = None,
        groups: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        given = num_channels or {"g_a": [3, 64, 64, 64, 128, 1024], "g_s": [1024, 256, 512, 3 * num_points]}
        latent = given["g_a"][-1]
        wanted = {"g_a": [3, 64, 64, 64, 128, latent], "g_s": [latent, 256, 512, 3 * num_points]}
        plain = groups is None or set(groups.get("g_a", [1])) == {1}
        if {key: [*value] for key, value in given.items()} != wanted or not plain:
            raise InputError(f"num_channels {given} and groups {groups}: expected {wanted}; write a spec for others")
        self._take(points=num_points, M=latent)

    @classmethod
    def parameters_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        latent, points = size_of(state_dict, "g_a.12.weight", 0), size_of(state_dict, "g_s.5.weight", 0) // 3
        channels = {"g_a": [3, 64, 64, 64, 128, latent], "g_s": [latent, 256, 512, 3 * points]}
        return {"num_points": points, "num_channels": channels}

    def forward(self, input: Given) -> dict[str, Any]:
        return {**super().forward(input), "debug_outputs": {}}


class PointNet2SsgReconstructionPccModel(_Face, PointHierarchy):
    """``sfu2024-pcc-rec-pointnet2-ssg`` by the field's name, of the published size; others take a spec.

    ``compress`` returns the strings of levels 0 to 3, empty where a level is not coded, and their shapes by name.
    Ulhaq, Bajić: Scalable Human-Machine Point Cloud Compression, PCS 2024.

    >>> model = PointNet2SsgReconstructionPccModel().eval()
    >>> packed = model.compress({"pos": torch.rand(1, 1024, 3)})
    >>> [len(strings[0]) > 0 for strings in packed["strings"]]
    [False, False, True, True]
    """

    SPEC = "sfu2024-pcc-rec-pointnet2-ssg"
    KEYS: ClassVar = (
        (r"^g_s\.", "up._0."),
        (r"^up\._([123])\.", r"up._\1.block."),
        (r"^h_a\._2\.(\d)\.", lambda found: f"h_a._2.{int(found[1]) + 1}."),
        (r"^h_a\._3\.0\.", "h_a._3.1."),
        (r"^h_a\._3\.1\.", "h_a._3.3."),
    )

    def __init__(self) -> None:
        self._take()

    @classmethod
    def parameters_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        size_of(state_dict, "down._1.mlp_convs.0.weight", 0)
        return {}

    def compress(self, input: Given) -> dict[str, Any]:
        packed = super().compress(input)
        coded = dict(zip(self.latents(), packed["strings"], strict=True))
        empty = [b""] * len(packed["strings"][0])
        names = [f"y_{level}" for level in range(len(self.down) + 1)]
        shape = {name: (*packed["shape"][name], 1) if name in coded else () for name in names}
        return {"strings": [coded.get(name, empty) for name in names], "shape": shape}

    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Mapping[str, Any]) -> dict[str, Any]:
        coded = [strings[int(name.rpartition("_")[2])] for name in self.latents()]
        return super().decompress(coded, {name: torch.Size(shape[name][:1]) for name in self.latents()})


class DensityPreservingReconstructionPccModel(_Face, DensityPreserving):
    """``hrtzxf2022-pcc-rec`` by the field's name; positions are coded in the "learned" way, and normals not at all.

    He, Ren, Tang, Zhang, Xue, Fu: Density-preserving Deep Point Cloud Compression, CVPR 2022.

    >>> model = DensityPreservingReconstructionPccModel().eval()
    >>> packed = model.compress({"pos": torch.rand(1, 90, 3)})
    >>> model.decompress(packed["strings"], packed["shape"])["x_hat"].shape[2]
    3
    """

    SPEC = "hrtzxf2022-pcc-rec"
    OVER_TWO_AXES = r"decoder\.(upsample|refine)_layers"
    KEYS: ClassVar = (
        (r"^embed\.", "pre_conv."),
        (r"^down\.", "encoder.downsample_layers."),
        *(
            (rf"^{ours}\.(\d)\.(\d)\.", _decoder(theirs, shift))
            for ours, theirs, shift in (
                ("weights", "upsample_layers.{}.xyzs_upsample_nn.weight_nn.mlp", 1),
                ("scale", "upsample_layers.{}.xyzs_upsample_nn.scale_nn.mlp", 1),
                ("features", "upsample_layers.{}.feats_upsample_nn.feats_nn.mlp", 1),
                ("number", "upsample_num_layers.{}.upsample_num_nn", 0),
                ("refine_weights", "refine_layers.{}.xyzs_refine_nn.weight_nn.mlp", 0),
                ("refine_scale", "refine_layers.{}.xyzs_refine_nn.scale_nn.mlp", 0),
                ("refine_features", "refine_layers.{}.feats_refine_nn.feats_nn.mlp", 0),
            )
        ),
        (r"^feat\.", "latent_codec.feat."),
        (r"^xyz_(analysis|synthesis)\.", r"latent_codec.xyz.\1."),
        (r"^xyz\.", "latent_codec.xyz."),
    )

    def __init__(
        self,
        downsample_rate: Sequence[float] = (1 / 3, 1 / 3, 1 / 3),
        candidate_upsample_rate: Sequence[int] = (8, 8, 8),
        in_dim: int = 3,
        feat_dim: int = 8,
        hidden_dim: int = 64,
        k: int = 16,
        ngroups: int = 1,
        sub_point_conv_mode: str = "mlp",
        compress_normal: bool = False,
        latent_xyzs_codec: Mapping[str, Any] | None = None,
    ) -> None:
        rates = [round(1 / rate, 6) for rate in downsample_rate]
        given = (rates, [*candidate_upsample_rate], in_dim, k, ngroups, sub_point_conv_mode, compress_normal)
        mode = (latent_xyzs_codec or {}).get("mode", "learned")
        if given != ([3.0] * 3, [8] * 3, 3, 16, 1, "mlp", False) or mode != "learned":
            raise InputError(
                "of density-preserving compression feat_dim and hidden_dim can be chosen here, and positions are coded "
                "in the 'learned' way; write a spec for others"
            )
        self._take(dim=feat_dim, hidden=hidden_dim)

    @classmethod
    def parameters_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        hidden, features = (size_of(state_dict, f"pre_conv.{layer}.weight", 0) for layer in (0, 3))
        return {"feat_dim": features, "hidden_dim": hidden}
