"""Order parameters measured now and then within a compiled loop, and the states of transforms that keep them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from edgechaos.training.kernels import Kernel, path_name

State = TypeVar("State")

_SAMPLE = 64  # inputs, and as many outputs

Places = tuple[Array, Array]  # J0 and J^2 [..., layers]


def measure(leaves: Sequence[Array], kernels: Sequence[Kernel]) -> Places:
    """J0 and J^2 of each kernel, and of each layer of a stack."""
    return _joined([_moments(leaf, kernel) for leaf, kernel in zip(leaves, kernels, strict=True)])


def measure_if(due: Bool[Array, ""], leaves: Sequence[Array], kernels: Sequence[Kernel]) -> Places:
    """J0 and J^2 of each kernel, and of each layer of a stack, if `due`; else zeros that cost nothing.

    Under vmap there is one condition for the whole batch, which is measured where any member is due, since lanes cannot
    skip work alone. Derivatives are those of the measured numbers.

    Args:
      due: whether to measure.
      leaves: the arrays.
      kernels: their axes.
    """

    def places(leaves: Sequence[Array]) -> Places:
        return measure(leaves, kernels)

    def nothing(leaves: Sequence[Array]) -> Places:
        batch = leaves[0].shape[: leaves[0].ndim - len(kernels[0].shape)]
        zeros = jnp.zeros((*batch, sum(len(kernel.names) for kernel in kernels)), jnp.float32)
        zeros = varying_like(leaves, zeros)
        return zeros, zeros

    @jax.custom_batching.custom_vmap
    def conditional(due: Array, leaves: Sequence[Array]) -> Places:
        return jax.lax.cond(due, places, nothing, leaves)

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
        _, changes = jax.jvp(places, (leaves,), (tangents[1],))
        return differentiable(due, leaves), jax.tree.map(lambda change: jnp.where(due, change, 0), changes)

    return differentiable(due, list(leaves))


def varying_like(leaves: Any, values: Any) -> Any:
    """Values that vary over the axes of a mesh over which any of the leaves does, as shard_map wants to know it."""
    axes = {axis for leaf in jax.tree.leaves(leaves) for axis in _varying_axes(leaf)}
    return jax.tree.map(lambda value: jax.lax.pcast(value, tuple(axes), to="varying"), values) if axes else values


def _varying_axes(leaf: Any) -> frozenset:
    """Names of a mesh's axes over which an array varies; none for what only stands for an array."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return frozenset()
    kind: Any = jax.typeof(leaf)
    return (
        kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma
    )  # the latter before jax 0.10


def sample_j_squared(leaves: Sequence[Array], kernels: Sequence[Kernel]) -> Float[Array, "controllers"]:
    """J^2 by a few entries of each kernel: cheap enough for every step, and good for its changes only."""
    return _joined([_moments(_some(leaf, kernel), kernel) for leaf, kernel in zip(leaves, kernels, strict=True)])[1]


def _some(leaf: Array, kernel: Kernel) -> Array:
    """At most about 64 inputs, evenly spread, and as many neighbouring outputs, which lie side by side in memory.

    An axis that is explicitly split over a mesh stays whole, since not every part of it can be cut.
    """
    cut, split = [slice(None)] * leaf.ndim, jax.typeof(leaf).sharding.spec
    left = _SAMPLE
    for axis in kernel.reduction[::-1]:
        stride = -(-leaf.shape[axis] // left) if split[axis] is None else 1
        cut[axis] = slice(None, None, stride)
        left = max(left * stride // leaf.shape[axis], 1)
    left = _SAMPLE
    for axis in kernel.output[::-1]:
        cut[axis] = slice(left if split[axis] is None else None)
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
    j0, j_squared = (jnp.concatenate([_whole(one) for one in values], axis=-1) for values in zip(*places, strict=True))
    return j0, j_squared


def _whole(values: Array) -> Array:
    """The same on every device, where an axis of a mesh with explicit sharding counts the layers of a stack."""
    is_split = any(part is not None for part in jax.typeof(values).sharding.spec)
    return jax.sharding.reshard(values, PartitionSpec(*[None] * values.ndim)) if is_split else values


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
        raise ValueError(f"state: must contain one state of {name}{said}, but there are {len(chosen)}{hint}")
    (one,) = chosen.values()
    if isinstance(one, kind):
        return one
    return kind(**{field: jnp.asarray(jax.tree.leaves(one[field])[0]) for field in fields})
