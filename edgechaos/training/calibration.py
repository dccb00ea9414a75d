"""How sure a classifier is of itself: the inverse temperature that its logits lack, and the loss with it."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from edgechaos.data.dataset import AnyArray

LEAST, LARGEST = 1e-3, 1e3  # inverse temperatures; one of them stands for an optimum at 0 or at infinity

_MOST_STEPS = 40
_TOLERANCE = 2e-6  # of the logarithm
_FINITE = 1e30  # what an infinite logit counts as


@struct.dataclass
class Calibration:
    """What a temperature makes of logits.

    Attributes:
      loss: cross-entropy with an inverse temperature fitted on one half of the samples and judged on the other, the
        mean of both ways round.
      inverse_temperature: mean of the two fits, in [0.001, 1000]; a fit without a finite optimum is the boundary.
      logit_rms: root mean square of the logits as they are.
    """

    loss: Float[Array, "*batch"]
    inverse_temperature: Float[Array, "*batch"]
    logit_rms: Float[Array, "*batch"]


def calibrate(logits: Float[AnyArray, "samples classes"], labels: Int[AnyArray, "samples"]) -> Calibration:
    """Temperature scaling (Guo et al. 2017) by cross-validation on two halves, the even and the odd samples.

    A single sample is both halves. Infinite logits count as 1e30, NaN stays NaN.

    >>> logits = jnp.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]])
    >>> calibration = calibrate(logits, jnp.array([0, 0, 1, 1, 1, 1]))
    >>> print(calibration.inverse_temperature.round(4), (4 * calibration.inverse_temperature).round(4))
    0.1733 0.6931
    """
    logits, labels = jnp.clip(jnp.asarray(logits), -_FINITE, _FINITE), jnp.asarray(labels)
    even, odd = (slice(0, None, 2), slice(1, None, 2)) if len(labels) > 1 else (slice(None), slice(None))
    halves = [(logits[half], labels[half]) for half in (even, odd)]
    inverse = [fit_inverse_temperature(*half) for half in halves]
    losses = [scaled_loss(inverse[1 - index], *half) for index, half in enumerate(halves)]
    largest = jnp.maximum(jnp.abs(logits).max(), jnp.finfo(logits.dtype).tiny)
    rms = largest * jnp.sqrt(jnp.mean((logits / largest) ** 2))  # squares of the logits themselves may overflow
    return Calibration(jnp.mean(jnp.stack(losses)), jnp.mean(jnp.stack(inverse)), rms)


def scaled_loss(
    inverse_temperature: Float[Array, ""], logits: Float[Array, "samples classes"], labels: Int[Array, "samples"]
) -> Float[Array, ""]:
    """Mean cross-entropy of the logits times the inverse temperature."""
    return jax.nn.logsumexp(inverse_temperature * _gaps(logits, labels), axis=0).mean()


def fit_inverse_temperature(logits: Float[Array, "samples classes"], labels: Int[Array, "samples"]) -> Float[Array, ""]:
    """The inverse temperature in [0.001, 1000] of least mean cross-entropy; 1 where all are as good.

    The loss is convex in it. Newton's method in its logarithm, kept between the points where the slope is known to be
    negative and positive.
    """
    gaps = _gaps(logits, labels)
    least, largest = jnp.log(jnp.array(LEAST, gaps.dtype)), jnp.log(jnp.array(LARGEST, gaps.dtype))

    def slopes(logarithm: Array) -> tuple[Array, Array]:
        """First and second derivative of the loss with respect to the logarithm."""
        scaled = jnp.exp(logarithm) * gaps
        shares = jax.nn.softmax(scaled, axis=0)
        first = (shares * scaled).sum(0)
        return first.mean(), (shares * (scaled - first) ** 2).sum(0).mean() + first.mean()

    def is_open(state: tuple) -> Array:
        _, low, high, change, step = state
        return (jnp.abs(change) > _TOLERANCE) & (high > low) & (step < _MOST_STEPS)

    def iterate(state: tuple) -> tuple:
        here, low, high, _, step = state
        first, second = slopes(here)
        low, high = jnp.where(first <= 0, here, low), jnp.where(first >= 0, here, high)
        newton = here - first / jnp.where(second > 0, second, jnp.nan)
        there = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
        return there, low, high, there - here, step + 1

    at_least, at_largest = slopes(least)[0], slopes(largest)[0]
    # at a boundary there is nothing to look for
    low = jnp.where((at_least < 0) & (at_largest <= 0), largest, least)
    high = jnp.where((at_least >= 0) & (at_largest > 0), least, largest)
    here = jnp.clip(jnp.zeros_like(least), low, high)
    start = (here, low, high, jnp.ones_like(least), jnp.zeros((), jnp.int32))
    found = jax.lax.while_loop(is_open, iterate, start)[0]
    # a boundary exactly, whatever rounding makes of its logarithm
    return jnp.where(found <= least, LEAST, jnp.where(found >= largest, LARGEST, jnp.exp(found))).astype(gaps.dtype)


def _gaps(logits: Float[Array, "samples classes"], labels: Int[Array, "samples"]) -> Float[Array, "classes samples"]:
    """Logits less that of the label, whose log-sum-exp is the cross-entropy; classes first, so that sums vectorize."""
    return (logits - jnp.take_along_axis(logits, labels[:, None], axis=-1)).T
