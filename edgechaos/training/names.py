"""What the path and the shape of a leaf say: kernel with which axes, or none and why."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple


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
_CONV1D = {"c_attn", "q_attn", "c_fc", "c_proj"}  # modules of GPT-2
_LARGEST_WINDOW = 16  # of a convolution that is known by its shape alone
_DEPTHWISE = "a depthwise convolution: each output has inputs of its own"

LAYOUTS = ("by_name", "in_out", "out_in")
Found = tuple[tuple[int, ...], tuple[int, ...]] | tuple[tuple[int, ...], tuple[int, ...], bool]


class Name(NamedTuple):
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

    @property
    def is_scanned_second(self) -> bool:
        """Whether the axis of the layers may be the second, as in MaxText's decoder/layers."""
        return any(one in {"decoder", "encoder"} and two == "layers" for one, two in pairwise(self.modules))

    def has(self, *texts: str) -> bool:
        """Whether any part of the path contains any of the texts."""
        return any(text in part for part in (*self.modules, self.last) for text in texts)


def parse(path: str) -> Name:
    """The parts of a path; what flax nnx appends to the name of a leaf says nothing."""
    parts = re.split(r"[/.]", path.lower())
    if len(parts) > 1 and parts[-1] in {"value", "raw_value"}:
        parts.pop()
    return Name(parts[-1], tuple(parts[:-1]))


def layouts(shapes: Mapping[str, tuple[int, ...]], layout: str = "by_name") -> dict[str, str]:
    """Path -> "in_out" or "out_in", the order of the axes of each array.

    Args:
      shapes: of all arrays of a network by their paths.
      layout: "in_out" (flax, Keras, NumPy), "out_in" (PyTorch's nn.Linear and nn.Conv2d), or "by_name": weights with
        dotted names, as in a state_dict ("fc.weight"), are out_in. Where c_attn or c_fc has more columns than rows, the
        network is a GPT-2 whose Conv1D layers are in_out, also among those.

    >>> print(layouts({"h.0.mlp.c_fc.weight": (8, 32), "h.0.mlp.c_proj.weight": (32, 8), "lm_head.weight": (99, 8)}))
    {'h.0.mlp.c_fc.weight': 'in_out', 'h.0.mlp.c_proj.weight': 'in_out', 'lm_head.weight': 'out_in'}
    """
    names = {path: parse(path) for path in shapes}
    widened = [shapes[path] for path, name in names.items() if name.modules[-1:] in {("c_attn",), ("c_fc",)}]
    is_gpt2 = any(len(shape) == 2 and shape[0] < shape[1] for shape in widened)

    def of(path: str, name: Name) -> str:
        is_dotted = "." in path.rpartition("/")[2] and name.last.startswith("weight") | name.last.endswith("weight")
        is_out_in = layout == "out_in" or (layout == "by_name" and is_dotted)
        return "out_in" if is_out_in and not (is_gpt2 and {*name.modules[-1:]} & _CONV1D) else "in_out"

    return {path: of(path, name) for path, name in names.items()}


def _unclear(path: str, why: str = "its axes cannot be told from its name and shape") -> NoKernel:
    """A leaf of which the user has to say what it is."""
    return NoKernel(
        f"{why}; give axes={{'{path}': KernelAxes(reduction_axis, output_axis)}}, or None for no kernel", True
    )


def no_kernel(name: Name, shape: tuple[int, ...]) -> NoKernel | None:
    """What is no kernel by its number of axes or its name."""
    ndim = len(shape)
    if ndim < 2:
        return NoKernel("bias or scale" if ndim else "a single number")
    is_norm = name.last != "kernel" and (name.has("norm") or name.words & {"ln", "bn", "gn"})
    if any("bias" in part for part in (name.last, *name.modules[-1:])) or name.last in _NO_KERNEL or is_norm:
        return NoKernel("bias or scale")
    if ndim >= 3 and sum(size > 1 for size in shape) == 1:
        return NoKernel("a single vector")
    is_patch = name.has("patch", "conv") or (name.last == "kernel" and ndim >= 3)
    is_embedding = name.has("embed") or name.words & _EMBEDDING or name.modules == ("shared",)  # the last is T5's
    if not is_patch and is_embedding:
        return NoKernel("an embedding: its rows are looked up, not summed")
    if name.has("depthwise"):
        return NoKernel(_DEPTHWISE)
    return None


def by_name(path: str, shape: tuple[int, ...]) -> Found | NoKernel:
    """Axes by the names that flax gives, [..., n_in, n_out]."""
    name, ndim = parse(path), len(shape)
    excluded = no_kernel(name, shape)
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
        return _stacked(shape, name)
    is_window = ndim == 4 and shape[0] == shape[1] <= _LARGEST_WINDOW
    return _convolution(path, shape, name) if is_window else _unclear(path)


def _stacked(shape: tuple[int, ...], name: Name) -> Found:
    """[layers..., n_in, n_out], or MaxText's [n_in, layers, n_out]: there are fewer layers than inputs."""
    is_second = name.is_scanned_second and len(shape) == 3 and shape[1] <= shape[0]
    return ((-3,), (-1,)) if is_second else ((-2,), (-1,))


def _convolution(path: str, shape: tuple[int, ...], name: Name) -> Found | NoKernel:
    """[window..., n_in, n_out], after the axis of a stack where names or sizes say so."""
    if shape[-2] == 1:
        return _unclear(path, f"{_DEPTHWISE}, or the first layer of grey images")
    ndim, sizes = len(shape), shape[:-2]
    is_uneven = ndim == 5 and sizes[0] != sizes[1] == sizes[2]
    is_stacked = is_uneven or (name.is_stacked and len(set(sizes)) > 1)
    if ndim > 5 + is_stacked:
        return _unclear(path)
    return tuple(range(is_stacked - ndim, -1)), (-1,), True


def _attention(path: str, shape: tuple[int, ...], name: Name) -> Found | NoKernel:
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
    if name.is_scanned_second and first == second:  # as many heads as layers, or fewer keys than queries
        first, second = (False, True) if is_out else (a < b, a >= b)
    if first == second:
        return _unclear(path)
    outer = -3 if first else -4
    return ((outer, -2), (-1,)) if is_out else ((outer,), (-2, -1))


def by_torch_name(path: str, shape: tuple[int, ...]) -> Found | NoKernel:
    """Axes of PyTorch's layout, [n_out, n_in, window...]."""
    name, ndim = parse(path), len(shape)
    excluded = no_kernel(name, shape)
    if excluded:
        return excluded
    if ndim == 3 and not name.has("conv"):
        return ((-1,), (-2,)) if name.is_stacked else _unclear(path)
    if ndim > 2 and shape[1] == 1:
        return _unclear(path, f"{_DEPTHWISE}, or the first layer of grey images")
    return tuple(range(1 - ndim, 0)), (-ndim,), ndim > 2
