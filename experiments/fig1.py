"""Fig. 1: the network as a drawing, and its order-chaos phase diagram by simulation and by theory.

Draws (a) the network, (b) the simulated diagram with the edge of Eq. 3, and beyond the paper (c) the distance that the
mean-field theory predicts, (d) the difference, (e) the Lyapunov exponent along three cuts. The same command again
resumes an unfinished run and redraws a finished one.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import files, plotting
from edgechaos.analysis import agreement
from edgechaos.dynamics.diagram import PERTURBATIONS, draw_disorder
from edgechaos.errors import UserError
from edgechaos.runs.config import ResumableConfig
from edgechaos.runs.fields import declared, integer, one_of, real
from edgechaos.runs.simulate import require_cells, settled_arrays, simulate_diagram
from edgechaos.theory.activations import ACTIVATIONS, activation_function
from edgechaos.theory.meanfield import LARGEST_J
from experiments.shared import cli


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ResumableConfig):
    """The simulated diagram, and cuts along which exponents are measured."""

    activation: str = declared(one_of(tuple(ACTIVATIONS), "of the hidden layer"))
    num_neurons: int = declared(integer(2, "N"))
    num_iterations: int = declared(integer(20, "of each cell, rounded down to a multiple of 20"))
    perturbation_std: float = declared(
        real(
            lambda value: PERTURBATIONS[0] <= value <= PERTURBATIONS[1],
            "in [{:g}, {:g}]".format(*PERTURBATIONS),
            "of x' - x, for each component",
        )
    )
    j0_over_j_from: float = declared(real(lambda value: True, "a finite number", "first column"))
    j0_over_j_to: float = declared(real(lambda value: True, "a finite number above j0_over_j_from", "last column"))
    num_columns: int = declared(integer(2, "cells along J0/J"))
    inverse_j_to: float = declared(real(lambda value: value > 0, "> 0", "last row"))
    num_rows: int = declared(integer(2, "cells along 1/J"))
    lyapunov_points: int = declared(integer(2, "along each of the cuts"))
    lyapunov_iterations: int = declared(integer(64, "that an exponent is averaged over, after as many before"))
    memory_gib: float = declared(
        real(lambda value: value > 0, "> 0 (GiB)", "budget of the simulation", role="incidental")
    )


ARRAYS = {
    "j0_over_j": "[column] J0/J",
    "inverse_j": "[row] 1/J",
    "distance": "[seed, row, column] |x - x'|, mean of the last fifth of the iterations",
    "iterations": "[seed, row, column] after which the cell left the batch",
    "settled": "[seed, row, column] whether the distance was steady, or 0, when it left",
    "chi": "[row, column] left-hand side of Eq. 3",
    "predicted": "[row, column] predicted |x - x'| / sqrt(N)",
    "converged": "[row, column] whether the theory has a stable fixed point",
    "edge": "[column] J at the edge of chaos",
    "cuts": "[cut] J0/J of the cuts",
    "cut_inverse_j": "[point] 1/J along a cut",
    "exponent": "[seed, cut, point] measured Lyapunov exponent",
    "exponent_error": "[seed, cut, point] its standard error by batch means",
    "predicted_exponent": "[cut, point] what the theory predicts",
}
NUMBERS = {
    "agreement": "share of cells on which simulation (distance above that at the start) and chi > 1 agree",
    "agreement_away_from_edge": "the same where |chi - 1| > 0.1",
    "median_distance_error": "median relative error of the predicted distance where chi > 1.1",
    "unsettled_share": "share of cells whose distance was neither 0 nor steady at the end",
    "median_exponent_error": "median absolute error of the predicted Lyapunov exponent along the cuts",
    "boundary_j": "J in the column of that J0/J at which the distance ends above that at the start",
    "zero_exponent_j": "J on the cut of that J0/J at which the Lyapunov exponent is 0",
}
CUTS = (0.0, 1.25, 1.5)  # J0/J: an edge at 1, and two on the bend


def main(config: Config, directory: Path) -> None:
    """Theory, simulation, comparison."""
    if config.j0_over_j_to <= config.j0_over_j_from:
        raise UserError(f"j0_over_j_to = {config.j0_over_j_to}: must be above j0_over_j_from = {config.j0_over_j_from}")
    if config.inverse_j_to < config.num_rows / LARGEST_J:
        raise UserError(
            f"inverse_j_to = {config.inverse_j_to}: must be at least num_rows / {LARGEST_J:g} = "
            f"{config.num_rows / LARGEST_J:g}, so that J <= {LARGEST_J:g} everywhere"
        )
    require_cells(config.num_columns, config.num_rows)
    path = directory / "diagram.npz"
    if not path.exists():
        arrays = theory(config)
        arrays |= simulation(config, directory, arrays["j0_over_j"], arrays["inverse_j"])
        arrays |= exponents(config)
        files.write_npz(path, arrays)
    for part in directory.glob("diagram-*.npz"):
        part.unlink()  # all of it is in diagram.npz
    arrays = files.read_npz(path)
    predicted, measured = compare(config, arrays)
    meaning = {name: NUMBERS[name.partition("_at_")[0]] for name in predicted}
    with plotting.figure(9, 8, title(config), directory / "fig1.png", directory / "fig1.pdf") as figure:
        draw(figure, config, arrays)
    cli.write_summary(directory / "fig1.png", title(config), predicted, measured, meaning)


def theory(config: Config) -> dict[str, np.ndarray]:
    """Axes, chi, predicted distance and edge, in float64."""
    columns = np.linspace(config.j0_over_j_from, config.j0_over_j_to, config.num_columns)
    rows = config.inverse_j_to * np.arange(1, config.num_rows + 1) / config.num_rows
    j = np.repeat(1 / rows[:, None], len(columns), axis=1)
    with jax.enable_x64(True):
        phi = config.activation
        return {
            "j0_over_j": columns,
            "inverse_j": rows,
            "chi": np.asarray(ec.chi(columns * j, j, phi)),
            "predicted": np.asarray(ec.predicted_distance(columns * j, j, phi)),
            "converged": np.asarray(ec.fixed_point(columns * j, j, phi).converged),
            "edge": np.asarray(ec.edge_of_chaos(columns, phi)),
        }


def simulation(config: Config, directory: Path, j0_over_j: np.ndarray, inverse_j: np.ndarray) -> dict[str, np.ndarray]:
    """The diagram of every seed; those that are finished are kept while the others go on."""
    names = ("num_neurons", "num_iterations", "activation", "perturbation_std", "memory_gib", "checkpoint_seconds")
    outcomes = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        path = directory / f"diagram-{seed}.npz"
        if not path.exists():
            settled = simulate_diagram(
                directory,
                j0_over_j.astype(np.float32),
                inverse_j.astype(np.float32),
                seed,
                **{name: getattr(config, name) for name in names},
            )
            files.write_npz(path, settled_arrays(settled))
        outcomes.append(files.read_npz(path))
    return {name: np.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}


def exponents(config: Config) -> dict[str, np.ndarray]:
    """Lyapunov exponents along the cuts, by simulation of every seed and by theory."""
    phi = activation_function(config.activation)
    inverse = config.inverse_j_to * np.arange(1, config.lyapunov_points + 1) / config.lyapunov_points
    ratios = np.repeat(np.array(CUTS), len(inverse))
    j = np.tile(1 / inverse, len(CUTS))
    num_iterations = config.lyapunov_iterations

    @jax.jit
    def measure(key: jax.Array) -> ec.Lyapunov:
        disorder = draw_disorder(key, config.num_neurons)

        def cell(j0: jax.Array, j: jax.Array) -> ec.Lyapunov:
            def step(x: jax.Array) -> jax.Array:
                return phi(j * (disorder.couplings @ x) + j0 * x.mean())

            return ec.lyapunov_exponent(step, disorder.start, key, num_iterations, num_iterations)

        return jax.vmap(cell)(jnp.asarray(ratios * j, jnp.float32), jnp.asarray(j, jnp.float32))

    results = [measure(jax.random.key(config.seed + member)) for member in range(config.num_seeds)]
    shape = (config.num_seeds, len(CUTS), len(inverse))
    with jax.enable_x64(True):
        expected = np.asarray(ec.predicted_exponent(ratios * j, j, phi))
    return {
        "cuts": np.array(CUTS),
        "cut_inverse_j": inverse,
        "exponent": np.stack([result.exponent for result in results]).reshape(shape),
        "exponent_error": np.stack([result.standard_error for result in results]).reshape(shape),
        "predicted_exponent": expected.reshape(shape[1:]),
    }


def compare(config: Config, arrays: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What theory says, and what each seed measured, under the same names."""
    initial = config.perturbation_std * config.num_neurons**0.5
    numbers = {
        **agreement.compare(arrays, config.num_neurons, initial),
        **agreement.boundaries(arrays, initial),
        **agreement.zero_exponents(arrays),
    }
    return {name: pair[0] for name, pair in numbers.items()}, {name: pair[1] for name, pair in numbers.items()}


def title(config: Config) -> str:
    """What was run, in one line."""
    moved = "" if config.num_neurons == 10_000 else " (the paper: 10,000)"
    return (
        f"{config.activation}, N = {config.num_neurons:,}{moved}, {config.num_iterations} iterations, "
        f"{config.num_columns} x {config.num_rows} cells, {cli.seeds(config)}"
    )


def draw(figure: Figure, config: Config, arrays: dict[str, np.ndarray]) -> None:
    """Draws the five panels from arrays."""
    (network, simulated), (predicted, difference, exponent) = (
        [figure.add_subplot(grid[row, span]) for span in spans]
        for grid in [figure.add_gridspec(2, 6)]
        for row, spans in enumerate([(slice(0, 2), slice(2, 6)), (slice(0, 2), slice(2, 4), slice(4, 6))])
    )
    plotting.network(network)
    network.set_title("(a) network")

    x, y, edge = arrays["j0_over_j"], arrays["inverse_j"], arrays["edge"]
    mesh = plotting.phase_map(simulated, x, y, arrays["distance"].mean(0), edge)
    figure.colorbar(mesh, ax=simulated, label="$\\log_{10}(\\min(|x - x'|, 1) + 10^{-4})$")
    simulated.set_title("(b) asymptotic distance, simulated")
    simulated.legend(loc="upper left")

    scaled = arrays["distance"].mean(0) / config.num_neurons**0.5
    mesh = plotting.cells(predicted, x, y, arrays["predicted"], edge, "Purples", (0, None))
    figure.colorbar(mesh, ax=predicted, location="bottom", label="$|x - x'| / \\sqrt{N}$")
    predicted.set_title("(c) distance, mean-field theory")
    gap = scaled - arrays["predicted"]
    largest = np.quantile(np.abs(gap[np.isfinite(gap)]), 0.995)
    mesh = plotting.cells(difference, x, y, gap, edge, "PuOr", (-largest, largest))
    plotting.mark_cells(difference, x, y, np.asarray(~arrays["settled"].all(0)), "not settled")
    figure.colorbar(mesh, ax=difference, location="bottom", label="simulation $-$ theory")
    difference.set_title("(d) difference")

    plotting.exponents(
        exponent,
        arrays["cut_inverse_j"],
        arrays["cuts"],
        arrays["exponent"],
        arrays["exponent_error"],
        arrays["predicted_exponent"],
    )
    exponent.set_title("(e) Lyapunov exponent")


if __name__ == "__main__":
    cli.run("fig1", main, Config, ARRAYS)
