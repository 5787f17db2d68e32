"""The gain of a rate: one number that scales the whole latent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tinify.errors import InputError
from tinify.exact import FORMS, interpolated, logarithms, natural
from tinify.layers import VariableRate

from .quality import InputScale


class LevelGain(VariableRate):
    """A learned gain for each of ``levels`` qualities, from ``lowest`` to 1, interpolated between them.

    Qualities run from 1 to ``levels`` in any fraction; the logarithms of the gains are interpolated. At first they rise
    evenly, as the roots of the lambdas do that they are trained for: with eight of them and a lowest gain of 0.1 they
    are the field's, ``sqrt(lambda / 0.18)``. An :class:`InputScale` is a gain by itself.
    Kamisli, Racapé, Choi: Variable-Rate Learned Image Compression with Multi-Objective Optimization and
    Quantization-Reconstruction Offsets, DCC 2024, section 3.1.

    In CompressAI 1.2.8 the gain is cut off from the gradient wherever it is used, and so is never trained; here it is.

    >>> gain = LevelGain()
    >>> gain(8).tolist(), gain(torch.tensor([1.0, 4.5])).tolist()
    ([1.0], [0.10000000149011612, 0.3162277340888977])
    """

    def __init__(self, levels: int = 8, lowest: float = 0.1) -> None:
        super().__init__()
        if levels < 2 or not 0 < lowest < 1:
            raise InputError(f"{levels} levels of gain from {lowest}: expected 2 or more, and a lowest between 0 and 1")
        self.levels = nn.Parameter(torch.linspace(math.log(lowest), 0, levels).exp())

    @property
    def qualities(self) -> tuple[float, float]:
        return 1.0, float(len(self.levels))

    @property
    def default(self) -> float:
        return float(len(self.levels))

    def forward(self, quality: float | Tensor | None = None) -> Tensor:
        """The gain of one quality, (1,), or of each in a tensor, (batch,); of the highest where it is None.

        Raises :class:`~tinify.errors.InputError` for a quality out of range, or an input scale that is not positive.
        """
        if isinstance(quality, InputScale):
            return self.levels.new_tensor([float(quality)])
        place = self.checked(quality).to(self.levels) - 1
        below = place.floor().clamp(max=len(self.levels) - 2).long()
        low, high = self.levels[below], self.levels[below + 1]
        return torch.where(place == below, low, low * (high / low) ** (place - below))

    def extra_repr(self) -> str:
        return f"levels={self.default:g}"


class ExactLevelGain(LevelGain):
    """The same from integers, as in :class:`~tinify.exact.ExactGain`; ``logarithm`` is int32, (levels, 1).

    >>> ExactLevelGain.of(LevelGain())(torch.tensor([1.0, 4.5, 8.0])).tolist()
    [0.10000044107437134, 0.3162284791469574, 1.0]
    """

    logarithm: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        del self.levels
        self.register_buffer("logarithm", torch.zeros(levels, 1, dtype=torch.int32))

    @classmethod
    def of(cls, gain: LevelGain) -> ExactLevelGain:
        """The exact form of gains; :class:`~tinify.errors.InputError` where one is not positive."""
        if not bool((gain.levels > 0).all()):
            raise InputError(f"gains {gain.levels.tolist()}: expected positive numbers")
        made = cls(len(gain.levels))
        made.logarithm = logarithms(gain.levels.detach().double()[:, None].log())
        return made

    def thawed(self) -> dict[str, Tensor]:
        """The parameters of the gains that it stands for."""
        return {"levels": natural(self.logarithm)[:, 0].exp().float()}

    @property
    def qualities(self) -> tuple[float, float]:
        return 1.0, float(len(self.logarithm))

    @property
    def default(self) -> float:
        return float(len(self.logarithm))

    def forward(self, quality: float | Tensor | None = None) -> Tensor:
        if isinstance(quality, InputScale):
            return torch.tensor([float(quality)], device=self.logarithm.device)
        return interpolated(self.logarithm, self.checked(quality))[:, 0].to(self.logarithm.device)


FORMS[LevelGain] = ExactLevelGain.of
