import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec
from edgechaos.training.order import order_parameter_errors


def test_hidden_map_is_eq_2():
    rng = np.random.default_rng(1)
    kernel, x = rng.normal(size=(5, 5)), rng.normal(size=(3, 5))
    expected = np.array([[np.tanh(sum(row[i] * kernel[i, k] for i in range(5))) for k in range(5)] for row in x])
    np.testing.assert_allclose(ec.hidden_map(jnp.array(kernel, jnp.float32), jnp.array(x, jnp.float32)), expected, 1e-5)


@pytest.mark.parametrize(("j0", "j"), [(0.0, 0.5), (-0.7, 1.0), (2.0, 1.5)])
def test_init_kernel_stands_where_asked(j0, j):
    num_neurons = 784
    place = ec.order_parameters(ec.init_kernel(jax.random.key(3), num_neurons, j0, j))
    error = order_parameter_errors(jnp.array(j**2), num_neurons, num_neurons)
    assert abs(place.j0 - j0) < 4 * error.j0
    assert abs(place.j_squared - j**2) < 4 * error.j_squared


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_init_kernel_has_the_type_that_was_asked_for(double, dtype):
    """Also where J0 and J are NumPy's, whose type counts in float64; the numbers are those of float64, rounded."""
    key, j0, j = jax.random.key(0), np.float64(1.0), np.float64(1.5)
    kernel = ec.init_kernel(key, 50, j0, j, dtype)
    assert kernel.dtype == dtype
    noise = jax.random.normal(key, (50, 50), dtype).astype(jnp.float64)
    np.testing.assert_allclose(kernel.astype(jnp.float64), 1 / 50 + 1.5 * noise / 50**0.5, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("num_neurons", [64, 784])
def test_classifier_has_the_papers_parameters(num_neurons):
    params = ec.Classifier(10).init(jax.random.key(0), jnp.zeros((1, num_neurons)))["params"]
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes == {
        "hidden": {"kernel": (num_neurons, num_neurons)},
        "output": {"kernel": (num_neurons, 10), "bias": (10,)},
    }
    bound = np.sqrt(6 / (num_neurons + 10))  # Glorot and Bengio's uniform limit
    output = np.asarray(params["output"]["kernel"])
    assert np.abs(output).max() <= bound
    # the standard deviation of a uniform sample of n values has relative error sqrt(0.2 / n)
    np.testing.assert_allclose(output.std(), bound / np.sqrt(3), rtol=4 * np.sqrt(0.2 / output.size))
    assert not params["output"]["bias"].any()
    assert float(ec.order_parameters(params["hidden"]["kernel"]).j_squared) == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize(("activation", "function"), [("tanh", np.tanh), ("relu", lambda h: np.maximum(h, 0))])
def test_classifier_computes_eq_2_and_a_softmax_layer(activation, function):
    network = ec.Classifier(3, activation, init_j=1.0)
    x = jax.random.uniform(jax.random.key(1), (4, 6))
    variables = network.init(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    expected = function(x @ params["hidden"]["kernel"]) @ params["output"]["kernel"] + params["output"]["bias"]
    np.testing.assert_allclose(np.asarray(network.apply(variables, x)), expected, rtol=1e-5, atol=1e-6)


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation = 'thanh': must be one of tanh, relu"):
        ec.hidden_map(jnp.eye(2), jnp.ones(2), "thanh")
