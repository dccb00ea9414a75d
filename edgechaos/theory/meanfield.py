"""Mean-field theory of x <- phi(W x) with W_ij of mean J0/N and variance J^2/N (Eq. 3 and Appendix A)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Num

from edgechaos import errors
from edgechaos.theory.activations import Activation, Phi, activation_function
from edgechaos.theory.quadrature import gaussian_average
from edgechaos.theory.stationary import Cell, has_other_state, slope_of, solve_cell, with_unit_tangents

Scalar = Num[Array | np.ndarray, "..."] | np.number | float | int

LARGEST_J = 1000.0  # beyond it the quadrature is not tested
_GRID = 32  # values of J on a ray among which an edge is looked for; an even number does not hit J = 1
_CELLS_AT_ONCE, _FEWEST_CELLS = 128, 8  # the nodes of so many fit a processor's cache


@struct.dataclass
class FixedPoint:
    """mu = <x> and q0 = <x^2> of the stationary state, and what is known about it.

    Attributes:
      mu: mean; infinite where the iteration grows without bound.
      q0: mean square; infinite in the same cases.
      converged: whether the state is a stable fixed point that the iteration from mu = q0 = 1 reaches. Where it is
        False and q0 is finite, the iteration does not settle, and the numbers are those of an unstable state in
        between.
      other_state: whether the iteration reaches another state from a very small or a very large start. The mirror image
        (-mu, q0) under an odd phi does not count.
    """

    mu: Float[Array, "*cells"]
    q0: Float[Array, "*cells"]
    converged: Bool[Array, "*cells"]
    other_state: Bool[Array, "*cells"]


def _is_odd(phi: Phi) -> Bool[Array, ""]:
    """Whether phi is odd, as far as a few points tell."""
    points = jnp.array([0.3, 1.0, 2.7])
    return (jnp.abs(phi(points) + phi(-points)) <= 1e-6 * jnp.abs(phi(points))).all()


@functools.partial(jax.jit, static_argnames=("function", "activation"))
def _map(function: Callable[..., Any], activation: Activation, arrays: tuple[Any, ...]) -> Any:
    """function(phi, *entries) for each entry of flat arrays."""
    phi = with_unit_tangents(activation_function(activation))
    return jax.lax.map(lambda entries: function(phi, *entries), arrays, batch_size=_CELLS_AT_ONCE)


def map_cells(function: Callable[..., Any], activation: Activation, *arrays: Any) -> Any:
    """function(phi, *entries) for each entry of arrays (or of their pytrees) of one shape.

    Arrays whose values are known are filled up to 8, 16 ... 128, 256, 384 ... entries, so that few programs serve all
    sizes, and an entry is computed by the same one alone and among up to seven others.
    """
    shape = arrays[0].shape
    size = int(np.prod(shape))
    padded = size if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays)) else _filled(size)
    flat = jax.tree.map(lambda leaf: jnp.pad(leaf.ravel(), (0, padded - size), mode="edge") if size else leaf, arrays)
    return jax.tree.map(lambda leaf: leaf[:size].reshape(shape), _map(function, activation, flat))


def _filled(size: int) -> int:
    """The number of entries that `size` of them are filled up to."""
    if size > _CELLS_AT_ONCE:
        return -(-size // _CELLS_AT_ONCE) * _CELLS_AT_ONCE
    return size and max(_FEWEST_CELLS, 1 << (size - 1).bit_length())


def checked_cells(j0: Scalar, j: Scalar) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
    """The two arrays in one shape; values that are known are checked."""
    errors.require_finite("j0", j0)
    errors.require("j", j, lambda entries: (entries > 0) & (entries <= LARGEST_J), f"in (0, {LARGEST_J:g}]")
    dtype = jnp.result_type(float)
    j0, j = jnp.broadcast_arrays(jnp.asarray(j0, dtype), jnp.asarray(j, dtype))
    return j0, j


def _mirrored(phi: Phi, j0: jax.Array) -> jax.Array:
    """The J0 that has all distances of this one: x_t -> (-1)^t x_t turns J0 into -J0 for an odd phi."""
    return jnp.where(_is_odd(phi), jnp.abs(j0), j0)


def mirrored_cells(activation: Activation, j0: Float[Array, "*cells"], j: Float[Array, "*cells"]) -> Cell:
    """The solved cells that have all distances of these."""
    return map_cells(solve_cell, activation, map_cells(_mirrored, activation, j0), j)


def fixed_point(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> FixedPoint:
    """Solves mu = int Dz phi(J0 mu + J sqrt(q0) z), q0 = int Dz phi^2(...) for the state that iteration reaches.

    If there are several solutions, it is the one that plain iteration reaches from mu = q0 = 1 (mu = 0 and q0 = 1 for
    J0 <= 0). This is the ferromagnetic state where there is one. `other_state` says that another start leads to another
    state: silu at J0 = 0, J = 1.8 grows without bound from q0 = 1, but falls to 0 from a small q0. The result can be
    differentiated (implicitly, through the equations).

    Args:
      j0: J0, any shape and sign.
      j: J in (0, 1000], broadcast against j0.
      activation: "tanh", "erf", "relu", or any function of an array, entry by entry. The averages are computed by
        quadrature with most nodes near 0; where two rules differ by more than 2 %, the result is not known.

    Returns:
      The state. `converged` is False where there is no stable fixed point: for relu beyond its boundary (mu and q0 are
      infinite), or for J0 < 0 so strong that mu alternates in sign (then mu = 0 is returned, the state between the
      signs). It is also False where the quadrature does not resolve phi (sin(h) for J sqrt(q0) above about 8).

    Raises:
      ValueError: j out of range, a number that is not finite, an unknown activation.

    Source: the definitions below Eq. 3.

    >>> state = fixed_point(0.0, 2.0)
    >>> print(state.q0.round(2), state.converged)
    0.53 True
    >>> state = fixed_point(0.0, 1.5, "relu")
    >>> print(state.q0, state.converged)
    inf False
    >>> print(fixed_point(0.0, 1.8, jax.nn.silu).other_state)
    True
    """
    j0, j = checked_cells(j0, j)
    cells = map_cells(solve_cell, activation, j0, j)
    return FixedPoint(cells.mu, cells.q0, cells.converged, map_cells(has_other_state, activation, j0, j, cells))


def chi_of(phi: Phi, j: jax.Array, cell: Cell) -> jax.Array:
    """Eq. 3's left-hand side in a solved cell; NaN if nothing is known of it."""
    slope = slope_of(phi)
    average = gaussian_average(lambda h: slope(h) ** 2, cell.field_mean, cell.field_width)
    return jnp.where(cell.known, j**2 * average, jnp.nan)


def chi(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """chi = J^2 int Dz phi'(J0 mu + J sqrt(q0) z)^2, the left-hand side of Eq. 3: order below 1, chaos above.

    Squared small distances grow by chi per iteration (see `predicted_exponent`). For an odd phi chi is that of |J0|,
    also where mu alternates in sign. Where relu grows without bound, chi is that of the direction in which it grows.

    Args:
      j0: J0, any shape.
      j: J in (0, 1000], broadcast against j0.
      activation: as in `fixed_point`.

    Returns:
      chi of the state that is reached from mu = q0 = 1; NaN where the iteration reaches neither a state nor a
      direction, or the quadrature does not resolve phi.

    Raises:
      ValueError: as in `fixed_point`.

    >>> print(chi(0.0, 0.5))
    0.25
    """
    j0, j = checked_cells(j0, j)
    return map_cells(chi_of, activation, j, mirrored_cells(activation, j0, j))


def predicted_exponent(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """Largest Lyapunov exponent per iteration, max(ln(chi) / 2, ln m).

    Small differences of random direction grow by sqrt(chi). A difference along the mean changes (mu, q0) and grows by
    m, the leading eigenvalue of their map (J0 where mu = 0, for tanh). It is the larger one near the transition to the
    ferromagnetic phase, where m = 1 while chi < 1. Where the state grows without bound (relu), m is the growth of its
    size, because a difference along the state grows with the state.

    Args:
      j0: J0, any shape.
      j: J in (0, 1000], broadcast against j0.
      activation: as in `fixed_point`.

    Returns:
      The exponent, -inf where both vanish, NaN where `chi` is.

    Raises:
      ValueError: as in `fixed_point`.

    >>> print(predicted_exponent(jnp.array([0.0, 0.75]), 0.5).round(2))  # ln J and ln J0
    [-0.69 -0.29]
    """
    j0, j = checked_cells(j0, j)
    cells = mirrored_cells(activation, j0, j)
    return jnp.maximum(jnp.log(map_cells(chi_of, activation, j, cells)) / 2, jnp.log(cells.mode))


@struct.dataclass
class _Search:
    """Where the search for an edge stands.

    Attributes:
      low: largest J known before the edge.
      high: smallest J known beyond it; infinite while there is none.
      is_one: whether chi was known up to the edge, and above 1 beyond it.
      is_trivial: whether mu = q0 = 0 up to 0.999 / phi'(0).
    """

    low: Float[Array, ""]
    high: Float[Array, ""]
    is_one: Bool[Array, ""]
    is_trivial: Bool[Array, ""]


def _search_edge(excess: Phi, trivial: jax.Array) -> jax.Array:
    """Where excess = ln chi turns positive; infinity if nowhere, NaN if that is not one known place.

    First 0.999 times `trivial` is looked at, then a grid from its lower end, then bisection, all in one loop, so that
    excess is compiled once. A ray that is trivial almost up to `trivial` has its edge there: chi is (J phi'(0))^2.
    """
    dtype, span = trivial.dtype, np.log(LARGEST_J)
    grid = jnp.exp(jnp.linspace(-span, span, _GRID, dtype=dtype))
    bisections = int(np.ceil(np.log2(2 * span / (_GRID - 1) / jnp.finfo(dtype).eps)))

    def look(count: jax.Array, search: _Search) -> _Search:
        asks, scans, crossed = count < 0, count < _GRID, jnp.isfinite(search.high)
        j = jnp.where(scans, grid[jnp.clip(count, 0, _GRID - 1)], jnp.sqrt(search.low * search.high))
        value = excess(jnp.where(asks, jnp.where(jnp.isfinite(trivial), 0.999 * trivial, 1.0), j))
        narrows = ~asks & ~(scans & crossed)
        # next to a jump iteration takes for ever, and for lack of a state chi is not known: that place is the edge
        unknown = jnp.isnan(value) & (scans | ~(search.high < 1.001 * search.low))
        fits = jnp.where(scans & crossed, ~(value <= 0), ~unknown) | asks | ~scans & ~crossed
        return _Search(
            jnp.where(narrows & ~(value > 0), j, search.low),
            jnp.where(narrows & (value > 0), j, search.high),
            search.is_one & fits,
            search.is_trivial | asks & jnp.isfinite(trivial) & (jnp.abs(value - 2 * jnp.log(0.999)) < 1e-5),
        )

    first = _Search(jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype), jnp.array(True), jnp.array(False))
    search = jax.lax.fori_loop(-1, _GRID + bisections, look, first)
    place = jnp.where(search.is_one & (search.low > 0), jnp.sqrt(search.low * search.high), jnp.nan)
    return jnp.where(search.is_trivial & jnp.isfinite(place), trivial, place)


def _edge(phi: Phi, ratio: jax.Array) -> jax.Array:
    """`edge_of_chaos` of one ray."""

    def excess(j: jax.Array) -> jax.Array:
        return jnp.log(chi_of(phi, j, solve_cell(phi, _mirrored(phi, ratio * j), j)))

    trivial = 1 / jnp.abs(slope_of(phi)(jnp.zeros_like(ratio)))
    trivial = jnp.where(_is_odd(phi) & (trivial <= LARGEST_J), trivial, jnp.inf)
    edge = jax.lax.custom_root(excess, trivial, _search_edge, lambda function, y: y / function(jnp.ones_like(y)))
    return jnp.where(edge == trivial, trivial, edge)  # whose derivative is 0


def edge_of_chaos(j0_over_j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """J at which chi = 1 on the ray of fixed J0/J (the red line of Fig. 1b).

    For |J0/J| <= 1 the state of tanh is trivial (mu = q0 = 0, chi = J^2) up to J = 1, so the edge is exactly at J = 1 =
    1 / phi'(0). No root finder would be as exact, because beyond the edge chi exceeds 1 only as (J^2 - 1)^2. For J0/J >
    1 the state is magnetised, chi crosses 1 with a slope, and bisection finds the crossing (Eq. 3).

    Args:
      j0_over_j: J0/J, any shape.
      activation: as in `fixed_point`. For relu the edge is where differences start to grow faster than the shrinking
        state (J0 < 0) or the growing one (J0 > 0); at J0 = 0 it is J^2 = 2, beyond which the state itself is not
        bounded. For gelu and silu chi jumps over 1 where the state starts to grow.

    Returns:
      J at the edge: the smallest in [0.001, 1000] beyond which chi > 1. Infinity if it is beyond J = 1000. NaN if it is
      not known, because chi is below 1 again at a larger J (several edges on the ray, as far as 32 values of J can
      show), or chi is not known at a smaller J. The derivative is that of a crossing; it has no meaning at a jump.

    Raises:
      ValueError: a number that is not finite, an unknown activation.

    >>> print(edge_of_chaos(jnp.array([-1.0, 0.5, 1.5])).round(4))
    [1.    1.    3.636]
    """
    errors.require_finite("j0_over_j", j0_over_j)
    return map_cells(_edge, activation, jnp.asarray(j0_over_j, jnp.result_type(float)))
