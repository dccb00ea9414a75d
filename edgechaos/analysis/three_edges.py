"""Do three edges coincide in a training run: J^2 = 1, the edge of stability, and the sensitivity of the run itself?

The second is where the sharpness passes 2 (1 + alpha) / eta, the third where the Lyapunov exponent of the run passes 0.
Times are epochs, rescaled to the paper's scale factor.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from edgechaos.analysis.intervals import CONTRADICTED, MISSING, REPRODUCED, UNDECIDED, Interval, interval

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
ARRAYS = {
    "learning_rate": "[rate] eta",
    "scale_factor": "[rate] eta / ((1 - alpha) B), in units of the paper's run of Fig. 2",
    "stable_sharpness": "[rate] 2 (1 + alpha) / eta",
    "time": "[moment] rescaled epochs before it",
    "window_time": "[window] rescaled epochs before the middle between two moments",
    "window_steps": "[rate] steps between two moments",
    "j_squared": "[rate, seed, moment] J^2 of the hidden kernel",
    "sharpness": "[rate, seed, moment] largest eigenvalue of the Hessian of the training loss",
    "sharpness_residual": "[rate, seed, moment] |H v - h v|, within which the Hessian has an eigenvalue",
    "exponent": "[rate, seed, window] logarithmic growth per step of a tangent that is pushed through the run",
}
EDGES = ("sharpness", "exponent")
NUMBERS = {
    "edge_epoch": "rescaled epoch at which J^2 = 1",
    "sharpness_epoch": "rescaled epoch at which the sharpness first passes 2 (1 + alpha) / eta, up or down",
    "exponent_epoch": "rescaled epoch at which the exponent of the run first passes 0, up or down",
    "sharpness_j_squared": "J^2 where the sharpness passes 2 (1 + alpha) / eta",
    "exponent_j_squared": "J^2 where the exponent passes 0",
    "edge_sharpness": "sharpness over 2 (1 + alpha) / eta where J^2 = 1",
    "edge_exponent": "exponent per step where J^2 = 1",
    "edge_exponent_per_epoch": "the same per epoch",
}
_COINCIDE = {
    "sharpness_j_squared": 1.0,
    "exponent_j_squared": 1.0,
    "edge_sharpness": 1.0,
    "edge_exponent": 0.0,
    "edge_exponent_per_epoch": 0.0,
}
BAND = 0.1  # of J^2 about 1; J^2 grows by about as much between two moments


def name_at(name: str, learning_rate: float) -> str:
    """The name of a number of one learning rate."""
    return f"{name}_at_{learning_rate:g}"


def expect(learning_rates: Sequence[float], edge_epoch: float) -> dict[str, float]:
    """The numbers of `NUMBERS` for each learning rate, if the edges coincide.

    Args:
      learning_rates: eta.
      edge_epoch: rescaled epoch at which J^2 = 1 by Eq. 5; NaN if D is not known.
    """
    epochs = dict.fromkeys(("edge_epoch", "sharpness_epoch", "exponent_epoch"), edge_epoch)
    of_each = {name: {**epochs, **_COINCIDE}[name] for name in NUMBERS}
    return {name_at(name, rate): value for rate in learning_rates for name, value in of_each.items()}


def compare(arrays: Arrays) -> dict[str, Float[np.ndarray, "seeds"]]:
    """The numbers of `NUMBERS` for each learning rate, by seed; NaN for what is not passed."""
    numbers: dict[str, np.ndarray] = {}
    for rate, eta in enumerate(arrays["learning_rate"]):
        found = [_of_run(arrays, rate, seed) for seed in range(arrays["j_squared"].shape[1])]
        of_each = {name: np.array([one[name] for one in found]) for name in found[0]}
        per_epoch = arrays["scale_factor"][rate] * _steps_per_rescaled_epoch(arrays)[rate]
        of_each["edge_exponent_per_epoch"] = per_epoch * of_each["edge_exponent"]
        numbers |= {name_at(name, eta): of_each[name] for name in NUMBERS}
    return numbers


def _of_run(arrays: Arrays, rate: int, seed: int) -> dict[str, float]:
    """The numbers of one run but the last."""
    time, j_squared = arrays["time"], arrays["j_squared"][rate, seed]
    edge = first_passage(time, j_squared - 1)
    numbers = {"edge_epoch": edge}
    for name in EDGES:
        times, excess = excess_of(arrays, name)
        when = first_passage(times, excess[rate, seed])
        numbers[f"{name}_epoch"] = when
        numbers[f"{name}_j_squared"] = float(np.interp(when, time, j_squared))
        numbers[f"edge_{name}"] = float(np.interp(edge, times, excess[rate, seed]))
    numbers["edge_sharpness"] += 1
    return numbers


def excess_of(arrays: Arrays, name: str) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "rates seeds points"]]:
    """Times, and what passes 0 at an edge: sharpness over the stable one less 1, or the exponent per step."""
    if name == "exponent":
        return arrays["window_time"], arrays["exponent"]
    return arrays["time"], arrays["sharpness"] / arrays["stable_sharpness"][:, None, None] - 1


def growth_per_rescaled_epoch(arrays: Arrays) -> Float[np.ndarray, "rates seeds windows"]:
    """The exponents of all learning rates on one clock."""
    return arrays["exponent"] * _steps_per_rescaled_epoch(arrays)[:, None, None]


def _steps_per_rescaled_epoch(arrays: Arrays) -> Float[np.ndarray, "rates"]:
    """The larger the learning rate, the fewer."""
    return np.asarray(arrays["window_steps"] / (arrays["time"][1] - arrays["time"][0]))


def first_passage(time: Float[np.ndarray, "points"], values: Float[np.ndarray, "points"]) -> float:
    """The time, interpolated, at which values first change their sign; NaN if they do not, or not before a NaN.

    >>> first_passage(np.arange(4.0), np.array([-1.0, -1.0, 3.0, 5.0]))
    1.25
    """
    unknown = np.flatnonzero(~np.isfinite(values))
    known = values[: unknown[0]] if len(unknown) else values
    passed = np.flatnonzero((known[1:] >= 0) != (known[:-1] >= 0))
    if not len(passed):
        return np.nan
    before = int(passed[0])
    share = known[before] / (known[before] - known[before + 1])
    return float(time[before] + share * (time[before + 1] - time[before]))


def verdict(arrays: Arrays, rate: int, name: str, j_squared: float = 1.0) -> str:
    """Whether an edge is passed, from below to above, within BAND of a J^2: by 95 % intervals over the seeds.

    Args:
      arrays: those of `ARRAYS`.
      rate: which learning rate.
      name: of `EDGES`.
      j_squared: where the edge is claimed to be.

    Returns:
      REPRODUCED if the excess is below 0 at the low end of the band and above 0 at its high end, each with its whole
      interval; CONTRADICTED if it is above 0 at the low end or below 0 at the high end; MISSING if a run does not get
      there; else UNDECIDED.
    """
    before, after = (excess_at(arrays, rate, name, j_squared + side) for side in (-BAND, BAND))
    if np.isnan(before).any() or np.isnan(after).any():
        return MISSING
    low, high = interval(before.tolist()), interval(after.tolist())
    if low.high < 0 < high.low:
        return REPRODUCED
    return CONTRADICTED if low.low > 0 or high.high < 0 else UNDECIDED


def excess_at(arrays: Arrays, rate: int, name: str, j_squared: float) -> Float[np.ndarray, "seeds"]:
    """The excess where J^2 first reaches a value; NaN in a run that does not."""
    times, excess = excess_of(arrays, name)
    runs = zip(arrays["j_squared"][rate], excess[rate], strict=True)
    return np.array([np.interp(first_passage(arrays["time"], place - j_squared), times, one) for place, one in runs])


def rows(arrays: Arrays, measured: Mapping[str, Float[np.ndarray, "seeds"]]) -> list[dict[str, Any]]:
    """One row for each learning rate: each number with its 95 % interval over the seeds, and a verdict on each edge."""
    found = []
    for rate, eta in enumerate(arrays["learning_rate"]):
        row: dict[str, Any] = {"learning_rate": float(eta), "scale_factor": float(arrays["scale_factor"][rate])}
        row |= {name: _ends(interval(measured[name_at(name, eta)].tolist())) for name in NUMBERS}
        found.append(row | {f"{name}_verdict": verdict(arrays, rate, name) for name in EDGES})
    return found


def _ends(found: Interval) -> dict[str, float]:
    """An interval for summary.json."""
    return {"mean": found.mean, "low": found.low, "high": found.high, "seeds": found.num_seeds}
