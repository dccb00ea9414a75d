"""Fig. 2: trains the network and follows it through the order-chaos phase diagram.

Draws (a) the path over the simulated phase diagram with the edge of Eq. 3, (b) losses, (c) accuracies and (d) J^2
against epoch, with the prediction of Eqs. 4 and 5 in the same axes. The same command again resumes an unfinished run
and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, data, plotting, runs
from edgechaos.data.dataset import Dataset
from edgechaos.runs import cost, fields
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.simulate import diagram_background
from experiments import common, sweeps

FIELDS = {
    **fields.TRAINING_FIELDS,
    "activation": fields.one_of(("tanh",), "of the hidden layer; the diagram of (a) is that of tanh"),
    "map_num_neurons": fields.integer(2, "N of the simulated phase diagram"),
    "map_num_iterations": fields.integer(20, "its iterations"),
    "map_num_columns": fields.integer(2, "its cells along J0/J"),
    "map_num_rows": fields.integer(2, "its cells along 1/J"),
}


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, prediction, phase diagram, training, verdict."""
    dataset = data.load(config["dataset"], config["data_dir"] or None)
    num_samples = len(dataset.train_labels)
    fields.validate_batch_size(config["batch_size"], num_samples)
    predicted = runs.once(directory / "prediction.json", lambda: predict(config, dataset))
    print(analysis.table({"predicted": predicted}), flush=True)
    course = analysis.predicted_course(config, num_samples)
    background = phase_map(config, directory)

    def draw_all(figure: Figure, history: dict[str, np.ndarray]) -> None:
        draw(figure, history, analysis.measure(history, num_samples), predicted, course, background)

    history = sweeps.train("fig2", (9, 7), title(config), config, directory, dataset, draw_all)
    measured = analysis.measure(history, num_samples)
    runs.write_json(directory / "summary.json", analysis.summary(predicted, measured, title(config)))
    print(
        analysis.table({"predicted": predicted, "measured": analysis.mean(measured), "+-": analysis.spread(measured)})
    )
    if np.isnan(measured["slope_a"]).any():
        print("no line fit: J^2 passed 1 within 2 epochs, or the run is shorter; a smaller learning_rate takes longer")
    print(f"figure: {directory / 'fig2.png'}")


def predict(config: dict[str, Any], dataset: Dataset) -> dict[str, float]:
    """The numbers to expect, the time from this machine's rate among them."""
    rate = cost.matrix_product_rate()
    seconds = cost.predicted_seconds(dataset, config["epochs"], config["batch_size"], rate)
    return analysis.predict(config, len(dataset.train_labels), seconds)


def title(config: dict[str, Any]) -> str:
    """What was run, in one line; a run moved along the scaling law says so."""
    scale = ec.scale_factor(config["learning_rate"], config["momentum"], config["batch_size"])
    ratio = scale / ec.scale_factor(0.02, 0.5, 32)
    moved = "" if np.isclose(ratio, 1) else f", {ratio:g} x the paper's scale factor"
    numbers = (
        f"$\\eta$ {config['learning_rate']:g}, $\\alpha$ {config['momentum']:g}, B {config['batch_size']}, "
        f"$\\lambda$ {config['weight_decay']:g}, {config['epochs']} epochs, {common.seeds(config)}"
    )
    return f"{config['dataset']}, {config['activation']}: {numbers}{common.other(config)}{moved}"


def phase_map(config: dict[str, Any], directory: Path) -> dict[str, np.ndarray]:
    """The simulated background of (a)."""
    j0_over_j = np.linspace(-1, 1, config["map_num_columns"], dtype=np.float32)
    inverse_j = (3 * np.arange(1, config["map_num_rows"] + 1) / config["map_num_rows"]).astype(np.float32)
    size = config["map_num_neurons"], config["map_num_iterations"]
    return diagram_background(directory, j0_over_j, inverse_j, config["seed"], *size)


def draw(
    figure: Figure,
    history: dict[str, np.ndarray],
    measured: dict[str, np.ndarray],
    predicted: dict[str, float],
    course: np.ndarray,
    background: dict[str, np.ndarray],
) -> None:
    """Draws the four panels from arrays."""
    numbers = analysis.mean(measured)
    marks = {
        "$J^2 = 1$, measured": (numbers["epoch_at_edge"], plotting.EDGE, "-"),
        "$J^2 = 1$, predicted": (predicted["epoch_at_edge"], plotting.PREDICTION, ":"),
        "least test loss": (numbers["optimal_epoch"], plotting.TEST, "--"),
    }
    (diagram, losses), (accuracies, growth) = figure.subplots(2, 2)
    mesh = plotting.phase_map(diagram, **background)
    figure.colorbar(mesh, ax=diagram, label="$\\log_{10}(\\min(|x - x'|, 1) + 10^{-4})$")
    plotting.path(diagram, history["j0"], history["j_squared"], measured["optimal_epoch"])
    diagram.set_title("(a) path in the phase diagram")

    for axes, quantity, letter in ((losses, "loss", "b"), (accuracies, "accuracy", "c")):
        plotting.course(axes, history[f"train_{quantity}"], plotting.TRAIN, "train")
        plotting.course(axes, history[f"test_{quantity}"], plotting.TEST, "test")
        if quantity == "loss" and "squared_error" not in history["loss"]:
            plotting.course(axes, history["calibrated_test_loss"], plotting.MARK, "test, calibrated")
        plotting.mark_epochs(axes, marks)
        axes.set(title=f"({letter}) {quantity}", ylabel=quantity)
        axes.legend()

    plotting.course(growth, history["j_squared"], plotting.TRAIN, "measured")
    epochs = np.arange(len(course))
    if np.isfinite(course).all():
        growth.plot(epochs, course, color=plotting.PREDICTION, linestyle=":", label="predicted (Eqs. 4 and 5)")
    times = analysis.elapsed(history)[0][: int(numbers["fit_epochs"]) + 1]
    line = numbers["intercept_c"] + numbers["fitted_slope"] * times
    growth.plot(epochs[: len(line)], line, color=plotting.MARK, label="line fit (Eq. 4)", linewidth=3, alpha=0.6)
    plotting.edge_line(growth)
    top = 1.1 * max(np.nanmax(history["j_squared"]), 1)
    growth.set(title="(d) weight variance", ylabel="$J^2$", ylim=(0, top))
    growth.legend()


if __name__ == "__main__":
    common.run("fig2", main, FIELDS, ARRAYS, grows=True)
