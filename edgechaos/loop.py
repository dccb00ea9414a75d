"""The host side of training: progress, history, checkpoints, interruption. The numerics are in `training`."""

import contextlib
import hashlib
import json
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
from edgechaos.config import INCIDENTAL
from edgechaos.data import Dataset
from edgechaos.errors import UserError

logger = logging.getLogger(__name__)

_REFRESH_SHARE = 0.04  # of the time, for the refreshed picture and the history behind it
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


class Interrupted(Exception):
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
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM into a request that is honoured between epochs; the second one acts at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def request(number: int, _: Any) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        logger.warning("stopping after this epoch (once more: at once)")

    former = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def run(
    directory: Path, config: Mapping[str, Any], dataset: Dataset, refresh: Callable[[dict[str, np.ndarray]], None]
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
    history_path, checkpoint_path = directory / "history.npz", directory / "checkpoint"
    columns = members(config)
    finished = runs.load_arrays(history_path)
    if finished is not None and int(finished["epochs_done"]) == config["epochs"]:
        logger.info("'%s' holds the finished run; drawing it again", directory)
        checkpoints.remove(checkpoint_path)
        return finished

    spec, dataset = spec_of(config, dataset), jax.device_put(dataset)
    keys = jax.vmap(jax.random.key)(jnp.asarray(columns["seed"]))
    hyperparameters = training.Hyperparameters(
        *(jnp.asarray(columns[name], jnp.float32) for name in ("learning_rate", "momentum", "weight_decay"))
    )
    identity = hashlib.sha256(
        json.dumps({name: value for name, value in sorted(config.items()) if name not in INCIDENTAL}).encode()
    ).hexdigest()
    empty = {name: np.full((len(keys), config["epochs"] + 1), np.nan, np.float32) for name in METRICS}

    # resume: the newest intact checkpoint, else the start; history.npz is an output and never read back
    shapes = jax.eval_shape(lambda: training.start_members(keys, hyperparameters, dataset, spec))[0]
    saved = checkpoints.restore(checkpoint_path, {"state": shapes, **empty, "seconds": np.zeros(())}, identity)
    if saved is None:
        state, first = training.start_members(keys, hyperparameters, dataset, spec)
        arrays, seconds, done = empty, 0.0, 0
        _record(arrays, first, 0)
    else:
        state = jax.device_put(saved["state"])
        arrays, seconds = {name: saved[name].copy() for name in METRICS}, float(saved["seconds"])
        done = int(saved["state"].epoch.max())
        logger.info("resuming '%s' after epoch %d", directory, done)

    def history() -> dict[str, np.ndarray]:
        extra = {"epochs_done": np.array(done), "seconds": np.array(seconds)}
        return {**arrays, **columns, **extra}

    def save() -> None:
        runs.save_arrays(history_path, history())
        checkpoints.save(checkpoint_path, done, {"state": state, **arrays, "seconds": np.array(seconds)}, identity)

    _report_diverged(arrays, columns, done, done)
    progress = tqdm.tqdm(
        total=config["epochs"], initial=done, unit="epoch", smoothing=0.1, dynamic_ncols=True, mininterval=1.0
    )
    begin = saved_at = refreshed_at = time.monotonic()
    spent = seconds
    refresh_seconds = 0.0
    with stop_requests() as stop, progress, tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("edgechaos")]):
        while done < config["epochs"] and np.isfinite(arrays["train_loss"][:, done]).any():
            state, metrics = training.advance_members(state, keys, hyperparameters, dataset, spec)
            done += 1
            _record(arrays, metrics, done)
            now = time.monotonic()
            seconds = spent + now - begin
            _report_diverged(arrays, columns, done - 1, done)
            progress.update()
            progress.set_postfix_str(_summary_line(arrays, done), refresh=False)
            if stop.is_set():
                break
            if now - saved_at > config["checkpoint_seconds"]:
                save()
                saved_at = time.monotonic()
            if now - refreshed_at > max(5.0, refresh_seconds / _REFRESH_SHARE):
                refresh(history())
                refreshed_at = time.monotonic()
                refresh_seconds = refreshed_at - now
    if not np.isfinite(arrays["train_loss"][:, done]).any():
        save()
        refresh(history())
        raise UserError(
            f"every member diverged by epoch {done} (see above); '{history_path}' keeps the course up to there; "
            "take a smaller learning_rate or momentum, or a larger batch_size"
        )
    if done < config["epochs"]:
        save()
        raise Interrupted(f"interrupted after epoch {done}; the same command goes on from there")
    runs.save_arrays(history_path, history())
    checkpoints.remove(checkpoint_path)
    return history()


def _record(arrays: dict[str, np.ndarray], metrics: training.Metrics, epoch: int) -> None:
    """Writes entry `epoch`; a member with a loss that is not finite keeps NaN from then on."""
    values = {name: np.asarray(getattr(metrics, name)) for name in METRICS}
    finite = np.isfinite(values["train_loss"]) & np.isfinite(values["test_loss"])
    alive = finite & (np.isfinite(arrays["train_loss"][:, epoch - 1]) if epoch else True)
    for name in METRICS:
        arrays[name][:, epoch] = np.where(alive, values[name], np.nan)


def _report_diverged(
    arrays: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], earlier: int, epoch: int
) -> None:
    """Names the members whose loss stopped being finite between two entries."""
    finite = np.isfinite(arrays["train_loss"])
    for member in np.flatnonzero(~finite[:, epoch] & (finite[:, earlier] | (earlier == epoch))):
        first = int(np.flatnonzero(~finite[member])[0])
        numbers = ", ".join(f"{name} {values[member]:g}" for name, values in columns.items())
        logger.warning("member %d diverged in epoch %d: its loss is not finite (%s)", member, first, numbers)


def _summary_line(arrays: Mapping[str, np.ndarray], epoch: int) -> str:
    """J^2, test loss and accuracy of the progress bar: means over the members."""
    j_squared, loss, accuracy = (
        np.nanmean(arrays[name][:, epoch]) if np.isfinite(arrays[name][:, epoch]).any() else np.nan
        for name in ("j_squared", "test_loss", "test_accuracy")
    )
    return f"J^2 {j_squared:.3f}, test loss {loss:.3f}, accuracy {accuracy:.3f}"
