"""The scaffold of a sweep: a figure says what it predicts, compares and draws, and the rest is done here."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgechaos import analysis, data, plotting, runs
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.errors import UserError
from edgechaos.runs import cost, processes
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.members import Columns, sweep_members
from edgechaos.theory import scaling
from experiments.shared import cli

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """An experiment that trains members and compares what they show with a prediction.

    Attributes:
      name: of the experiment, and of its figure's files.
      size: of the figure, inches.
      title: what was run, in one line.
      numbers: name -> meaning of what is predicted and measured.
      predict: what is expected before the start; a name that it leaves out is not predicted.
      compare: the same numbers as measured, each by seed or one for all.
      draw: (figure, config, history) puts a history, finished or not, into a figure.
      rows: one for each run, for summary.json.
      describe: a row in a line.
      check: what the experiment asks for beyond the ranges of the fields; raises a UserError.
      prepare: what is simulated before the training, as keywords for `draw`.
      further: what else summary.json holds.
    """

    name: str
    size: tuple[float, float]
    title: Callable[[Any], str]
    numbers: Mapping[str, str]
    predict: Callable[[Any, Dataset], Mapping[str, float]]
    compare: Callable[[Any, History], Mapping[str, np.ndarray]]
    draw: Callable[..., object]
    rows: Callable[[History], list[Row]] = lambda history: []
    describe: Callable[[Row], str] = str
    check: Callable[[Any], None] = lambda config: None
    prepare: Callable[[Any, Path], dict[str, Any]] = lambda config, directory: {}
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def main(sweep: Sweep, kind: type[TrainingConfig] = TrainingConfig, is_shared: bool = True) -> None:
    """The command line of a sweep, which several processes may share if nothing but its training takes long."""
    cli.run(sweep.name, functools.partial(run, sweep), kind, ARRAYS, is_sweep=is_shared, grows=True)


def run(sweep: Sweep, config: TrainingConfig, directory: Path) -> None:
    """Data, prediction, training, verdict."""
    sweep.check(config)
    dataset = load(config)
    predicted = announce(sweep, config, dataset, directory)
    bound = dataclasses.replace(sweep, draw=functools.partial(sweep.draw, **sweep.prepare(config, directory)))
    history = train(bound, config, dataset, directory)
    conclude(sweep, config, history, predicted, directory)


def load(config: TrainingConfig) -> Dataset:
    """The data set.

    Raises:
      UserError: it cannot be had, or is smaller than a batch.
    """
    dataset = data.load(config.dataset, config.data_dir or None)
    check_batch_size(int(sweep_members(config)["batch_size"].max()), len(dataset.train_labels))
    return dataset


def check_batch_size(batch_size: int, num_samples: int) -> None:
    """Raises a UserError if B > S."""
    if batch_size > num_samples:
        raise UserError(f"batch_size = {batch_size}: must be in [1, {num_samples}], the size of the training set")


def announce(sweep: Sweep, config: TrainingConfig, dataset: Dataset, directory: Path) -> dict[str, float]:
    """Prints, in process 0, what each run and what the whole figure is expected to show; returns the latter."""
    if not processes.is_first():
        return {}
    columns = sweep_members(config)
    rate = cost.matrix_product_rate()
    seconds = [seconds_of(columns, member, dataset, rate) for member in range(len(columns["seed"]))]
    print("predicted, by Eqs. 4 and 5" if config.constant_d else "no prediction: D of this data set is not known")
    for member in np.flatnonzero(columns["seed"] == config.seed):
        print(_expectation({name: values[member] for name, values in columns.items()}, config, dataset))
    print(f"about {sum(seconds) / 60:.1f} minutes of computing on a machine that does nothing else", flush=True)
    predicted = dict.fromkeys(sweep.numbers, np.nan) | dict(sweep.predict(config, dataset))
    runs.write_json(directory / "prediction.json", predicted)
    print(analysis.table({"predicted": predicted}, sweep.numbers), flush=True)
    return predicted


def seconds_of(columns: Columns, member: int, dataset: Dataset, rate: float) -> float:
    """Expected computing time of a member on a machine of this rate."""
    epochs, size = (int(columns[name][member]) for name in ("epochs", "batch_size"))
    return cost.predicted_seconds(dataset, epochs, size, rate)


def growth_of(config: TrainingConfig, num_samples: int, **changes: Any) -> scaling.Growth:
    """What Eqs. 4, 5 and C5 say of J^2 in a run, with the config's D, which is that of the cross-entropy.

    Args:
      config: of the run.
      num_samples: S.
      **changes: values of a member that differ from the config's own.
    """
    run = dataclasses.replace(config, **changes)
    scale = float(scaling.scale_factor(run.learning_rate, run.momentum, run.batch_size))
    constant_d = run.constant_d if run.constant_d and run.loss == "cross_entropy" else np.nan
    rate = float(scaling.relaxation_rate(scale, num_samples, run.weight_decay))
    return scaling.Growth(run.init_j**2, scale * constant_d, rate, run.schedule, run.epochs)


def _expectation(member: Mapping[str, Any], config: TrainingConfig, dataset: Dataset) -> str:
    """A member and its growth, in a line."""
    changes = {name: value.item() for name, value in member.items() if name != "seed"}
    growth = growth_of(config, len(dataset.train_labels), **changes)
    text = "eta {learning_rate:<7g} alpha {momentum:<5g} B {batch_size:<4d} lambda {weight_decay:<7g}".format(**changes)
    if np.isnan(growth.slope):
        return f"{text} {changes['epochs']} epochs"
    at_edge = growth.epochs_to(1.0)
    when = f"{at_edge:.1f}" if np.isfinite(at_edge) else "never"
    return (
        f"{text} A {growth.slope:.5f}  J^2 = 1 at epoch {when}  J^2 after {changes['epochs']} epochs "
        f"{growth.trajectory()[-1]:.2f}"
    )


def train(sweep: Sweep, config: TrainingConfig, dataset: Dataset, directory: Path) -> History:
    """Trains all members and returns their history; NAME.png is drawn as it grows, and NAME.pdf too at the end."""
    num_samples = len(dataset.train_labels)

    def redraw(arrays: dict[str, np.ndarray], *suffixes: str) -> None:
        paths = [directory / f"{sweep.name}{suffix}" for suffix in suffixes]
        with plotting.figure(*sweep.size, sweep.title(config), *paths) as figure:
            sweep.draw(figure, config, History(arrays, num_samples))

    arrays = runs.run_sweep(directory, config, dataset, lambda arrays: redraw(arrays, ".png"))
    redraw(arrays, ".png", ".pdf")
    return History(arrays, num_samples)


def conclude(
    sweep: Sweep, config: TrainingConfig, history: History, predicted: Mapping[str, float], directory: Path
) -> None:
    """Prints each run and measured beside predicted, and writes summary.json."""
    rows = sweep.rows(history)
    for row in rows:
        print(sweep.describe(row))
    measured = dict(sweep.compare(config, history))
    figure = directory / f"{sweep.name}.png"
    further = {**sweep.further, **({"runs": rows} if rows else {})}
    cli.write_summary(figure, sweep.title(config), predicted, measured, sweep.numbers, **further)
