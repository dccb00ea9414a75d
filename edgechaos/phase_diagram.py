"""The order-chaos phase diagram by simulation (Fig. 1b and the background of Fig. 2a)."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.meanfield import Activation, activation_function

_CHUNK_BYTES = 256 * 2**20


@functools.partial(jax.jit, static_argnames=("num_neurons", "num_iterations", "activation"))
def phase_diagram(
    key: PRNGKeyArray,
    j0_over_j: Float[Array | np.ndarray, "columns"],
    inverse_j: Float[Array | np.ndarray, "rows"],
    num_neurons: int,
    num_iterations: int,
    perturbation_std: Float[Array, ""] | float = 1e-4,
    activation: Activation = "tanh",
) -> Float[Array, "rows columns"]:
    """Asymptotic distance |x - x'| of two nearby starts under x <- phi(J Z x / sqrt(N) + J0 mean(x)).

    All cells share the matrix Z and both starts, so that an iteration is one matrix-matrix product over the cells;
    each cell is an exact sample of the Sherrington-Kirkpatrick couplings, the cells are not independent of each
    other. The rows may be computed in several calls with the same key and give the same map.

    Args:
      key: PRNG key of Z, of x ~ N(0, 1) and of the perturbation.
      j0_over_j: J0/J of the columns; its type, float32 or float64, is that of the simulation.
      inverse_j: 1/J > 0 of the rows.
      num_neurons: N.
      num_iterations: at least 5; the distance is averaged over the last fifth of them.
      perturbation_std: of x' - x at the start, for each component.
      activation: phi.

    Returns:
      The distance, between 0 (order; float32 resolves down to about 1e-6 sqrt(N)) and about sqrt(2 N).

    Source: Fig. 1b and its caption.
    """
    phi = activation_function(activation)
    num_averaged = max(num_iterations // 5, 1)
    matrix_key, start_key, twin_key = jax.random.split(key, 3)
    ratios, inverse = jnp.asarray(j0_over_j), jnp.asarray(inverse_j)
    dtype = jnp.result_type(ratios, inverse)
    couplings = jax.random.normal(matrix_key, (num_neurons, num_neurons), dtype) / num_neurons**0.5
    start = jax.random.normal(start_key, (num_neurons, 1), dtype)
    twin = start + perturbation_std * jax.random.normal(twin_key, (num_neurons, 1), dtype)
    j = jnp.repeat(1 / inverse, len(ratios))
    j0 = j * jnp.tile(ratios, len(inverse))

    def distances(cells: tuple[jax.Array, ...]) -> jax.Array:
        j0, j = cells
        states = jnp.concatenate([jnp.broadcast_to(x, (num_neurons, len(j))) for x in (start, twin)], axis=1)
        gain, shift = jnp.tile(j, 2), jnp.tile(j0, 2)

        def iterate(
            carry: tuple[jax.Array, jax.Array], iteration: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            states, total = carry
            states = phi(gain * (couplings @ states) + shift * states.mean(0))
            distance = jnp.linalg.norm(states[:, : len(j)] - states[:, len(j) :], axis=0)
            return (states, total + jnp.where(iteration >= num_iterations - num_averaged, distance, 0)), None

        (_, total), _ = jax.lax.scan(iterate, (states, jnp.zeros_like(j)), jnp.arange(num_iterations))
        return total / num_averaged

    # a cell holds two states, each as input, product and output
    largest = max(1, _CHUNK_BYTES // (6 * num_neurons * dtype.itemsize))
    return _map_in_chunks(distances, (j0, j), largest).reshape(len(inverse), len(ratios))


def _map_in_chunks(
    function: Callable[[tuple[jax.Array, ...]], jax.Array], cells: tuple[jax.Array, ...], largest: int
) -> jax.Array:
    """`function` of arrays [cells], evaluated one after the other on equal chunks of at most `largest` cells."""
    size = len(cells[0])
    num_chunks = math.ceil(size / largest)
    chunk = math.ceil(size / num_chunks)
    padding = (0, num_chunks * chunk - size)
    chunks = tuple(jnp.pad(values, padding, mode="edge").reshape(num_chunks, chunk) for values in cells)
    return jax.lax.map(function, chunks).reshape(-1)[:size]
