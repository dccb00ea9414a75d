"""Checkpoints, each a file that is written in one piece and read with its checksums.

Orbax writes no arrays of a process of its own where several share a run, so these are files of NumPy.
"""

import itertools
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from edgechaos.errors import UserError, blamed_on_machine
from edgechaos.files import read_zipped, write_npz

logger = logging.getLogger(__name__)

_KEPT = 2


def save(directory: Path, step: int, tree: Any, identity: str) -> None:
    """Saves a pytree of arrays; the older of two former checkpoints is removed once the new one is on disk.

    Args:
      directory: of all checkpoints of one run.
      step: number of this one, larger than those before.
      tree: arrays of NumPy's own types.
      identity: what the arrays belong to; `restore` takes no checkpoint of another identity.

    Raises:
      UserError: it could not be written, for instance because the disk is full; the former ones are untouched.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_npz(_file(directory, step), {**_named_leaves(tree), "identity": np.array(identity)})
    except (OSError, UserError) as error:
        raise UserError(
            f"the checkpoint of epoch {step} could not be saved in '{directory}' ({_reason(error)}); correct this "
            "and give the same command again: it continues from the checkpoint before"
        ) from error
    for old in _steps(directory)[_KEPT:]:
        _file(directory, old).unlink(missing_ok=True)


def remove(directory: Path) -> None:
    """Removes the checkpoints of a finished run."""
    shutil.rmtree(directory, ignore_errors=True)


def restore(directory: Path, template: Any, identity: str) -> Any | None:
    """Returns the newest intact checkpoint in the structure of `template`, or None if there is none.

    A damaged or foreign checkpoint is moved to `damaged-checkpoint-STEP.npz` beside `directory`, which the log says.

    Args:
      directory: as given to `save`.
      template: pytree of arrays or shapes with the expected shapes and types.
      identity: as given to `save`.

    Raises:
      UserError: one cannot be read at the moment, because memory, file handles or the file system fail; all stay in
        place.
    """
    for step in _steps(directory):
        path = _file(directory, step)
        try:
            return _read(path, template, identity)
        except Exception as error:  # a damaged file may make the parsers of zip and .npy raise anything
            _refuse_bad_moment(path, error)
            aside = _set_aside(path)
            logger.warning(
                "the checkpoint of epoch %d is damaged (%s: %s); kept as '%s', going back to the one before",
                step,
                type(error).__name__,
                str(error).partition("\n")[0][:160],
                aside,
            )
    return None


def _reason(error: Exception) -> str:
    """The system's own words, where an error wraps them."""
    system = error if isinstance(error, OSError) else error.__cause__
    return getattr(system, "strerror", None) or str(error)


def _file(directory: Path, step: int) -> Path:
    """Where a checkpoint is."""
    return directory / f"{step}.npz"


def _steps(directory: Path) -> list[int]:
    """The steps of the complete checkpoints, the newest first.

    Raises:
      UserError: the folder cannot be listed just now.
    """
    try:
        stems = [Path(name).stem for name in os.listdir(directory) if name.endswith(".npz")]
    except FileNotFoundError:
        return []
    except Exception as error:
        _refuse_bad_moment(directory, error)
        raise
    return sorted((int(stem) for stem in stems if stem.isdecimal()), reverse=True)


def _named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree on the host, by their path in it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {f"leaf.{_name(path)}": np.asarray(leaf) for path, leaf in leaves}


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _read(path: Path, template: Any, identity: str) -> Any:
    """Restores one checkpoint and compares its identity, and its arrays' shapes and types with the template's."""
    arrays = read_zipped(path)
    if str(arrays["identity"]) != identity:
        raise ValueError("it belongs to another configuration")
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    return jax.tree.unflatten(structure, [_expected(arrays, f"leaf.{_name(at)}", leaf) for at, leaf in paths])


def _expected(arrays: Mapping[str, Any], name: str, like: Any) -> np.ndarray:
    """An array of a checkpoint, of the shape and type of `like`."""
    array = arrays[name]
    if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (like.shape, like.dtype):
        raise ValueError(f"'{name}' is not {like.dtype}{list(like.shape)}")
    return array


def _refuse_bad_moment(path: Path, error: Exception) -> None:
    """Raises a UserError if not the checkpoint but the machine is to blame."""
    trouble = blamed_on_machine(error)
    if trouble:
        raise UserError(
            f"'{path}' cannot be read at the moment ({trouble}); correct this and give the same command "
            "again, or remove the file to continue without it"
        ) from error


def _set_aside(path: Path) -> Path:
    """Moves a checkpoint to the first free name beside its folder."""
    first = f"damaged-checkpoint-{path.stem}"
    names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
    folder = path.parent.parent
    aside = next(folder / f"{name}.npz" for name in names if not (folder / f"{name}.npz").exists())
    return path.rename(aside)
