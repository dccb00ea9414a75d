"""The weight decay that ends at the edge of chaos, for several learning rates, momenta and batch sizes.

Eq. 9 has none of the three. Draws J^2 at the end against the decay for each setting, and the decay that ends at 1 by
setting. The same command again resumes an unfinished sweep, redraws a finished one, or extends it.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, plotting
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.fields import combinations
from experiments.shared import cli, sweep

NUMBERS = {
    "range": "largest less least decay that ends at J^2 = 1, over their mean; predicted: 0",
    "mean_decay": "mean over the settings of the decay that ends at J^2 = 1; predicted: Eq. 9",
}
SETTING = ("learning_rate", "momentum", "batch_size")


def predict(config: TrainingConfig, dataset: Dataset) -> dict[str, float]:
    """Eq. 9, whatever the setting."""
    constant_d = config.constant_d or np.nan
    return {"range": 0.0, "mean_decay": float(ec.weight_decay_at_edge(constant_d, len(dataset.train_labels)))}


def compare(history: History) -> dict[str, np.ndarray]:
    """The same numbers for each seed."""
    decays = np.array([decay for _, decay in at_edge(history)])
    return {"range": (decays.max(0) - decays.min(0)) / decays.mean(0), "mean_decay": decays.mean(0)}


def rows(history: History) -> list[dict[str, Any]]:
    """One row for each setting: the decay that ends at the edge."""
    return [
        {**dict(zip(SETTING, setting, strict=True)), "decay": float(values.mean()), "decay_over_seeds": values.tolist()}
        for setting, values in at_edge(history)
    ]


def describe(row: dict[str, Any]) -> str:
    """A setting in a line."""
    return "eta {learning_rate:<6g} alpha {momentum:<5g} B {batch_size:<4g} ends at 1: {decay:.3g}".format(**row)


def at_edge(history: History) -> list[tuple[tuple[float, ...], np.ndarray]]:
    """Each setting with the decay that ends at J^2 = 1 [seed], by interpolation."""
    return [
        (setting, analysis.weight_decay_that_ends_at(1.0, some.column("weight_decay"), some.final("j_squared")))
        for setting, some in history.split_by(*SETTING)
    ]


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    runs_of = f"{len(combinations(config.sweep, config.sweep_mode))} runs of equal rescaled length"
    return f"{config.dataset}, {config.activation}: {runs_of}, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, history: History) -> None:
    """J^2 at the end against the decay, and the decay that ends at the edge by setting."""
    curves, found = figure.subplots(1, 2)
    decays = np.array([decay for _, decay in at_edge(history)])
    labels = []
    for index, ((eta, alpha, size), some) in enumerate(history.split_by(*SETTING)):
        labels.append(f"$\\eta$ {eta:g}, $\\alpha$ {alpha:g}, B {size:g}")
        plotting.points(curves, some.column("weight_decay"), some.final("j_squared"), index, labels[index])
        plotting.points(found, np.array([float(index)]), decays[index : index + 1], index, labels[index])
    plotting.edge_line(curves)
    limits = 0.8 * history["weight_decay"].min(), 1.25 * history["weight_decay"].max()
    curves.set(title="(a) $J^2$ at the end", xlabel="$\\lambda$", ylabel="$J^2$", xlim=limits, xscale="log")
    curves.legend()
    known = decays[np.isfinite(decays)]
    top = 1.3 * known.max() if len(known) else 1
    found.set(title="(b) $\\lambda$ that ends at the edge", ylabel="$\\lambda$", ylim=(0, top))
    found.set_xticks(range(len(labels)), labels, rotation=20, ha="right")


FIGURE = sweep.Sweep(
    name="independence",
    size=(9, 4),
    title=title,
    numbers=NUMBERS,
    predict=predict,
    compare=lambda config, history: compare(history),
    draw=lambda figure, config, history: draw(figure, history),
    rows=lambda config, history: rows(history),
    describe=describe,
)

if __name__ == "__main__":
    sweep.main(FIGURE)
