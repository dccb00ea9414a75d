"""Fig. 6: weight decay moves the end of training through the phase diagram; which one ends at the edge, which is best?

Draws (a) the paths of three weight decays, (b) three accuracies of a run against weight decay, (c) J^2 against epoch
with the closed form of Appendix C. The same command again resumes an unfinished sweep, redraws a finished one, or
extends it.
"""

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, plotting
from edgechaos.analysis import History
from edgechaos.data import Dataset
from edgechaos.errors import UserError
from edgechaos.runs.config import TrainingConfig
from experiments.shared import cli, sweep

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
    "weight_decay_at_edge": "lambda at which J^2 ends at 1, interpolated; predicted: Eq. 9",
    "eq_9": "lambda of Eq. 9 with the D below",
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


def require_zero(config: TrainingConfig) -> None:
    """Raises a UserError unless one of the swept decays is 0."""
    if 0.0 not in config.sweep.get("weight_decay", ()):
        raise UserError("sweep.weight_decay: must contain 0, because some numbers are those without decay")


def predict(config: TrainingConfig, dataset: Dataset) -> dict[str, float]:
    """Eq. 9 with the config's D."""
    constant_d = config.constant_d or np.nan
    eq_9 = float(ec.weight_decay_at_edge(constant_d, len(dataset.train_labels)))
    decays = [name for name in NUMBERS if name.startswith("best_weight_decay")]
    return dict.fromkeys(["weight_decay_at_edge", "eq_9", *decays], eq_9) | {"constant_d": constant_d}


def ends(history: History) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Weight decay [run] in rising order, and what each run ends with [run, seed]: J^2, losses, three accuracies."""
    weight_decay = history.column("weight_decay")
    means = {"j_squared": "j_squared", "accuracy": "test_accuracy", "loss": "test_loss"}
    means["calibrated_loss"] = "calibrated_test_loss"
    values = {name: history.final(source) for name, source in means.items()}
    values |= {"last_accuracy": history.last("test_accuracy"), "largest_accuracy": history.largest("test_accuracy")}
    order = np.argsort(weight_decay)
    return weight_decay[order], {name: one[order] for name, one in values.items()}


def describe(row: dict[str, float]) -> str:
    """One run in a line."""
    numbers = [f"lambda {row['weight_decay']:<8g} J^2 {row['j_squared']:.3f} +- {row['j_squared_deviation']:.3f}  test"]
    for name, word in (("accuracy", "accuracy"), ("last_accuracy", "last"), ("largest_accuracy", "largest")):
        numbers.append(f"{word} {row[name]:.4f} +- {row[f'{name}_deviation']:.4f}")
    return "  ".join(numbers)


def constant_without_decay(history: History) -> np.ndarray:
    """D of Eq. 5 [seed], of the runs without decay."""
    return analysis.measure(history.some(history["weight_decay"] == 0))["constant_d"]


def compare(config: TrainingConfig, history: History) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`; the decay of the best accuracy is one number for all seeds."""
    del config
    weight_decay, values = ends(history)
    constant_d = constant_without_decay(history)
    numbers = {
        "weight_decay_at_edge": analysis.weight_decay_that_ends_at(1.0, weight_decay, values["j_squared"]),
        "eq_9": np.asarray(ec.weight_decay_at_edge(constant_d, history.num_samples)),
        **best(weight_decay, values["accuracy"]),
        "constant_d": constant_d,
    }
    for name in ("last", "largest"):
        scores = values[f"{name}_accuracy"]
        value, *_ = analysis.best_of(weight_decay, scores)
        numbers |= {f"best_weight_decay_by_{name}": np.array([value])}
        numbers |= {f"best_{name}_accuracy": scores[weight_decay == value].ravel()}
    return {name: numbers[name] for name in NUMBERS}


def best(weight_decay: np.ndarray, accuracy: np.ndarray) -> dict[str, np.ndarray]:
    """The decay of best accuracy with the range of its equals, and the accuracy [seed] with it and without decay."""
    value, least, largest = analysis.best_of(weight_decay, accuracy)
    return {
        "best_weight_decay": np.array([value]),
        "least_of_the_best": np.array([least]),
        "largest_of_the_best": np.array([largest]),
        "best_accuracy": accuracy[weight_decay == value].ravel(),
        "accuracy_without_decay": accuracy[0],
    }


def run_by_run(history: History) -> list[dict[str, float]]:
    """One row per weight decay: what its runs end with, mean and standard deviation over the seeds."""
    weight_decay, values = ends(history)
    rows = [{"weight_decay": float(value)} for value in weight_decay]
    for name, by_seed in values.items():
        for row, mean, deviation in zip(rows, by_seed.mean(1), analysis.deviation(by_seed), strict=True):
            row |= {name: float(mean), f"{name}_deviation": float(deviation)}
    return rows


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    numbers = f"$\\eta$ {config.learning_rate:g}, $\\alpha$ {config.momentum:g}, B {config.batch_size}"
    runs_of = f"{len(config.sweep['weight_decay'])} decays, {cli.seeds(config)}{cli.other(config)}"
    return f"{config.dataset}: {numbers}, {config.epochs} epochs, {runs_of}"


def draw(figure: Figure, config: TrainingConfig, history: History) -> None:
    """Draws the three panels from arrays."""
    del config
    paths, accuracy, growth = figure.subplots(1, 3)
    constant_d = analysis.known_mean(constant_without_decay(history))
    for color, run in zip((plotting.TRAIN, plotting.MARK, plotting.TEST), three_runs(history), strict=False):
        members = history.members_of_run(run)
        if not np.isfinite(history["j_squared"][members]).any():
            continue
        label = f"$\\lambda$ = {history.column('weight_decay')[run]:g}"
        plotting.diagram_path(paths, history["j0"][members][0], history["j_squared"][members][0], color, label)
        plotting.trajectory(growth, history["j_squared"][members], color, label)
        growth.plot(analysis.closed_form(history, members.start, constant_d), ":", color=color, linewidth=1)
    plotting.edge_line(paths)
    paths.set(title="(a) paths", xlabel="$J_0/J$", ylabel="$1/J$", xlim=(-1, 1), xticks=(-1, 0, 1))
    paths.legend()
    plotting.edge_line(growth)
    top = 1.1 * np.nanmax(history["j_squared"], initial=1)
    growth.set(title="(c) growth (dotted: Appendix C)", ylabel="$J^2$", ylim=(0, top))
    growth.legend()
    weight_decay, values = ends(history)
    if np.isfinite(values["accuracy"]).any():
        at_edge = analysis.weight_decay_that_ends_at(1.0, weight_decay, values["j_squared"])
        marks = {
            "ends at $J^2 = 1$": analysis.known_mean(at_edge),
            "Eq. 9": float(ec.weight_decay_at_edge(constant_d, history.num_samples)),
        }
        plotting.scores(accuracy, weight_decay, {words: values[name] for name, words in SHOWN.items()}, marks)
    accuracy.set(title="(b) test accuracy of a run", xlabel="$\\lambda$", ylabel="test accuracy")


def three_runs(history: History) -> list[int]:
    """Runs without decay, with the one that ends nearest to the edge, and with a larger one."""
    end = history.final("j_squared").mean(1)
    order = np.argsort(history.column("weight_decay"))
    nearest = int(np.nan_to_num(np.abs(end - 1), nan=np.inf).argmin())
    return list(dict.fromkeys([int(order[0]), nearest, int(order[-2])]))


FIGURE = sweep.Sweep(
    name="fig6",
    size=(11, 4),
    title=title,
    numbers=NUMBERS,
    predict=predict,
    compare=compare,
    draw=draw,
    rows=run_by_run,
    describe=describe,
    check=require_zero,
    further={"accuracies": ACCURACIES},
)

if __name__ == "__main__":
    sweep.main(FIGURE)
