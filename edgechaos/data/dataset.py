"""A data set in memory, as `data.load` returns it and `training` takes it."""

import jax
import numpy as np
from flax import struct
from jaxtyping import Float32, Int32

AnyArray = jax.Array | np.ndarray


@struct.dataclass
class Dataset:
    """Flattened images scaled to [0, 1] with their labels 0 ... num_classes - 1."""

    train_images: Float32[AnyArray, "S N"]
    train_labels: Int32[AnyArray, "S"]
    test_images: Float32[AnyArray, "T N"]
    test_labels: Int32[AnyArray, "T"]
    num_classes: int = struct.field(pytree_node=False)
