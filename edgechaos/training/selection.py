"""Which kernels a hold measures, and which it decays, by how much."""

import warnings
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from edgechaos.training.kernels import Axes, Kernel, NoKernel, read_kernels, with_paths
from edgechaos.training.measured import measure_if

Select = str | Callable[[str], bool]


class Selection(NamedTuple):
    """The kernels of a hold.

    Attributes:
      measured: in the order of the controllers, the layers of a stack behind one another.
      decayed: by their paths.
    """

    measured: list[Kernel]
    decayed: dict[str, Kernel]

    @property
    def num_controllers(self) -> int:
        """One for each measured kernel, and for each layer of a stack."""
        return sum(len(kernel.names) for kernel in self.measured)

    def decays(
        self, decay: Float[Array, "controllers"], is_active: Bool[Array, "controllers"], shared: bool
    ) -> dict[str, Float[Array, "..."]]:
        """Decay of each decayed leaf, in a shape that broadcasts to it: its own, else the mean of the active ones."""
        mean = jnp.where(is_active, decay, 0).sum() / jnp.maximum(is_active.sum(), 1)
        found, first = dict.fromkeys(self.decayed, mean), 0
        for kernel in [] if shared else self.measured:
            last = first + len(kernel.names)
            if kernel.path in found:
                sizes = [
                    size if axis - len(kernel.shape) in kernel.stack else 1 for axis, size in enumerate(kernel.shape)
                ]
                found[kernel.path] = decay[first:last].reshape(sizes)
            first = last
        return found


def select_kernels(
    params: optax.Params, select: Select | tuple[Select, Select] | None, axes: Axes | None, warns: bool = False
) -> Selection:
    """Reads which kernels are measured and decayed.

    Args:
      params: of the network.
      select: see `hold_at_edge`.
      axes: likewise.
      warns: of what may be a kernel, but is left out by default.

    Raises:
      ValueError: there is no leaf, no measured kernel, or a chosen one that is none.
    """
    leaves = dict(with_paths(params))
    if not leaves:
        raise ValueError("hold_at_edge: there are no parameters, so there is no square kernel to measure")
    kernels, others = read_kernels(params, axes)
    if select is None:
        measured, decayed = [one for one in kernels.values() if one.is_square], kernels
        if warns:
            _warn(others)
    else:
        pair = select if isinstance(select, tuple) else (select, select)
        chosen, decayed = (_chosen(one, kernels, others) for one in pair)
        measured = list(chosen.values())
    if not measured:
        listed = ", ".join(f"'{path}' {tuple(leaves[path].shape)}" for path in (*kernels, *others)) or "none"
        what = "there is no square kernel to measure" if select is None else "select matches no kernel"
        shown = f" ('{select}')" if isinstance(select, str) else ""
        hint = "a glob pattern such as 'hidden/*' or a predicate on these paths"
        raise ValueError(f"hold_at_edge: {what}{shown}; give select, {hint}: {listed}")
    for kernel in (*measured, *decayed.values()):
        leaf = leaves[kernel.path]
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or not leaf.size:
            raise ValueError(f"hold_at_edge: '{kernel.path}' {leaf.shape} {leaf.dtype}: must be real numbers")
    return Selection(measured, decayed)


def _chosen(select: Select, kernels: dict[str, Kernel], others: dict[str, NoKernel]) -> dict[str, Kernel]:
    """The kernels that a pattern or predicate chooses.

    Raises:
      ValueError: it chooses a leaf whose axes are not known.
    """

    def matches(path: str) -> bool:
        return fnmatchcase(path, select) if isinstance(select, str) else bool(select(path))

    for path, other in others.items():
        if other.is_unclear and matches(path):
            raise ValueError(f"hold_at_edge: '{path}': {other.reason}")
    return {path: kernel for path, kernel in kernels.items() if matches(path)}


def _warn(others: dict[str, NoKernel]) -> None:
    """Says what may be a kernel but is not held."""
    for path, other in others.items():
        if other.is_unclear:
            warnings.warn(f"hold_at_edge: '{path}' is not held: {other.reason}", UserWarning, stacklevel=4)


def require_measurable(params: optax.Params, chosen: Selection) -> None:
    """Refuses kernels whose J^2 is no number in float32, as far as their values are known.

    Raises:
      ValueError: names the first of them.
    """
    leaves = dict(with_paths(params))
    arrays = [leaves[kernel.path] for kernel in chosen.measured]
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in arrays):
        return
    _, j_squared = measure_if(jnp.array(True), arrays, chosen.measured)
    if isinstance(j_squared, jax.core.Tracer):
        return
    names = [name for kernel in chosen.measured for name in kernel.names]
    for name, is_finite in zip(names, jnp.isfinite(j_squared).tolist(), strict=True):
        if not is_finite:
            raise ValueError(f"hold_at_edge: J^2 of '{name}' is not a number: an entry is NaN, infinite or too large")


def is_placeholder(params: Any) -> bool:
    """Whether these are no parameters but what optax.tree_map_params puts in their place."""
    return type(params).__name__ == "_ParamsPlaceholder"
