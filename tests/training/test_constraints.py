import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec
from edgechaos import data, training
from edgechaos.runs.config import TRAINING_FIELDS
from edgechaos.training import constraints

PARAMS = {"hidden": {"kernel": ec.init_kernel(jax.random.key(0), 40, j=1.3)}, "output": {"kernel": jnp.ones((40, 3))}}


def after(optimizer, num_steps, growth=0.0):
    """Kernels after steps whose updates are noise that makes J^2 grow."""

    def step(carry, key):
        params, state = carry
        noise = jax.tree.map(lambda leaf: (growth / 40) ** 0.5 * jax.random.normal(key, leaf.shape), params)
        updates, state = optimizer.update(noise, state, params)
        return (optax.apply_updates(params, updates), state), ec.order_parameters(params["hidden"]["kernel"]).j_squared

    return jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), jax.random.split(jax.random.key(1), num_steps))


def test_hard_sphere_keeps_the_norm():
    (params, _), _ = after(constraints.hard_sphere(), 20, growth=0.01)
    assert jnp.linalg.norm(params["hidden"]["kernel"]) == pytest.approx(40**0.5, rel=1e-5)


def stack():
    """Three layers, and attention kernels whose inputs or outputs have two axes."""
    keys = jax.random.split(jax.random.key(3), 5)
    layers = jnp.stack([ec.init_kernel(key, 16, j=j) for key, j in zip(keys, (0.5, 1.0, 3.0), strict=False)])
    query, out = (ec.init_kernel(key, 16, j=2.0) for key in keys[3:])
    return {
        "layers": {"dense": {"kernel": layers}},
        "attention": {"query": {"kernel": query.reshape(16, 4, 4)}, "out": {"kernel": out.reshape(4, 4, 16)}},
    }


@pytest.mark.parametrize("how", constraints.NORMS)
@pytest.mark.parametrize(("measure", "target", "j_squared"), [("j_squared", 0.5, 0.5), ("chi", 1.0, 1.0)])
def test_one_interface_keeps_each_layer_at_its_radius(how, measure, target, j_squared):
    params = stack()
    optimizer = constraints.keep_norm(target, how, measure, step=0.01)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(40):
        noise = jax.tree.map(lambda leaf, step=step: 1e-3 * jax.random.normal(jax.random.key(step), leaf.shape), params)
        updates, state = update(noise, state, params)
        params = optax.apply_updates(params, updates)
    layers = [*params["layers"]["dense"]["kernel"], *(leaf["kernel"] for leaf in params["attention"].values())]
    found = [float(ec.order_parameters(jnp.reshape(layer, (16, 16))).j_squared) for layer in layers]
    if how == "soft":  # one-sided: the layer that starts below stays there
        assert found.pop(0) < 0.4
    # the norm has the mean in it, J0^2 / n of J^2
    np.testing.assert_allclose(found, j_squared, rtol=0.02 if how == "soft" else 0.15)


def test_hyperball_fixes_both_norms():
    params = {"hidden": PARAMS["hidden"]}
    optimizer = constraints.hyperball(0.02, j=1.5)
    state = optimizer.init(params)
    for step in range(5):
        before = params["hidden"]["kernel"]
        gradient = {"hidden": {"kernel": 10.0**step * jax.random.normal(jax.random.key(step), (40, 40))}}
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        assert float(jnp.linalg.norm(params["hidden"]["kernel"])) == pytest.approx(1.5 * 40**0.5, rel=1e-5)
        if step:  # the first comes from another radius
            turned = float(jnp.linalg.norm(params["hidden"]["kernel"] - before))
            assert turned == pytest.approx(0.02 * 1.5 * 40**0.5, rel=0.02)
    still, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
    np.testing.assert_allclose(still["hidden"]["kernel"], 0, atol=1e-6)


@pytest.mark.parametrize(("target", "activation"), [(0.5, "tanh"), (1.1389, "tanh"), (1.0, "relu"), (0.7, "erf")])
def test_radius_by_chi_is_where_chi_is(target, activation):
    j_squared = constraints.j_squared_at_chi(target, activation)
    assert float(ec.chi(0.0, j_squared**0.5, activation)) == pytest.approx(target, rel=2e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: constraints.keep_norm(how="ball"), "how = 'ball': must be one of soft, hard, hyperball"),
        (lambda: constraints.keep_norm(measure="j"), "measure = 'j': must be one of j_squared, chi"),
        (lambda: constraints.keep_norm(how="hyperball"), "step: hyperball needs"),
        (lambda: constraints.keep_norm(-1.0, "hard"), "target = -1.0: must be > 0"),
        (lambda: constraints.j_squared_at_chi(1e9), "chi does not reach it"),
        (lambda: constraints.hyperball(-1.0), "step = -1.0: must be >= 0 and finite"),
        (lambda: constraints.hard_sphere().init({"w": jnp.ones((3, 4))}), "no square kernel"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["hard_sphere", "norm_control", "constrained_parameters", "hyperball"])
def test_other_kernels_are_left_alone(name):
    optimizer = training.CONSTRAINTS[name](0.1, 1.0)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["output"]["kernel"], 0)
    assert jnp.abs(updates["hidden"]["kernel"]).max() > 0


def test_norm_control_goes_to_the_norm_from_both_sides():
    for scale in (0.5, 2.0):
        kernel = scale * PARAMS["hidden"]["kernel"]
        optimizer = constraints.norm_control(0.05)
        for _ in range(300):
            update, _ = optimizer.update(0 * kernel, optimizer.init(kernel), kernel)
            kernel = kernel + update
        assert jnp.linalg.norm(kernel) == pytest.approx(40**0.5, rel=1e-4)


def test_one_step_of_constrained_parameters_is_that_of_its_formula():
    kernel = np.asarray(PARAMS["hidden"]["kernel"], np.float64)
    multiplier = 2.0 * (kernel.std() - 1 / 40**0.5)
    expected = -multiplier * (kernel - kernel.mean()) / (1600 * kernel.std())
    optimizer = constraints.constrained_parameters(rate=2.0)
    updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["hidden"]["kernel"], expected, rtol=1e-4, atol=1e-9)
    assert state.multiplier["hidden"]["kernel"] == pytest.approx(multiplier, rel=1e-5)
    gradient = jax.grad(lambda w: w.std())(PARAMS["hidden"]["kernel"])
    np.testing.assert_allclose(updates["hidden"]["kernel"], -multiplier * gradient, rtol=1e-4, atol=1e-9)


def test_constrained_parameters_bound_growth():
    _, j_squared = after(constraints.constrained_parameters(), 20_000, growth=1e-3)
    assert j_squared[-5000:].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("constraint", "target"), [*((name, 1.0) for name in training.CONSTRAINTS), ("hold_two_sided", 2.0)]
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_constraint_trains(constraint, target, optimizer):
    dataset = data.load("digits")
    spec = training.Spec(10, 32, init_j=1.0, optimizer=optimizer, constraint=constraint)
    numbers = training.Hyperparameters(0.002 if optimizer == "adam" else 0.08, target=target)
    _, history = jax.jit(training.make_train(dataset, spec, 6))(jax.random.key(0), numbers)
    assert history.test_accuracy[-1] > 0.85
    assert (history.clock[-1] != 0) == constraint.startswith("hold")
    if constraint not in {"none", "norm_control", "constrained_parameters"}:
        np.testing.assert_allclose(history.j_squared[4:], target, atol=0.02 * target)  # J^2 of N = 64 starts 2 % off
    assert TRAINING_FIELDS["constraint"].allows(constraint)


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
def test_adam_with_decay_is_optax_adam_beside_it(mode):
    ours, decay = ec.adam(0.01, 0.1, mode), 2 * 0.1
    mask = jax.tree.map(lambda leaf: leaf.ndim == 2, PARAMS)
    theirs = (
        optax.chain(optax.add_decayed_weights(decay, mask), optax.adam(0.01))
        if mode == "coupled"
        else optax.adamw(0.01, weight_decay=decay, mask=mask)
    )
    gradient = jax.tree.map(jnp.cos, PARAMS)
    states = [ours.init(PARAMS), theirs.init(PARAMS)]
    for _ in range(3):
        (one, states[0]), (other, states[1]) = (
            optimizer.update(gradient, state, PARAMS) for optimizer, state in zip((ours, theirs), states, strict=True)
        )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_unknown_mode_of_adam():
    with pytest.raises(ValueError, match="mode = 'l2': must be one of coupled, decoupled"):
        ec.adam(0.1, mode="l2")
