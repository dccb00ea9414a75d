"""Checkpoints by Orbax, with a digest so that a damaged one is never resumed from."""

import contextlib
import hashlib
import itertools
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from edgechaos.errors import UserError, blamed_on_machine

logger = logging.getLogger(__name__)


def _named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree on the host, by their path in it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def _digest(leaves: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name, leaf in sorted(leaves.items()):
        digest.update(f"{name}{leaf.shape}{leaf.dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _manager(directory: Path) -> ocp.CheckpointManager:
    """Keeps the last two checkpoints, each written beside its final name and renamed."""
    this = jax.process_index()  # each process of several keeps checkpoints of its own and waits for no other
    alone = ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"{this}"
    )
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False, create=False, multiprocessing_options=alone
    )
    directory.mkdir(parents=True, exist_ok=True)
    return ocp.CheckpointManager(directory.absolute(), options=options)


def save(directory: Path, step: int, tree: Any, identity: str) -> None:
    """Saves a pytree of arrays; the older of two former checkpoints goes once the new one is complete.

    Args:
      directory: of all checkpoints of one run.
      step: number of this one, larger than those before.
      tree: arrays.
      identity: what the arrays belong to; `restore` takes no checkpoint of another identity.

    Raises:
      UserError: it could not be written, for instance because the disk is full; the former ones are untouched.
    """
    leaves = _named_leaves(tree)
    meta = {"sha256": _digest(leaves), "identity": identity}
    arguments = ocp.args.Composite(arrays=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(meta))
    try:
        with _manager(directory) as manager, _quiet_threads():
            if step not in manager.all_steps():  # an interruption right after a save finds it done
                manager.save(step, args=arguments, force=True)
    except Exception as error:  # Orbax and TensorStore raise many types
        raise UserError(
            f"the checkpoint of epoch {step} could not be saved in '{directory}' ({_first_line(error)}); correct this "
            "and give the same command again: it continues from the checkpoint before"
        ) from error


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keeps the threads of Orbax and TensorStore from printing errors of which one reaches the caller anyway."""

    def silent(*_: object) -> None:
        pass

    former = sys.excepthook, sys.unraisablehook, threading.excepthook
    sys.excepthook = sys.unraisablehook = threading.excepthook = silent
    try:
        yield
    except BaseException:
        former = former[0], _without_stragglers(former[1]), former[2]
        raise
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = former


def _without_stragglers(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """An unraisable hook silent about threads that, after a failure, report to the event loop which there was."""

    def filtered(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    return filtered


def _first_line(error: Exception) -> str:
    """What an error says, short enough for a message of ours."""
    line = (str(error).strip().splitlines() or [""])[0]
    # TensorStore puts what matters, the system's own words, behind long paths
    return f"{type(error).__name__}: {line if len(line) < 160 else '...' + line[-160:]}"


def remove(directory: Path) -> None:
    """Removes the checkpoints of a finished run."""
    shutil.rmtree(directory, ignore_errors=True)


def restore(directory: Path, template: Any, identity: str) -> Any | None:
    """Returns the newest intact checkpoint in the structure of `template`, or None if there is none.

    A damaged or foreign checkpoint is moved to `damaged-checkpoint-STEP` beside `directory`, which the log says.

    Args:
      directory: as given to `save`.
      template: pytree of arrays or shapes with the expected shapes and types.
      identity: as given to `save`.

    Raises:
      UserError: one cannot be read at the moment, because memory, file handles or the file system fail; all stay in
        place.
    """
    if not directory.exists():
        return None
    for step in _steps(directory):
        try:
            with _quiet_threads():
                return _read(directory, step, template, identity)
        except Exception as error:  # whatever a damaged file makes Orbax and TensorStore raise
            _refuse_bad_moment(directory / str(step), error)
            aside = _set_aside(directory, step)
            logger.warning(
                "the checkpoint of epoch %d is damaged (%s); kept as '%s', going back to the one before",
                step,
                _first_line(error),
                aside,
            )
    return None


def _steps(directory: Path) -> list[int]:
    """The steps of the complete checkpoints, the newest first.

    Raises:
      UserError: the folder cannot be listed just now.
    """
    try:
        with _quiet_threads(), _manager(directory) as manager:
            return sorted(manager.all_steps(), reverse=True)
    except Exception as error:
        _refuse_bad_moment(directory, error)
        raise


def _refuse_bad_moment(path: Path, error: Exception) -> None:
    """Raises a UserError if not the checkpoint but the machine is to blame, also where only plain reading shows it."""
    trouble = blamed_on_machine(error)
    try:
        for file in path.rglob("*"):
            if file.is_file():
                file.open("rb").close()
    except OSError as other:
        trouble = trouble or blamed_on_machine(other)
    if trouble:
        raise UserError(
            f"'{path}' cannot be read at the moment ({trouble}); correct this and give the same command "
            "again, or remove the file to continue without it"
        ) from error


def _set_aside(directory: Path, step: int) -> Path:
    """Moves a checkpoint to the first free name beside `directory`."""
    first = f"damaged-checkpoint-{step}"
    names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
    aside = next(directory.parent / name for name in names if not (directory.parent / name).exists())
    return (directory / str(step)).rename(aside)


def _read(directory: Path, step: int, template: Any, identity: str) -> Any:
    """Restores one checkpoint and checks its identity and digest."""
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, paths, strict=True)}
    with _manager(directory) as manager:
        arguments = ocp.args.Composite(meta=ocp.args.JsonRestore())
        meta = manager.restore(step, args=arguments).meta
        if meta["identity"] != identity:
            raise ValueError("it belongs to another configuration")
        arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(shapes))
        leaves = {name: np.asarray(leaf) for name, leaf in manager.restore(step, args=arguments).arrays.items()}
    if _digest(leaves) != meta["sha256"]:
        raise ValueError("its content does not match its SHA-256")
    return jax.tree.unflatten(structure, [leaves[name] for name in names])
