"""Fig. 3: the growth of J^2 in the ordered phase, and the scaling of its slope.

Draws (a) J^2 against epoch with the line fit of Eq. 4, and the slope A against (b) eta, (c) 1 / (1 - alpha), (d) 1 / B
with Eq. 5, each above its relative residuals; and says for each run whether it follows Eq. 5. The same command again
resumes an unfinished sweep, redraws a finished one, or extends it.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.runs.config import TrainingConfig, growth_of
from edgechaos.runs.fields import combinations
from experiments.shared import cli, sweep

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


def predict(config: TrainingConfig, dataset: Dataset) -> dict[str, float]:
    """What the paper says: Eq. 5 with one D."""
    first = combinations(config.sweep, config.sweep_mode)[0]
    growth = growth_of(config, len(dataset.train_labels), **first)
    return {
        "constant_d": config.constant_d or np.nan,
        "share_that_follows": 1.0,
        "largest_deviation": 0.0,
        "slope_a": growth.slope,
    }


def compare(history: History) -> dict[str, np.ndarray]:
    """The same numbers for each seed."""
    slopes = analysis.measure(history)["slope_a"]
    return {**analysis.law_numbers(history, slopes), "slope_a": history.by_seed(slopes)[0].astype(float)}


def rows(history: History) -> list[dict[str, Any]]:
    """One row per run: hyperparameters, slope, deviation, verdict."""
    return analysis.rows_by_run(history, analysis.measure(history)["slope_a"], tuple(PANELS))


def describe(row: dict[str, Any]) -> str:
    """A run in a line."""
    text = "eta {learning_rate:<7g} alpha {momentum:<5g} B {batch_size:<4d} A {slope_a:.5f}  deviation {deviation:+.1%}"
    return f"{text}  {{verdict}}".format(**row)


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    epochs = config.sweep.get("epochs", (config.epochs,))
    length = f"{min(epochs)} to {max(epochs)}" if len(set(epochs)) > 1 else f"{epochs[0]}"
    runs_of = f"{len(combinations(config.sweep, config.sweep_mode))} runs of {length} epochs"
    return f"{config.dataset}, {config.activation}: {runs_of}, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, history: History) -> None:
    """Draws the four panels and the residuals from arrays."""
    measured = analysis.measure(history)
    grid = figure.add_gridspec(2, 4, height_ratios=(3, 1))
    first = history.members_of_run(0)
    draw_growth(
        figure.add_subplot(grid[:, 0]),
        history["j_squared"][first],
        history.elapsed[0],
        analysis.mean({name: values[first] for name, values in measured.items()}),
    )
    slopes = history.by_seed(measured["slope_a"])
    scales = history.by_seed(history.scale_factor)[:, 0]
    if not np.isfinite(slopes).any():
        return
    constants = np.array([verdict.constant_d for verdict in analysis.verdicts(history, measured["slope_a"])])
    constant_d = constants[np.isfinite(constants)].mean()  # some seeds may not have begun
    for column, (name, (label, enters)) in enumerate(PANELS.items(), 1):
        chosen = history.varied(name, PANELS)
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column], sharex=above)
        x = enters(history.column(name)[chosen])
        order = np.argsort(x)
        plotting.scaling(above, below, x[order], slopes[chosen][order], constant_d * scales[chosen][order])
        above.set_title(f"({'bcd'[column - 1]}) slope against {label}")
        below.set_xlabel(label)


def draw_growth(axes: Axes, j_squared: np.ndarray, times: np.ndarray, numbers: dict[str, float]) -> None:
    """J^2 of the first run against epoch, with its line fit."""
    plotting.trajectory(axes, j_squared, plotting.TRAIN, "measured")
    if np.isfinite(numbers["fitted_slope"]):
        fitted, label = times[: int(numbers["fit_epochs"]) + 1], f"fit: A = {numbers['fitted_slope']:.4f}"
        plotting.line_fit(axes, numbers["fitted_slope"], numbers["intercept_c"], fitted, label)
    plotting.edge_line(axes)
    axes.set(title="(a) growth", ylabel="$J^2$", xlim=(0, max(1, np.isfinite(j_squared).any(0).sum() - 1)))
    axes.legend()


FIGURE = sweep.Sweep(
    name="fig3",
    size=(10, 6),
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
