"""Fits over the runs of a sweep: lines, power laws, the decay that ends at the edge, and the best value."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Line(NamedTuple):
    """y = intercept + slope x by least squares, with standard errors."""

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float


def fit_line(x: Float[np.ndarray, "points"], y: Float[np.ndarray, "points"]) -> Line:
    """Fits a line to three points or more.

    >>> fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])).slope
    2.0
    """
    middle, height = x.mean(), y.mean()
    squares = (x - middle) @ (x - middle)
    slope = (x - middle) @ (y - height) / squares
    residual = y - height - slope * (x - middle)
    variance = residual @ residual / max(1, len(x) - 2)
    intercept_variance = variance * (1 / len(x) + middle**2 / squares)
    return Line(*map(float, (slope, height - slope * middle, np.sqrt(variance / squares), np.sqrt(intercept_variance))))


def power_law(x: Float[np.ndarray, "points"], y: Float[np.ndarray, "points"]) -> tuple[float, float]:
    """Exponent p of y ~ x^p by least squares in the logarithms, and its standard error; NaN points are left out.

    >>> exponent, error = power_law(np.array([1.0, 2.0, 4.0]), np.array([3.0, 12.0, 48.0]))
    >>> round(exponent, 6)
    2.0
    """
    known = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    if known.sum() < 3:
        return np.nan, np.nan
    line = fit_line(np.log(x[known]), np.log(y[known]))
    return line.slope, line.slope_error


def weight_decay_that_ends_at(
    target: float, weight_decay: Float[np.ndarray, "runs"], j_squared: Float[np.ndarray, "runs seeds"]
) -> Float[np.ndarray, "seeds"]:
    """lambda at which J^2 ends at `target`, interpolated in ln(lambda) and ln(J^2) for each seed.

    Args:
      target: J^2 > 0.
      weight_decay: rising; 0 is left out.
      j_squared: at the end; NaN of a run that diverged is left out.

    Returns:
      NaN where `target` lies outside what was measured.
    """
    result = []
    for ends in j_squared.T:
        known = (weight_decay > 0) & np.isfinite(ends)
        if not known.any():
            result.append(np.nan)
            continue
        logarithm, heights = np.log(weight_decay[known]), np.log(ends[known])
        rising = np.argsort(heights)
        inside = heights.min() <= np.log(target) <= heights.max()
        result.append(np.exp(np.interp(np.log(target), heights[rising], logarithm[rising])) if inside else np.nan)
    return np.array(result)


def best_of(values: Float[np.ndarray, "runs"], scores: Float[np.ndarray, "runs seeds"]) -> tuple[float, float, float]:
    """The value of the best mean score, and the range of those whose mean is within one standard error of it.

    The standard error is that of the difference of two means over the seeds; with one seed the range is the best alone.
    Runs of which a member diverged do not count.
    """
    mean, num_seeds = scores.mean(1), scores.shape[1]
    if not np.isfinite(mean).any():
        return np.nan, np.nan, np.nan
    best = int(np.nanargmax(mean))
    if num_seeds == 1:
        return float(values[best]), float(values[best]), float(values[best])
    variance = scores.var(1, ddof=1) / num_seeds
    near = values[mean[best] - mean <= np.sqrt(variance + variance[best])]
    return float(values[best]), float(near.min()), float(near.max())


def peak(weight_decay: Float[np.ndarray, "runs"], score: Float[np.ndarray, "runs"]) -> float:
    """The weight decay of the best score: the top of a parabola in ln(lambda) through the best and its neighbours.

    NaN where the best is the first or last of the grid, and with fewer than three positive decays.
    """
    positive = weight_decay > 0
    rising = np.argsort(weight_decay[positive])
    x, y = np.log(weight_decay[positive])[rising], score[positive][rising]
    if len(x) < 3 or not np.isfinite(y).all():
        return np.nan
    best = int(y.argmax())
    if best in (0, len(x) - 1):
        return np.nan
    near = slice(best - 1, best + 2)
    a, b, _ = np.polyfit(x[near] - x[best], y[near], 2)
    return float(np.exp(x[best] - b / (2 * a)))


def deviation(values: Float[np.ndarray, "*runs seeds"]) -> Float[np.ndarray, "*runs"]:
    """Standard deviation over the seeds (n - 1), 0 for one seed alone."""
    return np.asarray(values.std(-1, ddof=1 if values.shape[-1] > 1 else 0))


def behind(scores: Float[np.ndarray, "seeds"], best: Float[np.ndarray, "seeds"]) -> float:
    """By how many standard errors of the difference the mean score is behind that of the best; NaN for one seed.

    >>> round(behind(np.array([1.0, 3.0]), np.array([2.0, 4.0])), 3)
    0.707
    """
    if len(scores) < 2:
        return np.nan
    difference = best.mean() - scores.mean()
    error = np.sqrt((scores.var(ddof=1) + best.var(ddof=1)) / len(scores))
    if error == 0:
        return float(np.sign(difference) * np.inf) if difference else 0.0
    return float(difference / error)
