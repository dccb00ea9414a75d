"""metrics: order parameters and chi of every kernel, as plain numbers for an experiment tracker."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from edgechaos.theory.activations import Activation
from edgechaos.theory.meanfield import LARGEST_J, chi
from edgechaos.training.kernels import Axes, read_kernels, with_paths
from edgechaos.training.measured import measure


def metrics(params: optax.Params, activation: Activation = "tanh", axes: Axes | None = None) -> dict[str, Array]:
    """Order parameters and chi of every kernel, and of every layer of a stack; works under jit and vmap.

    Args:
      params: a pytree of arrays.
      activation: the activation after the kernels, as in `phase_report`.
      axes: axes of kernels whose inputs and outputs do not follow from name and shape; without them these kernels are
        left out. See `phase_report`.

    Returns:
      "<path>/j0", "<path>/j_squared" and "<path>/chi" -> a float32 number. chi is the left-hand side of Eq. 3, for a
      kernel that is not square chi_1 of a deep network with sigma_w^2 = J^2. NaN where the entries are not finite,
      and for chi also outside 0 < J <= 1000.

    Raises:
      ValueError: there is no kernel, an unknown activation, or axes that an array does not have.

    >>> params = {"hidden": {"kernel": 0.5 * jnp.eye(4), "bias": jnp.ones(4)}}
    >>> print({name: round(float(value), 2) for name, value in metrics(params).items()})
    {'hidden/kernel/j0': 0.5, 'hidden/kernel/j_squared': 0.19, 'hidden/kernel/chi': 0.19}
    """
    leaves, kernels = dict(with_paths(params)), read_kernels(params, axes)[0]
    if not kernels:
        raise ValueError("params: there is no kernel in it")
    j0, j_squared = measure([leaves[path] for path in kernels], list(kernels.values()))
    names = [name for kernel in kernels.values() for name in kernel.names]
    columns = {"j0": j0, "j_squared": j_squared, "chi": _chi(j0, j_squared, activation)}
    return {f"{name}/{key}": column[i] for i, name in enumerate(names) for key, column in columns.items()}


def _chi(j0: Float[Array, "kernels"], j_squared: Float[Array, "kernels"], activation: Any) -> Float[Array, "kernels"]:
    """Eq. 3's left-hand side, NaN outside its range."""
    in_range = jnp.isfinite(j0) & (j_squared > 0) & (j_squared <= LARGEST_J**2)
    j0, j = jnp.where(in_range, j0, 0), jnp.sqrt(jnp.where(in_range, j_squared, 1))
    return jnp.where(in_range, chi(j0, j, activation), jnp.nan)
