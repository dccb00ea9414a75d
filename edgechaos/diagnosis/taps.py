"""Taps: tensors inside a model of flax linen, flax nnx or a list of layers, without rewriting the model."""

import contextlib
import dataclasses
import fnmatch
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_INPUT, _WHOLE = "input", "(model)"
_ENTRY = ":in"  # suffix of the name of what a module takes in


class Points(NamedTuple):
    """Names of the tapped tensors in the order of computation, which are on the stream, and the first one's shape."""

    names: list[str]
    stream: list[bool]
    shape: tuple[int, ...]
    dtype: Any


class _Recorder:
    """Notes the tensors that pass, and adds a nudge to the first."""

    def __init__(self, taps: "Taps", nudge: jax.Array | None) -> None:
        self.taps, self.nudge = taps, nudge
        self.names: list[str] = []
        self.stream: list[bool] = []
        self.tensors: list[Any] = []
        self.seen: dict[str, int] = {}

    def pass_on(self, name: str, value: Any) -> Any:
        """Notes a tensor if a pattern asks for it; returns it, nudged if it is the one to start with."""
        self.seen[name] = self.seen.get(name, 0) + 1
        shown = name if self.seen[name] == 1 else f"{name}#{self.seen[name]}"
        if not self.tensors:
            if not matches(name, (self.taps.start,)):
                return value
            value = value if self.nudge is None else value + self.nudge
        elif not (matches(name, self.taps.stream) or matches(name, self.taps.branches)):
            return value
        self.names.append(shown)
        self.stream.append(len(self.tensors) == 0 or matches(name, self.taps.stream))
        self.tensors.append(value)
        return value


Forward = Callable[[jax.Array, _Recorder], Any]


@dataclasses.dataclass(frozen=True)
class Taps:
    """A model whose inner tensors `jacobian_profile` measures; `tap` makes it.

    Attributes:
      forward: runs the model on a batch and shows each module's input and output to a recorder.
      stream: patterns of the tensors on the stream.
      branches: patterns of the ends of residual branches.
      start: pattern of the tensor that is varied.
    """

    forward: Forward
    stream: tuple[str, ...]
    branches: tuple[str, ...]
    start: str

    def _record(self, x: jax.Array, nudge: jax.Array | None) -> _Recorder:
        """Runs the model."""
        recorder = _Recorder(self, nudge)
        self.forward(recorder.pass_on(_INPUT, x), recorder)
        return recorder

    def tensors(self, x: jax.Array, nudge: jax.Array | None = None) -> list[Any]:
        """The tapped tensors in the order of computation, as functions of what is added to the first."""
        return self._record(x, nudge).tensors

    def points(self, x: jax.Array) -> Points:
        """What is tapped, without computing anything.

        Raises:
          ValueError: a pattern matches no tensor, or the input has to be varied but is not real numbers.
        """
        found: list[_Recorder] = []

        def shapes(x: jax.Array) -> Any:
            found.append(self._record(x, None))
            return found[-1].tensors

        if self.start == _INPUT and not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"x = array of {x.dtype}: must be real numbers, or `start` must "
                "name a tensor after the layer that takes it"
            )
        tensors = jax.eval_shape(shapes, x)
        (recorder,) = found
        for pattern in (self.start, *self.stream, *self.branches):
            if not any(matches(name, (pattern,)) for name in recorder.seen):
                raise ValueError(f"'{pattern}' matches nothing in the model; there are {', '.join(recorder.seen)}")
        if len(recorder.tensors) < 2:
            raise ValueError(f"no tapped tensor comes after '{self.start}'")
        return Points(recorder.names, recorder.stream, tensors[0].shape, tensors[0].dtype)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a path fits one of the patterns, part by part between slashes; ":in" must stand in both or in neither."""
    parts = name.split("/")
    return any(
        len(parts) == len(pattern.split("/"))
        and name.endswith(_ENTRY) == pattern.endswith(_ENTRY)
        and all(map(fnmatch.fnmatchcase, parts, pattern.split("/")))
        for pattern in patterns
    )


def tap(
    model: Any,
    stream: str | Sequence[str],
    branches: str | Sequence[str] = (),
    start: str = _INPUT,
    variables: Any = None,
    **options: Any,
) -> Taps:
    """Chooses tensors inside a model by the paths of its modules, for `jacobian_profile`.

    The name of a module means its output, and the name with ":in" its input. For example, the stream between attention
    and perceptron in a block of a transformer is the input of the second normalisation. Patterns are those of a shell;
    "*" matches nothing beyond a slash. When a module is called a second time, its name ends with "#2".

    Args:
      model: a flax linen module, a flax nnx module, a list of callables, or an object with a list named `layers`
        (equinox.nn.Sequential); wrap layers that take one sample, as those of equinox do, in jax.vmap.
      stream: patterns of the tensors on the stream, "block_*".
      branches: patterns of the ends of residual branches, "block_*/attention"; their chi is relative to the stream
        before them.
      start: pattern of the tensor that is varied, such as "embed" if the input is whole numbers; default: the input.
      variables: of a linen module, as `apply` takes them.
      **options: keywords of the model's call, such as deterministic=True.

    Raises:
      ValueError: a model of another kind, or a linen module without variables. Patterns are checked when the model
        runs.

    >>> layers = [lambda x: 2 * x, jnp.tanh, lambda x: x / 2]
    >>> from edgechaos.diagnosis.jacobians import jacobian_profile
    >>> print(jacobian_profile(tap(layers, "*tanh"), jnp.zeros((3, 4)), jax.random.key(0)).apjn)
    [1. 4.]
    """
    forward = _forward_of(model, variables, options)
    chosen, ends = ((one,) if isinstance(one, str) else tuple(one) for one in (stream, branches))
    return Taps(forward, chosen, ends, start)


def _forward_of(model: Any, variables: Any, options: dict[str, Any]) -> Forward:
    """How to run a model with a recorder."""
    linen, nnx = (sys.modules.get(f"flax.{name}") for name in ("linen", "nnx"))  # who has such a module imported it
    if linen is not None and isinstance(model, linen.Module):
        if variables is None:
            raise ValueError("variables = None: a linen module needs its variables, as `init` returns them")
        return lambda x, recorder: _run_linen(model, variables, options, x, recorder)
    if nnx is not None and isinstance(model, nnx.Module):
        return lambda x, recorder: _run_nnx(model, options, x, recorder)
    layers = getattr(model, "layers", model)
    if not isinstance(layers, Sequence) or not layers or not all(map(callable, layers)):
        raise ValueError(f"model = {type(model).__name__}: must be a module of flax, or a list of callables")
    return lambda x, recorder: _run_layers(layers, options, x, recorder)


def _enter(recorder: _Recorder, name: str, args: tuple) -> tuple:
    """Shows a module's first argument."""
    return (recorder.pass_on(name + _ENTRY, args[0]), *args[1:]) if args and _is_tensor(args[0]) else args


def _leave(recorder: _Recorder, name: str, result: Any) -> Any:
    """Shows what a module gives, if it is one array."""
    return recorder.pass_on(name, result) if _is_tensor(result) else result


def _is_tensor(value: Any) -> bool:
    """Whether something is an array of real numbers."""
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)


def _run_linen(model: Any, variables: Any, options: dict[str, Any], x: jax.Array, recorder: _Recorder) -> None:
    """Runs a linen module."""
    from flax import linen

    def interceptor(call: Callable, args: tuple, keywords: dict[str, Any], context: Any) -> Any:
        if context.method_name != "__call__":
            return call(*args, **keywords)
        name = "/".join(map(str, context.module.path)) or _WHOLE
        return _leave(recorder, name, call(*_enter(recorder, name, args), **keywords))

    with linen.intercept_methods(interceptor):
        model.apply(variables, x, **options)


def _run_nnx(model: Any, options: dict[str, Any], x: jax.Array, recorder: _Recorder) -> None:
    """Runs a copy of an nnx module, so that what a call changes in it does not reach the user's."""
    from flax import nnx

    copy = nnx.merge(*nnx.split(model), copy=True)
    names = {id(module): "/".join(map(str, path)) or _WHOLE for path, module in nnx.iter_modules(copy)}
    kinds = {type(module) for _, module in nnx.iter_modules(copy) if callable(module)}
    with _shown_calls(kinds, names, recorder):
        copy(x, **options)


@contextlib.contextmanager
def _shown_calls(kinds: set[type], names: dict[int, str], recorder: _Recorder) -> Iterator[None]:
    """Within the block the modules' calls are shown; as in flax's own nnx.capture, their classes are changed for it."""

    def shown(kind: Any, original: Callable) -> Callable:
        def call(self: Any, *args: Any, **keywords: Any) -> Any:
            name = names.get(id(self))
            if type(self) is not kind or name is None:  # a base class's call, or another model
                return original(self, *args, **keywords)
            return _leave(recorder, name, original(self, *_enter(recorder, name, args), **keywords))

        return call

    own = {kind: vars(kind).get("__call__") for kind in kinds}
    wrapped = {kind: shown(kind, kind.__call__) for kind in kinds}
    try:
        for kind in kinds:
            type.__setattr__(kind, "__call__", wrapped[kind])
        yield
    finally:
        for kind, original in own.items():
            if original is None:
                type.__delattr__(kind, "__call__")
            else:
                type.__setattr__(kind, "__call__", original)


def _run_layers(layers: Sequence[Callable], options: dict[str, Any], x: jax.Array, recorder: _Recorder) -> None:
    """Runs layer after layer."""
    for index, layer in enumerate(layers):
        name = f"{index}_{getattr(layer, '__name__', type(layer).__name__)}"
        x = _leave(recorder, name, layer(*_enter(recorder, name, (x,)), **options))
