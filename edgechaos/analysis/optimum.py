"""Where a quantity is least: along runs whose J^2 grows, and among runs that end with a J^2 of their own."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from edgechaos.analysis.history import History

QUANTITIES = {
    "loss": "raw test loss",
    "calibrated_loss": "calibrated test loss",
    "error_rate": "test error rate",
}
_SMOOTHED, _LEAST_WIDTH = 45, 5  # a run of Fig. 2's 501 epochs is smoothed over 11
_FLAT = 1.01  # a minimum has no place within 1 % of it
_RESAMPLES = 1000


class Optimum(NamedTuple):
    """Where a smoothed quantity is least along runs that differ in the seed.

    Attributes:
      j_squared: J^2 at the least mean over the seeds; NaN if the start or the end is within 1 % of the least, which may
        then lie beyond.
      low: of the 95 % bootstrap interval of that place, over the seeds; NaN for one seed, or without a place.
      high: of the same.
      least: smallest J^2 at which the mean is within 1 % of its least.
      largest: largest such J^2.
      value: the least mean.
    """

    j_squared: float
    low: float
    high: float
    least: float
    largest: float
    value: float


def values_of(history: History, quantity: str) -> Float[np.ndarray, "members entries"]:
    """One of QUANTITIES; NaN where a history is older than it."""
    if quantity == "error_rate":
        return 1 - history["test_accuracy"]
    name = quantity.replace("loss", "test_loss")
    return history.arrays.get(name, np.full_like(history["test_loss"], np.nan))


def smoothed(values: Float[np.ndarray, "*runs entries"]) -> Float[np.ndarray, "*runs shorter"]:
    """Moving mean over a forty-fifth of the entries, at least five, an odd number; only where the window is whole.

    >>> smoothed(np.arange(7.0))
    array([2., 3., 4.])
    """
    entries = values.shape[-1]
    width = min(max(_LEAST_WIDTH, entries // _SMOOTHED), entries)
    width -= 1 - width % 2
    return np.lib.stride_tricks.sliding_window_view(values, width, axis=-1).mean(-1)


def along_runs(
    j_squared: Float[np.ndarray, "seeds entries"], values: Float[np.ndarray, "seeds entries"], seed: int = 0
) -> Optimum:
    """The least value along runs, and J^2 there, by the mean of the smoothed trajectories over the seeds.

    Args:
      j_squared: of each run after each epoch.
      values: what is to be least.
      seed: of the bootstrap, which draws whole runs.
    """
    place, course = smoothed(j_squared), smoothed(values)
    if not np.isfinite(course).all():
        return Optimum(*[np.nan] * len(Optimum._fields))
    mean, where = course.mean(0), place.mean(0)
    is_flat = mean <= _FLAT * mean.min()
    has_place = not (is_flat[0] or is_flat[-1])
    low, high = _bootstrap(place, course, seed) if has_place and len(course) > 1 else (np.nan, np.nan)
    return Optimum(
        j_squared=float(where[mean.argmin()]) if has_place else np.nan,
        low=low,
        high=high,
        least=float(where[is_flat].min()),
        largest=float(where[is_flat].max()),
        value=float(mean.min()),
    )


def _bootstrap(
    place: Float[np.ndarray, "seeds entries"], course: Float[np.ndarray, "seeds entries"], seed: int
) -> tuple[float, float]:
    """The 95 % interval of J^2 at the least mean when the seeds are drawn anew."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(course), size=len(course))
        found.append(place[drawn].mean(0)[course[drawn].mean(0).argmin()])
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
