"""A data set in memory, as `data.load` returns it and `training` takes it."""

import jax
import numpy as np
from flax import struct
from jaxtyping import Float32, Int32

AnyArray = jax.Array | np.ndarray
KEPT = 5 / 6  # of the training set; what is held out are as many samples as Fashion-MNIST has for the test


@struct.dataclass
class Dataset:
    """Flattened images scaled to [0, 1] with their labels 0 ... num_classes - 1."""

    train_images: Float32[AnyArray, "S N"]
    train_labels: Int32[AnyArray, "S"]
    test_images: Float32[AnyArray, "T N"]
    test_labels: Int32[AnyArray, "T"]
    num_classes: int = struct.field(pytree_node=False)


def validation_split(dataset: Dataset, seed: int) -> Dataset:
    """The training set without a random sixth, which takes the place of the test set.

    Label noise of the training set is in both parts, as in practice, where held-out labels are no better than others.
    """
    number = len(dataset.train_labels)
    shuffled = np.random.default_rng(seed).permutation(number)
    held_out, kept = np.split(shuffled, [number - round(KEPT * number)])
    images, labels = np.asarray(dataset.train_images), np.asarray(dataset.train_labels)
    return Dataset(
        train_images=images[kept],
        train_labels=labels[kept],
        test_images=images[held_out],
        test_labels=labels[held_out],
        num_classes=dataset.num_classes,
    )
