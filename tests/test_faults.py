import json

import numpy as np
import pytest

from tests import faults, reliability


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    (subject,) = [one for one in faults.SUBJECTS if one.name == "fig6"]
    return faults.undisturbed(subject, tmp_path_factory.mktemp("faults"), seed=1)


# a full disk, two runs and locks are tested in test_fig2 and test_files, too; all of them in the slow form
SHORT = [faults.killed, faults.interrupted, faults.file_damaged, faults.nowhere_to_write]


@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.__name__)
def test_a_fault_costs_no_bit(bench, fault):
    assert fault(bench) in faults.FAULTS[fault]


@pytest.mark.slow
@pytest.mark.parametrize("subject", faults.SUBJECTS, ids=lambda subject: subject.name)
def test_no_fault_costs_a_bit(subject):
    for name, outcomes in faults.try_all(subject, kills=20).items():
        assert outcomes.keys() <= {faults.SAME, faults.REFUSED}, name


def test_every_experiment_is_tried():
    names = {path.stem for path in (faults.ROOT / "configs").glob("*.py")} - {"__init__", "common"}
    assert {subject.name for subject in faults.SUBJECTS} == names


def test_the_page_has_the_recorded_counts_and_all_experiments():
    found = json.loads((faults.ROOT / reliability.COUNTS).read_text())
    assert found.keys() == {subject.name for subject in faults.SUBJECTS}
    assert (faults.ROOT / reliability.PAGE).read_text() == reliability.table(found)


def test_a_failure_is_on_the_page():
    outcomes = {"killed": {faults.SAME: 3, "other bits in x": 1}, "file_damaged": {faults.REFUSED: 2}}
    page = reliability.table({"fig9": {"outcomes": outcomes, "date": "today", "revision": "abcdefghij"}})
    assert "| fig9 | 6 | 3 | 2 | 1 | today, revision abcdefg |" in page
    assert "- fig9, killed: other bits in x (1)" in page


def test_a_wrong_bit_would_be_seen(bench, monkeypatch):
    name = next(iter(bench.expected))
    changed = bench.expected[name].copy()
    changed.view(np.uint8).flat[0] ^= 1
    monkeypatch.setitem(bench.expected, name, changed)
    assert bench.end(bench.fresh()) == f"other bits in {name}"
