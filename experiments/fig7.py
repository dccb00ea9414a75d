"""Fig. 7: is the asymptotic distance of the trained hidden map a property of its weights, and does (J0, J) tell it?

Draws (a) the distribution of |x - x'| over the test images for the hidden kernels of some epochs, with the mean-field
prediction of their (J0, J), (b) the same after shuffling the kernels' entries, and beyond the paper (c) the largest
Lyapunov exponent and (d) the Jacobian norm of Eq. 1 beside theory. The same command again redraws a finished run.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, files, plotting, runs
from edgechaos.dynamics import trained
from edgechaos.errors import UserError
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.fields import declared, folder, integer, real
from edgechaos.runs.history import ARRAYS
from edgechaos.runs.resumable import once
from experiments.shared import cli, sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """A training run, and what is measured on its kernels."""

    fig2_workdir: str = declared(
        folder("a folder, '' for none", "work directory of Fig. 2 whose kernels are used, if its run is the same")
    )
    num_iterations: int = declared(integer(1, "iterations after which the distance is measured"))
    perturbation_std: float = declared(
        real(lambda value: value > 0, "> 0", "standard deviation of each component of x' - x at the start")
    )
    late_iterations: int = declared(integer(1, "iterations after which a second distance is measured, for 64 images"))
    num_perturbations: int = declared(integer(2, "perturbations of each of 256 images, for the analysis of variance"))
    lyapunov_iterations: int = declared(integer(64, "iterations over which an exponent is averaged"))


def check(config: Config) -> None:
    """Raises a UserError unless some epochs of the run are named."""
    wanted = config.keep_kernels_at
    if not wanted:
        raise UserError(f"keep_kernels_at = {wanted}: must name an epoch")
    if max(wanted) > config.epochs:
        raise UserError(f"keep_kernels_at = {wanted}: must be epochs up to epochs = {config.epochs}")


def prepare(config: Config, directory: Path) -> dict[str, np.ndarray]:
    """The kernels, the images, and what theory says; of a finished run all its arrays."""
    if (directory / "fig7.npz").exists():
        return files.read_npz(directory / "fig7.npz")
    dataset = sweep.load_for(config, config.batch_size)
    elsewhere = files.expanded(config.fig2_workdir, "fig2_workdir") if config.fig2_workdir else None
    found = runs.find_kernels(directory, config, dataset, elsewhere)
    kernels, epochs = (np.stack([entry[name] for entry in found.values()]) for name in ("kernel", "epoch"))
    place = jax.vmap(jax.vmap(ec.order_parameters))(jnp.asarray(kernels))
    known = {"label": np.array(list(found)), "epoch": epochs}
    known |= {"j0": np.asarray(place.j0, float), "j": np.sqrt(np.asarray(place.j_squared, float))}
    known |= trained.predict_kernels(known["j0"], known["j"], kernels.shape[-1], config.activation)
    return {**known, "kernel": kernels, "image": np.asarray(dataset.test_images)}


def measure(config: Config, known: dict[str, np.ndarray], directory: Path) -> dict[str, np.ndarray]:
    """All numbers of all kernels, as they are and shuffled."""

    def compute() -> dict[str, np.ndarray]:
        names = [field.name for field in dataclasses.fields(trained.Lengths)]
        lengths = trained.Lengths(**{name: getattr(config, name) for name in names})
        key = jax.random.key(config.seed)
        found = trained.measure_kernels(known["kernel"], known["image"], key, lengths, config.activation)
        return {**{name: values for name, values in known.items() if name in analysis.trained.ARRAYS}, **found}

    return once(directory / "fig7.npz", compute)


def title(config: Config) -> str:
    """What was run, in one line."""
    distance = f"distance after {config.num_iterations} iterations (outlines: {config.late_iterations})"
    return f"{config.dataset}, {config.activation}: {cli.setting(config)}, {distance}, {cli.seeds(config)}"


def draw(figure: Figure, arrays: dict[str, np.ndarray]) -> None:
    """Draws the four panels from arrays."""
    (trained, control), (exponent, norm) = figure.subplots(2, 2)
    labels = [
        f"{'nearest to J = 1, ' if label == 'edge' else ''}epoch {epoch.mean():g}, J = {j.mean():.2f}"
        for label, epoch, j in zip(arrays["label"], arrays["epoch"], arrays["j"], strict=True)
    ]
    limits = plotting.distance_limits(arrays["distance"], arrays["late_distance"], arrays["predicted_distance"])
    for axes, index, letter, name in ((trained, 0, "a", "trained kernels"), (control, 1, "b", "entries shuffled")):
        early, late = (arrays[f"{prefix}distance"][:, index] for prefix in ("", "late_"))
        plotting.distances(axes, early, late, arrays["predicted_distance"], labels, limits)
        axes.set_title(f"({letter}) asymptotic distances, {name}")
    trained.legend(loc="upper left")

    order = np.argsort(arrays["j"].mean(1))
    j = arrays["j"][order].mean(1)
    for axes, name, theory in ((exponent, "exponent", "predicted_exponent"), (norm, "jacobian_norm", "predicted_norm")):
        curves = {"trained": arrays[name][order, 0], "entries shuffled": arrays[name][order, 1]}
        plotting.against_j(axes, j, curves, arrays[theory][order].mean(1))
    exponent.plot(j, np.log(j), ":", color=plotting.PREDICTION, label="$\\ln J$")
    plotting.edge_line(exponent, 0, label=None)
    exponent.set(title="(c) largest Lyapunov exponent", ylabel="per iteration")
    norm.plot(j, j, ":", color=plotting.PREDICTION, label="$J$")
    plotting.edge_line(norm, label=None)
    norm.set(title="(d) Jacobian norm (Eq. 1)", ylabel="$|J^*|_F / \\sqrt{N}$")
    exponent.legend()
    norm.legend()


FIGURE = sweep.Measurement(
    name="fig7",
    size=(9, 7),
    title=title,
    numbers=analysis.trained.NUMBERS,
    arrays=analysis.trained.ARRAYS | ARRAYS,
    check=check,
    prepare=prepare,
    predict=lambda config, known: analysis.trained.expect(known),
    measure=measure,
    compare=lambda config, arrays: analysis.trained.compare(arrays),
    draw=lambda figure, config, arrays: draw(figure, arrays),
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
