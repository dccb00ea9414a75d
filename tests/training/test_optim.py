import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec

ETA, ALPHA, LAMBDA, STEPS = 0.05, 0.8, 0.02, 50


def problem(dtype=np.float64):
    """Parameters, and the gradient of a quadratic with a cross term, as NumPy."""
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(4, 3)).astype(dtype), "bias": rng.normal(size=3).astype(dtype)}
    target = rng.normal(size=(4, 3)).astype(dtype)

    def gradient(params):
        return {"kernel": params["kernel"] - target + params["bias"], "bias": params["bias"] + params["kernel"].sum(0)}

    return params, gradient


def numpy_loop(mode):
    """Eq. 6, entry by entry as it is printed, in float64."""
    params, gradient = problem()
    velocity = {name: np.zeros_like(value) for name, value in params.items()}
    for _ in range(STEPS):
        slopes = gradient(params)
        before = dict(params)
        for name in params:
            penalised = LAMBDA if name == "kernel" else 0.0
            coupled = penalised if mode == "coupled" else 0.0
            velocity[name] = ALPHA * velocity[name] - ETA * (slopes[name] + 2 * coupled * before[name])
            shrink = 2 * ETA * penalised / (1 - ALPHA) if mode == "decoupled" else 0.0
            params[name] = before[name] + velocity[name] - shrink * before[name]
    return params


def run(optimizer, gradient, params):
    state = optimizer.init(params)
    for _ in range(STEPS):
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_eq_6_in_numpy(mode, dtype, rtol):
    with jax.enable_x64(dtype == np.float64):
        params, gradient = problem(dtype)
        result = run(ec.sgd(ETA, ALPHA, LAMBDA, mode), gradient, jax.tree.map(jnp.asarray, params))
    for name, expected in numpy_loop(mode).items():
        assert result[name].dtype == dtype
        np.testing.assert_allclose(result[name], expected, rtol, atol=rtol)


def test_equals_optax_sgd_without_decay():
    params, gradient = problem(np.float32)
    params = jax.tree.map(jnp.asarray, params)
    ours, theirs = run(ec.sgd(ETA, ALPHA), gradient, params), run(optax.sgd(ETA, ALPHA), gradient, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, theirs)


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
def test_decay_halves_weights_when_eq_c4_says(mode):
    """Without gradients the weights fall as exp(-delta t) after the momentum's own transient."""
    eta, alpha, decay = 0.01, 0.5, 0.01
    params = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}
    optimizer = ec.sgd(eta, alpha, decay, mode)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        return (optax.apply_updates(params, updates), state), None

    delta = 2 * eta * decay / (1 - alpha)
    half_life = int(np.log(2) / delta)
    (result, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=half_life)
    # the transient shifts time by alpha / (1 - alpha) = 1 step, a relative 4e-4
    np.testing.assert_allclose(result["kernel"], 0.5, rtol=2e-3)
    assert float(result["bias"][0]) == 1.0


def test_hyperparameters_are_vmap_axes_and_do_not_recompile():
    params, gradient = problem(np.float32)
    params = jax.tree.map(jnp.asarray, params)
    traces = 0

    def final(eta, alpha, decay):
        nonlocal traces
        traces += 1
        return run(ec.sgd(eta, alpha, decay), gradient, params)["kernel"]

    compiled = jax.jit(final)
    grid = jnp.array([[0.01, 0.0, 0.0], [0.05, 0.8, 0.02], [0.02, 0.5, 0.1]])
    one_by_one = jnp.stack([compiled(*row) for row in grid])
    assert traces == 1
    np.testing.assert_allclose(jax.vmap(final)(*grid.T), one_by_one, rtol=1e-5, atol=1e-6)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode = 'couple': must be one of coupled, decoupled"):
        ec.sgd(0.1, mode="couple")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((-1.0, 0.5, 0.0), "learning_rate = -1.0: must be >= 0"),
        ((np.nan, 0.5, 0.0), "learning_rate = nan: must be >= 0"),
        ((0.1, 2.0, 0.0), r"momentum = 2.0: must be in \[0, 1\)"),
        ((0.1, 0.5, -1.0), "weight_decay = -1.0: must be >= 0"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        ec.sgd(*numbers)


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
def test_an_array_as_learning_rate_keeps_the_type_of_the_parameters(mode):
    params = {"kernel": jnp.ones((3, 3), jnp.bfloat16)}

    def train(learning_rate):
        optimizer = ec.sgd(learning_rate, 0.5, jnp.float32(1e-3), mode)

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(params, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=3)[0]

    trained, state = jax.vmap(train)(jnp.array([0.1, 0.2], jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves((trained, state))} == {jnp.dtype(jnp.bfloat16)}
