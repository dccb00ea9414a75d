"""The scaffold of an experiment: it says what it predicts, compares and draws, and the rest is done here."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm

from edgechaos import analysis, data, plotting, runs
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.runs import cost, processes
from edgechaos.runs.config import RunConfig, TrainingConfig, growth_of
from edgechaos.runs.fields import validate_batch_size
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.members import Columns, sweep_members
from edgechaos.runs.resumable import once
from experiments.shared import cli

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """What an experiment says of itself. A config comes first wherever it is an argument.

    Attributes:
      name: of the experiment, and of its figure's files.
      size: of the figure, inches.
      title: what was run, in one line.
      numbers: name -> meaning of what is predicted and measured; of a number at several places, NAME_at_PLACE, NAME.
      predict: (config, what was prepared) -> what is expected; a name that it leaves out is not predicted.
      compare: (config, outcome) -> the same numbers as measured, each by seed or one for all.
      draw: (figure, config, outcome) puts an outcome, finished or not, into a figure.
      rows: (config, outcome) -> one for each run, for summary.json.
      describe: a row in a line.
      rows_name: of the rows in summary.json.
      check: what the experiment asks for beyond the ranges of the fields; raises a UserError.
      further: what else summary.json holds.
    """

    name: str
    size: tuple[float, float]
    title: Callable[[Any], str]
    numbers: Mapping[str, str]
    predict: Callable[[Any, Any], Mapping[str, float]]
    compare: Callable[[Any, Any], Mapping[str, np.ndarray]]
    draw: Callable[..., object]
    rows: Callable[[Any, Any], list[Row]] | None = None
    describe: Callable[[Row], str] = str
    rows_name: str = "runs"
    check: Callable[[Any], None] = lambda config: None
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(Experiment):
    """An experiment that computes its outcome by itself.

    Attributes:
      arrays: name -> shape and meaning, of what it writes.
      prepare: (config, directory) -> what the prediction rests on, such as a data set.
      measure: (config, what was prepared, directory) -> outcome.
    """

    arrays: Mapping[str, str]
    prepare: Callable[[Any, Path], Any]
    measure: Callable[[Any, Any, Path], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep(Experiment):
    """An experiment that trains members and compares what their history shows with a prediction.

    Attributes:
      background: (config, directory) -> what is simulated before the training, as keywords for `draw`.
    """

    background: Callable[[Any, Path], dict[str, Any]] = lambda config, directory: {}


def main(experiment: Sweep | Measurement, kind: type[RunConfig] = TrainingConfig, is_shared: bool = True) -> None:
    """The command line; several processes may share a sweep if nothing but its training takes long."""
    if isinstance(experiment, Sweep):
        cli.run(experiment.name, functools.partial(run, experiment), kind, ARRAYS, is_sweep=is_shared, grows=True)
    else:
        cli.run(experiment.name, functools.partial(run_measurement, experiment), kind, experiment.arrays)


def run(sweep: Sweep, config: TrainingConfig, directory: Path) -> None:
    """Data, prediction, training, verdict."""
    sweep.check(config)
    dataset = load(config)
    predicted = expect(sweep, config, dataset, directory)
    bound = dataclasses.replace(sweep, draw=functools.partial(sweep.draw, **sweep.background(config, directory)))
    history = train(bound, config, dataset, directory)
    conclude(bound, config, history, predicted, directory)


def run_measurement(experiment: Measurement, config: RunConfig, directory: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """Preparation, prediction, measurement, verdict; returns the outcome, and the numbers that were measured."""
    experiment.check(config)
    prepared = experiment.prepare(config, directory)
    predicted = announce(experiment, config, prepared, directory)
    outcome = experiment.measure(config, prepared, directory)
    return outcome, conclude(experiment, config, outcome, predicted, directory)


def load(config: TrainingConfig) -> Dataset:
    """The data set of a sweep.

    Raises:
      UserError: it cannot be had, or is smaller than a batch.
    """
    return load_for(config, int(sweep_members(config)["batch_size"].max()))


def load_for(config: Any, batch_size: int, share: float = 1.0) -> Dataset:
    """The data set that a config names, with the label noise that a training run asks for.

    Raises:
      UserError: it cannot be had, or the `share` of it that is trained with is smaller than a batch.
    """
    dataset = data.load(config.dataset, config.data_dir or None)
    validate_batch_size(batch_size, int(share * len(dataset.train_labels)))
    noise = config.label_noise if isinstance(config, TrainingConfig) else 0.0
    return data.with_label_noise(dataset, noise, config.seed)


def announce(experiment: Experiment, config: Any, prepared: Any, directory: Path) -> dict[str, float]:
    """Writes down and prints what the whole figure is expected to show."""
    predicted = dict(experiment.predict(config, prepared))
    if predicted.keys() <= experiment.numbers.keys():
        predicted = dict.fromkeys(experiment.numbers, np.nan) | predicted
    runs.write_json(directory / "prediction.json", predicted)
    print(analysis.table({"predicted": predicted}, predicted), flush=True)
    return predicted


def expect(sweep: Sweep, config: TrainingConfig, dataset: Dataset, directory: Path) -> dict[str, float]:
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
    return announce(sweep, config, dataset, directory)


def seconds_of(columns: Columns, member: int, dataset: Dataset, rate: float) -> float:
    """Expected computing time of a member on a machine of this rate."""
    epochs, size = (int(columns[name][member]) for name in ("epochs", "batch_size"))
    return cost.predicted_seconds(dataset, epochs, size, rate)


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
    """Trains all members and returns their history; NAME.png is drawn as it grows."""
    num_samples = len(dataset.train_labels)

    def refresh(arrays: dict[str, np.ndarray]) -> None:
        picture(sweep, config, History(arrays, num_samples), directory, ".png")

    return History(runs.run_sweep(directory, config, dataset, refresh), num_samples)


def train_each(
    directory: Path, keys: Mapping[str, Any], train_one: Callable[[Any], Any], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Runs that are trained one after the other, each kept in runs/ when it is finished: name -> [*shape, ...].

    Args:
      directory: the work directory.
      keys: file name -> what tells the run.
      train_one: what tells the run -> its trajectory, a NamedTuple of arrays.
      shape: of all runs.
    """
    found = []
    for name, key in tqdm.tqdm(keys.items(), desc="runs", unit="run", dynamic_ncols=True):
        compute = functools.partial(lambda key: jax.tree.map(np.asarray, train_one(key)._asdict()), key)
        found.append(once(directory / "runs" / f"{name}.npz", compute))
    return {name: np.stack([one[name] for one in found]).reshape(*shape, *found[0][name].shape) for name in found[0]}


def picture(experiment: Experiment, config: Any, outcome: Any, directory: Path, *suffixes: str) -> None:
    """Draws NAME with each of the suffixes."""
    paths = [directory / f"{experiment.name}{suffix}" for suffix in suffixes]
    with plotting.figure(*experiment.size, experiment.title(config), *paths) as figure:
        experiment.draw(figure, config, outcome)


def conclude(
    experiment: Experiment, config: Any, outcome: Any, predicted: Mapping[str, float], directory: Path
) -> dict[str, np.ndarray]:
    """Draws the figure, prints each run and measured beside predicted, and writes summary.json."""
    picture(experiment, config, outcome, directory, ".png", ".pdf")
    rows = experiment.rows(config, outcome) if experiment.rows else []
    for row in rows:
        print(experiment.describe(row))
    measured = dict(experiment.compare(config, outcome))
    numbers = experiment.numbers
    meaning = {name: numbers.get(name) or numbers[name.partition("_at_")[0]] for name in predicted}
    summary = analysis.summary(predicted, measured, experiment.title(config), meaning)
    further = {**experiment.further, **({experiment.rows_name: rows} if experiment.rows else {})}
    runs.write_json(directory / "summary.json", {**summary, **further})
    columns = {"predicted": predicted, "measured": analysis.mean(measured), "+-": analysis.spread(measured)}
    print(analysis.table(columns, meaning))
    print(f"figure: {directory / experiment.name}.png")
    return measured
