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

Scalar = Num[Array | np.ndarray, "..."] | np.number | float | int

LARGEST_J = 1000.0  # beyond it the quadrature is not tested
_DAMPED_STEPS = 30
NEWTON_STEPS = 60
_DIRECTION_STEPS = 60
_BISECTIONS = 60
_UNBOUNDED = 1e6  # a state beyond it is taken to grow for ever
SMALL, _LARGE = 1e-6, 1e3  # sqrt(q0) at which a state that has collapsed to 0, or grows, is looked at
_CELLS_AT_ONCE = 128  # their nodes fit a processor's cache


@struct.dataclass
class FixedPoint:
    """mu = <x>, q0 = <x^2> of the stationary state, and whether it is a stable solution.

    Where there is no stable fixed point, `converged` is False and the state is infinite if it grows without bound.
    """

    mu: Float[Array, "*cells"]
    q0: Float[Array, "*cells"]
    converged: Bool[Array, "*cells"]


@struct.dataclass
class Cell:
    """What the theory knows of one cell.

    Beside the state: mean and width of the local field J0 mu + J sqrt(q0) z, and the factor by which a small change of
    (mu, q0) grows per iteration. A state that has collapsed to 0 has the field of its last direction at
    sqrt(q0) = 1e-6: slopes that have a kink at 0 depend on the direction.
    """

    mu: jax.Array
    q0: jax.Array
    field_mean: jax.Array
    field_width: jax.Array
    mode: jax.Array
    converged: jax.Array


def slope_of(phi: Phi) -> Phi:
    """phi' for an array of any shape."""
    return jnp.vectorize(jax.grad(lambda h: phi(h).sum()))


def _moments(phi: Phi, j0: jax.Array, j: jax.Array, state: Float[Array, "2"]) -> Float[Array, "2"]:
    """(mu, q0) after one iteration: int Dz phi(J0 mu + J sqrt(q0) z) and the same of phi^2."""
    mu, q0 = state
    # sqrt has an infinite slope at 0; the floor makes all smaller q0 and q0 = 0 the same
    width = j * jnp.sqrt(jnp.maximum(q0, SMALL**2))
    return gaussian_average(lambda h: jnp.stack([phi(h), phi(h) ** 2]), j0 * mu, width)


def _find_root(
    residual: Callable[[Float[Array, "2"]], Float[Array, "2"]], state: Float[Array, "2"]
) -> Float[Array, "2"]:
    """Newton's method after some damped iterations, which choose the attractor and bring the state near it.

    Newton's steps are quick where plain iteration slows down, at a transition; a step that leaves q0 >= 0 or is not
    finite is replaced by a damped one.
    """

    def damped(state: jax.Array) -> jax.Array:
        return jnp.clip(state + residual(state) / 2, -_UNBOUNDED, _UNBOUNDED)

    def newton(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        state, _, count = carry
        (a, b), (c, d) = jax.jacfwd(residual)(state)
        f, g = residual(state)
        proposal = state - jnp.stack([d * f - b * g, a * g - c * f]) / (a * d - b * c)
        allowed = jnp.isfinite(proposal).all() & (proposal[1] >= -jnp.abs(state[1])) & (proposal[1] < _UNBOUNDED)
        new = jnp.where(allowed, proposal.at[1].set(jnp.maximum(proposal[1], 0)), damped(state))
        return new, jnp.abs(new - state).max(), count + 1

    def unsettled(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        state, change, count = carry
        return (change > 2 * jnp.finfo(state.dtype).eps * jnp.abs(state).max()) & (count < NEWTON_STEPS)

    state = jax.lax.fori_loop(0, _DAMPED_STEPS, lambda _, state: damped(state), state)
    return jax.lax.while_loop(unsettled, newton, (state, jnp.full((), jnp.inf, state.dtype), jnp.zeros((), int)))[0]


def _solve_linear(
    function: Callable[[Float[Array, "2"]], Float[Array, "2"]], right: Float[Array, "2"]
) -> Float[Array, "2"]:
    """Solves function(x) = right for a linear function, for implicit differentiation."""
    return jnp.linalg.solve(jax.jacobian(function)(right), right)


def _direction(phi: Phi, j0: jax.Array, j: jax.Array, size: float) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mu / sqrt(q0) that a state held at sqrt(q0) = size turns to under iteration, and its growth per iteration."""

    def turn(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], None]:
        mu, q0 = _moments(phi, j0, j, jnp.stack([carry[0] * size, jnp.full_like(j, size**2)]))
        new = jnp.sqrt(jnp.maximum(q0, jnp.finfo(j.dtype).tiny))
        return (mu / new, new / size), None

    start = jnp.ones_like(j), jnp.ones_like(j)
    return jax.lax.scan(turn, start, length=_DIRECTION_STEPS)[0]


def solve_cell(phi: Phi, j0: jax.Array, j: jax.Array) -> Cell:
    """Solves one cell."""

    def residual(state: jax.Array) -> jax.Array:
        return _moments(phi, j0, j, state) - state

    start = jnp.stack([jnp.where(j0 > 0, 1.0, 0.0).astype(j.dtype), jnp.ones_like(j)])
    state = jax.lax.custom_root(residual, start, _find_root, _solve_linear)
    mu, q0 = state
    collapsed = q0 < 100 * SMALL**2
    ratio, growth_of_small = _direction(phi, j0, j, SMALL)
    _, growth_of_large = _direction(phi, j0, j, _LARGE)
    size = jnp.where(collapsed, SMALL, jnp.sqrt(jnp.where(collapsed, 1.0, q0)))
    field_mean, field_width = j0 * jnp.where(collapsed, SMALL * ratio, mu), j * size

    # solved to rounding, and small changes do not grow; what fell to 0 from above has nothing to grow towards
    eps = jnp.finfo(j.dtype).eps
    solved = jnp.abs(residual(state)).max() < 100 * eps * jnp.maximum(1, q0)
    jacobian = jax.jacfwd(residual)(state) + jnp.eye(2, dtype=j.dtype)
    mode = _spectral_radius(jacobian)
    steady = mode < 1 + eps**0.5
    fell = (growth_of_small < 1) | (growth_of_large < 1) & steady
    converged = solved & jnp.where(collapsed, fell, steady)
    unbounded = ~converged & (growth_of_large > 1)
    endless = jnp.where(ratio > 0, jnp.inf, jnp.where(ratio < 0, -jnp.inf, 0.0))
    return Cell(
        jnp.where(unbounded, endless, jnp.where(collapsed, 0.0, mu)),
        jnp.where(unbounded, jnp.inf, jnp.where(collapsed, 0.0, q0)),
        field_mean,
        field_width,
        mode,
        converged,
    )


def _spectral_radius(matrix: Float[Array, "2 2"]) -> Float[Array, ""]:
    """Largest absolute eigenvalue of a 2 x 2 matrix."""
    (a, b), (c, d) = matrix
    half_trace, determinant = (a + d) / 2, a * d - b * c
    discriminant = half_trace**2 - determinant
    real = jnp.abs(half_trace) + safe_sqrt(discriminant)
    return jnp.where(discriminant >= 0, real, safe_sqrt(determinant))


def safe_sqrt(x: jax.Array) -> jax.Array:
    """sqrt(x), and 0 with a finite gradient where x <= 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def mirrored(phi: Phi, j0: jax.Array) -> jax.Array:
    """|J0| if phi is odd, as far as a few points tell: x_t -> (-1)^t x_t turns J0 into -J0 and keeps all distances."""
    points = jnp.array([0.3, 1.0, 2.7])
    odd = (jnp.abs(phi(points) + phi(-points)) < 1e-6).all()
    return jnp.where(odd, jnp.abs(j0), j0)


@functools.partial(jax.jit, static_argnames=("function", "activation"))
def _map_cells(
    function: Callable[..., Any], activation: Activation, j0: Float[Array, "*cells"], j: Float[Array, "*cells"]
) -> Any:
    """function(phi, j0, j) of one cell, for arrays of cells."""
    phi = activation_function(activation)
    cells = jax.lax.map(lambda cell: function(phi, *cell), (j0.ravel(), j.ravel()), batch_size=_CELLS_AT_ONCE)
    return jax.tree.map(lambda values: values.reshape(j0.shape), cells)


def checked_cells(j0: Scalar, j: Scalar) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
    """The two arrays in one shape; values that are known are checked."""
    errors.require_finite("j0", j0)
    errors.require("j", j, lambda entries: (entries > 0) & (entries <= LARGEST_J), f"in (0, {LARGEST_J:g}]")
    dtype = jnp.result_type(float)
    j0, j = jnp.broadcast_arrays(jnp.asarray(j0, dtype), jnp.asarray(j, dtype))
    return j0, j


def fixed_point(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> FixedPoint:
    """Solves mu = int Dz phi(J0 mu + J sqrt(q0) z), q0 = int Dz phi^2(...) for the state that iteration settles in.

    Of several solutions it is the one reached from mu = q0 = 1 (mu = 0 for J0 <= 0): ferromagnetic where there is such
    a state. It may be differentiated (implicitly, through the equations).

    Args:
      j0: J0, any shape and sign.
      j: J in (0, 1000], broadcast against j0.
      activation: "tanh", "erf", "relu", or any function of an array, entry by entry.

    Returns:
      The state. `converged` is False where there is no stable fixed point: relu beyond its boundary (mu and q0 are
      infinite), or J0 < 0 so strong that mu alternates in sign (mu = 0 is returned, the state between the signs).

    Raises:
      ValueError: j out of range, a number that is not finite, an unknown activation.

    Source: the definitions below Eq. 3.

    >>> state = fixed_point(0.0, 2.0)
    >>> print(state.q0.round(2), state.converged)
    0.53 True
    >>> print(fixed_point(0.0, 1.5, "relu"))
    FixedPoint(mu=Array(inf, dtype=float32), q0=Array(inf, dtype=float32), converged=Array(False, dtype=bool))
    """
    cells = _map_cells(solve_cell, activation, *checked_cells(j0, j))
    return FixedPoint(cells.mu, cells.q0, cells.converged)


def chi_of(phi: Phi, j: jax.Array, cell: Cell) -> jax.Array:
    """Eq. 3's left-hand side in a solved cell."""
    slope = slope_of(phi)
    return j**2 * gaussian_average(lambda h: slope(h) ** 2, cell.field_mean, cell.field_width)


def _chi(phi: Phi, j0: jax.Array, j: jax.Array) -> jax.Array:
    """Eq. 3's left-hand side of one cell."""
    return chi_of(phi, j, solve_cell(phi, mirrored(phi, j0), j))


def chi(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """chi = J^2 int Dz phi'(J0 mu + J sqrt(q0) z)^2, the left-hand side of Eq. 3: order below 1, chaos above.

    Squared small distances grow by chi per iteration (see `predicted_exponent`). For an odd
    phi it is that of |J0|, also where mu alternates in sign. Where relu grows without bound, it is that of the
    direction in which it grows.

    Args:
      j0: J0, any shape.
      j: J in (0, 1000], broadcast against j0.
      activation: as in `fixed_point`.

    Raises:
      ValueError: as in `fixed_point`.

    >>> print(chi(0.0, 0.5))
    0.25
    """
    return _map_cells(_chi, activation, *checked_cells(j0, j))


def _exponent(phi: Phi, j0: jax.Array, j: jax.Array) -> jax.Array:
    """`predicted_exponent` of one cell."""
    cell = solve_cell(phi, mirrored(phi, j0), j)
    return jnp.log(jnp.maximum(chi_of(phi, j, cell), cell.mode**2)) / 2


def predicted_exponent(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """Largest Lyapunov exponent per iteration, max(ln(chi) / 2, ln m).

    Small differences of random direction grow by sqrt(chi). A difference along the mean changes (mu, q0) and grows by
    m, the leading eigenvalue of their map (J0 where mu = 0, for tanh); it decides near the transition to the
    ferromagnetic phase, where m = 1 while chi < 1.

    Args:
      j0: J0, any shape.
      j: J in (0, 1000], broadcast against j0.
      activation: as in `fixed_point`.

    Raises:
      ValueError: as in `fixed_point`.

    >>> print(predicted_exponent(jnp.array([0.0, 0.75]), 0.5).round(2))  # ln J and ln J0
    [-0.69 -0.29]
    """
    return _map_cells(_exponent, activation, *checked_cells(j0, j))


@functools.partial(jax.jit, static_argnames="activation")
def _edges(activation: Activation, ratios: Float[Array, "*rays"]) -> Float[Array, "*rays"]:
    """`edge_of_chaos` of an array."""
    phi = activation_function(activation)

    def excess(ratio: jax.Array, j: jax.Array) -> jax.Array:
        return jnp.log(_chi(phi, ratio * j, j))

    def bisect(function: Phi, largest: jax.Array) -> jax.Array:
        def halve(_: jax.Array, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bracket
            middle = jnp.sqrt(low * high)
            chaotic = function(middle) > 0
            return jnp.where(chaotic, low, middle), jnp.where(chaotic, middle, high)

        low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (1 / largest, largest))
        return jnp.sqrt(low * high)

    def edge(ratio: jax.Array) -> jax.Array:
        # chi at the trivial state is (J phi'(0))^2; a ray that is trivial almost up to 1 has its edge there
        trivial = 1 / jnp.abs(slope_of(phi)(jnp.zeros_like(ratio)))
        below = 0.99 * trivial
        is_trivial = jnp.isfinite(trivial) & (
            jnp.abs(excess(ratio, jnp.where(jnp.isfinite(below), below, 1.0)) - 2 * jnp.log(0.99)) < 1e-5
        )
        largest = jnp.full_like(ratio, LARGEST_J)
        crossing = jax.lax.custom_root(
            functools.partial(excess, ratio), largest, bisect, lambda function, y: y / function(jnp.ones_like(y))
        )
        return jnp.where(is_trivial, trivial, jnp.where(crossing > 0.999 * LARGEST_J, jnp.inf, crossing))

    return jax.lax.map(edge, ratios.ravel(), batch_size=_CELLS_AT_ONCE).reshape(ratios.shape)


def edge_of_chaos(j0_over_j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """J at which chi = 1 on the ray of fixed J0/J (the red line of Fig. 1b).

    For |J0/J| <= 1 the state of tanh is trivial (mu = q0 = 0, chi = J^2) up to J = 1, and beyond it chi exceeds 1 as
    (J^2 - 1)^2 only: no root finder sees the edge as sharply as this argument, so J = 1 = 1 / phi'(0) is exact. For
    J0/J > 1 the state is magnetised, chi crosses 1 with a slope, and bisection finds where (Eq. 3).

    Args:
      j0_over_j: J0/J, any shape; infinity is returned where the edge lies beyond J = 1000.
      activation: as in `fixed_point`. For relu it is where differences begin to outgrow the shrinking state (J0 < 0)
        or the growing one (J0 > 0); at J0 = 0 it is where the state itself ceases to be bounded, J^2 = 2.

    Raises:
      ValueError: a number that is not finite, an unknown activation.

    >>> print(edge_of_chaos(jnp.array([-1.0, 0.5, 1.5])).round(4))
    [1.    1.    3.636]
    """
    errors.require_finite("j0_over_j", j0_over_j)
    return _edges(activation, jnp.asarray(j0_over_j, jnp.result_type(float)))
