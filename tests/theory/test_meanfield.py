import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, fsolve
from scipy.special import erf

import edgechaos as ec
from edgechaos.theory.activations import activation_function
from edgechaos.theory.quadrature import gaussian_average

PHI = {"tanh": np.tanh, "erf": erf, "relu": lambda h: np.maximum(h, 0)}
SLOPE_SQUARED = {"tanh": lambda h: np.cosh(h) ** -4.0, "erf": lambda h: 4 / np.pi * np.exp(-2 * h**2)}


def average(function, mean, width):
    """int Dz f(mean + width z) by adaptive quadrature, in pieces that shrink towards the steepest place."""
    if width == 0:
        return float(function(np.array(mean)))
    centre = np.clip(-mean / width, -8, 8)
    steps = 2.0 ** -np.arange(12)
    inner = np.concatenate([centre - steps, [centre], centre + steps])
    edges = np.concatenate([[-9], np.sort(inner[np.abs(inner) < 9]), [9]])
    weight = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    integrand = lambda z: weight(z) * function(mean + width * z)  # noqa: E731
    return sum(quad(integrand, a, b, epsabs=1e-14)[0] for a, b in itertools.pairwise(edges))


def reference_state(j0, j, phi=np.tanh):
    """The largest solution by SciPy, from the saturated side."""

    def residual(state):
        mu, q0 = state
        width = j * np.sqrt(max(q0, 0))
        return average(phi, j0 * mu, width) - mu, average(lambda h: phi(h) ** 2, j0 * mu, width) - q0

    gain = 2 / np.sqrt(np.pi) if phi is erf else 1.0
    if j0 <= 0:
        return 0.0, brentq(lambda q0: residual((0.0, q0))[1], 1e-6, 1.0, xtol=1e-13) if gain * j > 1 else 0.0
    return tuple(fsolve(residual, (0.99, 0.99), xtol=1e-12))


def reference_chi(j0, j, state, name="tanh"):
    mu, q0 = state
    return j**2 * average(SLOPE_SQUARED[name], j0 * mu, j * np.sqrt(q0))


# both phases, both signs of J0, the ferromagnetic side, its transition (J0 = 1.01 at J = 0.5), and a sharp integrand
CELLS = [(-1.5, 1.5), (0.0, 1.3), (0.0, 50.0), (0.8, 2.0), (1.5, 0.5), (2.0, 1.4), (3.0, 2.0), (-0.5, 0.5)]
CELLS += [(1.01, 0.5), (60.0, 50.0), (0.0, 1.05), (1.5, 0.05)]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("j0", "j"), CELLS)
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_fixed_point_and_chi_against_scipy(name, j0, j):
    expected = reference_state(j0, j, PHI[name])
    state, left_hand_side = ec.fixed_point(j0, j, name), ec.chi(j0, j, name)
    np.testing.assert_allclose([state.mu, state.q0], expected, atol=1e-8)
    np.testing.assert_allclose(left_hand_side, reference_chi(j0, j, expected, name), rtol=1e-7)
    assert state.converged


@pytest.mark.parametrize(("j0", "j"), CELLS)
def test_single_precision(j0, j):
    expected = reference_state(j0, j)
    state = ec.fixed_point(j0, j)
    # float32 rounds sums of 416 terms to about 1e-6, which 1 / (1 - m), m the slope of the map, turns into an error of
    # the state: m is 0.98 at J0 = 1.01
    np.testing.assert_allclose([state.mu, state.q0], expected, atol=1e-4)
    np.testing.assert_allclose(ec.chi(j0, j), reference_chi(j0, j, expected), rtol=3e-4)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("width", [0.01, 1.0, 10.0, 50.0, 1000.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, 30.0])
@pytest.mark.parametrize("name", PHI)
def test_quadrature(name, mean, width):
    both = gaussian_average(
        lambda h: jnp.stack([activation_function(name)(h), activation_function(name)(h) ** 2]),
        jnp.array(mean),
        jnp.array(width),
    )
    expected = [average(PHI[name], mean, width), average(lambda h: PHI[name](h) ** 2, mean, width)]
    np.testing.assert_allclose(both, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("double")
def test_relu_in_closed_form():
    mean, width = jnp.array(0.7), jnp.array(1.9)
    a = 0.7 / 1.9
    density, distribution = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi), (1 + erf(a / np.sqrt(2))) / 2
    np.testing.assert_allclose(
        gaussian_average(jax.nn.relu, mean, width), 0.7 * distribution + 1.9 * density, rtol=1e-12
    )
    square = gaussian_average(lambda h: jax.nn.relu(h) ** 2, mean, width)
    np.testing.assert_allclose(square, (0.7**2 + 1.9**2) * distribution + 0.7 * 1.9 * density, rtol=1e-12)


@pytest.mark.usefixtures("double")
def test_erf_in_closed_form():
    """q0 = (2 / pi) arcsin(2 s / (1 + 2 s)), s = J^2 q0 (Williams 1997), and chi likewise."""
    j = 1.7
    q0 = brentq(lambda q: 2 / np.pi * np.arcsin(2 * j**2 * q / (1 + 2 * j**2 * q)) - q, 1e-3, 1, xtol=1e-14)
    np.testing.assert_allclose(ec.fixed_point(0.0, j, "erf").q0, q0, atol=1e-11)
    np.testing.assert_allclose(ec.chi(0.0, j, "erf"), 4 / np.pi * j**2 / np.sqrt(1 + 4 * j**2 * q0), rtol=1e-10)


@pytest.mark.parametrize(("j0", "j"), [(7.0, 0.5), (10.0, 0.5), (12.0, 1.5), (40.0, 1.0)])
def test_a_saturated_state_is_known_in_single_precision(j0, j):
    """1 - tanh^2 is rounding there: chi is as good as 0, and not unknown."""
    state = ec.fixed_point(j0, j)
    assert state.converged
    np.testing.assert_allclose([state.mu, state.q0], 1, atol=1e-5)
    assert 0 <= float(ec.chi(j0, j)) < 1e-10
    assert float(ec.predicted_distance(j0, j)) == 0


@pytest.mark.usefixtures("double")
def test_limits():
    np.testing.assert_allclose(ec.chi(0.0, 1e-3), 1e-6, rtol=1e-9)
    # J -> infinity: signs, q0 = 1 - O(1 / J); chi = J^2 int Dz sech^4(J z) = (4 / 3) J / sqrt(2 pi)
    np.testing.assert_allclose(ec.fixed_point(0.0, 500.0).q0, 1 - 2 / np.sqrt(2 * np.pi) / 500, rtol=1e-5)
    np.testing.assert_allclose(ec.chi(0.0, 500.0), 4 / 3 * 500 / np.sqrt(2 * np.pi), rtol=2e-3)
    # just above the transition q0 = J^2 - 1 to leading order: 2 / 2 of the expansion of tanh^2
    np.testing.assert_allclose(ec.fixed_point(0.0, 1 + 1e-4).q0, 1e-4, rtol=1e-3)


def test_trivial_state_in_the_ordered_phase():
    j = jnp.array([0.05, 0.5, 0.9])
    state = ec.fixed_point(-0.3, j)
    assert state.converged.all()
    np.testing.assert_array_equal(state.q0, 0)
    np.testing.assert_allclose(ec.chi(jnp.zeros(3), j), j**2, rtol=1e-5)
    np.testing.assert_array_equal(ec.predicted_distance(-0.3, j), 0)


@pytest.mark.usefixtures("double")
def test_relu_has_no_fixed_point_beyond_its_boundary():
    j = np.array([1.4, 1.4142, 1.4143, 5.0])
    state = ec.fixed_point(0.0, j, "relu")
    np.testing.assert_array_equal(state.converged, [True, True, False, False])
    np.testing.assert_array_equal(state.q0, [0, 0, np.inf, np.inf])
    np.testing.assert_allclose(ec.chi(0.0, j, "relu"), j**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(ec.edge_of_chaos(0.0, "relu"), np.sqrt(2), atol=1e-9)
    np.testing.assert_array_equal(ec.predicted_distance(0.0, j, "relu"), [0, 0, np.inf, np.inf])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("j0", "j"), [(-2.0, 1.0), (0.5, 0.8), (-0.4, 1.6)])
def test_relu_follows_the_direction_of_its_state(j0, j):
    """chi = J^2 P(field > 0), in the direction mu / sqrt(q0) that iteration of the closed forms ends in."""
    m = 1.0
    for _ in range(2000):
        a = j0 * m / j
        density, distribution = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi), (1 + erf(a / np.sqrt(2))) / 2
        m = (a * distribution + density) / np.sqrt((a**2 + 1) * distribution + a * density)
    np.testing.assert_allclose(ec.chi(j0, j, "relu"), j**2 * (1 + erf(j0 * m / j / np.sqrt(2))) / 2, rtol=1e-6)


@pytest.mark.usefixtures("double")
def test_alternating_state_is_the_mirror_of_the_ferromagnetic_one():
    state = ec.fixed_point(-3.0, 1.0)
    assert float(state.mu) == pytest.approx(0, abs=1e-12)
    assert not state.converged
    np.testing.assert_allclose(ec.chi(-3.0, 1.0), ec.chi(3.0, 1.0))
    kernel = ec.init_kernel(jax.random.key(0), 1000, -3.0, 1.0, jnp.float64)
    x = jax.lax.fori_loop(0, 201, lambda _, x: jnp.tanh(kernel @ x), jax.random.normal(jax.random.key(1), (1000,)))
    assert abs(float(x.mean())) == pytest.approx(float(ec.fixed_point(3.0, 1.0).mu), abs=0.02)
    assert np.sign(x.mean()) != np.sign(jnp.tanh(kernel @ x).mean())


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("j0", "j"), [(6.0, 4.0), (0.0, 2.0), (12.0, 10.0)])
def test_overlap_solves_its_equation(j0, j):
    """Against a plain product rule of 1,601 x 1,601 points."""
    state, c = ec.fixed_point(j0, j), float(ec.overlap(j0, j))
    z = np.linspace(-8, 8, 1601)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def after(c):
        own = j * np.sqrt(float(state.q0) - c) * z
        means = j0 * float(state.mu) + j * np.sqrt(c) * z
        return weight @ (np.tanh(means[:, None] + own) @ weight) ** 2

    assert c == pytest.approx(after(c), abs=1e-8)
    assert c < float(state.q0)
    # the other root, c = q0, is the unstable one: overlaps below it move away
    assert after(0.99 * float(state.q0)) < 0.99 * float(state.q0)
    np.testing.assert_allclose(ec.predicted_distance(j0, j), np.sqrt(2 * (float(state.q0) - c)))


def test_overlap_is_q0_in_the_ferromagnetic_phase():
    np.testing.assert_allclose(ec.overlap(3.0, 1.0), ec.fixed_point(3.0, 1.0).q0)
    assert float(ec.predicted_distance(3.0, 1.0)) == 0


def test_exponent_is_that_of_the_leading_mode():
    np.testing.assert_allclose(ec.predicted_exponent(0.0, 0.6), np.log(0.6), rtol=1e-5)
    np.testing.assert_allclose(ec.predicted_exponent(0.8, 0.6), np.log(0.8), rtol=1e-4)
    np.testing.assert_allclose(ec.predicted_exponent(0.0, 3.0), np.log(ec.chi(0.0, 3.0)) / 2, rtol=1e-5)
    # a difference along the mean decides close to the ferromagnetic transition
    step = lambda x: jnp.tanh(ec.init_kernel(jax.random.key(0), 1500, 1.2, 0.5) @ x)  # noqa: E731
    measured = ec.lyapunov_exponent(step, jnp.ones(1500), jax.random.key(1), 100, 100).exponent
    assert float(measured) == pytest.approx(float(ec.predicted_exponent(1.2, 0.5)), abs=0.03)
    assert float(measured) > float(np.log(ec.chi(1.2, 0.5)) / 2) + 0.1


def test_edge_is_one_up_to_equal_j0_and_j():
    np.testing.assert_array_equal(ec.edge_of_chaos(jnp.linspace(-1, 1, 7)), np.ones(7))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("ratio", [1.05, 1.3, 1.7, 2.0])
def test_edge_bends_as_scipy_finds(ratio):
    def excess(j):
        return reference_chi(ratio * j, j, reference_state(ratio * j, j)) - 1

    expected = brentq(excess, 1.0 + 1e-3, 30.0, xtol=1e-9)
    np.testing.assert_allclose(ec.edge_of_chaos(jnp.array([ratio, -ratio])), expected, atol=1e-6)


@pytest.mark.usefixtures("double")
def test_edge_of_other_activations():
    np.testing.assert_allclose(ec.edge_of_chaos(jnp.array([-0.5, 0.5]), "erf"), np.sqrt(np.pi) / 2, rtol=1e-12)
    edge = ec.edge_of_chaos(0.5, jax.nn.sigmoid)  # q0 > 0 everywhere: no trivial state
    np.testing.assert_allclose(ec.chi(0.5 * edge, edge, jax.nn.sigmoid), 1, atol=1e-9)
    assert float(ec.edge_of_chaos(5.0)) == np.inf


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("j0", "j"), [(0.0, 0.5), (0.0, 1.5), (2.0, 1.0), (6.0, 4.0), (0.5, 1.2)])
@pytest.mark.parametrize("function", ["chi", "predicted_distance", "overlap", "predicted_exponent"])
def test_gradients_against_finite_differences(function, j0, j):
    value = lambda j0, j: getattr(ec, function)(j0, j)  # noqa: E731
    h = 1e-5
    measured = jax.grad(value, (0, 1))(j0, j)
    expected = (
        (value(j0 + h, j) - value(j0 - h, j)) / (2 * h),
        (value(j0, j + h) - value(j0, j - h)) / (2 * h),
    )
    np.testing.assert_allclose(measured, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.usefixtures("double")
def test_gradient_of_the_edge():
    h = 1e-5
    expected = (ec.edge_of_chaos(1.5 + h) - ec.edge_of_chaos(1.5 - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(ec.edge_of_chaos)(1.5), expected, rtol=1e-5)
    assert float(jax.grad(ec.edge_of_chaos)(0.5)) == 0


def test_arrays_jit_and_vmap_are_single_calls():
    j0, j = jnp.array([[0.0, 1.5], [3.0, -0.5]]), jnp.array([1.5, 2.0])

    def all_of_them(j0, j):
        return jnp.stack([ec.chi(j0, j), ec.predicted_distance(j0, j), ec.fixed_point(j0, j).q0])

    whole = all_of_them(j0, j)
    assert whole.shape == (3, 2, 2)
    np.testing.assert_allclose(whole[:, 1, 0], all_of_them(3.0, 1.5), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(all_of_them)(j0, j), whole, rtol=1e-5)
    mapped = jax.vmap(all_of_them, in_axes=(0, None), out_axes=1)(j0, j)
    np.testing.assert_allclose(mapped, whole, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.chi(0.0, 0.0), r"j = 0.0: must be in \(0, 1000\]"),
        (lambda: ec.fixed_point(0.0, jnp.array([1.0, -2.0])), r"j = -2.0: must be in \(0, 1000\]"),
        (lambda: ec.predicted_distance(np.nan, 1.0), "j0 = nan: must be finite"),
        (lambda: ec.edge_of_chaos(np.inf), "j0_over_j = inf: must be finite"),
        (lambda: ec.chi(0.0, 1.0, "sinh"), "activation = 'sinh': must be one of tanh, relu, erf, or a function"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
