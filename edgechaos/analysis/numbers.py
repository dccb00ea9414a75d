"""From a history to numbers: the prediction before a run, the measurement after it, under the same names."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from edgechaos.analysis import fits
from edgechaos.analysis.history import elapsed
from edgechaos.theory import scaling

MEANING = {
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


def _constant_d(config: Mapping[str, Any]) -> float:
    """The config's D, which is that of the cross-entropy; NaN if it knows none."""
    return (config["constant_d"] or np.nan) if config["loss"] == "cross_entropy" else np.nan


def predicted_course(config: Mapping[str, Any], num_samples: int) -> Float[np.ndarray, "epochs"]:
    """J^2 after 0 ... epochs epochs by Eqs. 4 and 5, relaxing under weight decay; NaN if the config knows no D."""
    scale = scaling.scale_factor(config["learning_rate"], config["momentum"], config["batch_size"])
    slope = scale * _constant_d(config)
    rate = scaling.relaxation_rate(scale, num_samples, config["weight_decay"])
    epochs = scaling.elapsed_epochs(config["schedule"], np.arange(config["epochs"] + 1.0), config["epochs"])
    return np.asarray(scaling.j_squared_after(epochs.astype(np.float32), config["init_j"] ** 2, slope, rate))


def predict(config: Mapping[str, Any], num_samples: int, seconds: float) -> dict[str, float]:
    """What the paper expects of a run: growth by Eq. 5 with the config's D, and least test loss at the edge.

    Under a schedule the scale factor is that of the moment. Beyond J^2 = 1 the line of Eq. 4 is known to overshoot;
    `final_j_squared` shows by how much.

    Args:
      config: validated.
      num_samples: S.
      seconds: expected computing time of one member.
    """
    scale = scaling.scale_factor(config["learning_rate"], config["momentum"], config["batch_size"])
    slope = scale * _constant_d(config)
    rate = scaling.relaxation_rate(scale, num_samples, config["weight_decay"])
    at_edge = float(scaling.epochs_to(1.0, config["init_j"] ** 2, slope, rate)) if config["init_j"] < 1 else np.nan
    if np.isfinite(at_edge):
        at_edge = scaling.epochs_until(config["schedule"], at_edge, config["epochs"])
    known = {
        "slope_a": slope,
        "constant_d": _constant_d(config),
        "epoch_at_edge": at_edge,
        "optimal_epoch": at_edge,
        "j_squared_at_optimal_epoch": 1.0,
        "final_j_squared": float(predicted_course(config, num_samples)[-1]),
        "seconds": seconds,
    }
    return {name: float(known.get(name, np.nan)) for name in MEANING}


def measure(history: Mapping[str, np.ndarray], num_samples: int) -> dict[str, Float[np.ndarray, "members"]]:
    """The numbers of `MEANING` for each member; NaN where a run is too short, or never gets there.

    Args:
      history: as in history.npz.
      num_samples: S, for the growth that weight decay hides.
    """
    times = elapsed(history)
    measured = [_measure_member(history, member, times[member], num_samples) for member in range(len(times))]
    return {name: np.array([member[name] for member in measured]) for name in MEANING}


def _measure_member(
    history: Mapping[str, np.ndarray], member: int, times: Float[np.ndarray, "entries"], num_samples: int
) -> dict[str, float]:
    """One member's numbers; slopes are per epoch at the full learning rate."""
    j_squared, test_loss, test_accuracy = (
        history[name][member].astype(np.float64) for name in ("j_squared", "test_loss", "test_accuracy")
    )
    if not np.isfinite(test_loss).any():  # diverged from the start
        return dict.fromkeys(MEANING, np.nan)
    last = int(np.flatnonzero(np.isfinite(test_loss))[-1])
    best = int(np.nanargmin(test_loss))
    at_edge = epoch_at(j_squared, 1.0)
    fit_epochs = int(np.floor(at_edge)) if np.isfinite(at_edge) else last
    scale = scaling.scale_factor(*(history[name][member] for name in ("learning_rate", "momentum", "batch_size")))
    fitted_slope = intercept = error = np.nan
    if fit_epochs >= 2:
        line = fits.fit_line(times[: fit_epochs + 1], j_squared[: fit_epochs + 1])
        fitted_slope, intercept, error = line.slope, line.intercept, line.slope_error
    rate = scaling.relaxation_rate(scale, num_samples, history["weight_decay"][member])
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
    meaning: Mapping[str, str] = MEANING,
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


def table(columns: Mapping[str, Mapping[str, float]], names: Iterable[str] = MEANING) -> str:
    """Prints columns of numbers side by side, '-' where there is none."""
    lines = [f"{'':28}" + "".join(f"{heading:>12}" for heading in columns)]
    for name in names:
        cells = [column[name] for column in columns.values()]
        if any(np.isfinite(cells)):
            lines.append(
                f"{name:28}" + "".join(f"{cell:12.5g}" if np.isfinite(cell) else f"{'-':>12}" for cell in cells)
            )
    return "\n".join(lines)
