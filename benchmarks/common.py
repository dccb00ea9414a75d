"""What the benchmarks share: options, timing in turn, medians with their spread, and the result file."""

import argparse
import datetime
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PAUSE = 0.3  # seconds before each call: threads of a library that has just worked wait busily, and take cores
_COMPARED = ("jax", "jaxlib", "optax", "flax", "torch", "keras", "tensorflow-cpu", "numpy", "scipy", "optuna")

Statistics = dict[str, float]


def options(module: str, text: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """--rounds, if `rounds` is its default, and --output."""
    summary = (text or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=summary)
    if rounds is not None:
        parser.add_argument("--rounds", type=_positive, default=rounds, help="measured rounds (default %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser


def _positive(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': must be a number from 1 on")
    return int(text)


def statistics(values: list[float]) -> Statistics:
    """Median and spread."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of one call, to the end of what it computes."""
    import jax

    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, after a round that warms up."""
    for call in calls.values():
        seconds_of(call)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(_PAUSE)
            found[name].append(seconds_of(call))
    return found


def side_by_side(ours: str, seconds: Mapping[str, list[float]]) -> dict[str, Statistics]:
    """Seconds of everybody, and how many times ours the others take, within a round each."""
    rows = {f"{name}, s": statistics(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        if name != ours:
            ratios = [other / own for other, own in zip(values, seconds[ours], strict=True)]
            rows[f"{name} / {ours}"] = statistics(ratios)
    return rows


def machine() -> dict[str, Any]:
    """Where and when, and with which versions of what is compared."""
    import jax

    from edgechaos import runs

    found = {}
    for name in _COMPARED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "processor": runs.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": found,
    }


def show(tables: Mapping[str, Any], indent: int = 0) -> None:
    """Prints nested numbers, one a line."""
    for name, entry in tables.items():
        if isinstance(entry, Mapping) and "median" in entry:
            print(f"{' ' * indent}{name:48} {entry['median']:11.4g}   [{entry['least']:.4g}, {entry['most']:.4g}]")
        elif isinstance(entry, Mapping):
            print(f"{' ' * indent}{name}")
            show(entry, indent + 2)
        else:
            print(f"{' ' * indent}{name:48} {entry:11.4g}" if isinstance(entry, float) else f"{name}: {entry}")


def record(output: Path | None, content: Mapping[str, Any]) -> None:
    """Writes the result file, with the machine, if one is wanted."""
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({**content, **machine()}, indent=2) + "\n")
