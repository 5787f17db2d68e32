"""Quantisation-reconstruction offsets: where within its bin a coded value is put back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinify.entropy_models import SCALES_MIN
from tinify.exact import FORMS, Reproduced

_CHUNK = 1 << 19
"""Elements at once: the hidden layers of all elements of a large picture would take gigabytes."""


class ReconstructionOffset(nn.Sequential):
    """A small network that says how far towards zero a coded value is put back, by its scale and the gain.

    Small scales have most of a bin's mass on its side towards zero; the lower the rate, the more it is worth. An offset
    is at first zero. ``forward(q, scales, gain)`` takes coded integers, predicted scales times the gain, and the gain
    (which broadcasts), and returns ``q`` moved; what is zero stays so. In CompressAI's code, too, the network's output
    is subtracted from the magnitude.
    Kamisli, Racapé, Choi, DCC 2024, section 3.2.

    >>> q = torch.tensor([[-2.0, 0.0, 1.0]])
    >>> ReconstructionOffset()(q, torch.ones(1, 3), torch.tensor([[0.5]])).tolist()
    [[-2.0, 0.0, 1.0]]
    """

    def __init__(self, hidden: int = 12) -> None:
        super().__init__(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        for parameter in self[4].parameters():
            nn.init.zeros_(parameter)

    def forward(self, q: Tensor, scales: Tensor, gain: Tensor) -> Tensor:  # type: ignore[override]
        scales, gain = torch.broadcast_tensors(scales.clamp(min=SCALES_MIN), gain)  # type: ignore[no-untyped-call]
        if self.training or q.is_meta:
            return torch.where(q.abs() < 1e-4, q, q.sign() * (q.abs() - self._offsets(scales, gain)))
        moved = q.contiguous().clone()
        flat, (places,) = moved.view(-1), (q != 0).flatten().nonzero(as_tuple=True)
        scales, gain = scales.flatten(), gain.flatten()
        for some in torch.split(places, _CHUNK):
            values = flat[some]
            flat[some] = values.sign() * (values.abs() - self._offsets(scales[some], gain[some]))
        return moved

    def _offsets(self, scales: Tensor, gain: Tensor) -> Tensor:
        found: Tensor = super().forward(torch.stack([scales, gain], -1))  # type: ignore[no-untyped-call]
        return found[..., 0]


FORMS[ReconstructionOffset] = Reproduced
