"""Fig. 4: runs of one scale factor have one course of J^2 and one of test loss.

Draws both against epoch, and says how far the runs are apart in order and beyond. The same command again resumes an
unfinished sweep and redraws a finished one.
"""

from pathlib import Path
from typing import Any

from edgechaos import config as config_fields
from edgechaos import record
from experiments import collapse, common

FIELDS = config_fields.TRAINING_FIELDS


def main(config: dict[str, Any], directory: Path) -> None:
    """The sweep and its spread."""
    collapse.run("fig4", config, directory)


if __name__ == "__main__":
    common.run("fig4", main, FIELDS, record.MEANING, is_sweep=True)
