"""hold_at_edge and monitor inside the machinery of other people's training loops: one row of the matrix per test."""

import subprocess
import sys
from functools import partial

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

import edgechaos as ec
from edgechaos.training.held import find_state
from tests.processes import ROOT

KEY = jax.random.key(0)
BOTH = {
    "hold": lambda **options: ec.hold_at_edge(**options),
    "monitor": lambda **options: ec.monitor(every=2, capacity=8),
}


def two_kernels(dtype=jnp.float32, j=1.3):
    keys = jax.random.split(KEY)
    return {name: {"kernel": ec.init_kernel(key, 20, j=j).astype(dtype)} for name, key in zip("ab", keys, strict=True)}


def noise(params, step, size=1e-3):
    """Stands in for a gradient."""
    return jax.tree.map(lambda leaf: size * jax.random.normal(jax.random.key(step), leaf.shape, leaf.dtype), params)


def steps(optimizer, params, state, num_steps=6, first=0):
    update = jax.jit(optimizer.update)
    for step in range(first, first + num_steps):
        updates, state = update(noise(params, step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def j_squared(params, name="a"):
    return float(ec.order_parameters(params[name]["kernel"]).j_squared)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_x64(double, name, dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), two_kernels())
    optimizer = optax.chain(optax.sgd(0.1), BOTH[name]())
    later, state = steps(optimizer, params, optimizer.init(params))
    assert jax.tree.map(jnp.dtype, later) == jax.tree.map(jnp.dtype, params)
    assert not {leaf.dtype for leaf in jax.tree.leaves(state)} & {jnp.dtype(jnp.float64)}
    if name == "hold":
        assert j_squared(later) < 1.05


@pytest.mark.parametrize("name", BOTH)
def test_parameters_and_state_can_be_donated(name):
    optimizer = optax.chain(optax.adam(1e-3), BOTH[name]())

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = two_kernels()
    state = optimizer.init(params)
    for number in range(3):
        params, state = step(params, state, noise(params, number))
    assert np.isfinite(j_squared(params))


@pytest.mark.parametrize("name", BOTH)
def test_shard_map_of_an_ensemble_and_pmap(name):
    """With shard_map's check of what varies over the mesh; tests/four_devices.py has more than one device."""
    optimizer = optax.chain(optax.sgd(0.1), BOTH[name]())
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), two_kernels())
    mesh, split = Mesh(np.array(jax.devices()[:1]), ("members",)), PartitionSpec("members")

    def member(params):
        def step(carry, number):
            params, state = carry
            updates, state = optimizer.update(noise(params, 0), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(6))[0]

    plain = jax.jit(jax.vmap(member))(params)
    mapped = jax.jit(jax.shard_map(jax.vmap(member), mesh=mesh, in_specs=split, out_specs=split))(params)
    by_device = jax.pmap(jax.vmap(member))(jax.tree.map(lambda leaf: leaf[None], params))
    for expected, one, other in zip(*map(jax.tree.leaves, (plain, mapped, by_device)), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(other[0], expected, rtol=1e-5, atol=1e-6)


def test_sharded_kernels_on_four_devices():
    result = subprocess.run(
        [sys.executable, "-m", "tests.four_devices"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["sharded", "explicit", "ensemble", "replicated"]


def test_vmap_over_targets():
    params, targets = two_kernels(j=2.0), jnp.array([0.5, 1.0, 2.0])

    def run(target):
        optimizer = optax.chain(optax.sgd(0.1), ec.hold_at_edge(target))
        return steps(optimizer, params, optimizer.init(params), 30)[0]

    ends = jax.vmap(run)(targets)
    places = jax.vmap(lambda kernel: ec.order_parameters(kernel).j_squared)(ends["a"]["kernel"])
    np.testing.assert_allclose(places, targets, rtol=0.02)


def test_inject_hyperparams():
    optimizer = optax.inject_hyperparams(ec.hold_at_edge)(target=0.5, select="*/kernel")
    params, state = steps(optimizer, two_kernels(), optimizer.init(two_kernels()), 30)
    assert j_squared(params) == pytest.approx(0.5, rel=0.02)
    state.hyperparams["target"] = jnp.asarray(0.25)
    assert j_squared(steps(optimizer, params, state, 30)[0]) == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize("name", BOTH)
def test_tree_map_params(name):
    optimizer = optax.chain(optax.adam(1e-3), BOTH[name]())
    params = two_kernels()
    state = optimizer.init(params)
    doubled = optax.tree_map_params(
        optimizer, lambda leaf: leaf + 1, state, transform_non_params=lambda leaf: leaf.astype(leaf.dtype)
    )
    assert str(jax.tree.structure(doubled)) == str(jax.tree.structure(state))
    np.testing.assert_array_equal(doubled[0][0].mu["a"]["kernel"], 1)
    steps(optimizer, params, doubled)


def test_masked_monitor_names_its_own_columns():
    optimizer = optax.masked(ec.monitor(every=1), {"a": False, "b": True})
    params = two_kernels()
    trajectory = ec.monitored(steps(optimizer, params, optimizer.init(params))[1], params)
    assert trajectory.names == ("b/kernel",)
    assert trajectory.j_squared[0, 0] == pytest.approx(j_squared(params, "b"), rel=1e-5)
    with pytest.raises(ValueError, match="not all of which are among other"):
        ec.monitored(optimizer.init(params), {"other": jnp.eye(3)})


def test_two_targets_in_one_optimizer():
    hold = {"low": ec.hold_at_edge(0.5), "high": ec.hold_at_edge(1.0)}
    optimizer = optax.partition(hold, {"a": "low", "b": "high"})
    params, state = steps(optimizer, two_kernels(), optimizer.init(two_kernels()), 30)
    assert j_squared(params, "a") == pytest.approx(0.5, rel=0.02)
    assert j_squared(params, "b") == pytest.approx(1, rel=0.02)
    for name in hold:
        assert ec.held_weight_decay(state, 0.1, group=name).mean.shape == (1,)
    with pytest.raises(ValueError, match=r"there are 2; give group, a part of one of the paths .*high.*low"):
        ec.held_weight_decay(state, 0.1)
    with pytest.raises(ValueError, match="in 'middle', but there are 0"):
        ec.held_weight_decay(state, 0.1, group="middle")


@pytest.mark.parametrize("name", BOTH)
def test_derivatives_of_a_training_run(name):
    """With respect to the learning rate, in both modes and against differences."""
    start = jax.tree.map(lambda leaf: leaf / 1.3, two_kernels())

    def end(learning_rate):
        optimizer = optax.chain(ec.sgd(learning_rate, momentum=0.5), BOTH[name]())

        def step(carry, number):
            params, state = carry
            gradient = jax.tree.map(lambda p, noise: -p + noise, params, noise(params, number, 0.1))
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(8))
        return (params["a"]["kernel"] ** 2).sum()

    reverse, forward = jax.jit(jax.grad(end))(0.003), jax.jit(jax.jacfwd(end))(0.003)
    value = jax.jit(end)
    differences = (value(0.00303) - value(0.00297)) / 6e-5
    assert float(reverse) == pytest.approx(float(forward), rel=1e-3)
    assert float(reverse) == pytest.approx(float(differences), rel=0.05)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_keeps_its_types(dtype):
    """With a learning rate in float32, in a scan, whose carry must keep its types."""
    params = two_kernels(dtype)
    optimizer = optax.chain(ec.sgd(jnp.float32(0.1), momentum=jnp.float32(0.5)), ec.hold_at_edge())

    def step(carry, number):
        params, state = carry
        updates, state = optimizer.update(noise(params, 0), state, params)
        return (optax.apply_updates(params, updates), state), None

    (later, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(60))
    assert later["a"]["kernel"].dtype == dtype
    assert j_squared(later) == pytest.approx(1, abs=0.03)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(16, 16, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)


def test_nnx_optimizer():
    model = Block(nnx.Rngs(0))
    model.hidden.kernel[...] *= 2
    optimizer = nnx.Optimizer(model, optax.chain(optax.sgd(0.1), ec.hold_at_edge(), ec.monitor(every=1)), wrt=nnx.Param)
    for _ in range(30):
        optimizer.update(model, jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param)))
    assert ec.order_parameters(model.hidden.kernel[...]).j_squared == pytest.approx(1, rel=0.02)
    for state in (optimizer.opt_state, nnx.state(optimizer), nnx.to_pure_dict(nnx.state(optimizer))):
        assert float(ec.held_weight_decay(state, 0.1).weight_decay[0]) >= 0
    trajectory = ec.monitored(optimizer.opt_state, nnx.state(model, nnx.Param))
    assert len(trajectory.names) == 1
    assert trajectory.j_squared[-1, 0] < 1.1
    assert ec.phase_report(nnx.state(model)).rows  # though there is a random key in it


@pytest.mark.parametrize("name", BOTH)
def test_checkpoints_go_on_with_the_same_bits(tmp_path, name):
    optimizer = optax.chain(optax.adam(1e-3), BOTH[name]())
    params = two_kernels()
    middle = steps(optimizer, params, optimizer.init(params))
    straight = steps(optimizer, middle[0], middle[1], first=6)
    packed = flax.serialization.from_bytes(middle, flax.serialization.to_bytes(middle))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", {"params": middle[0], "state": middle[1]})
        checkpointer.wait_until_finished()
        kept = checkpointer.restore(tmp_path / "state", {"params": middle[0], "state": middle[1]})
        untyped = checkpointer.restore(tmp_path / "state")
    for restored in (packed, (kept["params"], kept["state"])):
        resumed = steps(optimizer, restored[0], restored[1], first=6)
        for one, other in zip(jax.tree.leaves(resumed), jax.tree.leaves(straight), strict=True):
            np.testing.assert_array_equal(one, other)
    if name == "hold":
        expected = ec.held_weight_decay(middle[1], 0.1)
        for state in (untyped["state"], flax.serialization.to_state_dict(middle[1])):
            np.testing.assert_array_equal(ec.held_weight_decay(state, 0.1).mean, expected.mean)


def test_multi_steps_and_apply_if_finite():
    inner = optax.chain(optax.sgd(0.1), ec.hold_at_edge())
    for optimizer in (optax.MultiSteps(inner, 4), optax.apply_if_finite(inner, 3)):
        params, _ = steps(optimizer, two_kernels(), optimizer.init(two_kernels()), 120)
        assert j_squared(params) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_number_that_is_none_touches_no_other_kernel_and_goes_with_its_cause(bad, shared):
    optimizer = optax.chain(optax.sgd(0.1), ec.hold_at_edge(shared=shared))
    params = {**two_kernels(), "out": {"kernel": jnp.ones((20, 3))}}
    state = optimizer.init(params)
    params, state = steps(optimizer, params, state, 30)
    kept = params["a"]["kernel"]
    broken = {**params, "a": {"kernel": kept.at[0, 0].set(bad)}}
    broken, state = steps(optimizer, broken, state, 30)
    assert np.isfinite(broken["out"]["kernel"]).all()
    assert j_squared(broken, "b") == pytest.approx(1, abs=0.03)
    healed = {**broken, "a": {"kernel": 1.3 * kept}}
    healed, state = steps(optimizer, healed, state, 60)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(find_state(state)))
    mean = (j_squared(healed) + j_squared(healed, "b")) / 2
    assert (mean if shared else j_squared(healed)) == pytest.approx(1, abs=0.03)


def test_j_squared_beyond_float32_shrinks_until_it_is_a_number():
    optimizer = ec.hold_at_edge()
    params = two_kernels()
    huge = jax.tree.map(lambda leaf: 1e20 * leaf, params)
    later, _ = steps(optimizer, huge, optimizer.init(params), 900)
    assert j_squared(later) == pytest.approx(1, abs=0.03)
