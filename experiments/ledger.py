"""The ledger of the reproduction: each claim of the paper, its number, ours, and the verdict, from recorded results.

python -m experiments.ledger [--results=results] [--output=docs/REPRODUCTION.md]

No number is typed by hand: the paper's stand in `CLAIMS`, ours are read from the work directories below `--results`.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from edgechaos.analysis import History
from edgechaos.errors import UserError
from edgechaos.files import atomic_write, read_npz
from edgechaos.theory import paper
from edgechaos.theory.scaling import scale_factor, weight_decay_at_edge
from experiments import fig3

_RESULTS = flags.DEFINE_string("results", "results", "folder with a work directory per figure")
_OUTPUT = flags.DEFINE_string("output", "docs/REPRODUCTION.md", "file to write")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of the paper that a recorded run can bear out.

    Attributes:
      text: the statement.
      figure: whose results tell.
      paper: the paper's number.
      measure: (summary, history) -> value for each seed.
      tolerance: of |value - paper| for "reproduced"; twice as much is "with a deviation".
      why: one sentence on what was found, or on what is missing.
      shown: how the numbers are written.
    """

    text: str
    figure: str
    paper: float
    measure: Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], list[float]]
    tolerance: float
    why: str
    shown: str = ".3g"


def member(name: str) -> Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], list[float]]:
    """A number of every member of summary.json."""
    return lambda summary, _: _known(summary["members"][name])


def _largest_j0(_: Mapping[str, Any], history: Mapping[str, np.ndarray]) -> list[float]:
    """Largest |J0| / J along each member's path."""
    return np.nanmax(np.abs(history["j0"]) / np.sqrt(history["j_squared"]), axis=1).tolist()


def _deviation_along(name: str) -> Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], list[float]]:
    """Largest relative deviation from Eq. 5, for each seed, of the runs that differ in `name` alone."""

    def measure(summary: Mapping[str, Any], history: Mapping[str, np.ndarray]) -> list[float]:
        chosen = [summary["runs"][run] for run in History(history, paper.NUM_SAMPLES).varied(name, fig3.PANELS)]
        scale = [scale_factor(row["learning_rate"], row["momentum"], row["batch_size"]) for row in chosen]
        constants = np.array([row["slope_a_over_seeds"] for row in chosen]) / np.array(scale)[:, None]
        return np.abs(constants / np.array(summary["members"]["constant_d"]) - 1).max(0).tolist()

    return measure


def _eq_9(summary: Mapping[str, Any], _: Mapping[str, np.ndarray]) -> list[float]:
    """lambda* of Eq. 9 with each member's D and the S of Fashion-MNIST."""
    return [float(weight_decay_at_edge(value, paper.NUM_SAMPLES)) for value in summary["members"]["constant_d"]]


CLAIMS = (
    Claim(
        "the simulated boundary is that of Eq. 3 (Fig. 1b): share of cells that agree, away from it",
        "fig1-scaled",
        1.0,
        member("agreement_away_from_edge"),
        0.01,
        "next to the edge 500 iterations and N decide, see the notes",
        ".4f",
    ),
    Claim(
        "slope A of Fig. 3a, from the authors' recorded D",
        "fig2",
        paper.CONSTANT_D * paper.SCALE_FACTOR,
        member("slope_a"),
        paper.CONSTANT_D * paper.SCALE_FACTOR * 0.03,
        "one run at momentum 0.5, where D is a little higher",
    ),
    Claim(
        "constant D of Eq. 5 (authors' record, 1 % spread)",
        "fig2",
        paper.CONSTANT_D,
        member("constant_d"),
        paper.CONSTANT_D * 0.03,
        "as above",
        ".4g",
    ),
    Claim(
        "A is linear in eta (Fig. 3b), each run up to J = 1: largest deviation over a factor 10",
        "fig3-scaled",
        0.0,
        _deviation_along("learning_rate"),
        0.1,
        "larger scale factors than the paper's, so that runs up to J = 1 are affordable",
        ".3f",
    ),
    Claim(
        "A is linear in 1/(1 - alpha) (Fig. 3c), each run up to J = 1: largest deviation up to alpha = 0.9",
        "fig3-scaled",
        0.0,
        _deviation_along("momentum"),
        0.1,
        "as above",
        ".3f",
    ),
    Claim(
        "A is linear in 1/B (Fig. 3d), each run up to J = 1: largest deviation over a factor 8",
        "fig3-scaled",
        0.0,
        _deviation_along("batch_size"),
        0.1,
        "as above",
        ".3f",
    ),
    Claim(
        "equal scale factors have one trajectory (Fig. 4): largest range of J^2 below 1",
        "fig4-scaled",
        0.0,
        member("range_in_ordered_phase"),
        0.05,
        "relative to the mean over the runs",
        ".3f",
    ),
    Claim(
        "rescaled epochs collapse in the ordered phase (Fig. 5): largest range of J^2 below 1",
        "fig5-scaled",
        0.0,
        member("range_in_ordered_phase"),
        0.05,
        "scaled: the two largest scale factors, beyond the paper's, leave the others, which do collapse; see the notes",
        ".3f",
    ),
    Claim(
        "and not in chaos (Fig. 5): range at the end, paper: not small",
        "fig5-scaled",
        1.0,
        member("last_range"),
        0.9,
        "read off: any range above 10 % bears it out",
        ".2f",
    ),
    Claim(
        "test loss is least near J = 1 (Fig. 2): J^2 there",
        "fig2",
        1.0,
        member("j_squared_at_optimal_epoch"),
        0.15,
        "the minimum is flat: neighbouring epochs differ by less than their noise",
        ".3f",
    ),
    Claim(
        "J0 stays near 0 (Fig. 2a): largest absolute J0 / J",
        "fig2",
        0.0,
        _largest_j0,
        0.15,
        "the edge bends at 1",
    ),
    Claim("Eq. 9 gives lambda* = 5e-5", "fig2", 5e-5, _eq_9, 5e-6, "with the D measured here"),
    Claim(
        "lambda = 9e-5 ends at the edge (Fig. 6): lambda that ends at J^2 = 1",
        "fig6-scaled",
        9e-5,
        member("weight_decay_at_edge"),
        1e-5,
        "interpolated between the decays of the grid",
    ),
    Claim(
        "accuracy is best at the edge (Fig. 6): best lambda",
        "fig6-scaled",
        9e-5,
        member("best_weight_decay"),
        2e-5,
        "scaled: larger steps cost accuracy where the decay is large; the top is flat, its range is in summary.json",
    ),
    Claim(
        "the distance is a property of the weights (Fig. 7): image's share of its variance, 500 iterations",
        "fig7",
        0.0,
        member("late_input_share_at_epoch-200"),
        0.05,
        "after the paper's 50 iterations it is not, see the notes",
        ".3f",
    ),
    Claim(
        "and (J0, J) tell it: distance at epoch 200 in units of the predicted one",
        "fig7",
        1.0,
        lambda summary, _: [
            value / summary["predicted"]["late_distance_at_epoch-200"]
            for value in summary["members"]["late_distance_at_epoch-200"]
        ],
        0.1,
        "with the kernel's entries shuffled it is the predicted one: training leaves structure in the weights",
    ),
    Claim(
        "lambda* does not depend on eta, alpha, B (Eq. 9)",
        "independence",
        0.0,
        member("range"),
        0.15,
        "largest less least over six settings with scale factors from half to twice, relative to their mean",
    ),
)


# data set -> work directories of the guideline and of Fig. 6
DATA_SETS = {
    "Fashion-MNIST": ("guideline", "fig6-scaled"),
    "MNIST": ("guideline-mnist", "fig6-mnist"),
    "digits (N = 64)": ("guideline-digits", "fig6-digits"),
}
DATA_SETS_HEAD = """
## Data sets

D and the decay that holds J = 1, by the guideline's probe of about 30 epochs and by long runs whose decay ends there
(Fig. 6); mean and standard deviation over seeds. `--verify` trains with the probe's decay.

| data set | D | λ, Eq. 9 | λ, guideline | λ, long runs | J² of the verification | commands |
| --- | --- | --- | --- | --- | --- | --- |
"""
HEAD = """# Ledger of the reproduction

Written by `python -m experiments.ledger` from the recorded results: the paper's number (or that of the authors'
record), ours with its standard deviation over seeds where there are several, and the difference. A claim is
reproduced if the difference is within the tolerance that `experiments/ledger.py` states, and reproduced with a
deviation within twice that.

| claim | paper | ours | difference | command | seconds, processor | verdict | remark |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def mean(values: list[float]) -> float:
    """Over the seeds for which there is a number."""
    known = np.array(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def with_spread(values: list[float], shown: str) -> str:
    """Mean, and standard deviation where there are several; '-' where there is none."""
    if not np.isfinite(values).any():
        return "-"
    text = format(mean(values), shown)
    return text + (f" ± {float(np.nanstd(values, ddof=1)):.2g}" if np.isfinite(values).sum() > 1 else "")


def verdict(claim: Claim, values: list[float]) -> str:
    """What the mean over the seeds says of a claim."""
    gap = abs(mean(values) - claim.paper)
    if np.isnan(gap):
        return "not measured"
    if gap <= claim.tolerance:
        return "reproduced"
    return "reproduced with a deviation" if gap <= 2 * claim.tolerance else "not reproduced"


def row(claim: Claim, results: Path) -> str:
    """One line of the table."""
    folder = results / claim.figure
    paper = format(claim.paper, claim.shown)
    if not (folder / "summary.json").is_file():
        return f"| {claim.text} | {paper} | - | - | - | - | not run | {claim.why} |"
    summary = json.loads((folder / "summary.json").read_text())
    history = read_npz(folder / "history.npz") if (folder / "history.npz").exists() else {}
    process = _first_process(folder)
    values = claim.measure(summary, history)
    ours = with_spread(values, claim.shown)
    gap = format(mean(values) - claim.paper, "+" + claim.shown)
    seconds = f"{history['seconds'].sum():.0f} s, " if "seconds" in history else ""
    where = f"`{process['command']}` | {seconds}{process['processor']}, {process['cores']} cores"
    return f"| {claim.text} | {paper} | {ours} | {gap} | {where} | {verdict(claim, values)} | {claim.why} |"


def data_set_row(name: str, results: Path) -> str:
    """One line of the table of data sets."""
    cells, commands = [], []
    numbers = (("constant_d", "open_loop", "weight_decay"), ("weight_decay_at_edge",))
    for folder, wanted in zip(DATA_SETS[name], numbers, strict=True):
        summary = results / folder / "summary.json"
        found = json.loads(summary.read_text())["members"] if summary.is_file() else {}
        cells += [with_spread(_known(found.get(number, [])), ".3g") for number in wanted]
        if found:
            commands.append(f"`{_first_process(results / folder)['command']}`")
        if "weight_decay" in wanted:
            verified = with_spread(_known(found.get("verified_j_squared", [])), ".2f")
    return f"| {' | '.join([name, *cells, verified, ', '.join(commands) or 'not run'])} |"


def _known(values: list[float | None]) -> list[float]:
    """NaN for what JSON has as null."""
    return [np.nan if value is None else value for value in values]


def _first_process(folder: Path) -> dict[str, Any]:
    """Who began a work directory."""
    return json.loads((folder / "provenance.json").read_text())["processes"][0]


def text(results: Path) -> str:
    """The whole ledger as Markdown."""
    claims = [row(claim, results) for claim in CLAIMS]
    data_sets = [data_set_row(name, results) for name in DATA_SETS]
    return HEAD + "\n".join(claims) + "\n" + DATA_SETS_HEAD + "\n".join(data_sets) + "\n"


def main(arguments: list[str]) -> None:
    """Command line."""
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument '{arguments[1]}'; flags begin with --")
    results = Path(_RESULTS.value)
    if not results.is_dir():
        raise app.UsageError(
            f"results = '{results}': there is no such folder; give the command in the root of the clone"
        )
    output = Path(_OUTPUT.value)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        atomic_write(output, lambda file: file.write(text(results).encode()))
    except UserError as error:
        raise app.UsageError(str(error)) from error
    print(f"ledger: {output}")


if __name__ == "__main__":
    app.run(main)
