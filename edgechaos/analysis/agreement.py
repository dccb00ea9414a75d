"""Theory against simulation: what Eq. 3 says of a phase diagram, and how far the simulated one says the same."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float, Shaped

from edgechaos.theory import meanfield, replicas
from edgechaos.theory.activations import Activation

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
BySeed = dict[str, Float[np.ndarray, "seeds"]]

_NEAR_EDGE = 0.1  # of |chi - 1|
_BOUNDARIES = (-0.5, 0.0, 0.5, 1.25, 1.5)  # J0/J at which the boundary is read off
ARRAYS = {
    "j0_over_j": "[column] J0/J",
    "inverse_j": "[row] 1/J",
    "distance": "[seed, row, column] |x - x'|, mean of the last fifth of the iterations",
    "iterations": "[seed, row, column] after which the cell left its slot",
    "settled": "[seed, row, column] whether the distance was steady, or 0, when it left",
    "chi": "[row, column] left-hand side of Eq. 3",
    "predicted": "[row, column] predicted |x - x'| / sqrt(N)",
    "converged": "[row, column] whether the theory has a stable fixed point",
    "edge": "[column] J at the edge of chaos",
    "cuts": "[cut] J0/J of the cuts",
    "cut_inverse_j": "[point] 1/J along a cut",
    "exponent": "[seed, cut, point] measured Lyapunov exponent",
    "exponent_error": "[seed, cut, point] its standard error by batch means",
    "predicted_exponent": "[cut, point] what the theory predicts",
}
NUMBERS = {
    "agreement": "share of cells on which simulation (distance above that at the start) and chi > 1 agree",
    "agreement_away_from_edge": "the same where |chi - 1| > 0.1",
    "median_distance_error": "median relative error of the predicted distance where chi > 1.1",
    "unsettled_share": "share of cells whose distance was neither 0 nor steady at the end",
    "median_exponent_error": "median absolute error of the predicted Lyapunov exponent along the cuts",
    "boundary_j": "J in the column of that J0/J at which the distance ends above that at the start",
    "zero_exponent_j": "J on the cut of that J0/J at which the Lyapunov exponent is 0",
}
# what perfect agreement gives
_PERFECT = {
    "agreement": 1.0,
    "agreement_away_from_edge": 1.0,
    "median_distance_error": 0.0,
    "unsettled_share": 0.0,
    "median_exponent_error": 0.0,
}


def theory_of(
    j0_over_j: Float[np.ndarray, "columns"], inverse_j: Float[np.ndarray, "rows"], activation: Activation = "tanh"
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Both axes, and in float64 chi, distance / sqrt(N) and convergence of each cell, and the edge of each column."""
    j = np.repeat(1 / inverse_j[:, None], len(j0_over_j), axis=1)
    with jax.enable_x64(True):
        return {
            "j0_over_j": j0_over_j,
            "inverse_j": inverse_j,
            "chi": np.asarray(meanfield.chi(j0_over_j * j, j, activation)),
            "predicted": np.asarray(replicas.predicted_distance(j0_over_j * j, j, activation)),
            "converged": np.asarray(meanfield.fixed_point(j0_over_j * j, j, activation).converged),
            "edge": np.asarray(meanfield.edge_of_chaos(j0_over_j, activation)),
        }


def expect(arrays: Arrays) -> dict[str, float]:
    """The numbers of `compare` if the simulation agrees, from j0_over_j, edge [column] and cuts."""
    columns, edge = arrays["j0_over_j"], arrays["edge"]
    boundaries = {name: float(edge[column]) for name, column in _boundary_columns(columns).items()}
    zeros = {_zero_name(ratio): 1 / float(np.interp(ratio, columns, 1 / edge)) for ratio in arrays["cuts"]}
    return {**_PERFECT, **boundaries, **zeros}


def compare(arrays: Arrays, num_neurons: int, initial_distance: float) -> BySeed:
    """Shares of cells that agree, errors of distance and exponent, the share that did not settle, and J at the edge.

    Args:
      arrays: those of `ARRAYS`.
      num_neurons: N.
      initial_distance: |x - x'| at the start; a cell is chaotic if it ends above it.
    """
    chi = arrays["chi"]
    agree = (arrays["distance"] > initial_distance) == (chi > 1)
    away, deep = np.abs(chi - 1) > _NEAR_EDGE, chi > 1 + _NEAR_EDGE
    error = np.abs(arrays["distance"][:, deep] / num_neurons**0.5 / arrays["predicted"][deep] - 1)
    exponent_error = np.abs(arrays["exponent"] - arrays["predicted_exponent"])
    return {
        "agreement": agree.mean((1, 2)),
        "agreement_away_from_edge": agree[:, away].mean(1),
        "median_distance_error": np.median(error, axis=1),
        "unsettled_share": (~arrays["settled"]).mean((1, 2)),
        "median_exponent_error": np.median(exponent_error, axis=(1, 2)),
        **boundaries(arrays, initial_distance),
        **zero_exponents(arrays),
    }


def boundaries(arrays: Arrays, initial_distance: float) -> BySeed:
    """J at which the distance ends above that at the start, in the columns nearest to some J0/J.

    The rows must be evenly spaced from their spacing on; the boundary lies half a cell beyond the last chaotic row.
    """
    spacing = arrays["inverse_j"][0]
    chaotic = (arrays["distance"] > initial_distance).sum(1)
    columns = _boundary_columns(arrays["j0_over_j"])
    return {name: 1 / (spacing * (chaotic[:, column] + 0.5)) for name, column in columns.items()}


def _boundary_columns(j0_over_j: Float[np.ndarray, "columns"]) -> dict[str, int]:
    """Where the boundary is read off, by the name of the number."""
    nearest = [int(np.abs(j0_over_j - ratio).argmin()) for ratio in _BOUNDARIES]
    return {f"boundary_j_at_{j0_over_j[column]:.3g}": column for column in nearest}


def zero_exponents(arrays: Arrays) -> BySeed:
    """J at which the measured Lyapunov exponent, interpolated along a cut, changes its sign; NaN where it does not."""
    return {
        _zero_name(ratio): np.array(
            [_crossing(arrays["cut_inverse_j"], exponent[cut]) for exponent in arrays["exponent"]]
        )
        for cut, ratio in enumerate(arrays["cuts"])
    }


def _zero_name(ratio: float) -> str:
    """The name of a cut's number."""
    return f"zero_exponent_j_at_{ratio:.3g}"


def _crossing(inverse_j: Float[np.ndarray, "points"], exponent: Float[np.ndarray, "points"]) -> float:
    """J at the last zero of a curve that falls with 1/J."""
    positive = np.flatnonzero(exponent > 0)
    if not len(positive) or positive[-1] + 1 == len(exponent):
        return np.nan
    before = int(positive[-1])
    share = exponent[before] / (exponent[before] - exponent[before + 1])
    return float(1 / (inverse_j[before] + share * (inverse_j[before + 1] - inverse_j[before])))
