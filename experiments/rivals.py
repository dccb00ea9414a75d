"""What choosing weight decay costs and brings: fixed decays, the paper's grid, Eq. 9, hold_at_edge and its rivals.

Prints for each way the test accuracy and loss at the end and at best, J^2 at the end, and the epochs of computing that
it took, choosing included. The decay that the hold of the first seed ends with, and those that a search finds on a
validation split, are trained with like the others. The same command again resumes what is unfinished.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting, training
from edgechaos.data.dataset import Dataset
from edgechaos.errors import UserError
from edgechaos.runs import fields, processes
from edgechaos.runs.history import ARRAYS, METRICS
from edgechaos.runs.members import combinations
from edgechaos.runs.run import run_sweep
from experiments import common, sweeps, theories, trials

FIELDS = {
    **fields.TRAINING_FIELDS,
    "trials": fields.Field(
        tuple,
        lambda value: (
            all(type(number) is int and number >= 1 for number in value) and sorted(set(value)) == list(value)
        ),
        "a tuple of rising integers >= 1, such as (8, 16, 32)",
        "after how many trials of Optuna the best decay is trained with; () for no search",
    ),
}
NUMBERS = {
    "final_accuracy": "mean test accuracy of the last twentieth of the epochs, of hold_at_edge",
    "best_of_grid": "the same for the best of the fixed decays, by the mean over the seeds",
    "behind_best": "by how many standard errors of the difference hold_at_edge is behind the best row; target: <= 1",
    "share_of_grid_cost": "epochs that hold_at_edge took over those of all fixed decays; target: <= 1/8",
    "held_j_squared": "J^2 at the end of hold_at_edge",
    "fixed_j_squared": "J^2 at the end of runs with the fixed decay that a hold ended with; target: 1 +- 0.05",
}
_SIZE = (11, 4.5)  # of the figure, inches
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


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, sweep, choices, table."""
    if theories.is_asked(config):
        run_theories(config, directory, sweeps.prepare(config))
        return
    check(config)
    dataset = sweeps.prepare(config)
    num_samples = len(dataset.train_labels)

    def draw_first(figure: Figure, history: dict[str, np.ndarray]) -> None:
        draw(figure, history, ways_of(config, history, num_samples))

    history = sweeps.train("rivals", _SIZE, title(config), config, directory, dataset, draw_first)
    ways = ways_of(config, history, num_samples)
    for choice in choices(config, history, dataset, directory):
        later = train_chosen(config, choice.weight_decay, dataset, directory)
        history = {name: np.concatenate([values, later[name]]) for name, values in history.items()}
        named = f"{choice.name}, $\\lambda$ = {choice.weight_decay:g}"
        ways.append(Way(named, "chosen", choice.epochs + config["epochs"]))
    paths = [directory / f"rivals{suffix}" for suffix in (".png", ".pdf")]
    with plotting.figure(*_SIZE, title(config), *paths) as figure:
        draw(figure, history, ways)
    rows = table(history, ways)
    for row in rows:
        print("{name:32} accuracy {accuracy:.4f} +- {accuracy_deviation:.4f}".format(**row), end="  ")
        print("best {best_accuracy:.4f}".format(**row), end="  ")
        print("loss {loss:.3f}  J^2 {j_squared:.3f}  {cost:.0f} epochs".format(**row))
    measured = compare(history, ways)
    targets = {"behind_best": 1.0, "share_of_grid_cost": 0.125, "held_j_squared": 1.0, "fixed_j_squared": 1.0}
    predicted = dict.fromkeys(NUMBERS, np.nan) | targets
    common.report(directory / "rivals.png", title(config), predicted, measured, NUMBERS, rows=rows)


def check(config: dict[str, Any]) -> None:
    """What this comparison asks for beyond the ranges of the fields.

    Raises:
      UserError: several processes, another axis of the sweep, or trials without Optuna.
    """
    if processes.name():
        raise UserError("distributed: what is chosen is trained with after the sweep, by one process")
    other = sorted(set(config["sweep"]) - {"weight_decay", "constraint"})
    if other:
        raise UserError(
            f"sweep.{other[0]}: the ways differ in weight_decay and constraint (with learning_rate they are theories)"
        )
    if config["trials"]:
        trials.require()


def choices(config: dict[str, Any], history: dict[str, np.ndarray], dataset: Dataset, directory: Path) -> list[Choice]:
    """The decay that the first seed's hold ended with, and the best of each number of trials."""
    found = []
    held = np.flatnonzero((history["constraint"] == "hold_at_edge") & (history["seed"] == config["seed"]))
    if len(held):
        steps = -(-len(dataset.train_labels) // config["batch_size"])
        course = analysis.weight_decay_course(
            history["decay"][held[0]],
            config["learning_rate"],
            config["momentum"],
            steps,
            analysis.elapsed(history)[held[0], : config["epochs"] + 1],
        )
        decay = rounded(course[-max(1, len(course) // 8) :].mean())
        if np.isfinite(decay):  # else the hold diverged
            found.append(Choice(ITS_DECAY, decay, config["epochs"]))
    if config["trials"]:
        split = trials.validation_split(dataset, config["seed"])
        decays, scores = trials.search(
            directory / "trials.npz",
            config["trials"][-1],
            config["seed"],
            lambda decay: validation_accuracy(config, split, decay),
        )
        found += [
            Choice(f"Optuna, {number} trials", rounded(decay), number * trials.KEPT * config["epochs"])
            for number, decay in trials.best_after(config["trials"], decays, scores)
        ]
    return found


def rounded(decay: float) -> float:
    """Three digits of a decay, as one would write it down."""
    return float(f"{decay:.3g}")


def validation_accuracy(config: dict[str, Any], split: Dataset, weight_decay: float) -> float:
    """What a trial is judged by: the accuracy at the end of a run, as the rows have it on the test set."""
    spec = training.Spec(
        split.num_classes,
        config["batch_size"],
        config["activation"],
        config["init_j0"],
        config["init_j"],
        config["weight_decay_mode"],
        config["optimizer"],
        schedule=config["schedule"],
        loss=config["loss"],
    )
    numbers = training.Hyperparameters(config["learning_rate"], config["momentum"], weight_decay)
    history = training.train_one(split, spec, config["seed"], numbers, config["epochs"])
    return float(analysis.last_mean(np.asarray(history.test_accuracy)))


def train_chosen(
    config: dict[str, Any], weight_decay: float, dataset: Dataset, directory: Path
) -> dict[str, np.ndarray]:
    """All seeds with a fixed decay, in a work directory of their own."""
    alone = {**config, "weight_decay": weight_decay, "constraint": "none", "sweep": {}}
    with processes.work_directory(directory / "chosen" / f"{weight_decay:g}", alone, grows=True) as place:
        return run_sweep(place, alone, dataset, lambda history: None)


def run_theories(config: dict[str, Any], directory: Path, dataset: Dataset) -> None:
    """The sweep over learning rates and decays, and its exponents."""
    num_samples = len(dataset.train_labels)

    def draw_exponents(figure: Figure, history: dict[str, np.ndarray]) -> None:
        theories.draw(figure, history, num_samples)

    history = sweeps.train("theories", (11, 4), title(config), config, directory, dataset, draw_exponents)
    predicted = dict.fromkeys(theories.NUMBERS, np.nan) | theories.PREDICTED
    measured = theories.compare(history, num_samples)
    common.report(directory / "theories.png", title(config), predicted, measured, theories.NUMBERS)


def ways_of(config: dict[str, Any], history: dict[str, np.ndarray], num_samples: int) -> list[Way]:
    """The ways of the sweep's runs; a fixed decay within 1 % of Eq. 9's is that."""
    constraints, decays = (analysis.seeds_of(history, history[name])[:, 0] for name in ("constraint", "weight_decay"))
    eq_9 = config["constant_d"] / (4 * num_samples)
    ways = []
    for constraint, decay in zip(constraints, decays, strict=True):
        if constraint != "none":
            ways.append(Way(constraint.replace("_", " "), "rule", config["epochs"]))
        elif eq_9 and abs(decay / eq_9 - 1) < 0.01:
            ways.append(Way(f"{EQ_9}, $\\lambda$ = {decay:g}", "rule", config["epochs"]))
        else:
            ways.append(Way(f"$\\lambda$ = {decay:g}", "grid", config["epochs"]))
    return ways


def table(history: dict[str, np.ndarray], ways: list[Way]) -> list[dict[str, Any]]:
    """One row per way: mean and standard deviation over the seeds, and the epochs of computing behind one result."""
    finals = {name: analysis.seeds_of(history, analysis.final_mean(history, name)) for name in METRICS}
    best = analysis.seeds_of(history, np.nanmax(history["test_accuracy"], axis=1, initial=0))
    ddof = 1 if best.shape[1] > 1 else 0
    return [
        {
            "name": way.name.replace("$\\lambda$", "lambda"),
            "kind": way.kind,
            "accuracy": float(finals["test_accuracy"][run].mean()),
            "accuracy_deviation": float(finals["test_accuracy"][run].std(ddof=ddof)),
            "best_accuracy": float(best[run].mean()),
            "loss": float(finals["test_loss"][run].mean()),
            "loss_deviation": float(finals["test_loss"][run].std(ddof=ddof)),
            "j_squared": float(finals["j_squared"][run].mean()),
            "cost": way.epochs,
        }
        for run, way in enumerate(ways)
    ]


def compare(history: dict[str, np.ndarray], ways: list[Way]) -> dict[str, np.ndarray]:
    """hold_at_edge against the best row and the cost of the grid; NaN for what diverged, or is not among the ways."""
    accuracy = analysis.seeds_of(history, analysis.final_mean(history, "test_accuracy"))
    j_squared = analysis.seeds_of(history, analysis.final_mean(history, "j_squared"))
    means, num_seeds = accuracy.mean(1), accuracy.shape[1]
    grid = np.flatnonzero([way.kind == "grid" for way in ways])
    held = next((run for run, way in enumerate(ways) if way.name == HOLD), None)
    if held is None or not np.isfinite(means[grid]).any():
        return {name: np.array([np.nan]) for name in NUMBERS}
    fixed = next((run for run, way in enumerate(ways) if way.name.startswith(ITS_DECAY)), None)
    best = int(np.nanargmax(means))
    variance = accuracy.var(1, ddof=1) / num_seeds if num_seeds > 1 else np.full(len(ways), np.nan)
    return {
        "final_accuracy": accuracy[held],
        "best_of_grid": accuracy[grid[np.nanargmax(means[grid])]],
        "behind_best": np.array([(means[best] - means[held]) / np.sqrt(variance[best] + variance[held])]),
        "share_of_grid_cost": np.array([ways[held].epochs / sum(ways[run].epochs for run in grid)]),
        "held_j_squared": j_squared[held],
        "fixed_j_squared": np.array([np.nan]) if fixed is None else j_squared[fixed],
    }


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    fixed = "$\\alpha$ {momentum:g}, B {batch_size}".format(**config)
    number = len(combinations(config))
    if theories.is_asked(config):
        return f"{config['dataset']}: {number} runs, {fixed}, {common.seeds(config)}"
    numbers = f"$\\eta$ {config['learning_rate']:g}, {fixed}, {config['epochs']} epochs"
    return f"{config['dataset']}: {number} ways and what they chose, {numbers}, {common.seeds(config)}"


def draw(figure: Figure, history: dict[str, np.ndarray], ways: list[Way]) -> None:
    """Test accuracy and loss of each way, and the courses of J^2."""
    scores, losses, growth = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    for axes, quantity, names in ((scores, "accuracy", [way.name for way in ways]), (losses, "loss", [""] * len(ways))):
        plotting.rows(axes, names, analysis.seeds_of(history, analysis.final_mean(history, f"test_{quantity}")))
        axes.set(title=f"({'a' if axes is scores else 'b'}) at the end", xlabel=f"test {quantity}")
    j_squared = history["j_squared"].reshape(len(ways), -1, history["j_squared"].shape[1])
    without_decay = analysis.seeds_of(history, history["weight_decay"])[:, 0] == 0
    shown = [run for run, way in enumerate(ways) if without_decay[run] or way.name.startswith(ITS_DECAY)]
    for number, run in enumerate(shown):
        name = ways[run].name.partition(",")[0]
        plotting.course(growth, j_squared[run], plotting.color_of(number), name)
    plotting.edge_line(growth)
    growth.set(title="(c) growth", ylabel="$J^2$", ylim=(0, 3))
    growth.legend()


if __name__ == "__main__":
    common.run("rivals", main, FIELDS, ARRAYS, is_sweep=True)
