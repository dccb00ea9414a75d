"""Where should J^2 be? The best J^2 along runs, among networks held at a fixed J^2, and among fixed weight decays.

The paper says that networks do best at J^2 = 1. Here this is judged by the test loss, by the test loss of calibrated
logits, and by the error rate, under a constant and a cosine learning rate. The same command again resumes an unfinished
sweep, redraws a finished one, or extends it.
"""

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgechaos import analysis, files, plotting, runs
from edgechaos.analysis import QUANTITIES, History
from edgechaos.errors import UserError
from edgechaos.runs import processes
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.fields import Field, declared
from edgechaos.theory import paper
from experiments.shared import cli, sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """The sweep, and finished runs of other experiments."""

    histories: tuple[str, ...] = declared(
        Field(
            tuple,
            lambda value: all(isinstance(path, str) for path in value),
            "a tuple of work directories, such as ('results/fig3',)",
            "work directories whose runs without decay are judged as well, with hyperparameters of their own",
            role="incidental",
        )
    )


SCHEDULES = ("constant", "cosine")
FREE, HELD, DEFAULT, DECAYED = "without decay", "held at a J^2", "hold_at_edge", "fixed decay"
PER_QUANTITY = {
    "along_run": "J^2 at the least {} along the runs without decay, one place for all seeds; the paper: 1",
    "along_run_low": "low end of its 95 % bootstrap interval over the seeds",
    "along_run_high": "high end of the same",
    "along_run_least": "smallest J^2 at which the {} is within 1 % of its least, along the same runs",
    "along_run_largest": "largest such J^2",
    "best_held": "the J^2 at which a hold ends with the least {}; the paper: 1",
    "best_held_least": "smallest J^2 of a hold whose {} is within one standard error of the least",
    "best_held_largest": "largest such J^2",
    "edge_behind_held": "standard errors by which the hold at 1 is behind the best hold in {}; the paper: 0",
    "default_behind_decays": "standard errors by which hold_at_edge() is behind the best fixed decay in {}; aim: <= 1",
}
NUMBERS = {
    f"{schedule}_{quantity}_{name}": f"{schedule}: {text.format(words)}"
    for schedule in SCHEDULES
    for quantity, words in QUANTITIES.items()
    for name, text in PER_QUANTITY.items()
}
_CLAIMED = {"along_run": 1.0, "best_held": 1.0, "edge_behind_held": 0.0, "default_behind_decays": 1.0}
PREDICTED = {
    f"{schedule}_{quantity}_{name}": value
    for schedule in SCHEDULES
    for quantity in QUANTITIES
    for name, value in _CLAIMED.items()
}


def check(config: Config) -> None:
    """Raises a UserError unless the sweep has what is compared, and the histories are there."""
    for path in config.histories:
        if not (Path(path) / "history.npz").is_file():
            raise UserError(f"histories = {config.histories}: '{path}' is not a finished work directory of a sweep")
    other = sorted(set(config.sweep) - {"schedule", "constraint", "target", "weight_decay"})
    if other:
        raise UserError(f"sweep.{other[0]}: the runs differ in schedule, constraint, target and weight_decay")


def kinds(history: History) -> np.ndarray:
    """What each run is [run]: FREE, HELD, DEFAULT or DECAYED."""
    constraint, decay = history.column("constraint"), history.column("weight_decay")
    return np.select(
        [constraint == "hold_two_sided", constraint == "hold_at_edge", decay == 0], [HELD, DEFAULT, FREE], DECAYED
    )


def free_run(history: History) -> int | None:
    """The run without decay, if there is one."""
    return next(iter(np.flatnonzero(kinds(history) == FREE).tolist()), None)


def of_schedule(history: History, schedule: str) -> History:
    """The runs with one schedule."""
    return history.some(history["schedule"] == schedule)


def ends(history: History, quantity: str) -> np.ndarray:
    """What each run ends with [run, seed]."""
    return history.final_of(analysis.values_of(history, quantity))


def compare(config: TrainingConfig, history: History) -> dict[str, np.ndarray]:
    """The numbers of `NUMBERS`, one for all seeds together."""
    del config
    numbers: dict[str, float] = {}
    for schedule in SCHEDULES:
        some = of_schedule(history, schedule)
        for quantity in QUANTITIES:
            found = {**along(some, quantity), **held(some, quantity)}
            numbers |= {f"{schedule}_{quantity}_{name}": value for name, value in found.items()}
    return {name: np.array([numbers.get(name, np.nan)]) for name in NUMBERS}


def along(history: History, quantity: str) -> dict[str, float]:
    """The optimum along the runs without decay."""
    run = free_run(history)
    if run is None:
        return {}
    found = of_run(history, run, quantity)
    ends_of = {name: getattr(found, name) for name in ("low", "high", "least", "largest")}
    return {"along_run": found.j_squared, **{f"along_run_{name}": value for name, value in ends_of.items()}}


def of_run(history: History, run: int, quantity: str) -> analysis.Optimum:
    """The optimum along a run, all its seeds together."""
    members = history.members_of_run(run)
    entries = slice(int(history["epochs"][members].max()) + 1)
    values = analysis.values_of(history, quantity)[members, entries]
    return analysis.along_runs(history["j_squared"][members, entries], values)


def recorded(config: Config, directory: Path) -> dict[str, list[sweep.Row]]:
    """The optimum along each run without decay of other work directories; kept in recorded.json."""
    found: list[sweep.Row] = []
    for path in config.histories:
        history = History(files.read_npz(Path(path) / "history.npz"), paper.NUM_SAMPLES)
        scale = history.by_seed(history.scale_factor)[:, 0]
        for run in np.flatnonzero(history.column("weight_decay") == 0):
            row: sweep.Row = {"from": path, "scale_factor": float(scale[run]), "seeds": history.num_seeds}
            row |= {name: history.column(name)[run].item() for name in ("learning_rate", "momentum", "batch_size")}
            found.append(row | {quantity: of_run(history, int(run), quantity)._asdict() for quantity in QUANTITIES})
    if processes.is_first():  # a file has one writer
        runs.write_json(directory / "recorded.json", {"runs": found})
    return {"elsewhere": found}


def held(history: History, quantity: str) -> dict[str, float]:
    """The best place to hold J^2 at, and what the edge and the default are behind."""
    kind, scores = kinds(history), -ends(history, quantity)
    places = history.column("target")
    numbers: dict[str, float] = {}
    at = np.flatnonzero(kind == HELD)
    if len(at) and np.isfinite(scores[at]).any():
        best, least, largest = analysis.best_of(places[at], scores[at])
        numbers |= {"best_held": best, "best_held_least": least, "best_held_largest": largest}
        edge = at[np.abs(places[at] - 1).argmin()]
        numbers["edge_behind_held"] = analysis.behind(scores[edge], scores[at[np.nanargmax(scores[at].mean(1))]])
    default, fixed = np.flatnonzero(kind == DEFAULT), np.flatnonzero(np.isin(kind, (FREE, DECAYED)))
    if len(default) and len(fixed) and np.isfinite(scores[fixed]).any():
        best_fixed = fixed[np.nanargmax(scores[fixed].mean(1))]
        numbers["default_behind_decays"] = analysis.behind(scores[default[0]], scores[best_fixed])
    return numbers


def rows(config: Config, history: History) -> list[sweep.Row]:
    """One row for each run: what it is, and what it ends with."""
    del config
    place, found = history.final("j_squared"), {quantity: ends(history, quantity) for quantity in QUANTITIES}
    names = ("schedule", "target", "weight_decay")
    result: list[sweep.Row] = []
    for run, kind in enumerate(kinds(history)):
        row: sweep.Row = {"kind": str(kind), "j_squared": float(place[run].mean())}
        row |= {name: history.column(name)[run].item() for name in names}
        for quantity, values in found.items():
            row |= {quantity: float(values[run].mean())}
            row |= {f"{quantity}_deviation": float(analysis.deviation(values[run]))}
        result.append(row)
    return result


def describe(row: sweep.Row) -> str:
    """A row in a line."""
    what = f"at {row['target']:g}" if row["kind"] == HELD else f"lambda {row['weight_decay']:g}"
    if row["kind"] == DEFAULT:
        what = ""
    numbers = "J^2 {j_squared:.3f}  loss {loss:.4f}  calibrated {calibrated_loss:.4f}  error {error_rate:.4f}"
    return f"{row['schedule']:8} {row['kind']:13} {what:14} {numbers.format(**row)}"


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    numbers = f"$\\eta$ {config.learning_rate:g}, $\\alpha$ {config.momentum:g}, B {config.batch_size}"
    return f"{config.dataset}: {numbers}, {config.epochs} epochs, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, config: TrainingConfig, history: History, elsewhere: list[sweep.Row]) -> None:
    """Each quantity against J^2, a row of panels for each schedule; below, the optimum along runs of other settings."""
    del config
    panels = figure.subplots(len(SCHEDULES) + bool(elsewhere), len(QUANTITIES), squeeze=False)
    for schedule, line in zip(SCHEDULES, panels, strict=False):
        some = of_schedule(history, schedule)
        for (quantity, words), axes in zip(QUANTITIES.items(), line, strict=True):
            _panel(axes, some, quantity)
            axes.set(title=f"{schedule} learning rate", ylabel=words, xlabel="$J^2$")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    for (quantity, words), axes in zip(QUANTITIES.items(), panels[-1] if elsewhere else (), strict=False):
        scale = np.array([row["scale_factor"] for row in elsewhere])
        names = ("j_squared", "least", "largest")
        plotting.ranges(axes, scale, *(np.array([row[quantity][name] for row in elsewhere]) for name in names))
        axes.set(title=f"least {words} along a run", xlabel="$\\eta / ((1 - \\alpha) B)$", ylabel="$J^2$")


def _panel(axes: Axes, history: History, quantity: str) -> None:
    """One quantity: what runs of each kind end with, and the way of those without decay."""
    kind, place, values = kinds(history), history.final("j_squared"), ends(history, quantity)
    found = {name: plotting.Ends(place[kind == name], values[kind == name]) for name in (HELD, DECAYED, DEFAULT)}
    run, way = free_run(history), np.zeros((2, 0))
    if run is not None:
        members = history.members_of_run(run)
        columns = history["j_squared"], analysis.values_of(history, quantity)
        way = np.array([analysis.smoothed(all_of[members]).mean(0) for all_of in columns])
    plotting.against_j_squared(axes, found, (way[0], way[1]), f"{FREE}, epoch by epoch")


FIGURE = sweep.Sweep(
    name="optimum",
    size=(11, 9),
    title=title,
    numbers=NUMBERS,
    predict=lambda config, dataset: PREDICTED,
    compare=compare,
    draw=draw,
    rows=rows,
    describe=describe,
    check=check,
    background=recorded,
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
