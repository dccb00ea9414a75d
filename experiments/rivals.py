"""What choosing weight decay costs and brings: fixed decays, the paper's grid, Eq. 9, hold_at_edge and its rivals.

Prints for each way the test accuracy and loss at the end and at best, J^2 at the end, and the epochs of one run. The
same command again resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting, record, sweep
from edgechaos import config as config_fields
from edgechaos.dataset import Dataset
from experiments import common, sweeps, theories

FIELDS = config_fields.TRAINING_FIELDS
NUMBERS = {
    "final_accuracy": "mean test accuracy of the last twentieth of the epochs, of hold_at_edge",
    "best_of_grid": "the same for the best of the fixed decays, by the mean over the seeds",
    "behind_best": "by how many standard errors of the difference hold_at_edge is behind the best row; target: <= 1",
    "share_of_grid_cost": "epochs that hold_at_edge took over those of all fixed decays; target: <= 1/8",
    "held_j_squared": "J^2 at the end of hold_at_edge",
}


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, sweep, table."""
    dataset = sweeps.prepare(config)
    if theories.is_asked(config):
        run_theories(config, directory, dataset)
        return
    history = sweeps.train("rivals", (9, 4), title(config), config, directory, dataset, draw)
    rows = table(history)
    for row in rows:
        print("{name:24} accuracy {accuracy:.4f} +- {accuracy_deviation:.4f}".format(**row), end="  ")
        print("best {best_accuracy:.4f}".format(**row), end="  ")
        print("loss {loss:.3f}  J^2 {j_squared:.3f}  {cost:.0f} epochs".format(**row))
    measured = compare(history, rows)
    targets = {"behind_best": 1.0, "share_of_grid_cost": 0.125, "held_j_squared": 1.0}
    predicted = dict.fromkeys(NUMBERS, np.nan) | targets
    common.report(directory / "rivals.png", title(config), predicted, measured, NUMBERS, rows=rows)


def run_theories(config: dict[str, Any], directory: Path, dataset: Dataset) -> None:
    """The sweep over learning rates and decays, and its exponents."""
    num_samples = len(dataset.train_labels)

    def draw_exponents(figure: Figure, history: dict[str, np.ndarray]) -> None:
        theories.draw(figure, history, num_samples)

    history = sweeps.train("theories", (11, 4), title(config), config, directory, dataset, draw_exponents)
    predicted = dict.fromkeys(theories.NUMBERS, np.nan) | theories.PREDICTED
    measured = theories.compare(history, num_samples)
    common.report(directory / "theories.png", title(config), predicted, measured, theories.NUMBERS)


def label(constraint: str, weight_decay: float) -> str:
    """How a row is called."""
    return f"lambda {weight_decay:g}" if constraint == "none" else constraint.replace("_", " ")


def table(history: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row per way: mean and standard deviation over the seeds, and the epochs of one run."""
    finals = {name: analysis.seeds_of(history, analysis.final_mean(history, name)) for name in record.METRICS}
    best = analysis.seeds_of(history, np.nanmax(history["test_accuracy"], axis=1, initial=0))
    names = zip(
        analysis.seeds_of(history, history["constraint"])[:, 0],
        analysis.seeds_of(history, history["weight_decay"])[:, 0],
        strict=True,
    )
    ddof = 1 if best.shape[1] > 1 else 0
    return [
        {
            "name": label(constraint, decay),
            "fixed": constraint == "none",
            "accuracy": float(finals["test_accuracy"][run].mean()),
            "accuracy_deviation": float(finals["test_accuracy"][run].std(ddof=ddof)),
            "best_accuracy": float(best[run].mean()),
            "loss": float(finals["test_loss"][run].mean()),
            "loss_deviation": float(finals["test_loss"][run].std(ddof=ddof)),
            "j_squared": float(finals["j_squared"][run].mean()),
            "cost": float(analysis.seeds_of(history, history["epochs"])[run, 0]),
        }
        for run, (constraint, decay) in enumerate(names)
    ]


def compare(history: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """hold_at_edge against the best row and the cost of the grid."""
    accuracy = analysis.seeds_of(history, analysis.final_mean(history, "test_accuracy"))
    means, num_seeds = accuracy.mean(1), accuracy.shape[1]
    fixed = np.array([row["fixed"] for row in rows])
    held = next((run for run, row in enumerate(rows) if row["name"] == "hold at edge"), None)
    if held is None:
        return {name: np.array([np.nan]) for name in NUMBERS}
    best = int(means.argmax())
    grid_best = int(np.flatnonzero(fixed)[means[fixed].argmax()])
    variance = accuracy.var(1, ddof=1) / num_seeds if num_seeds > 1 else np.full(len(rows), np.nan)
    cost = np.array([row["cost"] for row in rows])
    return {
        "final_accuracy": accuracy[held],
        "best_of_grid": accuracy[grid_best],
        "behind_best": np.array([(means[best] - means[held]) / np.sqrt(variance[best] + variance[held])]),
        "share_of_grid_cost": np.array([cost[held] / cost[fixed].sum()]),
        "held_j_squared": analysis.seeds_of(history, analysis.final_mean(history, "j_squared"))[held],
    }


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    plural = "s" if config["num_seeds"] > 1 else ""
    numbers = "$\\eta$ {learning_rate:g}, $\\alpha$ {momentum:g}, B {batch_size}, {epochs} epochs".format(**config)
    ways = len(sweep.combinations(config))
    return f"{config['dataset']}: {ways} ways, {numbers}, {config['num_seeds']} seed{plural}"


def draw(figure: Figure, history: dict[str, np.ndarray]) -> None:
    """Test accuracy of each way, and the courses of J^2."""
    scores, growth = figure.subplots(1, 2)
    constraint = analysis.seeds_of(history, history["constraint"])[:, 0]
    decay = analysis.seeds_of(history, history["weight_decay"])[:, 0]
    accuracy = analysis.seeds_of(history, analysis.final_mean(history, "test_accuracy"))
    names = [label(one, value) for one, value in zip(constraint, decay, strict=True)]
    names = [name.replace("lambda", "$\\lambda$ =") for name in names]
    plotting.rows(scores, names, accuracy)
    scores.set(title="(a) at the end", xlabel="test accuracy")
    courses = history["j_squared"].reshape(len(names), -1, history["j_squared"].shape[1])
    for number, run in enumerate(np.flatnonzero((constraint != "none") | (decay == 0))):
        plotting.course(growth, courses[run], plotting.color_of(number), names[run])
    growth.axhline(1, color=plotting.EDGE, linewidth=1, label="edge of chaos")
    growth.set(title="(b) growth", ylabel="$J^2$", ylim=(0, 3))
    growth.legend()


if __name__ == "__main__":
    common.run("rivals", main, FIELDS, record.MEANING, is_sweep=True)
