"""What `pip install edgechaos` alone brings is enough for the library; what is not says which extra it needs."""

import re
import subprocess
import sys

import numpy as np
import pytest

from tests.processes import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()
EXPERIMENTS = re.findall(r'"([\w-]+)>=', PYPROJECT.partition("\nexperiments = [")[2].partition("\n]")[0])
OTHERS_BRING = {"absl-py", "orbax-checkpoint"}  # optax and flax
MODULES = {"scikit-learn": "sklearn"}
MISSING = [MODULES.get(name, name.replace("-", "_")) for name in EXPERIMENTS if name not in OTHERS_BRING]
WITHOUT = f"import sys\nsys.modules.update(dict.fromkeys({MISSING}))\n"  # an import of None is refused


def light(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_list_is_that_of_the_project():
    assert {"matplotlib", "tensorflow_datasets", "ml_collections", "tqdm", "sklearn", "array_record"} <= set(MISSING)
    core = re.findall(r'"([\w-]+)>=', PYPROJECT.partition("\ndependencies = [")[2].partition("\n]")[0])
    assert core == ["flax", "jax", "jaxlib", "jaxtyping", "numpy", "optax"]


def test_library_works_without_the_extra():
    code = """
import jax, optax
import edgechaos as ec
params = {"kernel": ec.init_kernel(jax.random.key(0), 20, j=3.0)}
optimizer = optax.chain(optax.sgd(0.1), ec.hold_at_edge(), ec.monitor())
optimizer.init(params)
print(ec.phase_report(params).rows[0].state, float(ec.chi(0.0, 0.5)))
"""
    result = light(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["chaotic", "0.25"]


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("import edgechaos.plotting", "matplotlib"),
        ("import edgechaos.runs", "tqdm"),
        ("from edgechaos import data; data.load('digits')", "sklearn"),
        ("from edgechaos import data; data.load('mnist', sys.argv[1])", "tensorflow_datasets"),
    ],
)
def test_what_needs_the_extra_says_so(tmp_path, code, package):
    result = light(code, str(tmp_path))
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert f"there is no {package} here" in last
    assert "pip install 'edgechaos[experiments]'" in last


def test_console_command(tmp_path):
    np.savez(tmp_path / "w.npz", kernel=2 * np.random.default_rng(0).standard_normal((100, 100)) / 10)
    run = "from edgechaos.diagnosis.command import main; main(sys.argv[1:])"
    result = light(run, str(tmp_path / "w.npz"), f"--json={tmp_path / 'w.json'}")
    assert result.returncode == 0, result.stderr
    assert "chaotic" in result.stdout
    assert (tmp_path / "w.json").read_text().startswith("{")
    for arguments, message in (
        (["none.npz"], "'none.npz' is not a file"),
        ([str(tmp_path / "w.npz"), "--figure=w.jpg"], "figure = 'w.jpg': must end in .png"),
        ([str(tmp_path / "w.npz"), "--figure=w.png"], "pip install 'edgechaos[experiments]'"),
        ([str(tmp_path / "w.npz"), "--layout=left"], "invalid choice: 'left'"),
    ):
        result = light(run, *arguments)
        assert result.returncode == 2, arguments
        assert message in result.stderr
        assert "Traceback" not in result.stderr
