"""Do the trajectories of J^2 of several runs collapse onto one when epochs are rescaled by Eq. 5?"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from edgechaos.analysis.history import elapsed, scale_factors, seeds_of
from edgechaos.theory import scaling


def verdicts(history: Mapping[str, np.ndarray], slope: Float[np.ndarray, "members"]) -> list[scaling.ScalingVerdict]:
    """Whether the runs of each seed follow Eq. 5."""
    scales, slopes = (seeds_of(history, values) for values in (scale_factors(history), slope))
    return [scaling.scaling_verdict(slopes[:, seed], scales[:, seed]) for seed in range(slopes.shape[1])]


_PAPER_SCALE = scaling.scale_factor(0.02, 0.5, 32)


def rescaled_epochs(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members entries"]:
    """Epochs times the scale factor in units of the paper's run of Fig. 2, in which Eq. 5 makes all courses one.

    The scale factor is that of the moment, if the learning rate has a schedule.
    """
    return elapsed(history) * (scale_factors(history) / _PAPER_SCALE)[:, None]


def collapse_ranges(history: Mapping[str, np.ndarray]) -> dict[str, Float[np.ndarray, "seeds"]]:
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


def closed_form(
    history: Mapping[str, np.ndarray], member: int, constant_d: float, num_samples: int
) -> Float[np.ndarray, "entries"]:
    """J^2 of a member's epochs by Appendix C: growth with D, relaxation by its weight decay."""
    scale = float(scale_factors(history)[member])
    rate = scaling.relaxation_rate(scale, num_samples, float(history["weight_decay"][member]))
    epochs = elapsed(history)[member].astype(np.float32)
    return np.asarray(scaling.j_squared_after(epochs, float(history["j_squared"][member, 0]), constant_d * scale, rate))
