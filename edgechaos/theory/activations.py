"""Activations phi by name, and their differences without cancellation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

Phi = Callable[[jax.Array], jax.Array]
Activation = str | Phi

ACTIVATIONS: dict[str, Phi] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "erf": jax.scipy.special.erf,
}


def activation_function(activation: Activation) -> Phi:
    """Returns phi, looked up by name or taken as it is.

    Raises:
      ValueError: a name that is not known, or a function that does not turn an array entry by entry into another, or
        that is NumPy's.
    """
    if callable(activation):
        _check_function(activation)
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation = '{activation}': must be one of {', '.join(ACTIVATIONS)}, or a function")
    return ACTIVATIONS[activation]


def _check_function(phi: Phi) -> None:
    """Raises a ValueError for a function that does not map arrays of JAX onto arrays of the same shape."""
    example = jax.ShapeDtypeStruct((3,), jnp.result_type(float))
    try:
        result = jax.eval_shape(lambda h: phi(h), example)  # a ufunc of NumPy itself crashes JAX
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(f"activation = {phi}: must use jax.numpy, not NumPy") from error
    if getattr(result, "shape", None) != example.shape or not jnp.issubdtype(result.dtype, jnp.floating):
        raise ValueError(f"activation = {phi}: turns an array [3] into {result}, must keep shape and type")


def difference(phi: Phi, h: Float[jax.Array, "*shape"], dh: Float[jax.Array, "*shape"]) -> Float[jax.Array, "*shape"]:
    """phi(h + dh) - phi(h) without cancellation: phi'(h + dh / 2) dh where dh is small.

    The midpoint errs by dh^2 phi''' / 24 relative to phi' dh, the subtraction by eps / dh; they are equal, and 1e-5 in
    float32, at the threshold.
    """
    small = (12 * jnp.finfo(h.dtype).eps) ** (1 / 3)
    midpoint = jax.jvp(phi, (h + dh / 2,), (dh,))[1]
    return jnp.where(jnp.abs(dh) < small, midpoint, phi(h + dh) - phi(h))
