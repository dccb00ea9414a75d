"""The weight decay that ends at the edge of chaos, for several learning rates, momenta and batch sizes.

Eq. 9 has none of the three. Draws J^2 at the end against the decay for each setting, and the decay that ends at 1 by
setting. The same command again resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.runs import fields
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.members import combinations
from experiments import common, sweeps

FIELDS = fields.TRAINING_FIELDS
NUMBERS = {
    "spread": "largest less least decay that ends at J^2 = 1, over their mean; predicted: 0",
    "mean_decay": "mean over the settings of the decay that ends at J^2 = 1",
}
SETTING = ("learning_rate", "momentum", "batch_size")


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, sweep, comparison of the settings."""
    dataset = sweeps.prepare(config)
    history = sweeps.train("independence", (9, 4), title(config), config, directory, dataset, draw)
    settings, decays = by_setting(history)
    rows = [
        {**dict(zip(SETTING, setting, strict=True)), "decay": float(values.mean()), "decay_over_seeds": values.tolist()}
        for setting, values in zip(settings, decays, strict=True)
    ]
    for row in rows:
        print("eta {learning_rate:<6g} alpha {momentum:<5g} B {batch_size:<4g} ends at 1: {decay:.3g}".format(**row))
    measured = {
        "spread": (decays.max(0) - decays.min(0)) / decays.mean(0),
        "mean_decay": decays.mean(0),
    }
    predicted = {"spread": 0.0, "mean_decay": config["constant_d"] / (4 * len(dataset.train_labels)) or np.nan}
    common.report(directory / "independence.png", title(config), predicted, measured, NUMBERS, settings=rows)


def by_setting(history: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The settings [setting, 3], and the decay that ends at J^2 = 1 [setting, seed] by interpolation."""
    columns = np.stack([history[name] for name in SETTING], axis=1)
    settings, first = np.unique(columns, axis=0, return_index=True)
    settings = settings[np.argsort(first)]  # as the config has them
    return settings, np.array(
        [analysis.weight_decay_that_ends_at(1.0, *ends(history, (columns == setting).all(1))) for setting in settings]
    )


def ends(history: dict[str, np.ndarray], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decay [run] and J^2 at the end [run, seed] of some members."""
    some = analysis.members_of(history, chosen)
    last = analysis.final_mean(some, "j_squared")
    return analysis.seeds_of(some, some["weight_decay"])[:, 0], analysis.seeds_of(some, last)


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    runs_of = f"{len(combinations(config))} runs of equal rescaled length"
    return f"{config['dataset']}, {config['activation']}: {runs_of}, {common.seeds(config)}"


def draw(figure: Figure, history: dict[str, np.ndarray]) -> None:
    """J^2 at the end against the decay, and the decay that ends at the edge by setting."""
    curves, found = figure.subplots(1, 2)
    settings, decays = by_setting(history)
    columns = np.stack([history[name] for name in SETTING], axis=1)
    labels = [f"$\\eta$ {eta:g}, $\\alpha$ {alpha:g}, B {size:g}" for eta, alpha, size in settings]
    for index, setting in enumerate(settings):
        decay, j_squared = ends(history, (columns == setting).all(1))
        plotting.points(curves, decay, j_squared, index, labels[index])
        plotting.points(found, np.array([float(index)]), decays[index : index + 1], index, labels[index])
    plotting.edge_line(curves)
    limits = 0.8 * history["weight_decay"].min(), 1.25 * history["weight_decay"].max()
    curves.set(title="(a) where it ends", xlabel="$\\lambda$", ylabel="$J^2$", xlim=limits, xscale="log")
    curves.legend()
    known = decays[np.isfinite(decays)]
    top = 1.3 * known.max() if len(known) else 1
    found.set(title="(b) $\\lambda$ that ends at the edge", ylabel="$\\lambda$", ylim=(0, top))
    found.set_xticks(range(len(labels)), labels, rotation=20, ha="right")


if __name__ == "__main__":
    common.run("independence", main, FIELDS, ARRAYS, is_sweep=True)
