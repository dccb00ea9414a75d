"""What processes that share a work directory write there, without starting any."""

import os

import jax
import numpy as np
import pytest

from edgechaos.errors import UserError
from edgechaos.files import exclusive_lock
from edgechaos.runs import processes

CONFIG = {"epochs": 3}


@pytest.fixture
def pair(monkeypatch):
    """Two processes, of which this is now one and now the other."""

    def become(index):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)

    def leave(status):
        raise AssertionError(f"left with status {status}")

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", leave)
    become(0)
    return become


def test_of_two_that_are_interrupted_together_the_first_one_says_why(tmp_path, pair, monkeypatch):
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)  # both look before either has written
    processes._leave(tmp_path, KeyboardInterrupt())
    pair(1)
    processes._leave(tmp_path, ValueError("too late"))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [".stop"]
    assert (tmp_path / ".stop").read_text() == "process 0 of 2 was interrupted"


def test_a_marker_stops_the_others_whatever_it_says(tmp_path, pair):
    assert processes.asked_to_stop(tmp_path) == ""
    (tmp_path / ".stop").write_text("process 0 of 2 \x1b[2J")
    assert processes.asked_to_stop(tmp_path) == r"process 0 of 2 \x1b[2J"
    (tmp_path / ".stop").write_text("")  # not written yet
    assert processes.asked_to_stop(tmp_path) == "another process leaves"


def test_no_second_run_begins_while_a_process_of_the_first_trains(tmp_path):
    (tmp_path / ".stop").write_text("process 0 of 2 was interrupted")
    with exclusive_lock(tmp_path / ".lock-1", wait=False):
        refused = pytest.raises(UserError, match=rf"in use by another run \(process {os.getpid()}\)")
        with refused, processes.work_directory(tmp_path, CONFIG):
            pass
        assert (tmp_path / ".stop").exists()  # which the late process has yet to see
    with processes.work_directory(tmp_path, CONFIG):
        assert not (tmp_path / ".stop").exists()
        assert not (tmp_path / ".lock-1").exists()


def test_a_process_holds_its_lock_until_it_has_left(tmp_path, pair, monkeypatch):
    monkeypatch.setattr(processes.multihost_utils, "process_allgather", np.atleast_1d)
    monkeypatch.setattr(processes, "agree", lambda numbers: numbers)
    with processes.work_directory(tmp_path, CONFIG):
        pair(1)
        with processes.work_directory(tmp_path, CONFIG):
            assert (tmp_path / ".lock-1").read_text() == str(os.getpid())
            pair(0)
            with pytest.raises(UserError, match="in use by another run"):
                processes._refuse_late_processes(tmp_path)
            pair(1)
        assert not (tmp_path / ".lock-1").exists()
        pair(0)
