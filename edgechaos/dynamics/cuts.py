"""Lyapunov exponents of the disordered map along cuts of the phase diagram, by theory and by simulation."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.dynamics.diagram import draw_disorder
from edgechaos.dynamics.lyapunov import Lyapunov, lyapunov_exponent
from edgechaos.theory.activations import Activation, activation_function
from edgechaos.theory.meanfield import predicted_exponent


def places_on_cuts(
    cuts: Float[np.ndarray, "cuts"], inverse_j: Float[np.ndarray, "points"]
) -> tuple[Float[np.ndarray, "places"], Float[np.ndarray, "places"]]:
    """(J0, J) along cuts of fixed J0/J, one cut after the other.

    >>> places_on_cuts(np.array([0.0, 2.0]), np.array([0.5, 1.0]))
    (array([0., 0., 4., 2.]), array([2., 1., 2., 1.]))
    """
    j = np.tile(1 / inverse_j, len(cuts))
    return np.repeat(cuts, len(inverse_j)) * j, j


def predicted_on_cuts(
    cuts: Float[np.ndarray, "cuts"], inverse_j: Float[np.ndarray, "points"], activation: Activation = "tanh"
) -> Float[np.ndarray, "cuts points"]:
    """Exponent of the mean-field theory along cuts of fixed J0/J, in float64."""
    with jax.enable_x64(True):
        exponent = predicted_exponent(*places_on_cuts(cuts, inverse_j), activation)
    return np.asarray(exponent).reshape(len(cuts), len(inverse_j))


def exponents_on_cuts(
    keys: PRNGKeyArray,
    cuts: Float[np.ndarray, "cuts"],
    inverse_j: Float[np.ndarray, "points"],
    num_neurons: int,
    num_iterations: int,
    activation: Activation = "tanh",
) -> tuple[Float[np.ndarray, "seeds cuts points"], Float[np.ndarray, "seeds cuts points"]]:
    """Largest exponent per iteration along each cut, and its standard error.

    Args:
      keys: one for each realisation of the disorder, which all places share, as in the diagram.
      cuts: J0/J.
      inverse_j: 1/J > 0.
      num_neurons: N.
      num_iterations: that are averaged over, after as many before.
      activation: phi.
    """
    phi = activation_function(activation)
    j0, j = (jnp.asarray(values, jnp.float32) for values in places_on_cuts(cuts, inverse_j))

    @jax.jit
    def measure(key: Array) -> Lyapunov:
        disorder = draw_disorder(key, num_neurons)

        def place(j0: Array, j: Array) -> Lyapunov:
            def step(x: Array) -> Array:
                return phi(j * (disorder.couplings @ x) + j0 * x.mean())

            return lyapunov_exponent(step, disorder.start, key, num_iterations, num_iterations)

        return jax.vmap(place)(j0, j)

    found = [measure(key) for key in keys]
    shape = len(keys), len(cuts), len(inverse_j)
    exponent, error = (np.stack([getattr(one, name) for one in found]) for name in ("exponent", "standard_error"))
    return exponent.reshape(shape), error.reshape(shape)
