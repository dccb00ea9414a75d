"""Atomic writes and exclusive locks, shared by the data cache and the work directories."""

import contextlib
import fcntl
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgechaos.errors import UserError


def user_cache() -> Path:
    """Returns the project's folder in the user's cache ($XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgechaos"


def writable_directory(path: str | os.PathLike, field: str) -> Path:
    """Creates `path` if need be and returns it.

    Raises:
      UserError: nothing can be written there; `field` says which setting to change.
    """
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"{field} = '{path}' cannot be written to ({error.strerror}); name another directory"
        ) from error
    return path


def atomic_write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write(file)` on a neighbour of `path` and renames that over `path` once it is on disk.

    A reader sees the old content or the new one, never a part; a failed write leaves the old content. There is one
    writer at a time, the holder of the folder's lock, so that what a killed one left behind is overwritten.

    Raises:
      UserError: it could not be written, for instance because the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = error.strerror or error
        raise UserError(
            f"'{path}' could not be written ({reason}); mend that and give the same command again"
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz of plain arrays in one piece."""
    atomic_write(path, lambda file: np.savez(file, **dict(arrays)))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads an .npz, whose parts carry a CRC; pickled objects are refused.

    Raises:
      UserError: the file is damaged or holds pickled objects.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays.items())
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"'{path}' is damaged ({error}); remove it to compute it again") from error


@contextlib.contextmanager
def exclusive_lock(path: Path, wait: bool) -> Iterator[None]:
    """Holds `path` as an advisory lock that the kernel frees when the process ends, however it ends.

    Args:
      path: the lock file; it names the holder's process id and stays behind, empty.
      wait: wait for the present holder; if False, raise instead.

    Raises:
      UserError: another process holds the lock and `wait` is False.
    """
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"'{path.parent}' is in use by another run (process {holder}); wait or name another"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
