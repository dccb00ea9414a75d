"""Do the trajectories of J^2 of several runs collapse onto one when epochs are rescaled by Eq. 5?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from edgechaos.analysis.history import History
from edgechaos.theory import paper, scaling


def verdicts(history: History, slope: Float[np.ndarray, "members"]) -> list[scaling.ScalingVerdict]:
    """Whether the runs of each seed follow Eq. 5."""
    scales, slopes = history.by_seed(history.scale_factor), history.by_seed(slope)
    return [scaling.scaling_verdict(slopes[:, seed], scales[:, seed]) for seed in range(slopes.shape[1])]


def law_numbers(history: History, slope: Float[np.ndarray, "members"]) -> dict[str, Float[np.ndarray, "seeds"]]:
    """D of Eq. 5 with its error, the share of runs that follow it, and the largest deviation, for each seed."""
    found = verdicts(history, slope)
    numbers = {
        "constant_d": [verdict.constant_d for verdict in found],
        "constant_d_standard_error": [verdict.standard_error for verdict in found],
        "share_that_follows": [verdict.follows.mean() for verdict in found],
        "largest_deviation": [np.nanmax(np.abs(verdict.deviation)) for verdict in found],
    }
    return {name: np.array(values, float) for name, values in numbers.items()}


def rows_by_run(history: History, slope: Float[np.ndarray, "members"], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per run: its columns `names`, slope and deviation from Eq. 5 as means over the seeds, and a verdict."""
    found = verdicts(history, slope)
    deviation = np.mean([verdict.deviation for verdict in found], axis=0)
    follows = np.all([verdict.follows for verdict in found], axis=0)
    columns = {name: history.column(name).tolist() for name in names}
    return [
        {
            **{name: values[run] for name, values in columns.items()},
            "slope_a": float(slopes.mean()),
            "slope_a_over_seeds": slopes.tolist(),
            "deviation": float(deviation[run]),
            "verdict": "follows" if follows[run] else "deviates",
        }
        for run, slopes in enumerate(history.by_seed(slope))
    ]


def rescaled_epochs(history: History) -> Float[np.ndarray, "members entries"]:
    """Epochs times the scale factor in units of the paper's run of Fig. 2; Eq. 5 says that J^2 depends on them alone.

    The scale factor is that of the moment, if the learning rate has a schedule.
    """
    return history.elapsed * (history.scale_factor / paper.SCALE_FACTOR)[:, None]


def collapse_ranges(history: History) -> dict[str, Float[np.ndarray, "seeds"]]:
    """How far the trajectories J^2(rescaled epoch) of a sweep's runs differ, for each seed.

    The range (largest less smallest, over the mean) is taken at the rescaled epochs that the run with the coarsest ones
    has in common with all.

    Returns:
      Its largest value where the mean J^2 is below 1, its largest and last value beyond, and the rescaled epoch at
      which it first exceeds 10 % beyond; NaN where there is no such epoch.
    """
    found = [_ranges_of_seed(history, slice(seed, None, history.num_seeds)) for seed in range(history.num_seeds)]
    return {name: np.array([numbers[name] for numbers in found]) for name in found[0]}


def _ranges_of_seed(history: History, chosen: slice) -> dict[str, float]:
    """`collapse_ranges` of the runs of one seed."""
    times, trajectories = rescaled_epochs(history)[chosen], history["j_squared"][chosen]
    known = [np.isfinite(values) for values in trajectories]
    end = min(time[mask].max() for time, mask in zip(times, known, strict=True))
    coarsest = times[np.argmax(times[:, 1])]
    grid = coarsest[coarsest <= end]
    triples = zip(times, trajectories, known, strict=True)
    curves = np.array([np.interp(grid, time[mask], values[mask]) for time, values, mask in triples])
    mean = curves.mean(0)
    relative = (curves.max(0) - curves.min(0)) / mean
    ordered = mean < 1
    apart = ~ordered & (relative > 0.1)
    return {
        "range_in_ordered_phase": relative[ordered].max() if ordered.any() else np.nan,
        "range_beyond": relative[~ordered].max() if (~ordered).any() else np.nan,
        "last_range": relative[-1],
        "epoch_apart": grid[apart][0] if apart.any() else np.nan,
    }


def closed_form(history: History, member: int, constant_d: float) -> Float[np.ndarray, "entries"]:
    """J^2 of a member's epochs by Appendix C: growth with D, relaxation by its weight decay."""
    scale = float(history.scale_factor[member])
    rate = float(scaling.relaxation_rate(scale, history.num_samples, float(history["weight_decay"][member])))
    growth = scaling.Growth(float(history["j_squared"][member, 0]), constant_d * scale, rate)
    return growth.at(history.elapsed[member])
