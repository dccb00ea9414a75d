"""A whole run on the host: who computes what, progress, and the history that is left."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edgechaos.data.dataset import Dataset
from edgechaos.errors import UserError
from edgechaos.files import read_npz, write_npz
from edgechaos.runs import cost, machine, processes, workdir
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.group import Run, move, train_group, why_stopped
from edgechaos.runs.history import (
    Record,
    adopt_members,
    begin_pieces,
    begun_groups,
    empty_record,
    merge_pieces,
    remove_pieces,
)
from edgechaos.runs.interruption import Interrupted
from edgechaos.runs.members import (
    Group,
    MemberSequence,
    groups_of,
    member_bytes,
    members_at_once,
    shares_of,
    sweep_members,
)
from edgechaos.runs.resumable import shown

logger = logging.getLogger(__name__)

_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


def chosen_devices(config: TrainingConfig) -> list[jax.Device]:
    """The devices of this process that a run may use.

    Raises:
      UserError: more are asked for than there are.
    """
    there = jax.local_devices()
    if config.devices > len(there):
        raise UserError(
            f"devices = {config.devices}: must be in [0, {len(there)}], this process has {len(there)} "
            f"({there[0].device_kind}); 0 uses all"
        )
    return there[: config.devices or len(there)]


def run_sweep(
    directory: Path, config: TrainingConfig, dataset: Dataset, refresh: Callable[[dict[str, np.ndarray]], object]
) -> dict[str, np.ndarray]:
    """Trains all members of `config`, resuming what `directory` holds, and returns the history.

    The state lives in checkpoints at most `checkpoint_seconds` apart (beside one at the end and one when interrupted),
    finished groups in pieces/, the history in history.npz. A resumed history has the same bits as an uninterrupted one.
    Where several processes are connected, each computes a share of the members.

    Args:
      directory: an open work directory.
      config: validated.
      dataset: on the host.
      refresh: called with the history so far, at most a few percent of the time, in process 0.

    Raises:
      UserError: every member has diverged, or a file is damaged or cannot be written.
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
      ShareDone: another process than process 0 is through.
    """
    whole = _known(directory, config)
    if int(processes.agree(np.array(_is_finished(whole), np.int32))):
        if not processes.is_first():
            raise processes.ShareDone
        logger.info("'%s' holds the finished run; drawing it again", directory)
        remove_pieces(directory)
        return whole.history()
    devices = chosen_devices(config)
    mesh, costs = Mesh(np.array(devices), ("members",)), _cost(whole, dataset)
    sequence = MemberSequence(*processes.agree(np.stack(workdir.sequence(directory, config))))
    at_once = _members_at_once(whole, dataset, devices)
    share = _share(directory, whole, sequence, costs, at_once)
    dataset_on_devices = jax.device_put(dataset, NamedSharding(mesh, PartitionSpec()))
    bar = _bar(whole, sequence, costs, share)
    with shown(bar, "epoch") as stop:
        shared = Run(
            directory=directory,
            config=config,
            dataset=dataset_on_devices,
            mesh=mesh,
            whole=whole,
            sequence=sequence,
            at_once=at_once,
            costs=costs,
            share=share,
            bar=bar,
            is_asked_to_stop=lambda: stop.is_set() or bool(processes.asked_to_stop(directory)),
            refresh=refresh,
        )
        for group in share:
            train_group(shared, group)
        if not processes.is_first():
            raise processes.ShareDone
        _wait_for_others(shared)
    return _finish(directory, whole, refresh)


def find_kernels(
    directory: Path, config: TrainingConfig, dataset: Dataset, elsewhere: Path | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The hidden kernels that `config` keeps, "epoch-E", and those nearest to J = 1, "edge", as `runs.read_kernels`.

    Args:
      directory: an open work directory, in which they are trained if need be.
      config: validated.
      dataset: on the host.
      elsewhere: another work directory, whose kernels are taken if it has finished the same training and kept them.

    Raises:
      UserError: a file is damaged, or a member diverged before its kernels were kept.
    """
    wanted = [f"epoch-{epoch}" for epoch in config.keep_kernels_at]
    if elsewhere is not None and (elsewhere / "config.json").exists():
        kernels = workdir.read_kernels_of(elsewhere, config)
        if all(_is_complete(kernels, name) for name in wanted):
            logger.info("kernels from '%s'", elsewhere)
            return _complete(kernels, wanted)
        logger.info("'%s' holds another training, an unfinished one, or not these kernels; training here", elsewhere)
    run_sweep(directory, config, dataset, lambda history: None)
    kernels = workdir.read_kernels(directory, workdir.sequence(directory, config))
    missing = [name for name in wanted if not _is_complete(kernels, name)]
    if missing:
        raise UserError(
            f"keep_kernels_at: '{directory}' has no kernel {missing[0]} of each seed, because one of them diverged "
            "before; choose a smaller learning_rate or an earlier epoch"
        )
    return _complete(kernels, wanted)


def _is_complete(kernels: dict[str, dict[str, np.ndarray]], name: str) -> bool:
    """Whether each member has this kernel."""
    return name in kernels and bool(np.isfinite(kernels[name]["kernel"]).all())


def _complete(kernels: dict[str, dict[str, np.ndarray]], wanted: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """The kernels that were asked for, and those nearest to J = 1 if each member came near."""
    if not _is_complete(kernels, "edge"):
        logger.info("not every seed came near J = 1; the figure does without the kernel there")
    return {name: kernels[name] for name in (*wanted, "edge") if _is_complete(kernels, name)}


def _finish(
    directory: Path, whole: Record, refresh: Callable[[dict[str, np.ndarray]], object]
) -> dict[str, np.ndarray]:
    """Writes the whole history.

    Raises:
      UserError: every member has diverged.
    """
    write_npz(directory / "history.npz", whole.history())
    if whole.diverged.all():
        entries = int(np.isfinite(whole.arrays["train_loss"]).any(0).sum())
        if entries:
            refresh(whole.history())
        raise UserError(
            f"every member diverged by epoch {entries} (see above); "
            f"'{directory / 'history.npz'}' has the trajectories up to there; choose a smaller learning_rate or "
            "momentum, or a larger batch_size"
        )
    remove_pieces(directory)
    return whole.history()


def _known(directory: Path, config: TrainingConfig) -> Record:
    """The record of all members, in process 0 with those that history.npz has from beginning to end."""
    whole, path = empty_record(sweep_members(config)), directory / "history.npz"
    if processes.is_first() and path.exists():
        try:
            adopt_members(whole, read_npz(path))
        except (KeyError, ValueError, IndexError) as error:
            raise UserError(f"'{path}' is damaged ({error}); remove it to compute it again") from error
    return whole


def _is_finished(whole: Record) -> bool:
    """Whether every member has come to its end, and not all have diverged."""
    return not whole.is_running().any() and not whole.diverged.all()


def _share(directory: Path, whole: Record, sequence: MemberSequence, costs: np.ndarray, at_once: int) -> list[Group]:
    """The groups that this process is to compute; fills `whole` with those that are finished.

    Process 0 looks at the directory and decides, so that all agree: it tells the number of the group at each place.
    """
    begin_pieces(directory)
    members = sequence.members
    group_at = np.full(len(members), -1, np.int32)
    if processes.is_first():
        merge_pieces(directory, whole, members, finished_only=True)
        done = ~whole.is_running()[members]
        for number, group in enumerate(groups_of(whole.columns, sequence, at_once, done, begun_groups(directory))):
            group_at[group.places()] = number
    group_at = processes.agree(group_at)
    places = [np.flatnonzero(group_at == number) for number in np.unique(group_at[group_at >= 0])]
    total = np.array([float((costs * whole.columns["epochs"])[members[where]].sum()) for where in places])
    process = shares_of(total, jax.process_count())
    return [
        Group(int(where[0]), len(where))
        for where, index in zip(places, process, strict=True)
        if index == jax.process_index()
    ]


def _wait_for_others(shared: Run) -> None:
    """Shows their progress until the last record is complete.

    Raises:
      Interrupted: this process or another was asked to stop.
    """
    while True:
        merge_pieces(shared.directory, shared.whole, shared.sequence.members, finished_only=False)
        if not shared.whole.is_running().any():
            return
        if shared.is_asked_to_stop():
            raise Interrupted(why_stopped(shared, "while waiting for the other processes"))
        move(shared)
        time.sleep(1)


def _members_at_once(whole: Record, dataset: Dataset, devices: list[jax.Device]) -> int:
    """The size of a group on this process's devices.

    Raises:
      UserError: not even one member fits beside the data.
    """
    limits = devices[0].memory_stats() or {}
    free = limits.get("bytes_limit", machine.free_memory()) / 2  # the other half: evaluation, fragmentation
    num_neurons = dataset.train_images.shape[1]
    need = member_bytes(num_neurons, dataset.num_classes) + sum(leaf.nbytes for leaf in jax.tree.leaves(dataset))
    if need > free:
        raise UserError(
            f"N = {num_neurons} neurons and the data need {need / 2**30:.3g} GiB "
            "of memory, but half of the free memory is "
            f"{free / 2**30:.3g} GiB"
        )
    share = -(-len(whole.diverged) // jax.process_count())
    return members_at_once(share, num_neurons, dataset.num_classes, len(devices), devices[0].platform, free)


def _cost(whole: Record, dataset: Dataset) -> np.ndarray:
    """Relative cost of an epoch of each member."""
    seconds = [cost.predicted_seconds(dataset, 1, int(size), 1e11) for size in whole.columns["batch_size"]]
    return np.array(seconds)


def _bar(whole: Record, sequence: MemberSequence, costs: np.ndarray, share: list[Group]) -> tqdm.tqdm:
    """A bar whose unit is computing work, so that its ETA holds for members of different cost."""
    members = sequence.members
    if not processes.is_first():
        members = np.concatenate([members[:0], *(sequence.of(group) for group in share)])
    total = float(costs[members] @ whole.columns["epochs"][members])
    done = float(costs[members] @ whole.epochs_done[members])
    return tqdm.tqdm(total=total, initial=done, bar_format=_BAR, dynamic_ncols=True, mininterval=1.0)
