import json
import subprocess
import sys

import numpy as np
import pytest

from experiments import ledger
from tests.processes import ROOT

CLAIM = ledger.Claim("text", "fig9", 10.0, ledger.member("number"), 1.0, "why")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10.5], "reproduced"),
        ([9.0, 11.0], "reproduced"),
        ([11.5], "reproduced with a deviation"),
        ([7.0], "not reproduced"),
        ([np.nan], "not measured"),
    ],
)
def test_verdict(values, expected):
    assert ledger.verdict(CLAIM, values) == expected


def test_row_reads_what_was_recorded(tmp_path):
    assert "not run" in ledger.row(CLAIM, tmp_path)
    folder = tmp_path / "fig9"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"members": {"number": [11.0, 11.4, None]}}))
    process = {"command": "python -m experiments.fig9", "processor": "a machine", "cores": 2}
    (folder / "provenance.json").write_text(json.dumps({"processes": [process]}))
    row = ledger.row(CLAIM, tmp_path)
    assert "| 10 | 11.2 ± 0.28 | +1.2 |" in row
    assert "`python -m experiments.fig9` | a machine, 2 cores | reproduced with a deviation |" in row


def test_committed_ledger_is_that_of_the_committed_results(tmp_path):
    output = tmp_path / "ledger.md"
    command = [sys.executable, "-m", "experiments.ledger", f"--output={output}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert output.read_text() == (ROOT / "docs" / "REPRODUCTION.md").read_text()
    for section, columns in zip(output.read_text().split("## Data sets"), (8, 7), strict=True):
        rows = [line for line in section.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in rows} == {columns + 1}


def test_data_sets_are_those_of_the_guideline_and_of_long_runs(tmp_path):
    assert ledger.data_set_row("MNIST", tmp_path) == "| MNIST | - | - | - | - | - | not run |"
    members = {
        "guideline-mnist": {
            "constant_d": [12.0, 13.0],
            "open_loop": [5e-5, 5.4e-5],
            "weight_decay": [1e-5, 2e-5],
            "verified_j_squared": [0.9, None],
        },
        "fig6-mnist": {"weight_decay_at_edge": [1.25e-5]},
    }
    for name, numbers in members.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"members": numbers}))
        process = {"command": f"python {name}", "processor": "a machine", "cores": 2}
        (tmp_path / name / "provenance.json").write_text(json.dumps({"processes": [process]}))
    row = ledger.data_set_row("MNIST", tmp_path)
    assert row.startswith("| MNIST | 12.5 ± 0.71 | 5.2e-05 ± 2.8e-06 | 1.5e-05 ± 7.1e-06 | 1.25e-05 | 0.90 |")
    assert "`python guideline-mnist`, `python fig6-mnist`" in row


def test_missing_results_are_said(tmp_path):
    command = [sys.executable, "-m", "experiments.ledger", f"--results={tmp_path / 'none'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "there is no such folder" in result.stdout + result.stderr
