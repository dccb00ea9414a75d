"""A group of members from its beginning, or where a checkpoint left it, to its end or a request to stop."""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from edgechaos import training
from edgechaos.data.dataset import Dataset
from edgechaos.files import write_npz
from edgechaos.runs import checkpoints, processes, workdir
from edgechaos.runs.config import FORMER, INCIDENTAL, MEMBER_FIELDS, STATIC, TRACED, TrainingConfig, as_record, spec_of
from edgechaos.runs.fields import digest
from edgechaos.runs.history import (
    Record,
    begun_groups,
    checkpoint_folder,
    columns_of,
    empty_record,
    enter_epoch,
    fill_record,
    merge_pieces,
    with_former_names,
    with_present_names,
    write_piece,
)
from edgechaos.runs.interruption import Interrupted
from edgechaos.runs.members import Columns, Group, MemberSequence, lanes_of, member_keys
from edgechaos.runs.resumable import Chore, advance_until

logger = logging.getLogger(__name__)

_REFRESH_SHARE = 0.04  # of the time, for the refreshed picture
_NEAR_EDGE = 0.1  # of |J^2 - 1|, within which the kernel nearest to the edge is kept


@dataclasses.dataclass
class Run:
    """What all groups of a run share.

    Attributes:
      directory: an open work directory.
      config: validated.
      dataset: on the devices.
      mesh: of this process's devices, along the members.
      whole: the record of all members.
      sequence: all members, of which a group is a stretch.
      at_once: the most members of a group.
      costs: relative cost of an epoch of each member.
      share: the groups of this process.
      bar: progress over all members for process 0, else over the share.
      is_asked_to_stop: whether the run should save and end.
      refresh: draws the history so far.
    """

    directory: Path
    config: TrainingConfig
    dataset: Dataset
    mesh: Mesh
    whole: Record
    sequence: MemberSequence
    at_once: int
    costs: np.ndarray
    share: list[Group]
    bar: tqdm.tqdm
    is_asked_to_stop: Callable[[], bool]
    refresh: Callable[[dict[str, np.ndarray]], object]


@dataclasses.dataclass
class Underway:
    """Members that are computed together.

    Attributes:
      group: a stretch of the run's sequence.
      record: of its members.
      state: on the devices, with a leading axis of members, padded to a multiple of the devices.
      epoch: epochs behind.
    """

    group: Group
    record: Record
    state: training.TrainState
    epoch: int


def train_group(shared: Run, group: Group) -> None:
    """Trains the members of one group to their ends, and keeps the outcome as a piece.

    Raises:
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
    """
    members = shared.sequence.of(group)
    columns = columns_of(shared.whole.columns, members)
    padded = np.concatenate([members, np.repeat(members[-1:], _size(shared, group) - len(members))])
    split = NamedSharding(shared.mesh, PartitionSpec("members"))
    all_columns = shared.whole.columns
    numbers = {name: jnp.asarray(all_columns[name][padded], jnp.float32) for name in (*TRACED, "epochs")}
    numbers["num_epochs"] = numbers.pop("epochs")
    keys = jax.device_put(jax.vmap(jax.random.key)(jnp.asarray(all_columns["seed"][padded])), split)
    hyperparameters = jax.device_put(training.Hyperparameters(**numbers), split)
    static = {name: columns[name][0].item() for name in STATIC}
    spec = spec_of(shared.config, shared.dataset.num_classes, **static)
    # one member on each device needs no vmap, and has the same bits wherever it is computed
    compiled = {"spec": spec, "vectorized": len(padded) > shared.mesh.devices.size, "mesh": shared.mesh}
    start = functools.partial(training.start_members, keys, hyperparameters, shared.dataset, **compiled)
    underway = _begin(shared, group, columns, start, split)
    _advance(
        shared,
        underway,
        lambda state: training.advance_members(state, keys, hyperparameters, shared.dataset, **compiled),
    )
    if underway.record.is_running().any():
        _save(shared, underway)
        name = (
            f"member {members[0] + 1} of {len(shared.whole.diverged)}, "
            if group.size < len(shared.sequence.members)
            else ""
        )
        raise Interrupted(why_stopped(shared, f"after {name}epoch {underway.epoch}"))
    write_piece(shared.directory, group, underway.record.state())
    checkpoints.remove(checkpoint_folder(shared.directory, group))


def _size(shared: Run, group: Group) -> int:
    """Members to compute together, a multiple of the devices; those beyond the group's own repeat the last of them."""
    size = max(group.size, lanes_of(shared.whole.columns, shared.sequence, shared.at_once, group))
    devices = shared.mesh.devices.size
    return -(-size // devices) * devices


def _begin(
    shared: Run,
    group: Group,
    columns: Columns,
    start: Callable[[], tuple[training.TrainState, training.Metrics]],
    split: NamedSharding,
) -> Underway:
    """Resumes from the newest intact checkpoint, else starts; history.npz is an output and never read back."""
    fresh = empty_record(columns)
    saved = _restore(shared, group, jax.eval_shape(start)[0])
    if saved is None:
        state, first = start()
        enter_epoch(fresh, 0, first)
        underway = Underway(group, fresh, state, 0)
        _keep_kernels(shared, underway)
    else:
        fill_record(fresh, np.arange(group.size), saved["record"])
        underway = Underway(group, fresh, jax.device_put(saved["state"], split), int(saved["epoch"]))
        logger.info("resuming '%s' after epoch %d", shared.directory, underway.epoch)
    fill_record(shared.whole, shared.sequence.of(group), fresh.state())
    move(shared)
    return underway


def _restore(shared: Run, group: Group, shapes: training.TrainState) -> dict[str, Any] | None:
    """The checkpoint of a group, or its members in that of a longer one; padded again for the devices there are now."""
    holders = [one for one in begun_groups(shared.directory) if one.holds(group)]
    for holder in sorted(holders, key=lambda one: one.size):
        saved = _read(shared, holder, shapes)
        if saved is not None:
            mine = np.arange(group.size) + group.first - holder.first
            padding = np.repeat(mine[-1:], jax.tree.leaves(shapes)[0].shape[0] - group.size)
            return {
                "state": _take(saved["state"], np.concatenate([mine, padding])),
                "record": _take(saved["record"], mine),
                "epoch": saved["epoch"],
            }
    return None


def _read(shared: Run, group: Group, shapes: training.TrainState) -> dict[str, Any] | None:
    """The newest intact checkpoint that was saved of just this group, without padding."""
    columns = columns_of(shared.whole.columns, shared.sequence.of(group))
    states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((group.size, *leaf.shape[1:]), leaf.dtype), shapes)
    record = with_former_names(empty_record(columns).state())
    template = {"state": states, "record": record, "epoch": np.zeros((), int)}
    folder = checkpoint_folder(shared.directory, group)
    saved = checkpoints.restore(folder, template, _identity(shared, group))
    return saved and {**saved, "record": with_present_names(saved["record"])}


def _take(tree: Any, members: Int[np.ndarray, "some"]) -> Any:
    """Some members of a tree whose leaves have a leading axis of them; an axis of epochs may be longer than needed."""
    return jax.tree.map(lambda leaf: leaf[members], tree)


def _identity(shared: Run, group: Group) -> str:
    """A checkpoint fits the same members of the same config only, whatever others there are.

    A field that the checkpoint may be older than counts where it is not what configs meant before.
    """
    members = member_keys(columns_of(shared.whole.columns, shared.sequence.of(group)))
    same_for_all = {
        name: value
        for name, value in as_record(shared.config).items()
        if name not in (*MEMBER_FIELDS, *INCIDENTAL) and not (name in FORMER and value == FORMER[name])
    }
    return digest({**same_for_all, "members": members})


def _advance(
    shared: Run,
    underway: Underway,
    advance: Callable[[training.TrainState], tuple[training.TrainState, training.Metrics]],
) -> None:
    """Goes on until the last epoch, a request to stop, or the end of the last living member."""
    former, begin = underway.record.seconds.copy(), time.monotonic()

    def one_epoch() -> None:
        underway.state, metrics = advance(underway.state)
        underway.epoch += 1
        enter_epoch(underway.record, underway.epoch, metrics)
        _keep_kernels(shared, underway)
        underway.record.seconds[:] = former + (time.monotonic() - begin) / underway.group.size
        fill_record(shared.whole, shared.sequence.of(underway.group), underway.record.state())
        _show(shared, underway)

    save = Chore(lambda: _save(shared, underway), lambda took: shared.config.checkpoint_seconds)
    refresh = Chore(lambda: _refresh(shared), lambda took: max(5.0, took / _REFRESH_SHARE))
    chores = [save, refresh] if processes.is_first() else [save]
    advance_until(lambda: not underway.record.is_running().any(), shared.is_asked_to_stop, one_epoch, chores)


def _refresh(shared: Run) -> None:
    """Draws the history so far, that of other processes included."""
    if jax.process_count() > 1:
        merge_pieces(shared.directory, shared.whole, shared.sequence.members, finished_only=False)
    shared.refresh(shared.whole.history())


def _show(shared: Run, underway: Underway) -> None:
    """Moves the progress bar on, and shows J^2, test loss and accuracy: means over the living members."""
    alive = ~underway.record.diverged & (underway.epoch <= underway.record.columns["epochs"])
    means = [
        underway.record.arrays[name][alive, underway.epoch].mean() if alive.any() else np.nan
        for name in ("j_squared", "test_loss", "test_accuracy")
    ]
    number, several = shared.share.index(underway.group) + 1, len(shared.share) > 1
    which = [processes.name(), f"group {number} of {len(shared.share)}" if several else ""]
    epochs = f"epoch {underway.epoch} of {underway.record.columns['epochs'].max()}"
    shared.bar.set_description_str(", ".join([*filter(None, which), epochs]), False)
    shared.bar.set_postfix_str("J^2 {:.3f}, test loss {:.3f}, accuracy {:.3f}".format(*means), refresh=False)
    move(shared)


def _save(shared: Run, underway: Underway) -> None:
    """Writes the checkpoint for the next process, and then the history for readers, which is never ahead of it."""
    state = jax.tree.map(lambda leaf: np.asarray(leaf)[: underway.group.size], underway.state)
    record = with_former_names(underway.record.state())
    content = {"state": state, "record": record, "epoch": np.array(underway.epoch)}
    folder = checkpoint_folder(shared.directory, underway.group)
    checkpoints.save(folder, underway.epoch, content, _identity(shared, underway.group))
    if processes.is_first():
        write_npz(shared.directory / "history.npz", shared.whole.history())
    else:
        write_piece(shared.directory, underway.group, underway.record.state())


def _keep_kernels(shared: Run, underway: Underway) -> None:
    """Writes the hidden kernels of a chosen epoch, and each member's kernel nearest to J = 1 so far.

    Both come before the epoch's checkpoint, so that a resumed run has those of the epochs behind it.
    """
    chosen = shared.config.keep_kernels_at
    if not chosen:
        return
    running = underway.record.epochs_done == underway.epoch
    gap = np.nan_to_num(np.abs(underway.record.arrays["j_squared"][:, : underway.epoch + 1] - 1), nan=np.inf)
    nearest = running & (gap.argmin(1) == underway.epoch) & (gap[:, -1] < _NEAR_EDGE)
    for name, which in ((f"epoch-{underway.epoch}", running & (underway.epoch in chosen)), ("edge", nearest)):
        if which.any():
            kernels = np.asarray(underway.state.params["hidden"]["kernel"])[: len(which)][which]
            places = np.arange(underway.group.first, underway.group.first + underway.group.size)[which]
            workdir.keep_kernels(shared.directory, name, kernels, underway.epoch, places)


def move(shared: Run) -> None:
    """Moves the progress bar to where the record is."""
    behind = np.where(shared.whole.diverged, shared.whole.columns["epochs"], shared.whole.epochs_done)
    shared.bar.update(max(0.0, min(float(shared.costs @ behind), shared.bar.total) - shared.bar.n))


def why_stopped(shared: Run, where: str) -> str:
    """What an interrupted run says."""
    reason = processes.asked_to_stop(shared.directory)
    return f"interrupted {where}{f' ({reason})' if reason else ''}; the same command continues from there"
