"""The host side of training: progress, history, checkpoints, interruption. The numerics are in `training`."""

import contextlib
import dataclasses
import functools
import logging
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

from edgechaos import checkpoints, runs, training
from edgechaos.config import identity
from edgechaos.dataset import Dataset
from edgechaos.errors import UserError
from edgechaos.files import read_npz, write_npz

logger = logging.getLogger(__name__)

_REFRESH_SHARE = 0.04  # of the time, for the refreshed picture
_NEAR_EDGE = 0.1  # of |J^2 - 1|, within which the kernel nearest to the edge is kept
METRICS = ("j0", "j_squared", "train_loss", "test_loss", "train_accuracy", "test_accuracy")
MEANING = {
    "j0": "[member, epochs + 1] J0 = N mean(W) of the hidden kernel after e epochs",
    "j_squared": "[member, epochs + 1] J^2 = N var(W) of the hidden kernel",
    "train_loss": "[member, epochs + 1] cross-entropy without penalty; entry 0 evaluates the initial network, "
    "later entries are means over the samples of the epoch that ended, each before its update",
    "test_loss": "[member, epochs + 1] cross-entropy on the test set",
    "train_accuracy": "[member, epochs + 1] share in [0, 1], taken like train_loss",
    "test_accuracy": "[member, epochs + 1] share in [0, 1] on the test set",
    "learning_rate": "[member] eta",
    "momentum": "[member] alpha",
    "batch_size": "[member] B",
    "weight_decay": "[member] lambda of the paper",
    "seed": "[member] PRNG seed",
    "epochs_done": "[] epochs behind the last finite entries; smaller than epochs in an unfinished run",
    "seconds": "[] seconds of computing, over all resumed parts",
}


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved its state."""


def members(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The columns [member] of the history: one member per seed."""
    num_seeds = config["num_seeds"]
    columns = {
        name: np.full(num_seeds, config[name]) for name in ("learning_rate", "momentum", "batch_size", "weight_decay")
    }
    return {**columns, "seed": config["seed"] + np.arange(num_seeds)}


def spec_of(config: Mapping[str, Any], dataset: Dataset) -> training.Spec:
    """The static part of a config."""
    names = ("batch_size", "activation", "init_j0", "init_j", "weight_decay_mode")
    return training.Spec(dataset.num_classes, **{name: config[name] for name in names})


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
class Progress:
    """What the host knows of a run between two epochs.

    Attributes:
      state: on the device, with a leading axis of members.
      arrays: the metrics [member, epochs + 1], NaN where nothing is known.
      columns: what tells the members apart, [member].
      done: epochs behind.
      seconds: computing time so far, over all resumed parts.
    """

    state: training.TrainState
    arrays: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    done: int
    seconds: float

    def history(self) -> dict[str, np.ndarray]:
        """The content of history.npz."""
        extra = {"epochs_done": np.array(self.done), "seconds": np.array(self.seconds)}
        return {**self.arrays, **self.columns, **extra}

    def alive(self) -> np.ndarray:
        """Which members [member] still have a finite loss."""
        return np.isfinite(self.arrays["train_loss"][:, self.done])


def run(
    directory: Path, config: Mapping[str, Any], dataset: Dataset, refresh: Callable[[dict[str, np.ndarray]], object]
) -> dict[str, np.ndarray]:
    """Trains all members of `config`, resuming what `directory` holds, and returns the history.

    The state lives in checkpoints at most `checkpoint_seconds` apart (beside one at the end and one when interrupted),
    the history in history.npz. A resumed history has the same bits as an uninterrupted one.

    Args:
      directory: an open work directory.
      config: validated.
      dataset: on the host.
      refresh: called with the history so far, at most a few percent of the time.

    Raises:
      UserError: every member has diverged, or a file is damaged or cannot be written.
      Interrupted: by Ctrl-C or SIGTERM, after the state was saved.
    """
    if (directory / "history.npz").exists():
        earlier = read_npz(directory / "history.npz")
        if int(earlier["epochs_done"]) == config["epochs"] and np.isfinite(earlier["train_loss"][:, -1]).any():
            logger.info("'%s' holds the finished run; drawing it again", directory)
            checkpoints.remove(directory / "checkpoint")
            return earlier
    spec, dataset, columns = spec_of(config, dataset), jax.device_put(dataset), members(config)
    keys = jax.vmap(jax.random.key)(jnp.asarray(columns["seed"]))
    names = ("learning_rate", "momentum", "weight_decay")
    hyperparameters = training.Hyperparameters(*(jnp.asarray(columns[name], jnp.float32) for name in names))
    start = functools.partial(training.start_members, keys, hyperparameters, dataset, spec)
    progress = _begin(directory, config, columns, start)
    _keep_kernels(directory, config, progress)
    with stop_requests("epoch") as stop:
        _advance(
            progress,
            config,
            lambda state: training.advance_members(state, keys, hyperparameters, dataset, spec),
            stop,
            lambda: _keep_kernels(directory, config, progress),
            lambda: _save(directory, config, progress),
            lambda: refresh(progress.history()),
        )
    if not progress.alive().any():
        _save(directory, config, progress)
        if progress.done:
            refresh(progress.history())
        raise UserError(
            f"every member diverged by epoch {progress.done} (see above); '{directory / 'history.npz'}' keeps the "
            "course up to there; take a smaller learning_rate or momentum, or a larger batch_size"
        )
    if progress.done < config["epochs"]:
        _save(directory, config, progress)
        raise Interrupted(f"interrupted after epoch {progress.done}; the same command goes on from there")
    write_npz(directory / "history.npz", progress.history())
    checkpoints.remove(directory / "checkpoint")
    return progress.history()


def _begin(
    directory: Path,
    config: Mapping[str, Any],
    columns: dict[str, np.ndarray],
    start: Callable[[], tuple[training.TrainState, training.Metrics]],
) -> Progress:
    """Resumes from the newest intact checkpoint, else starts; history.npz is an output and never read back."""
    arrays = {name: np.full((len(columns["seed"]), config["epochs"] + 1), np.nan, np.float32) for name in METRICS}
    template = {"state": jax.eval_shape(start)[0], "arrays": arrays, "seconds": np.zeros(())}
    saved = checkpoints.restore(directory / "checkpoint", template, identity(config))
    if saved is None:
        state, first = start()
        progress = Progress(state, arrays, columns, 0, 0.0)
        _record(progress, first)
        return progress
    state, done = jax.device_put(saved["state"]), int(saved["state"].epoch.max())
    logger.info("resuming '%s' after epoch %d", directory, done)
    arrays = {name: values.copy() for name, values in saved["arrays"].items()}
    return Progress(state, arrays, columns, done, float(saved["seconds"]))


def _advance(
    progress: Progress,
    config: Mapping[str, Any],
    advance: Callable[[training.TrainState], tuple[training.TrainState, training.Metrics]],
    stop: threading.Event,
    keep: Callable[[], None],
    save: Callable[[], None],
    refresh: Callable[[], object],
) -> None:
    """Goes on until the last epoch, a request to stop, or the end of the last living member."""
    former = progress.seconds
    begin = saved_at = refreshed_at = time.monotonic()
    refresh_seconds = 0.0
    bar = tqdm.tqdm(total=config["epochs"], initial=progress.done, unit="epoch", dynamic_ncols=True, mininterval=1.0)
    with bar, tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("edgechaos")]):
        while progress.done < config["epochs"] and progress.alive().any() and not stop.is_set():
            progress.state, metrics = advance(progress.state)
            progress.done += 1
            _record(progress, metrics)
            keep()
            now = time.monotonic()
            progress.seconds = former + now - begin
            bar.set_postfix_str(_summary_line(progress), refresh=False)
            bar.update()
            if now - saved_at > config["checkpoint_seconds"]:
                save()
                saved_at = time.monotonic()
            if now - refreshed_at > max(5.0, refresh_seconds / _REFRESH_SHARE):
                before = time.monotonic()
                refresh()
                refreshed_at = time.monotonic()
                refresh_seconds = refreshed_at - before


def _save(directory: Path, config: Mapping[str, Any], progress: Progress) -> None:
    """Writes the history for readers and the checkpoint for the next process."""
    write_npz(directory / "history.npz", progress.history())
    content = {"state": progress.state, "arrays": progress.arrays, "seconds": np.array(progress.seconds)}
    checkpoints.save(directory / "checkpoint", progress.done, content, identity(config))


def _keep_kernels(directory: Path, config: Mapping[str, Any], progress: Progress) -> None:
    """Writes the hidden kernels of a chosen epoch, and each member's kernel nearest to J = 1 so far.

    Both come before the epoch's checkpoint, so that a resumed run has those of the epochs behind it.
    """
    if not config["keep_kernels_at"]:
        return
    epochs = np.full(len(progress.columns["seed"]), progress.done)
    if progress.done in config["keep_kernels_at"]:
        runs.write_kernels(directory, f"epoch-{progress.done}", _hidden_kernels(progress), epochs)
    gap = np.nan_to_num(np.abs(progress.arrays["j_squared"][:, : progress.done + 1] - 1), nan=np.inf)
    nearest = (gap.argmin(1) == progress.done) & (gap[:, -1] < _NEAR_EDGE)
    if nearest.any():
        kernel = _hidden_kernels(progress)
        former = runs.read_kernels(directory).get("edge", {"kernel": np.full_like(kernel, np.nan), "epoch": epochs})
        runs.write_kernels(
            directory,
            "edge",
            np.where(nearest[:, None, None], kernel, former["kernel"]),
            np.where(nearest, epochs, former["epoch"]),
        )


def _hidden_kernels(progress: Progress) -> np.ndarray:
    """The members' hidden kernels [members, N, N] on the host."""
    return np.asarray(progress.state.params["hidden"]["kernel"])


def _record(progress: Progress, metrics: training.Metrics) -> None:
    """Writes the entry of the epoch just done; a member that is not finite is named and is NaN from then on."""
    epoch = progress.done
    values = {name: np.asarray(getattr(metrics, name)) for name in METRICS}
    before = np.isfinite(progress.arrays["train_loss"][:, max(epoch - 1, 0)]) | (epoch == 0)
    after = before & np.isfinite(list(values.values())).all(0)
    for name in METRICS:
        progress.arrays[name][:, epoch] = np.where(after, values[name], np.nan)
    for member in np.flatnonzero(before & ~after):
        numbers = ", ".join(f"{name} {column[member]:g}" for name, column in progress.columns.items())
        logger.warning("diverged in epoch %d: loss or weights are not finite (%s)", epoch, numbers)


def _summary_line(progress: Progress) -> str:
    """J^2, test loss and accuracy for the progress bar: means over the living members."""
    alive = progress.alive()
    means = [
        progress.arrays[name][alive, progress.done].mean() if alive.any() else np.nan
        for name in ("j_squared", "test_loss", "test_accuracy")
    ]
    return "J^2 {:.3f}, test loss {:.3f}, accuracy {:.3f}".format(*means)
