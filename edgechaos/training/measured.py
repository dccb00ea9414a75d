"""Order parameters measured now and then within a compiled loop, and the states of transforms that keep them."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from edgechaos.training.order import order_parameters

State = TypeVar("State")


@jax.custom_batching.custom_vmap
def measure_if(
    due: Bool[Array, ""], kernels: Sequence[Float[Array, "*batch _ _"]]
) -> tuple[Float[Array, "*batch kernels"], Float[Array, "*batch kernels"]]:
    """J0 and J^2 of each kernel [n_in, n_out] if `due`, else zeros that cost nothing, also under vmap."""

    def measure_one(kernel: Float[Array, "n_in n_out"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        place = order_parameters(kernel)
        return place.j0, place.j_squared

    def measure(kernels: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        places = [jnp.vectorize(measure_one, signature="(i,o)->(),()")(kernel) for kernel in kernels]
        j0, j_squared = (jnp.stack(values, axis=-1).astype(jnp.float32) for values in zip(*places, strict=True))
        return j0, j_squared

    zeros = jnp.zeros((*kernels[0].shape[:-2], len(kernels)))
    return jax.lax.cond(due, measure, lambda _: (zeros, zeros), kernels)


@measure_if.def_vmap
def _(
    axis_size: int, in_batched: Sequence, due: jax.Array, kernels: Sequence[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[bool, bool]]:
    """One condition for the whole batch: measured where any member is due, since lanes cannot skip work alone."""
    due_batched, kernels_batched = in_batched
    lanes = [
        kernel if batched else jnp.broadcast_to(kernel, (axis_size, *kernel.shape))
        for kernel, batched in zip(kernels, kernels_batched, strict=True)
    ]
    return measure_if(due.any() if due_batched else due, lanes), (True, True)


def only_state(state: Any, kind: type[State], name: str) -> State:
    """The one state of a kind within that of a chain.

    Args:
      state: of an optimizer.
      kind: class of the state.
      name: of its transform, for the message.

    Raises:
      ValueError: there is none, or more than one.
    """
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    found = [leaf for leaf in leaves if isinstance(leaf, kind)]
    if len(found) != 1:
        raise ValueError(f"state: must hold one state of {name}, but there are {len(found)}")
    return found[0]
