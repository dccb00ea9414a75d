"""Courses of a sweep: which members belong together, whether their courses are one, and where they end."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

from edgechaos.theory import scaling


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


def elapsed(history: Mapping[str, np.ndarray]) -> Float[np.ndarray, "members entries"]:
    """Epochs at the full learning rate that each entry's epochs of the member's schedule amount to."""
    epochs = np.arange(history["j_squared"].shape[1], dtype=float)
    if "schedule" not in history:
        return np.broadcast_to(epochs, history["j_squared"].shape)
    members = zip(history["schedule"], history["epochs"], strict=True)
    return np.stack([scaling.elapsed_epochs(str(schedule), epochs, int(length)) for schedule, length in members])


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
