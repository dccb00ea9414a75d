"""Do three edges coincide in one training run: J^2 = 1, the edge of stability, and sensitive dependence of the run?

Trains at several learning rates for one rescaled length. At equal moments of it measures J^2 of the hidden weights, the
sharpness beside 2 (1 + alpha) / eta, and how fast a small change of the weights grows: a tangent is pushed through the
whole run by the derivative of each epoch, and rescaled after it. Its first window includes the time in which it turns
into the direction that grows most. Finished runs are kept, so the same command continues where it stopped.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import files, plotting, training
from edgechaos.analysis import three_edges as analysis
from edgechaos.analysis.numbers import known_mean
from edgechaos.data import Dataset
from edgechaos.dynamics.tangents import push, random_tangent
from edgechaos.errors import UserError
from edgechaos.runs.config import TRAINING_FIELDS, RunConfig
from edgechaos.runs.fields import Field, declared, integer, is_rising
from edgechaos.runs.resumable import all_once
from edgechaos.theory import paper
from experiments.shared import cli, sweep

Known = dict[str, np.ndarray]
_MOST_WITHIN_LAW = 4.0  # scale factors of the paper's run
_MOST_EPOCHS = 1000  # of a window
# of each edge: its color, and its name in the figure
_COLORS = {"edge": 4, "sharpness": 1, "exponent": 3}
_WORDS = {"edge": "$J^2 = 1$", "sharpness": "edge of stability", "exponent": "exponent 0"}


def _is_rising(values: tuple) -> bool:
    """Whether these are rising positive numbers, at least one."""
    return len(values) > 0 and is_rising(values, (int, float), lambda one: one > 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Learning rates, moments of their runs, and what is measured there."""

    dataset: str = declared(TRAINING_FIELDS["dataset"])
    data_dir: str = declared(TRAINING_FIELDS["data_dir"])
    momentum: float = declared(TRAINING_FIELDS["momentum"])
    batch_size: int = declared(TRAINING_FIELDS["batch_size"])
    constant_d: float = declared(TRAINING_FIELDS["constant_d"])
    learning_rates: tuple[float, ...] = declared(
        Field(tuple, _is_rising, "a tuple of rising numbers > 0, such as (0.01, 0.02)", "learning rates of the runs")
    )
    num_windows: int = declared(integer(2, "stretches of equal rescaled length between the moments of a run"))
    window_epochs: int = declared(
        integer(1, "epochs of each at the largest learning rate; as many times more as a rate is smaller")
    )
    num_images: int = declared(integer(1, "training images whose loss has the sharpness, the first of the set"))
    lanczos_iterations: int = declared(integer(2, "products with the Hessian behind a sharpness"))


def epochs_of(config: Config, learning_rate: float) -> float:
    """Epochs of a window at a learning rate."""
    return config.window_epochs * config.learning_rates[-1] / learning_rate


def check(config: Config) -> None:
    """Raises a UserError unless all windows are whole epochs, and the smallest rate's are at most a thousand."""
    least, most = config.learning_rates[0], config.learning_rates[-1]
    if epochs_of(config, least) > _MOST_EPOCHS:
        raise UserError(
            f"learning_rates = {config.learning_rates}: window_epochs = {config.window_epochs} epochs at {most:g} are "
            f"{epochs_of(config, least):.3g} at {least:g}, and at most {_MOST_EPOCHS} are possible"
        )
    for rate in config.learning_rates:
        epochs = epochs_of(config, rate)
        if abs(epochs - round(epochs)) > 1e-6 * epochs:
            raise UserError(
                f"learning_rates = {config.learning_rates}: window_epochs = {config.window_epochs} epochs at "
                f"{config.learning_rates[-1]:g} are {epochs:g} at {rate:g}, which must be a whole number"
            )


def prepare(config: Config, directory: Path) -> Dataset:
    """The data set."""
    del directory
    dataset = sweep.load_for(config, config.batch_size)
    if config.num_images > len(dataset.train_labels):
        most = len(dataset.train_labels)
        raise UserError(f"num_images = {config.num_images}: must be in [1, {most}], the size of the training set")
    return dataset


def clocks(config: Config, num_samples: int) -> Known:
    """What follows from the config alone."""
    rates = np.array(config.learning_rates, float)
    scale = np.asarray(ec.scale_factor(rates, config.momentum, config.batch_size)) / paper.SCALE_FACTOR
    window = config.window_epochs * float(scale[-1])
    epochs = np.array([round(epochs_of(config, rate)) for rate in config.learning_rates])
    return {
        "learning_rate": rates,
        "scale_factor": scale,
        "stable_sharpness": np.asarray(training.stable_sharpness(rates, config.momentum), float),
        "time": window * np.arange(config.num_windows + 1),
        "window_time": window * (np.arange(config.num_windows) + 0.5),
        "window_steps": epochs * -(-num_samples // config.batch_size),
    }


def expect(config: Config) -> dict[str, float]:
    """All edges where Eqs. 4 and 5 have J^2 = 1."""
    slope = config.constant_d * paper.SCALE_FACTOR
    edge = (1 - TRAINING_FIELDS["init_j"].default ** 2) / slope if slope else np.nan
    return analysis.expect(config.learning_rates, edge)


def measure(config: Config, dataset: Dataset, directory: Path) -> Known:
    """All runs [rate, seed, ...], each kept in runs/ when it is finished."""
    on_device, known = jax.device_put(dataset), clocks(config, len(dataset.train_labels))
    seeds = range(config.seed, config.seed + config.num_seeds)
    tasks = {
        f"{rate}-{seed}": functools.partial(_follow, config, on_device, rate, seed)
        for rate in config.learning_rates
        for seed in seeds
    }
    found = list(all_once(directory / "runs", tasks, "run").values())
    shape = len(config.learning_rates), len(seeds)
    arrays = {name: np.stack([one[name] for one in found]).reshape(*shape, -1) for name in found[0]}
    arrays["exponent"] = arrays.pop("growth") / known["window_steps"][:, None, None]
    files.write_npz(directory / "three_edges.npz", known | arrays)
    return known | arrays


def _follow(config: Config, dataset: Dataset, learning_rate: float, seed: int) -> Known:
    """One run: what is measured at its moments, and the growth of its tangent between them."""
    key = jax.random.key(seed)
    tangent_key, vector_key = jax.random.split(jax.random.fold_in(key, 2**31))  # epochs fold in smaller numbers
    spec = training.Spec(dataset.num_classes, config.batch_size)
    numbers = training.Hyperparameters(learning_rate, config.momentum)
    state = training.init_state(key, spec, dataset.train_images.shape[1])
    tangent = random_tangent(tangent_key, (state.params, state.optimizer_state))
    some = dataset.train_images[: config.num_images], dataset.train_labels[: config.num_images]
    moments = [_measure(state.params, vector_key, *some, spec, config.lanczos_iterations)]
    growths = []
    for _ in range(config.num_windows):
        growth = 0.0
        for _ in range(round(epochs_of(config, learning_rate))):
            state, tangent, grown = _advance(state, tangent, key, numbers, dataset, spec)
            growth += float(grown)
        growths.append(growth)
        moments.append(_measure(state.params, vector_key, *some, spec, config.lanczos_iterations))
    return _until_divergence({name: np.array([float(one[name]) for one in moments]) for name in moments[0]}, growths)


def _until_divergence(moments: Known, growths: list[float]) -> Known:
    """What is known of a run, NaN from the first moment on at which anything is not finite."""
    everything = np.stack([*moments.values(), np.array([0.0, *growths])])  # no window before the first moment
    is_alive = np.logical_and.accumulate(np.isfinite(everything).all(0))
    alive = {name: np.where(is_alive, values, np.nan) for name, values in moments.items()}
    return alive | {"growth": np.where(is_alive[1:], growths, np.nan)}


@functools.partial(jax.jit, static_argnames="spec", donate_argnames=("state", "tangent"))
def _advance(
    state: training.TrainState,
    tangent: Any,
    key: PRNGKeyArray,
    numbers: training.Hyperparameters,
    dataset: Dataset,
    spec: training.Spec,
) -> tuple[training.TrainState, Any, Array]:
    """One epoch of a run and of its tangent, with the growth of the latter."""
    advance = training.epoch_map(state.epoch, key, numbers, dataset, spec)
    pushed = push(advance, (state.params, state.optimizer_state), tangent)
    params, optimizer_state = pushed.state
    state = dataclasses.replace(state, params=params, optimizer_state=optimizer_state, epoch=state.epoch + 1)
    return state, pushed.tangent, pushed.growth


@functools.partial(jax.jit, static_argnames=("spec", "num_iterations"))
def _measure(
    params: Any, key: PRNGKeyArray, images: Array, labels: Array, spec: training.Spec, num_iterations: int
) -> dict[str, Array]:
    """J^2 and sharpness."""

    def loss(params: Any) -> Array:
        return training.evaluate(params, images, labels, spec)[0]

    found = training.sharpness(loss, params, key, num_iterations)
    place = ec.order_parameters(jnp.asarray(params["hidden"]["kernel"]))
    return {"j_squared": place.j_squared, "sharpness": found.value, "sharpness_residual": found.residual}


def describe(row: sweep.Row) -> str:
    """A learning rate in a line."""
    numbers = {name: row[name]["mean"] for name in analysis.NUMBERS}
    text = (
        "eta {learning_rate:<5g} J^2 = 1 at {edge_epoch:.1f}, there sharpness {edge_sharpness:.3f} of the stable one "
        "({sharpness_verdict}), exponent {edge_exponent_per_epoch:+.3f} per epoch ({exponent_verdict})"
    )
    return text.format(**{**row, **numbers})


def title(config: Config) -> str:
    """What was run, in one line."""
    scale = float(ec.scale_factor(config.learning_rates[-1], config.momentum, config.batch_size)) / paper.SCALE_FACTOR
    length = f"{config.num_windows * config.window_epochs * scale:g} rescaled epochs"
    setting = f"$\\alpha$ {config.momentum:g}, B {config.batch_size}"
    return f"{Path(config.dataset).name}: {setting}, {length}, {cli.seeds(config)}"


def draw(figure: Figure, arrays: Known) -> None:
    """A column for each learning rate with the three quantities; below, J^2 at each passage by learning rate."""
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.6, 1))[:, 0]
    panels = above.subplots(3, len(arrays["learning_rate"]), squeeze=False, sharex=True, sharey="row")
    measured = analysis.compare(arrays)
    for column, rate in enumerate(arrays["learning_rate"]):
        _column(panels[:, column], arrays, column, measured)
        beyond = "\nbeyond the law" if arrays["scale_factor"][column] > _MOST_WITHIN_LAW * (1 + 1e-9) else ""
        panels[0, column].set_title(f"$\\eta$ {rate:g}{beyond}")
        panels[-1, column].set_xlabel("rescaled epoch")
    for axes, label in zip(
        panels[:, 0], ("$J^2$", "sharpness /\nstable one", "growth per\nrescaled epoch"), strict=True
    ):
        axes.set_ylabel(label)
    above.legend(*_all_labels(panels.ravel()), loc="outside upper right", ncols=4)
    _summary(below.subplots(), arrays, measured)


def _column(panels: np.ndarray, arrays: Known, rate: int, measured: Mapping[str, np.ndarray]) -> None:
    """The quantities of one learning rate against time, each with its edge, and the passages of all three."""
    series = {
        "edge": (arrays["time"], arrays["j_squared"], 1.0),
        "sharpness": (arrays["time"], arrays["sharpness"] / arrays["stable_sharpness"][:, None, None], 1.0),
        "exponent": (arrays["window_time"], analysis.growth_per_rescaled_epoch(arrays), 0.0),
    }
    when = {
        name: known_mean(measured[analysis.name_at(f"{name}_epoch", arrays["learning_rate"][rate])]) for name in series
    }
    for axes, (name, (times, values, height)) in zip(panels, series.items(), strict=True):
        plotting.rescaled_trajectory(axes, times, values[rate], _COLORS[name], "")
        plotting.edge_line(axes, height, "edge of each")
        axes.set(xlabel="", xlim=(0, arrays["time"][-1]), yscale="log" if name == "sharpness" else "linear")
        plotting.mark_epochs(axes, {_WORDS[one]: (when[one], plotting.color_of(_COLORS[one]), ":") for one in series})


def _all_labels(panels: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    """Handles and labels of all panels, each label once."""
    named = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    return list(named.values()), list(named)


def _summary(axes: Axes, arrays: Known, measured: Mapping[str, np.ndarray]) -> None:
    """J^2 at the passage of sharpness and exponent, by learning rate."""
    rates, names = arrays["learning_rate"], analysis.EDGES
    places = {
        _WORDS[name]: np.stack([measured[analysis.name_at(f"{name}_j_squared", rate)] for rate in rates])
        for name in names
    }
    sides = {
        _WORDS[name]: np.array([known_mean(one.ravel()) for one in analysis.excess_of(arrays, name)[1]])
        for name in names
    }
    colors = {_WORDS[name]: plotting.color_of(_COLORS[name]) for name in names}
    plotting.passages(axes, rates, places, sides, colors, 1.05 * float(np.nanmax(arrays["j_squared"])))
    axes.set_title("$J^2$ where the other two edges are passed; a triangle up: stays below its edge, down: stays above")


FIGURE = sweep.Measurement(
    name="three_edges",
    size=(12, 9),
    title=title,
    numbers=analysis.NUMBERS,
    arrays=analysis.ARRAYS,
    check=check,
    prepare=prepare,
    predict=lambda config, dataset: expect(config),
    measure=measure,
    compare=lambda config, arrays: analysis.compare(arrays),
    draw=lambda figure, config, arrays: draw(figure, arrays),
    rows=lambda config, arrays: analysis.rows(arrays, analysis.compare(arrays)),
    describe=describe,
    rows_name="learning_rates",
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
