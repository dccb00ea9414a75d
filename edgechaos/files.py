"""Files that are written in one piece, arrays that are read with care, and locks; for whoever reads or writes any."""

import contextlib
import dataclasses
import fcntl
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgechaos.errors import UserError, blamed_on_machine, printable

_LARGE, _RATIO = 2**28, 200  # bytes of all arrays, and over the file's, beyond which a file is taken for a trap


@dataclasses.dataclass(frozen=True)
class Unread:
    """An array that is in a file but is not read.

    Attributes:
      shape: of it.
      reason: why not, in the words of a report.
    """

    shape: tuple[int, ...]
    reason: str


def user_cache() -> Path:
    """Returns the project's folder in the user's cache ($XDG_CACHE_HOME, else ~/.cache).

    Raises:
      UserError: there is no home folder, as for a user whom the system does not know.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgechaos"
    except RuntimeError as error:
        raise UserError(
            f"there is no home folder of the user ({error}); set XDG_CACHE_HOME to a folder for caches"
        ) from error


def expanded(path: str | os.PathLike, field: str) -> Path:
    """The path with "~" and "~name" replaced; `field` says which setting it is.

    Raises:
      UserError: there is no such user, or there is no home folder of the user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{field} = '{path}': there is no such home folder; write the whole path") from error


def writable_directory(path: str | os.PathLike, field: str) -> Path:
    """Creates `path` if need be and returns it.

    Raises:
      UserError: nothing can be written there; `field` says which setting to change.
    """
    path = expanded(path, field)
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

    A reader sees the old content or the new one, never a part, also after a power cut; a failed write leaves the old
    content. There is one writer at a time, the holder of the folder's lock, so that what a killed one left behind is
    removed. A link in the neighbour's place is removed, too, and not followed.

    Raises:
      UserError: it could not be written, for instance because the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = error.strerror or error
        raise UserError(
            f"'{path}' could not be written ({reason}); correct this and give the same command again"
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Has the renames in a folder outlive a power cut, before anything is deleted that they stand for."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot, and keep the file itself all the same
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz of plain arrays in one piece."""
    atomic_write(path, lambda file: np.savez(file, **dict(arrays)))


def read_npz(path: Path, remedy: str = "remove it to compute it again") -> dict[str, np.ndarray]:
    """Reads an .npz of ours, of which each part is compared with its CRC; pickled objects are refused.

    Args:
      path: of the file.
      remedy: what to do with a damaged one.

    Raises:
      UserError: the file is damaged, holds pickled objects, would fill many times its size, or cannot be read at the
        moment for another reason.
    """
    try:
        arrays = read_zipped(path)
        unread = [f"'{name}': {one.reason}" for name, one in arrays.items() if isinstance(one, Unread)]
        if unread:
            raise ValueError(unread[0])
    except UserError:
        raise
    except Exception as error:  # a damaged file may make the parsers of zip and .npy raise anything
        trouble = blamed_on_machine(error)
        if trouble:
            raise UserError(
                f"'{path}' cannot be read ({trouble}); correct this and give the same command again"
            ) from error
        reason = printable(str(error).partition("\n")[0] or type(error).__name__)[:300]
        raise UserError(f"'{path}' is damaged ({reason}); {remedy}") from error
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def read_zipped(path: Path) -> dict[str, np.ndarray | Unread]:
    """Name -> array of anybody's .npz, each compared with its CRC to its end, or why it is not read.

    Raises:
      UserError: its arrays are many times as large as the file.
      Exception: whatever the parsers of zip and .npy raise for a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("it has a name twice")
        size = sum(member.file_size for member in archive.infolist())
        if size > max(_LARGE, _RATIO * path.stat().st_size):
            raise UserError(
                f"'{path}' would fill {size / 2**30:.1f} GiB, more than {_RATIO} times its size, so it was not unpacked"
            )
        return {name.removesuffix(".npy"): _read_member(archive, name) for name in names}


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray | Unread:
    """One array."""
    if not name.endswith(".npy"):
        return Unread((), "no array")
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            return Unread(shape, "pickled Python objects, which are never loaded")
        if archive.getinfo(name).file_size - file.tell() != dtype.itemsize * int(np.prod(np.array(shape, object))):
            raise ValueError(f"'{name}' {shape} does not fit its bytes")
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # the CRC is compared at the end of a member
    return array


@contextlib.contextmanager
def exclusive_lock(path: Path, wait: bool) -> Iterator[None]:
    """Holds `path` as an advisory lock that the kernel frees when the process ends, however it ends.

    Args:
      path: the lock file; it names the holder's process id and stays behind, empty.
      wait: wait for the present holder; if False, raise instead.

    Raises:
      UserError: another process holds the lock and `wait` is False; or `path` is a link or no plain file, which a
        lock of ours never is.
    """
    with _lock_file(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip()
            named = holder if holder.isdecimal() else "unknown"
            raise UserError(
                f"'{path.parent}' is in use by another run (process {named}); wait, or name another"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _lock_file(path: Path) -> IO[str]:
    """The file, created if need be, and opened so that nothing behind a link is touched.

    Raises:
      UserError: it is a link, has a second name elsewhere, or is no plain file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise UserError(f"'{path}' must be a plain file, because it is a lock; remove it") from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise UserError(f"'{path}' must be a plain file without other names, because it is a lock; remove it")
    return open(descriptor, "a+")
