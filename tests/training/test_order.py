import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("shape", [(7, 7), (20, 3)])
def test_definition(dtype, rtol, shape):
    kernel = np.random.default_rng(0).normal(0.3, 0.2, shape).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        place = ec.order_parameters(jnp.asarray(kernel))
        assert place.j0.dtype == dtype
    reference = kernel.astype(np.longdouble)
    np.testing.assert_allclose(place.j0, shape[0] * reference.mean(), rtol)
    np.testing.assert_allclose(place.j_squared, shape[0] * ((reference - reference.mean()) ** 2).mean(), rtol)


def test_permutation_leaves_them_alone():
    kernel = jax.random.normal(jax.random.key(0), (30, 30))
    shuffled = jax.random.permutation(jax.random.key(1), kernel.reshape(-1)).reshape(30, 30)
    before, after = ec.order_parameters(kernel), ec.order_parameters(shuffled)
    np.testing.assert_allclose(before.j0, after.j0, rtol=1e-5)
    np.testing.assert_allclose(before.j_squared, after.j_squared, rtol=1e-5)


def test_sphere_identity():
    """||W||_F^2 = N J^2 + J0^2."""
    kernel = ec.init_kernel(jax.random.key(0), 50, j0=1.0, j=2.0)
    place = ec.order_parameters(kernel)
    np.testing.assert_allclose(jnp.sum(kernel**2), 50 * place.j_squared + place.j0**2, rtol=1e-5)


def test_standard_errors_are_those_of_many_samples():
    num_neurons, num_samples, j = 20, 4000, 1.3
    kernels = jax.vmap(lambda key: ec.init_kernel(key, num_neurons, 0.4, j))(
        jax.random.split(jax.random.key(0), num_samples)
    )
    places = jax.vmap(ec.order_parameters)(kernels)
    errors = ec.order_parameter_errors(jnp.array(j**2), num_neurons, num_neurons)
    # a standard deviation from n samples has relative error 1 / sqrt(2 n); 4 of them
    rtol = 4 / np.sqrt(2 * num_samples)
    np.testing.assert_allclose(places.j0.std(), errors.j0, rtol)
    np.testing.assert_allclose(places.j_squared.std(), errors.j_squared, rtol)
    np.testing.assert_allclose(errors.j_squared, np.sqrt(2) * j**2 / num_neurons, rtol=1e-6)


def test_half_precision_is_summed_in_float32():
    kernel = (1 + 0.1 * jax.random.normal(jax.random.key(0), (256, 256))).astype(jnp.bfloat16)
    place = ec.order_parameters(kernel)
    assert place.j_squared.dtype == np.float32
    exact = np.asarray(kernel).astype(np.float64)
    # bfloat16 itself would round J^2 to 3 digits at best
    np.testing.assert_allclose([place.j0, place.j_squared], [256 * exact.mean(), 256 * exact.var()], rtol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(784, 784), (3000, 40), (40, 3000)])
def test_sums_of_many_entries_far_from_0_are_accurate(rows, columns):
    """In float32, with a mean of 50 standard deviations: mean(W^2) - mean(W)^2 would lose 3 of 7 digits."""
    kernel = np.random.default_rng(0).normal(50, 1, (rows, columns)).astype(np.float32)
    place, exact = ec.order_parameters(jnp.asarray(kernel)), kernel.astype(np.float64)
    np.testing.assert_allclose([place.j0, place.j_squared], [rows * exact.mean(), rows * exact.var()], rtol=2e-5)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (5, 8, 16), (2, 3, 4)])
def test_fan_in_is_all_axes_but_the_last(shape):
    """As `phase_report` has it: a convolution with entries of variance J^2 / n_in has J^2."""
    kernel = np.random.default_rng(0).normal(size=shape)
    n_in = int(np.prod(shape[:-1]))
    place = ec.order_parameters(jnp.asarray(kernel, jnp.float32))
    np.testing.assert_allclose([place.j0, place.j_squared], [n_in * kernel.mean(), n_in * kernel.var()], rtol=1e-4)
    last = len(shape) - 1
    axes = {"kernel": ec.KernelAxes(tuple(range(last)), last)}  # by itself (5, 8, 16) may be a stack as well
    row = ec.phase_report({"kernel": jnp.asarray(kernel, jnp.float32)}, axes=axes).rows[0]
    np.testing.assert_allclose(place.j_squared, row.j_squared, rtol=1e-5)


def test_lists_are_kernels_too():
    assert float(ec.order_parameters([[1.0, 3.0], [1.0, 3.0]]).j_squared) == 2


@pytest.mark.parametrize("kernel", [jnp.ones(3), jnp.ones((0, 3)), 1j * jnp.ones((2, 2))])
def test_what_is_no_kernel_is_refused(kernel):
    with pytest.raises(ValueError, match=r"kernel = array of \w+\[.*\]: must be real"):
        ec.order_parameters(kernel)
