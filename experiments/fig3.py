"""Fig. 3: the growth of J^2 in the ordered phase, and the scaling of its slope.

Draws (a) J^2 against epoch with the line fit of Eq. 4, and the slope A against (b) eta, (c) 1 / (1 - alpha), (d) 1 / B
with Eq. 5, each above its relative residuals; and says for each run whether it follows Eq. 5. The same command again
resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.runs import fields
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.members import combinations
from experiments import common, sweeps

FIELDS = fields.TRAINING_FIELDS
NUMBERS = {
    "constant_d": "D of Eq. 5: median over the runs of slope over scale factor",
    "constant_d_standard_error": "by the median absolute deviation over the runs",
    "share_that_follows": "share of the runs whose slope is within 10 % of Eq. 5 with that D",
    "largest_deviation": "largest relative deviation of a slope from Eq. 5",
    "slope_a": "A of the first run, that of (a), per epoch",
}
# what is varied in (b), (c), (d), and how it enters Eq. 5
PANELS = {
    "learning_rate": ("$\\eta$", lambda values: values),
    "momentum": ("$1/(1 - \\alpha)$", lambda values: 1 / (1 - values)),
    "batch_size": ("$1/B$", lambda values: 1 / values),
}


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, sweep, verdict."""
    dataset = sweeps.prepare(config)
    num_samples = len(dataset.train_labels)

    def draw_measured(figure: Figure, history: dict[str, np.ndarray]) -> None:
        draw(figure, history, analysis.measure(history, num_samples))

    history = sweeps.train("fig3", (10, 6), title(config), config, directory, dataset, draw_measured)
    measured = analysis.measure(history, num_samples)
    predicted, numbers = compare(config, history, measured)
    rows = run_by_run(history, measured)
    for row in rows:
        print("eta {learning_rate:<7g} alpha {momentum:<5g} B {batch_size:<4d} A {slope_a:.5f}".format(**row), end="  ")
        print("deviation {deviation:+.1%}  {verdict}".format(**row))
    common.report(directory / "fig3.png", title(config), predicted, numbers, NUMBERS, runs=rows)


def compare(
    config: dict[str, Any], history: dict[str, np.ndarray], measured: dict[str, np.ndarray]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What the paper says, and what each seed measured, under the same names."""
    verdicts = analysis.verdicts(history, measured["slope_a"])
    constant_d = config["constant_d"] or np.nan
    numbers = {
        "constant_d": [verdict.constant_d for verdict in verdicts],
        "constant_d_standard_error": [verdict.standard_error for verdict in verdicts],
        "share_that_follows": [verdict.follows.mean() for verdict in verdicts],
        "largest_deviation": [np.nanmax(np.abs(verdict.deviation)) for verdict in verdicts],
        "slope_a": analysis.seeds_of(history, measured["slope_a"])[0],
    }
    first = constant_d * analysis.scale_factors(history)[0]
    predicted = {"constant_d": constant_d, "share_that_follows": 1.0, "largest_deviation": 0.0, "slope_a": first}
    return {name: predicted.get(name, np.nan) for name in NUMBERS}, {
        name: np.array(values, float) for name, values in numbers.items()
    }


def run_by_run(history: dict[str, np.ndarray], measured: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row per run: hyperparameters, slope and deviation as means over the seeds, verdict."""
    verdicts = analysis.verdicts(history, measured["slope_a"])
    deviation = np.mean([verdict.deviation for verdict in verdicts], axis=0)
    follows = np.all([verdict.follows for verdict in verdicts], axis=0)
    names = ("learning_rate", "momentum", "batch_size")
    columns = {name: analysis.seeds_of(history, history[name])[:, 0].tolist() for name in names}
    slopes = analysis.seeds_of(history, measured["slope_a"])
    return [
        {
            **{name: columns[name][run] for name in names},
            "slope_a": float(slopes[run].mean()),
            "slope_a_over_seeds": slopes[run].tolist(),
            "deviation": float(deviation[run]),
            "verdict": "follows" if follows[run] else "deviates",
        }
        for run in range(len(slopes))
    ]


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    number = len(combinations(config))
    epochs = config["sweep"].get("epochs", (config["epochs"],))
    length = f"{min(epochs)} to {max(epochs)}" if len(set(epochs)) > 1 else f"{epochs[0]}"
    runs_of = f"{number} runs of {length} epochs"
    return f"{config['dataset']}, {config['activation']}: {runs_of}, {common.seeds(config)}{common.other(config)}"


def draw(figure: Figure, history: dict[str, np.ndarray], measured: dict[str, np.ndarray]) -> None:
    """Draws the four panels and the residuals from arrays."""
    grid = figure.add_gridspec(2, 4, height_ratios=(3, 1))
    num_seeds = len(np.unique(history["seed"]))
    draw_growth(
        figure.add_subplot(grid[:, 0]),
        history["j_squared"][:num_seeds],
        analysis.elapsed(history)[0],
        analysis.mean({name: values[:num_seeds] for name, values in measured.items()}),
    )
    slopes = analysis.seeds_of(history, measured["slope_a"])
    scales = analysis.seeds_of(history, analysis.scale_factors(history))[:, 0]
    if not np.isfinite(slopes).any():
        return
    constants = np.array([verdict.constant_d for verdict in analysis.verdicts(history, measured["slope_a"])])
    constant_d = constants[np.isfinite(constants)].mean()  # some seeds may not have begun
    for column, (name, (label, enters)) in enumerate(PANELS.items(), 1):
        chosen = varied(history, name)
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=above)
        x = enters(analysis.seeds_of(history, history[name])[chosen, 0])
        order = np.argsort(x)
        plotting.scaling(above, below, x[order], slopes[chosen][order], constant_d * scales[chosen][order])
        above.set_title(f"({'bcd'[column - 1]}) slope against {label}")
        below.set_xlabel(label)


def draw_growth(axes: Axes, j_squared: np.ndarray, times: np.ndarray, numbers: dict[str, float]) -> None:
    """J^2 of the first run against epoch, with its line fit."""
    plotting.course(axes, j_squared, plotting.TRAIN, "measured")
    if np.isfinite(numbers["fitted_slope"]):
        fitted = np.arange(int(numbers["fit_epochs"]) + 1)
        line = numbers["intercept_c"] + numbers["fitted_slope"] * times[: len(fitted)]
        label = f"fit: A = {numbers['fitted_slope']:.4f}"
        axes.plot(fitted, line, color=plotting.MARK, label=label, linewidth=3, alpha=0.6)
    plotting.edge_line(axes)
    axes.set(title="(a) growth", ylabel="$J^2$", xlim=(0, max(1, np.isfinite(j_squared).any(0).sum() - 1)))
    axes.legend()


def varied(history: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The runs that differ in `name` alone: those with the most frequent values of the two others."""
    others = [analysis.seeds_of(history, history[other])[:, 0] for other in PANELS if other != name]
    pairs, inverse, counts = np.unique(np.stack(others), axis=1, return_inverse=True, return_counts=True)
    del pairs
    return np.flatnonzero(inverse == counts.argmax())


if __name__ == "__main__":
    common.run("fig3", main, FIELDS, ARRAYS, is_sweep=True)
