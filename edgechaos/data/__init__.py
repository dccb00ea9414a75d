"""Data sets: where they come from, and the type that training takes."""

from edgechaos.data.dataset import KEPT, AnyArray, Dataset, validation_split
from edgechaos.data.noise import with_label_noise
from edgechaos.data.sources import DATASETS, load

__all__ = [
    "DATASETS",
    "KEPT",
    "AnyArray",
    "Dataset",
    "load",
    "validation_split",
    "with_label_noise",
]
