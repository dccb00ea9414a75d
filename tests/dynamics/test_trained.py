import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos import analysis
from edgechaos.dynamics import input_dependence, trained
from edgechaos.dynamics.cuts import exponents_on_cuts

KEY = jax.random.key(3)
LENGTHS = trained.Lengths(20, 40, 3, 64, 1e-4)
IMAGES = jax.random.uniform(jax.random.key(1), (70, 80))


@pytest.fixture(scope="module")
def measured():
    """Two kernels of two members, one ordered and one chaotic."""
    keys = jax.random.split(KEY, 2)
    kernels = np.stack([[ec.init_kernel(key, 80, j=j) for key in keys] for j in (0.5, 3.0)])
    return kernels, trained.measure_kernels(kernels, IMAGES, KEY, LENGTHS)


def test_each_kernel_stands_where_it_was_given(measured):
    """[kernel, control, member]: the entry of one kernel is what is measured of it alone, shuffled or not."""
    kernels, found = measured
    assert found["distance"].shape == (2, 2, 2, 70)
    assert found["late_distance"].shape == (2, 2, 2, 64, 3)
    keys = jax.random.split(KEY, 4)
    for kernel, member in ((0, 1), (1, 0)):
        one = jnp.asarray(kernels[kernel, member])
        for control, which in enumerate((one, input_dependence.shuffled(keys[3], one))):
            alone = trained.measure_kernel(which, IMAGES, keys, LENGTHS)
            for name in ("distance", "exponent", "jacobian_norm", "input_share"):
                # of the ordered kernel, whose distance is far below 1e-4
                np.testing.assert_allclose(found[name][kernel, control, member], alone[name], rtol=0.02, atol=1e-6)


def test_order_and_chaos_are_told(measured):
    _, found = measured
    assert (found["exponent"][0] < 0).all()
    assert (found["exponent"][1] > 0).all()
    assert (found["distance"][0] < 1e-6).all()


def test_verdict_on_each_kernel(measured):
    kernels, found = measured
    place = jax.vmap(jax.vmap(ec.order_parameters))(jnp.asarray(kernels))
    j0, j = np.asarray(place.j0, float), np.sqrt(np.asarray(place.j_squared, float))
    theory = trained.predict_kernels(j0, j, 80)
    np.testing.assert_array_equal(theory["predicted_distance"][0], 0)
    np.testing.assert_allclose(theory["predicted_norm"][0], j[0], rtol=1e-6)  # at x = 0
    arrays = {"label": np.array(["epoch-1", "edge"]), "epoch": np.ones((2, 2), int), "j": j, **theory, **found}
    predicted, numbers = analysis.trained.expect(arrays), analysis.trained.compare(arrays)
    assert list(predicted) == list(numbers)
    assert predicted["exponent_at_epoch-1"] == pytest.approx(np.log(j[0]).mean(), rel=1e-5)
    np.testing.assert_allclose(numbers["distance_at_edge"], np.median(found["distance"][1, 0], axis=-1))
    np.testing.assert_array_equal(numbers["shuffled_exponent_at_edge"], found["exponent"][1, 1])


def test_exponents_along_a_cut_are_those_of_linear_and_settled_states():
    """At J0 = 0 and J < 1 the state is 0, and the exponent that of J times a matrix of radius 1: ln J, up to N."""
    exponent, error = exponents_on_cuts(jax.random.split(KEY, 2), np.zeros(1), np.array([1.5, 3.0]), 200, 128)
    assert exponent.shape == error.shape == (2, 1, 2)
    np.testing.assert_allclose(exponent[:, 0], np.tile(np.log([1 / 1.5, 1 / 3]), (2, 1)), atol=0.12)
    np.testing.assert_allclose(np.diff(exponent[:, 0]), -np.log(2), rtol=1e-4)
