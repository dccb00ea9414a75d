"""Courses of a sweep: which members belong together, whether their courses are one, and where they end."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

from edgechaos import scaling


def members_of(history: Mapping[str, np.ndarray], chosen: Bool[np.ndarray, "members"]) -> dict[str, np.ndarray]:
    """The history of some members alone."""
    return {name: values[chosen] for name, values in history.items()}


def seeds_of(
    history: Mapping[str, np.ndarray], values: Shaped[np.ndarray, "members"]
) -> Shaped[np.ndarray, "runs seeds"]:
    """Values of the members [run, seed]: the seed is the axis of a sweep that runs fastest."""
    return values.reshape(-1, len(np.unique(history["seed"])))


def scale_factors(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members"]:
    """eta / ((1 - alpha) B) of each member."""
    return np.asarray(scaling.scale_factor(history["learning_rate"], history["momentum"], history["batch_size"]))


def verdicts(history: Mapping[str, np.ndarray], slope: Float[np.ndarray, "members"]) -> list[scaling.ScalingVerdict]:
    """Whether the runs of each seed follow Eq. 5."""
    scales, slopes = (seeds_of(history, values) for values in (scale_factors(history), slope))
    return [scaling.scaling_verdict(slopes[:, seed], scales[:, seed]) for seed in range(slopes.shape[1])]


_PAPER_SCALE = scaling.scale_factor(0.02, 0.5, 32)


def elapsed(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members entries"]:
    """Epochs at the full learning rate that each entry's epochs of the member's schedule amount to."""
    epochs = np.arange(history["j_squared"].shape[1], dtype=float)
    if "schedule" not in history:
        return np.broadcast_to(epochs, history["j_squared"].shape)
    members = zip(history["schedule"], history["epochs"], strict=True)
    return np.stack([scaling.elapsed_epochs(str(schedule), epochs, int(length)) for schedule, length in members])


def rescaled_epochs(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members entries"]:
    """Epochs times the scale factor in units of the paper's run of Fig. 2, in which Eq. 5 makes all courses one.

    The scale factor is that of the moment, if the learning rate has a schedule.
    """
    return elapsed(history) * (scale_factors(history) / _PAPER_SCALE)[:, None]


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


def closed_form(
    history: Mapping[str, np.ndarray], member: int, constant_d: float, num_samples: int
) -> Float[np.ndarray, "entries"]:
    """J^2 of a member's epochs by Appendix C: growth with D, relaxation by its weight decay."""
    scale = float(scale_factors(history)[member])
    rate = scaling.relaxation_rate(scale, num_samples, float(history["weight_decay"][member]))
    epochs = elapsed(history)[member].astype(np.float32)
    return np.asarray(scaling.j_squared_after(epochs, float(history["j_squared"][member, 0]), constant_d * scale, rate))


def final_mean(history: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "members"]:
    """Mean over the last twentieth of each member's entries, at least one: what it ends with, but for noise.

    NaN for a member that has not come to its end.
    """
    courses = zip(history[name], history["epochs"] + 1, strict=True)
    return np.array([last_mean(course[:entries]) for course, entries in courses])


def last_and_largest(
    history: Mapping[str, np.ndarray], name: str
) -> tuple[Float[np.ndarray, "members"], Float[np.ndarray, "members"]]:
    """The last entry of each member, and the largest of all; NaN for a member that has not come to its end.

    The largest of many noisy entries lies above what a run ends with, the further the more noise and entries there are.
    """
    pairs = zip(history[name], history["epochs"] + 1, strict=True)
    found = [(course[entries - 1], course[:entries].max()) for course, entries in pairs]
    last, largest = np.array(found).T
    return last, largest


def last_mean(course: Float[np.ndarray, "*members entries"]) -> Float[np.ndarray, "*members"]:
    """Mean over the last twentieth of the entries, at least one."""
    return np.asarray(course[..., -max(1, course.shape[-1] // 20) :].mean(-1))


def weight_decay_course(
    decay: Float[np.ndarray, "*members entries"],
    learning_rate: float,
    momentum: float,
    num_steps: int,
    elapsed: Float[np.ndarray, "entries"] | None = None,
) -> Float[np.ndarray, "*members epochs"]:
    """lambda of each epoch of a held run, its mean over the epoch's steps, at the learning rate of the epoch.

    Args:
      decay: sum of delta over the steps so far, after each epoch, as in history.npz.
      learning_rate: eta.
      momentum: alpha.
      num_steps: per epoch.
      elapsed: as `elapsed` gives it for the members, if the learning rate has a schedule.
    """
    share = 1.0 if elapsed is None else np.diff(elapsed)
    return np.diff(decay.astype(np.float64), axis=-1) / (num_steps * share) * (1 - momentum) / (2 * learning_rate)
