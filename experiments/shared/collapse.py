"""What Figs. 4 and 5 share: trajectories of J^2 and test loss against the epoch rescaled by Eq. 5, and their range."""

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.fields import combinations
from experiments.shared import cli
from experiments.shared.sweep import Sweep

NUMBERS = {
    "range_in_ordered_phase": "largest relative range of J^2 over the runs at equal rescaled epoch, for mean J^2 < 1",
    "range_beyond": "the same for mean J^2 > 1",
    "last_range": "relative range at the end of the shortest run",
    "epoch_apart": "rescaled epoch beyond J^2 = 1 at which the range first exceeds 10 %",
    "constant_d": "D of Eq. 5, median over the runs",
    "largest_deviation": "largest relative deviation of a slope from Eq. 5",
    "least_test_loss": "mean over the runs",
    "test_loss_range": "relative range of the least test loss over the runs",
    "j_squared_at_optimal_epoch": "J^2 at the least test loss, mean over the runs",
}


def sweep(name: str, inset: bool = False) -> Sweep:
    """The sweep of Fig. 4 or 5; with the ordered phase as an inset, if asked for."""
    return Sweep(
        name=name,
        size=(9, 4),
        title=title,
        numbers=NUMBERS,
        predict=predict,
        compare=lambda config, history: compare(history),
        draw=lambda figure, config, history: draw(figure, history, inset),
    )


def predict(config: TrainingConfig, dataset: Dataset) -> dict[str, float]:
    """What the paper says: one trajectory, and the least test loss at the edge."""
    del dataset
    zero = dict.fromkeys(("range_in_ordered_phase", "largest_deviation", "test_loss_range"), 0.0)
    return {**zero, "constant_d": config.constant_d or np.nan, "j_squared_at_optimal_epoch": 1.0}


def compare(history: History) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS` for each seed."""
    measured = analysis.measure(history)
    verdicts = analysis.verdicts(history, measured["slope_a"])
    losses = history.by_seed(measured["least_test_loss"])
    return {
        **analysis.collapse_ranges(history),
        "constant_d": np.array([float(verdict.constant_d) for verdict in verdicts]),
        "largest_deviation": np.array([float(np.abs(verdict.deviation).max()) for verdict in verdicts]),
        "least_test_loss": losses.mean(0),
        "test_loss_range": (losses.max(0) - losses.min(0)) / losses.mean(0),
        "j_squared_at_optimal_epoch": history.by_seed(measured["j_squared_at_optimal_epoch"]).mean(0),
    }


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    number = len(combinations(config.sweep, config.sweep_mode))
    return f"{config.dataset}, {config.activation}: {number} runs, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, history: History, inset: bool) -> None:
    """J^2 and test loss of each run against the rescaled epoch."""
    growth, loss = figure.subplots(1, 2)
    panels = [(growth, "j_squared"), (loss, "test_loss")]
    if inset:
        ordered = growth.inset_axes((0.1, 0.56, 0.36, 0.38))  # the trajectories leave this corner free
        panels.append((ordered, "j_squared"))
    times = analysis.rescaled_epochs(history)
    columns = {name: history.column(name) for name in ("learning_rate", "momentum", "batch_size")}
    for run in range(len(columns["momentum"])):
        members = history.members_of_run(run)
        label = "$\\eta$ {learning_rate:g}, $\\alpha$ {momentum:g}, B {batch_size}".format(
            **{name: values[run] for name, values in columns.items()}
        )
        for axes, name in panels:
            plotting.rescaled_trajectory(axes, times[members][0], history[name][members], run, label)
    plotting.edge_line(growth)
    growth.set(title="(a) growth", ylabel="$J^2$")
    loss.set(title="(b) test loss", ylabel="test loss")
    loss.legend(*growth.get_legend_handles_labels())
    if inset:
        plotting.zoom_into_ordered_phase(ordered)
