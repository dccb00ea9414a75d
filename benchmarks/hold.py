"""What hold_at_edge and phase_report cost: an epoch of Fig. 2's run with and without the hold, and a report.

python -m benchmarks.hold [--rounds=5] [--output=FILE.json]
"""

import argparse
import datetime
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import edgechaos as ec
from benchmarks.epoch import statistics, versions
from edgechaos import data, runs, training


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def epochs(constraint: str, optimizer: str) -> Callable[[], object]:
    """A call that trains one more epoch at J = 1, where the hold is at work."""
    dataset = jax.device_put(data.load())
    spec = training.Spec(10, 32, init_j=1.0, optimizer=optimizer, constraint=constraint)
    keys = jax.random.split(jax.random.key(0), 1)
    rate, momentum = (0.02, 0.5) if optimizer == "sgd" else (1e-3, 0.0)
    numbers = training.Hyperparameters(*(jnp.full(1, value) for value in (rate, momentum, 0.0)))
    states = [training.start_members(keys, numbers, dataset, spec)[0]]

    def one() -> object:
        states[0], metrics = training.advance_members(states[0], keys, numbers, dataset, spec)
        return metrics

    one()
    return one


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hold", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    numbers = {}
    for optimizer in ("sgd", "adam"):
        bare, held = epochs("none", optimizer), epochs("hold_at_edge", optimizer)
        rounds = [(timed(bare), timed(held)) for _ in range(arguments.rounds)]
        numbers[f"{optimizer}, s"] = statistics([pair[0] for pair in rounds])
        numbers[f"{optimizer} with hold_at_edge, s"] = statistics([pair[1] for pair in rounds])
        numbers[f"{optimizer}, ratio"] = statistics([pair[1] / pair[0] for pair in rounds])
    rng = np.random.default_rng(0)
    params = {"hidden": rng.normal(size=(784, 784)) / 28, "output": rng.normal(size=(784, 491)) / 28}
    ec.phase_report(params)
    reports = [1e3 * timed(lambda: ec.phase_report(params)) for _ in range(5 * arguments.rounds)]
    numbers["phase_report of a million parameters, ms"] = statistics(reports)
    print(json.dumps(numbers, indent=2))
    if arguments.output:
        content = {
            "numbers": numbers,
            "date": datetime.date.today().isoformat(),
            "processor": runs.processor(),
            "cores": os.cpu_count(),
            "versions": versions(),
        }
        arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
