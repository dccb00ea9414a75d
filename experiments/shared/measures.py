"""How a claim is put as a number that recorded results have, with the range that bears it out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from edgechaos import analysis
from edgechaos.analysis import History
from edgechaos.theory import paper
from experiments import fig3

Summary = Mapping[str, Any]
# of a slope between seeds, relative; D of the three seeds of results/fig3-scaled: 11.19, 11.08, 11.16
SEED_SCATTER = 0.005


class Found(NamedTuple):
    """A number of each seed.

    Attributes:
      values: NaN for a seed without one.
      standard_error: of a single value, from its fit; NaN if there is none.
    """

    values: list[float]
    standard_error: float = np.nan


Measure = Callable[[Summary, History], Found]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the paper that recorded runs can bear out.

    Attributes:
      text: the statement, and the number that tells.
      results: the work directory that has it.
      paper: the paper's number, as it is written.
      allowed: where that number must lie, with its 95 % interval.
      why: the reason for that range.
      settings: "paper", or how the runs differ from it.
      measure: (summary, history) -> the number of each seed.
      alternative: a number that would be found if the claim were false.
      remark: what else is to be known.
      shown: how the numbers are written.
      brief: the statement in README's table; "" for none.
    """

    text: str
    results: str
    paper: str
    allowed: tuple[float, float]
    why: str
    settings: str
    measure: Measure
    alternative: float
    remark: str = ""
    shown: str = ".3g"
    brief: str = ""


def around(value: float, share: float) -> tuple[float, float]:
    """A range of a share on both sides."""
    return value * (1 - share), value * (1 + share)


def at_most(value: float) -> tuple[float, float]:
    """What may also be 0, or less by its error."""
    return -np.inf, value


def at_least(value: float) -> tuple[float, float]:
    """What has no upper end."""
    return value, np.inf


def of_summary(name: str, error: str | None = None, scatter: float = 0.0) -> Measure:
    """A number of every seed in summary.json, and perhaps the error of its fit with the scatter between seeds."""

    def measure(summary: Summary, history: History) -> Found:
        del history
        values = known(summary["members"][name])
        if error is None:
            return Found(values)
        return Found(values, float(np.hypot(known(summary["members"][error])[0], scatter * values[0])))

    return measure


def known(values: list[float | None]) -> list[float]:
    """NaN for what JSON has as null."""
    return [np.nan if value is None else value for value in values]


def deviation_along(name: str, largest: float = np.inf) -> Measure:
    """Largest relative deviation from Eq. 5 of Fig. 3's runs that differ in `name` alone, up to a value of it."""

    def measure(summary: Summary, history: History) -> Found:
        measured = analysis.measure(history)
        runs = [run for run in history.varied(name, fig3.PANELS) if history.column(name)[run] <= largest]
        constants, errors = (
            history.by_seed(measured[key])[runs] for key in ("constant_d", "constant_d_standard_error")
        )
        deviation = np.abs(constants / np.array(summary["members"]["constant_d"]) - 1)
        worst = int(deviation[:, 0].argmax())
        error = np.hypot(errors[worst, 0] / constants[worst, 0], SEED_SCATTER)
        return Found(deviation.max(0).tolist(), float(error))

    return measure


def beside_the_authors(summary: Summary, history: History) -> Found:
    """Largest relative difference from the authors' recorded slopes of Fig. 3b."""
    del summary
    measured = analysis.measure(history)
    eta = history.column("learning_rate")
    runs = [run for run in history.varied("learning_rate", fig3.PANELS) if eta[run] in paper.SLOPES]
    slopes, errors = (history.by_seed(measured[key])[runs] for key in ("slope_a", "slope_a_standard_error"))
    theirs = np.array([paper.SLOPES[value] for value in eta[runs]])
    difference = np.abs(slopes / theirs[:, None] - 1)
    worst = int(difference[:, 0].argmax())
    return Found(difference.max(0).tolist(), float(np.hypot(errors[worst, 0] / theirs[worst], SEED_SCATTER)))


def of_free_runs(measure: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
    """A number of J^2 and epochs, for each seed of the first run without decay."""

    def measured(summary: Summary, history: History) -> Found:
        del summary
        first = int(np.flatnonzero(history.column("weight_decay") == 0)[0])
        members = history.members_of_run(first)
        pairs = zip(history["j_squared"][members], history.elapsed[members], strict=True)
        return Found([measure(j_squared, epochs) for j_squared, epochs in pairs])

    return measured


def curvature(j_squared: np.ndarray, epochs: np.ndarray) -> float:
    """Slopes of three thirds of the way from the first J^2 to 1: their largest relative deviation from the mean."""
    starts = np.linspace(j_squared[0], 1, 4)
    at = np.array([np.interp(start, j_squared, epochs) for start in starts])
    slopes = np.diff(starts) / np.diff(at)
    return float(np.abs(slopes / slopes.mean() - 1).max())


def slope_beyond(j_squared: np.ndarray, epochs: np.ndarray) -> float:
    """Mean slope from J^2 = 1 to 2 over that up to 1."""
    to_edge, to_two = (analysis.epoch_at(j_squared, target) for target in (1.0, 2.0))
    return float((1 / (to_two - to_edge)) / ((1 - j_squared[0]) / to_edge))


def at_optimum(quantity: str) -> Measure:
    """J^2 at the least smoothed value along each seed of the first run."""

    def measure(summary: Summary, history: History) -> Found:
        del summary
        members = history.members_of_run(0)
        pairs = zip(history["j_squared"][members], analysis.values_of(history, quantity)[members], strict=True)
        return Found([analysis.along_runs(place[None], values[None]).j_squared for place, values in pairs])

    return measure


def accuracy_behind(weight_decay: float) -> Measure:
    """Accuracy with a decay less that with the best of all others (by their mean), for each seed."""

    def measure(summary: Summary, history: History) -> Found:
        del summary
        accuracy, decays = history.final("test_accuracy"), history.column("weight_decay")
        this = int(np.abs(decays - weight_decay).argmin())
        others = np.delete(accuracy, this, axis=0)
        return Found((accuracy[this] - others[others.mean(1).argmax()]).tolist())

    return measure


def largest_j0(summary: Summary, history: History) -> Found:
    """Largest |J0| / J along each seed's path."""
    del summary
    return Found(np.nanmax(np.abs(history["j0"]) / np.sqrt(history["j_squared"]), axis=1).tolist())


def ratio(name: str, other: str) -> Measure:
    """Of two numbers of each seed."""

    def measure(summary: Summary, history: History) -> Found:
        del history
        pair = (known(summary["members"][one]) for one in (name, other))
        return Found([one / another for one, another in zip(*pair, strict=True)])

    return measure


def over_prediction(name: str) -> Measure:
    """A number of each seed over its prediction."""

    def measure(summary: Summary, history: History) -> Found:
        del history
        return Found([value / summary["predicted"][name] for value in known(summary["members"][name])])

    return measure
