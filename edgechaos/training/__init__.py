"""What training does: the network of Fig. 1a, Eq. 6, an epoch as a scan, a run as a pure function, holding the edge."""

from edgechaos.training.constraints import CONSTRAINTS
from edgechaos.training.epochs import (
    LOSSES,
    Hyperparameters,
    Metrics,
    Spec,
    TrainState,
    advance,
    epoch_map,
    evaluate,
    init_state,
    make_train,
    start,
    train_epoch,
    train_step,
)
from edgechaos.training.members import advance_members, start_members, train_one
from edgechaos.training.stability import Sharpness, sharpness, stable_sharpness

__all__ = [
    "CONSTRAINTS",
    "LOSSES",
    "Hyperparameters",
    "Metrics",
    "Sharpness",
    "Spec",
    "TrainState",
    "advance",
    "advance_members",
    "epoch_map",
    "evaluate",
    "init_state",
    "make_train",
    "sharpness",
    "stable_sharpness",
    "start",
    "start_members",
    "train_epoch",
    "train_one",
    "train_step",
]
