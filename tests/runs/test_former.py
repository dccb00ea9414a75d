"""Files of before: a history or a checkpoint with `decay` for the clock, and unfinished members in parts/."""

import subprocess
import sys

from tests.processes import ROOT

RESUME = """
import sys
from pathlib import Path
import numpy as np
from edgechaos.files import read_npz, write_npz
from edgechaos.runs import checkpoints, processes
from edgechaos.runs.config import TrainingConfig
from edgechaos.runs.history import METRICS
from edgechaos.runs.interruption import Interrupted
from edgechaos.runs.run import run_sweep
from tests.problems import make_dataset

sweep = {"batch_size": (7, 14), "constraint": ("hold_at_edge",)}
config = TrainingConfig(sweep=sweep, learning_rate=0.1, init_j=1.0, epochs=4, keep_kernels_at=(), checkpoint_seconds=0)
dataset = make_dataset(num_neurons=13)
whole, begun = (Path(sys.argv[1]) / name for name in ("whole", "begun"))

def run(directory):
    directory.mkdir(exist_ok=True)
    return run_sweep(directory, config, dataset, lambda arrays: None)

def former(arrays):
    return {{"clock": "decay"}.get(name, name): values for name, values in arrays.items()}

def save(folder, step, content, identity, save=checkpoints.save):
    save(folder, step, {**content, "record": former(content["record"])}, identity)

expected = run(whole)
assert expected["clock"][:, -1].all()
asked, is_asked = [], processes.asked_to_stop
processes.asked_to_stop = lambda directory: asked.append(1) or ("test" if len(asked) > 7 else "")
checkpoints.save = save
try:
    run(begun)
except Interrupted:
    pass
assert [path.name for path in begun.glob("checkpoint-*")] == ["checkpoint-1-1"]
(begun / "pieces").rename(begun / "parts")
(begun / "history.npz").unlink()
for path in begun.glob("parts/*.npz"):
    write_npz(path, former(read_npz(path)))
processes.asked_to_stop = is_asked

trained = []
from edgechaos.runs import group
enter = group.enter_epoch
group.enter_epoch = lambda record, epoch, metrics: trained.append(epoch) or enter(record, epoch, metrics)
found = run(begun)
assert trained and min(trained) > 1, trained  # the first member is read, the second goes on
for name in METRICS:
    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
assert not (begun / "parts").exists() and not (begun / "pieces").exists()

write_npz(whole / "history.npz", former(read_npz(whole / "history.npz")))
trained.clear()
np.testing.assert_array_equal(run(whole)["clock"], expected["clock"])
assert not trained
print("as before")
"""


def test_files_of_before_are_read(tmp_path):
    # a process of its own, where types are not checked: JAX builds states of shapes while it traces
    line = [sys.executable, "-c", RESUME, str(tmp_path)]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "as before\n"
    assert "damaged" not in result.stderr
