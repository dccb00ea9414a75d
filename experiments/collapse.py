"""What Figs. 4 and 5 share: courses of J^2 and test loss against the epoch rescaled by Eq. 5, and their spread."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.runs.members import combinations
from experiments import common, sweeps

NUMBERS = {
    "spread_in_order": "largest relative spread of J^2 over the runs at equal rescaled epoch, for mean J^2 < 1",
    "spread_beyond": "the same for mean J^2 > 1",
    "last_spread": "relative spread at the end of the shortest run",
    "epoch_apart": "rescaled epoch beyond J^2 = 1 at which the spread first exceeds 10 %",
    "constant_d": "D of Eq. 5, median over the runs",
    "largest_deviation": "largest relative deviation of a slope from Eq. 5",
    "least_test_loss": "mean over the runs",
    "test_loss_spread": "relative spread of the least test loss over the runs",
    "j_squared_at_optimal_epoch": "J^2 at the least test loss, mean over the runs",
}


def run(name: str, config: dict[str, Any], directory: Path, inset: bool = False) -> None:
    """Data, sweep, spread; with the ordered phase as an inset, if asked for."""
    dataset = sweeps.prepare(config)

    def draw_courses(figure: Figure, history: dict[str, np.ndarray]) -> None:
        draw(figure, history, inset)

    history = sweeps.train(name, (9, 4), title(config), config, directory, dataset, draw_courses)
    measured = compare(history, analysis.measure(history, len(dataset.train_labels)))
    predicted = {
        **dict.fromkeys(NUMBERS, np.nan),
        "spread_in_order": 0.0,
        "constant_d": config["constant_d"] or np.nan,
        "largest_deviation": 0.0,
        "test_loss_spread": 0.0,
        "j_squared_at_optimal_epoch": 1.0,
    }
    common.report(directory / f"{name}.png", title(config), predicted, measured, NUMBERS)


def compare(history: dict[str, np.ndarray], measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS` for each seed."""
    verdicts = analysis.verdicts(history, measured["slope_a"])
    losses = analysis.seeds_of(history, measured["least_test_loss"])
    return {
        **analysis.collapse_ranges(history),
        "constant_d": np.array([float(verdict.constant_d) for verdict in verdicts]),
        "largest_deviation": np.array([float(np.abs(verdict.deviation).max()) for verdict in verdicts]),
        "least_test_loss": losses.mean(0),
        "test_loss_spread": (losses.max(0) - losses.min(0)) / losses.mean(0),
        "j_squared_at_optimal_epoch": analysis.seeds_of(history, measured["j_squared_at_optimal_epoch"]).mean(0),
    }


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    number = len(combinations(config))
    return f"{config['dataset']}, {config['activation']}: {number} runs, {common.seeds(config)}{common.other(config)}"


def draw(figure: Figure, history: dict[str, np.ndarray], inset: bool) -> None:
    """J^2 and test loss of each run against the rescaled epoch."""
    growth, loss = figure.subplots(1, 2)
    panels = [(growth, "j_squared"), (loss, "test_loss")]
    if inset:
        ordered = growth.inset_axes((0.1, 0.56, 0.36, 0.38))  # the courses leave this corner free
        panels.append((ordered, "j_squared"))
    times = analysis.rescaled_epochs(history)
    num_seeds = len(np.unique(history["seed"]))
    for run in range(len(times) // num_seeds):
        members = slice(run * num_seeds, (run + 1) * num_seeds)
        label = "$\\eta$ {learning_rate:g}, $\\alpha$ {momentum:g}, B {batch_size}".format(
            **{name: history[name][members][0] for name in ("learning_rate", "momentum", "batch_size")}
        )
        for axes, name in panels:
            plotting.rescaled_course(axes, times[members][0], history[name][members], run, label)
    plotting.edge_line(growth)
    growth.set(title="(a) growth", ylabel="$J^2$")
    loss.set(title="(b) test loss", ylabel="test loss")
    loss.legend(*growth.get_legend_handles_labels())
    if inset:
        plotting.zoom_into_order(ordered)
