"""ReLU and Adam: does the guideline hold for another activation and another optimizer?

ReLU has its own edge (Eq. 3), in a diagram that includes J0 < 0, where training goes. Draws (a) the paths of three
weight decays in the simulated diagram, (b) test accuracy against weight decay, (c) chi of Eq. 3 against epoch. The same
command again resumes an unfinished sweep, redraws a finished one, or extends it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.analysis import History, decays
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.fields import declared, integer
from edgechaos.runs.simulate import diagram_background
from experiments.shared import cli, sweep
from experiments.shared.decays import ACCURACIES, describe, draw_accuracies, drawn, require_zero


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """A sweep of weight decays, and the simulated diagram behind its paths."""

    map_num_neurons: int = declared(integer(2, "number of neurons N of the simulated phase diagram"))
    map_num_iterations: int = declared(integer(20, "iterations of the simulated phase diagram"))


NUMBERS = {
    "weight_decay_at_edge": "lambda whose run ends at chi = 1, interpolated",
    "best_weight_decay": "lambda of the best test accuracy; the guideline says: the one above",
    "least_of_the_best": "least lambda whose accuracy is within one standard error of the best",
    "largest_of_the_best": "largest such lambda",
    "best_accuracy": "its test accuracy",
    "accuracy_without_decay": "the same for lambda = 0",
    "j0_over_j_without_decay": "J0/J at the end for lambda = 0",
    "chi_without_decay": "chi at the end for lambda = 0",
}
_LEAST_CHI = 1e-6  # that is drawn
_RATIOS, _INVERSE = (-5.0, 1.0, 61), (2.0, 40)  # the axes of the diagram: from, to, cells; to, cells


def phase_map(config: Config, directory: Path) -> dict[str, Any]:
    """The simulated diagram, for `draw`."""
    j0_over_j = np.linspace(*_RATIOS, dtype=np.float32)
    inverse_j = (_INVERSE[0] * np.arange(1, _INVERSE[1] + 1) / _INVERSE[1]).astype(np.float32)
    size = config.map_num_neurons, config.map_num_iterations
    return {"background": diagram_background(directory, j0_over_j, inverse_j, config.seed, *size, config.activation)}


def compare(config: Config, history: History) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`."""
    weight_decay, values = decays.ends(history)
    placed = decays.with_chi(history, config.activation)
    rising = np.argsort(history.column("weight_decay"))
    chi, ratio = (placed.final(name)[rising] for name in ("chi", "j0_over_j"))
    return {
        "weight_decay_at_edge": analysis.weight_decay_that_ends_at(1.0, weight_decay, chi),
        **decays.best(weight_decay, values["accuracy"]),
        "j0_over_j_without_decay": ratio[0],
        "chi_without_decay": chi[0],
    }


def title(config: Config) -> str:
    """What was run, in one line."""
    numbers = f"$\\eta$ {config.learning_rate:g}, B {config.batch_size}, {config.epochs} epochs"
    runs_of = f"{len(config.sweep['weight_decay'])} decays, {cli.seeds(config)}{cli.other(config)}"
    return f"{config.dataset}, {config.activation}, {config.optimizer}: {numbers}, {runs_of}"


def draw(figure: Figure, config: Config, history: History, background: dict[str, np.ndarray]) -> None:
    """Draws the three panels from arrays."""
    paths, accuracy, place = figure.subplots(1, 3)
    plotting.phase_map(paths, **background, has_scale=False)
    placed = decays.with_chi(history, config.activation)
    weight_decay = history.column("weight_decay")
    rising = np.argsort(weight_decay)
    shown = dict.fromkeys([rising[0], rising[len(rising) // 2], rising[-1]])
    for members, color, label in drawn(history, shown):
        plotting.diagram_path(paths, history["j0"][members][0], history["j_squared"][members][0], color, label)
        plotting.trajectory(place, np.log10(np.maximum(placed["chi"][members], _LEAST_CHI)), color, label)
    ratio = placed["j0_over_j"]
    paths.set_xlim(np.nanmin(ratio, initial=_RATIOS[0]), np.nanmax(ratio, initial=_RATIOS[1]))
    paths.set_ylim(top=np.nanmax(1.05 / np.sqrt(history["j_squared"]), initial=_INVERSE[0]))
    paths.set_title("(a) paths in the diagram")
    paths.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    plotting.edge_line(place, 0)
    place.set(title="(c) place relative to the edge", ylabel="$\\log_{10} \\chi$")
    place.legend()
    at_edge = analysis.weight_decay_that_ends_at(1.0, np.sort(weight_decay), placed.final("chi")[rising])
    draw_accuracies(accuracy, history, {"ends at $\\chi = 1$": analysis.known_mean(at_edge)})


FIGURE = sweep.Sweep(
    name="relu_adam",
    size=(11, 4),
    title=title,
    numbers=NUMBERS,
    predict=lambda config, dataset: {},
    compare=compare,
    draw=draw,
    rows=lambda config, history: decays.rows(history),
    describe=describe,
    check=require_zero,
    background=phase_map,
    further={"accuracies": ACCURACIES},
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config, is_shared=False)
