"""How a positive number changes with depth: exponentially, by a stretched exponential, by a power law, or not."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

FLAT, EXPONENTIAL, STRETCHED, POWER, UNDECIDED = (
    "flat",
    "exponential",
    "stretched exponential",
    "power law",
    "undecided",
)
_FEWEST = 5  # growths, for which the corrected criterion of Akaike is defined
_DECISIVE = 6.0  # difference of the criterion; the worse law then has a likelihood of exp(-3) = 5 % of the better one's
_STANDARD_ERRORS = 2
_FLAT_FACTOR = 2.0  # a number is called flat if a change by this factor over the whole depth is excluded
_SPAN = 4  # a power law is one if depth + offset grows by at least about this factor, else it is as good as exponential
_SMALLEST_OFFSET, _OFFSETS = 0.25, 40


@dataclasses.dataclass(frozen=True)
class DepthLaw:
    """The result of `depth_law`.

    Attributes:
      law: "flat", "exponential", "stretched exponential", "power law" or "undecided".
      value: rate per block, factor a of exp(a sqrt(depth)), or exponent of the depth; NaN if undecided.
      error: standard error of `value`.
      candidates: the laws that cannot be told apart, if undecided; empty if there are fewer than 5 blocks.
    """

    law: str
    value: float = np.nan
    error: float = np.nan
    candidates: tuple["DepthLaw", ...] = ()

    def __str__(self) -> str:
        """One line."""
        if self.law == UNDECIDED:
            several = " or ".join(map(str, self.candidates))
            return f"{self.law} ({several or f'fewer than {_FEWEST} blocks, or a number that is 0 or not known'})"
        word = {POWER: "exponent", STRETCHED: "factor of the root"}.get(self.law, "rate")
        return f"{self.law}, {word} {self.value:.4g} +- {self.error:.2g}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, as JSON takes them."""
        value, error = (float(number) if np.isfinite(number) else None for number in (self.value, self.error))
        return {
            "law": self.law,
            "value": value,
            "error": error,
            "candidates": [one.to_dict() for one in self.candidates],
        }


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A law fitted to the growths, and Akaike's criterion of it."""

    law: DepthLaw
    criterion: float


def depth_law(
    logarithms: Float[np.ndarray, "rows"], deviations: Float[np.ndarray, "rows draws"] | None = None
) -> DepthLaw:
    """Which law the growth ln y_(l+1) - ln y_l per block follows: r, a (sqrt(l + 1) - sqrt(l)), or z ln((l + 1) / l).

    Each law is fitted by least squares to the growths, whose scatter over the blocks measures the noise; l counts from
    an offset that is fitted too, up to a quarter of the depth. The best law is the answer if Akaike's criterion,
    corrected for few points, is better than that of each other one by 6. "flat" means that the mean growth is within
    two standard errors of 0, no law is better by 6 than none, and a factor of 2 over the whole depth is excluded.
    Laws are compared with one another only: a depth at which the network changes (a transient, say) is to be left out.

    Args:
      logarithms: of the number, row 0 being the input.
      deviations: relative deviation of each independent draw (of a sample, or a probe) from the mean, whose scatter
        adds to the errors.

    Returns:
      The law with its number and standard error; undecided also where a logarithm is not finite.

    >>> print(depth_law(0.1 * np.arange(30.0) + 0.01 * np.cos(np.arange(30.0))))
    exponential, rate 0.0994 +- 0.0013
    >>> print(depth_law(2 * np.log(1 + np.arange(30.0))).law)
    power law
    """
    logarithms = np.asarray(logarithms, np.float64)
    if len(logarithms) <= _FEWEST or not np.isfinite(logarithms).all():
        return DepthLaw(UNDECIDED)
    growths = np.diff(logarithms)
    draws = np.zeros((len(growths), 1)) if deviations is None else np.diff(np.asarray(deviations, np.float64), axis=0)
    none = _criterion(growths, _floor(growths, draws), 0)
    fits = [_fit(law, growths, draws) for law in (EXPONENTIAL, STRETCHED, POWER)]
    return _decide(none, fits, len(growths))


def _decide(none: float, fits: list[_Fit], num_growths: int) -> DepthLaw:
    """The verdict from the criteria of no growth and of each law."""
    best = min(fits, key=lambda fit: fit.criterion)
    constant = fits[0].law
    if none < best.criterion + _DECISIVE and abs(constant.value) <= _STANDARD_ERRORS * constant.error:
        largest = num_growths * (abs(constant.value) + _STANDARD_ERRORS * constant.error)
        if largest < np.log(_FLAT_FACTOR):
            return dataclasses.replace(constant, law=FLAT)
        return DepthLaw(UNDECIDED, candidates=(dataclasses.replace(constant, law=FLAT), best.law))
    close = [fit.law for fit in fits if fit.criterion < best.criterion + _DECISIVE]
    return close[0] if len(close) == 1 else DepthLaw(UNDECIDED, candidates=tuple(close))


def _floor(growths: Float[np.ndarray, "n"], draws: Float[np.ndarray, "n draws"]) -> float:
    """Variance of a growth by the draws, and by rounding, below which no fit can be said to be better."""
    several = draws.shape[1] > 1
    sampled = draws.var(axis=1, ddof=1).mean() / draws.shape[1] if several else 0.0
    return float(sampled + (1e-12 * (1 + np.abs(growths).max())) ** 2)


def _criterion(residuals: Float[np.ndarray, "n"], floor: float, num_parameters: int) -> float:
    """Akaike's criterion, corrected for few points, with the variance as one more parameter."""
    count, k = len(residuals), num_parameters + 1
    variance = (residuals**2).mean() + floor
    return float(count * np.log(variance) + 2 * k + 2 * k * (k + 1) / max(count - k - 1, 0.5))


def _shapes(law: str, depths: Float[np.ndarray, "n"]) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Growth of a law with factor 1, from depth to depth + 1, and its derivative by the depth."""
    ends: dict[str, tuple[Callable, Callable]] = {
        EXPONENTIAL: (lambda x: x, np.ones_like),
        STRETCHED: (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
        POWER: (np.log, lambda x: 1 / x),
    }
    value, slope = ends[law]
    return value(depths + 1) - value(depths), slope(depths + 1) - slope(depths)


def _fit(law: str, growths: Float[np.ndarray, "n"], draws: Float[np.ndarray, "n draws"]) -> _Fit:
    """Least squares over the factor and, except for the exponential, the offset of the depth."""
    count, floor = len(growths), _floor(growths, draws)

    def at(offset: float) -> tuple[np.ndarray, float, np.ndarray]:
        shape, slope = _shapes(law, np.arange(count) + offset)
        factor = float(shape @ growths / (shape @ shape))
        return np.stack([shape, factor * slope], axis=1), factor, growths - factor * shape

    def loss(offset: float) -> float:
        return float((at(offset)[2] ** 2).sum())

    offset = 0.0 if law == EXPONENTIAL else _best_offset(loss, max(count / _SPAN, 2 * _SMALLEST_OFFSET))
    columns, factor, residuals = at(offset)
    columns = columns[:, :1] if law == EXPONENTIAL else columns
    weights = np.linalg.pinv(columns)[0]  # the factor is weights @ growths, with the offset fitted beside it
    scatter = (residuals**2).sum() / (count - columns.shape[1]) + floor
    common = (weights @ draws).var(ddof=1) / draws.shape[1] if draws.shape[1] > 1 else 0.0
    error = float(np.sqrt(scatter * weights @ weights + common))
    return _Fit(DepthLaw(law, factor, error), _criterion(residuals, floor, columns.shape[1]))


def _best_offset(loss: Callable[[float], float], largest: float) -> float:
    """The offset of the smallest loss, on a grid and then on a finer one between its neighbours."""
    grid = np.geomspace(_SMALLEST_OFFSET, largest, _OFFSETS)
    best = int(np.argmin([loss(offset) for offset in grid]))
    finer = np.geomspace(grid[max(best - 1, 0)], grid[min(best + 1, _OFFSETS - 1)], _OFFSETS)
    return float(min(finer, key=loss))
