"""Training of several members at once, and of one network alone, an epoch per call."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Key, PRNGKeyArray

from edgechaos.data.dataset import Dataset
from edgechaos.training.epochs import Hyperparameters, Metrics, Spec, TrainState, advance, start


def train_one(dataset: Dataset, spec: Spec, seed: int, hyperparameters: Hyperparameters, num_epochs: int) -> Metrics:
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
    state, first = start_members(keys, numbers, dataset, spec)
    entries = [first]
    for _ in range(num_epochs):
        state, entry = advance_members(state, keys, numbers, dataset, spec)
        entries.append(entry)
    return jax.tree.map(lambda *values: np.concatenate(values), *entries)


def over_members(
    function: Callable[..., Any], dataset: Dataset, vectorized: bool, mesh: Mesh | None, *members: Any
) -> Any:
    """`function(dataset, *member)` over a leading axis: by vmap or one after the other, on each device for its own."""

    def local(dataset: Dataset, *members: Any) -> Any:
        one = functools.partial(function, dataset)
        return jax.vmap(one)(*members) if vectorized else jax.lax.map(lambda member: one(*member), members)

    if mesh is None:
        return local(dataset, *members)
    split = PartitionSpec("members")
    specs = (PartitionSpec(), *[split for _ in members])
    # no value crosses devices, so that there is nothing for the check of replication to find
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)(dataset, *members)


@functools.partial(jax.jit, static_argnames=("spec", "vectorized", "mesh"))
def start_members(
    keys: Key[Array, "members"],
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    spec: Spec,
    vectorized: bool = False,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Metrics]:
    """`start` for a leading axis of members, by vmap or one after the other.

    Args:
      keys: one per member.
      hyperparameters: likewise.
      dataset: on the devices.
      spec: static description.
      vectorized: by vmap.
      mesh: of devices along an axis "members", whose size divides the number of members; each device computes its own.
    """

    def one(dataset: Dataset, key: PRNGKeyArray, numbers: Hyperparameters) -> tuple[TrainState, Metrics]:
        return start(key, numbers, dataset, spec)

    return over_members(one, dataset, vectorized, mesh, keys, hyperparameters)


@functools.partial(jax.jit, static_argnames=("spec", "vectorized", "mesh"), donate_argnames="state")
def advance_members(
    state: TrainState,
    keys: Key[Array, "members"],
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    spec: Spec,
    vectorized: bool = False,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Metrics]:
    """`advance` for a leading axis of members, with the arguments of `start_members`.

    One after the other, no member depends on which others there are. The buffers of `state` are donated.
    """

    def one(
        dataset: Dataset, state: TrainState, key: PRNGKeyArray, numbers: Hyperparameters
    ) -> tuple[TrainState, Metrics]:
        return advance(state, key, numbers, dataset, spec)

    return over_members(one, dataset, vectorized, mesh, state, keys, hyperparameters)
