"""Counts of faults done to real runs of every experiment, and the page of the docs that they make.

python -m tests.reliability [--kills=20] [--subjects=fig2,fig6]  adds to results/faults.json, writes docs/RELIABILITY.md
"""

import argparse
import datetime
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgechaos import runs
from tests.faults import FAULTS, GOOD, REFUSED, RESUMED, SAME, SUBJECTS, try_all
from tests.hits import PHASES

COUNTS, PAGE = Path("results/faults.json"), Path("docs/RELIABILITY.md")
HEAD = """# Reliability

This page is written by `python -m tests.reliability`, which keeps its counts in results/faults.json. It inflicts each
fault on real runs of an experiment on the digits, and then gives the same command again. In each good outcome that
finishes the run, the arrays have the same bits as those of an undisturbed run.

- "Resumed": work had been saved, and the command continued from it. It named the epoch or left finished pieces as
  they were, and kept the time of the earlier part.
- "Same bits": nothing had been saved, or it is not known (in older counts, which did not distinguish the two).
- "Refused": the command refused to run, and one sentence says what is wrong and what to do.
- Everything else is a failure.

| fault | trials | resumed | same bits | refused in a sentence | failures |
| --- | --- | --- | --- | --- | --- |
"""


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page: a row for each fault over all experiments, a row for each experiment, and the failures."""
    lines = []
    for fault in FAULTS:
        counts: Counter = sum((Counter(entry["outcomes"].get(fault.__name__)) for entry in found.values()), Counter())
        what = " ".join((fault.__doc__ or "").split()).rstrip(".")
        lines.append(f"| {what} | {_counts(counts)} |")
    hit = f"hit {', '.join(PHASES)}"
    lines += [
        "",
        f"| experiment | trials | resumed | same bits | refused in a sentence | failures | {hit} | measured |",
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    failures = []
    for name, entry in sorted(found.items()):
        counts = sum(map(Counter, entry["outcomes"].values()), Counter())
        met = ", ".join(str(entry["hits"].get(phase, 0)) for phase in PHASES) if "hits" in entry else "not told apart"
        lines.append(f"| {name} | {_counts(counts)} | {met} | {entry['date']}, revision {entry['revision'][:7]} |")
        for fault_name, counted in entry["outcomes"].items():
            failures += [
                f"- {name}, {fault_name}: {outcome} ({count})"
                for outcome, count in counted.items()
                if outcome not in GOOD
            ]
    return HEAD + "\n".join(lines + ([""] if failures else []) + failures) + "\n"


def _counts(counts: Counter) -> str:
    """Trials, resumed, same bits, refusals and failures."""
    good = [counts[outcome] for outcome in (RESUMED, SAME, REFUSED)]
    return " | ".join(map(str, (counts.total(), *good, counts.total() - sum(good))))


def main() -> None:
    """Command line."""
    names = [subject.name for subject in SUBJECTS]
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="moments at which each is killed (default %(default)s)")
    parser.add_argument("--subjects", default=",".join(names), help="comma-separated, of %(default)s")
    parser.add_argument("--counts", type=Path, default=COUNTS, help="JSON file to add to (default %(default)s)")
    parser.add_argument("--output", type=Path, default=PAGE, help="page to write (default %(default)s)")
    arguments = parser.parse_args()
    wanted = arguments.subjects.split(",")
    if set(wanted) - set(names) or arguments.kills < 1:
        parser.error(f"--subjects takes names of {', '.join(names)}, --kills a number from 1 on")
    found = json.loads(arguments.counts.read_text()) if arguments.counts.exists() else {}
    for subject in SUBJECTS:
        if subject.name in wanted:
            outcomes, met = try_all(subject, arguments.kills)
            about = {"date": datetime.date.today().isoformat(), "processor": runs.processor(), "cores": os.cpu_count()}
            found[subject.name] = {"outcomes": outcomes, "hits": met, "revision": runs.revision(), **about}
            runs.write_json(arguments.counts, found)
            arguments.output.write_text(table(found))  # can be made anew from the counts
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
