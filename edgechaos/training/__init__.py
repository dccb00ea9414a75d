"""What training does: the network of Fig. 1a, Eq. 6, an epoch as a scan, a run as a pure function, holding the edge."""

from edgechaos.training.constraints import CONSTRAINTS
from edgechaos.training.epochs import (
    LOSSES,
    Hyperparameters,
    Metrics,
    Spec,
    TrainState,
    advance,
    evaluate,
    init_state,
    make_train,
    start,
    train_epoch,
    train_step,
)
from edgechaos.training.members import advance_members, start_members, train_one

__all__ = [
    "CONSTRAINTS",
    "LOSSES",
    "Hyperparameters",
    "Metrics",
    "Spec",
    "TrainState",
    "advance",
    "advance_members",
    "evaluate",
    "init_state",
    "make_train",
    "start",
    "start_members",
    "train_epoch",
    "train_one",
    "train_step",
]
