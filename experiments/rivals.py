"""Ways to choose weight decay: fixed decays, the paper's grid, Eq. 9, hold_at_edge, other constraints, and a search.

Prints for each way the test accuracy and loss at the end and at best, J^2 at the end, and the epochs of computing that
it took, including the choice. Networks are also trained with the decay that the hold of the first seed ends with, and
with those that a search finds on a validation split. The same command again resumes an unfinished run.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting, runs, training
from edgechaos.analysis import History, decays
from edgechaos.data import KEPT, Dataset, validation_split
from edgechaos.errors import UserError
from edgechaos.runs import processes
from edgechaos.runs.config import TrainingConfig, as_record, hyperparameters_of, spec_of
from edgechaos.runs.fields import combinations, declared, rising_tuple
from edgechaos.runs.history import ARRAYS, METRICS
from edgechaos.theory.scaling import weight_decay_at_edge
from experiments.shared import cli, sweep, trials


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """A sweep of ways to choose weight decay, and a search beside it."""

    trials: tuple[int, ...] = declared(
        rising_tuple(
            "numbers of trials of Optuna after which a network is trained with the best decay so far; () for no search",
            "(8, 16, 32)",
        )
    )


NUMBERS = {
    "final_accuracy": "mean test accuracy of the last twentieth of the epochs, of hold_at_edge",
    "best_of_grid": "the same for the best of the fixed decays, by the mean over the seeds",
    "behind_best": "by how many standard errors of the difference hold_at_edge is behind the best row; target: <= 1",
    "share_of_grid_cost": "epochs that hold_at_edge took over those of all fixed decays; target: <= 1/8",
    "held_j_squared": "J^2 at the end of hold_at_edge",
    "fixed_j_squared": "J^2 at the end of runs with the fixed decay that a hold ended with; target: 1 +- 0.05",
}
TARGETS = {"behind_best": 1.0, "share_of_grid_cost": 0.125, "held_j_squared": 1.0, "fixed_j_squared": 1.0}
HOLD, ITS_DECAY, EQ_9 = "hold at edge", "decay of the hold", "Eq. 9"


class Way(NamedTuple):
    """A way to choose weight decay.

    Attributes:
      name: of its row.
      kind: "grid" for a fixed decay of the grid, "chosen" for one that a run or a search chose, "rule" for the rest.
      epochs: of computing that one result took, choosing included.
    """

    name: str
    kind: str
    epochs: float


class Choice(NamedTuple):
    """A fixed decay that a first run or a search chose, with the epochs that it took."""

    name: str
    weight_decay: float
    epochs: float


def main(config: Config, directory: Path) -> None:
    """Data, prediction, sweep, choices, verdict."""
    check(config)
    dataset = sweep.load(config)
    predicted = sweep.expect(FIGURE, config, dataset, directory)
    history = sweep.train(FIGURE, config, dataset, directory)
    ways = ways_of(config, history)
    for choice in choices(config, history, dataset, directory):
        history = history.joined(train_chosen(config, choice.weight_decay, dataset, directory))
        named = f"{choice.name}, $\\lambda$ = {choice.weight_decay:g}"
        ways.append(Way(named, "chosen", choice.epochs + config.epochs))
    sweep.conclude(experiment(lambda config, history: ways), config, history, predicted, directory)


def check(config: Config) -> None:
    """What this comparison asks for beyond the ranges of the fields.

    Raises:
      UserError: several processes, another axis of the sweep, or trials without Optuna.
    """
    if processes.name():
        raise UserError(
            "distributed: this experiment needs one process, because it trains with chosen decays after the sweep"
        )
    other = sorted(set(config.sweep) - {"weight_decay", "constraint", "target"})
    if other:
        raise UserError(f"sweep.{other[0]}: the ways differ in weight_decay, constraint and target")
    if config.trials:
        trials.require()


def choices(config: Config, history: History, dataset: Dataset, directory: Path) -> list[Choice]:
    """The decay that the first seed's hold ended with, and the best of each number of trials."""
    found = []
    at_edge = (history["constraint"] == "hold_at_edge") & (history["target"] == 1)
    held = np.flatnonzero(at_edge & (history["seed"] == config.seed))
    if len(held):
        decay = rounded(decays.held_at_end(history, held[0]))
        if np.isfinite(decay):  # else the hold diverged
            found.append(Choice(ITS_DECAY, decay, config.epochs))
    if config.trials:
        split = validation_split(dataset, config.seed)
        path, judge = directory / "trials.npz", functools.partial(validation_accuracy, config, split)
        tried, scores = trials.search(path, config.trials[-1], config.seed, judge)
        found += [
            Choice(f"Optuna, {number} trials", rounded(decay), number * KEPT * config.epochs)
            for number, decay in trials.best_after(config.trials, tried, scores)
        ]
    return found


def rounded(decay: float) -> float:
    """Three digits of a decay, as one would write it down."""
    return float(f"{decay:.3g}")


def validation_accuracy(config: Config, split: Dataset, weight_decay: float) -> float:
    """What a trial is judged by: the accuracy at the end of a run, as the rows have it on the test set."""
    spec = spec_of(config, split.num_classes, constraint="none")
    numbers = hyperparameters_of(config, weight_decay=weight_decay)
    history = training.train_one(split, spec, config.seed, numbers, config.epochs)
    return float(analysis.last_mean(np.asarray(history.test_accuracy)))


def train_chosen(config: Config, weight_decay: float, dataset: Dataset, directory: Path) -> History:
    """All seeds with a fixed decay, in a work directory of their own."""
    alone = dataclasses.replace(config, weight_decay=weight_decay, constraint="none", sweep={})
    folder = directory / "chosen" / f"{weight_decay:g}"
    with processes.work_directory(folder, as_record(alone), grows=True) as place:
        return History(runs.run_sweep(place, alone, dataset, lambda arrays: None), len(dataset.train_labels))


def ways_of(config: Config, history: History) -> list[Way]:
    """The ways of the sweep's runs; a fixed decay within 1 % of Eq. 9's is that."""
    columns = (history.column(name) for name in ("constraint", "weight_decay", "target"))
    eq_9 = float(weight_decay_at_edge(config.constant_d, history.num_samples))
    ways = []
    for constraint, decay, target in zip(*columns, strict=True):
        if constraint != "none":
            name = constraint.replace("_", " ").removesuffix(" at edge" if target != 1 else "")
            ways.append(Way(name if target == 1 else f"{name}, $J^2$ = {target:g}", "rule", config.epochs))
        elif eq_9 and abs(decay / eq_9 - 1) < 0.01:
            ways.append(Way(f"{EQ_9}, $\\lambda$ = {decay:g}", "rule", config.epochs))
        else:
            ways.append(Way(f"$\\lambda$ = {decay:g}", "grid", config.epochs))
    return ways


def table(history: History, ways: list[Way]) -> list[sweep.Row]:
    """One row per way: mean and standard deviation over the seeds, and the epochs of computing behind one result."""
    finals = {name: history.final(name) for name in METRICS}
    best = history.by_seed(np.nanmax(history["test_accuracy"], axis=1, initial=0))
    return [
        {
            "name": way.name.replace("$\\lambda$", "lambda"),
            "kind": way.kind,
            "accuracy": float(finals["test_accuracy"][run].mean()),
            "accuracy_deviation": float(analysis.deviation(finals["test_accuracy"][run])),
            "best_accuracy": float(best[run].mean()),
            "loss": float(finals["test_loss"][run].mean()),
            "loss_deviation": float(analysis.deviation(finals["test_loss"][run])),
            "j_squared": float(finals["j_squared"][run].mean()),
            "cost": way.epochs,
        }
        for run, way in enumerate(ways)
    ]


def compare(history: History, ways: list[Way]) -> dict[str, np.ndarray]:
    """hold_at_edge against the best row and the cost of the grid; NaN for what diverged, or is not among the ways."""
    accuracy, j_squared = history.final("test_accuracy"), history.final("j_squared")
    means = accuracy.mean(1)
    grid = np.flatnonzero([way.kind == "grid" for way in ways])
    held = next((run for run, way in enumerate(ways) if way.name == HOLD), None)
    if held is None or not np.isfinite(means[grid]).any():
        return {name: np.array([np.nan]) for name in NUMBERS}
    fixed = next((run for run, way in enumerate(ways) if way.name.startswith(ITS_DECAY)), None)
    return {
        "final_accuracy": accuracy[held],
        "best_of_grid": accuracy[grid[np.nanargmax(means[grid])]],
        "behind_best": np.array([analysis.behind(accuracy[held], accuracy[int(np.nanargmax(means))])]),
        "share_of_grid_cost": np.array([ways[held].epochs / sum(ways[run].epochs for run in grid)]),
        "held_j_squared": j_squared[held],
        "fixed_j_squared": np.array([np.nan]) if fixed is None else j_squared[fixed],
    }


def title(config: Config) -> str:
    """What was run, in one line."""
    number = len(combinations(config.sweep, config.sweep_mode))
    numbers = f"{cli.setting(config)}, {config.epochs} epochs"
    return f"{config.dataset}: {number} ways and what they chose, {numbers}, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, history: History, ways: list[Way]) -> None:
    """Test accuracy and loss of each way, and the trajectories of J^2."""
    scores, losses, growth = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    for axes, quantity, names in ((scores, "accuracy", [way.name for way in ways]), (losses, "loss", [""] * len(ways))):
        plotting.rows(axes, names, history.final(f"test_{quantity}"))
        axes.set(title=f"({'a' if axes is scores else 'b'}) at the end", xlabel=f"test {quantity}")
    without_decay = history.column("weight_decay") == 0
    shown = [run for run, way in enumerate(ways) if without_decay[run] or way.name.startswith(ITS_DECAY)]
    for number, run in enumerate(shown):
        name = ways[run].name.partition(",")[0]
        members = history.members_of_run(run)
        plotting.trajectory(growth, history["j_squared"][members], plotting.color_of(number), name)
    plotting.edge_line(growth)
    growth.set(title="(c) growth", ylabel="$J^2$", ylim=(0, 3))
    growth.legend()


def describe(row: sweep.Row) -> str:
    """A way in a line."""
    text = "{name:32} accuracy {accuracy:.4f} +- {accuracy_deviation:.4f}  best {best_accuracy:.4f}"
    return f"{text}  loss {{loss:.3f}}  J^2 {{j_squared:.3f}}  {{cost:.0f}} epochs".format(**row)


def experiment(ways: Callable[[Config, History], list[Way]]) -> sweep.Sweep:
    """The comparison of the ways that a history's runs stand for."""
    return sweep.Sweep(
        name="rivals",
        size=(11, 4.5),
        title=title,
        numbers=NUMBERS,
        predict=lambda config, dataset: TARGETS,
        compare=lambda config, history: compare(history, ways(config, history)),
        draw=lambda figure, config, history: draw(figure, history, ways(config, history)),
        rows=lambda config, history: table(history, ways(config, history)),
        rows_name="rows",
        describe=describe,
    )


FIGURE = experiment(ways_of)

if __name__ == "__main__":
    cli.run("rivals", main, Config, ARRAYS, is_sweep=True)
