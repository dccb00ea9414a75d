import functools
import json

import numpy as np
import pytest

from edgechaos.files import read_npz
from tests import processes

run = functools.partial(processes.run, "finite_size")
SMALL = (
    *("--config.num_draws=3", "--config.lyapunov_iterations=64", "--config.watched_iterations=40"),
    *("--config.num_places=4", "--config.scaled_j_from=-2.0", "--config.scaled_j_to=20.0"),
)


def test_more_sizes_extend_what_is_there(tmp_path):
    for sizes in ("(32,)", "(32,48)"):
        result = run(tmp_path, *SMALL, f"--config.sizes={sizes}")
        assert result.returncode == 0, result.stderr
    arrays, summary = read_npz(tmp_path / "finite_size.npz"), json.loads((tmp_path / "summary.json").read_text())
    first = read_npz(tmp_path / "runs" / "32-0.npz")
    np.testing.assert_array_equal(arrays["exponent"][0], first["exponent"])
    assert arrays["exponent"].shape == (2, 3, 4)
    assert (arrays["exponent"][:, :, 0] < 0).all()
    assert (arrays["exponent"][:, :, -1] > 0).all()  # J = 4.5 and 3.9
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    assert summary["predicted"]["critical_j_at_48"] == pytest.approx(1 + 4.7 / 48**0.5, rel=1e-3)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"32-0.npz", "48-0.npz"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.sizes=(64,32)"], "sizes = (64, 32): must be a tuple of rising integers >= 16"),
        (["--config.sizes=(16,)", "--config.scaled_j_from=-4.0"], "scaled_j_from = -4.0: must be above -4"),
        (["--config.watched_iterations=5000"], "watched_iterations = 5000: must be at most 600"),
        (["--config.sizes=(64,10000000)"], "take smaller sizes"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, message):
    result = run(tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
