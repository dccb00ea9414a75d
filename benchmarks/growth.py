"""How cost grows: time and memory against N, batch size, members, epochs and cells, with fitted exponents.

python -m benchmarks.growth [--rounds=3] [--output=FILE.json]
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import edgechaos as ec
from benchmarks.common import in_turn, options, record
from benchmarks.members import make_dataset
from edgechaos import analysis, training

SAMPLES = 3200


def epoch(num_neurons: int, batch_size: int = 32, members: int = 1, epochs: int = 1) -> Any:
    """A compiled run of some epochs and its arguments, on noise."""
    run = training.make_train(make_dataset(num_neurons), training.Spec(10, batch_size), epochs)
    keys = jax.random.split(jax.random.key(0), members)
    numbers = training.Hyperparameters(*(jnp.full(members, value) for value in (0.02, 0.5, 0.0)))
    return jax.jit(jax.vmap(run)).lower(keys, numbers).compile(), (keys, numbers)


def diagram(num_neurons: int, cells: int) -> Callable[[], object]:
    """A diagram in chaos, where no cell leaves early."""
    columns, rows = np.zeros(cells, np.float32), np.full(1, 0.4, np.float32)
    return lambda: ec.phase_diagram(jax.random.key(0), columns, rows, num_neurons, 40)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """Of the larger half of the sizes, where what does not grow matters less."""
    half = len(sizes) // 2
    power, error = analysis.power_law(np.array(sizes[half - 1 :], float), np.array(values[half - 1 :], float))
    return {"exponent": power, "error": error}


def time_of(calls: Mapping[int, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Median seconds for each size, and the exponent."""
    named = in_turn({str(size): call for size, call in calls.items()}, rounds)
    medians = {size: float(np.median(values)) for size, values in named.items()}
    return {"values": medians, **exponent(list(calls), list(medians.values()))}


def memory_of(programs: Mapping[int, Any]) -> dict[str, Any]:
    """Bytes that XLA reserves beside arguments, for each size, and the exponent."""
    found = {str(size): run.memory_analysis() for size, (run, _) in programs.items()}
    sizes = {size: float(memory.temp_size_in_bytes + memory.output_size_in_bytes) for size, memory in found.items()}
    return {"values": sizes, **exponent(list(programs), list(sizes.values()))}


def calls(programs: Mapping[int, Any]) -> dict[int, Callable[[], object]]:
    """Compiled runs with their arguments."""
    return {size: functools.partial(run, *arguments) for size, (run, arguments) in programs.items()}


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.growth", __doc__, rounds=3).parse_args()
    widths = {size: epoch(size) for size in (128, 256, 512, 1024, 1536)}
    members = {number: epoch(64, members=number) for number in (1, 4, 16, 64, 128)}
    batches = {size: epoch(784, size) for size in (8, 16, 32, 64, 128)}
    lengths = {number: epoch(128, epochs=number) for number in (1, 4, 16, 64)}
    diagrams = {size: diagram(size, 256) for size in (250, 500, 1000, 2000, 4000)}
    cells = {number: diagram(1000, number) for number in (64, 128, 256, 512, 1024)}
    rounds = arguments.rounds
    rows = {
        "epoch, s, against N": (2.0, time_of(calls(widths), rounds)),
        "epoch, s, against B (N = 784)": (0.0, time_of(calls(batches), rounds)),
        "epoch, s, against members (N = 64)": (1.0, time_of(calls(members), rounds)),
        "run, s, against epochs (N = 128)": (1.0, time_of(calls(lengths), rounds)),
        "diagram, s, against N": (2.0, time_of(diagrams, rounds)),
        "diagram, s, against cells (N = 1,000)": (1.0, time_of(cells, rounds)),
        "memory, bytes, against N": (2.0, memory_of({size: epoch(size) for size in (512, 1024, 2048, 4096)})),
        "memory, bytes, against B (N = 784)": (0.0, memory_of(batches)),
        "memory, bytes, against members (N = 64)": (1.0, memory_of(members)),
        "memory, bytes, against epochs (N = 128)": (0.0, memory_of(lengths)),
    }
    content = {name: {"expected": expected, **found} for name, (expected, found) in rows.items()}
    for name, row in content.items():
        print(f"{name:45} exponent {row['exponent']:.2f} +- {row['error']:.2f}, expected {row['expected']:.0f}")
    record(arguments.output, {"growth": content})


if __name__ == "__main__":
    main()
