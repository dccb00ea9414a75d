"""Trained kernels beside the same entries in random places (Fig. 7): distances, exponents, Jacobian norms."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.dynamics import input_dependence
from edgechaos.dynamics.lyapunov import lyapunov_exponent
from edgechaos.dynamics.twins import jacobian_norm
from edgechaos.theory.activations import Activation, activation_function
from edgechaos.theory.meanfield import chi, predicted_exponent
from edgechaos.theory.replicas import predicted_distance

_NUM_IMAGES = 256  # of the analysis of variance
_NUM_LATE = 64  # of the second distance
_NUM_STATES = 16  # of exponents and Jacobian norms


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long and how often the map of a kernel is iterated.

    Attributes:
      num_iterations: after which the distance is taken, >= 1.
      late_iterations: after which a second distance is taken, >= 1.
      num_perturbations: of each input in the analysis of variance, >= 2.
      lyapunov_iterations: that an exponent is averaged over, after as many before, >= 64.
      perturbation_std: of x' - x, for each component, > 0.
    """

    num_iterations: int
    late_iterations: int
    num_perturbations: int
    lyapunov_iterations: int
    perturbation_std: float


def measure_kernel(
    kernel: Float[Array, "N N"],
    images: Float[Array, "images N"],
    keys: PRNGKeyArray,
    lengths: Lengths,
    activation: Activation = "tanh",
) -> dict[str, Float[Array, "..."]]:
    """All numbers of one kernel.

    Args:
      kernel: W.
      images: inputs at which the iteration starts; the first 256 are perturbed several times, the first 64 iterated
        longer, the first 16 tell exponent and Jacobian norm.
      keys: three or more, of the perturbations and tangents.
      lengths: of the iterations.
      activation: phi.

    Returns:
      distance [images]; late_distance [64, perturbations]; exponent, jacobian_norm (Eq. 1's left-hand side); and the
      analysis of variance of ln(distance): input_share, late_input_share, f_ratio, over_inputs, over_perturbations.
    """
    phi = activation_function(activation)
    few = jnp.repeat(images[:_NUM_IMAGES, None], lengths.num_perturbations, axis=1)
    length = lengths.lyapunov_iterations

    def step(x: jax.Array) -> jax.Array:
        return phi(x @ kernel)

    def distance(x0: jax.Array, key: jax.Array, num_iterations: int) -> jax.Array:
        return input_dependence.asymptotic_distance(
            kernel, x0, key, num_iterations, lengths.perturbation_std, activation
        )

    states = images[:_NUM_STATES]
    variance = input_dependence.variance_of(distance(few, keys[1], lengths.num_iterations))
    late = distance(few[:_NUM_LATE], keys[1], lengths.late_iterations)
    settled = input_dependence.mean_state(kernel, states, length, length, activation)
    return {
        "distance": distance(images, keys[0], lengths.num_iterations),
        "late_distance": late,
        "late_input_share": input_dependence.variance_of(late).input_share,
        "exponent": lyapunov_exponent(step, states, keys[2], length, length).exponent.mean(),
        "jacobian_norm": jacobian_norm(step, settled).mean(),
        "input_share": variance.input_share,
        "f_ratio": variance.f_ratio,
        "over_inputs": variance.over_inputs,
        "over_perturbations": variance.over_perturbations,
    }


def measure_kernels(
    kernels: Float[np.ndarray, "kernels members N N"],
    images: Float[Array | np.ndarray, "images N"],
    key: PRNGKeyArray,
    lengths: Lengths,
    activation: Activation = "tanh",
) -> dict[str, Float[np.ndarray, "kernels controls members ..."]]:
    """`measure_kernel` of each kernel (control 0), and with its entries shuffled (control 1)."""
    keys = jax.random.split(key, 4)
    images = jnp.asarray(images)
    one = jax.jit(functools.partial(measure_kernel, images=images, keys=keys, lengths=lengths, activation=activation))
    measured = [
        [[one(control) for control in (kernel, input_dependence.shuffled(keys[3], kernel))] for kernel in members]
        for members in map(jnp.asarray, kernels)
    ]
    return {  # [kernel, control, member, ...] from lists [kernel][member][control]
        name: np.stack(
            [[[np.asarray(pair[control][name]) for pair in members] for control in (0, 1)] for members in measured]
        )
        for name in measured[0][0][0]
    }


def predict_kernels(
    j0: Float[np.ndarray, "kernels members"],
    j: Float[np.ndarray, "kernels members"],
    num_neurons: int,
    activation: Activation = "tanh",
) -> dict[str, Float[np.ndarray, "kernels members"]]:
    """What the mean-field theory says at (J0, J), in float64: |x - x'|, the exponent, and sqrt(chi) for the norm."""
    with jax.enable_x64(True):
        return {
            "predicted_distance": np.asarray(predicted_distance(j0, j, activation)) * num_neurons**0.5,
            "predicted_exponent": np.asarray(predicted_exponent(j0, j, activation)),
            "predicted_norm": np.sqrt(np.asarray(chi(j0, j, activation))),
        }
