import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from edgechaos import analysis
from edgechaos.analysis import History
from edgechaos.theory import paper
from experiments import ledger
from experiments.shared import measures
from tests.processes import ROOT

CLAIM = measures.Claim(
    text="text",
    results="fig9",
    paper="10",
    allowed=(9.0, 11.0),
    why="why",
    settings="paper",
    measure=measures.of_summary("number"),
    alternative=12.0,
    remark="remark",
)


INCIDENTAL = "--workdir=runs/mine --distributed --coordinator=localhost:1234 --config.checkpoint_seconds=9"


def recorded(folder, **members):
    """A work directory with a summary alone."""
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"members": members}))
    command = f"python -m experiments.{folder.name} --config.epochs=9 {INCIDENTAL}"
    process = {"command": command, "processor": "a machine", "cores": 2}
    (folder / "provenance.json").write_text(json.dumps({"processes": [process]}))


def test_row_reads_what_was_recorded(tmp_path):
    assert "| not measured | - | remark |" in ledger.row(CLAIM, tmp_path)
    recorded(tmp_path / "fig9", number=[11.0, 11.4, None], error=[0.1, 0.1, 0.1])
    row = ledger.row(CLAIM, tmp_path)
    # 11.2 +- 12.7 sqrt(0.08 / 2)
    assert row.startswith("| text | 10 | 11.2 [8.66, 13.7] | 9 to 11: why | paper | 2 | undecided (")
    # the command without what does not bear on the result
    assert row.endswith("| `python -m experiments.fig9 --config.epochs=9` | remark |")


def test_one_seed_is_judged_by_its_fit(tmp_path):
    recorded(tmp_path / "fig9", number=[10.5], error=[0.1])
    assert "| 10.5 | 9 to 11: why | paper | 1 | undecided |" in ledger.row(CLAIM, tmp_path)
    by_fit = dataclasses.replace(CLAIM, measure=measures.of_summary("number", "error"))
    assert "| 10.5 [10.3, 10.7] | 9 to 11: why | paper | 1, by the fit | reproduced |" in ledger.row(by_fit, tmp_path)
    bounded = dataclasses.replace(by_fit, allowed=measures.at_most(9.0))
    assert "| at most 9: why | paper | 1, by the fit | contradicted |" in ledger.row(bounded, tmp_path)


@pytest.mark.parametrize("claim", ledger.CLAIMS, ids=lambda claim: claim.text)
def test_false_alternative_is_not_reproduced(claim):
    """The rule applied to what would be found if the claim were false, with the spread that was measured."""
    found = ledger.measured(claim, ROOT / "results" / claim.results)
    shifted = np.array(found.values) - np.nanmean(found.values) + claim.alternative
    verdict = analysis.verdict(analysis.interval(shifted.tolist(), found.standard_error), claim.allowed)
    assert verdict in (analysis.CONTRADICTED, analysis.UNDECIDED)
    # and with ten times the precision it is contradicted
    exact = analysis.interval([claim.alternative], abs(claim.alternative) / 1e6)
    assert analysis.verdict(exact, claim.allowed) == analysis.CONTRADICTED


def test_every_claim_states_range_reason_and_settings():
    for claim in ledger.CLAIMS:
        assert claim.allowed[0] < claim.allowed[1]
        assert claim.why
        assert claim.settings.startswith(("paper", "scaled", "as above"))
    assert len({claim.text for claim in ledger.CLAIMS}) == len(ledger.CLAIMS)


def made_up(exponent):
    """Runs of Fig. 3b and c in which A goes as eta^exponent / (1 - alpha)^exponent."""
    eta = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.01, 0.01])
    alpha = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.9])
    scale = eta / (1 - alpha)
    slope = 0.342 * scale * (scale / 0.02) ** (exponent - 1)
    j_squared = np.minimum(0.25 + slope[:, None] * np.arange(2000), 1.2)
    arrays = {
        "j_squared": j_squared,
        **{name: np.ones_like(j_squared) for name in ("test_loss", "test_accuracy")},
        "learning_rate": eta,
        "momentum": alpha,
        "batch_size": np.full(7, 32),
        "weight_decay": np.zeros(7),
        "seconds": np.zeros(7),
        "seed": np.zeros(7, int),
    }
    return {"members": {"constant_d": [0.342 * 32]}}, History(arrays, paper.NUM_SAMPLES)


def test_deviations_are_those_put_in():
    for exponent in (1.0, 1.1):
        summary, history = made_up(exponent)
        deviation = measures.deviation_along("learning_rate")(summary, history).values[0]
        assert deviation == pytest.approx(5 ** (exponent - 1) - 1, abs=1e-4)
        up_to = measures.deviation_along("momentum", 0.5)(summary, history).values[0]
        assert up_to == pytest.approx(abs(1 - 2 ** (1 - exponent)), abs=1e-4)
        theirs = np.array([paper.SLOPES[eta] for eta in (0.005, 0.01, 0.02, 0.05, 0.1)])
        ours = 0.342 * np.array([0.005, 0.01, 0.02, 0.05, 0.1])
        ours *= (np.array([0.005, 0.01, 0.02, 0.05, 0.1]) / 0.02) ** (exponent - 1)
        expected = np.abs(ours / theirs - 1).max()
        assert measures.beside_the_authors(summary, history).values[0] == pytest.approx(expected, abs=1e-4)


def test_shapes_of_growth():
    epochs = np.arange(400.0)
    line = 0.25 + 0.01 * epochs
    assert measures.curvature(line, epochs) == pytest.approx(0, abs=1e-6)
    assert measures.slope_beyond(line, epochs) == pytest.approx(1)
    bent = np.where(line < 0.5, line, 0.5 + 2 * (line - 0.5))  # the first third of the way at half the later slope
    assert measures.curvature(bent, epochs) == pytest.approx(1 - 0.01 / (0.05 / 3), rel=0.01)
    slower = np.where(line < 1, line, 1 + 0.4 * (line - 1))
    assert measures.slope_beyond(slower, epochs) == pytest.approx(0.4, rel=0.01)


def test_committed_ledger_is_that_of_the_committed_results(tmp_path):
    output = tmp_path / "ledger.md"
    command = [sys.executable, "-m", "experiments.ledger", f"--output={output}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert output.read_text() == (ROOT / "docs" / "REPRODUCTION.md").read_text()
    for section, columns in zip(output.read_text().split("## Data sets"), (9, 7), strict=True):
        rows = [line for line in section.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in rows} == {columns + 1}


def test_data_sets_are_those_of_the_guideline_and_of_long_runs(tmp_path):
    assert ledger.data_set_row("MNIST", tmp_path) == "| MNIST | - | - | - | - | - | not run |"
    recorded(
        tmp_path / "guideline-mnist",
        constant_d=[12.0, 13.0],
        open_loop=[5e-5, 5.4e-5],
        weight_decay=[1e-5, 2e-5],
        verified_j_squared=[0.9, None],
    )
    recorded(tmp_path / "fig6-mnist", weight_decay_at_edge=[1.25e-5])
    row = ledger.data_set_row("MNIST", tmp_path)
    assert row.startswith("| MNIST | 12.5 ± 0.71 | 5.2e-05 ± 2.8e-06 | 1.5e-05 ± 7.1e-06 | 1.25e-05 | 0.90 |")
    commands = [f"`python -m experiments.{name}-mnist --config.epochs=9`" for name in ("guideline", "fig6")]
    assert ", ".join(commands) in row


def test_missing_results_are_said(tmp_path):
    command = [sys.executable, "-m", "experiments.ledger", f"--results={tmp_path / 'none'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "there is no such folder" in result.stdout + result.stderr
