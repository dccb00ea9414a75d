"""From a history to numbers: the prediction before a run, the measurement after it, under the same names."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num, Shaped

from edgechaos import scaling

MEANING = {
    "slope_a": "A of Eq. 4 per epoch: growth of J^2 without weight decay",
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


def predicted_course(config: Mapping[str, Any], num_samples: int) -> Float[np.ndarray, "epochs"]:
    """J^2 after 0 ... epochs epochs by Eqs. 4 and 5, relaxing under weight decay; NaN if the config knows no D."""
    scale = scaling.scale_factor(config["learning_rate"], config["momentum"], config["batch_size"])
    slope = scale * (config["constant_d"] or np.nan)
    rate = scaling.relaxation_rate(scale, num_samples, config["weight_decay"])
    epochs = np.arange(config["epochs"] + 1, dtype=np.float32)
    return np.asarray(scaling.j_squared_after(epochs, config["init_j"] ** 2, slope, rate))


def predict(config: Mapping[str, Any], num_samples: int, seconds: float) -> dict[str, float]:
    """What the paper expects of a run: growth by Eq. 5 with the config's D, and least test loss at the edge.

    Beyond J^2 = 1 the line of Eq. 4 is known to overshoot; `final_j_squared` shows by how much.

    Args:
      config: validated.
      num_samples: S.
      seconds: expected computing time of one member.
    """
    scale = scaling.scale_factor(config["learning_rate"], config["momentum"], config["batch_size"])
    slope = scale * (config["constant_d"] or np.nan)
    rate = scaling.relaxation_rate(scale, num_samples, config["weight_decay"])
    at_edge = float(scaling.epochs_to(1.0, config["init_j"] ** 2, slope, rate)) if config["init_j"] < 1 else np.nan
    known = {
        "slope_a": slope,
        "constant_d": config["constant_d"] or np.nan,
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
    measured = [_measure_member(history, member, num_samples) for member in range(len(history["seed"]))]
    return {name: np.array([member[name] for member in measured]) for name in MEANING}


def _measure_member(history: Mapping[str, np.ndarray], member: int, num_samples: int) -> dict[str, float]:
    """One member's numbers."""
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
        fit = scaling.fit_slope(j_squared, fit_epochs)
        fitted_slope, intercept, error = float(fit.slope), float(fit.intercept), float(fit.standard_error)
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


def scale_factors(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members"]:
    """eta / ((1 - alpha) B) of each member."""
    return np.asarray(scaling.scale_factor(history["learning_rate"], history["momentum"], history["batch_size"]))


def seeds_of(
    history: Mapping[str, np.ndarray], values: Shaped[np.ndarray, "members"]
) -> Shaped[np.ndarray, "runs seeds"]:
    """Values of the members [run, seed]: the seed is the axis of a sweep that runs fastest."""
    return values.reshape(-1, len(np.unique(history["seed"])))


def verdicts(history: Mapping[str, np.ndarray], slope: Float[np.ndarray, "members"]) -> list[scaling.ScalingVerdict]:
    """Whether the runs of each seed follow Eq. 5."""
    scales, slopes = (seeds_of(history, values) for values in (scale_factors(history), slope))
    return [scaling.scaling_verdict(slopes[:, seed], scales[:, seed]) for seed in range(slopes.shape[1])]


_PAPER_SCALE = scaling.scale_factor(0.02, 0.5, 32)


def rescaled_epochs(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members entries"]:
    """Epochs times the scale factor in units of the paper's run of Fig. 2, in which Eq. 5 makes all courses one."""
    epochs = np.arange(history["j_squared"].shape[1])
    return epochs * (scale_factors(history) / _PAPER_SCALE)[:, None]


def collapse(history: Mapping[str, np.ndarray]) -> dict[str, Float[np.ndarray, "seeds"]]:
    """How far the courses J^2(rescaled epoch) of a sweep's runs are from being one, for each seed.

    The relative spread (largest less smallest, over the mean) is taken at the rescaled epochs that the run with the
    coarsest ones has in common with all.

    Returns:
      Its largest value where the mean J^2 is below 1, its largest and last value beyond, and the rescaled epoch at
      which it first exceeds 10 % beyond; NaN where there is no such epoch.
    """
    num_seeds = len(np.unique(history["seed"]))
    found = [_collapse_of_seed(history, slice(seed, None, num_seeds)) for seed in range(num_seeds)]
    return {name: np.array([numbers[name] for numbers in found]) for name in found[0]}


def _collapse_of_seed(history: Mapping[str, np.ndarray], chosen: slice) -> dict[str, float]:
    """`collapse` of the runs of one seed."""
    times, courses = rescaled_epochs(history)[chosen], history["j_squared"][chosen]
    known = [np.isfinite(course) for course in courses]
    end = min(time[mask].max() for time, mask in zip(times, known, strict=True))
    coarsest = times[np.argmax(times[:, 1])]
    grid = coarsest[coarsest <= end]
    curves = np.array(
        [np.interp(grid, time[mask], course[mask]) for time, course, mask in zip(times, courses, known, strict=True)]
    )
    mean = curves.mean(0)
    spread = (curves.max(0) - curves.min(0)) / mean
    ordered = mean < 1
    apart = ~ordered & (spread > 0.1)
    return {
        "spread_in_order": spread[ordered].max() if ordered.any() else np.nan,
        "spread_beyond": spread[~ordered].max() if (~ordered).any() else np.nan,
        "last_spread": spread[-1],
        "epoch_apart": grid[apart][0] if apart.any() else np.nan,
    }


def final_mean(history: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "members"]:
    """Mean over the last twentieth of each member's entries, at least one: what it ends with, but for noise.

    NaN for a member that has not come to its end.
    """
    courses = zip(history[name], history["epochs"] + 1, strict=True)
    return np.array([last_mean(course[:entries]) for course, entries in courses])


def last_mean(course: Float[np.ndarray, "*members entries"]) -> Float[np.ndarray, "*members"]:
    """Mean over the last twentieth of the entries, at least one."""
    return np.asarray(course[..., -max(1, course.shape[-1] // 20) :].mean(-1))


def weight_decay_course(
    decay: Float[np.ndarray, "*members entries"], learning_rate: float, momentum: float, num_steps: int
) -> Float[np.ndarray, "*members epochs"]:
    """lambda of each epoch of a held run, its mean over the epoch's steps.

    Args:
      decay: sum of delta over the steps so far, after each epoch, as in history.npz.
      learning_rate: eta.
      momentum: alpha.
      num_steps: per epoch.
    """
    return np.diff(decay.astype(np.float64), axis=-1) / num_steps * (1 - momentum) / (2 * learning_rate)


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
        logarithm, course = np.log(weight_decay[known]), np.log(ends[known])
        order = np.argsort(course)
        inside = course.min() <= np.log(target) <= course.max()
        result.append(np.exp(np.interp(np.log(target), course[order], logarithm[order])) if inside else np.nan)
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


def members_of(history: Mapping[str, np.ndarray], chosen: Bool[np.ndarray, "members"]) -> dict[str, np.ndarray]:
    """The history of some members alone."""
    return {name: values[chosen] for name, values in history.items()}


def closed_form(
    history: Mapping[str, np.ndarray], member: int, constant_d: float, num_samples: int
) -> Float[np.ndarray, "entries"]:
    """J^2 of a member's epochs by Appendix C: growth with D, relaxation by its weight decay."""
    scale = float(scale_factors(history)[member])
    rate = scaling.relaxation_rate(scale, num_samples, float(history["weight_decay"][member]))
    epochs = np.arange(history["j_squared"].shape[1], dtype=np.float32)
    return np.asarray(scaling.j_squared_after(epochs, float(history["j_squared"][member, 0]), constant_d * scale, rate))


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
    spread = (x - middle) @ (x - middle)
    slope = (x - middle) @ (y - height) / spread
    residual = y - height - slope * (x - middle)
    variance = residual @ residual / max(1, len(x) - 2)
    intercept_variance = variance * (1 / len(x) + middle**2 / spread)
    return Line(*map(float, (slope, height - slope * middle, np.sqrt(variance / spread), np.sqrt(intercept_variance))))


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
