"""phase_report: where each layer of any network stands in the order-chaos diagram, or why it was not judged."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from edgechaos import errors
from edgechaos.diagnosis.entries import caveats, examine, moments
from edgechaos.diagnosis.roles import NORMALISED, is_more_than_layers, unjudged
from edgechaos.diagnosis.rows import AS_AT_INITIALISATION, PhaseReport, Row
from edgechaos.diagnosis.weights import Unread, read_weights
from edgechaos.theory.activations import Activation, activation_function
from edgechaos.theory.finite_size import band
from edgechaos.theory.meanfield import LARGEST_J, chi, edge_of_chaos
from edgechaos.training.kernels import Axes, Kernel, NoKernel, path_name, read_kernel
from edgechaos.training.names import LAYOUTS, layouts
from edgechaos.training.order import order_parameter_errors

_STANDARD_ERRORS = 2  # half width of the edge's band
_SATURATED = 0.1  # share of the largest slope below which a unit is called saturated
_SLOPE_AT_0 = {"tanh": 1.0, "erf": 2 / np.pi**0.5}


class _Leaf(NamedTuple):
    """An array, and what it is taken for."""

    path: str
    array: np.ndarray | Unread
    found: Kernel | NoKernel


def phase_report(
    params: Any,
    activation: Activation = "tanh",
    inputs: Mapping[str, Any] | None = None,
    layout: str = "by_name",
    axes: Axes | None = None,
    normalised: str | Sequence[str] | None = None,
    learning_rate: float | None = None,
) -> PhaseReport:
    """Reports for every array of a network whether it is ordered, at the edge, or chaotic (Eq. 3).

    A square kernel maps a layer to one of the same size, so Eq. 3 applies to it directly. Any other kernel is judged as
    a layer of a deep network without biases: chi_1 with sigma_w^2 = n_in var(W) at the fixed point of that network.
    This is valid at initialisation. Weights alone do not show the effect of normalisation, residual streams and
    attention, so a verdict that depends on it says "as at initialisation"; `jacobian_profile` measures it. Not judged
    are queries and keys, the readout, embeddings, depthwise kernels, and kernels before a normalisation.

    Args:
      params: a pytree of arrays (flax linen, nested dicts, NumPy), a flax nnx module or state, or a file: .npz,
        .safetensors (one, or the index of several), flax's .msgpack, or a folder of Orbax.
      activation: the activation after the kernels: "tanh", "erf", "relu" or a function.
      inputs: path of a kernel -> [samples, n_in], for the share of saturated units.
      layout: "in_out" (flax, Keras, NumPy), "out_in" (PyTorch's nn.Linear and nn.Conv2d), or "by_name": dotted names
        that end in "weight", as in a state_dict, are out_in, except those of GPT-2's Conv1D.
      axes: path or glob pattern -> `KernelAxes` of kernels whose inputs and outputs do not follow from name and shape;
        None for an array that is not a kernel.
      normalised: glob pattern or patterns of kernels whose outputs are normalised next, () for none; default: by their
        names (conv1 and bn1, q_proj and q_norm).
      learning_rate: > 0, for eta / |W|^2 of kernels before a normalisation (van Laarhoven, arXiv 1706.05350).

    Raises:
      ValueError: no arrays at all, an unknown activation or layout, inputs for a path that does not exist or of
        another width, axes that an array does not have, a pattern that matches no kernel, a learning rate <= 0.

    >>> kernel = 1.5 * jax.random.normal(jax.random.key(0), (900, 900)) / 30
    >>> print(phase_report({"kernel": kernel, "bias": jnp.ones(900)}))
                       shape                J0                 J^2     edge      chi  state
    bias                 900                                                          not judged  (bias or scale)
    kernel         900 x 900     0.016 +- 0.050     2.2465 +- 0.0035   1.0000   1.1389  chaotic
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout = '{layout}': must be one of {', '.join(LAYOUTS)}")
    errors.require_positive("learning_rate", 1.0 if learning_rate is None else learning_rate)
    phi = activation_function(activation)
    leaves = _read(params, axes, layout)
    kernels = {leaf.path: leaf.found for leaf in leaves if isinstance(leaf.found, Kernel)}
    shapes = {leaf.path: leaf.array.shape for leaf in leaves}
    unfit = unjudged(kernels, shapes, (normalised,) if isinstance(normalised, str) else normalised)
    rows = [row for leaf in leaves for row in _describe(leaf, unfit.get(leaf.path, ""), learning_rate)]
    if not rows:
        raise ValueError("params: there is no array in it")
    rows = _judged(rows, activation, is_more_than_layers(shapes))
    rows = _with_inputs(rows, leaves, dict(inputs or {}), phi)
    if isinstance(activation, str):
        return PhaseReport(tuple(rows), activation)
    return PhaseReport(tuple(rows), getattr(activation, "__name__", "phi"), activation)


def _read(params: Any, axes: Axes | None, layout: str) -> list[_Leaf]:
    """The arrays with their paths, on the host, and what each is taken for."""
    if isinstance(params, str | Path):
        params = read_weights(Path(params))
    nnx = sys.modules.get("flax.nnx")  # who has such a module has imported it
    if nnx is not None and isinstance(params, nnx.Module | nnx.State):
        params = nnx.to_pure_dict(params if isinstance(params, nnx.State) else nnx.state(params, nnx.Param))
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    arrays = [(path_name(path), leaf if isinstance(leaf, Unread) else _on_host(leaf)) for path, leaf in flat]
    of = layouts({path: array.shape for path, array in arrays}, layout)
    return [_Leaf(path, array, read_kernel(path, array, axes, of[path])) for path, array in arrays]


def _on_host(leaf: Any) -> np.ndarray:
    """An array in NumPy; a random key as its integers."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _layers(array: np.ndarray, kernel: Kernel) -> Shaped[np.ndarray, "layers *axes"]:
    """The layers of a kernel, as a view where the stack comes first."""
    stack = [axis % array.ndim for axis in kernel.stack]
    others = [axis for axis in range(array.ndim) if axis not in stack]
    shape = [array.shape[axis] for axis in others]
    return array.transpose(*stack, *others).reshape(-1, *shape)


def _matrix(layer: Shaped[np.ndarray, "*axes"], kernel: Kernel) -> Shaped[np.ndarray, "n_in n_out"]:
    """One layer as fan-in x outputs, as a view where its axes allow it."""
    order = [axis for axis in range(-len(kernel.shape), 0) if axis not in kernel.stack]
    places = [order.index(axis) for axis in (*kernel.reduction, *kernel.output)]
    return layer.transpose(places).reshape(kernel.num_inputs, kernel.num_outputs)


def _describe(leaf: _Leaf, unfit: str, learning_rate: float | None) -> list[Row]:
    """Rows without judgement, one for each layer; `reason` says why there will be none."""
    array, found = leaf.array, leaf.found
    row = Row(leaf.path, array.shape, "other")
    if isinstance(array, Unread):
        return [dataclasses.replace(row, reason=array.reason)]
    if not (np.issubdtype(array.dtype, np.floating) or array.dtype == jnp.bfloat16):
        return [dataclasses.replace(row, reason=f"{array.dtype}, not real numbers")]
    if array.size == 0:
        return [dataclasses.replace(row, reason="empty")]
    if isinstance(found, NoKernel):
        is_finite = np.isfinite(moments(array).variance)
        return [dataclasses.replace(row, reason=found.reason if is_finite else "NaN or infinite entries")]
    shape = tuple(size for axis, size in enumerate(array.shape) if axis - array.ndim not in found.stack)
    kind = "convolution" if found.is_convolution else "square" if found.is_square else "rectangular"
    return [
        _measure(Row(name, shape, kind), layer, found, unfit, learning_rate)
        for name, layer in zip(found.names, _layers(array, found), strict=True)
    ]


def _measure(
    row: Row, layer: Shaped[np.ndarray, "*axes"], kernel: Kernel, unfit: str, learning_rate: float | None
) -> Row:
    """The row with its order parameters, or with the reason why they do not say where it stands."""
    n_in, n_out = kernel.num_inputs, kernel.num_outputs
    found = moments(layer)
    j0, j_squared = n_in * found.mean, n_in * found.variance
    if not np.isfinite(j_squared):
        return dataclasses.replace(row, reason="NaN or infinite entries")
    error = order_parameter_errors(j_squared, n_in, n_out)
    row = dataclasses.replace(
        row, j0=j0, j_squared=j_squared, j0_error=float(error.j0), j_squared_error=float(error.j_squared)
    )
    if n_in < 2 or n_out < 2 or not 0 < j_squared <= LARGEST_J**2:
        return dataclasses.replace(
            row, reason="no variance to judge by" if j_squared == 0 else "outside the theory's range"
        )
    entries = examine(_matrix(layer, kernel), found, row.kind == "square")
    row = dataclasses.replace(row, **entries._asdict())
    if not unfit:
        return dataclasses.replace(row, caveats=caveats(entries, n_in, n_out))
    if unfit != NORMALISED or learning_rate is None:
        return dataclasses.replace(row, reason=unfit)
    rate = learning_rate / (layer.size * (found.variance + found.mean**2))
    return dataclasses.replace(row, reason=unfit, effective_learning_rate=rate)


def _judged(rows: list[Row], activation: Activation, is_more_than_layers: bool) -> list[Row]:
    """The rows with a verdict, where there is no reason against one."""
    judged = [row for row in rows if not row.reason]
    if not judged:
        return rows
    theory = _theory([row.j0 for row in judged], [row.j_squared for row in judged], activation)
    of = dict(zip([row.path for row in judged], theory.tolist(), strict=True))
    knows_sizes = activation in _SLOPE_AT_0
    return [_judge(row, of[row.path], is_more_than_layers, knows_sizes) if row.path in of else row for row in rows]


def _judge(row: Row, theory: list[float], is_more_than_layers: bool, knows_sizes: bool) -> Row:
    """The state that J^2 tells, or chi where the edge is not known, as sharply as size and entries allow."""
    chi_value, edge_j = theory
    if not np.isfinite(chi_value):
        return dataclasses.replace(row, reason="the state of Eqs. 1 and 2 is not known for this J0 and J", caveats=())
    error = _STANDARD_ERRORS * row.j_squared_error
    gap, error = (chi_value - 1, error / row.j_squared) if np.isnan(edge_j) else (row.j_squared - edge_j**2, error)
    below, beyond, critical = error, error, np.nan
    if knows_sizes and np.isfinite(row.effective_size) and abs(row.j0) <= row.j_squared**0.5:
        low, high = (edge_j**2 * bound**2 / row.gain for bound in band(row.effective_size))
        below, beyond, critical = max(error, edge_j**2 - low), max(error, high - edge_j**2), high
    state = "edge" if -below <= gap <= beyond else "chaotic" if gap > 0 else "ordered"
    is_layer = row.kind != "square"
    notes = ["as a layer of a deep network"] * is_layer + [AS_AT_INITIALISATION] * (is_layer or is_more_than_layers)
    return dataclasses.replace(
        row, chi=chi_value, edge_j_squared=edge_j**2, state=state, reason=", ".join(notes), critical_j_squared=critical
    )


def _theory(j0: list[float], j_squared: list[float], activation: Activation) -> Float[np.ndarray, "rows 2"]:
    """Eq. 3's left-hand side, and J at the edge, by one program for any number of rows up to a power of two."""
    size = 1 << (len(j0) - 1).bit_length()
    padded = np.full((2, size), 0.5, np.float32)
    padded[:, : len(j0)] = j0, np.sqrt(j_squared)
    columns = chi(padded[0], padded[1], activation), _edge(padded[0] / padded[1], activation)
    return np.stack([np.asarray(column) for column in columns], axis=1)[: len(j0)]


def _edge(j0_over_j: Float[np.ndarray, "rows"], activation: Activation) -> Float[np.ndarray, "rows"]:
    """J at the edge; where the state there is mu = q0 = 0, that is J0 <= J for an odd phi, J = 1 / phi'(0)."""
    if activation in _SLOPE_AT_0 and (np.abs(j0_over_j) <= 1).all():
        return np.full_like(j0_over_j, 1 / _SLOPE_AT_0[activation])
    return np.asarray(edge_of_chaos(j0_over_j, activation))


def _with_inputs(rows: list[Row], leaves: list[_Leaf], given: Mapping[str, Any], phi: Any) -> list[Row]:
    """The rows with the share of saturated units, where there are inputs."""
    matrices = {
        name: _matrix(layer, leaf.found).astype(np.float32)
        for leaf in leaves
        if isinstance(leaf.found, Kernel) and not isinstance(leaf.array, Unread) and given.keys() & {*leaf.found.names}
        for name, layer in zip(leaf.found.names, _layers(leaf.array, leaf.found), strict=True)
    }
    _check_inputs(given, matrices, [row.path for row in rows])
    return [
        dataclasses.replace(row, saturated=_saturated(phi, np.asarray(given[row.path]), matrices[row.path]))
        if row.path in given
        else row
        for row in rows
    ]


def _check_inputs(given: Mapping[str, Any], matrices: Mapping[str, np.ndarray], paths: list[str]) -> None:
    """Raises a ValueError for inputs of a path that does not exist, or of another width."""
    for path, values in given.items():
        if path not in matrices:
            wrong = f"'{path}' is no kernel" if path in paths else f"there is no '{path}'; there are {', '.join(paths)}"
            raise ValueError(f"inputs: {wrong}")
        expected = matrices[path].shape[0]
        if np.ndim(values) != 2 or np.shape(values)[1] != expected:
            raise ValueError(f"inputs['{path}']: must be [samples, {expected}], not {np.shape(values)}")
        errors.require_finite(f"inputs['{path}']", values)


def _saturated(phi: Any, inputs: Float[np.ndarray, "samples n_in"], kernel: Float[np.ndarray, "n_in n_out"]) -> float:
    """Share of (sample, unit) pairs whose slope is below a tenth of the largest at any field."""
    slope = jnp.vectorize(jax.grad(lambda h: phi(h)))
    largest = jnp.abs(slope(jnp.linspace(-5, 5, 101))).max()
    return float((jnp.abs(slope(jnp.asarray(inputs) @ kernel)) < _SATURATED * largest).mean())
