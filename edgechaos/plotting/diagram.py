"""Panels of the phase diagram and of the dynamics: where kernels stand, and how far trajectories part."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from edgechaos.plotting.curves import edge_line
from edgechaos.plotting.style import COLORS, EDGE, MARK, PREDICTION, TEST, TRAIN, color_of, deviation

_LEAST_DISTANCE = 1e-20  # a smaller one is not drawn


def phase_map(
    axes: Axes,
    j0_over_j: Float[np.ndarray, "columns"],
    inverse_j: Float[np.ndarray, "rows"],
    distance: Float[np.ndarray, "rows columns"],
    edge: Float[np.ndarray, "columns"],
    has_scale: bool = True,
) -> None:
    """Asymptotic distance in the (J0/J, 1/J) plane as log10(min(d, 1) + 1e-4), with the edge of Eq. 3 in red."""
    shade = np.log10(np.minimum(distance, 1) + 1e-4)
    mesh = cells(axes, j0_over_j, inverse_j, shade, edge, "Purples", (-4, 0))
    if has_scale:
        axes.figure.colorbar(mesh, ax=axes, label="$\\log_{10}(\\min(|x - x'|, 1) + 10^{-4})$")


def cells(
    axes: Axes,
    j0_over_j: Float[np.ndarray, "columns"],
    inverse_j: Float[np.ndarray, "rows"],
    values: Float[np.ndarray, "rows columns"],
    edge: Float[np.ndarray, "columns"],
    colors: str,
    limits: tuple[float | None, float | None],
    label: str = "",
) -> QuadMesh:
    """A quantity in the (J0/J, 1/J) plane, with the edge of Eq. 3 in red; if labelled, its colours below."""
    mesh = axes.pcolormesh(j0_over_j, inverse_j, values, cmap=colors, vmin=limits[0], vmax=limits[1], rasterized=True)
    axes.plot(j0_over_j, 1 / edge, color=EDGE, label="edge of chaos (Eq. 3)")
    axes.set(xlabel="$J_0/J$", ylabel="$1/J$", xlim=(j0_over_j[0], j0_over_j[-1]))
    axes.set_ylim(1.5 * inverse_j[0] - 0.5 * inverse_j[1], inverse_j[-1])  # from the lower side of the first cells
    if label:
        axes.figure.colorbar(mesh, ax=axes, location="bottom", label=label)
    return mesh


def path(
    axes: Axes,
    j0: Float[np.ndarray, "members epochs"],
    j_squared: Float[np.ndarray, "members epochs"],
    optimal_epoch: Float[np.ndarray, "members"],
) -> None:
    """The members' ways through the diagram, with start, least test loss and end; J = 0 lies beyond it."""
    j = np.sqrt(j_squared)
    for member in np.flatnonzero(np.isfinite(optimal_epoch)):
        best = int(optimal_epoch[member])
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = j0[member] / j[member], 1 / j[member]
        inside = np.flatnonzero(np.isfinite(y))
        if not len(inside):
            continue
        last = int(inside[-1])
        first = "path of training" not in axes.get_legend_handles_labels()[1]
        labels = ("path of training", "start", "least test loss", "last epoch") if first else (None,) * 4
        axes.plot(x, y, color=TRAIN, label=labels[0])
        axes.plot(x[0], y[0], "o", color="white", markeredgecolor=TRAIN, markersize=6, label=labels[1])
        axes.plot(x[best], y[best], "*", color=TEST, markeredgecolor="white", markersize=11, label=labels[2], zorder=3)
        axes.plot(x[last], y[last], "s", color=TRAIN, markeredgecolor="white", markersize=6, label=labels[3])
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def mark_cells(
    axes: Axes,
    j0_over_j: Float[np.ndarray, "columns"],
    inverse_j: Float[np.ndarray, "rows"],
    marked: Bool[np.ndarray, "rows columns"],
    label: str,
) -> None:
    """A dot in each marked cell, with their number in the legend."""
    rows, columns = np.nonzero(marked)
    axes.plot(
        j0_over_j[columns],
        inverse_j[rows],
        ".",
        markersize=0.6,
        color=PREDICTION,
        label=f"{label}: {len(rows):,} cells",
    )
    axes.legend(loc="upper left", handlelength=1.2, markerscale=6)


def network(axes: Axes) -> None:
    """The network of Fig. 1a: a hidden layer as wide as the input, whose map is the dynamical system."""
    layers = {"input $x_{t}$": 5, "hidden $x_{t+1}$": 5, "output": 3}
    places = [np.linspace(-1, 1, count) * (count - 1) / 4 for count in layers.values()]
    for column, (left, right) in enumerate(itertools.pairwise(places)):
        for y in left:
            axes.plot([column, column + 1], np.stack([np.full_like(right, y), right]), color="0.8", linewidth=0.5)
    for column, (name, heights) in enumerate(zip(layers, places, strict=True)):
        color = (TRAIN, TRAIN, TEST)[column]
        axes.plot(np.full_like(heights, column), heights, "o", color=color, markersize=8, markeredgecolor="white")
        axes.text(column, -1.35, name, ha="center", fontsize="small")
    axes.text(0.5, 1.25, "$\\tanh(W x)$", ha="center", color=EDGE)
    axes.text(1.5, 1.25, "softmax", ha="center")
    axes.set(xlim=(-0.5, 2.5), ylim=(-1.6, 1.6))
    axes.axis("off")


def exponents(
    axes: Axes,
    inverse_j: Float[np.ndarray, "points"],
    cuts: Float[np.ndarray, "cuts"],
    measured: Float[np.ndarray, "seeds cuts points"],
    errors: Float[np.ndarray, "seeds cuts points"],
    predicted: Float[np.ndarray, "cuts points"],
) -> None:
    """Lyapunov exponent against 1/J along cuts of fixed J0/J: theory as lines, simulation as dots with errors."""
    for cut, (color, marker) in enumerate(zip((TRAIN, TEST, MARK), "os^", strict=False)):
        axes.plot(inverse_j, predicted[cut], color=color, linewidth=1)
        mean = measured[:, cut].mean(0)
        error = measured[:, cut].std(0, ddof=1) if len(measured) > 1 else errors[0, cut]
        label = f"$J_0/J$ = {cuts[cut]:g}"
        axes.errorbar(inverse_j, mean, error, fmt=marker, color=color, markersize=3, linewidth=0.8, label=label)
    edge_line(axes, 0, label=None)
    axes.set(xlabel="$1/J$", ylabel="per iteration")
    axes.legend(title="lines: mean-field theory")


def distance_limits(*distances: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Common limits of log10(distance); distances of 0, and those that fell below 1e-20, are left to the left."""
    shown = [np.log10(values[values > _LEAST_DISTANCE]) for values in distances]
    kept = np.concatenate([values.ravel() for values in shown])
    return float(np.floor(kept.min())), float(np.ceil(kept.max() + 0.2))


def distances(
    axes: Axes,
    distance: Float[np.ndarray, "kernels members images"],
    late: Float[np.ndarray, "kernels members images perturbations"],
    predicted: Float[np.ndarray, "kernels members"],
    labels: Sequence[str],
    limits: tuple[float, float],
) -> None:
    """Distributions of log10 |x - x'| over the images, one per kernel: filled, later as outlines, theory as lines."""
    bins = np.linspace(*limits, 121).tolist()
    rows = zip(distance, late, predicted, labels, COLORS, strict=False)
    for values, later, expected, label, color in rows:
        axes.hist(_shown(values), bins, density=True, histtype="stepfilled", color=color, alpha=0.6, label=label)
        if len(_shown(later)):
            axes.hist(_shown(later), bins, density=True, histtype="step", color=color)
        if expected.mean() > 0:
            axes.axvline(np.log10(expected.mean()), color=color, linestyle="--", linewidth=1.2)
    axes.set(xlabel="$\\log_{10} |x - x'|$ (dashed: mean-field theory)", ylabel="density", xlim=limits, yscale="log")
    axes.set_ylim(top=50 * axes.get_ylim()[1])  # room for a legend


def _shown(distance: Float[np.ndarray, "..."]) -> Float[np.ndarray, "values"]:
    """log10 of the distances that are drawn."""
    return np.log10(distance[distance > _LEAST_DISTANCE])


def against_j(
    axes: Axes,
    j: Float[np.ndarray, "kernels"],
    curves: Mapping[str, Float[np.ndarray, "kernels members"]],
    predicted: Float[np.ndarray, "kernels"],
) -> None:
    """Measured quantities against J, mean and standard deviation over the members, with the theory as a line."""
    axes.plot(j, predicted, color=PREDICTION, label="mean-field theory")
    for (label, values), color, marker in zip(curves.items(), (TRAIN, TEST), "os", strict=False):
        error = deviation(values)
        axes.errorbar(j, values.mean(1), error, fmt=marker, color=color, markersize=5, label=label)
    axes.set(xlabel="$J$ of the kernel")


def diagram_path(
    axes: Axes, j0: Float[np.ndarray, "entries"], j_squared: Float[np.ndarray, "entries"], color: str, label: str
) -> None:
    """One way through the (J0/J, 1/J) plane, with its end."""
    j = np.sqrt(j_squared[np.isfinite(j_squared)])
    x = j0[: len(j)] / j
    if not len(j):
        return
    axes.plot(x, 1 / j, color=color, label=label, linewidth=1)
    axes.plot(x[-1], 1 / j[-1], "s", color=color, markeredgecolor="white", markersize=6)


def edge(axes: Axes, j0_over_j: Float[np.ndarray, "columns"], j: Float[np.ndarray, "columns"]) -> None:
    """The edge of Eq. 3 in the (J0/J, 1/J) plane, with the name of each side."""
    known = np.isfinite(j)
    axes.plot(j0_over_j[known], 1 / j[known], color=EDGE, label="edge of chaos (Eq. 3)")
    axes.set(xlabel="$J_0/J$", ylabel="$1/J$")
    axes.margins(y=0.15)  # room for the names
    axes.text(0.03, 0.97, "order", transform=axes.transAxes, va="top", color="0.4")
    axes.text(0.03, 0.03, "chaos", transform=axes.transAxes, color="0.4")


def layers(
    axes: Axes, j0: Float[np.ndarray, "layers"], j_squared: Float[np.ndarray, "layers"], names: Sequence[str]
) -> None:
    """Named kernels as numbered points of the (J0/J, 1/J) plane, in the order of the legend."""
    j = np.sqrt(j_squared)
    for number, (x, y, name) in enumerate(zip(j0 / j, 1 / j, names, strict=True)):
        color = color_of(number)
        axes.plot(x, y, "o", color=color, markeredgecolor="white", markersize=7, label=name)
    axes.set_ylim(0, max([1.5, *(1.1 / j)]))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
