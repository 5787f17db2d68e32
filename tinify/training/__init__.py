"""The rate-distortion training loop, with data, logs and exact resume."""

from tinify.training.config import TrainingConfig
from tinify.training.loop import train

__all__ = ["TrainingConfig", "train"]
