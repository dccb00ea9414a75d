"""Scaling laws of the ordered phase (Eqs. 4, 5, 8, 9) and J^2(epoch) in closed form (Eqs. C2 to C5)."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num

Scalar = Num[Array | np.ndarray, "..."] | np.number | float | int

SCHEDULES = ("constant", "linear", "cosine")


@struct.dataclass
class LinearFit:
    """Least-squares line with the standard error of its slope."""

    slope: Float[Array, "*members"]
    intercept: Float[Array, "*members"]
    standard_error: Float[Array, "*members"]


def scale_factor(learning_rate: Scalar, momentum: Scalar, batch_size: Scalar) -> Scalar:
    """eta / ((1 - alpha) B), the only combination of hyperparameters in the growth of the ordered phase (Eq. 5).

    >>> scale_factor(0.02, 0.5, 32)
    0.00125
    """
    return learning_rate / ((1 - momentum) * batch_size)


def schedule_factor(schedule: str, progress: Scalar) -> Scalar:
    """Share of the learning rate that a schedule leaves when a share `progress` of the run lies behind.

    "constant": 1; "linear": 1 - progress; "cosine": (1 + cos(pi progress)) / 2.

    >>> float(schedule_factor("linear", 0.25))
    0.75
    """
    if schedule == "linear":
        return 1.0 - jnp.asarray(progress)
    if schedule == "cosine":
        return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.asarray(progress)))
    return jnp.ones_like(jnp.asarray(progress, float))


def elapsed_epochs(
    schedule: str, epochs: Num[np.ndarray, "*entries"] | float | int, num_epochs: float | int
) -> Float[np.ndarray, "*entries"]:
    """Epochs at the full learning rate that move J^2 as far as `epochs` of a schedule: the integral of its factor.

    Growth and decay of J^2 are both in proportion to eta (Eq. C5), so that a schedule only changes the clock.

    Args:
      schedule: one of `SCHEDULES`.
      epochs: in [0, num_epochs].
      num_epochs: length of the run.
    """
    epochs = np.asarray(epochs, np.float64)
    if schedule == "linear":
        epochs = epochs - epochs**2 / (2 * num_epochs)
    elif schedule == "cosine":
        epochs = epochs / 2 + num_epochs / (2 * np.pi) * np.sin(np.pi * epochs / num_epochs)
    return np.asarray(epochs)


def epochs_until(schedule: str, elapsed: float, num_epochs: float | int) -> float:
    """The inverse of `elapsed_epochs`; infinity if the learning rate has fallen to 0 before.

    >>> round(epochs_until("linear", 3.0, 8), 9)
    4.0
    """
    if schedule == "constant":
        return elapsed
    if not elapsed <= num_epochs / 2:
        return np.inf
    low, high = 0.0, float(num_epochs)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if elapsed_epochs(schedule, middle, num_epochs) < elapsed else (low, middle)
    return high


def fit_slope(j_squared: ArrayLike | list[Any], num_epochs: int) -> LinearFit:
    """Fits J^2 = A epoch + C (Eq. 4) to the states after 0 ... num_epochs epochs by least squares.

    Args:
      j_squared: [*members, epochs], J^2 after e epochs at entry e of the last axis; float16 is summed in float32.
      num_epochs: last epoch of the fit, 2 <= num_epochs < j_squared.shape[-1].

    Returns:
      A per epoch, C, and the standard error of A for independent residuals. In fact they are smooth in time, so the
      spread over seeds is the better error.

    Raises:
      ValueError: num_epochs out of range.
    """
    entries = jnp.asarray(j_squared)
    entries = entries.astype(jnp.promote_types(entries.dtype, jnp.float32))
    length = entries.shape[-1] if entries.ndim else 0
    if not 2 <= num_epochs < length:
        raise ValueError(f"num_epochs = {num_epochs}: must be in [2, {length - 1}]")
    y = entries[..., : num_epochs + 1]
    epochs = jnp.arange(num_epochs + 1, dtype=y.dtype) - num_epochs / 2
    slope = y @ epochs / (epochs @ epochs)
    mean = y.mean(-1)
    residuals = y - mean[..., None] - slope[..., None] * epochs
    variance = (residuals**2).sum(-1) / (num_epochs - 1)
    return LinearFit(slope, mean - slope * num_epochs / 2, jnp.sqrt(variance / (epochs @ epochs)))


def relaxation_rate(scale: Scalar, num_samples: int, weight_decay: Scalar) -> Scalar:
    """4 S lambda eta / ((1 - alpha) B): rate per epoch at which weight decay shrinks J^2 (Eq. C5 over S/B steps)."""
    return 4 * num_samples * weight_decay * scale


def j_squared_after(epochs: Scalar, initial: Scalar, slope: Scalar, rate: Scalar = 0.0) -> Scalar:
    """J^2 after `epochs` of dJ^2/de = A - rate J^2: a line without decay, otherwise a relaxation to A / rate.

    Args:
      epochs: e >= 0, any shape.
      initial: J^2 at e = 0.
      slope: A of Eq. 4, per epoch.
      rate: `relaxation_rate`, >= 0.
    """
    decay = jnp.asarray(rate) * epochs
    # (1 - exp(-x)) / x, whose limit at 0 is 1, keeps one formula for both cases
    weight = jnp.where(decay == 0, 1.0, -jnp.expm1(-decay) / jnp.where(decay == 0, 1.0, decay))
    return initial * jnp.exp(-decay) + slope * epochs * weight


def epochs_to(target: Scalar, initial: Scalar, slope: Scalar, rate: Scalar = 0.0) -> Scalar:
    """Epoch at which `j_squared_after` reaches `target`, above or below `initial`.

    Infinity if it never does, because the target lies in the other direction or beyond the limit of the relaxation.

    >>> print(epochs_to(1.0, 0.25, 0.015), epochs_to(0.1, 0.25, 0.015))
    50.0 inf
    """
    gap = (jnp.asarray(target) - initial) * 1.0
    drive = slope - jnp.asarray(rate) * initial
    loss = rate * gap / drive  # 1 where the target is the limit of the relaxation
    relaxing = -jnp.log1p(-jnp.where(loss < 1, loss, 0.0)) / jnp.where(jnp.asarray(rate) == 0, 1.0, rate)
    epochs = jnp.where(jnp.asarray(rate) == 0, gap / drive, relaxing)
    return jnp.where(gap == 0, 0.0, jnp.where((drive * gap > 0) & (loss < 1), epochs, jnp.inf))


@dataclasses.dataclass(frozen=True)
class Growth:
    """What the paper expects of J^2 in a run: dJ^2/de = f(e) (A - rate J^2) with the factor f of a schedule.

    Attributes:
      initial: J^2 at the start.
      slope: A per epoch at the full learning rate; NaN if D is not known.
      rate: `relaxation_rate` at the full learning rate.
      schedule: of the learning rate.
      num_epochs: length of the run, over which the schedule goes.
    """

    initial: float
    slope: float
    rate: float = 0.0
    schedule: str = "constant"
    num_epochs: float | int = np.inf

    def at(self, elapsed: Float[np.ndarray, "*entries"]) -> Float[np.ndarray, "*entries"]:
        """J^2 when so many epochs at the full learning rate have elapsed."""
        return np.asarray(j_squared_after(np.asarray(elapsed, np.float32), self.initial, self.slope, self.rate))

    def trajectory(self) -> Float[np.ndarray, "entries"]:
        """J^2 after 0 ... num_epochs epochs."""
        return self.at(elapsed_epochs(self.schedule, np.arange(self.num_epochs + 1.0), self.num_epochs))

    def epochs_to(self, target: float) -> float:
        """The epoch at which J^2 comes to `target` from below; infinity if never, NaN if it starts above."""
        if not self.initial < target:
            return np.nan
        elapsed = float(epochs_to(target, self.initial, self.slope, self.rate))
        return epochs_until(self.schedule, elapsed, self.num_epochs) if np.isfinite(elapsed) else elapsed


def weight_decay_at_edge(constant_d: Scalar, num_samples: int, j_squared: Scalar = 1.0) -> Scalar:
    """lambda* = D / (4 S J*^2), the decay that balances the growth of J^2 at J*^2 (Eq. 9).

    >>> round(weight_decay_at_edge(10.96, 60_000), 7)
    4.57e-05
    """
    return constant_d / (4 * num_samples * j_squared)


@struct.dataclass
class ScalingVerdict:
    """Whether slopes follow A = D eta / ((1 - alpha) B).

    Attributes:
      constant_d: D, the median of A over the scale factor.
      standard_error: of D, by the median absolute deviation over the members.
      deviation: A / (D scale factor) - 1 of each member.
      follows: whether a member's deviation is within the tolerance.
    """

    constant_d: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    deviation: Float[Array, "*batch members"]
    follows: Bool[Array, "*batch members"]


def scaling_verdict(
    slope: ArrayLike | list[Any], scale: ArrayLike | list[Any], tolerance: float = 0.1
) -> ScalingVerdict:
    """Compares slopes with Eq. 5; D is a median, so a few members that do not follow do not change it.

    Args:
      slope: A of each member, per epoch, at least one. NaN is left out and does not follow. If D is not positive, no
        member follows, because Eq. 5 does not describe a J^2 that falls.
      scale: `scale_factor` of each member.
      tolerance: largest relative deviation that counts as following.

    Raises:
      ValueError: no members, or another number of slopes than of scale factors.

    >>> verdict = scaling_verdict(jnp.array([0.1, 0.2, 0.6]), jnp.array([0.01, 0.02, 0.04]))
    >>> print(verdict.constant_d, verdict.follows)
    10.0 [ True  True False]
    """
    slope, scale = jnp.asarray(slope), jnp.asarray(scale)
    if slope.ndim != 1 or slope.shape != scale.shape or slope.size == 0:
        raise ValueError(f"slope {list(slope.shape)}, scale {list(scale.shape)}: must be [members], at least one")
    constants = slope / scale
    constant_d = jnp.nanmedian(constants)
    # 1.4826 turns a median absolute deviation into a standard deviation, 1.2533 a mean's error into a median's
    width = 1.4826 * jnp.nanmedian(jnp.abs(constants - constant_d))
    deviation = constants / constant_d - 1
    error = 1.2533 * width / jnp.sqrt(jnp.isfinite(constants).sum())
    return ScalingVerdict(constant_d, error, deviation, (jnp.abs(deviation) <= tolerance) & (constant_d > 0))
