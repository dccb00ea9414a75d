"""Data sets: where they come from, and the type that training takes."""

from edgechaos.data.dataset import AnyArray, Dataset
from edgechaos.data.sources import DATASETS, load

__all__ = [
    "DATASETS",
    "AnyArray",
    "Dataset",
    "load",
]
