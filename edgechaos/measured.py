"""Order parameters measured now and then within a compiled loop, and the states of transforms that keep them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from edgechaos.kernels import Kernel, path_name

State = TypeVar("State")

_SAMPLE = 64  # inputs, and as many outputs

Places = tuple[Array, Array]  # J0 and J^2 [..., layers]


def measure_if(due: Bool[Array, ""], leaves: Sequence[Array], kernels: Sequence[Kernel]) -> Places:
    """J0 and J^2 of each kernel, and of each layer of a stack, if `due`; else zeros that cost nothing.

    Under vmap there is one condition for the whole batch, which is measured where any member is due, since lanes cannot
    skip work alone. Derivatives are those of the measured numbers.

    Args:
      due: whether to measure.
      leaves: the arrays.
      kernels: their axes.
    """

    def measure(leaves: Sequence[Array]) -> Places:
        return _joined([_moments(leaf, kernel) for leaf, kernel in zip(leaves, kernels, strict=True)])

    def nothing(leaves: Sequence[Array]) -> Places:
        # zeros made of the leaves vary over a mesh where those do, as shard_map demands of both branches
        number = sum(len(kernel.names) for kernel in kernels)
        corners = [leaf[(..., *[0] * len(kernel.shape))] for leaf, kernel in zip(leaves, kernels, strict=True)]
        some = sum(corner.astype(jnp.float32) for corner in corners)
        zeros = jnp.where(True, 0.0, some)[..., None] * jnp.ones(number, jnp.float32)
        return zeros, zeros

    @jax.custom_batching.custom_vmap
    def conditional(due: Array, leaves: Sequence[Array]) -> Places:
        return jax.lax.cond(due, measure, nothing, leaves)

    @conditional.def_vmap
    def _(axis_size: int, in_batched: Sequence, due: Array, leaves: Sequence[Array]) -> tuple[Places, tuple]:
        due_batched, leaves_batched = in_batched
        lanes = [
            leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))
            for leaf, batched in zip(leaves, leaves_batched, strict=True)
        ]
        return conditional(due.any() if due_batched else due, lanes), (True, True)

    @jax.custom_jvp
    def differentiable(due: Array, leaves: Sequence[Array]) -> Places:
        return conditional(due, leaves)

    @differentiable.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Places, Places]:
        due, leaves = primals
        _, changes = jax.jvp(measure, (leaves,), (tangents[1],))
        return differentiable(due, leaves), jax.tree.map(lambda change: jnp.where(due, change, 0), changes)

    return differentiable(due, list(leaves))


def sample_j_squared(leaves: Sequence[Array], kernels: Sequence[Kernel]) -> Float[Array, "controllers"]:
    """J^2 by a few entries of each kernel: cheap enough for every step, and good for its changes only."""
    return _joined([_moments(_some(leaf, kernel), kernel) for leaf, kernel in zip(leaves, kernels, strict=True)])[1]


def _some(leaf: Array, kernel: Kernel) -> Array:
    """At most about 64 inputs, evenly spread, and as many neighbouring outputs, which lie side by side in memory."""
    cut = [slice(None)] * leaf.ndim
    left = _SAMPLE
    for axis in kernel.reduction[::-1]:
        stride = -(-leaf.shape[axis] // left)
        cut[axis] = slice(None, None, stride)
        left = max(left * stride // leaf.shape[axis], 1)
    left = _SAMPLE
    for axis in kernel.output[::-1]:
        cut[axis] = slice(left)
        left = max(left // leaf.shape[axis], 1)
    return leaf[tuple(cut)]


def _moments(leaf: Array, kernel: Kernel) -> Places:
    """J0 = n_in mean(W) and J^2 = n_in var(W) of each layer [..., layers] of a leaf or a part of it, in float32."""
    axes, rank = (*kernel.reduction, *kernel.output), len(kernel.shape)
    values = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    moments = (moment(values, axis=axes) for moment in (jnp.mean, jnp.var))
    shape = (*leaf.shape[: leaf.ndim - rank], len(kernel.names))
    j0, j_squared = ((kernel.num_inputs * moment).astype(jnp.float32).reshape(shape) for moment in moments)
    return j0, j_squared


def _joined(places: Sequence[Places]) -> Places:
    """The layers of all kernels behind one another."""
    j0, j_squared = (jnp.concatenate(values, axis=-1) for values in zip(*places, strict=True))
    return j0, j_squared


def only_state(state: Any, kind: type[State], name: str, group: str | None = None) -> State:
    """The one state of a kind within that of a chain, also as a checkpoint without types gives it back.

    Args:
      state: of an optimizer.
      kind: class of the state, a NamedTuple.
      name: of its transform, for the message.
      group: a part of the path to the state, such as the label that optax.partition has for it.

    Raises:
      ValueError: there is none, or more than one.
    """
    fields = set(getattr(kind, "_fields", ()))

    def is_state(node: Any) -> bool:
        return isinstance(node, kind) or (isinstance(node, Mapping) and fields <= set(node))

    leaves = jax.tree_util.tree_flatten_with_path(state, is_leaf=is_state)[0]
    found = {path_name(path): leaf for path, leaf in leaves if is_state(leaf)}
    chosen = {path: leaf for path, leaf in found.items() if group is None or group in path.split("/")}
    if len(chosen) != 1:
        said = "" if group is None else f" in '{group}'"
        paths = ", ".join(f"'{path}'" for path in found)
        hint = f"; give group, a part of one of the paths {paths}" if len(found) > 1 else ""
        raise ValueError(f"state: must hold one state of {name}{said}, but there are {len(chosen)}{hint}")
    (one,) = chosen.values()
    if isinstance(one, kind):
        return one
    return kind(**{field: jnp.asarray(jax.tree.leaves(one[field])[0]) for field in fields})
