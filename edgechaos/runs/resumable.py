"""Long work on the host, step by step: a progress bar, requests to stop, and chores such as checkpoints in between."""

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
import tqdm.contrib.logging

from edgechaos.files import read_npz, write_npz
from edgechaos.runs.interruption import Interrupted, stop_requests


@dataclasses.dataclass(frozen=True)
class Chore:
    """What is done between two steps now and then.

    Attributes:
      call: does it.
      pause: seconds that it took the last time, 0 at first -> the least seconds until its next turn.
    """

    call: Callable[[], object]
    pause: Callable[[float], float]


def once(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays of an .npz, which are computed and written first if it does not exist."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_npz(path, compute())
    return read_npz(path)


@contextlib.contextmanager
def shown(bar: tqdm.tqdm, unit: str) -> Iterator[threading.Event]:
    """Shows the bar, with messages above it; the event is set by a request to stop after the current `unit`."""
    redirected = tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("edgechaos")])
    with bar, redirected, stop_requests(unit) as stop:
        yield stop


def advance_until(
    is_done: Callable[[], bool],
    is_asked_to_stop: Callable[[], bool],
    step: Callable[[], object],
    chores: Sequence[Chore],
) -> None:
    """Steps until the work is done, or a request to stop; after each step come the chores whose turn it is."""
    ended, took = [time.monotonic()] * len(chores), [0.0] * len(chores)
    while not is_done() and not is_asked_to_stop():
        step()
        for index, chore in enumerate(chores):
            begin = time.monotonic()
            if begin - ended[index] > chore.pause(took[index]):
                chore.call()
                ended[index] = time.monotonic()
                took[index] = ended[index] - begin


def all_once(
    folder: Path, tasks: Mapping[str, Callable[[], Mapping[str, Any]]], unit: str
) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of several tasks, each computed and kept in FOLDER/NAME.npz unless it is there, with a progress bar.

    Raises:
      Interrupted: by Ctrl-C or SIGTERM, after the current task was kept.
    """
    found = {}
    bar = tqdm.tqdm(tasks.items(), desc=f"{unit}s", unit=unit, dynamic_ncols=True)
    with shown(bar, unit) as stop:
        for name, compute in bar:
            found[name] = once(folder / f"{name}.npz", compute)
            if stop.is_set() and len(found) < len(tasks):
                raise Interrupted(f"interrupted after {len(found)} of {len(tasks)} {unit}s; the same command goes on")
    return found
