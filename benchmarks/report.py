"""docs/BENCHMARKS.md from recorded benchmarks, with machine, versions and command; the notes quote the others.

python -m benchmarks.report [--results=results/bench] [--output=docs/BENCHMARKS.md]
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# in the order of the page: result file -> what was compared, and the command
PAGES = {
    "epoch": ("One training epoch, beside PyTorch and Keras", "python -m benchmarks.epoch"),
    "sweep": ("A sweep: members per second", "python -m benchmarks.sweep"),
    "members": ("Members together, or one after the other", "python -m benchmarks.members"),
    "processes": ("One process, or one on each core", "python -m benchmarks.processes"),
    "phase_diagram": ("The phase diagram, beside NumPy", "python -m benchmarks.phase_diagram"),
    "theory": ("Mean field, Lyapunov spectrum, report", "python -m benchmarks.theory"),
    "hold": ("What holding the edge costs", "python -m benchmarks.hold"),
    "startup": ("Waiting", "python -m benchmarks.startup"),
    "growth": ("How cost grows", "python -m benchmarks.growth"),
    "longrun": ("A long run", "python -m benchmarks.longrun"),
}
HEAD = """# Benchmarks

This page is written by `python -m benchmarks.report` from the files in results/bench, which `make bench` records.
Numbers are medians over several rounds, with the smallest and the largest value in parentheses. What is compared runs
in turn.
"""
WITHOUT_GPU = """## On a GPU

Nothing was measured on a GPU, because none was available. `make bench DEVICE=gpu` measures on one.
"""


def is_statistics(entry: Any) -> bool:
    """Whether this is a median with its spread."""
    return isinstance(entry, Mapping) and {"median", "least", "most"} <= entry.keys()


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cell(entry: Any) -> str:
    """A number as it is printed, or a median with its spread."""
    if is_statistics(entry):
        return f"{number(entry['median'])} ({number(entry['least'])} to {number(entry['most'])})"
    return number(entry) if isinstance(entry, int | float) else str(entry)


def tables(content: Mapping[str, Any]) -> Iterator[str]:
    """A table for each mapping of numbers, however deep; those side by side with the same rows are one table."""
    for name, entry in content.items():
        if not isinstance(entry, Mapping) or name == "versions":
            continue
        values = list(entry.values())
        if values and all(is_statistics(value) for value in values):
            yield columns({name: entry})
        elif values and all(isinstance(value, Mapping) and value.keys() == values[0].keys() for value in values):
            yield columns(entry)
        else:
            yield from tables(entry)


def columns(entry: Mapping[str, Mapping[str, Any]]) -> str:
    """Equal rows side by side."""
    first = next(iter(entry.values()))
    rows = [f"| {row} | {' | '.join(cell(column[row]) for column in entry.values())} |" for row in first]
    return "\n".join([f"| | {' | '.join(entry)} |", f"|{' --- |' * (len(entry) + 1)}", *rows])


def growth_table(content: Mapping[str, Any]) -> str:
    """Exponents beside the expected ones."""
    rows = [
        f"| {name} | {', '.join(row['values'])} | {row['exponent']:.2f} ± {row['error']:.2f} | {row['expected']:.0f} |"
        for name, row in content["growth"].items()
    ]
    return "\n".join(["| quantity | sizes | exponent | expected |", "| --- | --- | --- | --- |", *rows])


def ratios_table(content: Mapping[str, Any]) -> str:
    """The ratios of an epoch with their targets."""
    rows = [f"| {row['ratio']} | {cell(row)} | {row['target']} |" for row in content["ratios"]]
    return "\n".join(["| ratio within a round | value | target |", "| --- | --- | --- |", *rows])


def section(name: str, folder: Path) -> str:
    """One benchmark."""
    title, command = PAGES[name]
    path = folder / f"{name}.json"
    if not path.is_file():
        return f"## {title}\n\n`{command}`: not measured.\n"
    content = json.loads(path.read_text())
    versions = ", ".join(f"{package} {number}" for package, number in content.get("versions", {}).items())
    parts = [f"`{command}`, {content['processor']}, {content['cores']} cores, {content['date']}; {versions}."]
    if name == "growth":
        parts.append(growth_table(content))
    elif name == "epoch":
        parts += [*tables({"seconds": content["seconds"]}), ratios_table(content)]
    else:
        parts += tables(content)
    parts += [f"{name}: {number(value)}." for name, value in content.items() if isinstance(value, float)]
    return f"## {title}\n\n" + "\n\n".join(parts) + "\n"


def text(folder: Path) -> str:
    """The whole page: the CPU's results, then those of a GPU where there are any."""
    measured_there = [name for name in PAGES if (folder / "gpu" / f"{name}.json").is_file()]
    there = [section(name, folder / "gpu").replace("## ", "## On a GPU: ", 1) for name in measured_there]
    return "\n".join([HEAD, *(section(name, folder) for name in PAGES), *(there or [WITHOUT_GPU])])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results/bench"), help="folder (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/BENCHMARKS.md"), help="file (default %(default)s)")
    arguments = parser.parse_args()
    if not arguments.results.is_dir():
        parser.error(
            f"results = '{arguments.results}': there is no such folder; give the command in the root of the clone"
        )
    arguments.output.write_text(text(arguments.results))
    print(f"benchmarks: {arguments.output}")


if __name__ == "__main__":
    main()
