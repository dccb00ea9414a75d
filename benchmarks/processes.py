"""Times epochs of Fig. 2's run by one process on all cores, and by one process on each core side by side.

python -m benchmarks.processes [--rounds=3] [--output=FILE.json]
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

from benchmarks.common import options, record, show, statistics

EPOCHS = 5  # of which the first, with the compile, is left out


def measure_on(cores: set[int]) -> None:
    """Prints the seconds of each epoch, on some cores alone."""
    from edgechaos import data, training

    os.sched_setaffinity(0, cores)  # before JAX counts them
    import jax
    import jax.numpy as jnp

    dataset, spec = jax.device_put(data.load()), training.Spec(10, 32)
    keys = jax.random.split(jax.random.key(0), 1)
    numbers = training.Hyperparameters(*(jnp.full(1, value) for value in (0.02, 0.5, 0.0)))
    state, _ = training.start_members(keys, numbers, dataset, spec)
    for _ in range(EPOCHS):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(training.advance_members(state, keys, numbers, dataset, spec))
        print(time.perf_counter() - begin, flush=True)


def side_by_side(core_sets: list[set[int]]) -> float:
    """Seconds per epoch of processes that each have some cores: the median epoch over the number of processes."""
    started = []
    for cores in core_sets:
        line = [sys.executable, "-m", "benchmarks.processes", f"--child={','.join(map(str, cores))}"]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0].split() for process in started]
    return float(np.median([[float(word) for word in output[1:]] for output in outputs])) / len(core_sets)


def main() -> None:
    """Command line."""
    parser = options("benchmarks.processes", __doc__, rounds=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure_on(set(map(int, arguments.child.split(","))))
        return
    cores = os.sched_getaffinity(0)
    rounds = [(side_by_side([cores]), side_by_side([{core} for core in cores])) for _ in range(arguments.rounds)]
    numbers = {
        "one process on all cores, s": statistics([pair[0] for pair in rounds]),
        "a process on each core, s": statistics([pair[1] for pair in rounds]),
        "ratio": statistics([pair[0] / pair[1] for pair in rounds]),
    }
    show(numbers)
    record(arguments.output, {"seconds per epoch": numbers})


if __name__ == "__main__":
    main()
