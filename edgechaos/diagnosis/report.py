"""phase_report: where each layer of any network stands in the order-chaos diagram, or why it was not judged."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from edgechaos import errors
from edgechaos.diagnosis.weights import Unread, read_weights
from edgechaos.theory.activations import Activation, activation_function
from edgechaos.theory.meanfield import LARGEST_J, chi, edge_of_chaos
from edgechaos.training.kernels import Axes, Kernel, NoKernel, path_name, read_kernel
from edgechaos.training.order import order_parameter_errors

_STANDARD_ERRORS = 2  # half width of the edge's band
_PIECE = 2**20  # entries of an array in float64 at once
_SATURATED = 0.1  # share of the largest slope below which a unit is called saturated
_SLOPE_AT_0 = {"tanh": 1.0, "erf": 2 / np.pi**0.5}
LAYOUTS = ("in_out", "out_in")


@dataclasses.dataclass(frozen=True)
class Row:
    """One array of the parameters, or one layer of a stack of them.

    Attributes:
      path: where it is; "[3]" after it is the layer of a stack.
      shape: of the array, or of the layer.
      kind: "square", "rectangular", "convolution" or "other".
      j0: n_in mean(W), with its standard error.
      j0_error: J / sqrt(n_out).
      j_squared: n_in var(W).
      j_squared_error: J^2 sqrt(2 / (n_in n_out)).
      chi: left-hand side of Eq. 3; for a layer that is not square chi_1 of a deep network with sigma_w^2 = J^2.
      edge_j_squared: J^2 at which chi = 1 for the same J0 / J.
      state: "ordered", "edge" (J^2 is there within two standard errors) or "chaotic"; "" if not judged.
      saturated: share of units with less than a tenth of the largest slope, where inputs were given, else NaN.
      reason: why it was not judged, or what the judgement leaves out.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    j0: float = np.nan
    j0_error: float = np.nan
    j_squared: float = np.nan
    j_squared_error: float = np.nan
    chi: float = np.nan
    edge_j_squared: float = np.nan
    state: str = ""
    saturated: float = np.nan
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class PhaseReport:
    """A row for every array and every layer of a stack; prints as a table.

    Attributes:
      rows: in the order of the parameters.
      activation: that Eq. 3 was taken for.
      phi: the same, where it is a function and not a name.
    """

    rows: tuple[Row, ...]
    activation: str
    phi: Callable[[jax.Array], jax.Array] | None = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """The table."""
        width = max([len(row.path) for row in self.rows], default=0)
        heading = f"{'':{width}}  {'shape':>16}  {'J0':>16}  {'J^2':>18}  {'edge':>7}  {'chi':>7}  state"
        return "\n".join([heading, *(_line(row, width) for row in self.rows)])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, fit for JSON; what is not known is None."""

        def known(value: Any) -> Any:
            if isinstance(value, tuple):
                return list(value)
            return None if isinstance(value, float) and not np.isfinite(value) else value

        rows = [{name: known(value) for name, value in dataclasses.asdict(row).items()} for row in self.rows]
        return {"activation": self.activation, "rows": rows}

    def plot(self, axes: Any) -> None:
        """Puts the judged layers on the (J0/J, 1/J) diagram with the edge of Eq. 3.

        Args:
          axes: of matplotlib.
        """
        from edgechaos import plotting  # matplotlib takes a second to import

        judged = [row for row in self.rows if row.state]
        j0 = np.array([row.j0 for row in judged])
        j_squared = np.array([row.j_squared for row in judged])
        ratio = np.linspace(-1, max(2.0, float((j0 / np.sqrt(j_squared)).max(initial=0)) + 0.2), 61, dtype=np.float32)
        plotting.edge(axes, ratio, np.asarray(edge_of_chaos(ratio, self.phi or self.activation)))
        plotting.layers(axes, j0, j_squared, [row.path for row in judged])


def _line(row: Row, width: int) -> str:
    """One row of the table."""
    shape = " x ".join(map(str, row.shape))
    text = f"{row.path:{width}}  {shape:>16}"
    if np.isfinite(row.j_squared):
        text += f"  {row.j0:8.3f} +-{row.j0_error:6.3f}  {row.j_squared:9.4f} +-{row.j_squared_error:7.4f}"
    else:
        text += f"  {'':16}  {'':18}"
    judged = f"  {row.edge_j_squared:7.4f}  {row.chi:7.4f}  {row.state}"
    text += judged if row.state else f"  {'':7}  {'':7}  not judged"
    saturated = f"{row.saturated:.1%} saturated" if np.isfinite(row.saturated) else ""
    notes = "; ".join(filter(None, (saturated, row.reason)))
    return f"{text}  ({notes})" if notes else text


def phase_report(
    params: Any,
    activation: Activation = "tanh",
    inputs: Mapping[str, Any] | None = None,
    layout: str = "in_out",
    axes: Axes | None = None,
) -> PhaseReport:
    """Says for every array of a network where it stands: ordered, at the edge, or chaotic (Eq. 3).

    A square kernel is a map of a layer onto one like it, so that Eq. 3 applies as it is. Another kernel is judged as a
    layer of a deep network without biases: chi_1 with sigma_w^2 = n_in var(W) at that network's own fixed point.

    Args:
      params: a pytree of arrays (flax linen, nested dicts, NumPy), a flax nnx module or state, or a file: .npz,
        .safetensors (one, or the index of several), flax's .msgpack, or a folder of Orbax.
      activation: that follows the kernels: "tanh", "erf", "relu" or a function.
      inputs: path of a kernel -> [samples, n_in], for the share of saturated units.
      layout: "in_out" (flax, Keras, NumPy) or "out_in" (PyTorch's nn.Linear and nn.Conv2d).
      axes: path or glob pattern -> `KernelAxes` of kernels whose inputs and outputs cannot be told from name and shape,
        or None for what is no kernel.

    Raises:
      ValueError: no arrays at all, an unknown activation or layout, inputs for a path that does not exist or of
        another width, or axes that an array does not have.

    >>> kernel = 1.5 * jax.random.normal(jax.random.key(0), (900, 900)) / 30
    >>> print(phase_report({"kernel": kernel, "bias": jnp.ones(900)}))
                       shape                J0                 J^2     edge      chi  state
    bias                 900                                                          not judged  (bias or scale)
    kernel         900 x 900     0.016 +- 0.050     2.2465 +- 0.0035   1.0000   1.1389  chaotic
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout = '{layout}': must be one of {', '.join(LAYOUTS)}")
    phi, given = activation_function(activation), dict(inputs or {})
    arrays = _arrays(params)
    read = [(leaf, read_kernel(path, leaf, axes, layout)) for path, leaf in arrays]
    rows = [row for (path, leaf), (_, found) in zip(arrays, read, strict=True) for row in _describe(path, leaf, found)]
    if not rows:
        raise ValueError("params: there is no array in it")
    kernels = [
        (leaf, kernel)
        for leaf, kernel in read
        if isinstance(kernel, Kernel) and not isinstance(leaf, Unread) and leaf.size
    ]
    matrices = {
        name: matrix
        for leaf, kernel in kernels
        for name, matrix in zip(kernel.names, _matrices(leaf, kernel), strict=True)
        if name in given
    }
    _check_inputs(given, matrices, [row.path for row in rows])
    judged = [row for row in rows if not row.reason]
    if judged:
        theory = _theory([row.j0 for row in judged], [row.j_squared for row in judged], activation)
        of = dict(zip([row.path for row in judged], theory.tolist(), strict=True))
        rows = [_judge(row, *of[row.path]) if row.path in of else row for row in rows]
    rows = [
        dataclasses.replace(row, saturated=_saturated(phi, np.asarray(given[row.path]), matrices[row.path]))
        if row.path in given
        else row
        for row in rows
    ]
    if isinstance(activation, str):
        return PhaseReport(tuple(rows), activation)
    return PhaseReport(tuple(rows), getattr(activation, "__name__", "phi"), activation)


def _arrays(params: Any) -> list[tuple[str, np.ndarray | Unread]]:
    """The arrays with their paths, on the host."""
    if isinstance(params, str | Path):
        params = read_weights(Path(params))
    nnx = sys.modules.get("flax.nnx")  # who has such a module has imported it
    if nnx is not None and isinstance(params, nnx.Module | nnx.State):
        params = nnx.to_pure_dict(params if isinstance(params, nnx.State) else nnx.state(params, nnx.Param))
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [(path_name(path), leaf if isinstance(leaf, Unread) else _on_host(leaf)) for path, leaf in leaves]


def _on_host(leaf: Any) -> np.ndarray:
    """An array in NumPy; a random key as its integers."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _moments(leaf: np.ndarray) -> tuple[float, float]:
    """Mean and variance over all entries, piece by piece, so that a mapped array is never in memory as a whole."""
    flat = leaf.reshape(-1)
    pieces = [flat[first : first + _PIECE] for first in range(0, flat.size, _PIECE)]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum(float(piece.astype(np.float64).sum()) for piece in pieces) / flat.size
        variance = sum(float(((piece.astype(np.float64) - mean) ** 2).sum()) for piece in pieces) / flat.size
    return mean, variance


def _layers(leaf: np.ndarray, kernel: Kernel) -> Shaped[np.ndarray, "layers *axes"]:
    """The layers of a kernel, as a view where the stack comes first."""
    stack = [axis % leaf.ndim for axis in kernel.stack]
    others = [axis for axis in range(leaf.ndim) if axis not in stack]
    shape = [leaf.shape[axis] for axis in others]
    return leaf.transpose(*stack, *others).reshape(-1, *shape)


def _matrices(leaf: np.ndarray, kernel: Kernel) -> Float[np.ndarray, "layers n_in n_out"]:
    """The layers of a kernel as fan-in x outputs in float32."""
    sorted_axes = leaf.transpose(*(axis % leaf.ndim for axis in (*kernel.stack, *kernel.reduction, *kernel.output)))
    return sorted_axes.reshape(-1, kernel.num_inputs, kernel.num_outputs).astype(np.float32)


def _describe(path: str, leaf: np.ndarray | Unread, found: Kernel | NoKernel) -> list[Row]:
    """Rows without judgement, one for each layer; `reason` says why there will be none."""
    row = Row(path, leaf.shape, "other")
    if isinstance(leaf, Unread):
        return [dataclasses.replace(row, reason=leaf.reason)]
    if not (np.issubdtype(leaf.dtype, np.floating) or leaf.dtype == jnp.bfloat16):
        return [dataclasses.replace(row, reason=f"{leaf.dtype}, not real numbers")]
    if leaf.size == 0:
        return [dataclasses.replace(row, reason="empty")]
    if isinstance(found, NoKernel):
        is_finite = np.isfinite(_moments(leaf)).all()
        return [dataclasses.replace(row, reason=found.reason if is_finite else "NaN or infinite entries")]
    shape = tuple(size for axis, size in enumerate(leaf.shape) if axis - leaf.ndim not in found.stack)
    kind = "convolution" if found.is_convolution else "square" if found.is_square else "rectangular"
    return [
        _measure(Row(name, shape, kind), one, found)
        for name, one in zip(found.names, _layers(leaf, found), strict=True)
    ]


def _measure(row: Row, layer: Shaped[np.ndarray, "*axes"], kernel: Kernel) -> Row:
    """The row with its order parameters, or with the reason why they do not say where it stands."""
    n_in, n_out = kernel.num_inputs, kernel.num_outputs
    j0, j_squared = (n_in * moment for moment in _moments(layer))
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
    return row


def _judge(row: Row, chi_value: float, edge_j: float) -> Row:
    """The state that J^2 tells, with the resolution that the entries allow; an edge beyond all J is infinite."""
    if not np.isfinite(chi_value) or np.isnan(edge_j):
        return dataclasses.replace(row, reason="Eq. 3 has no solution for this J0 / J")
    gap = row.j_squared - edge_j**2
    state = "edge" if abs(gap) <= _STANDARD_ERRORS * row.j_squared_error else "chaotic" if gap > 0 else "ordered"
    note = "" if row.kind == "square" else "as a layer of a deep network"
    return dataclasses.replace(row, chi=chi_value, edge_j_squared=edge_j**2, state=state, reason=note)


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
