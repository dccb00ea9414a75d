import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

import edgechaos as ec

PARAMS: dict = {"a": {"kernel": ec.init_kernel(jax.random.key(0), 30), "bias": jnp.ones(30)}, "b": jnp.ones((30, 4))}


def watched(num_steps, every, capacity, params=PARAMS):
    """Parameters grow by 1 % per step."""
    optimizer = optax.chain(ec.monitor(every, capacity), optax.scale(1.0))

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.tree.map(lambda leaf: 0.01 * leaf, params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=num_steps)
    return params, state


@pytest.mark.parametrize(
    ("num_steps", "stride", "entries"), [(5, 10, 1), (41, 10, 5), (79, 10, 8), (81, 20, 5), (700, 160, 5)]
)
def test_entries_are_those_of_their_steps(num_steps, stride, entries):
    _, state = watched(num_steps, 10, 8)
    trajectory = ec.monitored(state, PARAMS)
    np.testing.assert_array_equal(trajectory.step, stride * np.arange(entries))
    assert trajectory.names == ("a/kernel", "b")
    start = ec.order_parameters(PARAMS["a"]["kernel"])
    np.testing.assert_allclose(trajectory.j_squared[:, 0], start.j_squared * 1.01 ** (2.0 * trajectory.step), rtol=1e-3)
    np.testing.assert_allclose(trajectory.j0[:, 0], start.j0 * 1.01 ** (1.0 * trajectory.step), rtol=1e-3, atol=1e-6)


def test_memory_is_bounded_and_updates_pass():
    params, state = watched(1000, 1, 16)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state)) < 500
    np.testing.assert_allclose(params["b"], 1.01**1000, rtol=1e-3)


def test_under_vmap():
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    _, state = jax.vmap(lambda params: watched(30, 10, 4, params))(batch)
    one = jax.tree.map(lambda leaf: leaf[1], state)
    np.testing.assert_array_equal(ec.monitored(one, PARAMS).step, [0, 10, 20])
    np.testing.assert_allclose(
        ec.monitored(one, PARAMS).j_squared[0, 0], 4 * ec.order_parameters(PARAMS["a"]["kernel"]).j_squared, rtol=1e-5
    )


def test_plot_has_a_line_per_kernel():
    axes = Figure().subplots()
    ec.monitored(watched(30, 10, 4)[1], PARAMS).plot(axes)
    assert axes.get_legend_handles_labels()[1] == ["a/kernel", "b", "edge of chaos (tanh)"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.monitor(0), "every = 0: must be >= 1"),
        (lambda: ec.monitor(capacity=5), "capacity = 5: must be an even number >= 2"),
        (lambda: ec.monitor().init({"bias": jnp.ones(3)}), "there is no kernel"),
        (lambda: ec.monitor().update(PARAMS, ec.monitor().init(PARAMS)), "needs the parameters"),
        (lambda: ec.monitored(optax.sgd(0.1).init(PARAMS), PARAMS), "there are 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
