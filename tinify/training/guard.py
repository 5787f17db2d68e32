"""What a run does about losses and gradients that are no numbers: skip the batch, or go back to good weights."""

from __future__ import annotations

import math
import warnings

from tinify.errors import DivergedError
from tinify.training.state import TrainingState

# So many bad batches in a row, and it is not the batches.
_IN_A_ROW = 3


class Guard:
    """Watches the steps of one run.

    A bad batch is skipped: nothing had changed yet. After three in a row the weights themselves have gone bad; those of
    the last save take their place, with their moments and averages, and the run goes on from the next batch. All of
    this depends on what is in the state alone, so that a resumed run does the same.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state

    def good(self, loss: float, norm: float) -> bool:
        """Whether a step may move the weights; :class:`~tinify.errors.DivergedError` after too many rollbacks."""
        state = self._state
        if math.isfinite(loss) and math.isfinite(norm):
            return True
        if state.scale.overflows(loss):
            return False
        reason = f"loss {loss}, gradient norm {norm}"
        state.skipped.append(state.step)
        warnings.warn(f"step {state.step + 1}: {reason}; skipped its batch", stacklevel=2)
        if self._in_a_row() >= _IN_A_ROW:
            self._back(reason, state.step)
        return False

    def check_weights(self) -> None:
        """Goes back if the weights are no numbers: a step can spoil them without a bad loss."""
        if not self._state.finite():
            self._back("weights that are no numbers", self._state.step - 1)

    def keep(self) -> None:
        """Takes the weights for good ones, unless they are no numbers or the last batch was bad."""
        if not self._in_a_row(before=1) and self._state.finite():
            self._state.keep()

    def _back(self, reason: str, step: int) -> None:
        state = self._state
        if len(state.rollbacks) >= state.config.rollbacks or not state.has_good:
            raise DivergedError(
                f"training diverged at step {step + 1}: {reason}, after {len(state.rollbacks)} rollbacks; "
                "go on from the last checkpoint with --resume after lowering --lr, or use --precision float32"
            )
        state.rollbacks.append(step)
        state.go_back()
        warnings.warn(f"step {step + 1}: {reason}; rolled back to the weights of step {state.good_step}", stacklevel=2)

    def _in_a_row(self, before: int = 0) -> int:
        """How many batches were skipped one after another, the last ``before`` the step now reached."""
        step, since = self._state.step - before, max(self._state.rollbacks, default=-1)
        skipped = {one for one in self._state.skipped if one > since}
        count = 0
        while step - count in skipped:
            count += 1
        return count
