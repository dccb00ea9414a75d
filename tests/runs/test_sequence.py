import numpy as np
import pytest

from configs import fig2
from edgechaos.runs.config import from_record
from edgechaos.runs.members import Group, first_sequence, groups_of, parse_group, sequence_of, shares_of, sweep_members


def columns_of(changes, **fields):
    config = {**fig2.get_config("digits").to_dict(), "sweep": changes, "sweep_mode": "product", **fields}
    return sweep_members(from_record(config))


COLUMNS = columns_of({"batch_size": (16, 8), "learning_rate": (0.1, 0.2, 0.3), "epochs": (9, 5)})
SEQUENCE = sequence_of(COLUMNS)
NONE = np.zeros(12, bool)


def test_sequence_keeps_programs_together_and_similar_lengths_near():
    sequence = first_sequence(COLUMNS)
    assert sorted(sequence) == list(range(12))
    np.testing.assert_array_equal(COLUMNS["batch_size"][sequence], [8] * 6 + [16] * 6)
    np.testing.assert_array_equal(COLUMNS["epochs"][sequence], [5, 5, 5, 9, 9, 9] * 2)


def test_groups_have_one_program_and_even_sizes():
    assert groups_of(COLUMNS, SEQUENCE, 4, NONE) == [Group(0, 3), Group(3, 3), Group(6, 3), Group(9, 3)]
    assert groups_of(COLUMNS, SEQUENCE, 100, NONE) == [Group(0, 6), Group(6, 6)]
    assert [group.size for group in groups_of(COLUMNS, SEQUENCE, 1, NONE)] == [1] * 12


def test_what_is_done_is_left_out():
    done = NONE.copy()
    done[[0, 1, 4]] = True
    assert groups_of(COLUMNS, SEQUENCE, 100, done) == [Group(2, 2), Group(5, 1), Group(6, 6)]
    assert groups_of(COLUMNS, SEQUENCE, 100, ~NONE) == []


def test_what_was_begun_stays_together_as_far_as_devices_allow():
    begun = [Group(2, 4)]
    assert groups_of(COLUMNS, SEQUENCE, 100, NONE, begun) == [Group(0, 2), Group(2, 4), Group(6, 6)]
    assert groups_of(COLUMNS, SEQUENCE, 2, NONE, begun)[1:3] == [Group(2, 2), Group(4, 2)]


def test_within_a_longer_group_a_shorter_one_is_the_newer():
    begun = [Group(2, 1), Group(0, 6)]
    assert groups_of(COLUMNS, SEQUENCE, 100, NONE, begun)[:3] == [Group(0, 2), Group(2, 1), Group(3, 3)]


@pytest.mark.parametrize("group", [Group(0, 1), Group(17, 300)])
def test_names_of_files_tell_the_group(group):
    assert parse_group(str(group)) == group


@pytest.mark.parametrize("text", ["", "5", "a-b", "1-", "-3", "1-2-x"])
def test_other_names_tell_none(text):
    assert parse_group(text) is None


def test_shares_are_balanced_whatever_the_order():
    costs = np.array([1.0, 8.0, 2.0, 4.0, 4.0, 1.0])
    process = shares_of(costs, 3)
    assert sorted(np.bincount(process, costs)) == [6, 6, 8]
    np.testing.assert_array_equal(shares_of(costs, 1), 0)
    assert set(shares_of(costs[:2], 8)) == {0, 1}
