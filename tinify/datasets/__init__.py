"""Data sets of pictures, and sets put together from arrays, from other sets, or from a cache on disk."""

from torch.utils.data import StackDataset

from tinify.datasets.cache import CacheDataset
from tinify.datasets.image import DatasetError, ImageFolder
from tinify.datasets.mnist import MNIST
from tinify.datasets.ndarray import NdArrayDataset
from tinify.datasets.pregenerated import PreGeneratedMemmapDataset
from tinify.datasets.vimeo90k import Vimeo90kDataset
from tinify.names import names_of

__all__ = [
    "MNIST",
    "CacheDataset",
    "DatasetError",
    "ImageFolder",
    "NdArrayDataset",
    "PreGeneratedMemmapDataset",
    "StackDataset",
    "Vimeo90kDataset",
]

__getattr__ = names_of(__name__)
