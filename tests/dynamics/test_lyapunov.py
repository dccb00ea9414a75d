from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos import errors
from edgechaos.dynamics import lyapunov

KEY = jax.random.key(3)
PAIR: Any = lambda x: (x, x)  # noqa: E731
NUMPY_TANH: Any = np.tanh


def logistic(x):
    return 4 * x * (1 - x)


def henon(x):
    return jnp.stack([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]])


def lorenz(x, dt=0.01):
    """One step of the classical Runge-Kutta method."""

    def field(x):
        return jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    k1 = field(x)
    k2 = field(x + dt / 2 * k1)
    k3 = field(x + dt / 2 * k2)
    k4 = field(x + dt * k3)
    return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def tanh_map(j, num_neurons=400, seed=0):
    kernel = ec.init_kernel(jax.random.key(seed), num_neurons, j=j)
    return lambda x: ec.hidden_map(kernel, x), np.asarray(kernel)


@pytest.mark.usefixtures("double")
def test_logistic_map_has_ln_2():
    """float64, since a float32 orbit falls into a cycle after some thousand iterations."""
    result = ec.lyapunov_exponent(logistic, jnp.array([[0.3], [0.62]]), KEY, 50_000, 100)
    np.testing.assert_allclose(result.exponent, np.log(2), atol=2e-3)
    assert (np.abs(result.exponent - np.log(2)) < 4 * result.standard_error).all()
    assert result.history.shape == (2, 50_000)
    np.testing.assert_allclose(result.history[:, -1], result.exponent, rtol=1e-9)


@pytest.mark.usefixtures("double")
def test_standard_error_falls_as_the_square_root_of_the_length():
    """The tent map's two slopes are drawn like coins: ln 1/p and ln 1/(1 - p), and the error is known."""
    p = 0.3

    def tent(x):
        return jnp.where(x < p, x / p, (1 - x) / (1 - p))

    slopes = np.array([-np.log(p), -np.log(1 - p)])
    mean = p * slopes[0] + (1 - p) * slopes[1]
    deviation = np.sqrt(p * (slopes[0] - mean) ** 2 + (1 - p) * (slopes[1] - mean) ** 2)
    for length in (3200, 51_200):
        result = ec.lyapunov_exponent(tent, jnp.array([0.123456789]), KEY, length)
        assert abs(result.exponent - mean) < 4 * deviation / np.sqrt(length)
        # 32 batches tell an error to 1 / sqrt(62) = 13 %
        assert float(result.standard_error) == pytest.approx(deviation / np.sqrt(length), rel=0.4)


@pytest.mark.usefixtures("double")
def test_henon_map():
    """0.41922 and ln 0.3 - 0.41922 (Sprott, Chaos and Time-Series Analysis, 2003)."""
    result = ec.lyapunov_spectrum(henon, jnp.zeros(2), 2, 50_000, 100)
    np.testing.assert_allclose(result.exponent, [0.41922, np.log(0.3) - 0.41922], atol=5e-3)
    np.testing.assert_allclose(result.exponent.sum(), np.log(0.3), atol=1e-9)  # the Jacobian's determinant is constant


@pytest.mark.usefixtures("double")
def test_linear_map_has_the_logarithms_of_its_eigenvalues():
    rng = np.random.default_rng(0)
    values = np.array([1.5, 0.9, -0.6, 0.3])
    basis = rng.normal(size=(4, 4))
    matrix = jnp.asarray(basis @ np.diag(values) @ np.linalg.inv(basis))
    spectrum = ec.lyapunov_spectrum(lambda x: matrix @ x, jnp.zeros(4), 4, 200, 200)
    largest = ec.lyapunov_exponent(lambda x: matrix @ x, jnp.zeros(4), KEY, 200, 200)
    np.testing.assert_allclose(spectrum.exponent, np.log(np.abs(values)), atol=1e-10)
    np.testing.assert_allclose(largest.exponent, np.log(1.5), atol=1e-10)
    np.testing.assert_allclose(spectrum.standard_error, 0, atol=1e-10)


@pytest.mark.usefixtures("double")
def test_lorenz_system():
    """0.906, 0, -14.572 (Sprott 2003), per unit of time; the batch errors say how well 400 units tell."""
    dt, length = 0.01, 40_000
    result = ec.lyapunov_spectrum(lorenz, jnp.array([1.0, 1.0, 20.0]), 3, length, 2000)
    exponents, errors = np.asarray(result.exponent) / dt, np.asarray(result.standard_error) / dt
    np.testing.assert_allclose(exponents, [0.906, 0, -14.572], atol=0.05)
    assert (np.abs(exponents - [0.906, 0, -14.572]) < 5 * errors).all()
    np.testing.assert_allclose(exponents.sum(), -(10 + 1 + 8 / 3), atol=1e-3)  # divergence of the flow


def test_ordered_tanh_map_contracts_by_its_spectral_radius():
    step, kernel = tanh_map(0.6)
    result = ec.lyapunov_exponent(step, jnp.ones(400), KEY, 2000, 500)
    radius = np.abs(np.linalg.eigvals(kernel)).max()
    # a pair of complex eigenvalues turns the tangent, which averages out over 2,000 iterations
    assert float(result.exponent) == pytest.approx(np.log(radius), abs=2e-3)
    assert float(result.exponent) == pytest.approx(np.log(0.6), abs=0.1)


def test_exponent_of_chaos_is_half_ln_chi():
    step, _ = tanh_map(2.0, num_neurons=1500)
    result = ec.lyapunov_exponent(step, jax.random.normal(KEY, (1500,)), KEY, 300, 100)
    expected = np.log(ec.chi(0.0, 2.0)) / 2
    assert float(result.exponent) == pytest.approx(float(expected), abs=4 / np.sqrt(1500))


@pytest.mark.parametrize(("j", "state"), [(0.8, "ordered"), (1.6, "chaotic")])
def test_exponent_changes_its_sign_at_the_edge(j, state):
    step, _ = tanh_map(j)
    verdict = ec.order_or_chaos(step, jax.random.normal(KEY, (400,)))
    assert verdict.state == state
    assert (verdict.exponent > 0) == (j > 1)


def test_rotation_is_an_edge():
    rotation = jnp.array([[0.8, -0.6], [0.6, 0.8]])
    assert ec.order_or_chaos(lambda x: rotation @ x, jnp.ones(2)).state == "edge"


@pytest.mark.parametrize(
    ("exponent", "error", "state"),
    [
        (0.05, 0.02, "edge"),
        (-0.05, 0.02, "edge"),
        (0.07, 0.02, "chaotic"),
        (-0.07, 0.02, "ordered"),
        (0.009, 0.0, "edge"),
        (-0.011, 0.0, "ordered"),
    ],
)
def test_three_standard_errors_and_the_resolution_of_100_iterations_are_the_edge(monkeypatch, exponent, error, state):
    found = lyapunov.Lyapunov(jnp.array(exponent), jnp.array(error), jnp.zeros(100))
    monkeypatch.setattr(lyapunov, "lyapunov_exponent", lambda *arguments: found)
    verdict = ec.order_or_chaos(jnp.tanh, jnp.ones(3), num_iterations=100)
    assert (verdict.state, verdict.standard_error) == (state, pytest.approx(error))
    assert verdict.exponent == pytest.approx(exponent)


@pytest.mark.parametrize(
    ("gain", "state"), [(0.998, "ordered"), (0.9995, "edge"), (1.0005, "edge"), (1.002, "chaotic")]
)
def test_growth_below_one_in_the_whole_trajectory_is_an_edge(gain, state):
    """A steady gain has no error: 1 / 1000 decides."""
    verdict = ec.order_or_chaos(lambda x: gain * x, jnp.ones(3))
    assert verdict.state == state
    assert verdict.exponent == pytest.approx(np.log(gain), rel=1e-3)
    assert verdict.standard_error < 1e-5


def test_spectrum_agrees_with_the_largest_exponent_at_the_papers_size():
    step, _ = tanh_map(1.6, num_neurons=784)
    x0 = jax.random.normal(KEY, (784,))
    largest = ec.lyapunov_exponent(step, x0, KEY, 600, 300)
    spectrum = ec.lyapunov_spectrum(step, x0, 5, 600, 300)
    assert float(spectrum.exponent[0]) == pytest.approx(float(largest.exponent), abs=0.02)
    # neighbours lie closer than 600 iterations tell; the batch errors say how much disorder that allows
    assert (np.diff(spectrum.exponent) < 4 * spectrum.standard_error[1:]).all()
    assert spectrum.history.shape == (600, 5)


def test_jacobian_norm_against_numpy():
    step, kernel = tanh_map(1.3, num_neurons=784)
    x = jax.random.normal(KEY, (784,))
    jacobian = kernel * (1 - np.tanh(np.asarray(x) @ kernel) ** 2)
    expected = np.linalg.norm(jacobian) / np.sqrt(784)
    assert float(ec.jacobian_norm(step, x)) == pytest.approx(expected, rel=1e-5)
    assert float(ec.jacobian_norm(step, x, 64, KEY)) == pytest.approx(expected, rel=0.01)


def test_probes_err_as_the_docstring_says():
    step, _ = tanh_map(1.0, num_neurons=300)
    x = jnp.zeros(300)
    estimates = np.array([ec.jacobian_norm(step, x, 16, key) for key in jax.random.split(KEY, 100)])
    relative = estimates / float(ec.jacobian_norm(step, x)) - 1
    assert np.sqrt((relative**2).mean()) == pytest.approx(1 / np.sqrt(2 * 300 * 16), rel=0.25)  # 100 draws tell 7 %


def test_norm_at_the_trivial_state_is_j():
    step, _ = tanh_map(1.0, num_neurons=784)
    # squares of 784^2 entries: relative standard error sqrt(2) / 784 of the squared norm
    assert float(ec.jacobian_norm(step, jnp.zeros(784))) == pytest.approx(1, abs=5 * np.sqrt(0.5) / 784)


@pytest.mark.usefixtures("double")
def test_twins_grow_at_the_rate_of_the_exponent():
    """While the distance is small, ln d grows by the Lyapunov exponent per iteration."""
    step, _ = tanh_map(2.0, num_neurons=800)
    x0 = jax.random.normal(KEY, (16, 800), jnp.float64)
    x0 = jax.lax.fori_loop(0, 100, lambda _, x: jax.vmap(step)(x), x0)
    distance = np.asarray(ec.twin_trajectories(step, x0, KEY, 40, 1e-9))
    exponent = ec.lyapunov_exponent(step, x0, KEY, 200, 50).exponent.mean()
    assert distance.shape == (16, 41)
    slope = np.polyfit(np.arange(5, 36), np.log(distance[:, 5:36]).mean(0), 1)[0]
    assert slope == pytest.approx(float(exponent), rel=0.05)


def test_twins_far_apart_in_chaos_and_together_in_order():
    for j, expected in ((0.5, 0.0), (2.0, float(ec.predicted_distance(0.0, 2.0)))):
        step, _ = tanh_map(j, num_neurons=1000)
        distance = ec.twin_trajectories(step, jax.random.normal(KEY, (1000,)), KEY, 200)
        assert float(distance[-40:].mean()) / np.sqrt(1000) == pytest.approx(expected, abs=0.03)


def test_batch_is_the_single_states():
    step, _ = tanh_map(1.5, num_neurons=50)
    x0 = jax.random.normal(KEY, (2, 3, 50))
    keys = jax.random.split(KEY, (2, 3))
    for function in (
        lambda x, key: ec.twin_trajectories(step, x, key, 5, 0.1),
        lambda x, key: ec.lyapunov_exponent(step, x, key, 70).history,
        lambda x, key: ec.lyapunov_spectrum(step, x, 2, 70, key=key).exponent,
        lambda x, key: ec.jacobian_norm(step, x, 4, key),
    ):
        together = function(x0, KEY)
        # five to seventy chaotic iterations amplify the rounding of float32
        np.testing.assert_allclose(together[1, 2], function(x0[1, 2], keys[1, 2]), rtol=1e-2)


def test_works_under_jit_vmap_and_grad():
    def exponent(gain):
        return ec.lyapunov_exponent(lambda x: jnp.tanh(gain * x), jnp.zeros(3), KEY, 64).exponent

    gains = jnp.array([0.5, 0.8])
    np.testing.assert_allclose(jax.jit(jax.vmap(exponent))(gains), np.log(gains), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(exponent)(0.5), 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.twin_trajectories(jnp.tanh, jnp.ones(3), KEY, 0), "num_iterations = 0: must be >= 1"),
        (lambda: ec.twin_trajectories(jnp.tanh, jnp.ones(3), KEY, 5, 0.0), "perturbation_std = 0.0: must be > 0"),
        (lambda: ec.lyapunov_exponent(jnp.tanh, jnp.array([1.0, jnp.nan]), KEY, 5), "x0 = nan: must be finite"),
        (
            lambda: ec.lyapunov_exponent(lambda x: x[1:], jnp.ones(3), KEY, 5),
            r"step turns float32\[3\] into float32\[2\]",
        ),
        (lambda: ec.lyapunov_exponent(jnp.tanh, jnp.ones(3), KEY, 5, -1), "num_transient = -1: must be >= 0"),
        (lambda: ec.lyapunov_spectrum(jnp.tanh, jnp.ones(3), 4, 5), r"num_exponents = 4: must be in \[1, 3\]"),
        (lambda: ec.jacobian_norm(jnp.tanh, jnp.ones(3), 0, KEY), "num_probes = 0: must be >= 1"),
        (lambda: ec.jacobian_norm(jnp.tanh, jnp.ones(3), 4), "key = None: num_probes = 4 random probes need a key"),
        (lambda: ec.order_or_chaos(jnp.tanh, jnp.ones(3), num_iterations=10), "num_iterations = 10: must be >= 64"),
        (lambda: ec.order_or_chaos(lambda x: x**2, 2 * jnp.ones(3)), "is no longer finite"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_vanishing_tangent_is_minus_infinity():
    result = ec.lyapunov_exponent(lambda x: 0 * x, jnp.ones(3), KEY, 64)
    assert float(result.exponent) == -np.inf


@pytest.mark.parametrize("x0", [jnp.ones(()), jnp.ones(3, int), jnp.ones((2, 0))])
def test_state_that_is_no_real_vector_is_refused(x0):
    """The tests' shape checks would refuse it before the check that users meet."""
    with pytest.raises(ValueError, match=r"x0 = array of \w+\[.*\]: must be real vectors"):
        lyapunov.check(jnp.tanh, x0, 5)


def test_a_linear_map_that_leaves_the_finite_numbers_has_no_verdict():
    """Its tangent grows at a steady rate all the while."""
    for step in (lambda x: 2 * x, lambda x: jnp.eye(3) @ (2 * x)):
        with pytest.raises(ValueError, match="is no longer finite within 1200 steps"):
            ec.order_or_chaos(step, jnp.ones(3))


def test_a_vanishing_derivative_tells_order_only_if_twins_meet():
    step, _ = tanh_map(2.0, num_neurons=200)
    x0 = jax.random.normal(KEY, (200,))
    with pytest.raises(
        ValueError, match="the derivative of step is 0 on the trajectory, but the distance of twins does not vanish"
    ):
        ec.order_or_chaos(lambda x: jax.lax.stop_gradient(step(x)), x0)
    verdict = ec.order_or_chaos(lambda x: jnp.round(x / 2), x0)
    assert (verdict.state, verdict.exponent) == ("ordered", -np.inf)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_norm_in_low_precision_and_at_extreme_slopes(dtype):
    x = jnp.ones(784, dtype)
    for arguments in ((), (8, KEY)):
        assert float(ec.jacobian_norm(lambda x: (30 * x).astype(dtype), x, *arguments)) == pytest.approx(30, rel=1e-5)
    for slope in (1e25, 1e-25):
        assert float(ec.jacobian_norm(lambda x: slope * x, jnp.ones(9))) == pytest.approx(slope, rel=1e-5)  # noqa: B023
    assert float(ec.jacobian_norm(lambda x: 0 * x, jnp.ones(9))) == 0


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_twins_in_half_precision(dtype):
    x0 = jax.random.normal(KEY, (400,)).astype(dtype)
    with pytest.raises(ValueError, match=r"perturbation_std = 0.0001: b?float16 resolves \d"):
        ec.twin_trajectories(jnp.tanh, x0, KEY, 5)
    distance = ec.twin_trajectories(lambda x: (30 * x).astype(dtype), x0, KEY, 2, 0.5)
    expected = np.linalg.norm(0.5 * np.asarray(jax.random.normal(KEY, (400,), dtype), np.float32))
    np.testing.assert_allclose(distance, expected * np.array([1, 30, 900]), rtol=0.02)  # bfloat16 has three digits


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.jacobian_norm(jnp.tanh, jnp.full(3, jnp.nan)), "^x = nan: must be finite"),
        (
            lambda: lyapunov.check(PAIR, jnp.ones(3), 5),
            r"step returns tuple: must return one array float32",
        ),
        (lambda: lyapunov.check(NUMPY_TANH, jnp.ones(3), 5), "step must use jax.numpy"),
        (lambda: errors.require_count("num_iterations", 5.0, 1), r"num_iterations = 5.0: must be a whole number >= 1"),
        (lambda: ec.chi(0.0, 1.0, NUMPY_TANH), "activation = .*: must use jax.numpy"),
        (lambda: ec.chi(0.0, 1.0, lambda h: h.sum()), r"activation = .*: turns an array \[3\] into"),
        (lambda: errors.require_finite("j0", "0"), "j0 = '0': must be real numbers"),
        (lambda: errors.require_finite("j0", 1j), "j0 = 1j: must be real numbers"),
    ],
)
def test_what_is_no_state_map_or_number_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
