"""Whether a measurement bears a claim out: its 95 % interval against a range that the claim allows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc

REPRODUCED, CONTRADICTED, UNDECIDED, MISSING = "reproduced", "contradicted", "undecided", "not measured"
_NORMAL = 1.959964  # 97.5 % of a normal distribution lie below
_MOST_SEEDS = 1000


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
      mean: over the seeds; NaN if there is no number.
      low: end of the interval; -infinity if one seed without an error of its own is all there is.
      high: the other end.
      num_seeds: for which there is a number.
    """

    mean: float
    low: float
    high: float
    num_seeds: int


def interval(values: Sequence[float], standard_error: float = np.nan) -> Interval:
    """The 95 % interval of a mean over seeds, by Student's distribution.

    Args:
      values: one for each seed; NaN for one without a number.
      standard_error: of a single value, such as a fit's; the interval is then 1.96 of it on both sides.

    >>> round(interval([1.0, 2.0, 3.0]).high, 3)
    4.484
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(known.mean())
    if len(known) == 1:
        half = _NORMAL * standard_error if np.isfinite(standard_error) else np.inf
    else:
        half = student(len(known) - 1) * float(known.std(ddof=1)) / len(known) ** 0.5
    return Interval(mean, mean - half, mean + half, len(known))


def student(freedom: int) -> float:
    """Below it lie 97.5 % of Student's distribution with so many degrees of freedom, by bisection."""
    low, high = 1.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        beyond = float(betainc(freedom / 2, 0.5, jnp.float32(freedom / (freedom + middle**2))))  # on both sides
        low, high = (middle, high) if beyond > 0.05 else (low, middle)
    return (low + high) / 2


def verdict(found: Interval, allowed: tuple[float, float]) -> str:
    """REPRODUCED if the interval lies wholly within what a claim allows, CONTRADICTED if outside, else UNDECIDED.

    >>> verdict(interval([0.98, 1.0, 1.01]), (0.9, 1.1))
    'reproduced'
    """
    if np.isnan(found.mean):
        return MISSING
    if allowed[0] <= found.low and found.high <= allowed[1]:
        return REPRODUCED
    if found.high < allowed[0] or found.low > allowed[1]:
        return CONTRADICTED
    return UNDECIDED


def seeds_to_decide(values: Sequence[float], allowed: tuple[float, float]) -> int | None:
    """How many seeds would decide an undecided claim, if mean and spread stayed as they are.

    Returns:
      None if there are fewer than two, or more than 1,000 would be needed.
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return None
    mean, deviation = float(known.mean()), float(known.std(ddof=1))
    gap = min(abs(mean - end) for end in allowed)
    return next((n for n in range(2, _MOST_SEEDS) if student(n - 1) * deviation / n**0.5 <= gap), None)
