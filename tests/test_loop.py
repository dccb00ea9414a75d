import pytest

from configs import fig3
from edgechaos import loop, record, runs, sweep
from edgechaos.errors import UserError
from tests.problems import make_dataset


def members(**changes):
    return record.empty(sweep.members({**fig3.get_config("digits").to_dict(), **changes}))


def test_memory_that_is_not_there_is_said_before_anything_starts(monkeypatch):
    dataset = make_dataset(num_neurons=100)
    monkeypatch.setattr(runs, "free_memory", lambda: 100_000)
    with pytest.raises(UserError, match=r"N = 100 neurons and the data need 0.\d+ GiB of memory, half of what is free"):
        loop._members_at_once(members(), dataset)


def test_narrow_members_are_computed_together():
    assert loop._members_at_once(members(), make_dataset(num_neurons=64)) == 29
