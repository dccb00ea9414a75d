"""What an epoch costs: floating-point operations, the machine's rate, and the time to expect."""

import time

import jax
import jax.numpy as jnp

from edgechaos.data.dataset import Dataset
from edgechaos.theory.weight_decay import steps_per_epoch

# results/bench/epoch.json: an epoch takes 1.6 to 1.8 times the time at the large-product rate; the second, a step's
# overhead, matters for networks as small as that of the digits only
_SHARE_OF_RATE = 0.58
_SECONDS_PER_STEP = 25e-6


def epoch_operations(num_samples: int, num_neurons: int, num_classes: int) -> int:
    """Floating-point operations of forward and backward products over S samples (no gradient reaches the input)."""
    return 2 * num_samples * (2 * num_neurons**2 + 3 * num_neurons * num_classes)


def matrix_product_rate(size: int = 2048, repeats: int = 3) -> float:
    """Operations per second of the best of `repeats` float32 products of size x size matrices."""
    matrix = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds)


def predicted_seconds(dataset: Dataset, num_epochs: int, batch_size: int, rate: float) -> float:
    """Expected time of a run of one member on a machine of a given `matrix_product_rate`."""
    num_samples, num_neurons = dataset.train_images.shape
    operations = epoch_operations(num_samples, num_neurons, dataset.num_classes)
    operations += 2 * len(dataset.test_labels) * num_neurons**2
    steps = steps_per_epoch(num_samples, batch_size)
    return num_epochs * (operations / (_SHARE_OF_RATE * rate) + steps * _SECONDS_PER_STEP)
