"""A long run: memory of the process, open files and compiled programs over thousands of epochs of the digits.

A first run of 2,000 epochs lets the allocators of Python, JAX and Orbax take what they keep.

    python -m benchmarks.longrun [--epochs=16000] [--output=FILE.json]
"""

import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.common import options, record
from configs import fig2
from edgechaos import analysis, data, runs, training
from edgechaos.runs import fields
from edgechaos.runs.config import TRAINING_FIELDS, TrainingConfig, as_record
from edgechaos.runs.run import run_sweep

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SETTLED = 0.3  # of the run, after which memory is looked at


def resident() -> int:
    """Bytes that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def watch(samples: list[tuple[float, int, int]], done: threading.Event) -> None:
    """(seconds, bytes, open files) ten times a second."""
    begin = time.monotonic()
    while not done.wait(0.1):
        samples.append((time.monotonic() - begin, resident(), len(os.listdir("/proc/self/fd"))))


def run(num_epochs: int) -> None:
    """A run of Fig. 2 on the digits in a work directory of its own, with a checkpoint every second."""
    known = TRAINING_FIELDS
    chosen = {name: value for name, value in fig2.get_config("digits").to_dict().items() if name in known}
    validated = fields.validate(chosen | {"epochs": num_epochs, "checkpoint_seconds": 1.0}, TrainingConfig)
    with tempfile.TemporaryDirectory() as folder, runs.work_directory(folder, as_record(validated)) as directory:
        history = run_sweep(directory, validated, data.load("digits"), lambda history: None)
    assert np.isfinite(history["j_squared"]).all()


def main() -> None:
    """Command line."""
    parser = options("benchmarks.longrun", __doc__)
    parser.add_argument("--epochs", type=int, default=16_000, help="of the run (default %(default)s)")
    arguments = parser.parse_args()
    run(2000)
    samples: list[tuple[float, int, int]] = []
    done = threading.Event()
    thread = threading.Thread(target=watch, args=(samples, done))
    thread.start()
    begin = time.monotonic()
    run(arguments.epochs)
    seconds = time.monotonic() - begin
    done.set()
    thread.join()
    times, held, files = np.array(samples).T
    late = times > _SETTLED * times[-1]
    line = analysis.fit_line(times[late] * arguments.epochs / seconds, held[late])
    rows = {
        "epochs": float(arguments.epochs),
        "memory at the end, MiB": held[-1] / 2**20,
        "growth of memory, bytes per epoch": line.slope,
        "its standard error": line.slope_error,
        "open files, least": files[late].min(),
        "open files, most": files[late].max(),
        "compiled programs of an epoch": float(training.advance_members._cache_size()),  # type: ignore[attr-defined]
    }
    for name, value in rows.items():
        print(f"{name:40} {value:12.5g}")
    record(arguments.output, {"long run": {"value": rows}})


if __name__ == "__main__":
    main()
