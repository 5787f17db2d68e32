"""The processes of a run: one, or several that share its batches through Lightning Fabric."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tinify.errors import InputError, TinifyError


class Processes:
    """The only process of a run, number 0 of 1."""

    rank, size = 0, 1

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their means over the processes, all in one exchange."""

    def share(self, value: Any) -> Any:
        """What the first process gave, in every process."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether a flag is up in any process."""
        return flag


class FabricProcesses(Processes):
    """One of several processes, which ``fabric`` has launched."""

    def __init__(self, fabric: Any) -> None:
        self._fabric = fabric
        self.rank, self.size = fabric.global_rank, fabric.world_size

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        parts = self._exchange(self._fabric.all_reduce, flat, reduce_op="mean").split([t.numel() for t in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def share(self, value: Any) -> Any:
        return self._exchange(self._fabric.broadcast, value)

    def any(self, flag: bool) -> bool:
        raised = torch.tensor(float(flag), device=self._fabric.device)
        return bool(self._exchange(self._fabric.all_reduce, raised, reduce_op="sum") > 0)

    def _exchange(self, collective: Any, value: Any, **options: Any) -> Any:
        try:
            return collective(value, **options)
        except RuntimeError as error:  # what the backends raise when a process has gone
            reason = str(error).splitlines()[0]
            raise TinifyError(
                f"process {self.rank} of {self.size} lost the others; see their errors: {reason}"
            ) from error


def launch(devices: int, device: torch.device) -> tuple[Processes, torch.device]:
    """Starts the processes of a run, one a device, by running the command line anew in each; returns this one's part.

    Where they have been started by ``torchrun`` or a cluster, this one joins them. Raises
    :class:`~tinify.errors.InputError` without Fabric, or with fewer devices than asked.
    """
    if devices == 1:
        return Processes(), device
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        raise InputError(
            "several devices take Lightning Fabric: pip install 'tinify-codec[train]', or --devices 1"
        ) from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(accelerator=device.type, devices=devices, strategy="ddp")
        fabric.launch()
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"--devices {devices} cannot be used on {device.type}: {error}") from error
    return FabricProcesses(fabric), fabric.device
