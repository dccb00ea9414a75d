import numpy as np
import pytest

from edgechaos.runs.resumable import Chore, advance_until, once


def test_chores_come_after_their_pauses_and_stop_is_honoured(monkeypatch):
    """A clock that moves by a second a step: a chore of 2 s that may take a third of the time comes after 5 and 6 s."""
    clock, told = [0.0], []

    def step():
        clock[0] += 1
        told.append("step")

    def chore():
        clock[0] += 2
        told.append("chore")

    monkeypatch.setattr("edgechaos.runs.resumable.time.monotonic", lambda: clock[0])
    chores = [Chore(chore, lambda took: max(4.0, 2 * took + 1))]
    advance_until(lambda: told.count("step") == 100, lambda: told.count("step") == 11, step, chores)
    assert told == [*["step"] * 5, "chore", *["step"] * 6, "chore"]


def test_nothing_is_done_where_nothing_is_left():
    advance_until(lambda: True, lambda: False, lambda: pytest.fail("a step"), [])
    advance_until(lambda: False, lambda: True, lambda: pytest.fail("a step"), [])


def test_what_is_there_is_not_computed_again(tmp_path):
    path = tmp_path / "runs" / "a.npz"
    first = once(path, lambda: {"a": np.arange(3)})
    again = once(path, lambda: pytest.fail("computed again"))
    np.testing.assert_array_equal(first["a"], again["a"])
