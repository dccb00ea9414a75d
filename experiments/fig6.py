"""Fig. 6: weight decay moves the end of training through the phase diagram; which one ends at the edge, which is best?

Draws (a) the paths of three weight decays, (b) three accuracies of a run against weight decay, (c) J^2 against epoch
with the closed form of Appendix C. The same command again resumes an unfinished sweep, redraws a finished one, or
extends it.
"""

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, plotting
from edgechaos.analysis import History, decays
from edgechaos.data import Dataset
from edgechaos.runs.config import TrainingConfig
from experiments.shared import cli, sweep
from experiments.shared.decays import ACCURACIES, describe, draw_accuracies, drawn, require_zero

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


def predict(config: TrainingConfig, dataset: Dataset) -> dict[str, float]:
    """Eq. 9 with the config's D."""
    constant_d = config.constant_d or np.nan
    eq_9 = float(ec.weight_decay_at_edge(constant_d, len(dataset.train_labels)))
    decays = [name for name in NUMBERS if name.startswith("best_weight_decay")]
    return dict.fromkeys(["weight_decay_at_edge", "eq_9", *decays], eq_9) | {"constant_d": constant_d}


def compare(history: History) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`; the decay of the best accuracy is one number for all seeds."""
    weight_decay, values = decays.ends(history)
    constant_d = decays.constant_without_decay(history)
    numbers = {
        "weight_decay_at_edge": analysis.weight_decay_that_ends_at(1.0, weight_decay, values["j_squared"]),
        "eq_9": np.asarray(ec.weight_decay_at_edge(constant_d, history.num_samples)),
        **decays.best(weight_decay, values["accuracy"]),
        "constant_d": constant_d,
    }
    for name in ("last", "largest"):
        scores = values[f"{name}_accuracy"]
        value, *_ = analysis.best_of(weight_decay, scores)
        numbers |= {f"best_weight_decay_by_{name}": np.array([value])}
        numbers |= {f"best_{name}_accuracy": scores[weight_decay == value].ravel()}
    return {name: numbers[name] for name in NUMBERS}


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    runs_of = f"{len(config.sweep['weight_decay'])} decays, {cli.seeds(config)}{cli.other(config)}"
    return f"{config.dataset}: {cli.setting(config)}, {config.epochs} epochs, {runs_of}"


def draw(figure: Figure, history: History) -> None:
    """Draws the three panels from arrays."""
    paths, accuracy, growth = figure.subplots(1, 3)
    constant_d = analysis.known_mean(decays.constant_without_decay(history))
    for members, color, label in drawn(history, decays.three_runs(history)):
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
    weight_decay, values = decays.ends(history)
    at_edge = analysis.weight_decay_that_ends_at(1.0, weight_decay, values["j_squared"])
    eq_9 = float(ec.weight_decay_at_edge(constant_d, history.num_samples))
    marks = {"ends at $J^2 = 1$": analysis.known_mean(at_edge), "Eq. 9": eq_9}
    draw_accuracies(accuracy, history, marks)


FIGURE = sweep.Sweep(
    name="fig6",
    size=(11, 4),
    title=title,
    numbers=NUMBERS,
    predict=predict,
    compare=lambda config, history: compare(history),
    draw=lambda figure, config, history: draw(figure, history),
    rows=lambda config, history: decays.rows(history),
    describe=describe,
    check=require_zero,
    further={"accuracies": ACCURACIES},
)

if __name__ == "__main__":
    sweep.main(FIGURE)
