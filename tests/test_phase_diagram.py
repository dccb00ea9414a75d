import importlib

import jax
import numpy as np
import pytest

import edgechaos as ec

module = importlib.import_module("edgechaos.phase_diagram")  # `ec.phase_diagram` is the function

KEY = jax.random.key(7)


def numpy_diagram(j0_over_j, inverse_j, num_neurons, num_iterations, std, dtype=np.float32):
    """One cell after the other, with the couplings as a dense matrix W = J0 / N + J Z / sqrt(N)."""
    matrix_key, start_key, twin_key = jax.random.split(KEY, 3)
    couplings = np.asarray(jax.random.normal(matrix_key, (num_neurons, num_neurons), dtype), np.float64)
    start = np.asarray(jax.random.normal(start_key, (num_neurons, 1), dtype), np.float64)
    twin = start + std * np.asarray(jax.random.normal(twin_key, (num_neurons, 1), dtype), np.float64)
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
    """Five iterations: chaos has not yet amplified the rounding of float32."""
    ratios, inverse = np.array([-1.0, 0.0, 1.5], np.float32), np.array([0.4, 1.0, 2.0], np.float32)
    measured = ec.phase_diagram(KEY, ratios, inverse, 60, 5, 0.1)
    np.testing.assert_allclose(measured, numpy_diagram(ratios, inverse, 60, 5, 0.1), rtol=1e-4)


def test_double_precision_follows_the_axes():
    ratios, inverse = np.array([0.0, 0.5]), np.array([0.5])
    with jax.enable_x64(True):
        double = ec.phase_diagram(KEY, ratios, inverse, 40, 10)
        single = ec.phase_diagram(KEY, ratios.astype(np.float32), inverse.astype(np.float32), 40, 10)
        expected = numpy_diagram(ratios, inverse, 40, 10, 1e-4, np.float64)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(double, expected, rtol=1e-9)


def test_order_and_chaos_on_both_sides_of_the_edge():
    distance = np.asarray(ec.phase_diagram(KEY, np.array([0.0, 0.5]), np.array([0.5, 1.25]), 400, 200))
    assert (distance[0] > 0.1 * np.sqrt(400)).all()  # J = 2
    assert (distance[1] < 1e-4).all()  # J = 0.8


def test_rows_and_chunks_do_not_change_a_cell(monkeypatch):
    ratios, inverse = np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(0.5, 2, 6, dtype=np.float32)
    whole = ec.phase_diagram(KEY, ratios, inverse, 50, 10, 0.1)
    parts = np.concatenate([ec.phase_diagram(KEY, ratios, rows, 50, 10, 0.1) for rows in np.split(inverse, [2, 3])])
    # ten iterations amplify the rounding of float32 by up to 2^10
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 7 * 6 * 50 * 4)
    jax.clear_caches()
    np.testing.assert_allclose(ec.phase_diagram(KEY, ratios, inverse, 50, 10, 0.1), whole, rtol=1e-3, atol=1e-5)


def test_equal_twins_stay_together():
    distance = ec.phase_diagram(KEY, np.array([0.0]), np.array([0.3]), 50, 20, perturbation_std=0.0)
    assert float(distance[0, 0]) == 0.0


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation = 'sinh'"):
        ec.phase_diagram(KEY, np.array([0.0]), np.array([0.3]), 10, 10, activation="sinh")
