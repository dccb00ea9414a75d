"""Fig. 7: is the asymptotic distance of the trained hidden map a property of its weights, and does (J0, J) tell it?

Draws (a) the distribution of |x - x'| over the test images for the hidden kernels of some epochs, with the mean-field
prediction of their (J0, J), (b) the same after shuffling the kernels' entries, and beyond the paper (c) the largest
Lyapunov exponent and (d) the Jacobian norm of Eq. 1 beside theory. The same command again redraws a finished run.
"""

import dataclasses
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import data, files, plotting, runs
from edgechaos.data.dataset import Dataset
from edgechaos.dynamics import input_dependence
from edgechaos.errors import UserError
from edgechaos.runs.config import FORMER, INCIDENTAL, TRAINING_FIELDS, TrainingConfig, from_record
from edgechaos.runs.fields import declared, folder, integer, real
from edgechaos.runs.history import ARRAYS
from experiments.shared import cli, sweep

logger = logging.getLogger("edgechaos.fig7")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """A training run, and what is measured on its kernels."""

    fig2_workdir: str = declared(folder("a folder, '' for none", "whose kernels are taken if they fit"))
    num_iterations: int = declared(integer(1, "after which the distance is taken"))
    perturbation_std: float = declared(real(lambda value: value > 0, "> 0", "of x' - x, for each component"))
    late_iterations: int = declared(integer(1, "after which a second distance is taken, of 64 images"))
    num_perturbations: int = declared(integer(2, "of each of 256 images, for the analysis of variance"))
    lyapunov_iterations: int = declared(integer(64, "that an exponent is averaged over"))


OWN_ARRAYS = {
    "label": "[kernel] epoch-E, or edge for the kernel nearest to J = 1",
    "epoch": "[kernel, member] epochs behind the kernel",
    "j0": "[kernel, member] J0",
    "j": "[kernel, member] J",
    "distance": "[kernel, control, member, image] |x - x'|; control 0: the kernel, 1: its entries shuffled",
    "late_distance": "[kernel, control, member, image, perturbation] the same after late_iterations",
    "exponent": "[kernel, control, member] largest Lyapunov exponent, mean over 16 images",
    "jacobian_norm": "[kernel, control, member] Eq. 1's left-hand side, mean over 16 images",
    "input_share": "[kernel, control, member] share of the variance of ln(distance) that the image accounts for",
    "late_input_share": "[kernel, control, member] the same after late_iterations",
    "f_ratio": "[kernel, control, member] variance of the images' means over what perturbations give them",
    "over_inputs": "[kernel, control, member] standard deviation of ln(distance) over images",
    "over_perturbations": "[kernel, control, member] the same over perturbations of one image",
    "predicted_distance": "[kernel, member] of the mean-field theory at (J0, J)",
    "predicted_exponent": "[kernel, member] the same",
    "predicted_norm": "[kernel, member] sqrt(chi)",
}
NUMBERS = {
    "distance": "median |x - x'| over the test images",
    "shuffled_distance": "the same after shuffling the kernel's entries",
    "late_distance": "the same as distance after late_iterations",
    "shuffled_late_distance": "the same as shuffled_distance after late_iterations",
    "exponent": "largest Lyapunov exponent per iteration",
    "shuffled_exponent": "the same after shuffling",
    "jacobian_norm": "Eq. 1's left-hand side at the mean asymptotic state; predicted: sqrt(chi)",
    "shuffled_jacobian_norm": "the same after shuffling",
    "input_share": "share of the variance of ln(distance) that the image accounts for; 0: a property of the weights",
    "late_input_share": "the same after late_iterations",
    "j": "J of the kernel",
    "epoch": "epochs behind the kernel",
}
# fields on which the kernel of an epoch depends
_OTHER = {"epochs", "keep_kernels_at", "constant_d", *INCIDENTAL}
_TRAINING = TRAINING_FIELDS.keys() - _OTHER
_NUM_IMAGES = 256
_NUM_LATE = 64
_NUM_STATES = 16


def main(config: Config, directory: Path) -> None:
    """Data, kernels, measurement, comparison."""
    wanted = config.keep_kernels_at
    if not wanted:
        raise UserError(f"keep_kernels_at = {wanted}: must name an epoch")
    if max(wanted) > config.epochs:
        raise UserError(f"keep_kernels_at = {wanted}: must be epochs up to epochs = {config.epochs}")
    path = directory / "fig7.npz"
    if not path.exists():
        dataset = data.load(config.dataset, config.data_dir or None)
        sweep.check_batch_size(config.batch_size, len(dataset.train_labels))
        kernels = find_kernels(config, directory, dataset)
        files.write_npz(path, measure(config, kernels, dataset))
    arrays = files.read_npz(path)
    predicted, measured = compare(arrays)
    meaning = {name: NUMBERS[name.partition("_at_")[0]] for name in predicted}
    with plotting.figure(9, 7, title(config), directory / "fig7.png", directory / "fig7.pdf") as figure:
        draw(figure, arrays)
    cli.write_summary(directory / "fig7.png", title(config), predicted, measured, meaning)


def find_kernels(config: Config, directory: Path, dataset: Dataset) -> dict[str, dict[str, np.ndarray]]:
    """Kernels of a Fig. 2 run with the same training that kept the epochs asked for, else of a run of our own."""
    wanted = [f"epoch-{epoch}" for epoch in config.keep_kernels_at]
    kernels = _earlier_kernels(config, wanted) if config.fig2_workdir else {}
    if kernels:
        logger.info("kernels from '%s'", config.fig2_workdir)
        return kernels
    runs.run_sweep(directory, config, dataset, lambda history: None)
    found = runs.read_kernels(directory, runs.sequence(directory, config))
    missing = [name for name in wanted if not _is_complete(found, name)]
    if missing:
        raise UserError(
            f"keep_kernels_at: '{directory}' has no kernel {missing[0]} of each seed, because one of them diverged "
            "before; take a smaller learning_rate or an earlier epoch"
        )
    return _complete(found, wanted)


def _earlier_kernels(config: Config, wanted: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Those of a finished Fig. 2 run with the same training that kept the epochs asked for; {} if it is no such run.

    It may be longer; its kernel nearest to J = 1 is then taken if it lies within the epochs of this config.

    Raises:
      UserError: its config.json or a kernel is damaged.
    """
    folder = files.expanded(config.fig2_workdir, "fig2_workdir")
    if not (folder / "config.json").exists():
        return {}
    earlier = FORMER | runs.read_json(folder / "config.json", dict, "name another fig2_workdir, or '' for none")
    is_same = all(earlier.get(name) == getattr(config, name) for name in _TRAINING)
    is_whole = from_record(earlier).epochs >= config.epochs and not any(folder.glob("checkpoint*"))
    found = runs.read_kernels(folder, runs.sequence(folder, from_record(earlier))) if is_same and is_whole else {}
    if "edge" in found and (found["edge"]["epoch"] > config.epochs).any():
        del found["edge"]
    if all(_is_complete(found, name) for name in wanted):
        return _complete(found, wanted)
    logger.info("'%s' holds another training, an unfinished one, or not all of these kernels; training here", folder)
    return {}


def _is_complete(kernels: dict[str, dict[str, np.ndarray]], name: str) -> bool:
    """Whether each member has this kernel."""
    return name in kernels and bool(np.isfinite(kernels[name]["kernel"]).all())


def _complete(kernels: dict[str, dict[str, np.ndarray]], wanted: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """The kernels that were asked for, and those nearest to J = 1 if each member came near."""
    if not _is_complete(kernels, "edge"):
        logger.info("not every seed came near J = 1; the figure does without the kernel there")
    return {name: kernels[name] for name in (*wanted, "edge") if _is_complete(kernels, name)}


def measure(config: Config, kernels: dict[str, dict[str, np.ndarray]], dataset: Dataset) -> dict[str, np.ndarray]:
    """All numbers of all kernels, as they are and shuffled."""
    images, phi = jnp.asarray(dataset.test_images), config.activation
    keys = jax.random.split(jax.random.key(config.seed), 4)
    few = jnp.repeat(images[:_NUM_IMAGES, None], config.num_perturbations, axis=1)
    length = config.lyapunov_iterations

    @jax.jit
    def one(kernel: jax.Array) -> dict[str, jax.Array]:
        def step(x: jax.Array) -> jax.Array:
            return ec.hidden_map(kernel, x, phi)

        def distance(x0: jax.Array, key: jax.Array, num_iterations: int) -> jax.Array:
            arguments = num_iterations, config.perturbation_std, phi
            return input_dependence.asymptotic_distance(kernel, x0, key, *arguments)

        states = images[:_NUM_STATES]
        spread = input_dependence.spread(distance(few, keys[1], config.num_iterations))
        late = distance(few[:_NUM_LATE], keys[1], config.late_iterations)
        settled = input_dependence.mean_state(kernel, states, length, length, phi)
        return {
            "distance": distance(images, keys[0], config.num_iterations),
            "late_distance": late,
            "late_input_share": input_dependence.spread(late).input_share,
            "exponent": ec.lyapunov_exponent(step, states, keys[2], length, length).exponent.mean(),
            "jacobian_norm": ec.jacobian_norm(step, settled).mean(),
            "input_share": spread.input_share,
            "f_ratio": spread.f_ratio,
            "over_inputs": spread.over_inputs,
            "over_perturbations": spread.over_perturbations,
        }

    stacked = np.stack([entry["kernel"] for entry in kernels.values()])
    place = jax.vmap(jax.vmap(ec.order_parameters))(jnp.asarray(stacked))
    j0, j = np.asarray(place.j0, float), np.sqrt(np.asarray(place.j_squared, float))
    measured = [
        [[one(control) for control in (kernel, input_dependence.shuffled(keys[3], kernel))] for kernel in members]
        for members in stacked
    ]
    arrays = {  # [kernel, control, member, ...] from lists [kernel][member][control]
        name: np.stack([[[np.asarray(m[c][name]) for m in members] for c in (0, 1)] for members in measured])
        for name in measured[0][0][0]
    }
    with jax.enable_x64(True):
        theory = {
            "predicted_distance": np.asarray(ec.predicted_distance(j0, j, phi)) * images.shape[1] ** 0.5,
            "predicted_exponent": np.asarray(ec.predicted_exponent(j0, j, phi)),
            "predicted_norm": np.sqrt(np.asarray(ec.chi(j0, j, phi))),
        }
    epochs = np.stack([entry["epoch"] for entry in kernels.values()])
    return {"label": np.array(list(kernels)), "epoch": epochs, "j0": j0, "j": j, **arrays, **theory}


def compare(arrays: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Mean-field prediction and measurement [member] under the same names, kernel by kernel."""
    predicted: dict[str, float] = {}
    measured: dict[str, np.ndarray] = {}
    for index, label in enumerate(arrays["label"]):
        numbers = {"epoch": (np.nan, arrays["epoch"][index]), "j": (np.nan, arrays["j"][index])}
        for control, prefix in enumerate(("", "shuffled_")):
            expected = arrays["predicted_distance"][index].mean()
            numbers[f"{prefix}distance"] = expected, np.median(arrays["distance"][index, control], axis=-1)
            late = np.median(arrays["late_distance"][index, control], axis=(-2, -1))
            numbers[f"{prefix}late_distance"] = expected, late
            for name, theory in (("exponent", "predicted_exponent"), ("jacobian_norm", "predicted_norm")):
                numbers[prefix + name] = arrays[theory][index].mean(), arrays[name][index, control]
        for name in ("input_share", "late_input_share"):
            numbers[name] = 0.0, arrays[name][index, 0]
        predicted |= {f"{name}_at_{label}": float(pair[0]) for name, pair in numbers.items()}
        measured |= {f"{name}_at_{label}": pair[1] for name, pair in numbers.items()}
    return predicted, measured


def title(config: Config) -> str:
    """What was run, in one line."""
    numbers = f"$\\eta$ {config.learning_rate:g}, $\\alpha$ {config.momentum:g}, B {config.batch_size}"
    distance = f"distance after {config.num_iterations} iterations (outlines: {config.late_iterations})"
    return f"{config.dataset}, {config.activation}: {numbers}, {distance}, {cli.seeds(config)}"


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


if __name__ == "__main__":
    cli.run("fig7", main, Config, OWN_ARRAYS | ARRAYS)
