"""Fig. 5: runs of different scale factors have one course of J^2 against the rescaled epoch, while they are ordered.

Draws J^2 and test loss against the epoch rescaled by Eq. 5, and says how far the runs are apart in order and beyond.
The same command again resumes an unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

from edgechaos.runs import fields
from edgechaos.runs.history import ARRAYS
from experiments import collapse, common

FIELDS = fields.TRAINING_FIELDS


def main(config: dict[str, Any], directory: Path) -> None:
    """The sweep and its spread."""
    collapse.run("fig5", config, directory, inset=True)


if __name__ == "__main__":
    common.run("fig5", main, FIELDS, ARRAYS, is_sweep=True)
