"""Fig. 6: weight decay moves the end of training through the phase diagram; which one ends at the edge, which is best?

Draws (a) the paths of three weight decays, (b) test accuracy against weight decay, (c) J^2 against epoch with the
closed form of Appendix C. The same command again resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, courses, fits, phase_plots, plotting, record, sweep
from edgechaos import config as config_fields
from edgechaos.errors import UserError
from experiments import common, sweeps

FIELDS = config_fields.TRAINING_FIELDS
NUMBERS = {
    "weight_decay_at_edge": "lambda at which J^2 ends at 1, interpolated; predicted: Eq. 9 with the D below",
    "best_weight_decay": "lambda of the best test accuracy (mean of the last twentieth of the epochs, over the seeds)",
    "least_of_the_best": "least lambda whose accuracy is within one standard error of the best",
    "largest_of_the_best": "largest such lambda",
    "best_accuracy": "its test accuracy",
    "accuracy_without_decay": "the same for lambda = 0",
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
        print("lambda {weight_decay:<8g} J^2 {j_squared:.3f} +- {j_squared_deviation:.3f}".format(**row), end="   ")
        print("test accuracy {accuracy:.4f} +- {accuracy_deviation:.4f}".format(**row))
    common.report(directory / "fig6.png", title(config), predicted, measured, NUMBERS, runs=rows)


def require_zero(config: dict[str, Any], reason: str) -> None:
    """Raises a UserError unless one of the swept decays is 0."""
    if 0.0 not in config["sweep"].get("weight_decay", ()):
        raise UserError(f"sweep.weight_decay: must contain 0, {reason}")


def ends(history: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight decay [run], and J^2 and test accuracy at the end [run, seed], in rising order of the decay."""
    decay = courses.seeds_of(history, history["weight_decay"])[:, 0]
    order = np.argsort(decay)
    j_squared, accuracy = (
        courses.seeds_of(history, courses.final_mean(history, name))[order] for name in ("j_squared", "test_accuracy")
    )
    return decay[order], j_squared, accuracy


def constant_without_decay(history: dict[str, np.ndarray], num_samples: int) -> np.ndarray:
    """D of Eq. 5 [seed], of the runs without decay."""
    return analysis.measure(courses.members_of(history, history["weight_decay"] == 0), num_samples)["constant_d"]


def compare(
    config: dict[str, Any], history: dict[str, np.ndarray], num_samples: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Eq. 9, and what was measured; an accuracy's peak is one number for all seeds."""
    decay, j_squared, accuracy = ends(history)
    constant_d = constant_without_decay(history, num_samples)
    numbers = {
        "weight_decay_at_edge": fits.weight_decay_that_ends_at(1.0, decay, j_squared),
        **best(decay, accuracy),
        "constant_d": constant_d,
    }
    eq_9 = float(ec.weight_decay_at_edge(analysis.known_mean(constant_d), num_samples))
    predicted = {"weight_decay_at_edge": eq_9, "best_weight_decay": eq_9, "constant_d": config["constant_d"] or np.nan}
    return {name: predicted.get(name, np.nan) for name in NUMBERS}, numbers


def best(decay: np.ndarray, accuracy: np.ndarray) -> dict[str, np.ndarray]:
    """The decay of best accuracy with the range of its equals, and the accuracy [seed] with it and without decay."""
    value, least, largest = fits.best_of(decay, accuracy)
    return {
        "best_weight_decay": np.array([value]),
        "least_of_the_best": np.array([least]),
        "largest_of_the_best": np.array([largest]),
        "best_accuracy": accuracy[decay == value].ravel(),
        "accuracy_without_decay": accuracy[0],
    }


def run_by_run(history: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """One row per weight decay: J^2 and test accuracy at the end, mean and deviation over the seeds."""
    decay, j_squared, accuracy = ends(history)
    ddof = 1 if j_squared.shape[1] > 1 else 0
    return [
        {
            "weight_decay": float(decay[run]),
            "j_squared": float(j_squared[run].mean()),
            "j_squared_deviation": float(j_squared[run].std(ddof=ddof)),
            "accuracy": float(accuracy[run].mean()),
            "accuracy_deviation": float(accuracy[run].std(ddof=ddof)),
        }
        for run in range(len(decay))
    ]


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    number = len(sweep.combinations(config))
    numbers = f"$\\eta$ {config['learning_rate']:g}, $\\alpha$ {config['momentum']:g}, B {config['batch_size']}"
    runs_of = f"{number} decays, {common.seeds(config)}"
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
        phase_plots.diagram_path(paths, history["j0"][members][0], history["j_squared"][members][0], color, label)
        plotting.course(growth, history["j_squared"][members], color, label)
        course = courses.closed_form(history, run * num_seeds, constant_d, num_samples)
        growth.plot(np.arange(len(course)), course, ":", color=color, linewidth=1)
    plotting.edge_line(paths)
    paths.set(title="(a) paths", xlabel="$J_0/J$", ylabel="$1/J$", xlim=(-1, 1), xticks=(-1, 0, 1))
    paths.legend()
    plotting.edge_line(growth)
    top = 1.1 * np.nanmax(history["j_squared"], initial=1)
    growth.set(title="(c) growth (dotted: Appendix C)", ylabel="$J^2$", ylim=(0, top))
    growth.legend()
    decay, j_squared, scores = ends(history)
    if np.isfinite(scores).any():
        marks = {
            "ends at $J^2 = 1$": analysis.known_mean(fits.weight_decay_that_ends_at(1.0, decay, j_squared)),
            "Eq. 9": float(ec.weight_decay_at_edge(constant_d, num_samples)),
        }
        plotting.scores(accuracy, decay, scores, marks)
    accuracy.set(title="(b) at the end", xlabel="$\\lambda$", ylabel="test accuracy")


def three_runs(history: dict[str, np.ndarray]) -> list[int]:
    """Runs without decay, with the one that ends nearest to the edge, and with a larger one."""
    decay = courses.seeds_of(history, history["weight_decay"])[:, 0]
    end = courses.seeds_of(history, courses.final_mean(history, "j_squared")).mean(1)
    order = np.argsort(decay)
    nearest = int(np.nan_to_num(np.abs(end - 1), nan=np.inf).argmin())
    return list(dict.fromkeys([int(order[0]), nearest, int(order[-2])]))


if __name__ == "__main__":
    common.run("fig6", main, FIELDS, record.MEANING, is_sweep=True)
