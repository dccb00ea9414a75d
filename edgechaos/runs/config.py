"""The fields that the configs of all training runs share, and what follows from their roles."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgechaos import training
from edgechaos.data.sources import DATASETS
from edgechaos.runs.fields import Field, axes_of, declared, epochs_tuple, fields_of, folder, integer, one_of, real
from edgechaos.theory import paper, scaling
from edgechaos.theory.activations import ACTIVATIONS
from edgechaos.training.optim import MODES, OPTIMIZERS

SWEEP_MODES = ("product", "zip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every experiment has."""

    seed: int = declared(integer(0, "seed of the first member; the others count up from it", 0))
    num_seeds: int = declared(integer(1, "how many members differ only in the seed", 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResumableConfig(RunConfig):
    """What every experiment has whose state is saved as it goes."""

    checkpoint_seconds: float = declared(
        real(lambda value: value >= 0, ">= 0 (seconds)", "longest time between two checkpoints", 30.0, "incidental")
    )


def _later(field: Field) -> Field:
    """A field that recorded configs may be older than."""
    return dataclasses.replace(field, later=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(ResumableConfig):
    """A training run, or a sweep of them; the defaults are the paper's run of Fig. 2."""

    dataset: str = declared(
        Field(
            type=str,
            allows=lambda value: value in DATASETS or value.endswith(".npz"),
            allowed=f"one of {', '.join(DATASETS)}, or a file that ends in .npz",
            meaning="data set; a file must hold the arrays x_train, y_train, x_test and y_test",
            words=DATASETS,
            default="fashion_mnist",
        )
    )
    data_dir: str = declared(
        folder(
            "a folder, '' for the user's cache",
            "folder of the data cache, in which IDX files are looked for as well",
            "",
        )
    )
    label_noise: float = declared(
        _later(
            real(
                lambda value: 0 <= value < 1,
                "in [0, 1)",
                "share of the training labels that are replaced by other classes, drawn with `seed` for all members",
                0.0,
            )
        )
    )
    learning_rate: float = declared(
        real(lambda value: value > 0, "> 0", "learning rate eta of Eq. 6", paper.LEARNING_RATE, "traced")
    )
    momentum: float = declared(
        real(lambda value: 0 <= value < 1, "in [0, 1)", "momentum alpha of Eq. 6", paper.MOMENTUM, "traced")
    )
    weight_decay: float = declared(
        real(
            lambda value: value >= 0,
            ">= 0",
            "weight decay lambda of Eq. 6: 2 lambda w is added to the gradient",
            0.0,
            "traced",
        )
    )
    target: float = declared(
        _later(
            real(
                lambda value: value > 0,
                "> 0",
                "value of J^2 that a constraint keeps; 1 is the edge of tanh",
                1.0,
                "traced",
            )
        )
    )
    batch_size: int = declared(
        integer(1, "batch size B: samples per step, at most the size of the training set", paper.BATCH_SIZE, "static")
    )
    init_j0: float = declared(
        real(lambda value: True, "a finite number", "J0 of the initial hidden kernel", 0.0, "static")
    )
    init_j: float = declared(real(lambda value: value >= 0, ">= 0", "J of the initial hidden kernel", 0.5, "static"))
    optimizer: str = declared(_later(one_of(OPTIMIZERS, "sgd is Eq. 6; adam needs momentum 0", "sgd", "static")))
    constraint: str = declared(
        _later(one_of(tuple(training.CONSTRAINTS), "what else changes the kernels after each step", "none", "static"))
    )
    schedule: str = declared(
        _later(
            one_of(
                scaling.SCHEDULES,
                "how the learning rate changes over a run: it stays constant, or it falls to 0",
                "constant",
                "static",
            )
        )
    )
    loss: str = declared(
        _later(
            one_of(
                tuple(training.LOSSES),
                "loss; squared_error compares logits with one-hot labels, and is a mean over the classes",
                "cross_entropy",
                "static",
            )
        )
    )
    weight_decay_mode: str = declared(
        one_of(MODES, "whether the decay passes through the momentum (coupled, Eq. 6) or not", "coupled", "shared")
    )
    activation: str = declared(one_of(tuple(ACTIVATIONS), "activation of the hidden layer", "tanh", "shared"))
    epochs: int = declared(integer(1, "number of passes over the training set", 501))
    constant_d: float = declared(
        real(
            lambda value: value >= 0,
            ">= 0, 0 for unknown",
            "D of Eq. 5, which the printed prediction uses",
            paper.CONSTANT_D,
        )
    )
    sweep: dict[str, tuple] = declared(
        Field(
            type=dict,
            allows=lambda value: True,
            allowed="fields with tuples of values",
            meaning="fields in which the members differ, apart from the seed",
            default={},
        )
    )
    sweep_mode: str = declared(
        one_of(
            SWEEP_MODES,
            "product: all combinations of the values; zip: the first values, the second values, and so on",
            "product",
        )
    )
    keep_kernels_at: tuple[int, ...] = declared(
        epochs_tuple(
            "epochs after which hidden kernels are kept, besides the one nearest to J = 1; () keeps none", (1, 10, 200)
        )
    )
    devices: int = declared(integer(0, "how many devices a process uses; 0: all", 0, "incidental"))


TRAINING_FIELDS = fields_of(TrainingConfig)
TRACED, STATIC, SHARED = (
    tuple(name for name, field in TRAINING_FIELDS.items() if field.role == role)
    for role in ("traced", "static", "shared")
)
AXES = axes_of(TRAINING_FIELDS)
MEMBER_FIELDS = (*AXES, "seed", "num_seeds", "sweep", "sweep_mode")  # what tells the members
# what a config or a history meant before it had these fields
FORMER = {name: field.default for name, field in TRAINING_FIELDS.items() if field.later}
# with other values of these a run may be resumed; those of the last two lines belong to single experiments
INCIDENTAL = (
    *(name for name, field in TRAINING_FIELDS.items() if field.role == "incidental"),
    *("memory_gib", "fig2_workdir", "trials", "histories", "sizes"),
    *("kinds", "weight_decays", "ways"),
)


def from_record(recorded: Mapping[str, Any]) -> TrainingConfig:
    """A config from what a work directory keeps of one; fields that it is older than have their defaults."""
    known = {name: value for name, value in recorded.items() if name in TRAINING_FIELDS}
    return TrainingConfig(**known)


def as_record(config: Any) -> dict[str, Any]:
    """A config as a work directory keeps it."""
    return dataclasses.asdict(config)


def spec_of(config: TrainingConfig, num_classes: int, **changes: Any) -> training.Spec:
    """What the program of a config's run is compiled for.

    Args:
      config: of the run.
      num_classes: of its data set.
      **changes: static values of a member that differ from the config's own.
    """
    values = {name: getattr(config, name) for name in (*STATIC, *SHARED)}
    return training.Spec(num_classes, **{**values, **changes})


def hyperparameters_of(config: TrainingConfig, **changes: float) -> training.Hyperparameters:
    """The traced numbers of a config's run, which spans its epochs."""
    values = {name: getattr(config, name) for name in TRACED}
    return training.Hyperparameters(**{**values, **changes}, num_epochs=float(config.epochs))


def growth_of(config: TrainingConfig, num_samples: int, **changes: Any) -> scaling.Growth:
    """What Eqs. 4, 5 and C5 say of J^2 in a run, with the config's D, which is that of the cross-entropy.

    Args:
      config: of the run.
      num_samples: S.
      **changes: values of a member that differ from the config's own.
    """
    run = dataclasses.replace(config, **changes)
    scale = float(scaling.scale_factor(run.learning_rate, run.momentum, run.batch_size))
    constant_d = run.constant_d if run.constant_d and run.loss == "cross_entropy" else np.nan
    rate = float(scaling.relaxation_rate(scale, num_samples, run.weight_decay))
    return scaling.Growth(
        initial=run.init_j**2, slope=scale * constant_d, rate=rate, schedule=run.schedule, num_epochs=run.epochs
    )
