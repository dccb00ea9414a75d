"""Kernels in a pytree of parameters: which leaves are kernels, and which of their axes are inputs and outputs.

The convention is that of optax.contrib.MuonDimensionNumbers: a layer sums over the inputs (reduction axes), each output
has its own weights, and any other axis counts the layers of a stack, each of which is a separate kernel.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from edgechaos.training.names import NoKernel, by_name, by_torch_name, layouts, no_kernel, parse


class KernelAxes(NamedTuple):
    """Which axes of a kernel are inputs and outputs; optax.contrib.MuonDimensionNumbers is accepted as well.

    Attributes:
      reduction_axis: axis or axes of the inputs, over which a layer sums.
      output_axis: axis or axes of the outputs; every other axis counts the layers of a stack.
    """

    reduction_axis: tuple[int, ...] | int = 0
    output_axis: tuple[int, ...] | int = 1


# globs of paths -> axes, or None for what is no kernel; or a function of path and shape that may return "default"
Axes = Mapping[str, Any] | Callable[[str, tuple[int, ...]], Any]


class Kernel(NamedTuple):
    """A leaf whose axes are known; all axes count from the end, so that they also hold under vmap.

    Attributes:
      path: where it is.
      shape: of the leaf.
      reduction: axes of the inputs.
      output: axes of the outputs.
      is_convolution: whether some of its inputs are places in a window.
    """

    path: str
    shape: tuple[int, ...]
    reduction: tuple[int, ...]
    output: tuple[int, ...]
    is_convolution: bool = False

    @property
    def num_inputs(self) -> int:
        """Fan-in n_in."""
        return int(np.prod([self.shape[axis] for axis in self.reduction]))

    @property
    def num_outputs(self) -> int:
        """n_out."""
        return int(np.prod([self.shape[axis] for axis in self.output]))

    @property
    def is_square(self) -> bool:
        """Whether it maps a layer onto one like it."""
        return self.num_inputs == self.num_outputs

    @property
    def stack(self) -> tuple[int, ...]:
        """The axes that count layers; () for a single kernel."""
        taken = {*self.reduction, *self.output}
        return tuple(axis for axis in range(-len(self.shape), 0) if axis not in taken)

    @property
    def names(self) -> list[str]:
        """Of its layers: the path alone, or with their indices in the stack."""
        sizes = [self.shape[axis] for axis in self.stack]
        return [self.path + "".join(f"[{i}]" for i in index) for index in np.ndindex(*sizes)]


def read_kernel(path: str, leaf: Any, axes: Axes | None = None, layout: str = "by_name") -> Kernel | NoKernel:
    """A leaf as a kernel with known axes, or why it is none.

    Args:
      path: parts joined by "/" or ".".
      leaf: with a shape and a dtype.
      axes: what the user says of it, before all defaults.
      layout: as in `names.layouts`.

    Raises:
      ValueError: given axes that the leaf does not have.
    """
    shape = tuple(np.shape(leaf))
    given = _given(path, shape, axes)
    if given is None:
        return NoKernel("no kernel, as axes says")
    if given != "default":
        return _checked(path, shape, given)
    is_in_out = layouts({path: shape}, layout)[path] == "in_out"
    found = by_name(path, shape) if is_in_out else by_torch_name(path, shape)
    if isinstance(found, NoKernel):
        return found
    return Kernel(path, shape, *found)


def read_kernels(params: optax.Params, axes: Axes | None = None) -> tuple[dict[str, Kernel], dict[str, NoKernel]]:
    """The kernels of a pytree by their paths, and the leaves with two axes or more that are none.

    Raises:
      ValueError: `axes` names a path that does not exist, or axes that a leaf does not have.
    """
    leaves = with_paths(params)
    if isinstance(axes, Mapping):
        unknown = [glob for glob in axes if not any(fnmatchcase(path, glob) for path, _ in leaves)]
        if unknown and leaves:
            raise ValueError(f"axes: '{unknown[0]}' matches none of {', '.join(path for path, _ in leaves)}")
    of = layouts({path: tuple(np.shape(leaf)) for path, leaf in leaves})
    found = {path: read_kernel(path, leaf, axes, of[path]) for path, leaf in leaves if jnp.ndim(leaf) >= 2}
    kernels = {path: one for path, one in found.items() if isinstance(one, Kernel)}
    return kernels, {path: one for path, one in found.items() if isinstance(one, NoKernel)}


def _given(path: str, shape: tuple[int, ...], axes: Axes | None) -> Any:
    """What the user says of a leaf: axes, None for no kernel, or "default"."""
    if axes is None:
        return "default"
    if not isinstance(axes, Mapping):
        return axes(path, shape)
    return next((value for glob, value in axes.items() if fnmatchcase(path, glob)), "default")


def _checked(path: str, shape: tuple[int, ...], given: Any) -> Kernel:
    """Axes that were given, counted from the end."""
    as_tuple = [(one,) if isinstance(one, int) else tuple(one) for one in (given.reduction_axis, given.output_axis)]
    every = [axis for part in as_tuple for axis in part]
    in_range = all(-len(shape) <= axis < len(shape) for axis in every)
    if not (in_range and all(as_tuple) and len({axis % len(shape) for axis in every}) == len(every)):
        raise ValueError(f"axes of '{path}' {shape}: {given} must be different axes of it, at least one of each kind")
    reduction, output = (tuple(axis % len(shape) - len(shape) for axis in part) for part in as_tuple)
    return Kernel(path=path, shape=shape, reduction=reduction, output=output)


def is_bias(path: str, leaf: Any) -> bool:
    """Whether a leaf is a bias, a scale or a single number, by its axes or its name."""
    found = no_kernel(parse(path), np.shape(leaf))
    return found is not None and found.reason in {"bias or scale", "a single number"}


def path_name(path: tuple) -> str:
    """A path of a pytree as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def with_paths(params: optax.Params) -> list[tuple[str, Array]]:
    """The leaves with their paths as text."""
    return [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]]
