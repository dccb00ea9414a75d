"""Where should J^2 be? The best J^2 along runs, among networks kept at a fixed J^2, and among fixed weight decays.

The paper says that networks do best at J^2 = 1. Here this is judged by the test loss, by the test loss of calibrated
logits, and by the error rate, at each learning rate under a constant and a cosine schedule. J^2 is kept by a weight
decay that adjusts itself, by projection to a sphere, or by hyperball, which also fixes the norm of an update. The same
command again resumes an unfinished sweep, redraws a finished one, or extends it.
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
from edgechaos.runs.members import sweep_members
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
_ROW_HEIGHT = 2.9  # inches
FREE, HELD, DEFAULT, DECAYED = "without decay", "held at a J^2", "hold_at_edge", "fixed decay"
SPHERE, HYPERBALL = "projected to a sphere", "hyperball"
# constraint -> its kind, and the number that says where it does best
KEPT = {
    "hold_two_sided": (HELD, "best_held"),
    "hard_sphere": (SPHERE, "best_sphere"),
    "hyperball": (HYPERBALL, "best_hyperball"),
}
PER_QUANTITY = {
    "along_run": "J^2 at the least {} along the runs without decay, one place for all seeds; the paper: 1",
    "along_run_low": "low end of its 95 % bootstrap interval over the seeds",
    "along_run_high": "high end of the same",
    "along_run_least": "smallest J^2 at which the {} is within 1 % of its least, along the same runs",
    "along_run_largest": "largest such J^2",
    "best_held": "the J^2 at which a hold ends with the least {}; the paper: 1",
    "best_held_least": "smallest J^2 of a hold whose {} is within one standard error of the least",
    "best_held_largest": "largest such J^2",
    "best_sphere": "the J^2 at which a projection to a sphere ends with the least {}; the paper: 1",
    "best_sphere_least": "smallest J^2 of a projection whose {} is within one standard error of the least",
    "best_sphere_largest": "largest such J^2",
    "best_hyperball": "the J^2 at which hyperball ends with the least {}; the paper: 1",
    "best_hyperball_least": "smallest J^2 of a hyperball whose {} is within one standard error of the least",
    "best_hyperball_largest": "largest such J^2",
    "edge_behind_held": "standard errors by which the hold at 1 is behind the best hold in {}; the paper: 0",
    "default_behind_decays": "standard errors by which hold_at_edge() is behind the best fixed decay in {}; aim: <= 1",
}
NUMBERS = {
    f"{schedule}_{quantity}_{name}": f"{schedule}: {text.format(words)}"
    for schedule in SCHEDULES
    for quantity, words in QUANTITIES.items()
    for name, text in PER_QUANTITY.items()
}
_BEST = dict.fromkeys(("along_run", *(name for _, name in KEPT.values())), 1.0)
_CLAIMED = {**_BEST, "edge_behind_held": 0.0, "default_behind_decays": 1.0}
PREDICTED = {
    f"{schedule}_{quantity}_{name}": value
    for schedule in SCHEDULES
    for quantity in QUANTITIES
    for name, value in _CLAIMED.items()
}
AXES = ("learning_rate", "schedule", "constraint", "target", "weight_decay")


def check(config: Config) -> None:
    """Raises a UserError unless the sweep has what is compared, and the histories are there."""
    for path in config.histories:
        if not (Path(path) / "history.npz").is_file():
            raise UserError(f"histories = {config.histories}: '{path}' is not a finished work directory of a sweep")
    other = sorted(set(config.sweep) - {*AXES, "epochs"})
    if other:
        raise UserError(f"sweep.{other[0]}: the runs differ in {', '.join(AXES)} and epochs")
    lengths = lengths_of(config)
    for rate, epochs in lengths.items():
        if len(epochs) > 1:
            raise UserError(f"sweep.epochs: runs of learning_rate {rate:g} must have one length, but have {epochs}")


def lengths_of(config: TrainingConfig) -> dict[float, list[int]]:
    """Each learning rate with the epochs of its runs, the config's own rate first."""
    columns = sweep_members(config)
    pairs = dict.fromkeys(zip(columns["learning_rate"].tolist(), columns["epochs"].tolist(), strict=True))
    rates = sorted({rate for rate, _ in pairs}, key=lambda rate: (rate != config.learning_rate, -rate))
    return {rate: [epochs for other, epochs in pairs if other == rate] for rate in rates}


def suffix(config: TrainingConfig, rate: float) -> str:
    """What the names of numbers end with: nothing for the config's own learning rate."""
    return "" if rate == config.learning_rate else f"_at_{rate:g}"


def expect(config: TrainingConfig) -> dict[str, float]:
    """What the paper claims, for each learning rate; NaN for what it does not."""
    rates = dict.fromkeys((config.learning_rate, *lengths_of(config)))
    return {name + suffix(config, rate): PREDICTED.get(name, np.nan) for rate in rates for name in NUMBERS}


def kinds(history: History) -> np.ndarray:
    """What each run is [run]: FREE, DECAYED, DEFAULT, or one of KEPT."""
    constraint, decay = history.column("constraint"), history.column("weight_decay")
    found = {"hold_at_edge": DEFAULT, **{name: kind for name, (kind, _) in KEPT.items()}}
    kept = [found.get(str(name), "") for name in constraint]
    return np.array([kind or (DECAYED if share else FREE) for kind, share in zip(kept, decay, strict=True)])


def free_run(history: History) -> int | None:
    """The run without decay, if there is one."""
    return next(iter(np.flatnonzero(kinds(history) == FREE).tolist()), None)


def settings(config: TrainingConfig, history: History) -> list[tuple[float, str, History]]:
    """The runs of each learning rate, the config's own first, and schedule."""
    found = []
    for rate in lengths_of(config):
        for schedule in SCHEDULES:
            chosen = (history["learning_rate"] == rate) & (history["schedule"] == schedule)
            if chosen.any():
                found.append((rate, schedule, history.some(chosen)))
    return found


def ends(history: History, quantity: str) -> np.ndarray:
    """What each run ends with [run, seed]."""
    return history.final_of(analysis.values_of(history, quantity))


def compare(config: TrainingConfig, history: History) -> dict[str, np.ndarray]:
    """The numbers of `expect`, one for all seeds together."""
    numbers: dict[str, float] = {}
    for rate, schedule, some in settings(config, history):
        for quantity in QUANTITIES:
            found = {**along(some, quantity), **held(some, quantity)}
            end = suffix(config, rate)
            numbers |= {f"{schedule}_{quantity}_{name}{end}": value for name, value in found.items()}
    return {name: np.array([numbers.get(name, np.nan)]) for name in expect(config)}


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
        is_free = history.column("weight_decay") == 0
        if "constraint" in history.arrays:  # older than the field are free runs alone
            is_free &= history.column("constraint") == "none"
        for run in np.flatnonzero(is_free):
            row: sweep.Row = {"from": path, "scale_factor": float(scale[run]), "seeds": history.num_seeds}
            row |= {name: history.column(name)[run].item() for name in ("learning_rate", "momentum", "batch_size")}
            found.append(row | {quantity: of_run(history, int(run), quantity)._asdict() for quantity in QUANTITIES})
    if processes.is_first():  # a file has one writer
        runs.write_json(directory / "recorded.json", {"runs": found})
    return {"elsewhere": found}


def held(history: History, quantity: str) -> dict[str, float]:
    """The best place to keep J^2 at in each way, and what the hold at the edge and the default are behind."""
    kind, scores = kinds(history), -ends(history, quantity)
    places = history.column("target")
    numbers: dict[str, float] = {}
    for name, number in KEPT.values():
        at = np.flatnonzero(kind == name)
        if len(at) and np.isfinite(scores[at]).any():
            best, least, largest = analysis.best_of(places[at], scores[at])
            numbers |= {number: best, f"{number}_least": least, f"{number}_largest": largest}
            if name == HELD:
                edge = at[np.abs(places[at] - 1).argmin()]
                best_scores = scores[at[np.nanargmax(scores[at].mean(1))]]
                numbers["edge_behind_held"] = analysis.behind(scores[edge], best_scores)
    default, fixed = np.flatnonzero(kind == DEFAULT), np.flatnonzero(np.isin(kind, (FREE, DECAYED)))
    if len(default) and len(fixed) and np.isfinite(scores[fixed]).any():
        best_fixed = fixed[np.nanargmax(scores[fixed].mean(1))]
        numbers["default_behind_decays"] = analysis.behind(scores[default[0]], scores[best_fixed])
    return numbers


def rows(config: Config, history: History) -> list[sweep.Row]:
    """One row for each run: what it is, and what it ends with."""
    del config
    place, found = history.final("j_squared"), {quantity: ends(history, quantity) for quantity in QUANTITIES}
    names = ("learning_rate", "schedule", "target", "weight_decay")
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
    kept = [kind for kind, _ in KEPT.values()]
    what = f"at {row['target']:g}" if row["kind"] in kept else f"lambda {row['weight_decay']:g}"
    if row["kind"] == DEFAULT:
        what = ""
    numbers = "J^2 {j_squared:.3f}  loss {loss:.4f}  calibrated {calibrated_loss:.4f}  error {error_rate:.4f}"
    setting = f"eta {row['learning_rate']:<5g} {row['schedule']:8}"
    return f"{setting} {row['kind']:21} {what:14} {numbers.format(**row)}"


def title(config: TrainingConfig) -> str:
    """What was run, in one line."""
    lengths = lengths_of(config)
    rates = " and ".join(f"{rate:g}" for rate in lengths)
    epochs = " and ".join(f"{one[0]}" for one in lengths.values())
    numbers = f"$\\eta$ {rates}, $\\alpha$ {config.momentum:g}, B {config.batch_size}"
    return f"{config.dataset}: {numbers}, {epochs} epochs, {cli.seeds(config)}{cli.other(config)}"


def draw(figure: Figure, config: TrainingConfig, history: History, elsewhere: list[sweep.Row]) -> None:
    """Each quantity against J^2, a row of panels for each setting; below, the optimum along runs of other settings."""
    found = settings(config, history)
    number = len(found) + bool(elsewhere)
    figure.set_size_inches(figure.get_figwidth(), _ROW_HEIGHT * number)  # each row has panels of one size
    panels = figure.subplots(number, len(QUANTITIES), squeeze=False)
    for (rate, schedule, some), line in zip(found, panels, strict=False):
        for (quantity, words), axes in zip(QUANTITIES.items(), line, strict=True):
            _panel(axes, some, quantity)
            axes.set(title=f"{schedule} learning rate {rate:g}", ylabel=words, xlabel="$J^2$")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    for (quantity, words), axes in zip(QUANTITIES.items(), panels[-1] if elsewhere else (), strict=False):
        scale = np.array([row["scale_factor"] for row in elsewhere])
        names = ("j_squared", "least", "largest")
        plotting.ranges(axes, scale, *(np.array([row[quantity][name] for row in elsewhere]) for name in names))
        axes.set(title=f"least {words} along a run", xlabel="$\\eta / ((1 - \\alpha) B)$", ylabel="$J^2$")


def _panel(axes: Axes, history: History, quantity: str) -> None:
    """One quantity: what runs of each kind end with, and the way of those without decay."""
    kind, place, values = kinds(history), history.final("j_squared"), ends(history, quantity)
    shown = (HELD, DECAYED, DEFAULT, SPHERE, HYPERBALL)
    found = {name: plotting.Ends(place[kind == name], values[kind == name]) for name in shown}
    run, way = free_run(history), np.zeros((2, 0))
    if run is not None:
        members = history.members_of_run(run)
        entries = slice(int(history["epochs"][members].max()) + 1)
        columns = history["j_squared"], analysis.values_of(history, quantity)
        way = np.array([analysis.smoothed(all_of[members, entries]).mean(0) for all_of in columns])
    plotting.against_j_squared(axes, found, (way[0], way[1]), f"{FREE}, epoch by epoch")


FIGURE = sweep.Sweep(
    name="optimum",
    size=(11, 9),
    title=title,
    numbers=NUMBERS,
    predict=lambda config, dataset: expect(config),
    compare=compare,
    draw=draw,
    rows=rows,
    describe=describe,
    check=check,
    background=recorded,
)

if __name__ == "__main__":
    sweep.main(FIGURE, Config)
