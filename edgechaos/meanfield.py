"""Mean-field theory of x <- phi(W x) with W_ij of mean J0/N and variance J^2/N (Eq. 3 and Appendix A)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Num

Activation = str | Callable[[jax.Array], jax.Array]
Scalar = Num[Array | np.ndarray, "..."] | np.number | float | int

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"tanh": jnp.tanh, "relu": jax.nn.relu}

_NODES = np.linspace(-8.0, 8.0, 2001)  # the Gaussian is 1e-14 at the ends
_NEWTON_STEPS = 60
_LARGEST_J = 64.0  # node spacing times J stays at 0.5, where the rule's error for tanh is exp(-2 pi (pi/2) / 0.5)


@struct.dataclass
class FixedPoint:
    """mu = <x>, q0 = <x^2> of the stationary state, and whether the equations are solved there."""

    mu: Float[Array, "*cells"]
    q0: Float[Array, "*cells"]
    converged: Bool[Array, "*cells"]


def activation_function(activation: Activation) -> Callable[[jax.Array], jax.Array]:
    """Returns phi, looked up by name or taken as it is.

    Raises:
      ValueError: a name that is not known.
    """
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation = '{activation}': must be one of {', '.join(ACTIVATIONS)}, or a function")
    return ACTIVATIONS[activation]


def gaussian_average(
    function: Callable[[jax.Array], jax.Array], mean: jax.Array, standard_deviation: jax.Array
) -> jax.Array:
    """int Dz f(mean + standard_deviation z) with Dz the standard normal measure.

    The trapezoidal rule on 2,001 points: for a function that is analytic within a distance d of the real axis its
    error falls as exp(-2 pi d / (h standard_deviation)) with the spacing h = 0.008, so that a sharp tanh is as safe
    as a flat one.
    """
    weights = jnp.exp(-(_NODES**2) / 2)
    return (weights * function(mean + standard_deviation * _NODES)).sum() / weights.sum()


def fixed_point(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> FixedPoint:
    """Solves mu = int Dz phi(J0 mu + J sqrt(q0) z), q0 = int Dz phi^2(...) for an odd, bounded phi such as tanh.

    Newton's method from the saturated state (mu = 1 for J0 > 0, else mu = 0, where mu -> -mu would oscillate), which
    descends to the largest solution (for tanh, on the tested grid): ferromagnetic where there is one, else mu = 0, and
    q0 = 0 in the ordered phase.

    Args:
      j0: J0, any shape and sign.
      j: J > 0, the same shape.
      activation: "tanh", or an odd increasing function with |phi| <= 1; no fixed point is promised for "relu".

    Source: the definitions below Eq. 3.
    """
    phi = activation_function(activation)

    def solve(j0: jax.Array, j: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def residual(state: jax.Array) -> jax.Array:
            mu, q0 = state
            # sqrt has an infinite slope at 0; the floor makes q0 < 1e-12 and q0 = 0 the same
            width = j * jnp.sqrt(jnp.maximum(q0, 1e-12))
            mean = gaussian_average(phi, j0 * mu, width)
            mean_square = gaussian_average(lambda h: phi(h) ** 2, j0 * mu, width)
            return jnp.stack([mean - mu, mean_square - q0])

        def newton(_: jax.Array, state: jax.Array) -> jax.Array:
            step = jnp.linalg.solve(jax.jacfwd(residual)(state), residual(state))
            return jnp.where(jnp.isfinite(step).all(), jnp.clip(state - step, 0.0, 1.0), state)

        start = jnp.stack([jnp.where(j0 > 0, 1.0, 0.0).astype(j0.dtype), jnp.ones_like(j0)])
        state = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, start)
        converged = jnp.abs(residual(state)).max() < 10 * jnp.finfo(j0.dtype).eps
        return state[0], state[1], converged

    dtype = jnp.result_type(float)
    cells = jnp.vectorize(solve, signature="(),()->(),(),()")
    return FixedPoint(*cells(jnp.asarray(j0, dtype), jnp.asarray(j, dtype)))


def chi(j0: Scalar, j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """chi = J^2 int Dz phi'(J0 mu + J sqrt(q0) z)^2, the left-hand side of Eq. 3: order below 1, chaos above.

    Args:
      j0: J0, any shape.
      j: J > 0, the same shape.
      activation: as in `fixed_point`.

    >>> print(chi(0.0, 0.5))
    0.25
    """
    phi = activation_function(activation)

    def left_hand_side(j0: jax.Array, j: jax.Array, mu: jax.Array, q0: jax.Array) -> jax.Array:
        slope = jax.vmap(jax.grad(phi))
        return j**2 * gaussian_average(lambda h: slope(h) ** 2, j0 * mu, j * jnp.sqrt(q0))

    dtype = jnp.result_type(float)
    j0, j = jnp.asarray(j0, dtype), jnp.asarray(j, dtype)
    state = fixed_point(j0, j, phi)
    return jnp.vectorize(left_hand_side, signature="(),(),(),()->()")(j0, j, state.mu, state.q0)


def edge_of_chaos(j0_over_j: Scalar, activation: Activation = "tanh") -> jax.Array:
    """J at which chi = 1 on the ray of fixed J0/J, for tanh.

    For J0/J <= 1 the trivial state mu = q0 = 0, where chi = J^2, is the stationary one up to J = 1, and beyond it chi
    exceeds 1 as (J^2 - 1)^2 only: no root finder sees the edge as sharply as this argument, so J = 1 is exact. For
    J0/J > 1 the state is magnetised, chi crosses 1 with a slope, and bisection finds where (Eq. 3).

    Args:
      j0_over_j: J0/J, any shape; beyond about 2.5 the edge leaves the range of the quadrature (J > 64) and is infinity.
      activation: "tanh" so far.

    Raises:
      ValueError: another activation.

    >>> print(edge_of_chaos(jnp.array([-1.0, 0.5, 1.5])))
    [1.        1.        3.6359859]
    """
    if activation != "tanh":
        raise ValueError(f"activation = '{activation}': the edge is known for 'tanh' so far")
    ratio = jnp.asarray(j0_over_j, jnp.result_type(float))

    def bisect(_: jax.Array, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = (low + high) / 2
        chaotic = chi(ratio * middle, middle, activation) > 1
        return jnp.where(chaotic, low, middle), jnp.where(chaotic, middle, high)

    largest = jnp.full_like(ratio, _LARGEST_J)
    low, high = jax.lax.fori_loop(0, 52, bisect, (jnp.ones_like(ratio), largest))
    return jnp.where(ratio <= 1, 1.0, jnp.where(high == largest, jnp.inf, (low + high) / 2))
