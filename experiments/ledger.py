"""The ledger of the reproduction: each claim of the paper, its number, ours, and the verdict, from recorded results.

python -m experiments.ledger [--results=results] [--output=docs/REPRODUCTION.md]

The paper's numbers and the ranges stand in `experiments/shared/claims.py`; ours are read from the work directories
below `--results`.
"""

import json
import shlex
from pathlib import Path

import numpy as np
from absl import app, flags

from edgechaos import analysis
from edgechaos.analysis import History
from edgechaos.errors import UserError
from edgechaos.files import atomic_write, read_npz
from edgechaos.theory import paper
from experiments.shared.claims import CLAIMS
from experiments.shared.measures import Claim, Found, known

_RESULTS = flags.DEFINE_string("results", "results", "folder with a work directory per figure")
# where a run is kept, how often, and by how many processes
_WITHOUT_BEARING = (
    *("--workdir", "--config.checkpoint_seconds"),
    *("--distributed", "--coordinator", "--num_processes", "--process_index"),
)
_OUTPUT = flags.DEFINE_string("output", "docs/REPRODUCTION.md", "file to write")


# data set -> work directories of the guideline and of Fig. 6
DATA_SETS = {
    "Fashion-MNIST": ("guideline", "fig6-scaled"),
    "MNIST": ("guideline-mnist", "fig6-mnist"),
    "digits (N = 64)": ("guideline-digits", "fig6-digits"),
}
DATA_SETS_HEAD = """
## Data sets

The growth constant D, and the weight decay λ that holds a network at the edge, J = 1, from three sources: Eq. 9, the
guideline's probe (a training run of about 30 epochs), and long runs (Fig. 6), interpolated to the λ whose run ends at
J² = 1. Values are means and standard deviations over seeds. The verification (`--verify`) trains with the λ of the
probe and gives J² at the end. For MNIST and the digits the λ of the probe is an upper bound, because it was still
falling when the probe ended.

| data set | D | λ, Eq. 9 | λ, guideline | λ, long runs | J² of the verification | commands |
| --- | --- | --- | --- | --- | --- | --- |
"""
HEAD = """# Ledger of the reproduction

This page is written by `python -m experiments.ledger` from the recorded results. Each claim of the paper is expressed
by one number, and for each number a range is given that agrees with the claim. If the 95 % confidence interval of our
number lies completely within this range, the claim is *reproduced*. If the interval lies completely outside, the
claim is *contradicted*. Otherwise it is *undecided*, and the table says how many seeds would decide it if mean and
spread stayed the same.

- The column "allowed, why" has the range and the reason for it.
- The interval comes from the scatter of the seeds. If there is only one seed and the number comes from a fit, the
  interval is that of the fit, together with the 0.5 % by which the slopes of three seeds scatter. Otherwise one seed
  decides nothing.
- The interval is the mean plus and minus a multiple of its standard error. For a number that cannot be negative, such
  as a range, it may reach below 0.
- A range, where it is a number of ours, is the largest minus the smallest value, divided by the mean.
- "(ours)" marks claims or numbers that are not in the paper; those of the "authors' record" are in files that belong to
  their code.
- "Paper" settings are those of the paper. "Scaled" settings have a larger scale factor, learning rate / ((1 -
  momentum) batch size), and proportionally fewer epochs.
- For each claim a test invents a result that would contradict it and applies the same rule. The rule must not call it
  reproduced. Some remarks name this alternative.

| claim, its number | paper | ours, 95 % interval | allowed, why | settings | seeds | verdict | command | remark |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def with_spread(values: list[float], shown: str) -> str:
    """Mean, and standard deviation where there are several; '-' where there is none."""
    if not np.isfinite(values).any():
        return "-"
    text = format(analysis.known_mean(np.array(values)), shown)
    return text + (f" ± {float(np.nanstd(values, ddof=1)):.2g}" if np.isfinite(values).sum() > 1 else "")


def row(claim: Claim, results: Path) -> str:
    """One line of the table."""
    folder = results / claim.results
    allowed = f"{range_in_words(claim)}: {claim.why}"
    ours, seeds, verdict, command = "-", "0", analysis.MISSING, "-"
    if (folder / "summary.json").is_file():
        ours, seeds, verdict = judged(claim, folder)
        command = f"`{_command(folder)}`"
    cells = [claim.text, claim.paper, ours, allowed, claim.settings, seeds, verdict, command, claim.remark]
    return f"| {' | '.join(cells)} |"


def brief_row(claim: Claim, results: Path) -> str:
    """One line of README's table."""
    ours, seeds, verdict = judged(claim, results / claim.results)
    cells = [claim.brief, claim.settings, seeds, claim.paper, range_in_words(claim), ours, verdict]
    return f"| {' | '.join(cells)} |"


def judged(claim: Claim, folder: Path) -> tuple[str, str, str]:
    """Ours, seeds and verdict, in words."""
    found = measured(claim, folder)
    interval = analysis.interval(found.values, found.standard_error)
    verdict = analysis.verdict(interval, claim.allowed)
    if verdict == analysis.UNDECIDED:
        needed = analysis.seeds_to_decide(found.values, claim.allowed)
        verdict += f" ({needed} seeds would decide)" if needed else ""
    seeds = f"{interval.num_seeds}{', by the fit' if _is_fit(found) else ''}"
    return in_words(interval, claim.shown), seeds, verdict


def range_in_words(claim: Claim) -> str:
    """What a claim allows."""
    low, high = claim.allowed
    if np.isinf(low):
        return f"at most {high:{claim.shown}}"
    return f"{low:{claim.shown}} to {high:{claim.shown}}" if np.isfinite(high) else f"at least {low:{claim.shown}}"


def measured(claim: Claim, folder: Path) -> Found:
    """The claim's number in a work directory."""
    summary = json.loads((folder / "summary.json").read_text())
    arrays = read_npz(folder / "history.npz") if (folder / "history.npz").exists() else {}
    return claim.measure(summary, History(arrays, paper.NUM_SAMPLES))


def _is_fit(found: Found) -> bool:
    """Whether the interval is that of a fit."""
    return np.isfinite(found.values).sum() == 1 and bool(np.isfinite(found.standard_error))


def in_words(interval: analysis.Interval, shown: str) -> str:
    """A mean and its interval; '-' where there is none."""
    if np.isnan(interval.mean):
        return "-"
    ends = f" [{interval.low:{shown}}, {interval.high:{shown}}]" if np.isfinite(interval.low) else ""
    return f"{interval.mean:{shown}}{ends}"


def data_set_row(name: str, results: Path) -> str:
    """One line of the table of data sets."""
    cells, commands = [], []
    numbers = (("constant_d", "open_loop", "weight_decay"), ("weight_decay_at_edge",))
    for folder, wanted in zip(DATA_SETS[name], numbers, strict=True):
        summary = results / folder / "summary.json"
        found = json.loads(summary.read_text())["members"] if summary.is_file() else {}
        cells += [with_spread(known(found.get(number, [])), ".3g") for number in wanted]
        if found:
            commands.append(f"`{_command(results / folder)}`")
        if "weight_decay" in wanted:
            verified = with_spread(known(found.get("verified_j_squared", [])), ".2f")
    return f"| {' | '.join([name, *cells, verified, ', '.join(commands) or 'not run'])} |"


def _command(folder: Path) -> str:
    """What began a work directory, without the flags that do not bear on the result."""
    words = shlex.split(json.loads((folder / "provenance.json").read_text())["processes"][0]["command"])
    return shlex.join(word for word in words if not word.startswith(_WITHOUT_BEARING))


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
