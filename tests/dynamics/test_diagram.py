import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.dynamics import diagram as module
from edgechaos.theory.activations import difference
from tests.processes import ROOT

KEY = jax.random.key(7)


def numpy_diagram(j0_over_j, inverse_j, num_neurons, num_iterations, std, dtype=np.float32):
    """One cell after the other, with the couplings as a dense matrix W = J0 / N + J Z / sqrt(N), and two copies."""
    matrix_key, start_key, twin_key = jax.random.split(KEY, 3)
    couplings = np.asarray(jax.random.normal(matrix_key, (num_neurons, num_neurons), dtype), np.float64)
    start = np.asarray(jax.random.normal(start_key, (num_neurons,), dtype), np.float64)
    twin = start + std * np.asarray(jax.random.normal(twin_key, (num_neurons,), dtype), np.float64)
    distances = np.zeros((len(inverse_j), len(j0_over_j)))
    for row, inverse in enumerate(inverse_j):
        for column, ratio in enumerate(j0_over_j):
            j = 1 / inverse
            kernel = ratio * j / num_neurons + j * couplings / np.sqrt(num_neurons)
            x, y, kept = start, twin, []
            for _ in range(num_iterations):
                x, y = np.tanh(kernel @ x), np.tanh(kernel @ y)
                kept.append(np.linalg.norm(x - y))
            distances[row, column] = np.mean(kept[-(num_iterations // 5) :])
    return distances


def test_against_numpy_while_the_perturbation_is_small():
    """Twenty iterations do not amplify the rounding of float32 in these cells; below 8e-7 a distance reads 0."""
    ratios, inverse = np.array([-1.0, 0.0, 1.5], np.float32), np.array([0.7, 1.0, 2.0], np.float32)
    measured = ec.phase_diagram(KEY, ratios, inverse, 60, 20, 0.01)
    np.testing.assert_allclose(measured, numpy_diagram(ratios, inverse, 60, 20, 0.01), rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("double")
def test_double_precision_follows_the_axes():
    ratios, inverse = np.array([0.0, 0.5]), np.array([0.5])
    double = ec.phase_diagram(KEY, ratios, inverse, 40, 20)
    single = ec.phase_diagram(KEY, ratios.astype(np.float32), inverse.astype(np.float32), 40, 20)
    expected = numpy_diagram(ratios, inverse, 40, 20, 1e-4, np.float64)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(double, expected, rtol=1e-9)


@pytest.mark.parametrize("phi", [jnp.tanh, jax.nn.relu, jax.scipy.special.erf])
def test_difference_has_no_floor(phi):
    """float32 against float64; a plain subtraction has no digit left at dh = 1e-9."""
    h = np.linspace(-2, 2, 41)
    for dh in (1e-20, 1e-9, 1e-4, 3e-3, 0.1, 2.0):
        single = difference(phi, jnp.float32(h), jnp.full(41, dh, jnp.float32))
        with jax.enable_x64(True):
            exact = np.asarray(difference(phi, jnp.asarray(h), jnp.full(41, float(np.float32(dh)))))
        np.testing.assert_allclose(single, exact, rtol=1e-4, atol=3e-5 * dh)
    with jax.enable_x64(True):
        plain = np.asarray(phi(jnp.asarray(h) + 1e-3) - phi(jnp.asarray(h)))
        np.testing.assert_allclose(difference(phi, jnp.asarray(h), jnp.full(41, 1e-3)), plain, rtol=1e-9)


def test_order_and_chaos_on_both_sides_of_the_edge():
    distance = np.asarray(ec.phase_diagram(KEY, np.array([0.0, 0.5]), np.array([0.5, 1.25]), 400, 200))
    assert (distance[0] > 0.1 * np.sqrt(400)).all()  # J = 2
    assert (distance[1] == 0).all()  # J = 0.8


def test_chaotic_distance_is_the_predicted_one():
    ratios, inverse = np.array([-0.5, 0.0, 0.5]), np.array([0.1, 0.3, 0.5])
    distance = np.asarray(ec.phase_diagram(KEY, ratios, inverse, 1500, 300)) / np.sqrt(1500)
    expected = ec.predicted_distance(ratios / inverse[:, None], 1 / inverse[:, None])
    # fluctuations of order 1 / sqrt(N) = 2.6 % per iteration, correlated over a few, averaged over 60
    np.testing.assert_allclose(distance, expected, rtol=0.03)


def test_finite_networks_approach_the_theory_as_one_over_root_n():
    """Root mean square deviation over 24 draws of the disorder at J = 2: slope -1/2 of its logarithm against ln N."""
    sizes, num_draws = np.array([250, 500, 1000, 2000]), 24
    expected = float(ec.predicted_distance(0.0, 2.0))
    deviations = []
    for size in sizes:
        draws = [
            # 20 iterations are averaged over, at all sizes alike
            float(ec.phase_diagram(key, np.zeros(1), np.full(1, 0.5), int(size), 100)[0, 0])
            for key in jax.random.split(jax.random.key(0), num_draws)
        ]
        deviations.append(np.sqrt(np.mean((np.array(draws) / np.sqrt(size) / expected - 1) ** 2)))
    slope = np.polyfit(np.log(sizes), np.log(deviations), 1)[0]
    # each ln(deviation) has the error 1 / sqrt(2 * 24) = 0.14; over these sizes the slope's is 0.14 / 1.55 = 0.09
    assert slope == pytest.approx(-0.5, abs=3 * 0.09)


@pytest.mark.usefixtures("double")
def test_slots_do_not_change_a_cell():
    """35 cells through 7 slots, or through 35, and by NumPy: at its own time, with its own J and J0, from the start."""
    ratios, inverse = jnp.linspace(-1, 1, 5), jnp.linspace(0.3, 2, 7)
    disorder = module.draw_disorder(KEY, 50, 0.1, jnp.float64)
    j0, j = module.cells_of(ratios, inverse)
    outcomes = [module.settle(disorder, j0, j, 20, "tanh", slots) for slots in (7, 35, 64)]
    for outcome in outcomes[1:]:
        # twenty iterations amplify the rounding of float64 by up to 3^20 = 3e9 in the most chaotic cells
        np.testing.assert_allclose(outcome.distance, outcomes[0].distance, rtol=1e-5, atol=1e-12)
        np.testing.assert_array_equal(outcome.iterations, outcomes[0].iterations)
    whole = np.asarray(outcomes[0].iterations) == 20  # the others left with a mean of fewer
    expected = numpy_diagram(np.asarray(ratios), np.asarray(inverse), 50, 20, 0.1, np.float64).ravel()
    np.testing.assert_allclose(outcomes[0].distance[whole], expected[whole], rtol=1e-5, atol=1e-12)
    assert 10 < whole.sum() < 35
    assert (np.asarray(j)[whole] > 1.2).any()


def test_a_slot_forgets_the_cell_before():
    """Equal cells one after the other, apart from the start: each must be steady over looks of its own."""
    disorder = module.draw_disorder(KEY, 300, 1.0)
    # a hundred iterations a look, so that the first is as the later ones, and three looks are the least
    outcome = module.settle(disorder, jnp.zeros(3), jnp.full(3, 3.0), 2000, "tanh", 1)
    assert int(outcome.iterations[0]) == 300
    np.testing.assert_array_equal(outcome.iterations, outcome.iterations[0])
    np.testing.assert_array_equal(outcome.distance, outcome.distance[0])


def test_cells_leave_when_they_have_settled():
    disorder = module.draw_disorder(KEY, 400)
    j = jnp.array([0.3, 0.9, 2.0, 1.3])
    outcome = module.settle(disorder, jnp.zeros(4), j, 500)
    deep, ordered, chaotic, edge = np.asarray(outcome.iterations)
    assert deep == 25
    assert 25 < ordered < 500
    assert chaotic < 500
    assert edge == 500
    np.testing.assert_array_equal(outcome.settled, [True, True, True, False])
    np.testing.assert_array_equal(outcome.distance[:2], 0)


def test_early_leave_keeps_the_distance(monkeypatch):
    """The mean of the time before leaving is the mean of the last fifth, for cells that are steady."""
    disorder = module.draw_disorder(KEY, 1000)
    j = jnp.linspace(2, 5, 8)
    early = module.settle(disorder, jnp.zeros(8), j, 300)
    monkeypatch.setattr(module, "_APART", np.inf)
    late = module.settle(disorder, jnp.zeros(8), j, 300)
    assert (np.asarray(early.iterations) < 300).all()
    assert (np.asarray(late.iterations) == 300).all()
    np.testing.assert_allclose(early.distance, late.distance, rtol=0.04)  # 3 / sqrt(1000) is 9 % per iteration


def test_relu_escapes_beyond_its_boundary():
    distance = np.asarray(ec.phase_diagram(KEY, np.array([0.0]), np.array([0.5, 1.0]), 300, 200, activation="relu"))
    assert distance[0, 0] == np.inf
    assert distance[1, 0] == 0


def test_independent_disorder():
    ratios, inverse = np.array([0.0, 0.0]), np.array([0.4])
    first, second = np.asarray(ec.phase_diagram(KEY, ratios, inverse, 300, 100, independent=True))[0]
    assert first != second
    np.testing.assert_allclose([first, second], float(ec.predicted_distance(0.0, 2.5)) * np.sqrt(300), rtol=0.1)


def test_seeds_by_vmap():
    keys = jax.random.split(KEY, 2)
    together = jax.vmap(lambda key: ec.phase_diagram(key, jnp.zeros(1), jnp.array([0.8, 2.0]), 50, 20, 0.1))(keys)
    alone = ec.phase_diagram(keys[1], jnp.zeros(1), jnp.array([0.8, 2.0]), 50, 20, 0.1)
    np.testing.assert_allclose(together[1], alone, rtol=1e-4)


def test_equal_twins_stay_together():
    disorder = module.draw_disorder(KEY, 50, 0.0)
    outcome = module.settle(disorder, jnp.zeros(1), jnp.full(1, 3.0), 20)
    assert float(outcome.distance[0]) == 0.0


def test_memory_budget(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert module.slots_at_once(10_000) == 64
    assert 0 < module.slots_at_once(16_300) < 64
    with pytest.raises(ValueError, match=r"num_neurons = 40000: the couplings need 23.8 GiB .* budget is 4 GiB"):
        module.slots_at_once(40_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "sinh"}, "activation = 'sinh'"),
        ({"num_iterations": 15}, "num_iterations = 15: must be >= 20"),
        ({"num_neurons": 1}, "num_neurons = 1: must be >= 2"),
        ({"inverse_j": np.array([0.0])}, "inverse_j = 0.0: must be >= 0.001"),
        ({"j0_over_j": np.array([np.nan])}, "j0_over_j = nan: must be finite"),
        ({"perturbation_std": 0.0}, "perturbation_std = 0.0: must be > 0"),
        ({"perturbation_std": 1e10}, r"perturbation_std = 1e\+10|10000000000.0: must be > 0, in \[1e-12, 1\]"),
        ({"perturbation_std": 1e-30}, "perturbation_std = 1e-30: must be > 0, in"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message):
    good = {"j0_over_j": np.zeros(1), "inverse_j": np.ones(1), "num_neurons": 10, "num_iterations": 20}
    with pytest.raises(ValueError, match=message):
        ec.phase_diagram(KEY, **{**good, **arguments})


SHARDED = """
import sys
from pathlib import Path
import numpy as np, jax
from edgechaos.runs.simulate import simulate_diagram
assert jax.device_count() == 4
settled = simulate_diagram(Path(sys.argv[1]), np.linspace(-1, 1, 5, dtype=np.float32),
                           np.linspace(0.7, 2, 7, dtype=np.float32), 7, 60, 20, perturbation_std=0.1)
np.save(sys.argv[1] + "/distance.npy", settled.distance)
"""


def test_four_devices_give_the_map_of_one(tmp_path):
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", SHARDED, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    ratios, inverse = np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(0.7, 2, 7, dtype=np.float32)
    expected = ec.phase_diagram(KEY, ratios, inverse, 60, 20, 0.1)
    np.testing.assert_allclose(np.load(tmp_path / "distance.npy"), expected, rtol=1e-3, atol=1e-5)
