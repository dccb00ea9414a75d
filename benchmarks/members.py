"""Times an epoch of several members by vmap and one after the other, for networks of different width.

python -m benchmarks.members [--rounds=3] [--output=FILE.json]
"""

import argparse
import datetime
import json
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.epoch import statistics, versions
from edgechaos import runs, training
from edgechaos.dataset import Dataset

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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.members", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    numbers = {}
    for width in WIDTHS:
        dataset = jax.device_put(make_dataset(width))
        rounds = [(epoch_seconds(dataset, True), epoch_seconds(dataset, False)) for _ in range(arguments.rounds)]
        numbers[f"N = {width}"] = {
            "vmap, ms": statistics([1e3 * pair[0] for pair in rounds]),
            "one after the other, ms": statistics([1e3 * pair[1] for pair in rounds]),
            "one after the other / vmap": statistics([pair[1] / pair[0] for pair in rounds]),
        }
    content = {
        "benchmark": f"epoch of {SAMPLES} samples, B = {BATCH}, per member, of {MEMBERS} members",
        "date": datetime.date.today().isoformat(),
        "processor": runs.processor(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "numbers": numbers,
    }
    for size, rows in numbers.items():
        for name, row in rows.items():
            print(f"{size:10} {name:28} {row['median']:8.2f}   [{row['least']:.2f}, {row['most']:.2f}]")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
