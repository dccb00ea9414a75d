"""Sentences of the pages that quote recorded results, and the numbers in them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgechaos import analysis
from edgechaos.analysis import History, decays
from edgechaos.files import read_npz
from edgechaos.theory import paper
from experiments import fig3
from experiments.shared.tables import RESULTS

Summary = Mapping[str, Any]


class Quote(NamedTuple):
    """A sentence, or a part of one, that quotes recorded numbers.

    Attributes:
      page: the file that it is in.
      folder: the work directory below results/ that has the numbers.
      text: {name:format} stands for a number; line breaks may be anywhere.
    """

    page: str
    folder: str
    text: str


def _of_fig2(summary: Summary, history: History) -> dict[str, float]:
    """The slope of J^2 along the run, the scatter of the test loss, and the end of learning; means over the seeds."""
    j_squared, loss = history["j_squared"], history["test_loss"]
    found = {f"slope_{a}_{b}": ((j_squared[:, b] - j_squared[:, a]) / (b - a)).mean() for a, b in _SPANS}
    least = np.nanargmin(loss, axis=1)
    near = [one[max(0, at - 10) : at + 11] / one[at] - 1 for one, at in zip(loss, least, strict=True)]
    found["worst_neighbour"] = 100 * np.mean([np.nanmax(values) for values in near])
    found["learned_at"] = np.mean([np.argmax(one > 0.9999) for one in history["train_accuracy"]])
    for name in ("loss", "calibrated_loss"):
        best = analysis.along_runs(j_squared, analysis.values_of(history, name))
        found |= {f"{name}_at": best.j_squared, f"{name}_from": best.least, f"{name}_to": best.largest}
    at_optimum = [one[at] for one, at in zip(history["test_accuracy"], least, strict=True)]
    return {**found, "accuracy_at_optimum": np.mean(at_optimum)}


_SPANS = ((5, 25), (50, 100), (200, 300))


def _of_fig3(summary: Summary, history: History) -> dict[str, float]:
    """Percent by which slopes, as means over the seeds, deviate from Eq. 5 along each hyperparameter."""
    deviation = 100 * np.array([run["deviation"] for run in summary["runs"]])
    momentum = history.column("momentum")
    runs = {name: history.varied(name, fig3.PANELS) for name in fig3.PANELS}
    found = {f"{name}_deviation": np.abs(deviation[chosen]).max() for name, chosen in runs.items()}
    moderate = runs["momentum"][momentum[runs["momentum"]] <= 0.85]
    found["momentum_deviation"] = np.abs(deviation[moderate]).max()
    found["last_momentum_deviation"] = deviation[runs["momentum"][momentum[runs["momentum"]].argmax()]]
    eta, slopes = history.column("learning_rate"), [run["slope_a"] for run in summary["runs"]]
    pairs = [(slopes[run], paper.SLOPES[eta[run]]) for run in runs["learning_rate"] if eta[run] in paper.SLOPES]
    beside = [100 * (ours / theirs - 1) for ours, theirs in pairs]
    return {**found, "num_runs": len(slopes), "least_beside": min(beside), "most_beside": max(beside)}


def _of_fig5(summary: Summary, history: History) -> dict[str, float]:
    """Largest range below J^2 = 1 of the three and the four smallest scale factors."""
    rising = np.sort(np.unique(history.scale_factor))
    some = {n: history.some(history.scale_factor <= rising[n - 1] * (1 + 1e-9)) for n in (3, 4)}
    ranges = {n: analysis.collapse_ranges(one)["range_in_ordered_phase"].mean() for n, one in some.items()}
    return {f"range_of_{n}": 100 * value for n, value in ranges.items()}


def _of_theories(summary: Summary, history: History) -> dict[str, float]:
    """After equally many rescaled epochs: ranges of decays and of accuracies at 0.02, and growth within the law."""
    rescaled = history.some(decays.lengths(history)["rescaled"])
    within = rescaled.some(
        (rescaled["weight_decay"] == 0) & (rescaled["learning_rate"] < history["learning_rate"].max())
    )
    growth, error = analysis.power_law(within["learning_rate"], analysis.measure(within)["slope_a"])
    _, at_edge, _, least = decays.by_rate(rescaled)
    papers = rescaled.some(rescaled["learning_rate"] == paper.LEARNING_RATE)
    accuracy, decay = papers.final("test_accuracy")[:, 0], papers.column("weight_decay")
    ends = {"edge": at_edge, "loss": least, "flat": accuracy[(decay >= 3e-5) & (decay <= 1.2e-4)]}
    found = {f"{name}_{end}": getattr(np, f"nan{end}")(one) for name, one in ends.items() for end in ("min", "max")}
    edge_range = 100 * (found["edge_max"] - found["edge_min"]) / np.nanmean(at_edge)
    return {**found, "edge_range": edge_range, "growth_within": growth, "growth_within_error": error}


def _of_independence(summary: Summary, history: History) -> dict[str, float]:
    """The least and the largest decay over the settings."""
    found = [run["decay"] for run in summary["runs"]]
    return {"decay_min": min(found), "decay_max": max(found), "range_percent": 100 * summary["measured"]["range"]}


def _of_rivals(summary: Summary, history: History | None) -> dict[str, float]:
    """Percentage points from the hold to the best row."""
    best = max(row["accuracy"] for row in summary["rows"])
    return {"gap": 100 * (best - summary["measured"]["final_accuracy"])}


def _of_deep(summary: Summary, history: History | None) -> dict[str, float]:
    """Percentage points from the hold to the search."""
    found = summary["measured"]
    gaps = {
        f"{name}_gap": 100 * (found[f"{name}_searched_accuracy"] - found[f"{name}_held_accuracy"]) for name in _KINDS
    }
    return {**gaps, "cost": 1 / found["tanh_share_of_cost"]}


_KINDS = ("tanh", "relu")


def _of_guideline(summary: Summary, history: History | None) -> dict[str, float]:
    """Percent by which the verification ends below the edge."""
    return {"below": 100 * (1 - summary["measured"]["verified_j_squared"])}


MORE: Mapping[str, Callable[..., dict[str, float]]] = {
    "fig2": _of_fig2,
    "fig3": _of_fig3,
    "fig3-scaled": _of_fig3,
    "fig5-scaled": _of_fig5,
    "theories": _of_theories,
    "independence": _of_independence,
    "rivals": _of_rivals,
    "deep": _of_deep,
    "guideline": _of_guideline,
}


README = "README.md"
QUOTES = (
    Quote(README, "rivals", "the hold is {gap:.1f} percentage points behind the best"),
    Quote(RESULTS, "fig2", "errors are {slope_a_standard_error:.5f} (A) and {constant_d_standard_error:.2f} (D)"),
    Quote(RESULTS, "fig2", "a single epoch can lie {worst_neighbour:.0f} % above it"),
    Quote(
        RESULTS,
        "fig2",
        "the raw loss is least at J² = {loss_at:.2f} (within 1 % from {loss_from:.2f} to {loss_to:.2f})",
    ),
    Quote(
        RESULTS,
        "fig2",
        "temperature, is least at J² = {calibrated_loss_at:.2f} "
        "(within 1 % from {calibrated_loss_from:.2f} to {calibrated_loss_to:.2f})",
    ),
    Quote(RESULTS, "fig2", "It is {accuracy_at_optimum:.3f} at the epoch of least loss"),
    Quote(RESULTS, "fig2", "The mean slope is {slope_5_25:.4f} between epochs 5 and 25, {slope_50_100:.4f} between"),
    Quote(RESULTS, "fig2", "just beyond the edge, and {slope_200_300:.4f} between epochs 200 and 300"),
    Quote(RESULTS, "fig2", "first exceeds 0.9999 at epoch {learned_at:.0f}."),
    Quote(
        RESULTS,
        "fig3-scaled",
        "Their slopes agree with Eq. 5 within {learning_rate_deviation:.1f} % along η, "
        "{batch_size_deviation:.1f} % along 1/B and {momentum_deviation:.1f} % along",
    ),
    Quote(RESULTS, "fig3-scaled", "that slope is {last_momentum_deviation:.1f} % too large"),
    Quote(RESULTS, "fig3", "one seed, {num_runs:.0f} of the 29 runs"),
    Quote(
        RESULTS,
        "fig3",
        "These slopes agree with Eq. 5 within {learning_rate_deviation:.1f} % along η, "
        "{batch_size_deviation:.1f} % along 1/B and {momentum_deviation:.1f} % along",
    ),
    Quote(RESULTS, "fig3", "= 0.95 the slope is {last_momentum_deviation:.1f} % too large"),
    Quote(RESULTS, "fig3", "Ours are {least_beside:.1f} to {most_beside:.1f} % larger"),
    Quote(
        RESULTS,
        "fig5-scaled",
        "scale factors agree within {range_of_3:.0f} %, the four smallest within {range_of_4:.0f} %",
    ),
    Quote(
        RESULTS, "theories", "from 3e-5 to 1.2e-4 the accuracies are nearly equal ({flat_min:.4f} to {flat_max:.4f})"
    ),
    Quote(
        RESULTS,
        "independence",
        "λ that ends at J² = 1 is {decay_min:.2e} to {decay_max:.2e}, a range of {range_percent:.1f} %",
    ),
    Quote(RESULTS, "theories", "are half as long, and give {edge_min:.2e} to {edge_max:.2e}"),
    Quote(
        RESULTS, "theories", "it is {edge_min:.2e} to {edge_max:.2e}, a range of {edge_range:.0f} %, over a factor 16"
    ),
    Quote(RESULTS, "theories", "the exponent is {growth_within:.2f} ± {growth_within_error:.2f}."),
    Quote(RESULTS, "theories", "It falls from {loss_max:.1e} to {loss_min:.1e} as η rises"),
    Quote(
        RESULTS,
        "fig6-scaled",
        "The long runs of Fig. 6 give {weight_decay_at_edge:.2e} ± {weight_decay_at_edge_spread:.1e}",
    ),
    Quote(
        RESULTS,
        "relu_adam-scaled",
        "with half the decay, {weight_decay_at_edge:.2e} ± {weight_decay_at_edge_spread:.1e}",
    ),
    Quote(RESULTS, "guideline", "The trained networks end {below:.0f} % below the edge"),
    Quote(RESULTS, "rivals", "is {gap:.1f} percentage points ({behind_best:.1f} standard errors) behind the best"),
    Quote(RESULTS, "deep", "are {tanh_gap:.1f} (tanh) and {relu_gap:.1f} percentage points (ReLU) behind the search"),
)


def numbers(folder: Path) -> dict[str, float]:
    """What can be quoted of a work directory: measured NAME, its NAME_spread over the seeds, and what follows.

    Raises:
      FileNotFoundError: there is no summary.json.
    """
    summary = json.loads((folder / "summary.json").read_text())
    spread = {f"{name}_spread": value for name, value in summary["standard_deviation_over_seeds"].items()}
    follows = MORE.get(folder.name)
    if follows is None:
        return summary["measured"] | spread
    path = folder / "history.npz"
    history = History(read_npz(path), paper.NUM_SAMPLES) if path.is_file() else None
    return summary["measured"] | spread | follows(summary, history)
