"""What a work directory keeps of an unfinished run: the record of each batch, and the checkpoints of those under way.

Every batch has files of its own, named by its stretch of the members' order, so that several processes may write.
"""

import shutil
from pathlib import Path

import numpy as np
from jaxtyping import Int

from edgechaos import schedule
from edgechaos.files import read_npz, write_npz
from edgechaos.record import Record, empty, fill, part
from edgechaos.schedule import Stretch


def begin(directory: Path) -> None:
    """Makes the folder of the records."""
    (directory / "parts").mkdir(exist_ok=True)


def write(directory: Path, stretch: Stretch, state: dict[str, np.ndarray]) -> None:
    """Keeps a batch's `Record.state`."""
    write_npz(directory / "parts" / f"{stretch}.npz", state)


def merge(directory: Path, whole: Record, order: Int[np.ndarray, "members"], finished_only: bool) -> None:
    """Fills in the kept records of batches, where they know more than `whole`.

    Raises:
      UserError: one is damaged.
    """
    for path in sorted((directory / "parts").glob("[0-9]*.npz")):
        stretch = schedule.parse(path.stem)
        if stretch is None or not whole.is_running()[order[stretch.places()]].any():
            continue
        members = order[stretch.places()]
        one = empty(part(whole.columns, members))
        fill(one, np.arange(len(members)), read_npz(path))
        if one.is_running().any() and finished_only:
            continue
        newer = one.epochs_done >= whole.epochs_done[members]
        fill(whole, members[newer], {name: values[newer] for name, values in one.state().items()})


def checkpoint(directory: Path, stretch: Stretch) -> Path:
    """Folder of a batch's checkpoints."""
    return directory / f"checkpoint-{stretch}"


def begun(directory: Path) -> list[Stretch]:
    """The batches that left checkpoints."""
    named = [schedule.parse(path.name.removeprefix("checkpoint-")) for path in directory.glob("checkpoint-*")]
    return [stretch for stretch in named if stretch is not None]


def remove(directory: Path) -> None:
    """Removes what a finished run no longer needs."""
    for path in (*directory.glob("checkpoint*"), directory / "parts"):
        shutil.rmtree(path, ignore_errors=True)
