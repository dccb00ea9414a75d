import jax
import jax.numpy as jnp
import numpy as np

import edgechaos as ec
from edgechaos.data.dataset import Dataset


def make_dataset(num_samples: int = 70, num_test: int = 23, num_neurons: int = 12, num_classes: int = 3) -> Dataset:
    """A small data set that a network can learn: class means plus noise."""
    rng = np.random.default_rng(0)
    means = rng.uniform(size=(num_classes, num_neurons))

    def split(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(num_classes, size=size)
        images = np.clip(means[labels] + 0.2 * rng.normal(size=(size, num_neurons)), 0, 1)
        return images.astype(np.float32), labels.astype(np.int32)

    return Dataset(*split(num_samples), *split(num_test), num_classes=num_classes)


def two_layers(dtype=jnp.float32):
    """Two square kernels of J 1.5 and 3 with a bias and a scale, and one that is not square."""
    layer = {"kernel": ec.init_kernel(jax.random.key(0), 20, j=1.5, dtype=dtype), "bias": jnp.ones(20, dtype)}
    other = {"kernel": ec.init_kernel(jax.random.key(1), 20, j=3.0, dtype=dtype), "scale": jnp.ones(20, dtype)}
    return {"first": layer, "second": other, "last": {"kernel": jnp.ones((20, 3), dtype)}}
