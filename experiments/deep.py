"""Beyond one hidden layer: each layer of a deep network held at the edge, beside AdamW with a searched decay.

The edge of a deep network without biases is chi_1 = 1, that is sigma_w^2 = n_in var(W) = 1 for tanh and 2 for ReLU.
These layers start there. The figure has, for each activation, the test accuracy of each way, J^2 of the layers against
epoch, and their paths through the diagram. Finished runs are kept, so the same command continues where it stopped.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos import analysis, files, plotting
from edgechaos.data import KEPT, Dataset, validation_split
from edgechaos.runs.config import TRAINING_FIELDS, RunConfig
from edgechaos.runs.fields import declared, integer
from edgechaos.training import deep
from experiments.shared import cli, sweep, trials


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """A deep network, its training by Adam, and the search beside it."""

    dataset: str = declared(TRAINING_FIELDS["dataset"])
    data_dir: str = declared(TRAINING_FIELDS["data_dir"])
    learning_rate: float = declared(TRAINING_FIELDS["learning_rate"])
    batch_size: int = declared(TRAINING_FIELDS["batch_size"])
    epochs: int = declared(TRAINING_FIELDS["epochs"])
    depth: int = declared(integer(2, "number of hidden layers"))
    width: int = declared(integer(2, "number of neurons of each hidden layer"))
    num_trials: int = declared(integer(1, "number of trials of Optuna, with the first seed and a validation split"))


ARRAYS = {
    "j0": "[activation, way, seed, epochs + 1, layer] J0 of the hidden kernels",
    "j_squared": "[activation, way, seed, epochs + 1, layer] J^2 = n_in var(W) of the hidden kernels",
    "test_loss": "[activation, way, seed, epochs + 1] cross-entropy on the test set",
    "test_accuracy": "[activation, way, seed, epochs + 1] share in [0, 1]",
}
FREE, USUAL, HELD, SEARCHED = "no decay", "AdamW's 0.01", "hold at edge", "AdamW by Optuna"
WAYS = (FREE, USUAL, HELD, SEARCHED)
_USUAL_DECAY = 0.01 / 2  # lambda of the paper's convention; PyTorch's default of AdamW is 0.01
_BOUNDS = (1e-4, 1.0)  # of the search; Adam's steps are larger than the gradient's, and so are its decays
PER_ACTIVATION = {
    "held_accuracy": "mean test accuracy of the last twentieth of the epochs, of hold_at_edge",
    "searched_accuracy": "the same of AdamW with the decay that Optuna found",
    "free_accuracy": "the same without decay",
    "behind_search": "standard errors of the difference by which the hold is behind the search; target: <= 1",
    "share_of_cost": "epochs of computing of the hold over those of the search",
    "searched_decay": "lambda that Optuna found, AdamW's own is twice that",
    "held_j_squared": "J^2 at the end of the hold, mean over the layers, over that of the edge; predicted: 1",
}
NUMBERS = {
    f"{activation}_{name}": f"{activation}: {text}"
    for activation in deep.EDGES
    for name, text in PER_ACTIVATION.items()
}


class Outcome(NamedTuple):
    """All runs, and the decay of AdamW that the search found for each activation."""

    arrays: dict[str, np.ndarray]
    decays: dict[str, float]


def load(config: Config, directory: Path) -> Dataset:
    """The data set, of which trials are trained with a part; Optuna must be there."""
    trials.require()
    return sweep.load_for(config, config.batch_size, KEPT)


def train(config: Config, dataset: Dataset, directory: Path) -> Outcome:
    """The searches, then all runs [activation, way, seed, ...], each kept in runs/ when it is finished."""
    decays = {activation: searched(config, dataset, activation, directory) for activation in deep.EDGES}
    on_device = jax.device_put(dataset)
    seeds = range(config.seed, config.seed + config.num_seeds)
    every = [(activation, way, seed) for activation in deep.EDGES for way in WAYS for seed in seeds]

    def one(key: tuple[str, str, int]) -> deep.Trajectory:
        activation, way, seed = key
        spec = spec_of(config, dataset.num_classes, activation, held=way == HELD)
        decay = {FREE: 0.0, USUAL: _USUAL_DECAY, HELD: 0.0, SEARCHED: decays[activation]}[way]
        return deep.train(jax.random.key(seed), decay, on_device, spec)

    keys = {f"{activation}-{WAYS.index(way)}-{seed}": (activation, way, seed) for activation, way, seed in every}
    arrays = sweep.train_each(directory, keys, one, (len(deep.EDGES), len(WAYS), len(seeds)))
    files.write_npz(directory / "deep.npz", arrays)
    return Outcome(arrays, decays)


def spec_of(config: Config, num_classes: int, activation: str, held: bool) -> deep.Spec:
    """The static part of a run."""
    shared = {name: getattr(config, name) for name in ("depth", "width", "learning_rate", "batch_size")}
    return deep.Spec(num_classes=num_classes, activation=activation, num_epochs=config.epochs, held=held, **shared)


def searched(config: Config, dataset: Dataset, activation: str, directory: Path) -> float:
    """The decay of AdamW that Optuna finds."""
    split = jax.device_put(validation_split(dataset, config.seed))
    spec = spec_of(config, dataset.num_classes, activation, held=False)
    key = jax.random.key(config.seed)

    def accuracy(decay: float) -> float:
        return float(analysis.last_mean(np.asarray(deep.train(key, decay, split, spec).test_accuracy)))

    path = directory / f"trials-{activation}.npz"
    decays, scores = trials.search(path, config.num_trials, config.seed, accuracy, _BOUNDS)
    ((_, best),) = trials.best_after((config.num_trials,), decays, scores)
    return best


def cost_of(config: Config, way: str) -> float:
    """Epochs of computing behind one result."""
    trials_too = config.num_trials * KEPT if way == SEARCHED else 0
    return config.epochs * (1 + trials_too)


def held_layers(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """J^2 at the end [activation, way, seed, layer]."""
    return analysis.last_mean(np.moveaxis(arrays["j_squared"], -1, -2))


def table(config: Config, outcome: Outcome) -> list[sweep.Row]:
    """One row for each activation and way."""
    ends = {name: analysis.last_mean(outcome.arrays[f"test_{name}"]) for name in ("accuracy", "loss")}
    j_squared = held_layers(outcome.arrays).mean(2)
    return [
        {
            "activation": activation,
            "way": way,
            "accuracy": float(ends["accuracy"][one, other].mean()),
            "accuracy_deviation": float(analysis.deviation(ends["accuracy"][one, other])),
            "loss": float(ends["loss"][one, other].mean()),
            "cost": cost_of(config, way),
            "weight_decay": {USUAL: _USUAL_DECAY, SEARCHED: outcome.decays[activation]}.get(way),
            "j_squared": j_squared[one, other].tolist(),
        }
        for one, activation in enumerate(deep.EDGES)
        for other, way in enumerate(WAYS)
    ]


def describe(row: sweep.Row) -> str:
    """A row in a line."""
    layers = " ".join(f"{value:.2f}" for value in row["j_squared"])
    text = "{activation:5} {way:16} accuracy {accuracy:.4f} +- {accuracy_deviation:.4f}  loss {loss:.3f}"
    return f"{text}  {{cost:.0f}} epochs  J^2 {{layers}}".format(**row, layers=layers)


def predict() -> dict[str, float]:
    """The hold is at the edge, and at most one standard error behind the search."""
    return {f"{activation}_{name}": 1.0 for activation in deep.EDGES for name in ("behind_search", "held_j_squared")}


def compare(config: Config, outcome: Outcome) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`, over the seeds where there are several."""
    accuracy = analysis.last_mean(outcome.arrays["test_accuracy"])
    layers = held_layers(outcome.arrays)[:, WAYS.index(HELD)].mean(-1)
    numbers: dict[str, np.ndarray] = {}
    for one, (activation, edge) in enumerate(deep.EDGES.items()):
        free, held, other = (accuracy[one, WAYS.index(way)] for way in (FREE, HELD, SEARCHED))
        of_activation = {
            "held_accuracy": held,
            "searched_accuracy": other,
            "free_accuracy": free,
            "behind_search": np.array([analysis.behind(held, other)]),
            "share_of_cost": np.array([cost_of(config, HELD) / cost_of(config, SEARCHED)]),
            "searched_decay": np.array([outcome.decays[activation]]),
            "held_j_squared": layers[one] / edge,
        }
        numbers |= {f"{activation}_{name}": values for name, values in of_activation.items()}
    return numbers


def title(config: Config) -> str:
    """What was run, in one line."""
    numbers = f"Adam, $\\eta$ {config.learning_rate:g}, B {config.batch_size}, {config.epochs} epochs"
    size = f"{config.depth} hidden layers of {config.width}"
    return f"{Path(config.dataset).name}: {size}, {numbers}, {cli.seeds(config)}"


def draw(figure: Figure, arrays: dict[str, np.ndarray]) -> None:
    """A row of three panels for each activation."""
    panels = figure.subplots(len(deep.EDGES), 3, squeeze=False)
    accuracy = analysis.last_mean(arrays["test_accuracy"])
    for row, (axes, (activation, edge)) in enumerate(zip(panels, deep.EDGES.items(), strict=True)):
        scores, growth, paths = axes
        plotting.rows(scores, WAYS, accuracy[row])
        scores.set(title=f"{activation}: at the end", xlabel="test accuracy")
        held, free = (arrays["j_squared"][row, WAYS.index(way)] for way in (HELD, FREE))
        for layer in range(held.shape[-1]):
            color = plotting.color_of(layer)
            plotting.trajectory(growth, free[..., layer], color, f"layer {layer + 1}")
            growth.plot(held[..., layer].mean(0), "--", color=color, linewidth=1)
            j0 = arrays["j0"][row, WAYS.index(FREE), 0, :, layer]
            plotting.diagram_path(
                paths, j0, free[0, :, layer], color, f"_layer {layer + 1}"
            )  # hidden from the legend; colors are those of the panel beside it
        plotting.edge_line(growth, edge, "$\\chi_1 = 1$")
        growth.set(title="$J^2$ without decay (dashed: held)", ylabel="$J^2$")
        growth.legend()
        ratio = np.linspace(*_ratios(arrays, row), 61, dtype=np.float32)
        plotting.edge(paths, ratio, np.asarray(ec.edge_of_chaos(ratio, activation)))
        paths.set_title("paths without decay (red: Eq. 3)")


def _ratios(arrays: dict[str, np.ndarray], row: int) -> tuple[float, float]:
    """The range of J0/J that the paths of one activation cover, and a little more."""
    free = row, WAYS.index(FREE), 0
    ratio = arrays["j0"][free] / np.sqrt(arrays["j_squared"][free])
    return float(np.nanmin(ratio, initial=-1) - 0.1), float(np.nanmax(ratio, initial=1) + 0.1)


FIGURE = sweep.Measurement(
    name="deep",
    size=(11, 7),
    title=title,
    numbers=NUMBERS,
    arrays=ARRAYS,
    prepare=load,
    predict=lambda config, dataset: predict(),
    measure=train,
    compare=compare,
    draw=lambda figure, config, outcome: draw(figure, outcome.arrays),
    rows=table,
    rows_name="rows",
    describe=describe,
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
