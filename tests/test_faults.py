import json
import os
import signal

import numpy as np
import pytest

from tests import faults, hits, reliability


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    (subject,) = [one for one in faults.SUBJECTS if one.name == "fig6"]
    return faults.undisturbed(subject, tmp_path_factory.mktemp("faults"), seed=1)


# a full disk, two runs, locks and Ctrl-C are tested in test_fig2 and test_files, too; all of them in the slow form
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_that_is_hit_after_a_checkpoint_goes_on_from_it(bench, number):
    assert bench.go_on(bench.hit(number, hits.AFTER)) == faults.RESUMED


@pytest.mark.parametrize("fault", [faults.file_damaged, faults.nowhere_to_write], ids=lambda fault: fault.__name__)
def test_a_fault_costs_no_bit(bench, fault):
    assert fault(bench) in faults.FAULTS[fault]


def write_step(workdir, folder, *steps):
    for step in steps:
        (workdir / folder).mkdir(parents=True, exist_ok=True)
        (workdir / folder / f"{step}.npz").write_bytes(b"")


def test_what_had_been_saved_is_seen(tmp_path):
    folder = tmp_path / "checkpoint-0-3"
    folder.mkdir()
    (folder / ".5.npz.partial").write_bytes(b"")
    assert hits.saved_in(tmp_path).phase() == hits.BEFORE
    (folder / ".5.npz.partial").rename(folder / "5.npz")
    write_step(tmp_path, "checkpoint-0-3", 12)
    write_step(tmp_path, "chosen/0.1/checkpoint-0-1", 3)
    saved = hits.saved_in(tmp_path)
    assert sorted(saved.newest.values()) == [3, 12]
    assert saved.phase() == hits.AFTER
    (folder / ".13.npz.partial").write_bytes(b"")
    assert hits.saved_in(tmp_path).phase() == hits.WITHIN
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0-3.npz").write_bytes(b"")
    assert list(hits.saved_in(tmp_path).newest.values()) == [3]


def test_a_run_that_begins_again_is_told_from_one_that_goes_on(tmp_path):
    """Both have the same bits at the end."""
    write_step(tmp_path, "checkpoint-0-3", 5, 12)
    saved = hits.saved_in(tmp_path)
    assert hits.what_followed(saved, f"resuming '{tmp_path}' after epoch 12") == ""
    assert hits.what_followed(saved, "") == "checkpoint 12 was there, but it went on from the beginning"
    assert "went on from [5]" in hits.what_followed(saved, f"resuming '{tmp_path}' after epoch 5")


def test_a_piece_that_is_computed_again_is_seen(tmp_path):
    (tmp_path / "runs").mkdir()
    piece = tmp_path / "runs" / "0-1.npz"
    piece.write_bytes(b"")
    saved = hits.saved_in(tmp_path)
    assert hits.what_followed(saved, "") == ""
    os.utime(piece, ns=(0, saved.pieces[piece] + 1))
    assert hits.what_followed(saved, "") == "0-1.npz was there, but was computed again"


@pytest.mark.slow
@pytest.mark.parametrize("subject", faults.SUBJECTS, ids=lambda subject: subject.name)
def test_no_fault_costs_a_bit(subject):
    found, met = faults.try_all(subject, kills=20)
    for name, outcomes in found.items():
        assert outcomes.keys() <= set(faults.GOOD), name
    assert not subject.keeps or met.keys() == set(hits.PHASES)


def test_every_experiment_is_tried():
    names = {path.stem for path in (faults.ROOT / "configs").glob("*.py")} - {"__init__", "common"}
    assert {subject.name for subject in faults.SUBJECTS} == names


def test_the_page_has_the_recorded_counts_and_all_experiments():
    found = json.loads((faults.ROOT / reliability.COUNTS).read_text())
    assert found.keys() == {subject.name for subject in faults.SUBJECTS}
    assert (faults.ROOT / reliability.PAGE).read_text() == reliability.table(found)


def test_a_failure_is_on_the_page():
    killed = {faults.SAME: 3, faults.RESUMED: 4, "other bits in x": 1}
    entry = {"outcomes": {"killed": killed, "file_damaged": {faults.REFUSED: 2}}, "date": "today"}
    page = reliability.table({"fig9": {**entry, "revision": "abcdefghij"}})
    assert "| fig9 | 10 | 4 | 3 | 2 | 1 | not told apart | today, revision abcdefg |" in page
    assert "- fig9, killed: other bits in x (1)" in page
    page = reliability.table({"fig9": {**entry, "revision": "abcdefghij", "hits": {hits.AFTER: 5, hits.BEFORE: 1}}})
    assert "| 1, 0, 5 | today" in page


def test_a_wrong_bit_would_be_seen(bench, monkeypatch):
    name = next(iter(bench.expected))
    changed = bench.expected[name].copy()
    changed.view(np.uint8).flat[0] ^= 1
    monkeypatch.setitem(bench.expected, name, changed)
    assert bench.end(bench.fresh()) == f"other bits in {name}"
