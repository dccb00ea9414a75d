"""Fig. 2: trains the network and follows it through the order-chaos phase diagram.

Draws (a) the path over the simulated phase diagram with the edge of Eq. 3, (b) losses, (c) accuracies and (d) J^2
against epoch, with the prediction of Eqs. 4 and 5 in the same axes. The same command again resumes an unfinished run
and redraws a finished one; with more seeds it extends what is there.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.runs import cost
from edgechaos.runs.config import TrainingConfig, growth_of
from edgechaos.runs.fields import declared, integer, one_of
from edgechaos.runs.simulate import diagram_background, require_cells
from edgechaos.theory import paper, scaling
from experiments.shared import cli, sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """A training run, and the simulated diagram behind its path."""

    activation: str = declared(
        one_of(("tanh",), "activation of the hidden layer; the diagram of (a) is that of tanh", "tanh", "shared")
    )
    map_num_neurons: int = declared(integer(2, "number of neurons N of the simulated phase diagram"))
    map_num_iterations: int = declared(integer(20, "iterations of the simulated phase diagram"))
    map_num_columns: int = declared(integer(2, "number of its cells along J0/J"))
    map_num_rows: int = declared(integer(2, "number of its cells along 1/J"))


def predict(config: Config, dataset: Dataset) -> dict[str, float]:
    """The numbers to expect, the time from this machine's rate among them."""
    seconds = cost.predicted_seconds(dataset, config.epochs, config.batch_size, cost.matrix_product_rate())
    return analysis.predict(growth_of(config, len(dataset.train_labels)), scale_of(config), seconds)


def compare(history: History) -> dict[str, np.ndarray]:
    """The same numbers as measured."""
    measured = analysis.measure(history)
    if np.isnan(measured["slope_a"]).any():
        print(
            "no line fit, because J^2 passed 1 within 2 epochs or the run is shorter; "
            "use a smaller learning_rate or more epochs"
        )
    return measured


def scale_of(config: Config) -> float:
    """eta / ((1 - alpha) B)."""
    return float(scaling.scale_factor(config.learning_rate, config.momentum, config.batch_size))


def title(config: Config) -> str:
    """What was run, in one line; a run moved along the scaling law says so."""
    ratio = scale_of(config) / paper.SCALE_FACTOR
    moved = "" if np.isclose(ratio, 1) else f", {ratio:g} x the paper's scale factor"
    numbers = f"{cli.setting(config)}, $\\lambda$ {config.weight_decay:g}, {config.epochs} epochs, {cli.seeds(config)}"
    return f"{config.dataset}, {config.activation}: {numbers}{cli.other(config)}{moved}"


def phase_map(config: Config, directory: Path) -> dict[str, Any]:
    """The simulated background of (a), for `draw`."""
    j0_over_j = np.linspace(-1, 1, config.map_num_columns, dtype=np.float32)
    inverse_j = (3 * np.arange(1, config.map_num_rows + 1) / config.map_num_rows).astype(np.float32)
    size = config.map_num_neurons, config.map_num_iterations
    return {"background": diagram_background(directory, j0_over_j, inverse_j, config.seed, *size)}


def draw(figure: Figure, config: Config, history: History, background: dict[str, Any]) -> None:
    """Draws the four panels from arrays."""
    measured = analysis.measure(history)
    numbers, expected = analysis.mean(measured), growth_of(config, history.num_samples)
    marks = {
        "$J^2 = 1$, measured": (numbers["epoch_at_edge"], plotting.EDGE, "-"),
        "$J^2 = 1$, predicted": (expected.epochs_to(1.0), plotting.PREDICTION, ":"),
        "least test loss": (numbers["optimal_epoch"], plotting.TEST, "--"),
    }
    (diagram, losses), (accuracies, growth) = figure.subplots(2, 2)
    plotting.phase_map(diagram, **background)
    plotting.path(diagram, history["j0"], history["j_squared"], measured["optimal_epoch"])
    diagram.set_title("(a) path in the phase diagram")

    for axes, quantity, letter in ((losses, "loss", "b"), (accuracies, "accuracy", "c")):
        plotting.trajectory(axes, history[f"train_{quantity}"], plotting.TRAIN, "train")
        plotting.trajectory(axes, history[f"test_{quantity}"], plotting.TEST, "test")
        calibrated = history["calibrated_test_loss"]
        if quantity == "loss" and config.loss == "cross_entropy" and np.isfinite(calibrated).any():
            plotting.trajectory(axes, calibrated, plotting.MARK, "test, calibrated")
        plotting.mark_epochs(axes, marks)
        axes.set(title=f"({letter}) {quantity}", ylabel=quantity)
        axes.legend()

    plotting.trajectory(growth, history["j_squared"], plotting.TRAIN, "measured")
    line = expected.trajectory()
    if np.isfinite(line).all():
        growth.plot(line, color=plotting.PREDICTION, linestyle=":", label="predicted (Eqs. 4 and 5)")
    fitted = history.elapsed[0][: int(numbers["fit_epochs"]) + 1]
    plotting.line_fit(growth, numbers["fitted_slope"], numbers["intercept_c"], fitted)
    plotting.edge_line(growth)
    top = 1.1 * max(np.nanmax(history["j_squared"]), 1)
    growth.set(title="(d) weight variance", ylabel="$J^2$", ylim=(0, top))
    growth.legend()


FIGURE = sweep.Sweep(
    name="fig2",
    size=(9, 7),
    title=title,
    numbers=analysis.NUMBERS,
    predict=predict,
    compare=lambda config, history: compare(history),
    draw=draw,
    check=lambda config: require_cells(config.map_num_columns, config.map_num_rows),
    background=phase_map,
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config, is_shared=False)
