"""A panel of where several quantities pass an edge of their own."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from edgechaos.plotting.style import EDGE


def passages(
    axes: Axes,
    x: Float[np.ndarray, "runs"],
    places: Mapping[str, Float[np.ndarray, "runs seeds"]],
    sides: Mapping[str, Float[np.ndarray, "runs"]],
    colors: Mapping[str, str],
    top: float,
) -> None:
    """Where each quantity passes its edge, by run: seeds as small dots, their mean as a large one.

    A run in which no seed passes has a triangle instead: at the top, pointing up, for a quantity that stays below its
    edge; at the bottom, pointing down, for one that stays above.

    Args:
      axes: to draw in, with a logarithmic x.
      x: of the runs.
      places: name -> J^2 at the passage, NaN for none.
      sides: name -> mean excess over the edge.
      colors: name -> colour.
      top: the largest J^2.
    """
    axes.axhline(1, color=EDGE, linestyle="--", linewidth=1, label="$J^2 = 1$", zorder=1)
    for number, (name, values) in enumerate(places.items()):
        moved = x * 1.04 ** (number - (len(places) - 1) / 2)  # so that no mark hides another
        axes.plot(moved, values, ".", color=colors[name], alpha=0.4, markersize=4)
        known = np.isfinite(values).any(1)
        mean = np.array([row[np.isfinite(row)].mean() for row in values[known]])
        axes.plot(moved[known], mean, "o", color=colors[name], markersize=6, label=name)
        for run in np.flatnonzero(~known & np.isfinite(sides[name])):
            is_below = sides[name][run] < 0
            height, marker = (0.94 * top, "^") if is_below else (0.06 * top, "v")
            axes.plot(moved[run], height, marker, color=colors[name], markersize=7, fillstyle="none")
    axes.set(xscale="log", xlabel="$\\eta$", ylabel="$J^2$ at the passage", ylim=(0, top))
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.minorticks_off()
    axes.legend()
