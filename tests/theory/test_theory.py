"""Every function of the theory for seven activations, against plain iteration, SciPy's quadrature and simulation."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf, expit

import edgechaos as ec

NUM_NEURONS, NUM_ITERATIONS, NUM_SEEDS = 2000, 90, 2


def steep(h):
    return jnp.tanh(20 * h)


ACTIVATIONS: dict[str, Any] = {
    "tanh": "tanh",
    "erf": "erf",
    "relu": "relu",
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "sine": jnp.sin,
    "steep": steep,
}
PHI = {
    "tanh": np.tanh,
    "erf": erf,
    "relu": lambda h: np.maximum(h, 0),
    "gelu": lambda h: h * expit(2 * np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)),
    "silu": lambda h: h * expit(h),
    "sine": np.sin,
    "steep": lambda h: np.tanh(20 * h),
}
# collapsed or settled in order, chaotic, and another: ferromagnetic, growing, or with J0 < 0
CELLS = {
    "tanh": [(0.0, 0.8), (0.5, 2.0), (3.0, 1.0)],
    "erf": [(0.0, 0.7), (0.5, 2.0), (3.0, 1.0)],
    "relu": [(0.0, 1.2), (0.0, 1.8), (0.5, 1.6)],
    "gelu": [(0.0, 1.2), (0.0, 1.7), (0.5, 1.6)],
    "silu": [(0.0, 1.3), (0.0, 1.8), (-0.5, 2.2)],
    "sine": [(0.0, 0.8), (0.0, 1.5), (1.5, 0.8)],
    "steep": [(0.0, 0.04), (0.0, 0.5), (0.3, 0.18)],
}
NAMES = list(CELLS)
Z = np.linspace(-9, 9, 2001)
WEIGHTS = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


def slope(name, h):
    """phi' by a central difference, in float64 good to 1e-9."""
    step = 1e-5 * max(1.0, float(np.abs(h).max()))
    return (PHI[name](h + step) - PHI[name](h - step)) / (2 * step)


@functools.cache
def iterated(name, j0, j):
    """(mu, q0) by plain iteration from mu = q0 = 1, as the documentation has it, with another quadrature."""
    mu, q0 = float(j0 > 0), 1.0
    for _ in range(5000):
        values = PHI[name](j0 * mu + j * np.sqrt(q0) * Z)
        before = mu, q0
        mu, q0 = WEIGHTS @ values, WEIGHTS @ values**2
        if q0 > 1e13:
            return np.inf, np.inf
        if q0 < 1e-11:
            return 0.0, 0.0
        if np.abs(np.subtract(before, (mu, q0))).max() < 1e-13 * q0:
            break
    return mu, q0


def averaged(function, mean, width):
    """int Dz function(mean + width z) by SciPy, in pieces around the place where the argument is 0."""
    edges = np.unique(np.clip([-9.0, -mean / width - 0.3, -mean / width, -mean / width + 0.3, 9.0], -9, 9))
    weight = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    pieces = itertools.pairwise(edges)
    return sum(quad(lambda z: weight(z) * function(mean + width * z), *piece, epsabs=1e-12)[0] for piece in pieces)


def theory(name, cells):
    """The functions of the theory for an array of cells, as NumPy arrays."""
    j0, j = np.array(cells).T
    phi = ACTIVATIONS[name]
    state = ec.fixed_point(j0, j, phi)
    found = {"mu": state.mu, "q0": state.q0, "converged": state.converged, "other_state": state.other_state}
    found |= {f: getattr(ec, f)(j0, j, phi) for f in ("chi", "predicted_exponent", "predicted_distance", "overlap")}
    return {key: np.asarray(values) for key, values in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_alone_in_arrays_shuffled_in_both_precisions(name):
    cells = CELLS[name]
    whole, backwards, alone = theory(name, cells), theory(name, cells[::-1]), theory(name, cells[1:2])
    with jax.enable_x64(True):
        double = theory(name, cells)
    for key, values in whole.items():
        np.testing.assert_allclose(backwards[key][::-1], values, rtol=1e-6)
        np.testing.assert_allclose(alone[key], values[1:2], rtol=1e-6)
        # float32 sums of 400 terms are good to 1e-6, which 1 / (1 - m) magnifies to 1e-4 where m is the slope
        np.testing.assert_allclose(double[key], values, rtol=3e-4, atol=3e-4)
    for (j0, j), mu, q0, converged in zip(cells, *(double[key] for key in ("mu", "q0", "converged")), strict=True):
        np.testing.assert_allclose((mu, q0), iterated(name, j0, j), rtol=1e-6, atol=1e-6)
        assert converged == np.isfinite(q0)


@pytest.mark.parametrize("name", NAMES)
def test_states_solve_their_equations_by_scipy(name):
    found = theory(name, CELLS[name])
    for place, (j0, j) in enumerate(CELLS[name]):
        mu, q0, c, chi = (float(found[key][place]) for key in ("mu", "q0", "overlap", "chi"))
        if not 0 < q0 < np.inf:
            continue
        mean, width = j0 * mu, j * np.sqrt(q0)
        assert averaged(PHI[name], mean, width) == pytest.approx(mu, abs=1e-4)
        assert averaged(lambda h: PHI[name](h) ** 2, mean, width) == pytest.approx(q0, abs=1e-4)
        assert j**2 * averaged(lambda h: slope(name, np.array(h)) ** 2, mean, width) == pytest.approx(chi, rel=1e-3)
        inner = PHI[name](mean + j * np.sqrt(c) * Z[:, None] + j * np.sqrt(max(q0 - c, 0)) * Z) @ WEIGHTS
        assert inner**2 @ WEIGHTS == pytest.approx(c, abs=1e-4)


@functools.cache
def simulated():
    """(mu, q0, distance / sqrt(N), exponent) of all cells at N = 2,000: means over the last third and two seeds.

    A column for each cell, which starts from x = 1 for J0 > 0 and from x ~ N(0, 1) otherwise, its twin, and a tangent.
    """
    names = [name for name in NAMES for _ in CELLS[name]]
    j0, j = np.array([cell for name in NAMES for cell in CELLS[name]], np.float32).T
    columns = {name: [place for place, other in enumerate(names) if other == name] for name in NAMES}
    kept = []
    for seed in range(NUM_SEEDS):
        random = np.random.default_rng(seed)
        couplings = random.normal(size=(NUM_NEURONS, NUM_NEURONS)).astype(np.float32) / np.sqrt(NUM_NEURONS)
        noise = random.normal(size=(3, NUM_NEURONS, 1)).astype(np.float32)
        x = np.where(j0 > 0, 1, noise[0]).astype(np.float32)
        twin, tangent = x + 1e-3 * noise[1], np.broadcast_to(noise[2], x.shape).copy()
        for time in range(NUM_ITERATIONS):
            states = np.concatenate([x, twin, tangent], axis=1)
            fields = np.tile(j, 3) * (couplings @ states) + np.tile(j0, 3) * states.mean(0)
            h, other, change = np.split(fields, 3, axis=1)
            for name, some in columns.items():
                phi = ACTIVATIONS[name] if callable(ACTIVATIONS[name]) else getattr(jnp, name, None)
                phi = phi or {"erf": jax.scipy.special.erf, "relu": jax.nn.relu}[name]
                x[:, some], twin[:, some] = PHI[name](h[:, some]), PHI[name](other[:, some])
                tangent[:, some] = jax.jvp(phi, (h[:, some],), (change[:, some],))[1]
            growth = np.linalg.norm(tangent, axis=0)
            tangent /= growth
            if time >= 2 * NUM_ITERATIONS // 3:
                apart = np.linalg.norm(np.float64(x) - twin, axis=0) / np.sqrt(NUM_NEURONS)
                kept.append([x.mean(0), np.mean(np.float64(x) ** 2, axis=0), apart, np.log(growth)])
            tangent = tangent.astype(np.float32)
    means = np.mean(kept, axis=0)
    return {name: means[:, some] for name, some in columns.items()}


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_2000_neurons_do_as_predicted(name):
    found = theory(name, CELLS[name])
    mu, q0, distance, exponent = simulated()[name]
    grows = np.isinf(found["q0"])
    assert (q0[grows] > 1e6).all()
    # an average over N neurons fluctuates by 1 / sqrt(N) of its size, and the state carries it on for some iterations
    tolerance = 5 / np.sqrt(NUM_NEURONS)
    np.testing.assert_allclose(np.abs(mu[~grows]), np.abs(found["mu"][~grows]), atol=tolerance)
    np.testing.assert_allclose(q0[~grows], found["q0"][~grows], atol=tolerance)
    np.testing.assert_allclose(distance[~grows], found["predicted_distance"][~grows], atol=tolerance)
    assert np.isinf(found["predicted_distance"][grows]).all()
    assert (distance[grows] > 1).all()
    np.testing.assert_allclose(exponent, found["predicted_exponent"], atol=tolerance / 2)


@pytest.mark.parametrize("name", ["gelu", "silu", "sine", "steep"])  # test_meanfield has the others
def test_edge_is_where_chi_turns_to_more_than_1(name):
    ratios = np.array([0.0, 0.5, 1.5])
    edges = np.asarray(ec.edge_of_chaos(ratios, ACTIVATIONS[name]))
    np.testing.assert_array_equal(ec.edge_of_chaos(ratios[::-1], ACTIVATIONS[name])[::-1], edges)
    np.testing.assert_array_equal(ec.edge_of_chaos(ratios[2], ACTIVATIONS[name]), edges[2])
    with jax.enable_x64(True):
        double = np.asarray(ec.edge_of_chaos(ratios, ACTIVATIONS[name]))
        below, beyond = (ec.chi(ratios * share * double, share * double, ACTIVATIONS[name]) for share in (0.98, 1.02))
    np.testing.assert_allclose(edges, double, rtol=1e-4)
    assert (np.asarray(below) < 1).all()
    assert (np.asarray(beyond) > 1).all()


def test_silu_rests_at_0_and_grows_from_1():
    state = ec.fixed_point(0.0, jnp.array([1.2, 1.8, 2.5]), jax.nn.silu)
    np.testing.assert_array_equal(state.q0, [0, np.inf, np.inf])
    np.testing.assert_array_equal(state.other_state, [False, True, False])  # at J > 2 the rest is unstable
    tanh = ec.fixed_point(jnp.array([-0.5, 0.0, 0.5, 1.0, 3.0, 3.0]), jnp.array([0.5, 1.0, 1.5, 1.0, 1.0, 2.9]))
    assert not tanh.other_state.any()


def test_what_is_not_known_is_nan():
    # relu with J0 = -6 J: the direction goes to and fro, and its slope with it
    state = ec.fixed_point(-6.0, 1.0, "relu")
    assert float(state.q0) == 0
    for function in (ec.chi, ec.predicted_exponent, ec.predicted_distance, ec.overlap):
        assert np.isnan(function(-6.0, 1.0, "relu"))
        # sin(100 z) is between the nodes
        assert np.isnan(function(0.0, 200.0, jnp.sin))
        # mu -> sin(4 mu) is as chaotic as the logistic map
        assert np.isnan(function(4.0, 0.05, jnp.sin))
    assert not ec.fixed_point(0.0, 200.0, jnp.sin).converged
    assert not ec.fixed_point(4.0, 0.05, jnp.sin).converged
    assert np.isnan(ec.edge_of_chaos(-6.0, "relu"))


@pytest.mark.parametrize("j", [1.5, 1.54, 1.56, 1.7, 1.9, 1.95, 2.3])
def test_exponent_of_a_relu_that_grows_is_that_of_its_size(j):
    """J / sqrt(2) per iteration: q0 grows by J^2 / 2, and a difference by its root."""
    for cells in (j, np.array([j, 0.5])):
        exponent = np.ravel(ec.predicted_exponent(0.0, cells, "relu"))[0]
        assert float(exponent) == pytest.approx(np.log(j / np.sqrt(2)), abs=1e-5)
