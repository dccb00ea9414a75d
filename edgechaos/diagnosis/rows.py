"""A row for every array of a network, and the table of all of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from edgechaos.theory.meanfield import edge_of_chaos

AS_AT_INITIALISATION = "as at initialisation"
_FOOTNOTE = (
    f"{AS_AT_INITIALISATION}: weights do not show normalisation, residual streams, or what training made of the fields;"
    "\nec.jacobian_profile measures them"
)


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
      edge_j_squared: J^2 at which chi = 1 for the same J0 / J; infinite where the edge lies beyond J = 1000, NaN where
        it is not known.
      state: "ordered", "edge" or "chaotic", by chi where the edge is not known; "" if not judged. "edge" of a square
        kernel: neither the state 0 is stable in a network of this effective size nor chaos has begun; of others, and
        where J0 > J: J^2 is there within two standard errors.
      saturated: share of units with less than a tenth of the largest slope, where inputs were given, else NaN.
      reason: why it was not judged, or what the judgement leaves out.
      kurtosis: excess kurtosis of the entries, 0 if they are normal.
      norm_shares: share of |W - mean|_F^2 in each of the four largest singular values.
      symmetry: correlation of W_ij with W_ji of a square kernel, 0 if they are independent.
      effective_size: N of independent entries with as many directions as a square kernel, else NaN.
      gain: J^2 of a small state over J^2 of a square kernel; 1 if norms of inputs and outputs do not correlate.
      critical_j_squared: J^2 beyond which a network of this effective size is chaotic, where that is known, else NaN.
      effective_learning_rate: eta / |W|_F^2 of a kernel before a normalisation, where eta was given, else NaN.
      caveats: which assumptions of the theory clearly fail; see `entries.caveats`.
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
    kurtosis: float = np.nan
    norm_shares: tuple[float, ...] = ()
    symmetry: float = np.nan
    effective_size: float = np.nan
    gain: float = np.nan
    critical_j_squared: float = np.nan
    effective_learning_rate: float = np.nan
    caveats: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PhaseReport:
    """One row for every array and every layer of a stack. It prints as a table.

    Attributes:
      rows: the rows, in the order of the parameters.
      activation: the activation for which Eq. 3 was computed.
      phi: the same if it is a function and not a name.
    """

    rows: tuple[Row, ...]
    activation: str
    phi: Callable[[jax.Array], jax.Array] | None = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """The table."""
        width = max([len(row.path) for row in self.rows], default=0)
        heading = f"{'':{width}}  {'shape':>16}  {'J0':>16}  {'J^2':>18}  {'edge':>7}  {'chi':>7}  state"
        footnotes = [_FOOTNOTE] if any(AS_AT_INITIALISATION in row.reason for row in self.rows) else []
        return "\n".join([heading, *(_line(row, width) for row in self.rows), *footnotes])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, as JSON takes them; unknown values are None."""

        def known(value: Any) -> Any:
            if isinstance(value, tuple):
                return list(value)
            return None if isinstance(value, float) and not np.isfinite(value) else value

        rows = [{name: known(value) for name, value in dataclasses.asdict(row).items()} for row in self.rows]
        return {"activation": self.activation, "rows": rows}

    def plot(self, axes: Any) -> None:
        """Puts the judged layers on the (J0/J, 1/J) diagram with the edge of Eq. 3.

        Args:
          axes: matplotlib axes.
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
    rate = f"eta / |W|^2 = {row.effective_learning_rate:.3g}" if np.isfinite(row.effective_learning_rate) else ""
    size = f"chaos from J^2 = {row.critical_j_squared:.2f} on, as for {row.effective_size:.0f} independent units"
    known = size if row.state == "edge" and np.isfinite(row.critical_j_squared) else ""
    notes = "; ".join(filter(None, (saturated, row.reason, rate, known, *row.caveats)))
    return f"{text}  ({notes})" if notes else text
