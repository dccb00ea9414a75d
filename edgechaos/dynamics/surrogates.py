"""Surrogates of a kernel, which keep some of its properties and draw the rest anew: which of them takes the chaos?"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edgechaos.dynamics.attractors import KINDS, attractor
from edgechaos.dynamics.input_dependence import asymptotic_distance, shuffled
from edgechaos.theory.activations import Activation, activation_function
from edgechaos.theory.stationary import slope_of

Kernel = Float[Array, "N N"]


class Surrogate(NamedTuple):
    """A recipe.

    Attributes:
      keeps: what it has of the kernel.
      make: (key, kernel, kernel before training) -> the surrogate.
      is_random: whether another key makes another one.
    """

    keeps: str
    make: Callable[[PRNGKeyArray, Kernel, Kernel], Kernel]
    is_random: bool = True


def _gaussian(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    """Normal entries with the kernel's mean and variance."""
    return kernel.mean() + kernel.std() * jax.random.normal(key, kernel.shape, kernel.dtype)


def _of_symmetry(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    """Normal entries of which W_ij and W_ji correlate as in the kernel."""
    apart = kernel - kernel.mean()
    tau = jnp.clip((apart * apart.T).mean() / apart.var(), -1, 1)
    normal, angle = jax.random.normal(key, kernel.shape, kernel.dtype), jnp.arcsin(tau) / 2
    return kernel.mean() + kernel.std() * (jnp.cos(angle) * normal + jnp.sin(angle) * normal.T)


def _of_norms(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    """Normal entries whose variances are products of one factor for each input and one for each output."""
    squares = (kernel - kernel.mean()) ** 2
    variance = squares.sum(1, keepdims=True) * squares.sum(0) / squares.sum()
    return kernel.mean() + jnp.sqrt(variance) * jax.random.normal(key, kernel.shape, kernel.dtype)


def _signs(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    """The distances of the entries from their mean, with random signs."""
    return kernel.mean() + (kernel - kernel.mean()) * jax.random.rademacher(key, kernel.shape, kernel.dtype)


def _rotation(key: PRNGKeyArray, like: Kernel) -> Kernel:
    """An orthogonal matrix of the Haar measure."""
    frame, triangle = jnp.linalg.qr(jax.random.normal(key, like.shape, like.dtype))
    return frame * jnp.sign(jnp.diag(triangle))


def _bases(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    """The singular values between two random bases."""
    before, after = jax.random.split(key)
    values = jnp.linalg.svd(kernel, compute_uv=False)
    return (_rotation(before, kernel) * values) @ _rotation(after, kernel)


def _without_largest(number: int, key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    """The kernel less its `number` largest singular values."""
    left, values, right = jnp.linalg.svd(kernel)
    return (left * values.at[:number].set(0)) @ right


def _within_outputs(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    return jax.random.permutation(key, kernel, axis=0, independent=True)


def _within_inputs(key: PRNGKeyArray, kernel: Kernel, initial: Kernel) -> Kernel:
    return jax.random.permutation(key, kernel, axis=1, independent=True)


OUTLIERS = (1, 2, 4, 8, 16, 32)  # largest singular values that are removed
SURROGATES: dict[str, Surrogate] = {
    "trained": Surrogate("everything", lambda key, kernel, initial: kernel, False),
    "gaussian": Surrogate("J0 and J", _gaussian),
    "shuffled": Surrogate("the entries", lambda key, kernel, initial: shuffled(key, kernel)),
    "symmetry": Surrogate("J0, J and the correlation of W_ij with W_ji", _of_symmetry),
    "within_inputs": Surrogate("the entries of each input", _within_inputs),
    "within_outputs": Surrogate("the entries of each output", _within_outputs),
    "norms": Surrogate("the norms of inputs and outputs", _of_norms),
    "signs": Surrogate("the size of each entry", _signs),
    "bases": Surrogate("the singular values", _bases),
    "right_rotated": Surrogate("W W^T: singular values, norms of inputs", lambda key, w, _: w @ _rotation(key, w)),
    "left_rotated": Surrogate("W^T W: singular values, norms of outputs", lambda key, w, _: _rotation(key, w) @ w),
    "permuted": Surrogate("all but which output is which input", lambda key, w, _: jax.random.permutation(key, w)),
    "learned": Surrogate("what training added", lambda key, kernel, initial: kernel - initial, False),
    **{
        f"without_{number}": Surrogate(
            f"all but the {number} largest singular values",
            functools.partial(_without_largest, number),
            False,
        )
        for number in OUTLIERS
    },
}


def measure(
    kernel: Float[Array, "N N"],
    key: PRNGKeyArray,
    num_states: int,
    num_iterations: int,
    activation: Activation = "tanh",
) -> dict[str, Float[Array, ""]]:
    """What the map x -> phi(x W) of one kernel does, from several random states.

    Args:
      kernel: W.
      key: of states, tangents and perturbations.
      num_states: >= 2, N(0, 1) in each component.
      num_iterations: >= 64 that an exponent is averaged over, after as many before.
      activation: phi.

    Returns:
      exponent, and exponent_error over the states (at least the mean standard error of one trajectory over the root of
      their number); distance / sqrt(N) of perturbed states, median; chi, by which the squared length of a random
      difference grows in the asymptotic state; and the share of states that end in each of `attractors.KINDS`.
    """
    phi, (state_key, tangent_key, twin_key) = activation_function(activation), jax.random.split(key, 3)
    states = jax.random.normal(state_key, (num_states, len(kernel)), kernel.dtype)
    found = attractor(lambda x: phi(x @ kernel), states, tangent_key, num_iterations, num_iterations)
    slope = slope_of(phi)(found.state @ kernel)
    chi = (slope**2 @ (kernel**2).sum(0)).mean() / len(kernel)
    distance = asymptotic_distance(kernel, states, twin_key, 2 * num_iterations, activation=activation)
    over_states = jnp.std(found.exponent, ddof=1)
    within = jnp.sqrt((found.standard_error**2).mean())
    numbers = {
        "exponent": found.exponent.mean(),
        "exponent_error": jnp.maximum(over_states, within) / num_states**0.5,
        "distance": jnp.median(distance) / len(kernel) ** 0.5,
        "chi": chi,
    }
    return numbers | {f"share_{kind}": (found.kind == index).mean() for index, kind in enumerate(KINDS)}


def effective_rank(matrix: Float[np.ndarray, "rows columns"]) -> float:
    """Participation ratio of the squared singular values, (sum s^2)^2 / sum s^4; N / 2 for independent entries.

    >>> effective_rank(np.eye(4))
    4.0
    """
    gram = matrix.T.astype(np.float64) @ matrix
    return float(np.trace(gram) ** 2 / (gram**2).sum())


def largest_eigenvalue(kernel: Float[np.ndarray, "N N"]) -> float:
    """Largest modulus of an eigenvalue; the state 0 of an odd phi with slope 1 at 0 is stable below 1."""
    return float(np.abs(np.linalg.eigvals(kernel.astype(np.float64))).max())
