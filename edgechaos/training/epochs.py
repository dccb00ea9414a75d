"""Training as pure functions: one epoch is a scan over minibatches, one run is a function of (key, hyperparameters)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edgechaos.data.dataset import AnyArray, Dataset
from edgechaos.theory.scaling import schedule_factor
from edgechaos.training.calibration import calibrate
from edgechaos.training.constraints import CONSTRAINTS, HOLDS
from edgechaos.training.held import find_state
from edgechaos.training.network import Classifier
from edgechaos.training.optim import adam, sgd
from edgechaos.training.order import order_parameters

Weights = tuple[optax.Params, optax.OptState]

_EVALUATION_CHUNK = 2000


@dataclasses.dataclass(frozen=True)
class Spec:
    """The values for which a program is compiled; everything else is traced.

    Attributes:
      num_classes: number of classes of the data set.
      batch_size: B; an epoch is ceil(S / B) steps.
      activation: activation of the hidden layer.
      init_j0: J0 of the initial hidden kernel.
      init_j: J of the initial hidden kernel.
      weight_decay_mode: "coupled" or "decoupled", see `optim.sgd`.
      optimizer: "sgd", or "adam", which does not use the momentum.
      constraint: what else changes the kernels, see `CONSTRAINTS`.
      schedule: how the learning rate changes over the run, see `scaling.schedule_factor`.
      loss: loss of the logits, see `LOSSES`.
    """

    num_classes: int
    batch_size: int
    activation: str = "tanh"
    init_j0: float = 0.0
    init_j: float = 0.5
    weight_decay_mode: str = "coupled"
    optimizer: str = "sgd"
    constraint: str = "none"
    schedule: str = "constant"
    loss: str = "cross_entropy"


@struct.dataclass
class Hyperparameters:
    """The traced numbers of a run: eta of Eq. 6 (before its schedule), alpha, lambda, length and target.

    Attributes:
      learning_rate: eta > 0.
      momentum: alpha in [0, 1).
      weight_decay: lambda >= 0.
      num_epochs: number of epochs of the schedule.
      target: value of J^2 > 0 that a constraint keeps; None means 1.
    """

    learning_rate: Float[Array, "*members"] | float
    momentum: Float[Array, "*members"] | float = 0.0
    weight_decay: Float[Array, "*members"] | float = 0.0
    num_epochs: Float[Array, "*members"] | float | None = None
    target: Float[Array, "*members"] | float | None = None


@struct.dataclass
class TrainState:
    """Parameters, optimizer state and the number of epochs behind them."""

    params: optax.Params
    optimizer_state: optax.OptState
    epoch: Int[AnyArray, "*members"]


@struct.dataclass
class Metrics:
    """One entry of the history, or a whole history with a last axis of epochs.

    Train entries after epoch 0 are means over the samples of the epoch that ended, each seen before its update.
    """

    j0: Float[AnyArray, "*members"]
    j_squared: Float[AnyArray, "*members"]
    train_loss: Float[AnyArray, "*members"]
    test_loss: Float[AnyArray, "*members"]
    train_accuracy: Float[AnyArray, "*members"]
    test_accuracy: Float[AnyArray, "*members"]
    clock: Float[AnyArray, "*members"]
    calibrated_test_loss: Float[AnyArray, "*members"]
    inverse_temperature: Float[AnyArray, "*members"]
    logit_rms: Float[AnyArray, "*members"]


# name -> loss of each sample, given logits and one-hot labels
LOSSES: dict[str, Callable[[Any, Any], Float[Array, "B"]]] = {
    "cross_entropy": optax.softmax_cross_entropy,
    "squared_error": lambda logits, labels: optax.squared_error(logits, labels).mean(-1),
}


def _network(spec: Spec) -> Classifier:
    """The classifier that `spec` describes."""
    return Classifier(spec.num_classes, spec.activation, spec.init_j0, spec.init_j)


def _optimizer(hyperparameters: Hyperparameters, spec: Spec) -> optax.GradientTransformation:
    """The optimizer with traced numbers; cheap to build, so each trace builds its own."""
    eta, decay = hyperparameters.learning_rate, hyperparameters.weight_decay
    if spec.optimizer == "adam":
        rule = adam(eta, decay, spec.weight_decay_mode)
    else:
        rule = sgd(eta, hyperparameters.momentum, decay, spec.weight_decay_mode)
    target = 1.0 if hyperparameters.target is None else hyperparameters.target
    return optax.chain(rule, CONSTRAINTS[spec.constraint](eta / (1 - hyperparameters.momentum), target))


def init_state(key: PRNGKeyArray, spec: Spec, num_neurons: int) -> TrainState:
    """The state before the first epoch; equal keys give equal networks whatever the hyperparameters."""
    params = _network(spec).init(key, jnp.zeros((1, num_neurons)))["params"]
    return TrainState(params, _optimizer(Hyperparameters(0.0), spec).init(params), jnp.zeros((), jnp.int32))


def _batch_loss(
    params: optax.Params, images: Float[AnyArray, "B N"], labels: Int[AnyArray, "B"], spec: Spec
) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, "B classes"]]]:
    """Mean loss (without the penalty), accuracy and logits of a batch."""
    logits = jnp.asarray(_network(spec).apply({"params": params}, images))
    loss = LOSSES[spec.loss](logits, jax.nn.one_hot(labels, spec.num_classes)).mean()
    return loss, ((logits.argmax(-1) == labels).mean(), logits)


def _of_the_moment(
    hyperparameters: Hyperparameters, step: Int[AnyArray, ""], steps_per_epoch: int, spec: Spec
) -> Hyperparameters:
    """The numbers with the learning rate that the schedule has after so many steps.

    Raises:
      ValueError: there is a schedule and no length for it.
    """
    if spec.schedule == "constant":
        return hyperparameters
    if hyperparameters.num_epochs is None:
        raise ValueError(f"num_epochs: schedule = '{spec.schedule}' needs the length of the run")
    factor = schedule_factor(spec.schedule, step / (hyperparameters.num_epochs * steps_per_epoch))
    return dataclasses.replace(hyperparameters, learning_rate=jnp.asarray(hyperparameters.learning_rate * factor))


def train_step(
    state: TrainState,
    hyperparameters: Hyperparameters,
    images: Float[AnyArray, "B N"],
    labels: Int[AnyArray, "B"],
    spec: Spec,
) -> tuple[TrainState, tuple[Float[Array, ""], Float[Array, ""]]]:
    """One update of Eq. 6 on one minibatch; returns its loss and accuracy before the update.

    `hyperparameters` are those of the moment; a schedule is applied by `train_epoch`, which knows the step.
    """
    (loss, (accuracy, _)), gradient = jax.value_and_grad(_batch_loss, has_aux=True)(state.params, images, labels, spec)
    optimizer = _optimizer(hyperparameters, spec)
    updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
    return dataclasses.replace(
        state, params=optax.apply_updates(state.params, updates), optimizer_state=optimizer_state
    ), (loss, accuracy)


def train_epoch(
    state: TrainState, key: PRNGKeyArray, hyperparameters: Hyperparameters, dataset: Dataset, spec: Spec
) -> tuple[TrainState, tuple[Float[Array, ""], Float[Array, ""]]]:
    """One pass over the reshuffled training set in ceil(S / B) steps, the smaller last batch with its own mean.

    Args:
      state: before the epoch.
      key: of the run; the order of the samples depends on it and on `state.epoch` alone, as does the schedule.
      hyperparameters: traced numbers.
      dataset: on the device.
      spec: static description.

    Returns:
      The state after the epoch, and the mean loss and accuracy over its samples, each seen before its update.
    """
    all_images, all_labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
    num_samples, batch_size = len(all_labels), spec.batch_size
    order = jax.random.permutation(jax.random.fold_in(key, state.epoch), num_samples)

    num_full, remainder = divmod(num_samples, batch_size)
    num_steps = num_full + (remainder > 0)

    def step(
        state: TrainState, numbered: tuple[Int[Array, ""], Int[Array, "B"]]
    ) -> tuple[TrainState, tuple[jax.Array, jax.Array]]:
        number, batch = numbered
        numbers = _of_the_moment(hyperparameters, state.epoch * num_steps + number, num_steps, spec)
        return train_step(state, numbers, all_images[batch], all_labels[batch], spec)

    batches = order[: num_full * batch_size].reshape(num_full, batch_size)
    state, metrics = jax.lax.scan(step, state, (jnp.arange(num_full), batches))
    totals = jax.tree.map(lambda values: batch_size * values.sum(), metrics)
    if remainder:
        state, last = step(state, (jnp.array(num_full), order[-remainder:]))
        totals = jax.tree.map(lambda total, value: total + remainder * value, totals, last)
    loss, accuracy = jax.tree.map(lambda total: total / num_samples, totals)
    return dataclasses.replace(state, epoch=state.epoch + 1), (loss, accuracy)


def epoch_map(
    epoch: Int[AnyArray, ""], key: PRNGKeyArray, hyperparameters: Hyperparameters, dataset: Dataset, spec: Spec
) -> Callable[[Weights], Weights]:
    """`train_epoch` as a map of (parameters, optimizer state), whose derivative says what a small difference becomes.

    Args:
      epoch: epochs before it; runs of the same key and epoch see the same minibatches.
      key: of the run.
      hyperparameters: traced numbers.
      dataset: on the device.
      spec: static description, with a constraint whose state has real numbers only.
    """

    def advanced(weights: Weights) -> Weights:
        state, _ = train_epoch(TrainState(*weights, epoch), key, hyperparameters, dataset, spec)
        return state.params, state.optimizer_state

    return advanced


def evaluate(
    params: optax.Params, images: Float[AnyArray, "T N"], labels: Int[AnyArray, "T"], spec: Spec
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, "T classes"]]:
    """Mean loss, accuracy and the logits of a whole set, in chunks that bound the memory."""
    num_full = len(labels) // _EVALUATION_CHUNK
    split = num_full * _EVALUATION_CHUNK
    totals, logits = (jnp.zeros(()), jnp.zeros(())), []
    if num_full:
        chunks = (
            images[:split].reshape(num_full, _EVALUATION_CHUNK, -1),
            labels[:split].reshape(num_full, _EVALUATION_CHUNK),
        )
        losses, (hits, some) = jax.lax.map(lambda chunk: _batch_loss(params, chunk[0], chunk[1], spec), chunks)
        totals = _EVALUATION_CHUNK * losses.sum(), _EVALUATION_CHUNK * hits.sum()
        logits.append(some.reshape(split, -1))
    if split < len(labels):
        loss, (accuracy, some) = _batch_loss(params, images[split:], labels[split:], spec)
        last = (len(labels) - split) * loss, (len(labels) - split) * accuracy
        totals = totals[0] + last[0], totals[1] + last[1]
        logits.append(some)
    return totals[0] / len(labels), totals[1] / len(labels), jnp.concatenate(logits)


def _measure(
    state: TrainState, train: tuple[Float[Array, ""], Float[Array, ""]], dataset: Dataset, spec: Spec
) -> Metrics:
    """Order parameters, test evaluation and calibration beside given train metrics."""
    place = order_parameters(state.params["hidden"]["kernel"])
    test_loss, test_accuracy, logits = evaluate(state.params, dataset.test_images, dataset.test_labels, spec)
    calibration = calibrate(logits, dataset.test_labels)
    is_held = spec.constraint in HOLDS
    clock = find_state(state.optimizer_state).total_decay[0] if is_held else jnp.zeros(())
    return Metrics(
        j0=place.j0,
        j_squared=place.j_squared,
        train_loss=train[0],
        test_loss=test_loss,
        train_accuracy=train[1],
        test_accuracy=test_accuracy,
        clock=clock,
        calibrated_test_loss=calibration.loss,
        inverse_temperature=calibration.inverse_temperature,
        logit_rms=calibration.logit_rms,
    )


def start(
    key: PRNGKeyArray, hyperparameters: Hyperparameters, dataset: Dataset, spec: Spec
) -> tuple[TrainState, Metrics]:
    """The initial state and entry 0 of the history, whose train metrics are an evaluation of the whole set."""
    del hyperparameters  # taken for one signature with `advance`
    state = init_state(key, spec, dataset.train_images.shape[1])
    loss, accuracy, _ = evaluate(state.params, dataset.train_images, dataset.train_labels, spec)
    return state, _measure(state, (loss, accuracy), dataset, spec)


def advance(
    state: TrainState, key: PRNGKeyArray, hyperparameters: Hyperparameters, dataset: Dataset, spec: Spec
) -> tuple[TrainState, Metrics]:
    """One epoch with everything that the history records of it, without a return to the host."""
    state, train = train_epoch(state, key, hyperparameters, dataset, spec)
    return state, _measure(state, train, dataset, spec)


def make_train(
    dataset: Dataset, spec: Spec, num_epochs: int
) -> Callable[[PRNGKeyArray, Hyperparameters], tuple[TrainState, Metrics]]:
    """Returns train(key, hyperparameters) -> (final state, history [epochs + 1]), a pure function of a whole run.

    It can be jitted, and vmapped over keys, hyperparameters or both.
    """

    def train(key: PRNGKeyArray, hyperparameters: Hyperparameters) -> tuple[TrainState, Metrics]:
        hyperparameters = dataclasses.replace(hyperparameters, num_epochs=float(num_epochs))
        state, first = start(key, hyperparameters, dataset, spec)
        state, rest = jax.lax.scan(
            lambda state, _: advance(state, key, hyperparameters, dataset, spec), state, length=num_epochs
        )
        history = jax.tree.map(lambda entry, entries: jnp.concatenate([entry[None], entries]), first, rest)
        return state, history

    return train
