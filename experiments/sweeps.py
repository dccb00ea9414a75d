"""What the sweeps share: the data, the prediction, and training with a figure that is drawn as it goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, data, plotting
from edgechaos.data.dataset import Dataset
from edgechaos.runs import cost, fields, processes
from edgechaos.runs.members import sweep_members
from edgechaos.runs.run import run_sweep


def prepare(config: dict[str, Any]) -> Dataset:
    """Loads the data, holds every batch size against it, and prints the prediction."""
    dataset = data.load(config["dataset"], config["data_dir"] or None)
    fields.validate_batch_size(int(sweep_members(config)["batch_size"].max()), len(dataset.train_labels))
    announce(config, dataset)
    return dataset


def announce(config: dict[str, Any], dataset: Dataset) -> None:
    """Prints, in process 0, slope, epoch of J^2 = 1, J^2 at the end (Eqs. 4, 5, C5) for each run, and the time."""
    if not processes.is_first():
        return
    columns, num_samples = sweep_members(config), len(dataset.train_labels)
    rate = cost.matrix_product_rate()
    seconds = 0.0
    print("predicted, by Eqs. 4 and 5" if config["constant_d"] else "no prediction: D of this data set is not known")
    for member in range(len(columns["seed"])):
        run = {**config, **{name: values[member].item() for name, values in columns.items()}}
        expected = cost.predicted_seconds(dataset, run["epochs"], run["batch_size"], rate)
        seconds += expected
        if columns["seed"][member] > columns["seed"][0] or not config["constant_d"]:
            continue
        numbers = analysis.predict(run, num_samples, expected)
        at_edge = f"{numbers['epoch_at_edge']:.1f}" if np.isfinite(numbers["epoch_at_edge"]) else "never"
        named = "eta {learning_rate:<7g} alpha {momentum:<5g} B {batch_size:<4d} lambda {weight_decay:<7g}".format(
            **run
        )
        print(
            f"{named} A {numbers['slope_a']:.5f}  J^2 = 1 at epoch {at_edge}  J^2 after {run['epochs']} epochs "
            f"{numbers['final_j_squared']:.2f}"
        )
    print(f"about {seconds / 60:.1f} minutes of computing on a machine that does nothing else", flush=True)


def train(
    name: str,
    size: tuple[float, float],
    title: str,
    config: dict[str, Any],
    directory: Path,
    dataset: Dataset,
    draw: Callable[[Figure, dict[str, np.ndarray]], object],
) -> dict[str, np.ndarray]:
    """Trains all members and returns the history; NAME.png is drawn as it grows, and NAME.pdf too at the end.

    Args:
      name: of the figure's files.
      size: of the figure, inches.
      title: of the figure.
      config: validated.
      directory: the work directory.
      dataset: on the host.
      draw: puts a history, finished or not, into a figure.
    """

    def redraw(history: dict[str, np.ndarray], *suffixes: str) -> None:
        with plotting.figure(*size, title, *[directory / f"{name}{suffix}" for suffix in suffixes]) as figure:
            draw(figure, history)

    history = run_sweep(directory, config, dataset, lambda history: redraw(history, ".png"))
    redraw(history, ".png", ".pdf")
    return history
