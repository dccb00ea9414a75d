"""Fig. 1: the network as a drawing, and its order-chaos phase diagram by simulation and by theory.

Draws (a) the network, (b) the simulated diagram with the edge of Eq. 3, and beyond the paper (c) the distance that the
mean-field theory predicts, (d) the difference, (e) the Lyapunov exponent along three cuts. The same command again
resumes an unfinished run and redraws a finished one.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from edgechaos import files, plotting
from edgechaos.analysis import agreement
from edgechaos.dynamics.cuts import exponents_on_cuts, predicted_on_cuts
from edgechaos.dynamics.diagram import PERTURBATIONS
from edgechaos.errors import UserError
from edgechaos.runs.config import ResumableConfig
from edgechaos.runs.fields import declared, integer, one_of, real
from edgechaos.runs.resumable import once
from edgechaos.runs.simulate import cells_at_once, require_cells, simulate_seeds
from edgechaos.theory.activations import ACTIVATIONS
from edgechaos.theory.finite_size import watched_j
from edgechaos.theory.meanfield import LARGEST_J
from experiments.shared import cli, sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ResumableConfig):
    """The simulated diagram, and cuts along which exponents are measured."""

    activation: str = declared(one_of(tuple(ACTIVATIONS), "activation of the hidden layer"))
    num_neurons: int = declared(integer(2, "number of neurons N"))
    num_iterations: int = declared(integer(20, "iterations of each cell, rounded down to a multiple of 20"))
    perturbation_std: float = declared(
        real(
            lambda value: PERTURBATIONS[0] <= value <= PERTURBATIONS[1],
            "in [{:g}, {:g}]".format(*PERTURBATIONS),
            "standard deviation of each component of x' - x at the start",
        )
    )
    j0_over_j_from: float = declared(real(lambda value: True, "a finite number", "J0/J of the first column"))
    j0_over_j_to: float = declared(
        real(lambda value: True, "a finite number above j0_over_j_from", "J0/J of the last column")
    )
    num_columns: int = declared(integer(2, "number of cells along J0/J"))
    inverse_j_to: float = declared(real(lambda value: value > 0, "> 0", "1/J of the last row"))
    num_rows: int = declared(integer(2, "number of cells along 1/J"))
    lyapunov_points: int = declared(integer(2, "number of points on each cut along which exponents are measured"))
    lyapunov_iterations: int = declared(
        integer(64, "iterations over which an exponent is averaged, after as many that are discarded")
    )
    memory_gib: float = declared(
        real(lambda value: value > 0, "> 0 (GiB)", "memory that the simulation may use", role="incidental")
    )


CUTS = np.array([0.0, 1.25, 1.5])  # J0/J: an edge at 1, and two on the bend


def check(config: Config) -> None:
    """Raises a UserError if the axes do not rise, reach to a larger J than the theory, or N takes too much memory."""
    if config.j0_over_j_to <= config.j0_over_j_from:
        raise UserError(f"j0_over_j_to = {config.j0_over_j_to}: must be above j0_over_j_from = {config.j0_over_j_from}")
    if config.inverse_j_to < config.num_rows / LARGEST_J:
        raise UserError(
            f"inverse_j_to = {config.inverse_j_to}: must be at least num_rows / {LARGEST_J:g} = "
            f"{config.num_rows / LARGEST_J:g}, so that J <= {LARGEST_J:g} everywhere"
        )
    require_cells(config.num_columns, config.num_rows)
    cells_at_once(config.num_neurons, config.memory_gib)


def theory(config: Config, directory: Path) -> dict[str, np.ndarray]:
    """What the prediction rests on; of a finished run all there is."""
    if (directory / "diagram.npz").exists():
        return files.read_npz(directory / "diagram.npz")
    columns = np.linspace(config.j0_over_j_from, config.j0_over_j_to, config.num_columns)
    rows = config.inverse_j_to * np.arange(1, config.num_rows + 1) / config.num_rows
    points = config.inverse_j_to * np.arange(1, config.lyapunov_points + 1) / config.lyapunov_points
    along_cuts = {"cuts": CUTS, "cut_inverse_j": points}
    along_cuts["predicted_exponent"] = predicted_on_cuts(CUTS, points, config.activation)
    return {**agreement.theory_of(columns, rows, config.activation), **along_cuts}


def simulate(config: Config, known: dict[str, np.ndarray], directory: Path) -> dict[str, np.ndarray]:
    """The diagram of every seed, and the exponents on the cuts."""
    seeds = range(config.seed, config.seed + config.num_seeds)
    names = ("num_neurons", "num_iterations", "activation", "perturbation_std", "memory_gib", "checkpoint_seconds")

    def compute() -> dict[str, np.ndarray]:
        columns, rows = (known[name].astype(np.float32) for name in ("j0_over_j", "inverse_j"))
        found = simulate_seeds(directory, columns, rows, seeds, **{name: getattr(config, name) for name in names})
        size = config.num_neurons, config.lyapunov_iterations, config.activation
        keys = jax.vmap(jax.random.key)(np.array(seeds))
        exponent, error = exponents_on_cuts(keys, known["cuts"], known["cut_inverse_j"], *size)
        return {**known, **found, "exponent": exponent, "exponent_error": error}

    arrays = once(directory / "diagram.npz", compute)
    for piece in directory.glob("diagram-*.npz"):
        piece.unlink()  # all of it is in diagram.npz
    return arrays


def compare(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How far each seed's simulation agrees."""
    return agreement.compare(arrays, config.num_neurons, config.perturbation_std * config.num_neurons**0.5)


def title(config: Config) -> str:
    """What was run, in one line."""
    moved = "" if config.num_neurons == 10_000 else " (the paper: 10,000)"
    return (
        f"{config.activation}, N = {config.num_neurons:,}{moved}, {config.num_iterations} iterations, "
        f"{config.num_columns} x {config.num_rows} cells, {cli.seeds(config)}"
    )


def draw(figure: Figure, config: Config, arrays: dict[str, np.ndarray]) -> None:
    """Draws the five panels from arrays."""
    grid = figure.add_gridspec(2, 6)
    network, simulated = figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[0, 2:])
    predicted, difference, exponent = (figure.add_subplot(grid[1, first : first + 2]) for first in (0, 2, 4))
    plotting.network(network)
    network.set_title("(a) network")

    x, y, edge = arrays["j0_over_j"], arrays["inverse_j"], arrays["edge"]
    plotting.phase_map(simulated, x, y, arrays["distance"].mean(0), edge)
    if config.activation == "tanh":
        seen = float(watched_j(config.num_neurons, config.num_iterations))
        plotting.finite_edge(simulated, seen, f"chaos seen at N = {config.num_neurons:,}, theory")
    simulated.set_title("(b) asymptotic distance, simulated: one matrix for all cells of a draw")
    simulated.legend(loc="upper left")

    label = "$|x - x'| / \\sqrt{N}$"
    plotting.cells(predicted, x, y, arrays["predicted"], edge, "Purples", (0, None), label)
    predicted.set_title("(c) distance, mean-field theory")
    gap = arrays["distance"].mean(0) / config.num_neurons**0.5 - arrays["predicted"]
    largest = np.quantile(np.abs(gap[np.isfinite(gap)]), 0.995)
    plotting.cells(difference, x, y, gap, edge, "PuOr", (-largest, largest), "simulation $-$ theory")
    plotting.mark_cells(difference, x, y, np.asarray(~arrays["settled"].all(0)), "not settled")
    difference.set_title("(d) difference")

    curves = (arrays[name] for name in ("cut_inverse_j", "cuts", "exponent", "exponent_error", "predicted_exponent"))
    plotting.exponents(exponent, *curves)
    exponent.set_title("(e) Lyapunov exponent")


FIGURE = sweep.Measurement(
    name="fig1",
    size=(9, 8),
    title=title,
    numbers=agreement.NUMBERS,
    arrays=agreement.ARRAYS,
    check=check,
    prepare=theory,
    predict=lambda config, known: agreement.expect(known),
    measure=simulate,
    compare=compare,
    draw=draw,
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
