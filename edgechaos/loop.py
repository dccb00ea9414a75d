"""The host side of training: progress, history, checkpoints, interruption. The numerics are in `training`."""

import contextlib
import dataclasses
import functools
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
import tqdm.contrib.logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from edgechaos import checkpoints, cost, record, runs, sweep, training
from edgechaos.config import identity
from edgechaos.dataset import Dataset
from edgechaos.errors import UserError
from edgechaos.files import read_npz, write_npz

logger = logging.getLogger(__name__)

_REFRESH_SHARE = 0.04  # of the time, for the refreshed picture
_NEAR_EDGE = 0.1  # of |J^2 - 1|, within which the kernel nearest to the edge is kept
_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved its state."""


@contextlib.contextmanager
def stop_requests(unit: str) -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM into a request, honoured after the current `unit`; the second acts at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def request(number: int, _: Any) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        logger.warning("stopping after this %s (once more: at once)", unit)

    former = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@dataclasses.dataclass
class Run:
    """What all batches of a run share.

    Attributes:
      directory: an open work directory.
      config: validated.
      dataset: on the devices.
      mesh: of all devices, along the members.
      whole: the record of all members.
      plan: which members are computed together.
      bar: progress over all members.
      stop: set when the run is asked to stop.
      refresh: draws the history so far.
    """

    directory: Path
    config: Mapping[str, Any]
    dataset: Dataset
    mesh: Mesh
    whole: record.Record
    plan: list[Int[np.ndarray, "batch"]]
    bar: tqdm.tqdm
    stop: threading.Event
    refresh: Callable[[dict[str, np.ndarray]], object]

    def checkpoint(self, number: int) -> Path:
        """Folder of a batch's checkpoints."""
        return self.directory / ("checkpoint" if len(self.plan) == 1 else f"checkpoint-{number}")

    def part(self, number: int) -> Path:
        """File that keeps a finished batch until all are."""
        return self.directory / "parts" / f"{number}.npz"


@dataclasses.dataclass
class Batch:
    """Members that are computed together.

    Attributes:
      members: their places in the whole run.
      record: of these members.
      state: on the devices, with a leading axis of members, padded to a multiple of the devices.
      epoch: epochs behind.
    """

    members: Int[np.ndarray, "batch"]
    record: record.Record
    state: training.TrainState
    epoch: int


def run(
    directory: Path, config: Mapping[str, Any], dataset: Dataset, refresh: Callable[[dict[str, np.ndarray]], object]
) -> dict[str, np.ndarray]:
    """Trains all members of `config`, resuming what `directory` holds, and returns the history.

    The state lives in checkpoints at most `checkpoint_seconds` apart (beside one at the end and one when interrupted),
    finished batches in parts/, the history in history.npz. A resumed history has the same bits as an uninterrupted one.

    Args:
      directory: an open work directory.
      config: validated.
      dataset: on the host.
      refresh: called with the history so far, at most a few percent of the time.

    Raises:
      UserError: every member has diverged, or a file is damaged or cannot be written.
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
    """
    finished = _finished(directory)
    if finished is not None:
        return finished
    whole, mesh = record.empty(sweep.members(config)), Mesh(np.array(jax.devices()), ("members",))
    plan = sweep.batches(whole.columns, _members_at_once(whole, dataset))
    dataset_on_devices = jax.device_put(dataset, NamedSharding(mesh, PartitionSpec()))
    redirected = tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("edgechaos")])
    (directory / "parts").mkdir(exist_ok=True)
    with _bar(whole, dataset) as bar, redirected, stop_requests("epoch") as stop:
        shared = Run(directory, config, dataset_on_devices, mesh, whole, plan, bar, stop, refresh)
        for number, members in enumerate(plan):
            if shared.part(number).exists():
                record.fill(whole, members, read_npz(shared.part(number)))
                bar.update(_cost(whole, dataset)[members] @ whole.epochs_done[members])
            else:
                _run_batch(shared, number, members)
    if whole.diverged.all():
        write_npz(directory / "history.npz", whole.history())
        entries = int(np.isfinite(whole.arrays["train_loss"]).any(0).sum())
        if entries:
            refresh(whole.history())
        raise UserError(
            f"every member diverged by epoch {entries} (see above); "
            f"'{directory / 'history.npz'}' keeps the course up to there; take a smaller learning_rate or momentum, "
            "or a larger batch_size"
        )
    write_npz(directory / "history.npz", whole.history())
    _remove_intermediate(directory)
    return whole.history()


def _finished(directory: Path) -> dict[str, np.ndarray] | None:
    """The history of a finished run, if `directory` holds one."""
    if not (directory / "history.npz").exists():
        return None
    earlier = read_npz(directory / "history.npz")
    complete = earlier["diverged"] | (earlier["epochs_done"] == earlier["epochs"])
    if not complete.all() or earlier["diverged"].all():
        return None
    logger.info("'%s' holds the finished run; drawing it again", directory)
    _remove_intermediate(directory)
    return earlier


def _remove_intermediate(directory: Path) -> None:
    """Removes the checkpoints and parts of a finished run."""
    for path in (*directory.glob("checkpoint*"), directory / "parts"):
        shutil.rmtree(path, ignore_errors=True)


def _members_at_once(whole: record.Record, dataset: Dataset) -> int:
    """The size of a batch on this machine's devices.

    Raises:
      UserError: not even one member fits beside the data.
    """
    devices = jax.devices()
    limits = devices[0].memory_stats() or {}
    free = limits.get("bytes_limit", runs.free_memory()) / 2  # the other half: evaluation, fragmentation
    num_neurons = dataset.train_images.shape[1]
    need = sweep.member_bytes(num_neurons, dataset.num_classes) + sum(leaf.nbytes for leaf in jax.tree.leaves(dataset))
    if need > free:
        raise UserError(
            f"N = {num_neurons} neurons and the data need {need / 2**30:.3g} GiB of memory, half of what is free is "
            f"{free / 2**30:.3g} GiB"
        )
    return sweep.members_at_once(
        len(whole.diverged), num_neurons, dataset.num_classes, len(devices), devices[0].platform, free
    )


def _cost(whole: record.Record, dataset: Dataset) -> np.ndarray:
    """Relative cost of an epoch of each member."""
    seconds = [cost.predicted_seconds(dataset, 1, int(size), 1e11) for size in whole.columns["batch_size"]]
    return np.array(seconds)


def _bar(whole: record.Record, dataset: Dataset) -> tqdm.tqdm:
    """A bar whose unit is computing work, so that its ETA holds for members of different cost."""
    total = float(_cost(whole, dataset) @ whole.columns["epochs"])
    return tqdm.tqdm(total=total, bar_format=_BAR, dynamic_ncols=True, mininterval=1.0)


def _run_batch(shared: Run, number: int, members: Int[np.ndarray, "batch"]) -> None:
    """Trains the members of one batch to their ends, and keeps the outcome as a part.

    Raises:
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
    """
    columns = record.part(shared.whole.columns, members)
    padded = np.concatenate([members, np.repeat(members[-1:], -len(members) % shared.mesh.devices.size)])
    split = NamedSharding(shared.mesh, PartitionSpec("members"))
    all_columns = shared.whole.columns
    names = sweep.TRACED
    numbers = {name: jnp.asarray(all_columns[name][padded], jnp.float32) for name in names}
    keys = jax.device_put(jax.vmap(jax.random.key)(jnp.asarray(all_columns["seed"][padded])), split)
    hyperparameters = jax.device_put(training.Hyperparameters(**numbers), split)
    arguments = keys, hyperparameters, shared.dataset, spec_of(shared.config, columns, shared.dataset)
    vectorized = len(padded) > 1
    start = functools.partial(training.start_members, *arguments, vectorized)
    batch = _begin(shared, number, members, columns, start, split)
    _advance(shared, number, batch, lambda state: training.advance_members(state, *arguments, vectorized))
    if batch.record.is_running().any():
        _save(shared, number, batch)
        name = f"member {members[0] + 1} of {len(shared.whole.diverged)}, " if len(shared.plan) > 1 else ""
        raise Interrupted(f"interrupted after {name}epoch {batch.epoch}; the same command goes on from there")
    record.fill(shared.whole, members, batch.record.state())
    write_npz(shared.part(number), batch.record.state())
    checkpoints.remove(shared.checkpoint(number))


def spec_of(config: Mapping[str, Any], columns: sweep.Columns, dataset: Dataset) -> training.Spec:
    """The static part of a config, for members that are equal in it."""
    static = {name: columns[name][0].item() for name in sweep.STATIC}
    names = ("activation", "weight_decay_mode")
    return training.Spec(dataset.num_classes, **static, **{name: config[name] for name in names})


def _begin(
    shared: Run,
    number: int,
    members: Int[np.ndarray, "batch"],
    columns: sweep.Columns,
    start: Callable[[], tuple[training.TrainState, training.Metrics]],
    split: NamedSharding,
) -> Batch:
    """Resumes from the newest intact checkpoint, else starts; history.npz is an output and never read back."""
    fresh = record.empty(columns)
    template = {"state": jax.eval_shape(start)[0], "record": fresh.state(), "epoch": np.zeros((), int)}
    saved = checkpoints.restore(shared.checkpoint(number), template, _identity(shared, number))
    if saved is None:
        state, first = start()
        record.enter(fresh, 0, first)
        batch = Batch(members, fresh, state, 0)
        _keep_kernels(shared, batch)
    else:
        record.fill(fresh, np.arange(len(members)), saved["record"])
        batch = Batch(members, fresh, jax.device_put(saved["state"], split), int(saved["epoch"]))
        logger.info("resuming '%s' after epoch %d", shared.directory, batch.epoch)
        shared.bar.update(_cost(fresh, shared.dataset) @ fresh.epochs_done)
    record.fill(shared.whole, members, fresh.state())
    return batch


def _identity(shared: Run, number: int) -> str:
    """A checkpoint fits a config and a batch of the same identity only."""
    return identity({**shared.config, "batch": shared.plan[number].tolist()})


def _advance(
    shared: Run,
    number: int,
    batch: Batch,
    advance: Callable[[training.TrainState], tuple[training.TrainState, training.Metrics]],
) -> None:
    """Goes on until the last epoch, a request to stop, or the end of the last living member."""
    former, costs = batch.record.seconds.copy(), _cost(batch.record, shared.dataset)
    begin = saved_at = refreshed_at = time.monotonic()
    refresh_seconds = 0.0
    while batch.record.is_running().any() and not shared.stop.is_set():
        running = batch.record.is_running()
        batch.state, metrics = advance(batch.state)
        batch.epoch += 1
        record.enter(batch.record, batch.epoch, metrics)
        _keep_kernels(shared, batch)
        now = time.monotonic()
        batch.record.seconds[:] = former + (now - begin) / len(batch.members)
        record.fill(shared.whole, batch.members, batch.record.state())
        _show(shared, number, batch, float(costs @ running))
        if now - saved_at > shared.config["checkpoint_seconds"]:
            _save(shared, number, batch)
            saved_at = time.monotonic()
        if now - refreshed_at > max(5.0, refresh_seconds / _REFRESH_SHARE):
            before = time.monotonic()
            shared.refresh(shared.whole.history())
            refreshed_at = time.monotonic()
            refresh_seconds = refreshed_at - before


def _show(shared: Run, number: int, batch: Batch, done: float) -> None:
    """Moves the progress bar on, and shows J^2, test loss and accuracy: means over the living members."""
    alive = ~batch.record.diverged & (batch.epoch <= batch.record.columns["epochs"])
    means = [
        batch.record.arrays[name][alive, batch.epoch].mean() if alive.any() else np.nan
        for name in ("j_squared", "test_loss", "test_accuracy")
    ]
    of_plan = f"part {number + 1} of {len(shared.plan)}, " if len(shared.plan) > 1 else ""
    shared.bar.set_description_str(f"{of_plan}epoch {batch.epoch} of {batch.record.columns['epochs'].max()}", False)
    shared.bar.set_postfix_str("J^2 {:.3f}, test loss {:.3f}, accuracy {:.3f}".format(*means), refresh=False)
    shared.bar.update(min(done, shared.bar.total - shared.bar.n))


def _save(shared: Run, number: int, batch: Batch) -> None:
    """Writes the history for readers and the checkpoint for the next process."""
    write_npz(shared.directory / "history.npz", shared.whole.history())
    content = {"state": batch.state, "record": batch.record.state(), "epoch": np.array(batch.epoch)}
    checkpoints.save(shared.checkpoint(number), batch.epoch, content, _identity(shared, number))


def _keep_kernels(shared: Run, batch: Batch) -> None:
    """Writes the hidden kernels of a chosen epoch, and each member's kernel nearest to J = 1 so far.

    Both come before the epoch's checkpoint, so that a resumed run has those of the epochs behind it.
    """
    chosen = shared.config["keep_kernels_at"]
    if not chosen:
        return
    running = batch.record.epochs_done == batch.epoch
    gap = np.nan_to_num(np.abs(batch.record.arrays["j_squared"][:, : batch.epoch + 1] - 1), nan=np.inf)
    nearest = running & (gap.argmin(1) == batch.epoch) & (gap[:, -1] < _NEAR_EDGE)
    for name, which in ((f"epoch-{batch.epoch}", running & (batch.epoch in chosen)), ("edge", nearest)):
        if which.any():
            kernels = np.asarray(batch.state.params["hidden"]["kernel"])[: len(which)][which]
            members = batch.members[which]
            runs.keep_kernels(shared.directory, name, kernels, batch.epoch, members, len(shared.whole.diverged))
