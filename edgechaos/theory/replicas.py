"""Two replicas in mean-field theory: their overlap, and their distance, which the simulations of Fig. 1b measure."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edgechaos.theory.activations import Activation, Phi, activation_function
from edgechaos.theory.meanfield import Scalar, checked_cells, chi_of, mirrored_cells
from edgechaos.theory.quadrature import gaussian_average
from edgechaos.theory.stationary import SMALL, Cell, safe_sqrt, slope_of, with_unit_tangents

_NEWTON_STEPS = 60


def _overlap_map(phi: Phi, j: jax.Array, j0_mu: jax.Array, q0: jax.Array, c: jax.Array) -> Float[Array, "2"]:
    """Overlap after one iteration, int Dz (int Dy phi(J0 mu + J sqrt(c) z + J sqrt(q0 - c) y))^2, and its slope in c.

    The slope is J^2 int Dz (int Dy phi'(...))^2: averages of products of correlated Gaussians obey a heat equation.
    """
    slope = slope_of(phi)
    shared, own = j * jnp.sqrt(jnp.maximum(c, SMALL**2)), j * jnp.sqrt(jnp.maximum(q0 - c, SMALL**2))

    def inner(mean: jax.Array) -> Float[Array, "2"]:
        return gaussian_average(lambda h: jnp.stack([phi(h), j * slope(h)]), mean, own)

    return gaussian_average(lambda means: jax.vmap(inner)(means).T ** 2, j0_mu, shared)


def _overlap(phi: Phi, j: jax.Array, cell: Cell) -> tuple[jax.Array, jax.Array]:
    """(q0, c) of one cell."""
    chaotic = (chi_of(phi, j, cell) > 1) & ~cell.grows

    def residual(c: jax.Array) -> jax.Array:
        return _overlap_map(phi, j, cell.field_mean, cell.q0, c)[0] - c

    def climb(_: Phi, start: jax.Array) -> jax.Array:
        def newton(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            c, _, count = carry
            after, slope = _overlap_map(phi, j, cell.field_mean, cell.q0, c)
            new = jnp.clip(c + (after - c) / jnp.maximum(1 - slope, 1e-3), 0, cell.q0)
            return new, jnp.abs(new - c), count + 1

        def unsettled(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            return (carry[1] > 4 * jnp.finfo(j.dtype).eps) & (carry[2] < _NEWTON_STEPS)

        return jax.lax.while_loop(unsettled, newton, (start, jnp.full_like(j, jnp.inf), jnp.zeros((), int)))[0]

    def solve() -> jax.Array:
        return jax.lax.custom_root(
            residual, jnp.zeros_like(j), climb, lambda function, y: y / function(jnp.ones_like(y))
        )

    # without a mean the overlap of an odd phi is 0: the double integral is spared
    needed = chaotic & (jnp.abs(cell.mu) > SMALL)
    c = jax.lax.cond(needed, solve, lambda: jnp.where(chaotic, cell.mu**2, cell.q0))
    return jnp.where(cell.known, cell.q0, jnp.nan), jnp.where(cell.known, c, jnp.nan)


@functools.partial(jax.jit, static_argnames="activation")
def _map_overlap(
    activation: Activation, j: Float[Array, "*cells"], cells: Cell
) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
    """`_overlap` of cells one after the other, so that those which need no double integral do not wait for one."""
    phi = with_unit_tangents(activation_function(activation))
    found = jax.lax.map(lambda cell: _overlap(phi, *cell), jax.tree.map(jnp.ravel, (j, cells)))
    return jax.tree.map(lambda leaf: leaf.reshape(j.shape), found)


def _overlaps(j0: Scalar, j: Scalar, activation: Activation) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
    """(q0, c) of an array of cells."""
    j0, j = checked_cells(j0, j)
    return _map_overlap(activation, j, mirrored_cells(activation, j0, j))


def overlap(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """c = <x x'> of two replicas with near starts: q0 in the ordered phase, less in chaos, infinite where both grow.

    The stable solution of c = int Dz [int Dy phi(J0 mu + J sqrt(c) z + J sqrt(q0 - c) y)]^2. The right-hand side is
    convex in c, so Newton's method from c = 0 finds the lowest solution, which is the stable one.

    Args:
      j0: J0, any shape.
      j: J in (0, 1000], broadcast against j0.
      activation: as in `fixed_point`.

    Returns:
      c, or NaN where `chi` is NaN.

    Raises:
      ValueError: as in `fixed_point`.

    Source: two replicas of the mean-field theory of Appendix A.
    """
    return _overlaps(j0, j, activation)[1]


def predicted_distance(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """|x - x'| / sqrt(N) = sqrt(2 (q0 - c)) of two replicas; 0 in the ordered phase (the colour of Fig. 1b).

    Args:
      j0: J0, any shape.
      j: J in (0, 1000], broadcast against j0.
      activation: as in `fixed_point`.

    Returns:
      The distance; infinite where the states grow without bound, because a difference along the state grows with the
      state; NaN where `chi` is NaN.

    Raises:
      ValueError: as in `fixed_point`.

    >>> print(predicted_distance(0.0, jnp.array([0.5, 2.0])).round(2))
    [0.   1.03]
    """
    q0, c = _overlaps(j0, j, activation)
    distance = jnp.where(jnp.isinf(q0), jnp.inf, safe_sqrt(2 * (q0 - jnp.where(jnp.isinf(c), 0, c))))
    return jnp.where(jnp.isnan(c), jnp.nan, distance)
