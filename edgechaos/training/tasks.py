"""One task after the other: what a network keeps of its plasticity, the ability to learn the next task.

Weights and optimizer state go on from task to task. Sources: Dohare et al., Nature 632, 768 (2024), for permuted
pixels; Lyle et al., arXiv 2303.01486 (2023), for random labels; Ash and Adams, arXiv 1910.08475 (2020), for shrink and
perturb.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from edgechaos.data.dataset import AnyArray, Dataset
from edgechaos.training.epochs import Hyperparameters, Spec, TrainState, evaluate, init_state, train_epoch
from edgechaos.training.members import over_members
from edgechaos.training.network import hidden_map
from edgechaos.training.order import order_parameters

_SATURATED = 0.99  # of |tanh|, whose slope is below 0.02 from there on
_MOST_SAMPLES = 0.95  # on more of them a unit is saturated that counts as stuck


@struct.dataclass
class TaskMetrics:
    """What a network is like at the end of a task, or of each of several along a last axis.

    Attributes:
      accuracy: in [0, 1], on what tells how well the task was learned, see `TASKS`; NaN if the loss is not finite.
      loss: there, as it is, without calibration.
      j_squared: J^2 of the hidden kernel.
      saturated: share of hidden units with |tanh| > 0.99, mean over the samples there.
      stuck: share of hidden units that are saturated on more than 95 % of the samples.
    """

    accuracy: Float[AnyArray, "*members"]
    loss: Float[AnyArray, "*members"]
    j_squared: Float[AnyArray, "*members"]
    saturated: Float[AnyArray, "*members"]
    stuck: Float[AnyArray, "*members"]


@struct.dataclass
class Renewal:
    """What becomes of all parameters after a task: shrink times themselves plus perturb times fresh ones.

    Attributes:
      shrink: in [0, 1]; 1 leaves them as they are.
      perturb: >= 0; 0 adds nothing.
    """

    shrink: Float[Array, "*members"] | float = 1.0
    perturb: Float[Array, "*members"] | float = 0.0


class _Keys(NamedTuple):
    """What is random about a member."""

    start: PRNGKeyArray
    order: PRNGKeyArray
    tasks: PRNGKeyArray
    renewal: PRNGKeyArray


def permuted_pixels(key: PRNGKeyArray, dataset: Dataset) -> Dataset:
    """The pixels of all images in one random sequence; the test set tells how well the task was learned."""
    sequence = jax.random.permutation(key, dataset.train_images.shape[1])
    train, test = (jnp.asarray(images)[:, sequence] for images in (dataset.train_images, dataset.test_images))
    return dataclasses.replace(dataset, train_images=train, test_images=test)


def random_labels(key: PRNGKeyArray, dataset: Dataset) -> Dataset:
    """Uniformly random labels of the training images, which also tell how well the task was learned."""
    images = jnp.asarray(dataset.train_images)
    labels = jax.random.randint(key, dataset.train_labels.shape, 0, dataset.num_classes, dtype=jnp.int32)
    return dataclasses.replace(
        dataset, train_images=images, train_labels=labels, test_images=images, test_labels=labels
    )


# kind -> a task of it, given its key and the data set behind all tasks; its test set tells how well it was learned
TASKS: dict[str, Callable[[PRNGKeyArray, Dataset], Dataset]] = {"permuted": permuted_pixels, "random": random_labels}


def shrink_and_perturb(params: optax.Params, fresh: optax.Params, renewal: Renewal) -> optax.Params:
    """w <- shrink w + perturb w_fresh for all parameters (Ash and Adams)."""
    return jax.tree.map(lambda w, new: renewal.shrink * w + renewal.perturb * new, params, fresh)


def saturation(neurons: Float[AnyArray, "samples units"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Share of units with |x| > 0.99, mean over the samples; share of those for which it is so on over 95 % of them.

    >>> share, stuck = saturation(jnp.array([[1.0, 0.0], [-1.0, 0.995]]))
    >>> float(share), float(stuck)
    (0.75, 0.5)
    """
    is_saturated = jnp.abs(neurons) > _SATURATED
    return is_saturated.mean(), (is_saturated.mean(0) > _MOST_SAMPLES).mean()


def start_tasks(key: PRNGKeyArray, spec: Spec, num_neurons: int) -> TrainState:
    """The state before the first task."""
    return init_state(_keys(key).start, spec, num_neurons)


def learn_task(
    state: TrainState,
    key: PRNGKeyArray,
    numbers: Hyperparameters,
    renewal: Renewal,
    number: Int[Array, ""] | int,
    dataset: Dataset,
    spec: Spec,
    kind: str,
    num_epochs: int,
) -> tuple[TrainState, TaskMetrics]:
    """Learns one task, measures what came of it, and renews the parameters.

    Args:
      state: after the task before.
      key: of the member; with equal keys the tasks are the same, whatever the hyperparameters.
      numbers: traced numbers of the training.
      renewal: of the parameters after the task.
      number: of the task, from 0 on.
      dataset: behind all tasks, on the device.
      spec: static description.
      kind: one of `TASKS`.
      num_epochs: >= 1, of the task.
    """
    keys = _keys(key)
    task = TASKS[kind](jax.random.fold_in(keys.tasks, number), dataset)

    def one_epoch(state: TrainState, _: None) -> tuple[TrainState, None]:
        return train_epoch(state, keys.order, numbers, task, spec)[0], None

    state, _ = jax.lax.scan(one_epoch, state, length=num_epochs)
    fresh = init_state(jax.random.fold_in(keys.renewal, number), spec, dataset.train_images.shape[1]).params
    renewed = dataclasses.replace(state, params=shrink_and_perturb(state.params, fresh, renewal))
    return renewed, measure_task(state.params, task, spec)


def measure_task(params: optax.Params, task: Dataset, spec: Spec) -> TaskMetrics:
    """What a network is like on the test set of a task."""
    loss, accuracy, _ = evaluate(params, jnp.asarray(task.test_images), jnp.asarray(task.test_labels), spec)
    kernel = params["hidden"]["kernel"]
    saturated, stuck = saturation(hidden_map(kernel, jnp.asarray(task.test_images), spec.activation))
    return TaskMetrics(
        accuracy=jnp.where(jnp.isfinite(loss), accuracy, jnp.nan),
        loss=loss,
        j_squared=order_parameters(kernel).j_squared,
        saturated=saturated,
        stuck=stuck,
    )


def learn_tasks(
    keys: Key[Array, "members"],
    numbers: Hyperparameters,
    renewal: Renewal,
    dataset: Dataset,
    spec: Spec,
    kind: str,
    num_tasks: int,
    num_epochs: int,
) -> TaskMetrics:
    """All tasks of several members, by vmap: [member, task], on the host. Other numbers do not compile again.

    Args:
      keys: one per member.
      numbers: likewise.
      renewal: likewise.
      dataset: on the device.
      spec: static description.
      kind: one of `TASKS`.
      num_tasks: >= 1.
      num_epochs: >= 1, of each task.
    """
    state = _start_members(keys, dataset, spec)
    found = []
    for number in range(num_tasks):
        place = jnp.full(len(keys), number)
        state, metrics = _learn_members(state, keys, numbers, renewal, place, dataset, spec, kind, num_epochs)
        found.append(jax.tree.map(np.asarray, metrics))
    return jax.tree.map(lambda *entries: np.stack(entries, axis=-1), *found)


def _keys(key: PRNGKeyArray) -> _Keys:
    """Independent keys of a member."""
    return _Keys(*jax.random.split(key, len(_Keys._fields)))


@functools.partial(jax.jit, static_argnames="spec")
def _start_members(keys: Key[Array, "members"], dataset: Dataset, spec: Spec) -> TrainState:
    """`start_tasks` of several members."""

    def one(dataset: Dataset, key: PRNGKeyArray) -> TrainState:
        return start_tasks(key, spec, dataset.train_images.shape[1])

    return over_members(one, dataset, len(keys) > 1, None, keys)


@functools.partial(jax.jit, static_argnames=("spec", "kind", "num_epochs"), donate_argnames="state")
def _learn_members(
    state: TrainState,
    keys: Key[Array, "members"],
    numbers: Hyperparameters,
    renewal: Renewal,
    number: Int[Array, "members"],
    dataset: Dataset,
    spec: Spec,
    kind: str,
    num_epochs: int,
) -> tuple[TrainState, TaskMetrics]:
    """`learn_task` of several members; one alone needs no vmap. The buffers of `state` are donated."""

    def one(
        dataset: Dataset,
        state: TrainState,
        key: PRNGKeyArray,
        numbers: Hyperparameters,
        renewal: Renewal,
        number: Int[Array, ""],
    ) -> tuple[TrainState, TaskMetrics]:
        return learn_task(state, key, numbers, renewal, number, dataset, spec, kind, num_epochs)

    return over_members(one, dataset, len(keys) > 1, None, state, keys, numbers, renewal, number)
