"""The history of all members of a run: arrays on the host, and what a work directory keeps of an unfinished one.

Every group has files of its own, a piece of the history and checkpoints, so that several processes may write.
"""

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from edgechaos import training
from edgechaos.files import read_npz, write_npz
from edgechaos.runs.config import AXES, FORMER, TRAINING_FIELDS, TrainingConfig
from edgechaos.runs.machine import require_memory
from edgechaos.runs.members import Columns, Group, count_members, member_keys, parse_group

logger = logging.getLogger(__name__)

METRICS = (
    *("j0", "j_squared", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "clock"),
    *("calibrated_test_loss", "inverse_temperature", "logit_rms"),
)
ARRAYS = {
    "j0": "[member, epochs + 1] J0 = N mean(W) of the hidden kernel after e epochs",
    "j_squared": "[member, epochs + 1] J^2 = N var(W) of the hidden kernel",
    "train_loss": "[member, epochs + 1] the loss without penalty; entry 0 evaluates the initial network, "
    "later entries are means over the samples of the epoch that ended, each before its update",
    "test_loss": "[member, epochs + 1] the loss on the test set",
    "train_accuracy": "[member, epochs + 1] share in [0, 1], taken like train_loss",
    "test_accuracy": "[member, epochs + 1] share in [0, 1] on the test set",
    "clock": "[member, epochs + 1] sum over the steps so far of delta, the share of a weight that hold_at_edge "
    "removes; 0 without it",
    "calibrated_test_loss": "[member, epochs + 1] test cross-entropy of the logits times an inverse temperature that "
    "is fitted on one half of the test set and judged on the other, mean of both ways round",
    "inverse_temperature": "[member, epochs + 1] mean of the two fits, in [0.001, 1000]; a boundary where a fit has "
    "no finite optimum",
    "logit_rms": "[member, epochs + 1] root mean square of the logits on the test set",
    **{name: f"[member] {TRAINING_FIELDS[name].meaning}" for name in AXES},
    "seed": "[member] PRNG seed",
    "epochs_done": "[member] epochs behind its last finite entries",
    "diverged": "[member] whether its loss or weights ceased to be finite",
    "seconds": "[member] seconds of computing, over all resumptions",
}

_FORMER_NAMES = {"clock": "decay"}  # of arrays, in older files and in all checkpoints


def with_former_names(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays by the names that checkpoints have."""
    return {_FORMER_NAMES.get(name, name): values for name, values in arrays.items()}


def with_present_names(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a file, whatever its age, by the names of today."""
    present = {former: name for name, former in _FORMER_NAMES.items()}
    return {present.get(name, name): values for name, values in arrays.items()}


_COPIES, _BYTES_OF_A_MEMBER = 4, 4096  # of the metrics: whole, group, checkpoint, figure; and of what names a member


def require_room(config: TrainingConfig) -> None:
    """Refuses a run whose history alone would not fit into memory, before anything is made for it.

    Raises:
      UserError: names the numbers that are too large.
    """
    number, epochs = count_members(config), max(config.sweep.get("epochs", (config.epochs,)))
    need = number * (_BYTES_OF_A_MEMBER + _COPIES * 4 * len(METRICS) * (epochs + 1))
    require_memory(f"{number} histories of {epochs} epochs", need, "take fewer seeds, values or epochs")


@dataclasses.dataclass
class Record:
    """What the host knows of the members, in a run or in one group of it.

    Attributes:
      columns: what tells the members apart.
      arrays: the metrics [member, epochs + 1], NaN where nothing is known.
      epochs_done: epochs behind the last finite entries.
      diverged: whether a member has ceased to be finite.
      seconds: computing time so far.
    """

    columns: Columns
    arrays: dict[str, Float[np.ndarray, "members entries"]]
    epochs_done: Int[np.ndarray, "members"]
    diverged: Bool[np.ndarray, "members"]
    seconds: Float[np.ndarray, "members"]

    def is_running(self) -> Bool[np.ndarray, "members"]:
        """Which members have epochs ahead of them."""
        return ~self.diverged & (self.epochs_done < self.columns["epochs"])

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the columns, by name."""
        return {**self.arrays, "epochs_done": self.epochs_done, "diverged": self.diverged, "seconds": self.seconds}

    def history(self) -> dict[str, np.ndarray]:
        """The content of history.npz."""
        return {**self.state(), **self.columns}


def empty_record(columns: Columns) -> Record:
    """A record of members that have not begun."""
    size, length = len(columns["seed"]), int(columns["epochs"].max()) + 1
    arrays = {name: np.full((size, length), np.nan, np.float32) for name in METRICS}
    return Record(
        columns=columns,
        arrays=arrays,
        epochs_done=np.zeros(size, int),
        diverged=np.zeros(size, bool),
        seconds=np.zeros(size),
    )


def columns_of(columns: Columns, members: Int[np.ndarray, "group"]) -> Columns:
    """The columns of some members."""
    return {name: values[members] for name, values in columns.items()}


def fill_record(record: Record, members: Int[np.ndarray, "group"], state: Mapping[str, Any]) -> None:
    """Writes what is known of some members, as `Record.state` of a group gives it, into a record of all."""
    for name, values in record.state().items():
        new = np.asarray(state[name])
        if new.ndim == 2:
            width = min(new.shape[1], values.shape[1])  # beyond the longest of the members there is nothing
            values[members, :width] = new[:, :width]
        else:
            values[members] = new


def adopt_members(record: Record, history: Mapping[str, np.ndarray]) -> None:
    """Takes over the members of an earlier history.npz that had come to their ends; what it did not measure is NaN."""
    history = with_present_names(history)
    place = {key: member for member, key in enumerate(member_keys(record.columns))}
    columns = {name: _column(history, name) for name in record.columns}
    ended = history["diverged"] | (history["epochs_done"] == history["epochs"])
    pairs = [(place[key], member) for member, key in enumerate(member_keys(columns)) if ended[member] and key in place]
    if not pairs:
        return
    members, earlier = np.array(pairs).T
    unknown = np.full(history["j_squared"].shape, np.nan, np.float32)
    fill_record(record, members, {name: history.get(name, unknown)[earlier] for name in record.state()})


def _column(history: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of a history, also of one from before there was such a field."""
    return history[name] if name in history else np.full(len(history["seed"]), FORMER[name])


def enter_epoch(record: Record, epoch: int, metrics: training.Metrics) -> None:
    """Writes the entries after `epoch`; a member that is not finite is named, and is NaN from then on."""
    values = {name: np.asarray(getattr(metrics, name))[: len(record.diverged)] for name in METRICS}
    expected = ~record.diverged & (epoch <= record.columns["epochs"])
    finite = expected & np.isfinite(list(values.values())).all(0)
    for name in METRICS:
        record.arrays[name][:, epoch] = np.where(finite, values[name], np.nan)
    record.epochs_done[:] = np.where(finite, epoch, record.epochs_done)
    for member in np.flatnonzero(expected & ~finite):
        record.diverged[member] = True
        numbers = ", ".join(f"{name} {column[member]}" for name, column in record.columns.items())
        logger.warning("diverged in epoch %d: loss or weights are not finite (%s)", epoch, numbers)


def begin_pieces(directory: Path) -> None:
    """Makes the folder of the pieces; one of an older version, parts/, becomes that."""
    with contextlib.suppress(FileNotFoundError):
        (directory / "parts").rename(directory / "pieces")
    (directory / "pieces").mkdir(exist_ok=True)


def write_piece(directory: Path, group: Group, state: dict[str, np.ndarray]) -> None:
    """Keeps a group's `Record.state`."""
    write_npz(directory / "pieces" / f"{group}.npz", state)


def merge_pieces(directory: Path, whole: Record, sequence: Int[np.ndarray, "members"], finished_only: bool) -> None:
    """Fills in the pieces of groups, where they know more than `whole`.

    Raises:
      UserError: one is damaged.
    """
    for path in sorted((directory / "pieces").glob("[0-9]*.npz")):
        group = parse_group(path.stem)
        if group is None or not whole.is_running()[sequence[group.places()]].any():
            continue
        members = sequence[group.places()]
        one = empty_record(columns_of(whole.columns, members))
        fill_record(one, np.arange(len(members)), with_present_names(read_npz(path)))
        if one.is_running().any() and finished_only:
            continue
        newer = one.epochs_done >= whole.epochs_done[members]
        fill_record(whole, members[newer], {name: values[newer] for name, values in one.state().items()})


def checkpoint_folder(directory: Path, group: Group) -> Path:
    """Folder of a group's checkpoints."""
    return directory / f"checkpoint-{group}"


def begun_groups(directory: Path) -> list[Group]:
    """The groups that left checkpoints."""
    named = [parse_group(path.name.removeprefix("checkpoint-")) for path in directory.glob("checkpoint-*")]
    return [group for group in named if group is not None]


def remove_pieces(directory: Path) -> None:
    """Removes what a finished run no longer needs."""
    for path in (*directory.glob("checkpoint*"), directory / "pieces", directory / "parts"):
        shutil.rmtree(path, ignore_errors=True)
