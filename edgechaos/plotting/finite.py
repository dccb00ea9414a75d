"""Panels of surrogates and of finite networks."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from edgechaos.plotting.style import COLORS, EDGE, MARK, PREDICTION, TEST, TRAIN, color_of

_LINES = ("-", "--", ":")


def ranked(
    axes: Axes, names: Sequence[str], values: Sequence[Float[np.ndarray, "draws"]], lines: Mapping[str, float]
) -> None:
    """Named rows, the first on top: each draw as a small dot and their mean; vertical lines at what theories say."""
    for place, drawn in enumerate(values):
        known = drawn[np.isfinite(drawn)]
        axes.plot(known, np.full(len(known), place), ".", color="0.7", markersize=4)
        if len(known):
            axes.plot(known.mean(), place, "o", color=TEST, markersize=5)
    for (name, value), style in zip(lines.items(), _LINES, strict=True):
        axes.axvline(value, color=PREDICTION, linestyle=style, linewidth=1, label=f"theory, {name}", zorder=1)
    axes.set_yticks(np.arange(len(names)), names)
    axes.invert_yaxis()
    axes.legend(loc="best")


def exponents_against_j(
    axes: Axes,
    j: Float[np.ndarray, "kernels members"],
    measured: Mapping[str, Float[np.ndarray, "kernels members"]],
    theory: Mapping[str, Float[np.ndarray, "kernels members"]],
) -> None:
    """Exponents of single kernels as dots, and means of theories as lines, against J."""
    for (name, values), color in zip(measured.items(), (TEST, TRAIN), strict=False):
        axes.plot(j.ravel(), values.ravel(), ".", color=color, markersize=4, label=name, zorder=3)
    order = np.argsort(j.mean(1))
    for (name, values), style in zip(theory.items(), _LINES, strict=True):
        line = j.mean(1)[order], values.mean(1)[order]
        axes.plot(*line, style, color=PREDICTION, linewidth=1, label=f"theory, {name}", zorder=2)
    axes.axhline(0, color=EDGE, linestyle="--", linewidth=1, zorder=1)
    axes.set(xlabel="$J$", ylabel="exponent per iteration")
    axes.legend()


def shares(
    axes: Axes, x: Float[np.ndarray, "kernels members"], kinds: Mapping[str, Float[np.ndarray, "kernels members"]]
) -> None:
    """Means over the members of the shares of several kinds, which add up to 1, against the mean of x."""
    order = np.argsort(x.mean(1))
    for (kind, values), color, marker in zip(kinds.items(), COLORS, "osD^", strict=False):
        axes.plot(x.mean(1)[order], values.mean(1)[order], marker + "-", color=color, markersize=4, label=kind)
    axes.axvline(1, color=EDGE, linestyle="--", linewidth=1, zorder=1)
    axes.set(ylabel="share of states", ylim=(-0.03, 1.03))
    axes.legend()


def collapse(
    axes: Axes,
    sizes: Sequence[int],
    x: Float[np.ndarray, "sizes points"],
    values: Float[np.ndarray, "sizes points"],
    errors: Float[np.ndarray, "sizes points"] | None = None,
) -> None:
    """One curve for each size, in the order of the colours."""
    for number, size in enumerate(sizes):
        known = np.isfinite(values[number])
        error = None if errors is None else errors[number][known]
        label, color = f"N = {size:,}", color_of(number)
        line = x[number][known], values[number][known]
        axes.errorbar(*line, error, fmt="o-", color=color, markersize=3, linewidth=0.8, label=label)


def lines(axes: Axes, x: Float[np.ndarray, "points"], values: Mapping[str, Float[np.ndarray, "points"]]) -> None:
    """What theories say, as lines behind what is measured."""
    for (name, line), style in zip(values.items(), _LINES, strict=False):
        axes.plot(x, line, style, color=PREDICTION, linewidth=1, label=name, zorder=1)


def edges(
    axes: Axes,
    sizes: Sequence[int],
    measured: Mapping[str, Float[np.ndarray, "sizes 2"]],
    predicted: Sequence[Float[np.ndarray, "sizes"]],
) -> None:
    """J with its error against N, with the line of the theory in the same colour."""
    for (name, values), line, color in zip(measured.items(), predicted, (TEST, TRAIN, MARK), strict=True):
        axes.errorbar(sizes, values[:, 0], np.nan_to_num(values[:, 1]), fmt="o", color=color, markersize=4, label=name)
        axes.plot(sizes, line, "-", color=color, linewidth=1)
    axes.axhline(1, color=EDGE, linestyle="--", linewidth=1, zorder=1)
    axes.set(xlabel="$N$", xscale="log")
    axes.legend()


def finite_edge(axes: Axes, j: float, label: str) -> None:
    """J up to which a finite network shows no chaos, in a (J0/J, 1/J) diagram, where |J0| <= J."""
    axes.hlines(1 / j, max(-1.0, axes.get_xlim()[0]), 1.0, color=EDGE, linestyle=":", linewidth=1.2, label=label)
