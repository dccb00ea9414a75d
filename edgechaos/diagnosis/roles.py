"""What follows a kernel in its network, as far as names and shapes tell; without an activation there is no verdict."""

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from edgechaos.training.kernels import Kernel
from edgechaos.training.names import Name, parse

LOGITS = "attention logits: a softmax follows, not the activation"
FUSED = "several of queries, keys and values in one array; a softmax follows the first two, not the activation"
READOUT = "the readout: the loss follows, not the activation"
NORMALISED = "before a normalisation: the radius changes the effective learning rate only"

_QUERIES, _KEYS, _VALUES = {"q", "query", "wq"}, {"k", "key", "wk"}, {"v", "value", "wv"}
_FUSED = {"qkv", "wqkv", "kv"}
_READOUTS = {"lm_head", "logits_dense", "classifier", "head"}
_LEAVES = {"kernel", "weight", "w"}  # that say nothing beside the name of their module
_SCALES = {"weight", "scale", "gamma"}
_NORMS, _CONVOLUTIONS = {"bn", "ln", "gn"}, {"conv", "convolution", "proj"}

Shapes = Mapping[str, tuple[int, ...]]
Place = tuple[tuple[str, ...], str]  # the modules around what is named, and its name


def is_more_than_layers(shapes: Shapes) -> bool:
    """Whether names tell of normalisation or attention, which act beside the kernels."""
    return any(name.has("attn", "attention") or _is_norm(_place(name)[1]) for name in map(parse, shapes))


def unjudged(kernels: Mapping[str, Kernel], shapes: Shapes, normalised: Sequence[str] | None = None) -> dict[str, str]:
    """Path -> why the kernel's J^2 does not say where the network stands; a kernel that may be judged is left out.

    Args:
      kernels: by their paths.
      shapes: of all arrays of the network by their paths.
      normalised: glob patterns of the kernels whose outputs are normalised next. By default convolutions with a
        normalisation of the same name beside them or next in a sequence (conv1 and bn1), and queries and keys with one
        of their own (q_proj and q_norm).

    Raises:
      ValueError: a pattern that matches no kernel.
    """
    places = {path: _place(parse(path)) for path in kernels}
    reasons = {path: _by_name(place, places.values()) for path, place in places.items()}
    found = _normalised(places, kernels, shapes) if normalised is None else _matched(normalised, kernels)
    reasons |= dict.fromkeys(found, NORMALISED)
    return {path: reason for path, reason in reasons.items() if reason}


def _place(name: Name) -> Place:
    """The innermost name that says something, and the modules around it."""
    if name.last in _LEAVES | _SCALES and name.modules:
        return name.modules[:-1], name.modules[-1]
    return name.modules, name.last


def _words(name: str) -> list[str]:
    """Letters and digits apart: "q_proj" is q and proj, "bn1" is bn and 1."""
    return re.findall(r"[a-z]+|\d+", name)


def _by_name(place: Place, others: Collection[Place]) -> str:
    """Attention logits and readouts, or ""."""
    outer, inner = place
    if {inner, *outer[-1:]} & _READOUTS or (*outer[-1:], inner) == ("predictions", "decoder"):  # the latter is BERT's
        return READOUT
    words = {*_words(inner)}
    beside = {word for around, name in others if around == outer for word in _words(name)}
    is_attention = any("attn" in part or "attention" in part for part in (*outer, inner))
    if not is_attention and not all(beside & kind for kind in (_QUERIES, _KEYS, _VALUES)):
        return ""
    is_fused = bool(words & _FUSED) or {"query", "key", "value"} <= words
    if is_fused or inner.startswith(("c_attn", "in_proj")):
        return FUSED
    return LOGITS if words & (_QUERIES | _KEYS) else ""


def _matched(globs: Sequence[str], kernels: Collection[str]) -> list[str]:
    """The kernels that any of the patterns matches."""
    for glob in globs:
        if not any(fnmatchcase(path, glob) for path in kernels):
            raise ValueError(f"normalised: '{glob}' matches no kernel; there are {', '.join(kernels)}")
    return [path for path in kernels if any(fnmatchcase(path, glob) for glob in globs)]


def _normalised(places: Mapping[str, Place], kernels: Mapping[str, Kernel], shapes: Shapes) -> list[str]:
    """Kernels whose outputs are normalised next, by names and sizes.

    Names do not say whether bn1 comes before or behind conv1. The sizes of those that change the number of channels do,
    and decide for all of them.
    """
    norms, found, pairs = _norms(shapes), [], []
    for path, (outer, inner) in places.items():
        size = norms.get((outer, _stem(inner)))
        if {*_words(inner)} & (_QUERIES | _KEYS):
            found += [path] if size else []
        elif kernels[path].is_convolution and inner.isdigit():
            found += [path] if norms.get((outer, f"{int(inner) + 1}")) == kernels[path].num_outputs else []
        elif kernels[path].is_convolution and size:
            pairs.append((path, size, kernels[path].num_outputs, _channels(kernels[path])))
    is_behind = any(size == outputs != channels for _, size, outputs, channels in pairs)
    is_before = any(size == channels != outputs for _, size, outputs, channels in pairs)
    return found + [path for path, size, outputs, _ in pairs if is_behind and not is_before and size == outputs]


def _channels(kernel: Kernel) -> int:
    """Input channels of a convolution: the axis beside that of the outputs."""
    axis = next(axis for axis in kernel.reduction if abs(axis - kernel.output[0]) == 1)
    return kernel.shape[axis]


def _norms(shapes: Shapes) -> dict[Place, int]:
    """Place of a normalisation, with its name without "norm" and the like -> number of its scales.

    In a sequence only its running mean tells it from a layer.
    """
    found = {}
    for path, shape in shapes.items():
        name = parse(path)
        outer, inner = _place(name)
        has_statistics = path.removesuffix("weight") + "running_mean" in shapes
        if len(shape) == 1 and name.last in _SCALES and (has_statistics or _is_norm(inner)):
            found[outer, inner if inner.isdigit() else _stem(inner)] = shape[0]
    return found


def _is_norm(word: str) -> bool:
    """Whether a module or a word is called a normalisation."""
    return "norm" in word or bool({*_words(word)} & _NORMS)


def _stem(name: str) -> str:
    """What is left of conv1, bn1 and the like without the kind of layer."""
    return "_".join(word for word in _words(name) if word not in _CONVOLUTIONS and not _is_norm(word))
