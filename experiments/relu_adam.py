"""ReLU with Adam: does the guideline carry over to another activation and another optimizer?

ReLU has an edge of its own (Eq. 3), in a diagram that reaches to J0 < 0, where training goes. Draws (a) the paths of
three weight decays in the simulated diagram, (b) test accuracy against weight decay, (c) chi of Eq. 3 against epoch.
The same command again resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, plotting
from edgechaos.runs import fields
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.simulate import diagram_background
from experiments import common, fig6, sweeps

FIELDS = {
    **fields.TRAINING_FIELDS,
    "map_num_neurons": fields.integer(2, "N of the simulated phase diagram"),
    "map_num_iterations": fields.integer(20, "its iterations"),
}
NUMBERS = {
    "weight_decay_at_edge": "lambda whose run ends at chi = 1, interpolated",
    "best_weight_decay": "lambda of the best test accuracy; the guideline: the one above",
    "least_of_the_best": "least lambda whose accuracy is within one standard error of the best",
    "largest_of_the_best": "largest such lambda",
    "best_accuracy": "its test accuracy",
    "accuracy_without_decay": "the same for lambda = 0",
    "j0_over_j_without_decay": "J0/J at the end for lambda = 0",
    "chi_without_decay": "chi at the end for lambda = 0",
}
_LEAST_CHI = 1e-6  # that is drawn
_RATIOS, _INVERSE = (-5.0, 1.0, 61), (2.0, 40)  # the axes of the diagram: from, to, cells; to, cells


def main(config: dict[str, Any], directory: Path) -> None:
    """Data, diagram, sweep, comparison with the guideline."""
    fig6.require_zero(config, "for the numbers without decay")
    dataset = sweeps.prepare(config)
    background = phase_map(config, directory)

    def draw_all(figure: Figure, history: dict[str, np.ndarray]) -> None:
        draw(figure, history, background, config["activation"])

    history = sweeps.train("relu_adam", (11, 4), title(config), config, directory, dataset, draw_all)
    measured = compare(history, config["activation"])
    rows = fig6.run_by_run(history)
    for row in rows:
        print(fig6.describe(row))
    at_edge = analysis.known_mean(measured["weight_decay_at_edge"])
    predicted = dict.fromkeys(NUMBERS, np.nan) | {"best_weight_decay": at_edge}
    common.report(directory / "relu_adam.png", title(config), predicted, measured, NUMBERS, runs=rows)


def phase_map(config: dict[str, Any], directory: Path) -> dict[str, np.ndarray]:
    """The simulated diagram."""
    j0_over_j = np.linspace(*_RATIOS, dtype=np.float32)
    inverse_j = (_INVERSE[0] * np.arange(1, _INVERSE[1] + 1) / _INVERSE[1]).astype(np.float32)
    size = config["map_num_neurons"], config["map_num_iterations"]
    return diagram_background(directory, j0_over_j, inverse_j, config["seed"], *size, config["activation"])


def chi_of(history: dict[str, np.ndarray], activation: str) -> np.ndarray:
    """chi of Eq. 3 [member, entry] at each entry's (J0, J); NaN where there is none."""
    j0, j = history["j0"], np.sqrt(history["j_squared"])
    known = np.isfinite(j) & (j > 0)
    values = np.full(j.shape, np.nan, np.float32)
    values[known] = np.asarray(ec.chi(j0[known], j[known], activation))
    return values


def compare(history: dict[str, np.ndarray], activation: str) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`."""
    decay, values = fig6.ends(history)
    places = {"chi": chi_of(history, activation), "ratio": history["j0"] / np.sqrt(history["j_squared"])}
    places |= {"epochs": history["epochs"]}
    order = np.argsort(analysis.seeds_of(history, history["weight_decay"])[:, 0])
    chi, ratio = (analysis.seeds_of(history, analysis.final_mean(places, name))[order] for name in ("chi", "ratio"))
    return {
        "weight_decay_at_edge": analysis.weight_decay_that_ends_at(1.0, decay, chi),
        **fig6.best(decay, values["accuracy"]),
        "j0_over_j_without_decay": ratio[0],
        "chi_without_decay": chi[0],
    }


def title(config: dict[str, Any]) -> str:
    """What was run, in one line."""
    numbers = f"$\\eta$ {config['learning_rate']:g}, B {config['batch_size']}, {config['epochs']} epochs"
    runs_of = f"{len(config['sweep']['weight_decay'])} decays, {common.seeds(config)}"
    return f"{config['dataset']}, {config['activation']}, {config['optimizer']}: {numbers}, {runs_of}"


def draw(figure: Figure, history: dict[str, np.ndarray], background: dict[str, np.ndarray], activation: str) -> None:
    """Draws the three panels from arrays."""
    paths, accuracy, place = figure.subplots(1, 3)
    plotting.phase_map(paths, **background)
    num_seeds = len(np.unique(history["seed"]))
    chi = chi_of(history, activation)
    decays = analysis.seeds_of(history, history["weight_decay"])[:, 0]
    order = np.argsort(decays)
    shown = [order[0], order[len(order) // 2], order[-1]]
    for color, run in zip((plotting.TRAIN, plotting.MARK, plotting.TEST), dict.fromkeys(shown), strict=False):
        members = slice(run * num_seeds, (run + 1) * num_seeds)
        if not np.isfinite(history["j_squared"][members]).any():
            continue
        label = f"$\\lambda$ = {decays[run]:g}"
        plotting.diagram_path(paths, history["j0"][members][0], history["j_squared"][members][0], color, label)
        plotting.course(place, np.log10(np.maximum(chi[members], _LEAST_CHI)), color, label)
    ratio = history["j0"] / np.sqrt(history["j_squared"])
    paths.set_xlim(np.nanmin(ratio, initial=_RATIOS[0]), np.nanmax(ratio, initial=_RATIOS[1]))
    paths.set_ylim(top=np.nanmax(1.05 / np.sqrt(history["j_squared"]), initial=_INVERSE[0]))
    paths.set_title("(a) paths in the diagram")
    paths.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    plotting.edge_line(place, 0)
    place.set(title="(c) place relative to the edge", ylabel="$\\log_{10} \\chi$")
    place.legend()
    decay, values = fig6.ends(history)
    if np.isfinite(values["accuracy"]).any():
        at_edge = analysis.known_mean(compare(history, activation)["weight_decay_at_edge"])
        scores = {words: values[name] for name, words in fig6.SHOWN.items()}
        plotting.scores(accuracy, decay, scores, {"ends at $\\chi = 1$": at_edge})
    accuracy.set(title="(b) test accuracy of a run", xlabel="$\\lambda$", ylabel="test accuracy")


if __name__ == "__main__":
    common.run("relu_adam", main, FIELDS, ARRAYS, grows=True)
