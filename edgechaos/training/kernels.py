"""Kernels in a pytree of parameters: which leaves are kernels, and which of their axes are inputs and outputs.

The convention is that of optax.contrib.MuonDimensionNumbers: the inputs are summed over (reduction axes), each output
has weights of its own, and any further axis counts layers of a stack, each a kernel for itself.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array


class KernelAxes(NamedTuple):
    """Which axes of a kernel are inputs and outputs, like optax.contrib.MuonDimensionNumbers, which does as well.

    Attributes:
      reduction_axis: of the inputs, that a layer sums over.
      output_axis: of the outputs; every other axis counts the layers of a stack.
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


class NoKernel(NamedTuple):
    """Why a leaf is not taken for a kernel.

    Attributes:
      reason: a clause.
      is_unclear: whether it may be one, so that its axes have to be given.
    """

    reason: str
    is_unclear: bool = False


_QUERY = {"query", "key", "value", "q", "k", "v", "wq", "wk", "wv", "qkv", "kv"}
_OUT = {"out", "o", "wo"}
_NO_KERNEL = {"scale", "beta", "gamma", "offset", "mean", "var"}
_EMBEDDING = {"wte", "wpe", "emb", "embs", "vocab"}
_STACK = ("expert", "moe", "scan", "stack", "vmap", "ensemble", "members")
_DENSE = ("dense", "linear", "mlp", "ffn", "proj", "gate", "router")
_DENSE_WORDS = {"fc", "ff", "wi", "wo", "up", "down", "w1", "w2", "w3"}
_LARGEST_WINDOW = 16  # of a convolution that is known by its shape alone
_DEPTHWISE = "a depthwise convolution: each output has inputs of its own"

Found = tuple[tuple[int, ...], tuple[int, ...]] | tuple[tuple[int, ...], tuple[int, ...], bool]


class _Name(NamedTuple):
    """What a path says, in small letters."""

    last: str
    modules: tuple[str, ...]

    @property
    def words(self) -> set[str]:
        """Of the innermost module and the leaf itself."""
        return {word for part in (*self.modules[-1:], self.last) for word in re.split(r"[^a-z0-9]+", part)}

    @property
    def is_stacked(self) -> bool:
        """Whether a module is one for several layers: layers/mlp, but not layers_0/mlp or layers/0/mlp."""
        parts = (*self.modules, self.last)
        one_for_all = (part.endswith(("layers", "blocks")) and not after.isdigit() for part, after in pairwise(parts))
        return self.has(*_STACK) or any(one_for_all)

    def has(self, *texts: str) -> bool:
        """Whether any part of the path contains any of the texts."""
        return any(text in part for part in (*self.modules, self.last) for text in texts)


def _parse(path: str) -> _Name:
    """The parts of a path; what flax nnx appends to the name of a leaf says nothing."""
    parts = re.split(r"[/.]", path.lower())
    if len(parts) > 1 and parts[-1] in {"value", "raw_value"}:
        parts.pop()
    return _Name(parts[-1], tuple(parts[:-1]))


def read_kernel(path: str, leaf: Any, axes: Axes | None = None, layout: str = "in_out") -> Kernel | NoKernel:
    """A leaf as a kernel with known axes, or why it is none.

    Args:
      path: parts joined by "/" or ".".
      leaf: with a shape and a dtype.
      axes: what the user says of it, before all defaults.
      layout: "in_out" (flax, Keras) or "out_in" (PyTorch).

    Raises:
      ValueError: given axes that the leaf does not have.
    """
    shape = tuple(np.shape(leaf))
    given = _given(path, shape, axes)
    if given is None:
        return NoKernel("no kernel, as axes says")
    if given != "default":
        return _checked(path, shape, given)
    found = _by_name(path, shape) if layout == "in_out" else _by_torch_name(path, shape)
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
    found = {path: read_kernel(path, leaf, axes) for path, leaf in leaves if jnp.ndim(leaf) >= 2}
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
        raise ValueError(f"axes of '{path}' {shape}: {given} must be different axes of it, one of each at least")
    reduction, output = (tuple(axis % len(shape) - len(shape) for axis in part) for part in as_tuple)
    return Kernel(path=path, shape=shape, reduction=reduction, output=output)


def _unclear(path: str, why: str = "its axes cannot be told from its name and shape") -> NoKernel:
    """A leaf of which the user has to say what it is."""
    return NoKernel(
        f"{why}; give axes={{'{path}': KernelAxes(reduction_axis, output_axis)}}, or None for no kernel", True
    )


def _no_kernel(name: _Name, shape: tuple[int, ...]) -> NoKernel | None:
    """What is no kernel by its number of axes or its name."""
    ndim = len(shape)
    if ndim < 2:
        return NoKernel("bias or scale" if ndim else "a single number")
    is_norm = name.last != "kernel" and (name.has("norm") or name.words & {"ln", "bn", "gn"})
    if "bias" in name.last or name.last in _NO_KERNEL or is_norm:
        return NoKernel("bias or scale")
    is_patch = name.has("patch") or (name.last == "kernel" and ndim >= 3)
    if not is_patch and (name.has("embed") or name.words & _EMBEDDING):
        return NoKernel("an embedding: its rows are looked up, not summed")
    if name.has("depthwise"):
        return NoKernel(_DEPTHWISE)
    if ndim >= 3 and sum(size > 1 for size in shape) == 1:
        return NoKernel("a single vector")
    return None


def _by_name(path: str, shape: tuple[int, ...]) -> Found | NoKernel:
    """Axes by the names that flax gives, [..., n_in, n_out]."""
    name, ndim = _parse(path), len(shape)
    excluded = _no_kernel(name, shape)
    if excluded:
        return excluded
    if ndim == 2:
        return (-2,), (-1,)
    if name.has("conv", "patch"):
        return _convolution(path, shape, name)
    is_dense = name.is_stacked or name.has(*_DENSE) or bool(name.words & _DENSE_WORDS)
    if name.words & (_QUERY | _OUT) and (name.has("attention", "attn", "mha") or not is_dense):
        return _attention(path, shape, name)
    if is_dense:
        return (-2,), (-1,)
    is_window = ndim == 4 and shape[0] == shape[1] <= _LARGEST_WINDOW
    return _convolution(path, shape, name) if is_window else _unclear(path)


def _convolution(path: str, shape: tuple[int, ...], name: _Name) -> Found | NoKernel:
    """[window..., n_in, n_out], after the axis of a stack where names or sizes say so."""
    if shape[-2] == 1:
        return _unclear(path, f"{_DEPTHWISE}, or the first layer of grey images")
    ndim, sizes = len(shape), shape[:-2]
    is_uneven = ndim == 5 and sizes[0] != sizes[1] == sizes[2]
    is_stacked = is_uneven or (name.is_stacked and len(set(sizes)) > 1)
    if ndim > 5 + is_stacked:
        return _unclear(path)
    return tuple(range(is_stacked - ndim, -1)), (-1,), True


def _attention(path: str, shape: tuple[int, ...], name: _Name) -> Found | NoKernel:
    """[d, heads, head_dim], or [heads, head_dim, d] of the output; in a scan its axis comes first or second."""
    is_out = not name.words & _QUERY
    if len(shape) == 3:
        a, b, c = shape
        if name.is_stacked and not (a * b == c if is_out else a == b * c):
            return ((-2,), (-1,)) if b == c else _unclear(path)
        return ((-3, -2), (-1,)) if is_out else ((-3,), (-2, -1))
    if name.words & {"qkv", "kv"} or len(shape) != 4:
        return _unclear(path)
    a, b, c, d = shape
    first, second = (b * c == d, a * c == d) if is_out else (b == c * d, a == c * d)
    if first == second:
        return _unclear(path)
    outer = -3 if first else -4
    return ((outer, -2), (-1,)) if is_out else ((outer,), (-2, -1))


def _by_torch_name(path: str, shape: tuple[int, ...]) -> Found | NoKernel:
    """Axes of PyTorch's layout, [n_out, n_in, window...]."""
    name, ndim = _parse(path), len(shape)
    excluded = _no_kernel(name, shape)
    if excluded:
        return excluded
    if ndim == 3 and not name.has("conv"):
        return ((-1,), (-2,)) if name.is_stacked else _unclear(path)
    if ndim > 2 and shape[1] == 1:
        return _unclear(path, f"{_DEPTHWISE}, or the first layer of grey images")
    return tuple(range(1 - ndim, 0)), (-ndim,), ndim > 2


def is_bias(path: str, leaf: Any) -> bool:
    """Whether a leaf is a bias, a scale or a single number, by its axes or its name."""
    found = _no_kernel(_parse(path), np.shape(leaf))
    return found is not None and found.reason in {"bias or scale", "a single number"}


def path_name(path: tuple) -> str:
    """A path of a pytree as text."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def with_paths(params: optax.Params) -> list[tuple[str, Array]]:
    """The leaves with their paths as text."""
    return [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]]
