"""The edge of finite networks: J_c(N) of draws, its approach to 1, and the collapse of exponents."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

from edgechaos.dynamics.attractors import is_chaotic

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
ARRAYS = {
    "size": "[size] N",
    "scaled_j": "[place] (J - 1) sqrt(N), the same for all sizes",
    "exponent": "[size, draw, place] largest Lyapunov exponent; NaN for draws that a size does not have",
    "standard_error": "[size, draw, place] by batch means",
    "early_distance": "[size, draw, place] |x - x'| over that at the start after the watched iterations",
    "distance": "[size, draw, place] |x - x'| / sqrt(N) after all iterations",
    "predicted_exponent": "[size, place] of the mean-field theory",
    "predicted_distance": "[size, place] of the mean-field theory",
}
NUMBERS = {
    "critical_j": "J_c of this N, above which draws are chaotic: mean over the draws",
    "critical_j_error": "its standard error",
    "unstable_j": "J at which the state 0 loses its stability: the exponent is 0",
    "watched_j": "J beyond which a small difference has grown after the watched iterations",
    "watched_j_error": "its standard error",
    "distance_j": "J beyond which the distance at the end is above a tenth of the mean-field one",
    "longest_relaxation": "largest 1 / |median exponent| over the places, iterations",
    "approach_exponent": "p of J_c(N) - 1 ~ N^-p; predicted: 1/2, the width of the edge of the spectrum",
    "approach_exponent_error": "its standard error",
    "approach": "(J_c - 1) sqrt(N), weighted mean over the sizes",
    "approach_error": "its standard error",
    "collapse_range": "largest range of the shares of chaotic draws at one (J - 1) sqrt(N) over the sizes",
    "excess": "mean measured over predicted exponent at (J - 1) sqrt(N) > 6",
}
_OF_A_SIZE = (
    *("critical_j", "critical_j_error", "unstable_j", "watched_j", "watched_j_error", "distance_j"),
    "longest_relaxation",
)


def expect(size: Shaped[np.ndarray, "sizes"], theory: Mapping[str, Float[np.ndarray, "sizes"]]) -> dict[str, float]:
    """What the theory of `theory.finite_size` says.

    Args:
      size: N.
      theory: critical_j, unstable_j and watched_j of each size.
    """
    numbers: dict[str, float] = {}
    for index, n in enumerate(size):
        known = {name: float(values[index]) for name, values in theory.items()}
        numbers |= {f"{name}_at_{n}": known.get(name, np.nan) for name in _OF_A_SIZE}
    fitted = {"approach_exponent": 0.5, "approach_exponent_error": np.nan, "approach": np.nan}
    return numbers | fitted | {"approach_error": np.nan, "collapse_range": 0.0, "excess": 1.0}


def boundary(
    holds: Bool[np.ndarray, "draws places"], j: Float[np.ndarray, "places"]
) -> tuple[float, float, Float[np.ndarray, "draws"]]:
    """J above which something holds: of each draw the first place plus the stretch on which it does not hold.

    For a property that begins at one J that is this J, half a place off at most; for one that comes and goes it is the
    J at which as much of it lies below as is missing above.

    Returns:
      Mean over the draws, its standard error, and J of each draw.

    >>> holds = np.array([[False, False, True, True], [False, True, True, True]])
    >>> round(boundary(holds, np.array([1.0, 1.2, 1.4, 1.6]))[0], 2)
    1.2
    """
    spacing = j[1] - j[0]
    of_draws = j[0] - spacing / 2 + spacing * (~holds).sum(1)
    error = of_draws.std(ddof=1) / len(of_draws) ** 0.5 if len(of_draws) > 1 else np.nan
    return float(of_draws.mean()), float(error), of_draws


def chaotic(arrays: Arrays, index: int, num_iterations: int) -> Bool[np.ndarray, "draws places"]:
    """Which draws of a size are chaotic at which place."""
    draws = np.isfinite(arrays["exponent"][index]).any(1)
    exponent, error = (arrays[name][index][draws] for name in ("exponent", "standard_error"))
    return np.asarray(is_chaotic(exponent, error, num_iterations))


def compare(
    arrays: Arrays, num_iterations: Shaped[np.ndarray, "sizes"], approach: float
) -> dict[str, Float[np.ndarray, "1"]]:
    """The numbers of `NUMBERS`, over all draws together.

    Args:
      arrays: those of `ARRAYS`.
      num_iterations: that the exponents of each size are averaged over.
      approach: (J_c - 1) sqrt(N) of the theory that `excess` holds the exponents against.
    """
    numbers: dict[str, float] = {}
    shares, found = [], []
    for index, n in enumerate(arrays["size"]):
        draws = np.isfinite(arrays["exponent"][index]).any(1)
        j = 1 + arrays["scaled_j"] / n**0.5
        is_chaos = chaotic(arrays, index, int(num_iterations[index]))
        critical, error, _ = boundary(is_chaos, j)
        watched, watched_error, _ = boundary(arrays["early_distance"][index][draws] > 1, j)
        median = np.median(arrays["exponent"][index][draws], axis=0)
        apart = arrays["distance"][index][draws] > 0.1 * arrays["predicted_distance"][index]
        apart &= arrays["predicted_distance"][index] > 0
        numbers |= {f"critical_j_at_{n}": critical, f"critical_j_error_at_{n}": error}
        numbers |= {f"unstable_j_at_{n}": unstable(arrays["exponent"][index][draws], j)}
        numbers |= {f"watched_j_at_{n}": watched, f"watched_j_error_at_{n}": watched_error}
        numbers |= {f"distance_j_at_{n}": boundary(apart, j)[0]}
        numbers |= {f"longest_relaxation_at_{n}": float((1 / np.abs(median)).max())}
        shares.append(is_chaos.mean(0))
        found.append((float(n), critical - 1, error))
    n, beyond, error = np.array(found).T
    numbers |= law_of_approach(n, beyond, error)
    numbers["collapse_range"] = float(np.ptp(np.array(shares), axis=0).max()) if len(shares) > 1 else np.nan
    numbers["excess"] = excess(arrays, approach)
    return {name: np.array([value]) for name, value in numbers.items()}


def law_of_approach(
    size: Float[np.ndarray, "sizes"], beyond: Float[np.ndarray, "sizes"], error: Float[np.ndarray, "sizes"]
) -> dict[str, float]:
    """p of J_c - 1 ~ N^-p by a weighted line in the logarithms, and (J_c - 1) sqrt(N); NaN for fewer than 3 sizes."""
    scaled, scaled_error = beyond * size**0.5, error * size**0.5
    known = np.isfinite(error) & (error > 0) & (beyond > 0)
    if known.sum() < 3:
        nothing = ("approach_exponent", "approach_exponent_error", "approach_error")
        return {**dict.fromkeys(nothing, np.nan), "approach": float(scaled.mean())}
    weight = 1 / scaled_error[known] ** 2
    x, y, relative = np.log(size[known]), np.log(beyond[known]), (error / beyond)[known]
    (power, _), covariance = np.polyfit(x, y, 1, w=1 / relative, cov="unscaled")
    mean = (weight * scaled[known]).sum() / weight.sum()
    return {
        "approach_exponent": -float(power),
        "approach_exponent_error": float(covariance[0, 0] ** 0.5),
        "approach": float(mean),
        "approach_error": float(weight.sum() ** -0.5),
    }


def excess(arrays: Arrays, approach: float) -> float:
    """Mean exponent over that of the theory where (J - 1) sqrt(N) > 6; NaN if there is no such place."""
    scaled = arrays["scaled_j"]
    far = scaled > max(6.0, approach)
    if not far.any():
        return np.nan
    theory = arrays["predicted_exponent"][:, far] * (1 - (approach / scaled[far]) ** 2)
    return float((np.nanmean(arrays["exponent"], axis=1)[:, far] / theory).mean())


def unstable(exponent: Float[np.ndarray, "draws places"], j: Float[np.ndarray, "places"]) -> float:
    """Mean J at which the state 0 loses its stability: at rest the exponent is ln J less the logarithm of that J."""
    at_rest = exponent[:, 0] < 0
    return float((j[0] * np.exp(-exponent[at_rest, 0])).mean()) if at_rest.any() else np.nan
