"""The recipes of docs/EXTENDING.md, followed in a copy of the code."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgechaos.files import read_npz
from tests.processes import ROOT

FIGURE = '''"""How far J^2 comes."""

from edgechaos import plotting
from experiments.shared import cli, sweep


def draw(figure, config, history):
    """J^2 of all members."""
    plotting.trajectory(figure.subplots(), history["j_squared"], plotting.TRAIN, "measured")


FIGURE = sweep.Sweep(
    name="reach",
    size=(4, 3),
    title=lambda config: f"{config.dataset}, {cli.seeds(config)}",
    numbers={"reach": "J^2 at the end"},
    predict=lambda config, dataset: {"reach": 1.0},
    compare=lambda config, history: {"reach": history.final("j_squared")[0]},
    draw=draw,
)

if __name__ == "__main__":
    sweep.main(FIGURE)
'''
CONFIG = '''"""How far J^2 comes, on the digits."""

from configs.common import DIGITS, choose, training_fields, unchanged

VARIANTS = {"full": unchanged}


def get_config(variant=None):
    """Returns the config of one variant."""
    config = training_fields()
    config.update(DIGITS, epochs=3, num_seeds=2)
    return choose(variant, VARIANTS, config)
'''


@pytest.fixture
def copy(tmp_path):
    for name in ("edgechaos", "experiments", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy, name, *arguments):
    line = [sys.executable, "-m", f"experiments.{name}", *arguments]
    result = subprocess.run(line, cwd=copy, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_recipe_for_an_activation(copy):
    path = copy / "edgechaos" / "theory" / "activations.py"
    text = path.read_text()
    assert text.count('    "tanh": jnp.tanh,\n') == 1
    path.write_text(
        text.replace('    "tanh": jnp.tanh,\n', '    "tanh": jnp.tanh,\n    "soft_sign": jax.nn.soft_sign,\n')
    )
    short = ("--config.num_columns=5", "--config.num_rows=4", "--config.num_iterations=20", "--config.num_seeds=1")
    run(copy, "fig1", "--config=configs/fig1.py:digits", "--config.activation=soft_sign", *short)
    diagram = read_npz(copy / "runs" / "fig1-digits" / "diagram.npz")
    # phi(x) = x / (1 + |x|) has slope 1 at 0, so that the state without a mean has its edge at 1
    assert diagram["edge"][np.abs(diagram["j0_over_j"]).argmin()] == pytest.approx(1, abs=0.02)
    two = ("--config.sweep.learning_rate=(0.02, 0.04)", "--config.sweep.batch_size=(32, 64)", "--config.epochs=2")
    run(copy, "fig4", "--config=configs/fig4.py:digits", "--config.activation=soft_sign", *two)
    assert np.isfinite(read_npz(copy / "runs" / "fig4-digits" / "history.npz")["j_squared"]).all()


def test_recipe_for_a_figure(copy):
    (copy / "experiments" / "reach.py").write_text(FIGURE)
    (copy / "configs" / "reach.py").write_text(CONFIG)
    assert (
        "learning_rate"
        in subprocess.run(
            [sys.executable, "-m", "experiments.reach", "--help"], cwd=copy, capture_output=True, text=True
        ).stdout
    )
    run(copy, "reach")
    workdir = copy / "runs" / "reach-full"
    summary, history = json.loads((workdir / "summary.json").read_text()), read_npz(workdir / "history.npz")
    assert summary["predicted"] == json.loads((workdir / "prediction.json").read_text()) == {"reach": 1.0}
    assert summary["measured"]["reach"] == pytest.approx(history["j_squared"][:, -1].mean(), rel=1e-5)
    assert {"reach.png", "reach.pdf"} <= {path.name for path in workdir.iterdir()}
    assert "members; adding 1" in run_again(copy)


def run_again(copy):
    line = [sys.executable, "-m", "experiments.reach", "--config.num_seeds=3"]
    return subprocess.run(line, cwd=copy, capture_output=True, text=True, check=True).stderr
