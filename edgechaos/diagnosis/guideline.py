"""recommend: weight decay and learning rate by the paper's guideline, from a probe of about 30 epochs.

The growth of J^2 in the ordered phase gives D and the decay of Eq. 9. This decay holds the edge at first. While it
does, the initial weights fade, and the weights that replace them are correlated with the gradients. So the decay that
is needed relaxes to another value. Let s be the sum of delta over the steps. The initial weights fade as exp(-s), and

    lambda(s) = lambda_end + (lambda(0) - lambda_end) exp(-s),

which is a straight line in exp(-s). docs/THEORY.md has the derivation; docs/RESULTS.md says how well it holds.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from edgechaos import training
from edgechaos.analysis.fits import fit_line
from edgechaos.data.dataset import Dataset
from edgechaos.diagnosis import refusals
from edgechaos.diagnosis.refusals import HOLD_EPOCHS, PROBE_EPOCHS
from edgechaos.theory import scaling
from edgechaos.theory.weight_decay import steps_per_epoch, weight_decay_by_epoch

_SKIPPED = 1  # the first epoch is quicker than those after it
_DOUBLINGS = 4  # at most, in the search for the largest stable learning rate
_TURNS = 2.0  # length of the hold in units of s, by Eq. 9; at larger learning rates another lambda holds the edge
_SKIPPED_SHARE = 0.25  # of the clock at its end: entries below it are left out of the fit
_BATCH_SIZES = (16, 32, 64, 128, 256)
_MOMENTA = (0.0, 0.5, 0.9)
_TIMED_STEPS = 40

Report = Callable[[str], object]
ProbeOf = Callable[..., training.Metrics]  # (learning rate, epochs, initial J, constraint)


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """The result of a probe.

    Attributes:
      constant_d: D of Eq. 5.
      constant_d_error: standard error of the line's slope.
      open_loop: lambda of Eq. 9 with that D.
      weight_decay: lambda that holds J = 1 in the steady state.
      weight_decay_error: its standard error and the change by the last quarter of the epochs, together.
      is_upper_bound: whether the decay was still falling at the end of the probe, as it does if the loss goes to 0. A
        longer run then needs a smaller decay; `hold_at_edge` finds it.
      largest_learning_rate: the largest stable one, at the momentum and batch size of the probe.
      num_epochs: number of epochs that the probe took.
      j_squared: J^2 of the probe [epochs + 1].
      clock: s in the middle of each held epoch.
      held: mean lambda of each held epoch.
      relaxation_epochs: four relaxation times of the weights with `weight_decay`, in epochs at the scale factor of the
        probe.
      settings: combinations of hyperparameters with equal effect, the fastest first: learning_rate, momentum,
        batch_size, seconds_per_epoch; empty if the scale factor of the probe is stable at none of the batch sizes that
        were tried.
    """

    constant_d: float
    constant_d_error: float
    open_loop: float
    weight_decay: float
    weight_decay_error: float
    is_upper_bound: bool
    largest_learning_rate: float
    num_epochs: int
    j_squared: Float[np.ndarray, "entries"]
    clock: Float[np.ndarray, "epochs"]
    held: Float[np.ndarray, "epochs"]
    relaxation_epochs: int
    settings: list[dict[str, float]]


@struct.dataclass
class Relaxation:
    """The line lambda = weight_decay + amplitude exp(-s), with the standard error of its end."""

    weight_decay: float
    amplitude: float
    standard_error: float


def fit_relaxation(clock: Float[np.ndarray, "epochs"], held: Float[np.ndarray, "epochs"]) -> Relaxation:
    """Fits the relaxation to the entries beyond the first quarter of the clock, by least squares.

    Args:
      clock: s >= 0, rising.
      held: lambda; at least four entries beyond the first quarter.

    >>> clock = np.linspace(0, 2, 20)
    >>> round(fit_relaxation(clock, 9e-5 - 4e-5 * np.exp(-clock)).weight_decay, 8)
    9e-05
    """
    late = clock >= _SKIPPED_SHARE * clock[-1]
    line = fit_line(np.exp(-clock[late]), held[late])
    return Relaxation(line.intercept, line.slope, line.intercept_error)


def steady_state(clock: Float[np.ndarray, "epochs"], held: Float[np.ndarray, "epochs"]) -> tuple[float, float, bool]:
    """lambda*, its error, and whether the decay falls: the end of the relaxation, or else the mean of the last quarter.

    A rising decay is the relaxation of this module's docstring. A falling one has another cause, that early learning
    slows down, to which that law does not apply.
    """
    fit = fit_relaxation(clock, held)
    last = held[-(len(held) // 4) :]
    if fit.amplitude >= 0:
        return float(last.mean()), float(np.hypot(last.std(ddof=1) / len(last) ** 0.5, np.ptp(last) / 2)), True
    earlier = 3 * len(clock) // 4
    fewer = fit_relaxation(clock[:earlier], held[:earlier])
    drift = min(abs(fit.weight_decay - fewer.weight_decay), 0.2 * fit.weight_decay)
    return fit.weight_decay, float(np.hypot(fit.standard_error, drift)), False


def recommend(
    dataset: Dataset,
    seed: int = 0,
    learning_rate: float = 0.08,
    momentum: float = 0.5,
    batch_size: int = 32,
    report: Report = lambda text: None,
) -> Recommendation:
    """Finds weight decay and combinations of hyperparameters for a data set, in at most 30 epochs.

    Args:
      dataset: inputs [samples, N] with labels; the network is N - N - classes with tanh, whose edge is J = 1.
      seed: for the initial weights and the order of the samples.
      learning_rate: eta of the probe in the ordered phase, from which the search for the largest stable one starts.
      momentum: alpha.
      batch_size: B.
      report: is called with one line of text for each stage.

    Raises:
      ValueError: a number out of range; data from which nothing can be learned (equal inputs, one class); the probe
        diverges, or leaves the ordered phase within its first epoch, or J^2 grows too little in it to be measured:
        names a learning rate to try; no learning rate tried is stable; or the growth at J = 1 cannot be measured within
        the held epochs.
    """
    num_samples = len(dataset.train_labels)
    refusals.check_numbers(learning_rate, momentum, batch_size, num_samples)
    refusals.check_data(dataset)
    on_device, num_steps = jax.device_put(dataset), steps_per_epoch(num_samples, batch_size)

    def probe_of(rate: float, num_epochs: int, init_j: float, constraint: str = "none") -> training.Metrics:
        spec = training.Spec(dataset.num_classes, batch_size, init_j=init_j, constraint=constraint)
        return training.train_one(on_device, spec, seed, training.Hyperparameters(rate, momentum), num_epochs)

    scale = float(scaling.scale_factor(learning_rate, momentum, batch_size))
    j_squared, constant_d, error = _growth(probe_of, learning_rate, scale)
    report(f"ordered phase: D = {constant_d:.2f} +- {error:.2f} from {PROBE_EPOCHS} epochs at eta {learning_rate:g}")
    largest, searched = _largest_stable(probe_of, learning_rate, dataset.num_classes)
    report(f"largest stable eta {largest:g} (alpha {momentum:g}, B {batch_size}), after {searched} epochs")
    open_loop = float(scaling.weight_decay_at_edge(constant_d, num_samples))
    fitting = _TURNS * (1 - momentum) / (2 * open_loop * HOLD_EPOCHS * num_steps)
    rate = min(largest, max(fitting, learning_rate))
    clock, held = _held(probe_of, rate, momentum, num_steps, constant_d)
    decay, decay_error, is_falling = steady_state(clock, held)
    report(f"held at the edge, eta {rate:.3g}: lambda = {decay:.3g} +- {decay_error:.1g} after {HOLD_EPOCHS} epochs")
    return Recommendation(
        constant_d=constant_d,
        constant_d_error=error,
        open_loop=open_loop,
        weight_decay=decay,
        weight_decay_error=decay_error,
        is_upper_bound=is_falling,
        largest_learning_rate=largest,
        num_epochs=PROBE_EPOCHS + searched + HOLD_EPOCHS,
        j_squared=j_squared,
        clock=clock,
        held=held,
        relaxation_epochs=int(np.ceil(4 / (float(scaling.relaxation_rate(scale, num_samples, decay)) / 2))),
        settings=_settings(dataset, scale, largest / (1 - momentum)),
    )


def _growth(probe_of: ProbeOf, learning_rate: float, scale: float) -> tuple[Float[np.ndarray, "entries"], float, float]:
    """J^2 of a probe in the ordered phase, D by its line fit, and the error of that."""
    probe = probe_of(learning_rate, PROBE_EPOCHS, 0.5)
    refusals.check_probe(probe, learning_rate)
    ordered = probe.j_squared[_SKIPPED:][probe.j_squared[_SKIPPED:] < 1]
    fit = scaling.fit_slope(ordered, len(ordered) - 1)
    constant_d, error = float(fit.slope) / scale, float(fit.standard_error) / scale
    refusals.check_growth(np.asarray(ordered), constant_d, error, learning_rate)
    return np.asarray(probe.j_squared), constant_d, error


def _held(
    probe_of: ProbeOf, rate: float, momentum: float, num_steps: int, constant_d: float
) -> tuple[Float[np.ndarray, "epochs"], Float[np.ndarray, "epochs"]]:
    """The clock s in the middle of each epoch held at J = 1, and the mean lambda of the epoch."""
    held = probe_of(rate, HOLD_EPOCHS, 1.0, "hold_at_edge")
    clock = np.asarray(held.clock, np.float64)
    decays = weight_decay_by_epoch(clock, rate, momentum, num_steps)
    refusals.check_held(decays, np.asarray(held.j_squared), rate, constant_d)
    return (clock[1:] + clock[:-1]) / 2, decays


def _largest_stable(probe_of: ProbeOf, learning_rate: float, num_classes: int) -> tuple[float, int]:
    """Doubles (or halves) the learning rate from J = 1, an epoch each, and returns the last stable one."""

    def is_stable(rate: float) -> bool:
        trial = probe_of(rate, 1, 1.0, "hold_at_edge")
        # a network that knows nothing has a loss of ln(classes)
        return bool(np.isfinite(trial.j_squared[1]) and trial.train_loss[1] < np.log(num_classes))

    rate = learning_rate
    if is_stable(rate):
        for tried in range(2, _DOUBLINGS + 2):
            if not is_stable(2 * rate):
                return rate, tried
            rate *= 2
    else:
        for tried in range(2, _DOUBLINGS + 2):
            rate /= 2
            if is_stable(rate):
                return rate, tried
        raise ValueError(
            f"learning_rate = {learning_rate:g}: after one epoch at J = 1 the loss is no better than a guess, also at "
            f"smaller learning rates down to {rate:.2g}: one epoch is too short at this learning rate, or the data do "
            f"not determine the labels; try {8 * learning_rate:.2g}"
        )
    return rate, _DOUBLINGS + 1


def _settings(dataset: Dataset, scale: float, largest_step: float) -> list[dict[str, float]]:
    """Combinations of one scale factor whose eta / (1 - alpha) is stable, with the time that they take here."""
    num_samples, rows = len(dataset.train_labels), []
    for batch_size in _BATCH_SIZES:
        step = scale * batch_size  # eta / (1 - alpha)
        if batch_size > num_samples or step > largest_step * (1 + 1e-6):
            continue
        seconds = _seconds_per_epoch(dataset, batch_size)
        for momentum in _MOMENTA:
            numbers = {
                "learning_rate": round(step * (1 - momentum), 12),
                "momentum": momentum,
                "batch_size": batch_size,
            }
            rows.append({**numbers, "seconds_per_epoch": seconds})
    return sorted(rows, key=lambda row: row["seconds_per_epoch"])


def _seconds_per_epoch(dataset: Dataset, batch_size: int) -> float:
    """Time of an epoch by that of some steps, after a first call that compiles."""
    few = min(_TIMED_STEPS * batch_size, len(dataset.train_labels))
    some = dataclasses.replace(
        dataset, train_images=dataset.train_images[:few], train_labels=dataset.train_labels[:few]
    )
    spec, key = training.Spec(dataset.num_classes, batch_size), jax.random.key(0)
    epoch = jax.jit(training.train_epoch, static_argnames="spec")
    numbers: Any = training.Hyperparameters(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
    state = training.init_state(key, spec, dataset.train_images.shape[1])
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(epoch(state, key, numbers, some, spec=spec))
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:]) * len(dataset.train_labels) / few
