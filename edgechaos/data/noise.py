"""Label noise: training labels of which a share is wrong, as those of real data sets may be."""

import dataclasses

import numpy as np

from edgechaos.data.dataset import Dataset
from edgechaos.errors import require

_STREAM = 1  # beside the seed, so that a validation split of the same seed is drawn independently


def with_label_noise(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Gives each training label, with probability `share`, one of the other classes, all of them equally likely.

    Images and test set are the same arrays as before, and so are the labels for a share of 0.

    Args:
      dataset: on the host.
      share: in [0, 1), the expected share of wrong labels.
      seed: >= 0, on which the wrong labels depend, beside the share.

    Raises:
      ValueError: share out of range, or a single class, which has no other.

    >>> labels = np.zeros(1000, np.int32)
    >>> images = np.zeros((1000, 1), np.float32)
    >>> noisy = with_label_noise(Dataset(images, labels, images, labels, num_classes=2), 0.4, seed=0)
    >>> bool(abs((noisy.train_labels == 1).mean() - 0.4) < 0.05)
    True
    """
    require("share", share, lambda entries: (entries >= 0) & (entries < 1), "in [0, 1)")
    if share == 0:
        return dataset
    if dataset.num_classes < 2:
        raise ValueError(f"num_classes = {dataset.num_classes}: must be at least 2, so that there is another class")
    labels, rng = np.asarray(dataset.train_labels), np.random.default_rng((seed, _STREAM))
    is_wrong = rng.random(len(labels)) < share
    others = (labels + rng.integers(1, dataset.num_classes, size=len(labels))) % dataset.num_classes
    return dataclasses.replace(dataset, train_labels=np.where(is_wrong, others, labels).astype(labels.dtype))
