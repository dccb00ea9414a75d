"""Drift or random walk, and which law of weight decay: growth and the best decay against the learning rate.

According to the paper J^2 grows as eta (a drift), and the decay that ends at the edge does not depend on eta. A random
walk grows as eta^2 (Kosson et al.). At a fixed number of epochs the best eta lambda is constant, so lambda ~ 1 / eta,
according to Wang and Aitchison. Each of these is an exponent of eta, which is measured with its standard error at a
fixed number of epochs and at a fixed number of rescaled epochs. The same command again resumes an unfinished sweep,
redraws a finished one, or extends it.
"""

import numpy as np
from matplotlib.figure import Figure

from edgechaos import analysis, plotting
from edgechaos.analysis import History, decays
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.fields import combinations
from experiments.shared import cli, sweep

EXPONENTS = {
    "growth_exponent": "p of slope ~ eta^p without decay; 1: drift, 2: random walk",
    "edge_exponent_epochs": "p of the decay that ends at J^2 = 1, at a fixed number of epochs",
    "edge_exponent_rescaled": "the same at a fixed number of rescaled epochs; the paper: 0",
    "best_exponent_epochs": "p of the decay of best accuracy at a fixed number of epochs; Wang and Aitchison: -1",
    "best_exponent_rescaled": "the same at a fixed number of rescaled epochs; the paper: 0",
    "loss_exponent_epochs": "p of the decay of least test loss at a fixed number of epochs; Wang and Aitchison: -1",
    "loss_exponent_rescaled": "the same at a fixed number of rescaled epochs; the paper: 0",
}
NUMBERS = {
    key: text
    for name, meaning in EXPONENTS.items()
    for key, text in ((name, meaning), (f"{name}_error", "its standard error"))
}
PREDICTED = {
    "growth_exponent": 1.0,
    "edge_exponent_rescaled": 0.0,
    "best_exponent_epochs": -1.0,
    "best_exponent_rescaled": 0.0,
    "loss_exponent_epochs": -1.0,
    "loss_exponent_rescaled": 0.0,
}


def without_decay(history: History) -> History:
    """The longest run without decay at each learning rate; a shorter one is its beginning."""
    return history.some((history["weight_decay"] == 0) & decays.lengths(history)["rescaled"])


def compare(history: History) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`, over all seeds together."""
    free = without_decay(history)
    exponent, error = analysis.power_law(free["learning_rate"], analysis.measure(free)["slope_a"])
    numbers = {"growth_exponent": exponent, "growth_exponent_error": error}
    for name, chosen in decays.lengths(history).items():
        eta, *found = decays.by_rate(history.some(chosen))
        for what, values in zip(("edge", "best", "loss"), found, strict=True):
            exponent, error = analysis.power_law(eta, values)
            numbers |= {f"{what}_exponent_{name}": exponent, f"{what}_exponent_{name}_error": error}
    return {name: np.array([numbers.get(name, np.nan)]) for name in NUMBERS}


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    runs_of = f"{len(combinations(config.sweep, config.sweep_mode))} runs"
    fixed = f"$\\alpha$ {config.momentum:g}, B {config.batch_size}"
    return f"{config.dataset}: {runs_of}, {fixed}, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, history: History) -> None:
    """Growth without decay, and the two decays, against the learning rate, with the exponents of the theories."""
    growth, *panels = figure.subplots(1, 3)
    free = without_decay(history)
    slopes = analysis.measure(free)["slope_a"]
    plotting.powers(growth, free["learning_rate"], {"measured": slopes}, {"drift": 1.0, "random walk": 2.0})
    growth.set(title="(a) growth without decay", ylabel="$A$ per epoch")
    headings = "(b) fixed epochs", "(c) fixed rescaled epochs"
    for axes, heading, chosen in zip(panels, headings, decays.lengths(history).values(), strict=True):
        eta, at_edge, best, least = decays.by_rate(history.some(chosen))
        values = {"ends at $J^2 = 1$": at_edge, "best accuracy": best, "least loss": least}
        plotting.powers(axes, eta, values, {"independent": 0.0, "$1 / \\eta$": -1.0})
        axes.set(title=heading, ylabel="$\\lambda$")


FIGURE = sweep.Sweep(
    name="theories",
    size=(11, 4),
    title=title,
    numbers=NUMBERS,
    predict=lambda config, dataset: PREDICTED,
    compare=lambda config, history: compare(history),
    draw=lambda figure, config, history: draw(figure, history),
)

if __name__ == "__main__":
    sweep.main(FIGURE)
