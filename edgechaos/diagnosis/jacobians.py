"""jacobian_profile: how a small change of the input grows from block to block of any network, without a matrix."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from edgechaos import errors
from edgechaos.diagnosis.depth import DepthLaw, depth_law
from edgechaos.diagnosis.probes import Block, Rows, name_of, through_blocks, through_model
from edgechaos.diagnosis.taps import Taps


@struct.dataclass
class JacobianProfile:
    """Jacobian norms through a network: one row for the input and one after each block. It prints as a table.

    Attributes:
      apjn: E |dh_l/dh_0|_F^2 / N_l, the averaged partial Jacobian norm, 1 in row 0; infinite beyond the largest number.
      apjn_error: its standard error over samples (over probes, if there is one sample).
      chi: apjn of a row over that of the row before; for the end of a residual branch, and for what follows it, the row
        before on the stream. NaN after a row that does not depend on the input.
      standard_error: of chi; numerator and denominator are of the same draws.
      log_apjn: natural logarithm of apjn, which neither overflows nor underflows.
      deviation: relative deviation of each draw (sample or probe) from apjn.
      cosine: mean cosine of the angle between neighbouring samples; NaN for one sample.
      angles: these angles in radians, with full precision also where they are small.
      names: of the rows.
      stream: which rows are on the stream of the network; the others are ends of residual branches.
    """

    apjn: Float[Array, "*batch rows"]
    apjn_error: Float[Array, "*batch rows"]
    chi: Float[Array, "*batch blocks"]
    standard_error: Float[Array, "*batch blocks"]
    log_apjn: Float[Array, "*batch rows"]
    deviation: Float[Array, "*batch rows draws"]
    cosine: Float[Array, "*batch rows"]
    angles: Float[Array, "*batch rows pairs"]
    names: tuple[str, ...] = struct.field(pytree_node=False)
    stream: tuple[bool, ...] = struct.field(pytree_node=False)

    def depth_law(self, first: int = 0, last: int | None = None) -> DepthLaw:
        """How apjn grows along the stream: see `edgechaos.depth.depth_law`.

        Args:
          first: row of the stream at which the fit starts, for instance after a transient.
          last: row of the stream before which the fit ends.
        """
        rows = np.flatnonzero(self.stream)[first:last]
        return depth_law(np.asarray(self.log_apjn, np.float64)[rows], np.asarray(self.deviation)[rows])

    def angle_law(self, first: int = 0, last: int | None = None) -> DepthLaw:
        """How the mean angle between two inputs changes along the stream; arguments as in `depth_law`."""
        rows = np.flatnonzero(self.stream)[first:last]
        angles = np.asarray(self.angles, np.float64)[rows]
        if angles.shape[1] == 0 or not (angles.mean(1) > 0).all():
            return DepthLaw("undecided")
        mean = angles.mean(1)
        return depth_law(np.log(mean), angles / mean[:, None] - 1)

    def __str__(self) -> str:
        """The table, and the two laws; the fields, if this is a batch of profiles or traced."""
        if isinstance(self.apjn, jax.core.Tracer) or self.apjn.ndim != 1:
            return repr(self)
        width = max(map(len, self.names))
        heading = f"{'':{width}}  {'apjn':>24}  {'chi':>19}  {'cosine':>8}"
        lines = [heading, *(self._line(row, width) for row in range(len(self.names)))]
        return "\n".join([*lines, f"apjn: {self.depth_law()}", f"angle: {self.angle_law()}"])

    def _line(self, row: int, width: int) -> str:
        """One row of the table."""
        text = f"{self.names[row]:{width}}  {self.apjn[row]:11.5g} +- {self.apjn_error[row]:9.2g}"
        chi = f"{self.chi[row - 1]:8.4f} +- {self.standard_error[row - 1]:7.4f}" if row else ""
        return f"{text}  {chi:19}  {self.cosine[row]:8.4f}{'' if self.stream[row] else '  (branch)'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, as JSON takes them; unknown values are None."""

        def known(value: Any) -> float | None:
            return float(value) if np.isfinite(value) else None

        rows = [
            {
                "name": name,
                "stream": self.stream[row],
                **{field: known(getattr(self, field)[row]) for field in ("apjn", "apjn_error", "log_apjn", "cosine")},
                "chi": known(self.chi[row - 1]) if row else None,
                "standard_error": known(self.standard_error[row - 1]) if row else None,
            }
            for row, name in enumerate(self.names)
        ]
        return {"rows": rows, "depth_law": self.depth_law().to_dict(), "angle_law": self.angle_law().to_dict()}

    def plot(self, axes: Any) -> None:
        """Draws apjn against depth with its standard error; ends of branches are separate points.

        Args:
          axes: matplotlib axes.
        """
        from edgechaos import plotting  # matplotlib takes a second to import

        rows, branches = np.flatnonzero(self.stream), np.flatnonzero(~np.array(self.stream))
        depth = np.cumsum(self.stream) - 1.0
        plotting.profile(
            axes, depth[rows], np.asarray(self.log_apjn)[rows], np.asarray(self.apjn_error / self.apjn)[rows]
        )
        plotting.branches(axes, depth[branches] + 0.5, np.asarray(self.log_apjn)[branches])


def jacobian_profile(
    blocks: Sequence[Block] | Taps,
    x: Shaped[Array | np.ndarray, "..."],
    key: PRNGKeyArray,
    num_probes: int = 8,
    names: Sequence[str] | None = None,
) -> JacobianProfile:
    """apjn_l = E |dh_l/dh_0|_F^2 / N_l and chi_l = apjn_(l+1) / apjn_l through the blocks h_(l+1) = block_l(h_l).

    Vectors of random signs v, for which E |J v|^2 = |J|_F^2, are pushed once through all blocks and rescaled after
    each, so that no depth overflows or underflows. At initialisation chi is the theory's chi_1 (`chi`), up to the
    network's width: a layer of N neurons scatters by about sqrt(2 / N) around it, which is not in the errors.

    Args:
      blocks: functions of a batch [samples, ...] that treat each sample separately and may change its shape; or the
        `tap` of a model.
      x: [samples, ...], real numbers (whole numbers too for a tap that starts behind an embedding).
      key: PRNG key of the probes.
      num_probes: number of probes per sample, >= 1.
      names: names of the blocks; default: their own names. Those of a tap are the paths of the modules.

    Raises:
      ValueError: no blocks, a block that mixes samples or changes their number, numbers that are not real or not
        finite, num_probes < 1. Traced values (under jit) are not checked.

    Source: Doshi, He & Gromov, arXiv 2111.12143.

    >>> layers = [lambda h: 3 * h, jnp.tanh]
    >>> profile = jacobian_profile(layers, jnp.zeros((2, 5)), jax.random.key(0))
    >>> print(profile.apjn, profile.chi)
    [1. 9. 9.] [9. 1.]
    """
    errors.require_at_least("num_probes", num_probes, 1)
    x = jnp.asarray(x)
    if isinstance(blocks, Taps):
        if names is not None:
            raise ValueError("names: a tap has names of its own, the paths of the modules")
        _check_samples(x)
        try:
            labels, rows, stream = through_model(blocks, x, key, num_probes)
        except jax.errors.UnexpectedTracerError as error:
            raise ValueError("a tapped tensor is inside a scan, or another transformation of jax") from error
    else:
        _check_blocks(blocks, x, names)
        labels = ["input", *(names or [name_of(index, block) for index, block in enumerate(blocks)])]
        rows, stream = through_blocks(blocks, x, key, num_probes), [True] * len(labels)
    _check_rows(rows, labels)
    return _assemble(rows, tuple(labels), tuple(stream))


def _check_samples(x: jax.Array) -> None:
    """Refuses what has no samples or numbers that are not finite."""
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"x = array of {x.dtype}{list(x.shape)}: must be [samples, ...] with at least one sample")
    errors.require_finite("x", x)


def _check_blocks(blocks: Sequence[Block], x: jax.Array, names: Sequence[str] | None) -> None:
    """Refuses what no tangent can be pushed through."""
    if not blocks:
        raise ValueError("blocks: the list is empty; give at least one function h -> h")
    if names is not None and len(names) != len(blocks):
        raise ValueError(f"names: there are {len(names)} for {len(blocks)} blocks")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x = array of {x.dtype}{list(x.shape)}: must be real numbers, because it has to be varied")
    _check_samples(x)


def _check_rows(rows: Rows, labels: Sequence[str]) -> None:
    """Refuses numbers that are not finite, and blocks that mix samples, where they are known."""
    if isinstance(rows.finite, jax.core.Tracer):
        return
    for index, (finite, mixes) in enumerate(zip(np.asarray(rows.finite), np.asarray(rows.mixes), strict=True)):
        if not finite:
            raise ValueError(f"blocks: '{labels[index]}' gives numbers or derivatives that are not finite")
        if mixes:
            raise ValueError(f"blocks: '{labels[index]}' mixes samples; it must treat each sample separately")


@functools.partial(jax.jit, static_argnames=("names", "stream"))
def _assemble(rows: Rows, names: tuple[str, ...], stream: tuple[bool, ...]) -> JacobianProfile:
    """Means over samples and probes, with errors by the draws that are independent."""
    _, num_probes, num_samples = rows.log_squares.shape
    log_apjn = jax.nn.logsumexp(rows.log_squares, axis=(1, 2)) - math.log(num_probes * num_samples)
    shift = jnp.where(jnp.isfinite(log_apjn), log_apjn, 0)[:, None]
    # samples share the network but no probe: their means are independent, and so are the probes of one sample
    logarithm = jax.nn.logsumexp(rows.log_squares, axis=1 if num_samples > 1 else 2)
    count = num_probes if num_samples > 1 else num_samples
    deviation = jnp.where(jnp.isfinite(log_apjn)[:, None], jnp.exp(logarithm - shift) / count - 1, 0)
    before = np.maximum.accumulate(np.where(stream, np.arange(len(stream)), 0))[:-1]
    chi, apjn = jnp.exp(log_apjn[1:] - log_apjn[before]), jnp.exp(log_apjn)
    return JacobianProfile(
        apjn=apjn,
        apjn_error=apjn * _standard_error(deviation),
        chi=chi,
        standard_error=chi * _standard_error(deviation[1:] - deviation[before]),
        log_apjn=log_apjn,
        deviation=deviation,
        cosine=jnp.cos(rows.angles).mean(1),
        angles=rows.angles,
        names=names,
        stream=stream,
    )


def _standard_error(deviation: Float[Array, "rows draws"]) -> Float[Array, "rows"]:
    """Of the mean over the draws; NaN for one draw."""
    count = deviation.shape[1]
    return jnp.std(deviation, axis=1, ddof=1) / math.sqrt(count) if count > 1 else jnp.full(len(deviation), jnp.nan)
