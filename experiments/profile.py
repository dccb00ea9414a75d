"""Beyond the weights: chi of each block of four networks, measured by the Jacobian before, during and after training.

The networks are a tanh and a ReLU perceptron that start at their edge, a residual perceptron with normalisation, and a
small transformer of image patches. Draws chi of the blocks against epoch, beside the chi that follows from the weights
alone. Finished runs are kept, so the same command continues where it stopped.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from edgechaos import files, plotting
from edgechaos.data.dataset import Dataset
from edgechaos.errors import UserError
from edgechaos.runs.config import TRAINING_FIELDS, RunConfig
from edgechaos.runs.fields import declared, integer
from experiments.shared import blocks, cli, sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Four networks of equal blocks, their training by Adam, and the samples of the profile."""

    dataset: str = declared(TRAINING_FIELDS["dataset"])
    data_dir: str = declared(TRAINING_FIELDS["data_dir"])
    learning_rate: float = declared(TRAINING_FIELDS["learning_rate"])
    batch_size: int = declared(TRAINING_FIELDS["batch_size"])
    epochs: int = declared(TRAINING_FIELDS["epochs"])
    depth: int = declared(integer(2, "number of blocks"))
    width: int = declared(integer(4, "width of the stream between the blocks, a multiple of 4"))
    num_profiled: int = declared(integer(2, "number of test samples over which the profile is averaged"))


ARRAYS = {
    "chi": "[network, seed, epochs + 1, block] growth of squared small changes, by the Jacobian",
    "chi_error": "[network, seed, epochs + 1, block] its standard error over the samples",
    "weights_chi": "[network, seed, epochs + 1, block] product of Eq. 3's chi of the block's dense kernels",
    "test_accuracy": "[network, seed, epochs + 1] share in [0, 1]",
}
PER_NETWORK = {
    "start": "geometric mean of chi over the blocks before training",
    "end": "the same after training",
    "weights_start": "the same before training by the weights alone; begins at the edge for the perceptrons",
    "weights_end": "the same after training by the weights alone",
    "accuracy": "test accuracy after training",
}
NUMBERS = {f"{kind}, {name}": f"{kind}: {text}" for kind in blocks.KINDS for name, text in PER_NETWORK.items()}
# a ReLU layer's chi does not depend on its input; that of tanh begins below 1 where its fields are not small
_PREDICTED = {"ReLU MLP, start": 1.0, "ReLU MLP, weights_start": 1.0, "tanh MLP, weights_start": 1.0}


def check(config: Config) -> None:
    """Raises a UserError for a width that the heads of the attention do not divide."""
    if config.width % 4:
        raise UserError(f"width = {config.width}: must be a multiple of 4, the heads of the attention")


def train(config: Config, dataset: Dataset, directory: Path) -> dict[str, np.ndarray]:
    """All runs [network, seed, ...], each kept in runs/ when it is finished."""
    on_device = jax.device_put(dataset)
    seeds = range(config.seed, config.seed + config.num_seeds)
    keys = {f"{blocks.KINDS.index(kind)}-{seed}": (kind, seed) for kind in blocks.KINDS for seed in seeds}

    def one(key: tuple[str, int]) -> blocks.Trajectory:
        return blocks.train(jax.random.key(key[1]), on_device, spec_of(config, dataset.num_classes, key[0]))

    arrays = sweep.train_each(directory, keys, one, (len(blocks.KINDS), len(seeds)))
    files.write_npz(directory / "profile.npz", arrays)
    return arrays


def spec_of(config: Config, num_classes: int, kind: str) -> blocks.Spec:
    """The static part of a run."""
    return blocks.Spec(
        kind=kind,
        num_classes=num_classes,
        depth=config.depth,
        width=config.width,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        num_epochs=config.epochs,
        num_profiled=config.num_profiled,
    )


def compare(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`, one for each seed."""
    with np.errstate(divide="ignore"):  # a dead block has chi = 0
        mean, weights = (np.exp(np.log(arrays[name]).mean(-1)) for name in ("chi", "weights_chi"))
    numbers: dict[str, np.ndarray] = {}
    for row, kind in enumerate(blocks.KINDS):
        numbers |= {
            f"{kind}, start": mean[row, :, 0],
            f"{kind}, end": mean[row, :, -1],
            f"{kind}, weights_start": weights[row, :, 0],
            f"{kind}, weights_end": weights[row, :, -1],
            f"{kind}, accuracy": arrays["test_accuracy"][row, :, -1],
        }
    return numbers


def title(config: Config) -> str:
    """What was run, in one line."""
    numbers = f"Adam, $\\eta$ {config.learning_rate:g}, B {config.batch_size}, {config.epochs} epochs"
    size = f"{config.depth} blocks of {config.width}"
    return f"{Path(config.dataset).name}: {size}, {numbers}, {cli.seeds(config)}"


def draw(figure: Figure, arrays: dict[str, np.ndarray]) -> None:
    """A column for each network: chi by the Jacobian above, by the weights alone below."""
    panels = figure.subplots(2, len(blocks.KINDS), squeeze=False, sharey="col")
    for column, kind in enumerate(blocks.KINDS):
        for axes, name, text in zip(panels[:, column], ("chi", "weights_chi"), ("Jacobian", "weights"), strict=True):
            for block in range(arrays[name].shape[-1]):
                label = f"block {block + 1}"
                plotting.trajectory(axes, arrays[name][column, :, :, block], plotting.color_of(block), label)
            plotting.edge_line(axes, 1.0, "$\\chi = 1$")
            axes.set(title=f"{kind}: {text}", yscale="log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 8)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
    for axes in panels[:, 0]:
        axes.set_ylabel("$\\chi$ of a block")
    panels[1, 0].legend(loc="lower left", ncols=2)  # the weights of tanh stay near 1, above


FIGURE = sweep.Measurement(
    name="profile",
    size=(11, 8),
    title=title,
    numbers=NUMBERS,
    arrays=ARRAYS,
    check=check,
    prepare=lambda config, directory: sweep.load_for(config, config.batch_size),
    predict=lambda config, dataset: _PREDICTED,
    measure=train,
    compare=lambda config, arrays: compare(arrays),
    draw=lambda figure, config, arrays: draw(figure, arrays),
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
