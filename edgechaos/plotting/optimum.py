"""Panels of a quantity against J^2: what runs end with, and the way of a run whose J^2 grows."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from edgechaos.plotting.style import COLORS, EDGE, MARK, PREDICTION, TEST, TRAIN, deviation

_TICKS = (0.25, 0.5, 1, 2, 4)
_LOOKS = ((TEST, "o-"), (TRAIN, "s--"), (MARK, "*"), (COLORS[2], "^:"), (COLORS[5], "D:"))


class Ends(NamedTuple):
    """J^2 and a quantity at the end of runs of one kind."""

    j_squared: Float[np.ndarray, "runs seeds"]
    values: Float[np.ndarray, "runs seeds"]


def against_j_squared(
    axes: Axes,
    ends: Mapping[str, Ends],
    way: tuple[Float[np.ndarray, "entries"], Float[np.ndarray, "entries"]],
    label: str,
) -> None:
    """Means over the seeds with standard deviations, joined in the order of J^2, and a thin line for the way of a run.

    Args:
      axes: to draw in, with a logarithmic J^2.
      ends: for each kind of runs, in the order of five looks.
      way: J^2 and the quantity along a run; empty for none.
      label: of the way.
    """
    axes.set_xscale("log")
    axes.axvline(1, color=EDGE, linestyle="--", linewidth=1, label="edge of chaos", zorder=1)
    axes.plot(*way, color=PREDICTION, linewidth=0.8, label=label, zorder=2)
    for (name, (j_squared, values)), (color, style) in zip(ends.items(), _LOOKS, strict=False):
        known = np.isfinite(values).all(1) & np.isfinite(j_squared).all(1)
        order = np.flatnonzero(known)[np.argsort(j_squared[known].mean(1))]
        axes.errorbar(
            j_squared[order].mean(1),
            values[order].mean(1),
            xerr=deviation(j_squared[order]),
            yerr=deviation(values[order]),
            fmt=style,
            color=color,
            linewidth=0.8,
            markersize=10 if "*" in style else 4,
            label=name,
            zorder=4 if "*" in style else 3,
        )
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    _leave_out_the_start(axes, way[1], [values for _, values in ends.values()])


def ranges(
    axes: Axes,
    scale_factor: Float[np.ndarray, "runs"],
    j_squared: Float[np.ndarray, "runs"],
    least: Float[np.ndarray, "runs"],
    largest: Float[np.ndarray, "runs"],
) -> None:
    """J^2 at an optimum, where it is known, against the scale factor; a bar from the least to the largest as good."""
    axes.set_xscale("log")
    axes.axhline(1, color=EDGE, linestyle="--", linewidth=1, zorder=1)
    axes.vlines(scale_factor, least, largest, color=TEST, alpha=0.4, linewidth=3)
    axes.plot(scale_factor, j_squared, "o", color=TEST, markersize=4)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _leave_out_the_start(axes: Axes, way: np.ndarray, ends: list[np.ndarray]) -> None:
    """Limits that show all ends; the way of a run begins with the values of an untrained network."""
    known = [values[np.isfinite(values)] for values in ends]
    shown = np.concatenate([*known, way[len(way) // 4 :]])
    shown = shown[np.isfinite(shown)]
    if shown.size:
        least, largest = shown.min(), np.quantile(shown, 0.98)
        margin = 0.08 * (largest - least) or 0.01
        axes.set_ylim(least - margin, largest + 2 * margin)
