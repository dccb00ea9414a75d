"""What Fig. 6 and its like for ReLU share: a sweep over weight decay from 0 on, and the panel of accuracies."""

from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axes import Axes

from edgechaos import plotting
from edgechaos.analysis import History, decays
from edgechaos.errors import UserError
from edgechaos.runs.config import TrainingConfig

# the accuracy of a run, of which the authors' code plots the last two and the paper shows one
ACCURACIES = {
    "accuracy": "mean of the last twentieth of the epochs",
    "last_accuracy": "after the last epoch",
    "largest_accuracy": "largest over all epochs, which noise raises",
}
SHOWN = {
    "largest_accuracy": "largest epoch (biased)",
    "accuracy": "mean of the last 5 %",
    "last_accuracy": "last epoch",
}


def require_zero(config: TrainingConfig) -> None:
    """Raises a UserError unless one of the swept decays is 0."""
    if 0.0 not in config.sweep.get("weight_decay", ()):
        raise UserError("sweep.weight_decay: must contain 0, because some numbers need a run without decay")


def describe(row: dict[str, float]) -> str:
    """One run in a line."""
    numbers = [f"lambda {row['weight_decay']:<8g} J^2 {row['j_squared']:.3f} +- {row['j_squared_deviation']:.3f}  test"]
    for name, word in (("accuracy", "accuracy"), ("last_accuracy", "last"), ("largest_accuracy", "largest")):
        numbers.append(f"{word} {row[name]:.4f} +- {row[f'{name}_deviation']:.4f}")
    return "  ".join(numbers)


def drawn(history: History, runs: Iterable[int]) -> Iterator[tuple[slice, str, str]]:
    """Members, color and label of each of up to three runs, if it has begun."""
    for color, run in zip((plotting.TRAIN, plotting.MARK, plotting.TEST), runs, strict=False):
        members = history.members_of_run(run)
        if np.isfinite(history["j_squared"][members]).any():
            yield members, color, f"$\\lambda$ = {history.column('weight_decay')[run]:g}"


def draw_accuracies(axes: Axes, history: History, marks: dict[str, float]) -> None:
    """Three accuracies of each run against weight decay, with marked decays."""
    weight_decay, values = decays.ends(history)
    if np.isfinite(values["accuracy"]).any():
        plotting.scores(axes, weight_decay, {words: values[name] for name, words in SHOWN.items()}, marks)
    axes.set(title="(b) test accuracy of a run", xlabel="$\\lambda$", ylabel="test accuracy")
