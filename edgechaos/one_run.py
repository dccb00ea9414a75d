"""A whole run of one network, an epoch per call, for probes and searches that keep nothing on disk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from edgechaos import training
from edgechaos.dataset import Dataset


def train(
    dataset: Dataset, spec: training.Spec, seed: int, hyperparameters: training.Hyperparameters, num_epochs: int
) -> training.Metrics:
    """The history [epochs + 1] on the host; other numbers, seeds or lengths do not compile again.

    Args:
      dataset: on the host or the device.
      spec: static description.
      seed: of initial weights and order of samples, other ones than those of a sweep's member with this seed.
      hyperparameters: three numbers.
      num_epochs: >= 1.
    """
    dataset = jax.device_put(dataset)
    keys = jax.random.split(jax.random.key(seed), 1)
    spanned = dataclasses.replace(hyperparameters, num_epochs=float(num_epochs))
    numbers = jax.tree.map(lambda number: jnp.full(1, number), spanned)
    state, first = training.start_members(keys, numbers, dataset, spec)
    entries = [first]
    for _ in range(num_epochs):
        state, entry = training.advance_members(state, keys, numbers, dataset, spec)
        entries.append(entry)
    return jax.tree.map(lambda *values: np.concatenate(values), *entries)
