"""Sharded kernels on four devices of the CPU, in a process of its own, since their number is fixed at the start."""

import functools
import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import edgechaos as ec

OPTIMIZER = optax.chain(optax.sgd(0.1), ec.hold_at_edge(), ec.monitor(every=1, capacity=8))


def run(params):
    """Twenty steps from far above the target."""

    def step(carry, _):
        params, state = carry
        gradient = jax.tree.map(lambda leaf: -0.01 * leaf, params)
        updates, state = OPTIMIZER.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, OPTIMIZER.init(params)), length=20)
    return params, state


def start():
    """A matrix, an attention kernel and a stack."""
    kernel = 1.5 * jax.random.normal(jax.random.key(0), (64, 64)) / 8
    return {
        "hidden": {"kernel": kernel},
        "attention": {"query": {"kernel": kernel.reshape(64, 8, 8)}},
        "layers": {"dense": {"kernel": jnp.stack([kernel] * 4)}},
    }


def same(result, expected):
    """Whether two results agree but for the order of sums."""
    for one, other in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def main():
    """Prints a word for each way that works."""
    devices, params = np.array(jax.devices()), start()
    assert len(devices) == 4
    expected = jax.jit(run)(params)
    specs = {
        "hidden": {"kernel": PartitionSpec("x", "y")},
        "attention": {"query": {"kernel": PartitionSpec("x", "y", None)}},
        "layers": {"dense": {"kernel": PartitionSpec("y", None, "x")}},
    }
    for name, kind in (("sharded", AxisType.Auto), ("explicit", AxisType.Explicit)):
        mesh = Mesh(devices.reshape(2, 2), ("x", "y"), axis_types=(kind, kind))
        with jax.set_mesh(mesh):
            placed = jax.device_put(params, jax.tree.map(functools.partial(NamedSharding, mesh), specs))
            same(jax.jit(run)(placed), expected)
        print(name)
    mesh, split = Mesh(devices, ("members",)), PartitionSpec("members")
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf * size for size in (0.5, 1, 2, 3)]), params)
    mapped = jax.shard_map(jax.vmap(run), mesh=mesh, in_specs=split, out_specs=split)
    same(jax.jit(mapped)(ensemble), jax.jit(jax.vmap(run))(ensemble))
    print("ensemble")
    alike = jax.shard_map(run, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec())
    same(jax.jit(alike)(params), expected)
    print("replicated")


if __name__ == "__main__":
    main()
