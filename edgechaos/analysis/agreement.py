"""Simulation against theory: how far the simulated phase diagram and Eq. 3 say the same.

Each function returns name -> (prediction, measurement [seed]).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

Comparison = dict[str, tuple[float, Float[np.ndarray, "seeds"]]]

_NEAR_EDGE = 0.1  # of |chi - 1|
_BOUNDARIES = (-0.5, 0.0, 0.5, 1.25, 1.5)  # J0/J at which the boundary is read off


def compare(arrays: Mapping[str, np.ndarray], num_neurons: int, initial_distance: float) -> Comparison:
    """Shares of cells that agree, errors of distance and exponent, and the share that did not settle.

    Args:
      arrays: as `experiments.fig1` writes them: distance [seed, row, column], settled, chi [row, column], predicted,
        exponent [seed, cut, point], predicted_exponent [cut, point].
      num_neurons: N.
      initial_distance: |x - x'| at the start; a cell is chaotic if it ends above it.
    """
    chi = arrays["chi"]
    agree = (arrays["distance"] > initial_distance) == (chi > 1)
    away, deep = np.abs(chi - 1) > _NEAR_EDGE, chi > 1 + _NEAR_EDGE
    error = np.abs(arrays["distance"][:, deep] / num_neurons**0.5 / arrays["predicted"][deep] - 1)
    exponent_error = np.abs(arrays["exponent"] - arrays["predicted_exponent"])
    return {
        "agreement": (1.0, agree.mean((1, 2))),
        "agreement_away_from_edge": (1.0, agree[:, away].mean(1)),
        "median_distance_error": (0.0, np.median(error, axis=1)),
        "unsettled_share": (0.0, (~arrays["settled"]).mean((1, 2))),
        "median_exponent_error": (0.0, np.median(exponent_error, axis=(1, 2))),
    }


def boundaries(arrays: Mapping[str, np.ndarray], initial_distance: float) -> Comparison:
    """J at which the distance ends above that at the start, in the columns nearest to some J0/J.

    The rows must be evenly spaced from their spacing on; the boundary lies half a cell beyond the last chaotic row.
    """
    columns, spacing = arrays["j0_over_j"], arrays["inverse_j"][0]
    result = {}
    for ratio in _BOUNDARIES:
        column = int(np.abs(columns - ratio).argmin())
        chaotic = (arrays["distance"][:, :, column] > initial_distance).sum(1)
        name = f"boundary_j_at_{columns[column]:.3g}"
        result[name] = float(arrays["edge"][column]), 1 / (spacing * (chaotic + 0.5))
    return result


def zero_exponents(arrays: Mapping[str, np.ndarray]) -> Comparison:
    """J at which the measured Lyapunov exponent, interpolated along a cut, changes its sign; NaN where it does not."""
    inverse = arrays["cut_inverse_j"]
    result = {}
    for cut, ratio in enumerate(arrays["cuts"]):
        measured = np.array([_crossing(inverse, exponent[cut]) for exponent in arrays["exponent"]])
        expected = 1 / float(np.interp(ratio, arrays["j0_over_j"], 1 / arrays["edge"]))
        result[f"zero_exponent_j_at_{ratio:.3g}"] = expected, measured
    return result


def _crossing(inverse_j: Float[np.ndarray, "points"], exponent: Float[np.ndarray, "points"]) -> float:
    """J at the last zero of a curve that falls with 1/J."""
    positive = np.flatnonzero(exponent > 0)
    if not len(positive) or positive[-1] + 1 == len(exponent):
        return np.nan
    before = int(positive[-1])
    share = exponent[before] / (exponent[before] - exponent[before + 1])
    return float(1 / (inverse_j[before] + share * (inverse_j[before + 1] - inverse_j[before])))
