import subprocess
import sys

import jax
import pytest

from configs import fig3
from edgechaos.errors import UserError
from edgechaos.runs import machine
from edgechaos.runs.config import from_record
from edgechaos.runs.history import empty_record
from edgechaos.runs.members import sweep_members
from edgechaos.runs.run import _members_at_once
from tests.problems import make_dataset
from tests.processes import ROOT

TRACES = """
import sys
from pathlib import Path
import numpy as np
from configs import fig3
from edgechaos.runs import members as grouping
from edgechaos.runs.config import from_record
from edgechaos.runs.run import run_sweep
from edgechaos.training import members
from tests.problems import make_dataset
from tests.processes import ROOT
traces, advance = [], members.advance
members.advance = lambda *arguments: traces.append(arguments[-1].batch_size) or advance(*arguments)
sweep_of = {"batch_size": (7, 14), "learning_rate": (0.01, 0.02, 0.03), "momentum": (0.0, 0.5)}
config = fig3.get_config("digits").to_dict()
config.update(sweep=sweep_of, sweep_mode="product", num_seeds=2, epochs=3)
def history(name):
    traces.clear()
    (Path(sys.argv[1]) / name).mkdir()
    dataset = make_dataset(num_neurons=13)
    return run_sweep(Path(sys.argv[1]) / name, from_record(config), dataset, lambda _: None)["j_squared"]
vectorized = history("vectorized")
assert vectorized.shape == (24, 4)
assert sorted(traces) == [7, 14], traces
grouping._MOST_VECTORIZED = 6  # 16 members per batch size in groups of 6, 5 and 5
config["sweep"] = {**sweep_of, "learning_rate": (0.01, 0.02, 0.03, 0.04), "momentum": (0.5,)}
config["num_seeds"] = 4
uneven = history("uneven")
assert uneven.shape == (32, 4)
assert sorted(traces) == [7, 14], traces
config.update(sweep=sweep_of, num_seeds=2)
grouping._VECTORIZED_UP_TO = 0
one_by_one = history("one by one")
assert sorted(traces) == [7, 14], traces
np.testing.assert_allclose(one_by_one, vectorized, rtol=1e-5)
"""


def members(**changes):
    return empty_record(sweep_members(from_record({**fig3.get_config("digits").to_dict(), **changes})))


def test_memory_that_is_not_there_is_said_before_anything_starts(monkeypatch):
    dataset = make_dataset(num_neurons=100)
    monkeypatch.setattr(machine, "free_memory", lambda: 100_000)
    with pytest.raises(UserError, match=r"N = 100 neurons and the data need 0.\d+ GiB of memory, but half of the free"):
        _members_at_once(members(), dataset, jax.devices())


def test_narrow_members_are_computed_together(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 2**34)
    assert _members_at_once(members(), make_dataset(num_neurons=64), jax.devices("cpu")[:1]) == 29


def test_one_program_is_traced_per_batch_size(tmp_path):
    """Learning rates, momenta, decays and seeds are axes of it, whether vectorized or one after the other."""
    # a process of its own, where types are not checked: JAX builds states of shapes while it traces
    line = [sys.executable, "-c", TRACES, str(tmp_path)]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
