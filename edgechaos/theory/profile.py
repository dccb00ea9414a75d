"""Mean-field theory of a map whose weights differ in size: W_ij has the variance a_i b_j / sum(a), J0 near 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from edgechaos.theory.activations import Activation, activation_function
from edgechaos.theory.quadrature import gaussian_average
from edgechaos.theory.stationary import slope_of

_BISECTIONS = 40
_LOWEST, _HIGHEST = np.log(1e-9), np.log(1e9)  # of ln Q


@struct.dataclass
class ProfileState:
    """The stationary state of mean 0.

    Attributes:
      gain: J^2 with which a small state grows, sum_i a_i b_i / sum(a); its edge is where phi'(0)^2 gain = 1.
      q0: <x^2>, mean over the units.
      chi: growth of the squared length of a small difference.
    """

    gain: Float[Array, "*batch"]
    q0: Float[Array, "*batch"]
    chi: Float[Array, "*batch"]


@functools.partial(jax.jit, static_argnames="activation")
def profile_state(
    inputs: Float[Array, "N"], outputs: Float[Array, "N"], activation: Activation = "tanh"
) -> ProfileState:
    """Solves Q = sum_i a_i <phi(sqrt(b_i Q) z)^2> / sum(a), the one number that is left of a product profile.

    The field of unit j has the variance b_j Q. A small difference grows by
    chi = sum_i a_i b_i <phi'(sqrt(b_i Q) z)^2> / sum(a). Units with large weights saturate first, so that chi is less
    than for weights of one size and the same gain.

    Args:
      inputs: a_i >= 0, sum over j of the squared weights from unit i, not all 0.
      outputs: b_j >= 0, sum over i of the squared weights to unit j, with the same sum as a.
      activation: phi, odd and not growing faster than a line.

    Source: Aljadeff, Stern & Sharpee (2015), Phys. Rev. Lett. 114, 088101, for blocks; here for a product.

    >>> state = profile_state(jnp.full(100, 4.0), jnp.full(100, 4.0))  # J = 2
    >>> print(state.gain.round(2), state.q0.round(2), state.chi.round(2))
    4.0 0.53 1.36
    """
    phi = activation_function(activation)
    slope = slope_of(phi)
    share = inputs / inputs.sum()
    outputs = outputs.astype(share.dtype)

    def squares(size: jax.Array) -> Float[Array, "N 2"]:
        """<phi^2> and <phi'^2> of each unit where Q = size."""
        widths = jnp.sqrt(outputs * size)
        return jax.lax.map(
            lambda width: gaussian_average(
                lambda h: jnp.stack([phi(h) ** 2, slope(h) ** 2]), jnp.zeros_like(width), width
            ),
            widths,
            batch_size=128,
        )

    def halve(_: jax.Array, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        grows = (share * squares(jnp.exp(middle))[:, 0]).sum() > jnp.exp(middle)
        return jnp.where(grows, middle, low), jnp.where(grows, high, middle)

    ends = jnp.asarray(_LOWEST, share.dtype), jnp.asarray(_HIGHEST, share.dtype)
    low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, ends)
    size = jnp.where(low > ends[0], jnp.exp(low), 0)  # it never grew: the state is 0
    state, growth = squares(size).T
    return ProfileState((share * outputs).sum(), state.mean(), (share * outputs * growth).sum())
