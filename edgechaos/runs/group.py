"""A batch of members from its beginning, or where a checkpoint left it, to its end or a request to stop."""

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
from edgechaos.runs.config import INCIDENTAL, MEMBER_FIELDS, STATIC, TRACED, TrainingConfig, as_record, spec_of
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
    write_piece,
)
from edgechaos.runs.interruption import Interrupted
from edgechaos.runs.members import (
    Columns,
    Group,
    MemberSequence,
    lanes_of,
    member_keys,
)

logger = logging.getLogger(__name__)

_REFRESH_SHARE = 0.04  # of the time, for the refreshed picture
_NEAR_EDGE = 0.1  # of |J^2 - 1|, within which the kernel nearest to the edge is kept


@dataclasses.dataclass
class Run:
    """What all batches of a run share.

    Attributes:
      directory: an open work directory.
      config: validated.
      dataset: on the devices.
      mesh: of this process's devices, along the members.
      whole: the record of all members.
      places: all members in their sequence, of which a batch is a stretch.
      at_once: the most members of a batch.
      costs: relative cost of an epoch of each member.
      share: the batches of this process.
      bar: progress over all members for process 0, else over the share.
      is_asked_to_stop: whether the run should save and end.
      refresh: draws the history so far.
    """

    directory: Path
    config: TrainingConfig
    dataset: Dataset
    mesh: Mesh
    whole: Record
    places: MemberSequence
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
      stretch: of the run's order.
      record: of its members.
      state: on the devices, with a leading axis of members, padded to a multiple of the devices.
      epoch: epochs behind.
    """

    stretch: Group
    record: Record
    state: training.TrainState
    epoch: int


def train_group(shared: Run, stretch: Group) -> None:
    """Trains the members of one batch to their ends, and keeps the outcome as a part.

    Raises:
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
    """
    members = shared.places.members[stretch.places()]
    columns = columns_of(shared.whole.columns, members)
    padded = np.concatenate([members, np.repeat(members[-1:], _size(shared, stretch) - len(members))])
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
    batch = _begin(shared, stretch, columns, start, split)
    _advance(
        shared, batch, lambda state: training.advance_members(state, keys, hyperparameters, shared.dataset, **compiled)
    )
    if batch.record.is_running().any():
        _save(shared, batch)
        name = (
            f"member {members[0] + 1} of {len(shared.whole.diverged)}, "
            if stretch.size < len(shared.places.members)
            else ""
        )
        raise Interrupted(why_stopped(shared, f"after {name}epoch {batch.epoch}"))
    write_piece(shared.directory, stretch, batch.record.state())
    checkpoints.remove(checkpoint_folder(shared.directory, stretch))


def _size(shared: Run, stretch: Group) -> int:
    """Members to compute together, a multiple of the devices; those beyond the batch's own repeat the last of them."""
    size = max(stretch.size, lanes_of(shared.whole.columns, shared.places, shared.at_once, stretch))
    devices = shared.mesh.devices.size
    return -(-size // devices) * devices


def _begin(
    shared: Run,
    stretch: Group,
    columns: Columns,
    start: Callable[[], tuple[training.TrainState, training.Metrics]],
    split: NamedSharding,
) -> Underway:
    """Resumes from the newest intact checkpoint, else starts; history.npz is an output and never read back."""
    fresh = empty_record(columns)
    saved = _restore(shared, stretch, jax.eval_shape(start)[0])
    if saved is None:
        state, first = start()
        enter_epoch(fresh, 0, first)
        batch = Underway(stretch, fresh, state, 0)
        _keep_kernels(shared, batch)
    else:
        fill_record(fresh, np.arange(stretch.size), saved["record"])
        batch = Underway(stretch, fresh, jax.device_put(saved["state"], split), int(saved["epoch"]))
        logger.info("resuming '%s' after epoch %d", shared.directory, batch.epoch)
    fill_record(shared.whole, shared.places.members[stretch.places()], fresh.state())
    move(shared)
    return batch


def _restore(shared: Run, stretch: Group, shapes: training.TrainState) -> dict[str, Any] | None:
    """The checkpoint of a batch, which may be part of a longer one's; padded again for the devices there are now."""
    holders = [one for one in begun_groups(shared.directory) if one.holds(stretch)]
    for holder in sorted(holders, key=lambda one: one.size):
        saved = _read(shared, holder, shapes)
        if saved is not None:
            mine = np.arange(stretch.size) + stretch.first - holder.first
            padding = np.repeat(mine[-1:], jax.tree.leaves(shapes)[0].shape[0] - stretch.size)
            return {
                "state": _take(saved["state"], np.concatenate([mine, padding])),
                "record": _take(saved["record"], mine),
                "epoch": saved["epoch"],
            }
    return None


def _read(shared: Run, stretch: Group, shapes: training.TrainState) -> dict[str, Any] | None:
    """The newest intact checkpoint that was saved of just this batch, without padding."""
    columns = columns_of(shared.whole.columns, shared.places.members[stretch.places()])
    states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((stretch.size, *leaf.shape[1:]), leaf.dtype), shapes)
    template = {"state": states, "record": empty_record(columns).state(), "epoch": np.zeros((), int)}
    folder = checkpoint_folder(shared.directory, stretch)
    return checkpoints.restore(folder, template, _identity(shared, stretch))


def _take(tree: Any, members: Int[np.ndarray, "some"]) -> Any:
    """Some members of a tree whose leaves have a leading axis of them; an axis of epochs may be longer than needed."""
    return jax.tree.map(lambda leaf: leaf[members], tree)


def _identity(shared: Run, stretch: Group) -> str:
    """A checkpoint fits the same members of the same config only, whatever others there are."""
    members = member_keys(columns_of(shared.whole.columns, shared.places.members[stretch.places()]))
    same_for_all = {
        name: value for name, value in as_record(shared.config).items() if name not in (*MEMBER_FIELDS, *INCIDENTAL)
    }
    return digest({**same_for_all, "members": members})


def _advance(
    shared: Run,
    batch: Underway,
    advance: Callable[[training.TrainState], tuple[training.TrainState, training.Metrics]],
) -> None:
    """Goes on until the last epoch, a request to stop, or the end of the last living member."""
    former = batch.record.seconds.copy()
    begin = saved_at = refreshed_at = time.monotonic()
    refresh_seconds = 0.0
    while batch.record.is_running().any() and not shared.is_asked_to_stop():
        batch.state, metrics = advance(batch.state)
        batch.epoch += 1
        enter_epoch(batch.record, batch.epoch, metrics)
        _keep_kernels(shared, batch)
        now = time.monotonic()
        batch.record.seconds[:] = former + (now - begin) / batch.stretch.size
        fill_record(shared.whole, shared.places.members[batch.stretch.places()], batch.record.state())
        _show(shared, batch)
        if now - saved_at > shared.config.checkpoint_seconds:
            _save(shared, batch)
            saved_at = time.monotonic()
        if processes.is_first() and now - refreshed_at > max(5.0, refresh_seconds / _REFRESH_SHARE):
            before = time.monotonic()
            if jax.process_count() > 1:
                merge_pieces(shared.directory, shared.whole, shared.places.members, finished_only=False)
            shared.refresh(shared.whole.history())
            refreshed_at = time.monotonic()
            refresh_seconds = refreshed_at - before


def _show(shared: Run, batch: Underway) -> None:
    """Moves the progress bar on, and shows J^2, test loss and accuracy: means over the living members."""
    alive = ~batch.record.diverged & (batch.epoch <= batch.record.columns["epochs"])
    means = [
        batch.record.arrays[name][alive, batch.epoch].mean() if alive.any() else np.nan
        for name in ("j_squared", "test_loss", "test_accuracy")
    ]
    number, several = shared.share.index(batch.stretch) + 1, len(shared.share) > 1
    which = [processes.name(), f"part {number} of {len(shared.share)}" if several else ""]
    epochs = f"epoch {batch.epoch} of {batch.record.columns['epochs'].max()}"
    shared.bar.set_description_str(", ".join([*filter(None, which), epochs]), False)
    shared.bar.set_postfix_str("J^2 {:.3f}, test loss {:.3f}, accuracy {:.3f}".format(*means), refresh=False)
    move(shared)


def _save(shared: Run, batch: Underway) -> None:
    """Writes the history for readers and the checkpoint for the next process."""
    if processes.is_first():
        write_npz(shared.directory / "history.npz", shared.whole.history())
    else:
        write_piece(shared.directory, batch.stretch, batch.record.state())
    state = jax.tree.map(lambda leaf: np.asarray(leaf)[: batch.stretch.size], batch.state)
    content = {"state": state, "record": batch.record.state(), "epoch": np.array(batch.epoch)}
    folder = checkpoint_folder(shared.directory, batch.stretch)
    checkpoints.save(folder, batch.epoch, content, _identity(shared, batch.stretch))


def _keep_kernels(shared: Run, batch: Underway) -> None:
    """Writes the hidden kernels of a chosen epoch, and each member's kernel nearest to J = 1 so far.

    Both come before the epoch's checkpoint, so that a resumed run has those of the epochs behind it.
    """
    chosen = shared.config.keep_kernels_at
    if not chosen:
        return
    running = batch.record.epochs_done == batch.epoch
    gap = np.nan_to_num(np.abs(batch.record.arrays["j_squared"][:, : batch.epoch + 1] - 1), nan=np.inf)
    nearest = running & (gap.argmin(1) == batch.epoch) & (gap[:, -1] < _NEAR_EDGE)
    for name, which in ((f"epoch-{batch.epoch}", running & (batch.epoch in chosen)), ("edge", nearest)):
        if which.any():
            kernels = np.asarray(batch.state.params["hidden"]["kernel"])[: len(which)][which]
            places = np.arange(batch.stretch.first, batch.stretch.first + batch.stretch.size)[which]
            workdir.keep_kernels(shared.directory, name, kernels, batch.epoch, places)


def move(shared: Run) -> None:
    """Moves the progress bar to where the record is."""
    behind = np.where(shared.whole.diverged, shared.whole.columns["epochs"], shared.whole.epochs_done)
    shared.bar.update(max(0.0, min(float(shared.costs @ behind), shared.bar.total) - shared.bar.n))


def why_stopped(shared: Run, where: str) -> str:
    """What an interrupted run says."""
    reason = processes.asked_to_stop(shared.directory)
    return f"interrupted {where}{f' ({reason})' if reason else ''}; the same command goes on from there"
