"""Times an epoch of several members by vmap and one after the other, for networks of different width.

python -m benchmarks.members [--rounds=3] [--output=FILE.json]
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import options, record, show, statistics
from edgechaos import training
from edgechaos.data.dataset import Dataset

WIDTHS, MEMBERS, BATCH, SAMPLES = (64, 128, 256, 784), 8, 32, 3200


def make_dataset(num_neurons: int) -> Dataset:
    """Noise of the right shape; values do not matter to the time."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(SAMPLES, num_neurons)).astype(np.float32)
    labels = rng.integers(10, size=SAMPLES).astype(np.int32)
    return Dataset(images, labels, images[:100], labels[:100], num_classes=10)


def epoch_seconds(dataset: Dataset, vectorized: bool) -> float:
    """Seconds per member of an epoch of all members, the second one after a start."""
    spec = training.Spec(dataset.num_classes, BATCH)
    keys = jax.random.split(jax.random.key(0), MEMBERS)
    numbers = training.Hyperparameters(*(jnp.full(MEMBERS, value) for value in (0.02, 0.5, 0.0)))
    state, _ = training.start_members(keys, numbers, dataset, spec, vectorized)
    for _ in range(2):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(training.advance_members(state, keys, numbers, dataset, spec, vectorized))
        seconds = time.perf_counter() - begin
    return seconds / MEMBERS


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.members", __doc__, rounds=3).parse_args()
    numbers = {}
    for width in WIDTHS:
        dataset = jax.device_put(make_dataset(width))
        rounds = [(epoch_seconds(dataset, True), epoch_seconds(dataset, False)) for _ in range(arguments.rounds)]
        numbers[f"N = {width}"] = {
            "vmap, ms": statistics([1e3 * pair[0] for pair in rounds]),
            "one after the other, ms": statistics([1e3 * pair[1] for pair in rounds]),
            "one after the other / vmap": statistics([pair[1] / pair[0] for pair in rounds]),
        }
    show(numbers)
    what = f"epoch of {SAMPLES} samples, B = {BATCH}, per member, of {MEMBERS} members"
    record(arguments.output, {"benchmark": what, "numbers": numbers})


if __name__ == "__main__":
    main()
