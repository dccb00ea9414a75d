"""Sweeps over weight decay: what each run ends with, which decay is best, and which ends at the edge by setting."""

import numpy as np
from jaxtyping import Bool, Float

from edgechaos.analysis import fits
from edgechaos.analysis.history import History
from edgechaos.analysis.numbers import measure
from edgechaos.theory.activations import Activation
from edgechaos.theory.meanfield import chi
from edgechaos.theory.weight_decay import steps_per_epoch, weight_decay_by_epoch

ByRun = dict[str, Float[np.ndarray, "runs seeds"]]


def ends(history: History) -> tuple[Float[np.ndarray, "runs"], ByRun]:
    """Weight decay of each run in rising order, and what it ends with by seed: J^2, losses, three accuracies."""
    weight_decay = history.column("weight_decay")
    means = {"j_squared": "j_squared", "accuracy": "test_accuracy", "loss": "test_loss"}
    means["calibrated_loss"] = "calibrated_test_loss"
    values = {name: history.final(source) for name, source in means.items()}
    values |= {"last_accuracy": history.last("test_accuracy"), "largest_accuracy": history.largest("test_accuracy")}
    rising = np.argsort(weight_decay)
    return weight_decay[rising], {name: one[rising] for name, one in values.items()}


def rows(history: History) -> list[dict[str, float]]:
    """One row per weight decay: what its runs end with, mean and standard deviation over the seeds."""
    weight_decay, values = ends(history)
    made = [{"weight_decay": float(value)} for value in weight_decay]
    for name, by_seed in values.items():
        for row, mean, deviation in zip(made, by_seed.mean(1), fits.deviation(by_seed), strict=True):
            row |= {name: float(mean), f"{name}_deviation": float(deviation)}
    return made


def best(
    weight_decay: Float[np.ndarray, "runs"], accuracy: Float[np.ndarray, "runs seeds"]
) -> dict[str, Float[np.ndarray, "values"]]:
    """The decay of best accuracy with the range of its equals, and the accuracy [seed] with it and without decay.

    Args:
      weight_decay: rising, from 0.
      accuracy: that each run ends with.
    """
    value, least, largest = fits.best_of(weight_decay, accuracy)
    return {
        "best_weight_decay": np.array([value]),
        "least_of_the_best": np.array([least]),
        "largest_of_the_best": np.array([largest]),
        "best_accuracy": accuracy[weight_decay == value].ravel(),
        "accuracy_without_decay": accuracy[0],
    }


def constant_without_decay(history: History) -> Float[np.ndarray, "seeds"]:
    """D of Eq. 5, of the run without decay."""
    return measure(history.some(history["weight_decay"] == 0))["constant_d"]


def three_runs(history: History) -> list[int]:
    """Runs without decay, with the one that ends nearest to the edge, and with a larger one."""
    end = history.final("j_squared").mean(1)
    rising = np.argsort(history.column("weight_decay"))
    nearest = int(np.nan_to_num(np.abs(end - 1), nan=np.inf).argmin())
    return list(dict.fromkeys([int(rising[0]), nearest, int(rising[-2:][0])]))


def lengths(history: History) -> dict[str, Bool[np.ndarray, "members"]]:
    """Which members have the fixed number of epochs, and which the fixed number of rescaled ones."""
    largest = history["learning_rate"].max()
    epochs = history["epochs"][history["learning_rate"] == largest].min()  # where both are the same run
    rescaled = np.isclose(history["epochs"] * history["learning_rate"], epochs * largest, rtol=0.02)
    return {"epochs": history["epochs"] == epochs, "rescaled": rescaled}


def by_rate(history: History) -> tuple[Float[np.ndarray, "points"], ...]:
    """Learning rate, and the decays that end at J^2 = 1, of best accuracy, and of least loss, by rate and seed."""
    found = []
    for (eta, _), some in sorted(history.split_by("learning_rate", "seed"), key=lambda pair: pair[0]):
        last, accuracy, loss = (some.final(name) for name in ("j_squared", "test_accuracy", "test_loss"))
        (at_edge,) = fits.weight_decay_that_ends_at(1.0, some["weight_decay"], last)
        best, least = (fits.peak(some["weight_decay"], score[:, 0]) for score in (accuracy, -loss))
        found.append((eta, at_edge, best, least))
    return tuple(np.array(found).T)


def held_at_end(history: History, member: int) -> float:
    """lambda that hold_at_edge amounted to in a member, mean of the last eighth of its epochs."""
    eta, alpha, size = (history[name][member].item() for name in ("learning_rate", "momentum", "batch_size"))
    num_steps = steps_per_epoch(history.num_samples, size)
    by_epoch = weight_decay_by_epoch(history["clock"][member], eta, alpha, num_steps, history.elapsed[member])
    return float(by_epoch[-max(1, len(by_epoch) // 8) :].mean())


def with_chi(history: History, activation: Activation) -> History:
    """The history with chi of Eq. 3 and J0/J at each entry's (J0, J) beside it; NaN where there is none."""
    j0, j = history["j0"], np.sqrt(history["j_squared"])
    known = np.isfinite(j) & (j > 0)
    values = np.full(j.shape, np.nan, np.float32)
    values[known] = np.asarray(chi(j0[known], j[known], activation))
    with np.errstate(divide="ignore", invalid="ignore"):
        return History({**history.arrays, "chi": values, "j0_over_j": j0 / j}, history.num_samples)
