"""Does a network lose its plasticity when J^2 has run off into chaos, and does a held J^2 keep it?

A network learns many tasks one after the other, each of which has the pixels of the images in a new sequence (permuted)
or new random labels (random). Draws the accuracy reached on each task, and J^2 after it, for several ways to keep
weights from growing. Finished groups are kept, so the same command continues where it stopped, or adds kinds, decays
and ways.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from edgechaos import files, plotting, training
from edgechaos.analysis import plasticity as analysis
from edgechaos.data import Dataset
from edgechaos.errors import UserError
from edgechaos.runs import machine
from edgechaos.runs.config import TRAINING_FIELDS, RunConfig
from edgechaos.runs.fields import Field, declared, integer, is_rising, real, validate_batch_size, words_tuple
from edgechaos.runs.members import member_bytes, members_at_once
from edgechaos.runs.resumable import all_once
from edgechaos.training import tasks
from experiments.shared import cli, sweep

CONSTRAINTS = tuple(name for name in training.CONSTRAINTS if name != "none")
RENEWAL = "shrink_and_perturb"


def _rises_from_0(values: tuple) -> bool:
    """Whether values are finite numbers that rise from 0."""
    return values[:1] == (0,) and is_rising(values, (int, float), lambda one: True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Tasks, the training on each, and ways to keep weights from growing."""

    dataset: str = declared(TRAINING_FIELDS["dataset"])
    data_dir: str = declared(TRAINING_FIELDS["data_dir"])
    learning_rate: float = declared(TRAINING_FIELDS["learning_rate"])
    momentum: float = declared(TRAINING_FIELDS["momentum"])
    optimizer: str = declared(TRAINING_FIELDS["optimizer"])
    batch_size: int = declared(TRAINING_FIELDS["batch_size"])
    kinds: tuple[str, ...] = declared(words_tuple(tuple(tasks.TASKS), "of tasks", role="incidental"))
    weight_decays: tuple[float, ...] = declared(
        Field(tuple, _rises_from_0, "a tuple of numbers that rise from 0", "fixed decays lambda", role="incidental")
    )
    ways: tuple[str, ...] = declared(
        words_tuple((RENEWAL, *CONSTRAINTS), "beside fixed decays, hold_at_edge among them", role="incidental")
    )
    num_tasks: int = declared(integer(2 * analysis.FEW, "one after the other"))
    num_images: int = declared(integer(1, "of a permuted task, the first ones of the training set"))
    num_random_images: int = declared(integer(1, "of a random task, likewise"))
    epochs: int = declared(integer(1, "over a permuted task; a random one has about as many steps"))
    shrink: float = declared(real(lambda value: 0 <= value <= 1, "in [0, 1]", "share of a weight that is left of it"))
    perturb: float = declared(real(lambda value: value >= 0, ">= 0", "share of a fresh weight that is added to it"))


class Way(NamedTuple):
    """A way to keep weights from growing.

    Attributes:
      weight_decay: lambda.
      constraint: one of `training.CONSTRAINTS`.
      renewal: of the parameters after each task.
    """

    weight_decay: float = 0.0
    constraint: str = "none"
    renewal: tasks.Renewal = tasks.Renewal()


def ways_of(config: Config) -> dict[str, Way]:
    """The ways by name, fixed decays first."""
    decays = {f"decay_{value!r}" if value else analysis.NO_DECAY: Way(float(value)) for value in config.weight_decays}
    renewal = Way(renewal=tasks.Renewal(config.shrink, config.perturb))
    return decays | {name: renewal if name == RENEWAL else Way(constraint=name) for name in config.ways}


def size_of(config: Config, kind: str) -> tuple[int, int]:
    """Images and epochs of a task; fewer random labels can be learned, and they are seen as often in all."""
    if kind == "permuted":
        return config.num_images, config.epochs
    epochs = round(config.epochs * config.num_images / config.num_random_images)
    return config.num_random_images, max(1, epochs)


def check(config: Config) -> None:
    """Raises a UserError unless there is a hold to compare with, and images for a batch."""
    if analysis.HOLD not in config.ways:
        raise UserError(f"ways = {config.ways}: '{analysis.HOLD}' must be among them")
    validate_batch_size(config.batch_size, min(config.num_images, config.num_random_images))


def prepare(config: Config, directory: Path) -> Dataset:
    """The data set, once it has enough images and the memory suffices."""
    del directory
    dataset = sweep.load_for(config, config.batch_size)
    num_samples, num_neurons = dataset.train_images.shape
    for name in ("num_images", "num_random_images"):
        if getattr(config, name) > num_samples:
            given = getattr(config, name)
            raise UserError(f"{name} = {given}: must be at most {num_samples}, the size of the training set")
    # behind all tasks, of one task, and what the hidden layer makes of a test set
    images = max(config.num_images, config.num_random_images) + len(dataset.test_labels)
    copies = 1 + 3 * _at_once(config, dataset)
    need = 4 * num_neurons * images * copies + copies * member_bytes(num_neurons, dataset.num_classes)
    machine.require_memory(f"tasks of {images} images, tests included,", need, "take fewer images")
    return dataset


def _at_once(config: Config, dataset: Dataset) -> int:
    """How many seeds are computed together."""
    num_neurons, free = dataset.train_images.shape[1], machine.free_memory() / 2
    backend = jax.default_backend()
    return members_at_once(config.num_seeds, num_neurons, dataset.num_classes, 1, backend, free)


def measure(config: Config, dataset: Dataset, directory: Path) -> dict[str, np.ndarray]:
    """All kinds of tasks in all ways, [kind, way, seed, task]."""
    ways, at_once = ways_of(config), _at_once(config, dataset)
    groups = [range(config.num_seeds)[first : first + at_once] for first in range(0, config.num_seeds, at_once)]
    work = {
        _name(kind, way, group): functools.partial(_learn, config, dataset, kind, ways[way], group)
        for kind in config.kinds
        for way in ways
        for group in groups
    }
    found = all_once(directory / "runs", work, "group")

    def whole(name: str, kind: str, way: str) -> np.ndarray:
        return np.concatenate([found[_name(kind, way, group)][name] for group in groups])

    arrays = {"kind": np.array(config.kinds), "way": np.array(list(ways))}
    for name in analysis.MEASURED:
        arrays[name] = np.array([[whole(name, kind, way) for way in ways] for kind in config.kinds])
    files.write_npz(directory / "plasticity.npz", arrays)
    return arrays


def _name(kind: str, way: str, group: range) -> str:
    """The name of a group's file."""
    return f"{kind}-{way}-{group.start}-{len(group)}"


def _learn(config: Config, dataset: Dataset, kind: str, way: Way, group: range) -> dict[str, np.ndarray]:
    """All tasks of some seeds, [seed, task]."""
    number, epochs = size_of(config, kind)
    images, labels = dataset.train_images[:number], dataset.train_labels[:number]
    some = jax.device_put(dataclasses.replace(dataset, train_images=images, train_labels=labels))
    spec = training.Spec(dataset.num_classes, config.batch_size, optimizer=config.optimizer, constraint=way.constraint)
    numbers = training.Hyperparameters(config.learning_rate, config.momentum, way.weight_decay, target=1.0)
    numbers, renewal = jax.tree.map(lambda value: jnp.full(len(group), value), (numbers, way.renewal))
    keys = jax.vmap(jax.random.key)(config.seed + jnp.arange(group.start, group.stop))
    found = tasks.learn_tasks(keys, numbers, renewal, some, spec, kind, config.num_tasks, epochs)
    return {name: getattr(found, name) for name in analysis.MEASURED}


def describe(row: Mapping[str, Any]) -> str:
    """A row in a line."""
    text = "{kind:9} {way:20} accuracy {first:.4f} -> {last:.4f}, change {change:+.4f} ({change_low:+.4f} to "
    text += "{change_high:+.4f})  J^2 {j_squared:.3f}  saturated {saturated:.3f}"
    return text.format(**row) + (f"  {row['claim']}: {row['verdict']}" if row["claim"] else "")


def title(config: Config) -> str:
    """What was run, in one line."""
    rule = cli.setting(config) if config.optimizer == "sgd" else f"Adam, $\\eta$ {config.learning_rate:g}"
    sizes = ((kind, *size_of(config, kind)) for kind in config.kinds)
    of = ", ".join(f"{kind} {images:,} images x {epochs} epochs" for kind, images, epochs in sizes)
    return f"{Path(config.dataset).name}: {config.num_tasks} tasks ({of}), {rule}, {cli.seeds(config)}"


def draw(figure: Figure, arrays: Mapping[str, np.ndarray]) -> None:
    """A column for each kind of tasks: accuracy reached on each task, and J^2 after it."""
    panels = figure.subplots(2, len(arrays["kind"]), squeeze=False, sharex=True)
    measured = {"permuted": "test accuracy", "random": "training accuracy"}
    for place, kind in enumerate(arrays["kind"].tolist()):
        for axes, name in zip(panels[:, place], ("accuracy", "j_squared"), strict=True):
            names = [way.replace("_", " ") for way in arrays["way"].tolist()]
            plotting.by_task(axes, dict(zip(names, arrays[name][place], strict=True)))
        accuracy, growth = panels[:, place]
        accuracy.set(title=f"{kind} {'pixels' if kind == 'permuted' else 'labels'}", ylabel=measured[kind], xlabel="")
        growth.set(yscale="log", ylabel="$J^2$")
        plotting.edge_line(growth)
    figure.legend(*growth.get_legend_handles_labels(), loc="outside lower center", ncols=4)


FIGURE = sweep.Measurement(
    name="plasticity",
    size=(10, 7),
    title=title,
    numbers=analysis.NUMBERS,
    arrays=analysis.ARRAYS,
    check=check,
    prepare=prepare,
    predict=lambda config, dataset: analysis.expect(config.kinds, list(ways_of(config))),
    measure=measure,
    compare=lambda config, arrays: analysis.compare(arrays),
    draw=lambda figure, config, arrays: draw(figure, arrays),
    rows=lambda config, arrays: analysis.rows(arrays),
    describe=describe,
    rows_name="ways",
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
