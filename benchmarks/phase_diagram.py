"""Times the phase diagram of Fig. 1b beside a plain NumPy loop over cells with a fresh matrix each.

At N = 1,000 ours runs all 15,100 cells, at N = 10,000 a sample of 1,024; NumPy, in a process of its own, runs a few.
All samples are evenly spaced over the diagram, and everybody is asked for 500 iterations. "rate" is the share of the
rate of one large float32 square product, measured right before, that the iterations done (4 N^2 operations each) reach.

    python -m benchmarks.phase_diagram [--rounds=3] [--sizes=1000,10000] [--output=FILE.json]
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.common import options, record, show, statistics

COLUMNS = np.linspace(-1, 2, 151, dtype=np.float32)
ROWS = (np.arange(1, 101) / 50).astype(np.float32)
ITERATIONS = 500
CELLS = {1_000: (15_100, 12), 10_000: (1_024, 3)}  # N: how many of ours, and of NumPy's
MEMORY = """
import jax, numpy as np, edgechaos as ec
columns, rows = np.linspace(-1, 2, 64, dtype=np.float32), np.linspace(0.2, 0.5, 8, dtype=np.float32)
ec.phase_diagram(jax.random.key(0), columns, rows, 10_000, 40).block_until_ready()
"""


def sample(number: int) -> list[tuple[float, float]]:
    """(J0/J, 1/J) of cells evenly spaced over the diagram."""
    places = np.linspace(0, len(COLUMNS) * len(ROWS) - 1, number).astype(int)
    return [(float(COLUMNS[place % len(COLUMNS)]), float(ROWS[place // len(COLUMNS)])) for place in places]


def numpy_cell(j0_over_j: float, inverse_j: float, num_neurons: int) -> float:
    """One cell as one would write it: a fresh dense matrix, two copies, matrix times vector."""
    rng = np.random.default_rng()
    j = 1 / inverse_j
    kernel = j0_over_j * j / num_neurons + j / num_neurons**0.5 * rng.normal(size=(num_neurons, num_neurons))
    x = rng.normal(size=num_neurons)
    twin = x + 1e-4 * rng.normal(size=num_neurons)
    distances = []
    for _ in range(ITERATIONS):
        x, twin = np.tanh(kernel @ x), np.tanh(kernel @ twin)
        distances.append(np.linalg.norm(x - twin))
    return float(np.mean(distances[-ITERATIONS // 5 :]))


def numpy_seconds(num_neurons: int) -> float:
    """Seconds per cell, in a process whose OpenBLAS chooses its kernels itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    command = [sys.executable, "-m", "benchmarks.phase_diagram", f"--worker={num_neurons}"]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def work(num_neurons: int) -> None:
    """The NumPy process: prints its seconds per cell."""
    places = sample(CELLS[num_neurons][1])
    begin = time.perf_counter()
    for place in places:
        numpy_cell(*place, num_neurons)
    print((time.perf_counter() - begin) / len(places))


def one_round(num_neurons: int) -> dict[str, float]:
    """All timings of one size, in turn."""
    import jax
    import jax.numpy as jnp

    from edgechaos.dynamics.diagram import draw_disorder, settle
    from edgechaos.runs import cost

    rate = cost.matrix_product_rate(4096)
    theirs = numpy_seconds(num_neurons)
    ratios, inverse = (jnp.array(axis, jnp.float32) for axis in zip(*sample(CELLS[num_neurons][0]), strict=True))
    disorder = draw_disorder(jax.random.key(0), num_neurons)
    run = jax.jit(settle, static_argnums=3).lower(disorder, ratios / inverse, 1 / inverse, ITERATIONS).compile()
    begin = time.perf_counter()
    settled = jax.block_until_ready(run(disorder, ratios / inverse, 1 / inverse))
    seconds = time.perf_counter() - begin
    iterations, cells = float(settled.iterations.sum()), len(ratios)
    return {
        "numpy, ms per cell": 1e3 * theirs,
        "edgechaos, ms per cell": 1e3 * seconds / cells,
        "mean iterations of a cell": iterations / cells,
        "numpy / edgechaos, per cell": theirs * cells / seconds,
        "numpy / edgechaos, per iteration": theirs / ITERATIONS * iterations / seconds,
        "share of the large-product rate": 4 * num_neurons**2 * iterations / seconds / rate,
    }


def peak_memory() -> float:
    """Largest resident memory, in GiB, of a process with 512 cells at N = 10,000 and the default budget."""
    subprocess.run([sys.executable, "-c", MEMORY], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def main() -> None:
    """Command line."""
    parser = options("benchmarks.phase_diagram", __doc__, rounds=3)
    parser.add_argument("--sizes", default="1000,10000", help="comma-separated, of %(default)s")
    parser.add_argument("--worker", type=int, choices=CELLS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return
    memory = peak_memory()
    sizes = {int(size): [one_round(int(size)) for _ in range(arguments.rounds)] for size in arguments.sizes.split(",")}
    numbers = {
        f"N = {size:,}": {name: statistics([row[name] for row in rounds]) for name in rounds[0]}
        for size, rounds in sizes.items()
    }
    content = {
        "benchmark": "Fig. 1b, 500 iterations; N: cells of ours, cells of NumPy's",
        "cells": {f"N = {size:,}": CELLS[size] for size in sizes},
        "peak memory at N = 10,000, GiB": memory,
        "numbers": numbers,
    }
    print(f"peak memory at N = 10,000: {memory:.2f} GiB")
    show(numbers)
    record(arguments.output, content)


if __name__ == "__main__":
    main()
