"""metrics: the numbers of phase_report, under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import edgechaos as ec


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(0), 4)
    return {
        "hidden": {"kernel": ec.init_kernel(keys[0], 40, j0=1.5, j=1.2), "bias": jnp.ones(40)},
        "layers": {"mlp": {"kernel": jnp.stack([ec.init_kernel(key, 30, j=1.4) for key in keys[1:3]])}},
        "output": {"kernel": jax.random.normal(keys[3], (40, 10)) / 40},
    }


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_same_numbers_as_the_report(params, activation):
    found = jax.jit(ec.metrics, static_argnums=1)(params, activation)
    rows = [row for row in ec.phase_report(params, activation).rows if row.state]
    assert len(found) == 3 * len(rows) == 12
    for row in rows:
        for name, expected in (("j0", row.j0), ("j_squared", row.j_squared), ("chi", row.chi)):
            value = found[f"{row.path}/{name}"]
            assert value.shape == ()
            assert float(value) == pytest.approx(expected, rel=2e-3, abs=1e-5)


def test_vmap_over_members(params):
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    together = jax.vmap(ec.metrics)(batch)
    for i in range(2):
        alone = ec.metrics(jax.tree.map(lambda leaf, i=i: leaf[i], batch))
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][i], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("entries", [0.0, jnp.nan, jnp.inf, 1e6])
def test_what_has_no_chi(entries):
    kernel = jnp.zeros((6, 6)).at[0].set(entries)
    found = ec.metrics({"kernel": kernel, "other/kernel": ec.init_kernel(jax.random.key(0), 50, j=0.5)})
    assert jnp.isnan(found["kernel/chi"])
    assert jnp.isfinite(found["other/kernel/chi"])


def test_no_kernel():
    with pytest.raises(ValueError, match="no kernel"):
        ec.metrics({"bias": jnp.ones(3)})
