import numpy as np
import pytest

from configs import fig2
from edgechaos import schedule, sweep
from edgechaos.schedule import Stretch


def columns_of(changes, **fields):
    config = {**fig2.get_config("digits").to_dict(), "sweep": changes, "sweep_mode": "product", **fields}
    return sweep.members(config)


COLUMNS = columns_of({"batch_size": (16, 8), "learning_rate": (0.1, 0.2, 0.3), "epochs": (9, 5)})
PLACES = schedule.sequence(COLUMNS)
NONE = np.zeros(12, bool)


def test_order_keeps_programs_together_and_similar_lengths_near():
    order = schedule.order(COLUMNS)
    assert sorted(order) == list(range(12))
    np.testing.assert_array_equal(COLUMNS["batch_size"][order], [8] * 6 + [16] * 6)
    np.testing.assert_array_equal(COLUMNS["epochs"][order], [5, 5, 5, 9, 9, 9] * 2)


def test_batches_have_one_program_and_even_sizes():
    assert schedule.batches(COLUMNS, PLACES, 4, NONE) == [Stretch(0, 3), Stretch(3, 3), Stretch(6, 3), Stretch(9, 3)]
    assert schedule.batches(COLUMNS, PLACES, 100, NONE) == [Stretch(0, 6), Stretch(6, 6)]
    assert [batch.size for batch in schedule.batches(COLUMNS, PLACES, 1, NONE)] == [1] * 12


def test_what_is_done_is_left_out():
    done = NONE.copy()
    done[[0, 1, 4]] = True
    assert schedule.batches(COLUMNS, PLACES, 100, done) == [Stretch(2, 2), Stretch(5, 1), Stretch(6, 6)]
    assert schedule.batches(COLUMNS, PLACES, 100, ~NONE) == []


def test_what_was_begun_stays_together_as_far_as_devices_allow():
    begun = [Stretch(2, 4)]
    assert schedule.batches(COLUMNS, PLACES, 100, NONE, begun) == [Stretch(0, 2), Stretch(2, 4), Stretch(6, 6)]
    assert schedule.batches(COLUMNS, PLACES, 2, NONE, begun)[1:3] == [Stretch(2, 2), Stretch(4, 2)]


def test_within_a_longer_batch_a_shorter_one_is_the_newer():
    begun = [Stretch(2, 1), Stretch(0, 6)]
    assert schedule.batches(COLUMNS, PLACES, 100, NONE, begun)[:3] == [Stretch(0, 2), Stretch(2, 1), Stretch(3, 3)]


@pytest.mark.parametrize("stretch", [Stretch(0, 1), Stretch(17, 300)])
def test_names_of_files_tell_the_stretch(stretch):
    assert schedule.parse(str(stretch)) == stretch


@pytest.mark.parametrize("text", ["", "5", "a-b", "1-", "-3", "1-2-x"])
def test_other_names_tell_none(text):
    assert schedule.parse(text) is None


def test_shares_are_balanced_whatever_the_order():
    costs = np.array([1.0, 8.0, 2.0, 4.0, 4.0, 1.0])
    process = schedule.shares(costs, 3)
    assert sorted(np.bincount(process, costs)) == [6, 6, 8]
    np.testing.assert_array_equal(schedule.shares(costs, 1), 0)
    assert set(schedule.shares(costs[:2], 8)) == {0, 1}
