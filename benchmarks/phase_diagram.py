"""Times the phase diagram of Fig. 1b beside a plain NumPy loop over cells with a fresh matrix each.

The NumPy loop runs a sample of cells, evenly spaced over the diagram; ours runs all of them, as `experiments.fig1`
does. Both have equal N and iterations. "rate" is the share of the rate of one large float32 square product, measured
right before, that the iterations done (4 N^2 operations each) reach.

    python -m benchmarks.phase_diagram [--rounds=3] [--output=FILE.json]
"""

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.epoch import statistics, versions
from edgechaos import cost, runs
from edgechaos.phase_diagram import GIB, Settled, cells_of, draw_disorder, settle

COLUMNS = np.linspace(-1, 2, 151, dtype=np.float32)
ROWS = (np.arange(1, 101) / 50).astype(np.float32)
SIZE, ITERATIONS, SAMPLE = 1_000, 500, 12
LARGE_SIZE, LARGE_ITERATIONS = 10_000, 20
MEMORY = f"""
import jax, numpy as np, edgechaos as ec
columns, rows = np.linspace(-1, 2, 64, dtype=np.float32), np.linspace(0.2, 0.5, 8, dtype=np.float32)
ec.phase_diagram(jax.random.key(0), columns, rows, {LARGE_SIZE}, {LARGE_ITERATIONS}).block_until_ready()
"""


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result of one call."""
    begin = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - begin, result


def numpy_cell(j0_over_j: float, inverse_j: float, num_neurons: int, num_iterations: int) -> float:
    """One cell as one would write it: a fresh dense matrix, two copies, matrix times vector."""
    rng = np.random.default_rng()
    j = 1 / inverse_j
    kernel = j0_over_j * j / num_neurons + j / num_neurons**0.5 * rng.normal(size=(num_neurons, num_neurons))
    x = rng.normal(size=num_neurons)
    twin = x + 1e-4 * rng.normal(size=num_neurons)
    distances = []
    for _ in range(num_iterations):
        x, twin = np.tanh(kernel @ x), np.tanh(kernel @ twin)
        distances.append(np.linalg.norm(x - twin))
    return float(np.mean(distances[-num_iterations // 5 :]))


def one_round() -> dict[str, float]:
    """All timings once, in turn."""
    rate = cost.matrix_product_rate(4096)
    cells = np.linspace(0, len(COLUMNS) * len(ROWS) - 1, SAMPLE).astype(int)
    places = [(float(COLUMNS[cell % len(COLUMNS)]), float(ROWS[cell // len(COLUMNS)])) for cell in cells]
    looped, _ = timed(lambda: [numpy_cell(*place, SIZE, ITERATIONS) for place in places])
    disorder = draw_disorder(jax.random.key(0), SIZE)
    j0, j = cells_of(jnp.asarray(COLUMNS), jnp.asarray(ROWS))
    seconds, settled = timed(lambda: _settle(disorder, j0, j))
    assert isinstance(settled, Settled)
    iterations = float(settled.iterations.sum())
    large, _ = timed(lambda: numpy_cell(0.0, 0.5, LARGE_SIZE, LARGE_ITERATIONS))
    return {
        "numpy, ms per cell": 1e3 * looped / SAMPLE,
        "edgechaos, ms per cell": 1e3 * seconds / len(j),
        "edgechaos, ms per 500 iterations of a cell": 1e3 * seconds / iterations * ITERATIONS,
        "edgechaos, seconds of the whole diagram": seconds,
        "numpy / edgechaos, per cell": looped / SAMPLE * len(j) / seconds,
        "numpy / edgechaos, per iteration": looped / SAMPLE / ITERATIONS * iterations / seconds,
        "share of the large-product rate": 4 * SIZE**2 * iterations / seconds / rate,
        f"numpy, seconds of a cell at N = {LARGE_SIZE:,}, {LARGE_ITERATIONS} iterations": large,
    }


_settle = jax.jit(lambda disorder, j0, j: settle(disorder, j0, j, ITERATIONS))


def peak_memory() -> float:
    """Largest resident memory, in GiB, of a process that draws 512 cells at N = 10,000 with the default budget."""
    subprocess.run([sys.executable, "-c", MEMORY], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / GIB


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phase_diagram", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    memory = peak_memory()
    one_round()  # warms up
    rounds = [one_round() for _ in range(arguments.rounds)]
    numbers = {name: statistics([row[name] for row in rounds]) for name in rounds[0]}
    content = {
        "benchmark": f"Fig. 1b: 151 x 100 cells, N = {SIZE:,}, {ITERATIONS} iterations; NumPy on {SAMPLE} of the cells",
        "date": datetime.date.today().isoformat(),
        "processor": runs.processor(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "peak memory at N = 10,000, GiB": memory,
        "numbers": numbers,
    }
    print(f"peak memory at N = 10,000: {memory:.2f} GiB")
    for name, row in numbers.items():
        print(f"{name:68} {row['median']:9.3f}   [{row['least']:.3f}, {row['most']:.3f}]")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
