"""Where a map settles: in a fixed point, a cycle, a torus or chaos."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edgechaos.dynamics.lyapunov import lyapunov_exponent
from edgechaos.dynamics.twins import Step

KINDS = ("fixed", "cycle", "torus", "chaos")
LONGEST_PERIOD = 64
_SAME = 1e-3  # root mean square of a difference of states that are taken for the same
_CLEAR = 3  # standard errors beyond which an exponent is positive


@struct.dataclass
class Attractor:
    """What trajectories settle in.

    Attributes:
      kind: index in `KINDS`; a torus is what neither repeats itself within 64 iterations nor has an exponent clearly
        above 0: a quasi-periodic motion, a longer cycle, or chaos that is too weak to be told.
      exponent: largest Lyapunov exponent.
      standard_error: of it, by batch means.
      state: after the iterations.
    """

    kind: Int[Array, "*batch"]
    exponent: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    state: Float[Array, "*batch N"]


def is_chaotic(
    exponent: Float[Array | np.ndarray, "*batch"],
    standard_error: Float[Array | np.ndarray, "*batch"],
    num_iterations: int,
) -> Array:
    """Whether an exponent is positive by three standard errors, and small differences grow e-fold over its iterations.

    On a torus a difference grows as time does at most, by a factor of 2 over the second half of a trajectory.
    """
    return jnp.asarray(exponent) > jnp.maximum(_CLEAR * standard_error, 1 / num_iterations)


def attractor(
    step: Step,
    x0: Float[Array, "batch N"],
    key: PRNGKeyArray,
    num_iterations: int,
    num_transient: int,
) -> Attractor:
    """Tells fixed point, cycle, torus and chaos apart by the exponent and by what the last 64 iterations repeat.

    Args:
      step: x [N] -> x [N], differentiable.
      x0: a batch of states.
      key: of the first tangents.
      num_iterations: >= 64 that the exponent is averaged over.
      num_transient: >= 0 before them.

    Raises:
      ValueError: as `lyapunov_exponent`.

    >>> flip = lambda x: -jnp.tanh(2 * x)
    >>> print(KINDS[attractor(flip, jnp.ones((1, 2)), jax.random.key(0), 64, 64).kind[0]])
    cycle
    """
    found = lyapunov_exponent(step, x0, key, num_iterations, num_transient)
    every = jax.vmap(step)
    last = jax.lax.fori_loop(0, num_transient + num_iterations, lambda _, x: every(x), x0)

    def follow(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        x = every(x)
        return x, jnp.sqrt(((x - last) ** 2).mean(-1))

    _, apart = jax.lax.scan(follow, last, length=LONGEST_PERIOD)
    chaotic = is_chaotic(found.exponent, found.standard_error, num_iterations)
    kind = jnp.where((apart < _SAME).any(0), 1, 2)
    kind = jnp.where(apart[0] < _SAME, 0, jnp.where(chaotic, 3, kind))
    return Attractor(kind, found.exponent, found.standard_error, last)
