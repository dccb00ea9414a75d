"""Fig. 6: weight decay moves the end of training through the phase diagram; which one ends at the edge, which is best?

Draws (a) the paths of three weight decays, (b) test accuracy against weight decay, (c) J^2 against epoch with the
closed form of Appendix C. The same command again resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, plotting
from edgechaos.errors import UserError
from edgechaos.runs import fields
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.members import combinations
from experiments import common, sweeps

FIELDS = fields.TRAINING_FIELDS
# the accuracy of a run, of which the authors' code plots the last two and the paper shows one
ACCURACIES = {
    "accuracy": "mean of the last twentieth of the epochs",
    "last_accuracy": "after the last epoch",
    "largest_accuracy": "largest over all epochs, which noise raises",
}
SHOWN = {
    "largest_accuracy": "largest epoch (biased)",
    "accuracy": "mean of the last 5 %",
    "last_accuracy": "last epoch",
}
NUMBERS = {
    "weight_decay_at_edge": "lambda at which J^2 ends at 1, interpolated; predicted: Eq. 9 with the D below",
    "best_weight_decay": "lambda of the best test accuracy (mean of the last twentieth of the epochs, over the seeds)",
    "least_of_the_best": "least lambda whose accuracy is within one standard error of the best",
    "largest_of_the_best": "largest such lambda",
    "best_accuracy": "its test accuracy",
    "accuracy_without_decay": "the same for lambda = 0",
    "best_weight_decay_by_last": "lambda of the best test accuracy after the last epoch",
    "best_last_accuracy": "its accuracy after the last epoch",
    "best_weight_decay_by_largest": "lambda of the best largest test accuracy over all epochs",
    "best_largest_accuracy": "its largest accuracy, the largest of many noisy numbers and so too high",
    "constant_d": "D of Eq. 5 without decay",
}


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, sweep, comparison with Eq. 9."""
    require_zero(config, "which Eq. 9 is computed from")
    dataset = sweeps.prepare(config)
    num_samples = len(dataset.train_labels)

    def draw_with_samples(figure: Figure, history: dict[str, np.ndarray]) -> None:
        draw(figure, history, num_samples)

    history = sweeps.train("fig6", (11, 4), title(config), config, directory, dataset, draw_with_samples)
    predicted, measured = compare(config, history, num_samples)
    rows = run_by_run(history)
    for row in rows:
        print(describe(row))
    meaning = {"accuracies": ACCURACIES, "runs": rows}
    common.report(directory / "fig6.png", title(config), predicted, measured, NUMBERS, **meaning)


def require_zero(config: dict[str, Any], reason: str) -> None:
    """Raises a UserError unless one of the swept decays is 0."""
    if 0.0 not in config["sweep"].get("weight_decay", ()):
        raise UserError(f"sweep.weight_decay: must contain 0, {reason}")


def ends(history: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Weight decay [run] in rising order, and what each run ends with [run, seed]: J^2, losses, three accuracies."""
    decay = analysis.seeds_of(history, history["weight_decay"])[:, 0]
    last, largest = analysis.last_and_largest(history, "test_accuracy")
    means = {"j_squared": "j_squared", "accuracy": "test_accuracy", "loss": "test_loss"}
    means["calibrated_loss"] = "calibrated_test_loss"
    values = {name: analysis.final_mean(history, source) for name, source in means.items()}
    values |= {"last_accuracy": last, "largest_accuracy": largest}
    order = np.argsort(decay)
    return decay[order], {name: analysis.seeds_of(history, one)[order] for name, one in values.items()}


def describe(row: dict[str, float]) -> str:
    """One run in a line."""
    numbers = [f"lambda {row['weight_decay']:<8g} J^2 {row['j_squared']:.3f} +- {row['j_squared_deviation']:.3f}  test"]
    for name, word in (("accuracy", "accuracy"), ("last_accuracy", "last"), ("largest_accuracy", "largest")):
        numbers.append(f"{word} {row[name]:.4f} +- {row[f'{name}_deviation']:.4f}")
    return "  ".join(numbers)


def constant_without_decay(history: dict[str, np.ndarray], num_samples: int) -> np.ndarray:
    """D of Eq. 5 [seed], of the runs without decay."""
    return analysis.measure(analysis.members_of(history, history["weight_decay"] == 0), num_samples)["constant_d"]


def compare(
    config: dict[str, Any], history: dict[str, np.ndarray], num_samples: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Eq. 9, and what was measured; an accuracy's peak is one number for all seeds."""
    decay, values = ends(history)
    constant_d = constant_without_decay(history, num_samples)
    numbers = {
        "weight_decay_at_edge": analysis.weight_decay_that_ends_at(1.0, decay, values["j_squared"]),
        **best(decay, values["accuracy"]),
        "constant_d": constant_d,
    }
    for name in ("last", "largest"):
        scores = values[f"{name}_accuracy"]
        value, *_ = analysis.best_of(decay, scores)
        numbers |= {f"best_weight_decay_by_{name}": np.array([value])}
        numbers |= {f"best_{name}_accuracy": scores[decay == value].ravel()}
    eq_9 = float(ec.weight_decay_at_edge(analysis.known_mean(constant_d), num_samples))
    predicted = {
        "weight_decay_at_edge": eq_9,
        **{name: eq_9 for name in NUMBERS if name.startswith("best_weight_decay")},
        "constant_d": config["constant_d"] or np.nan,
    }
    return {name: predicted.get(name, np.nan) for name in NUMBERS}, {name: numbers[name] for name in NUMBERS}


def best(decay: np.ndarray, accuracy: np.ndarray) -> dict[str, np.ndarray]:
    """The decay of best accuracy with the range of its equals, and the accuracy [seed] with it and without decay."""
    value, least, largest = analysis.best_of(decay, accuracy)
    return {
        "best_weight_decay": np.array([value]),
        "least_of_the_best": np.array([least]),
        "largest_of_the_best": np.array([largest]),
        "best_accuracy": accuracy[decay == value].ravel(),
        "accuracy_without_decay": accuracy[0],
    }


def run_by_run(history: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """One row per weight decay: what its runs end with, mean and standard deviation over the seeds."""
    decay, values = ends(history)
    rows = []
    for run in range(len(decay)):
        row = {"weight_decay": float(decay[run])}
        for name, all_runs in values.items():
            row[name] = float(all_runs[run].mean())
            row[f"{name}_deviation"] = float(all_runs[run].std(ddof=min(1, len(all_runs[run]) - 1)))
        rows.append(row)
    return rows


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    number = len(combinations(config))
    numbers = f"$\\eta$ {config['learning_rate']:g}, $\\alpha$ {config['momentum']:g}, B {config['batch_size']}"
    runs_of = f"{number} decays, {common.seeds(config)}{common.other(config)}"
    return f"{config['dataset']}: {numbers}, {config['epochs']} epochs, {runs_of}"


def draw(figure: Figure, history: dict[str, np.ndarray], num_samples: int) -> None:
    """Draws the three panels from arrays."""
    paths, accuracy, growth = figure.subplots(1, 3)
    num_seeds = len(np.unique(history["seed"]))
    shown = three_runs(history)
    constant_d = analysis.known_mean(constant_without_decay(history, num_samples))
    for index, run in enumerate(shown):
        members = slice(run * num_seeds, (run + 1) * num_seeds)
        if not np.isfinite(history["j_squared"][members]).any():
            continue
        label = f"$\\lambda$ = {history['weight_decay'][members][0]:g}"
        color = (plotting.TRAIN, plotting.MARK, plotting.TEST)[index]
        plotting.diagram_path(paths, history["j0"][members][0], history["j_squared"][members][0], color, label)
        plotting.course(growth, history["j_squared"][members], color, label)
        course = analysis.closed_form(history, run * num_seeds, constant_d, num_samples)
        growth.plot(np.arange(len(course)), course, ":", color=color, linewidth=1)
    plotting.edge_line(paths)
    paths.set(title="(a) paths", xlabel="$J_0/J$", ylabel="$1/J$", xlim=(-1, 1), xticks=(-1, 0, 1))
    paths.legend()
    plotting.edge_line(growth)
    top = 1.1 * np.nanmax(history["j_squared"], initial=1)
    growth.set(title="(c) growth (dotted: Appendix C)", ylabel="$J^2$", ylim=(0, top))
    growth.legend()
    decay, values = ends(history)
    if np.isfinite(values["accuracy"]).any():
        marks = {
            "ends at $J^2 = 1$": analysis.known_mean(
                analysis.weight_decay_that_ends_at(1.0, decay, values["j_squared"])
            ),
            "Eq. 9": float(ec.weight_decay_at_edge(constant_d, num_samples)),
        }
        plotting.scores(accuracy, decay, {words: values[name] for name, words in SHOWN.items()}, marks)
    accuracy.set(title="(b) test accuracy of a run", xlabel="$\\lambda$", ylabel="test accuracy")


def three_runs(history: dict[str, np.ndarray]) -> list[int]:
    """Runs without decay, with the one that ends nearest to the edge, and with a larger one."""
    decay = analysis.seeds_of(history, history["weight_decay"])[:, 0]
    end = analysis.seeds_of(history, analysis.final_mean(history, "j_squared")).mean(1)
    order = np.argsort(decay)
    nearest = int(np.nan_to_num(np.abs(end - 1), nan=np.inf).argmin())
    return list(dict.fromkeys([int(order[0]), nearest, int(order[-2])]))


if __name__ == "__main__":
    common.run("fig6", main, FIELDS, ARRAYS, is_sweep=True)
