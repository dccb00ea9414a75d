"""When a run is hit, what it had saved by then, and whether what followed went on from that, by its files."""

import contextlib
import dataclasses
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.processes import steps

BEFORE, WITHIN, AFTER = "before a checkpoint", "within one", "after one"
PHASES = (BEFORE, WITHIN, AFTER)
_RESUMING = re.compile(r"resuming '([^']*)' after (?:epoch|step) (\d+)")


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a work directory holds that a run can go on from.

    Attributes:
      newest: folder of checkpoints -> the newest complete one.
      pieces: finished piece of the work -> when it was written, in ns.
      torn: whether a checkpoint was being written.
    """

    newest: Mapping[Path, int]
    pieces: Mapping[Path, int]
    torn: bool

    def is_nothing(self) -> bool:
        """Whether the same command can only begin again."""
        return not self.newest and not self.pieces

    def phase(self) -> str:
        """Where in a run's life this is; while the first checkpoint is written there is none yet."""
        return BEFORE if self.is_nothing() else WITHIN if self.torn else AFTER


def saved_in(workdir: Path) -> Saved:
    """Looks at checkpoints and pieces, with no code of the project; those of a finished piece count no more."""
    patterns = ("checkpoint-*", "diagram-*", "*/checkpoint-*", "*/*/checkpoint-*")
    folders = [path for pattern in patterns for path in workdir.glob(pattern) if path.is_dir()]
    newest = {
        folder: max(steps(folder))
        for folder in folders
        if steps(folder) and not (folder.parent / "parts" / f"{folder.name.partition('-')[2]}.npz").exists()
    }
    found = [path for name in ("parts", "runs") for path in workdir.glob(f"{name}/[0-9a-z]*.npz")]
    torn = any(path.name.endswith(".partial") for folder in folders for path in folder.iterdir())
    return Saved(newest, {path: path.stat().st_mtime_ns for path in found}, torn)


def wait_for_phase(process: subprocess.Popen, workdir: Path, phase: str, further: float) -> bool:
    """Waits until a run is in a phase of its life, and `further` seconds unless that is a short one.

    Returns:
      Whether the run is still there to be hit.
    """
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # what is looked at is being renamed or removed
            if (workdir / "config.json").exists() and (phase == BEFORE or saved_in(workdir).phase() == phase):
                if phase != WITHIN:
                    time.sleep(further)
                return process.poll() is None
        time.sleep(0.002)
    return False


def what_followed(saved: Saved, messages: str) -> str:
    """'' if the run that ended with these messages went on from what was saved, else what it did instead.

    A run from the beginning has the same bits, so that only this tells resumption from repetition.
    """
    told = {int(epoch) for _, epoch in _RESUMING.findall(messages)}
    missed = set(saved.newest.values()) - told
    if missed:
        return f"checkpoint {max(missed)} was there, but it went on from {sorted(told) or 'the beginning'}"
    again = [path.name for path, written in saved.pieces.items() if path.exists() and path.stat().st_mtime_ns > written]
    return f"{again[0]} was there, but was computed again" if again else ""


def wait_and_read(process: subprocess.Popen, seconds: float = 600) -> str:
    """What a run wrote to standard error until its end."""
    _, messages = process.communicate(timeout=seconds)
    return messages
