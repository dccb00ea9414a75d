"""Fig. 4: runs of one scale factor have one course of J^2 and one of test loss.

Draws both against epoch, and says how far the runs are apart in order and beyond. The same command again resumes an
unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

from edgechaos.runs import fields
from edgechaos.runs.history import ARRAYS
from experiments import collapse, common

FIELDS = fields.TRAINING_FIELDS


def main(config: dict[str, Any], directory: Path) -> None:
    """The sweep and its spread."""
    collapse.run("fig4", config, directory)


if __name__ == "__main__":
    common.run("fig4", main, FIELDS, ARRAYS, is_sweep=True)
