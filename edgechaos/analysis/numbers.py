"""From a history to numbers: the prediction before a run, the measurement after it, under the same names."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from edgechaos.analysis import fits
from edgechaos.analysis.history import History
from edgechaos.theory import scaling

NUMBERS = {
    "slope_a": "A of Eq. 4 per epoch (at the full learning rate): growth of J^2 without weight decay",
    "slope_a_standard_error": "of the least-squares slope",
    "fitted_slope": "least-squares slope itself, A less what weight decay takes",
    "intercept_c": "C of Eq. 4",
    "constant_d": "D of Eq. 5",
    "constant_d_standard_error": "of the same fit",
    "fit_epochs": "the fit uses the states after 0 ... fit_epochs epochs, those of J^2 < 1",
    "epoch_at_edge": "epoch at which J^2 = 1",
    "optimal_epoch": "epoch of least test loss",
    "j_squared_at_optimal_epoch": "J^2 there",
    "least_test_loss": "test loss there",
    "best_test_accuracy": "over all epochs",
    "final_test_accuracy": "after the last epoch",
    "final_j_squared": "J^2 after the last epoch",
    "seconds": "computing time of a member; the prediction is for a machine that does nothing else",
}


def predict(growth: scaling.Growth, scale: float, seconds: float) -> dict[str, float]:
    """What the paper expects of a run: growth by Eqs. 4 and 5, and least test loss at the edge.

    Beyond J^2 = 1 the line of Eq. 4 is known to overshoot; `final_j_squared` shows by how much.

    Args:
      growth: of J^2, with the D that the config knows.
      scale: `scale_factor` of the run.
      seconds: expected computing time of one member.
    """
    at_edge = growth.epochs_to(1.0)
    known = {
        "slope_a": growth.slope,
        "constant_d": growth.slope / scale,
        "epoch_at_edge": at_edge,
        "optimal_epoch": at_edge,
        "j_squared_at_optimal_epoch": 1.0,
        "final_j_squared": float(growth.trajectory()[-1]),
        "seconds": seconds,
    }
    return {name: float(known.get(name, np.nan)) for name in NUMBERS}


def measure(history: History) -> dict[str, Float[np.ndarray, "members"]]:
    """The numbers of `NUMBERS` for each member; NaN where a run is too short, or never gets there."""
    times = history.elapsed
    measured = [_measure_member(history, member, times[member]) for member in range(len(times))]
    return {name: np.array([member[name] for member in measured]) for name in NUMBERS}


def _measure_member(history: History, member: int, times: Float[np.ndarray, "entries"]) -> dict[str, float]:
    """One member's numbers; slopes are per epoch at the full learning rate."""
    j_squared, test_loss, test_accuracy = (
        history[name][member].astype(np.float64) for name in ("j_squared", "test_loss", "test_accuracy")
    )
    if not np.isfinite(test_loss).any():  # diverged from the start
        return dict.fromkeys(NUMBERS, np.nan)
    last = int(np.flatnonzero(np.isfinite(test_loss))[-1])
    best = int(np.nanargmin(test_loss))
    at_edge = epoch_at(j_squared, 1.0)
    fit_epochs = int(np.floor(at_edge)) if np.isfinite(at_edge) else last
    scale = history.scale_factor[member]
    fitted_slope = intercept = error = np.nan
    if fit_epochs >= 2:
        line = fits.fit_line(times[: fit_epochs + 1], j_squared[: fit_epochs + 1])
        fitted_slope, intercept, error = line.slope, line.intercept, line.slope_error
    rate = scaling.relaxation_rate(scale, history.num_samples, history["weight_decay"][member])
    slope = fitted_slope + rate * j_squared[: fit_epochs + 1].mean()
    return {
        "slope_a": slope,
        "slope_a_standard_error": error,
        "fitted_slope": fitted_slope,
        "intercept_c": intercept,
        "constant_d": slope / scale,
        "constant_d_standard_error": error / scale,
        "fit_epochs": fit_epochs,
        "epoch_at_edge": at_edge,
        "optimal_epoch": best,
        "j_squared_at_optimal_epoch": j_squared[best],
        "least_test_loss": test_loss[best],
        "best_test_accuracy": np.nanmax(test_accuracy),
        "final_test_accuracy": test_accuracy[last],
        "final_j_squared": j_squared[last],
        "seconds": float(history["seconds"][member]),
    }


def epoch_at(j_squared: Float[np.ndarray, "epochs"], target: float) -> float:
    """Epoch, interpolated, at which J^2 first reaches `target` from below; NaN if it never does."""
    above = np.flatnonzero(j_squared >= target)
    if not len(above) or above[0] == 0:
        return np.nan
    after = int(above[0])
    before = j_squared[after - 1]
    return float(after - 1 + (target - before) / (j_squared[after] - before))


def known_mean(values: Num[np.ndarray, "members"]) -> float:
    """Mean over the members for which a number exists; NaN if there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def mean(measured: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`known_mean` of each of several numbers."""
    return {name: known_mean(values) for name, values in measured.items()}


def spread(measured: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Standard deviations over the members (n - 1); NaN for fewer than two."""
    return {
        name: float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else np.nan
        for name, values in measured.items()
    }


def summary(
    predicted: Mapping[str, float],
    measured: Mapping[str, np.ndarray],
    title: str,
    meaning: Mapping[str, str] = NUMBERS,
) -> dict[str, Mapping[str, Any] | str]:
    """Content of summary.json: prediction and mean measurement under the same names, spread, and each member."""
    return {
        "title": title,
        "predicted": predicted,
        "measured": mean(measured),
        "standard_deviation_over_seeds": spread(measured),
        "members": measured,
        "meaning": meaning,
    }


def table(columns: Mapping[str, Mapping[str, float]], names: Iterable[str] = NUMBERS) -> str:
    """Prints columns of numbers side by side, '-' where there is none."""
    cells = {name: [column[name] for column in columns.values()] for name in names}
    shown = {name: values for name, values in cells.items() if any(np.isfinite(values))}
    width = max([28, *map(len, shown)])
    lines = [" " * width + "".join(f"{heading:>12}" for heading in columns)]
    for name, values in shown.items():
        texts = (f"{value:.5g}" if np.isfinite(value) else "-" for value in values)
        lines.append(f"{name:{width}}" + "".join(f"{text:>12}" for text in texts))
    return "\n".join(lines)
