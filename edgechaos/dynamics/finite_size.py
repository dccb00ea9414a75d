"""Gaussian networks of finite size about J = 1: exponents and distances of a draw at several J."""

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key, PRNGKeyArray

from edgechaos.dynamics.diagram import draw_disorder
from edgechaos.dynamics.lyapunov import summarise
from edgechaos.theory.activations import Activation, activation_function, difference


@struct.dataclass
class Draw:
    """What one matrix does at each J.

    Attributes:
      exponent: largest Lyapunov exponent per iteration.
      standard_error: by batch means.
      early_distance: |x - x'| over that at the start, mean of the last fifth of the watched iterations.
      distance: |x - x'| / sqrt(N), mean of the last fifth of all.
    """

    exponent: Float[Array, "*draws places"]
    standard_error: Float[Array, "*draws places"]
    early_distance: Float[Array, "*draws places"]
    distance: Float[Array, "*draws places"]


def measure_draw(
    key: PRNGKeyArray,
    j: Float[Array, "places"],
    num_neurons: int,
    num_iterations: int,
    num_watched: int,
    perturbation_std: float = 1e-4,
    activation: Activation = "tanh",
) -> Draw:
    """Iterates x <- phi(J Z x / sqrt(N)) at several J with one Z, beside a tangent and a perturbed twin.

    Args:
      key: of Z, x ~ N(0, 1), the perturbation and the tangent.
      j: J > 0.
      num_neurons: N >= 2.
      num_iterations: >= 64 that the exponent is averaged over, after as many before.
      num_watched: >= 5, at most 2 num_iterations, after which the early distance is taken.
      perturbation_std: of x' - x, for each component, > 0.
      activation: phi.
    """
    phi, disorder = activation_function(activation), draw_disorder(key, num_neurons, perturbation_std)
    tangent = jax.random.normal(jax.random.fold_in(key, 1), (num_neurons,))
    started = jnp.linalg.norm(disorder.perturbation)

    def columns(vector: jax.Array) -> Float[Array, "N places"]:
        return jnp.broadcast_to(vector[:, None], (num_neurons, len(j)))

    def iterate(
        states: tuple[jax.Array, jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        fields = jnp.tile(j, 3) * (disorder.couplings @ jnp.concatenate(states, axis=1))
        h, moved, apart = jnp.split(fields, 3, axis=1)
        x, moved = jax.jvp(phi, (h,), (moved,))
        size, apart = jnp.linalg.norm(moved, axis=0), difference(phi, h, apart)
        return (x, moved / size, apart), (jnp.log(size), jnp.linalg.norm(apart, axis=0))

    start = columns(disorder.start), columns(tangent / jnp.linalg.norm(tangent)), columns(disorder.perturbation)
    _, (growth, distance) = jax.lax.scan(iterate, start, length=2 * num_iterations)
    found = summarise(growth[num_iterations:])
    return Draw(
        exponent=found.exponent,
        standard_error=found.standard_error,
        early_distance=distance[num_watched - num_watched // 5 : num_watched].mean(0) / started,
        distance=distance[-2 * num_iterations // 5 :].mean(0) / num_neurons**0.5,
    )


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def measure_draws(
    keys: Key[Array, "draws"],
    j: Float[Array, "places"],
    num_neurons: int,
    num_iterations: int,
    num_watched: int,
    perturbation_std: float = 1e-4,
    activation: Activation = "tanh",
) -> Draw:
    """`measure_draw` of several draws at once, each with a matrix of its own."""

    def one(key: PRNGKeyArray) -> Draw:
        return measure_draw(key, j, num_neurons, num_iterations, num_watched, perturbation_std, activation)

    return jax.vmap(one)(keys)
