"""Losses of point clouds: bits for each point, and how far points are from the nearest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinify.errors import InputError

from .sets import index_points, nearest_neighbours

Weights = float | Mapping[str, Any] | None


def chamfer_squares(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of every point to the nearest of the other cloud, both ways, of clouds (batch, points, 3).

    >>> [one.tolist() for one in chamfer_squares(torch.zeros(1, 2, 3), torch.full((1, 1, 3), 2.0))]
    [[[12.0, 12.0]], [[12.0]]]
    """
    return _to_nearest(a, b), _to_nearest(b, a)


def bits_per_point(output: dict[str, Any], points: int) -> Tensor:
    """The rate that a model's likelihoods promise, in bits for each of ``points``, over all clouds of the batch."""
    return torch.stack(list(_bits(output).values())).sum() / points


class ChamferPccRateDistortionLoss(nn.Module):
    """``bpp`` in bits for each point of the target, plus lambda times the Chamfer distance.

    ``forward(output, target)`` takes the cloud (batch, points, 3), or a mapping that has it as ``pos``, and returns a
    dict of scalars: ``loss``, ``rec_loss`` (mean squared distance to the nearest point, both ways added), ``bpp_loss``,
    ``bit_loss`` of a cloud, and both for each latent. ``lmbda`` is the weight of the distance, or those of ``rec`` and
    ``bpp`` by name. Fan, Su, Guibas: A Point Set Generation Network for 3D Object Reconstruction from a Single Image,
    CVPR 2017, section 3.2.
    """

    def __init__(self, lmbda: Weights = None, rate_key: str = "bpp") -> None:
        super().__init__()
        self.lmbda = _weights({"rec": 1.0, "bpp": 1.0}, lmbda, "rec")
        if rate_key not in ("bpp", "bit"):
            raise InputError(f"unknown rate_key {rate_key!r}: expected 'bpp' or 'bit'")
        self.rate_key = rate_key

    def forward(self, output: dict[str, Any], target: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        cloud = _cloud(target)
        losses = _rates(output, cloud)
        there, back = chamfer_squares(output["x_hat"].to(cloud.dtype), cloud)
        losses["rec_loss"] = there.mean() + back.mean()
        rate = losses[f"{self.rate_key}_loss"]
        losses["loss"] = self.lmbda["rec"] * losses["rec_loss"] + self.lmbda["bpp"] * rate
        return losses

    def example(self) -> tuple[dict[str, Any], Tensor]:
        """An output and its target, for the conformance kit."""
        generator = torch.Generator().manual_seed(0)
        target = torch.rand(2, 40, 3, generator=generator)
        likelihoods = {"y": 0.05 + 0.9 * torch.rand(2, 8, 5, generator=generator)}
        return {"x_hat": target + 0.1 * torch.randn(2, 40, 3, generator=generator), "likelihoods": likelihoods}, target


class RateDistortionLoss_hrtzxf2022(nn.Module):  # noqa: N801 - the field's name
    """Bits for each point plus all that density-preserving compression is trained by, each with a weight.

    ``chamfer_loss`` of the cloud and the levels below it, ``mean_distance_loss`` and ``upsample_num_loss`` of what a
    point was said to stand for against what the nearest of the encoder's does, ``pts_num_loss`` of how many points
    there are, over the batch, ``latent_xyzs_loss`` of the positions that are coded; ``rec_loss`` is the Chamfer
    distance of the cloud alone. ``lmbda`` multiplies all but the rate, or is a mapping of the weights. Normals are not
    coded.
    He, Ren, Tang, Zhang, Xue, Fu: Density-preserving Deep Point Cloud Compression, CVPR 2022, section 3.4.
    """

    WEIGHTS: ClassVar[Mapping[str, Any]] = {
        "rec": 1.0,
        "bpp": 1.0,
        "chamfer": 1e4,
        "chamfer_layers": (1.0, 0.1, 0.1),
        "latent_xyzs": 1e2,
        "mean_distance": 5e1,
        "normal": 1e2,
        "pts_num": 5e-3,
        "upsample_num": 1.0,
    }

    def __init__(
        self, lmbda: Weights = None, compress_normal: bool = False, latent_xyzs_codec_mode: str = "learned"
    ) -> None:
        super().__init__()
        if compress_normal or latent_xyzs_codec_mode != "learned":
            raise InputError("normals, and positions of half precision, are not coded here: leave these options out")
        self.lmbda = _weights(self.WEIGHTS, lmbda, "rec")

    def forward(self, output: dict[str, Any], target: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        weights, losses = self.lmbda, _rates(output, _cloud(target))
        levels = [
            torch.stack([one.mean() for one in chamfer_squares(*(xyz.transpose(1, 2) for xyz in pair))]).sum()
            for pair in zip(reversed(output["xyz_hat_"]), output["gt_xyz_"], strict=True)
        ]
        shares = zip(weights["chamfer_layers"], levels, strict=False)
        chamfer = torch.stack([share * level for share, level in shares]).sum()
        named = {
            "chamfer": chamfer,
            "latent_xyzs": (output["latent_xyz_hat"] - output["gt_latent_xyz"]).square().mean(),
            "mean_distance": _against(output, "mean_distance_hat_", "gt_mean_distance_"),
            "upsample_num": _against(output, "upsample_num_hat_", "gt_downsample_num_"),
            "pts_num": _sum(
                (number.sum(1) - finer.shape[2]).abs().sum()
                for number, finer in zip(output["upsample_num_hat_"], reversed(output["gt_xyz_"]), strict=True)
            ),
        }
        losses |= {f"{name}_loss": value for name, value in named.items()}
        losses["rec_loss"] = levels[0]
        distortion = torch.stack([weights[name] * value for name, value in named.items()]).sum()
        losses["loss"] = weights["bpp"] * losses["bpp_loss"] + weights["rec"] * distortion
        return losses

    def example(self) -> tuple[dict[str, Any], Tensor]:
        """An output and its target, for the conformance kit."""
        generator = torch.Generator().manual_seed(0)

        def some(*size: int) -> Tensor:
            return torch.rand(2, *size, generator=generator)

        target = some(27, 3)
        output = {
            "x_hat": some(28, 3),
            "likelihoods": {"latent_feat": some(8, 3) * 0.9 + 0.05},
            "gt_xyz_": [target.transpose(1, 2), some(3, 9)],
            "xyz_hat_": [some(3, 12), some(3, 28)],
            "latent_xyz_hat": some(3, 3),
            "gt_latent_xyz": some(3, 3),
        }
        for name in ("upsample_num_hat_", "mean_distance_hat_"):
            output[name] = [some(3), some(12)]
        for name in ("gt_downsample_num_", "gt_mean_distance_"):
            output[name] = [some(9), some(3)]
        return output, target


def _against(output: dict[str, Any], told: str, known: str) -> Tensor:
    """How far what was told of the decoder's points is from what is known of the nearest of the encoder's, added."""
    told_of, known_of = output[told], output[known][::-1]
    made, had = output["xyz_hat_"][:-1], output["gt_xyz_"][:0:-1]
    near = [
        nearest_neighbours(xyz_hat.detach().transpose(1, 2), xyz.transpose(1, 2), 1)[1][..., 0]
        for xyz_hat, xyz in zip(made, had, strict=True)
    ]
    # The points that are coded keep their order.
    wanted = [known_of[0], *(one.gather(1, index) for one, index in zip(known_of[1:], near, strict=True))]
    return torch.stack([(a - b).abs().mean() for a, b in zip(told_of, wanted, strict=True)]).sum()


def _sum(values: Any) -> Tensor:
    return torch.stack(list(values)).sum()


def _bits(output: dict[str, Any]) -> dict[str, Tensor]:
    return {name: -torch.log(one).sum() / math.log(2) for name, one in output["likelihoods"].items()}


def _rates(output: dict[str, Any], cloud: Tensor) -> dict[str, Tensor]:
    """Bits of a cloud, and of a point: of each latent, and of all."""
    bits = {name: one / len(cloud) for name, one in _bits(output).items()}
    total = torch.stack(list(bits.values())).sum()
    each = {f"bit_{name}_loss": one for name, one in bits.items()}
    each |= {f"bpp_{name}_loss": one / cloud.shape[1] for name, one in bits.items()}
    return {**each, "bit_loss": total, "bpp_loss": total / cloud.shape[1]}


def _to_nearest(a: Tensor, b: Tensor) -> Tensor:
    with torch.no_grad():
        _, near = nearest_neighbours(a.detach(), b.detach(), 1)
    return (a - index_points(b, near[..., 0])).square().sum(2)


def _cloud(target: Tensor | Mapping[str, Tensor]) -> Tensor:
    return target if isinstance(target, Tensor) else target["pos"]


def _weights(known: Mapping[str, Any], given: Weights, main: str) -> dict[str, Any]:
    """The weights, with those given in place of the usual ones."""
    if given is None:
        return dict(known)
    if not isinstance(given, Mapping):
        return {**known, main: float(given)}
    strange: Sequence[str] = sorted(given.keys() - known.keys())
    if strange:
        raise InputError(f"unknown weight {strange[0]!r}: expected {', '.join(known)}")
    return {**known, **given}
