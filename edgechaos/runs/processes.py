"""Several processes, on one machine or many, that share a run: how they find each other, agree, and end together.

They share nothing but the work directory: each computes whole members by itself. JAX's own service tells who is alive.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Int

from edgechaos.errors import UserError, printable
from edgechaos.files import exclusive_lock, expanded
from edgechaos.runs import workdir

_LOST_AFTER = 30  # seconds without a sign of life
_LONGEST_WAIT = 30 * 24 * 3600  # seconds that the first process to finish gives the last
_VISIBLE_AFTER = 30  # seconds that a network file system may take to show a new file


class ShareDone(SystemExit):
    """This process has computed its members and leaves the rest to process 0: the end of the program, a good one."""


def is_first() -> bool:
    """Whether this is process 0, which writes the results; true for a process alone."""
    return jax.process_index() == 0


def name() -> str:
    """How this process names itself in its messages; '' for a process alone."""
    return f"process {jax.process_index()} of {jax.process_count()}" if jax.distributed.is_initialized() else ""


def connect(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Connects this process with the others; must come before anything else that JAX computes.

    A process that is lost ends the others with an error within a minute. At the end of the program each waits for all.

    Args:
      coordinator: HOST:PORT of process 0; None: as Slurm, Open MPI or a TPU pod tell.
      number: of processes; None: likewise.
      index: of this one; None: likewise.

    Raises:
      UserError: some of the three are missing or out of range, or the others cannot be reached.
    """
    _check(coordinator, number, index)
    try:
        jax.distributed.initialize(
            coordinator,
            number,
            index,
            heartbeat_timeout_seconds=_LOST_AFTER,
            shutdown_timeout_seconds=_LONGEST_WAIT,
        )
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"distributed: the processes did not find each other ({reason}); outside Slurm, Open MPI and TPU pods give "
            "--coordinator, --num_processes and --process_index"
        ) from error


def _check(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Raises a UserError unless all or none are given, in range."""
    given = [value is not None for value in (coordinator, number, index)]
    if any(given) and not all(given):
        raise UserError("distributed: --coordinator, --num_processes and --process_index must be given together")
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise UserError(f"coordinator = '{coordinator}': must be HOST:PORT of process 0")
    if number is not None and index is not None and not 0 <= index < number:
        raise UserError(f"process_index = {index}: must be in [0, num_processes = {number})")


@contextlib.contextmanager
def work_directory(path: str | os.PathLike, config: Mapping[str, Any], grows: bool = False) -> Iterator[Path]:
    """`runs.work_directory`, which process 0 holds and the others join; one that fails makes the others stop.

    Each process holds a lock of its own as long as it may write, so that no second run begins beside its last epoch.

    Raises:
      UserError: as there; or the processes do not all see the same folder, or the same config.
    """
    directory, failure = expanded(path, "workdir"), None
    with contextlib.ExitStack() as stack:
        if is_first():
            try:
                stack.enter_context(workdir.work_directory(path, config, grows))
                _refuse_late_processes(directory)
                _marker(directory).unlink(missing_ok=True)
            except UserError as error:
                failure = error
        is_open = bool(agree(np.array(failure is None)))  # the others look for what process 0 wrote only after that
        if failure is not None:
            raise failure
        if not is_open:
            raise UserError(f"workdir = '{path}': process 0 could not open it; its message says why")
        is_in = is_first() or (_sees(directory / "config.json", json.dumps(config)) and _joins(stack, directory))
        joined = np.atleast_1d(multihost_utils.process_allgather(np.array(is_in)))
        if not joined.all():
            missing = ", ".join(str(index) for index in np.flatnonzero(~joined))
            raise UserError(
                f"workdir = '{path}': process {missing} cannot open it with this config; it must be a folder that all "
                "processes share, and all must have the same config"
            )
        try:
            yield directory
        except ShareDone:
            raise
        except BaseException as error:
            _leave(directory, error)
            raise


def _own_lock(directory: Path) -> Path:
    """What a process beside process 0 holds."""
    return directory / f".lock-{jax.process_index()}"


def _refuse_late_processes(directory: Path) -> None:
    """Raises a UserError while a process of an earlier run, whose process 0 has left, is still at its last epoch.

    The marker that tells it to stop is still there then.
    """
    for path in sorted(directory.glob(".lock-*")):
        with exclusive_lock(path, wait=False):
            path.unlink()


def _joins(stack: contextlib.ExitStack, directory: Path) -> bool:
    """Whether this process can take a lock of its own in the directory, for the time of `stack`."""
    try:
        stack.enter_context(exclusive_lock(_own_lock(directory), wait=False))
    except (UserError, OSError):
        return False
    stack.callback(_own_lock(directory).unlink, missing_ok=True)
    return True


def _sees(path: Path, content: str) -> bool:
    """Whether the JSON file that process 0 wrote shows up here."""
    end = time.monotonic() + _VISIBLE_AFTER
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text()) == json.loads(content):
                return True
        time.sleep(0.5)
    return False


def _marker(directory: Path) -> Path:
    """The file that tells the others to stop, and why."""
    return directory / ".stop"


def _leave(directory: Path, error: BaseException) -> None:
    """Makes the others stop; one that cannot even say so leaves at once, which the others notice as a loss."""
    if jax.process_count() == 1:
        return
    reason = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error}"
    try:
        with open(_marker(directory), "x") as file:  # of several that leave together the first one says why
            file.write(f"{name()} {reason}")
    except FileExistsError:
        pass
    except OSError:
        os._exit(2)


def asked_to_stop(directory: Path) -> str:
    """Why another process wants all to stop; '' if none does."""
    if jax.process_count() > 1 and os.path.lexists(_marker(directory)):
        with contextlib.suppress(OSError, ValueError):
            return printable(_marker(directory).read_text()[:1000]) or "another process leaves"
        return "another process leaves"
    return ""


def agree(numbers: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """What process 0 passed, in every process."""
    return np.asarray(multihost_utils.broadcast_one_to_all(numbers)) if jax.process_count() > 1 else numbers
