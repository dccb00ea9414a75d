"""Figure panels: arrays in, Axes out, with the prediction drawn beside the measurement."""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from edgechaos.files import atomic_write

# Okabe and Ito's colours, told apart by colour-blind readers
TRAIN, TEST, EDGE, PREDICTION, MARK = "#0072B2", "#D55E00", "#C00000", "#555555", "#009E73"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.fontsize": 7.5,
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextlib.contextmanager
def figure(width: float, height: float, title: str, *paths: Path) -> Iterator[Figure]:
    """An empty figure in the common style, written to `paths` at the end of the block, each file in one piece.

    Args:
      width: inches.
      height: inches.
      title: above all panels.
      *paths: the suffix tells the format; a .pdf has its fonts embedded.
    """
    with mpl.rc_context(STYLE):
        new = Figure(figsize=(width, height), layout="constrained")
        new.suptitle(title, fontsize=9)
        yield new
        for path in paths:
            atomic_write(path, functools.partial(new.savefig, format=path.suffix[1:], dpi=200))


def phase_map(
    axes: Axes,
    j0_over_j: Float[np.ndarray, "columns"],
    inverse_j: Float[np.ndarray, "rows"],
    distance: Float[np.ndarray, "rows columns"],
    edge: Float[np.ndarray, "columns"],
) -> QuadMesh:
    """Asymptotic distance in the (J0/J, 1/J) plane as log10(min(d, 1) + 1e-4), with the edge of Eq. 3 in red."""
    shade = np.log10(np.minimum(distance, 1) + 1e-4)
    return cells(axes, j0_over_j, inverse_j, shade, edge, "Purples", (-4, 0))


def cells(
    axes: Axes,
    j0_over_j: Float[np.ndarray, "columns"],
    inverse_j: Float[np.ndarray, "rows"],
    values: Float[np.ndarray, "rows columns"],
    edge: Float[np.ndarray, "columns"],
    colors: str,
    limits: tuple[float | None, float | None],
) -> QuadMesh:
    """A quantity in the (J0/J, 1/J) plane, with the edge of Eq. 3 in red."""
    mesh = axes.pcolormesh(j0_over_j, inverse_j, values, cmap=colors, vmin=limits[0], vmax=limits[1], rasterized=True)
    axes.plot(j0_over_j, 1 / edge, color=EDGE, label="edge of chaos (Eq. 3)")
    axes.set(xlabel="$J_0/J$", ylabel="$1/J$", xlim=(j0_over_j[0], j0_over_j[-1]))
    axes.set_ylim(1.5 * inverse_j[0] - 0.5 * inverse_j[1], inverse_j[-1])  # from the lower side of the first cells
    return mesh


def path(
    axes: Axes,
    j0: Float[np.ndarray, "members epochs"],
    j_squared: Float[np.ndarray, "members epochs"],
    optimal_epoch: Float[np.ndarray, "members"],
) -> None:
    """The members' ways through the diagram, with start, least test loss and end."""
    j = np.sqrt(j_squared)
    for member in np.flatnonzero(np.isfinite(optimal_epoch)):
        best = int(optimal_epoch[member])
        x, y = j0[member] / j[member], 1 / j[member]
        last = int(np.flatnonzero(np.isfinite(y))[-1])
        first = "path of training" not in axes.get_legend_handles_labels()[1]
        labels = ("path of training", "start", "least test loss", "last epoch") if first else (None,) * 4
        axes.plot(x, y, color=TRAIN, label=labels[0])
        axes.plot(x[0], y[0], "o", color="white", markeredgecolor=TRAIN, markersize=6, label=labels[1])
        axes.plot(x[best], y[best], "*", color=TEST, markeredgecolor="white", markersize=11, label=labels[2], zorder=3)
        axes.plot(x[last], y[last], "s", color=TRAIN, markeredgecolor="white", markersize=6, label=labels[3])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def _mean_and_band(
    axes: Axes, x: Shaped[np.ndarray, "entries"], values: Float[np.ndarray, "members entries"], **style: Any
) -> None:
    """Mean over the members where there is one, with a band of one standard deviation where there are several."""
    shown = np.isfinite(values).any(0)
    mean = np.nanmean(values[:, shown], axis=0)
    axes.plot(x[shown], mean, **style)
    if len(values) > 1:
        spread = np.nanstd(values[:, shown], axis=0)
        axes.fill_between(x[shown], mean - spread, mean + spread, color=style["color"], alpha=0.25, linewidth=0)


def course(axes: Axes, values: Float[np.ndarray, "members epochs"], color: str, label: str) -> None:
    """Mean over the members against epoch, with a band of one standard deviation where there are several."""
    epochs = np.arange(values.shape[1])
    _mean_and_band(axes, epochs, values, color=color, label=label)
    axes.set(xlabel="epoch", xlim=(0, max(len(epochs) - 1, 1)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def color_of(run: int) -> str:
    """The color of the run with this number."""
    return _KERNEL_COLORS[run % len(_KERNEL_COLORS)]


def _deviation(values: Float[np.ndarray, "points seeds"]) -> Float[np.ndarray, "points"] | None:
    """Standard deviation over the seeds, where there are several."""
    return values.std(1, ddof=1) if values.shape[1] > 1 else None


def rows(axes: Axes, names: Sequence[str], values: Float[np.ndarray, "rows seeds"]) -> None:
    """Named rows, the first on top: each seed as a small dot, the mean with its standard deviation."""
    places = np.arange(len(names))
    axes.plot(values, places, ".", color="0.7", markersize=4)
    error = _deviation(values)
    axes.errorbar(values.mean(1), places, xerr=error, fmt="o", color=TEST, markersize=5)
    axes.set_yticks(places, names)
    axes.invert_yaxis()


def powers(
    axes: Axes,
    learning_rate: Float[np.ndarray, "points"],
    values: Mapping[str, Float[np.ndarray, "points"]],
    exponents: Mapping[str, float],
) -> None:
    """Quantities against the learning rate, both logarithmic, with power laws through the middle of the first."""
    for number, (name, series) in enumerate(values.items()):
        known = np.isfinite(series) & (series > 0)
        axes.plot(learning_rate[known], series[known], "o^"[number], color=color_of(number), markersize=5, label=name)
    first = next(iter(values.values()))
    known = np.isfinite(first) & (first > 0)
    if known.any():
        middle = np.exp(np.log(learning_rate[known]).mean()), np.exp(np.log(first[known]).mean())
        line = np.array([learning_rate.min(), learning_rate.max()])
        for (name, power), style in zip(exponents.items(), ("-", ":"), strict=True):
            axes.plot(line, middle[1] * (line / middle[0]) ** power, style, color=PREDICTION, linewidth=1, label=name)
    axes.set(xlabel="$\\eta$", xscale="log", yscale="log", xlim=(learning_rate.min() / 1.3, 1.3 * learning_rate.max()))
    if known.any():
        axes.legend()


def mark_epochs(axes: Axes, marks: Mapping[str, tuple[float, str, str]]) -> None:
    """Vertical lines at label -> (epoch, colour, line style); an epoch that is not finite is left out."""
    for label, (epoch, color, linestyle) in marks.items():
        if np.isfinite(epoch) and epoch <= axes.get_xlim()[1]:
            axes.axvline(epoch, color=color, linestyle=linestyle, linewidth=1, label=label)


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
        axes.text(column, -1.35, name, ha="center", fontsize=7.5)
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
    axes.axhline(0, color=EDGE, linewidth=1)
    axes.set(xlabel="$1/J$", ylabel="per iteration")
    axes.legend(title="lines: mean-field theory", title_fontsize=7.5)


_KERNEL_COLORS = ("#56B4E9", TRAIN, "#CC79A7", TEST, MARK, "#E69F00")
_LEAST_DISTANCE = 1e-20  # a smaller one is not drawn


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
    rows = zip(distance, late, predicted, labels, _KERNEL_COLORS, strict=False)
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
        error = _deviation(values)
        axes.errorbar(j, values.mean(1), error, fmt=marker, color=color, markersize=5, label=label)
    axes.set(xlabel="$J$ of the kernel")


def scaling(
    above: Axes,
    below: Axes,
    x: Float[np.ndarray, "runs"],
    slope: Float[np.ndarray, "runs seeds"],
    predicted: Float[np.ndarray, "runs"],
) -> None:
    """Slope A against a hyperparameter as it enters Eq. 5, with that line, and relative residuals below."""
    mean = slope.mean(1)
    error = _deviation(slope)
    above.plot(x, predicted, color=PREDICTION, label="Eq. 5")
    above.errorbar(x, mean, error, fmt="o", color=TRAIN, markersize=3.5, label="measured")
    above.set(ylabel="$A$ per epoch", xscale="log", yscale="log")
    above.tick_params(labelbottom=False)
    above.legend()
    below.axhline(0, color=PREDICTION, linewidth=1)
    below.errorbar(
        x, mean / predicted - 1, None if error is None else error / predicted, fmt="o", color=TRAIN, markersize=3.5
    )
    below.set(ylabel="residual", xscale="log")
    if x.max() < 10 * x.min():  # within a decade every tick would be labelled
        below.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        below.xaxis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=False))
        below.xaxis.set_minor_formatter(NullFormatter())
    below.yaxis.set_major_formatter(PercentFormatter(1.0))


def rescaled_course(
    axes: Axes, times: Float[np.ndarray, "entries"], values: Float[np.ndarray, "seeds entries"], run: int, label: str
) -> None:
    """Mean over the seeds against the rescaled epoch, with a band of one standard deviation where there are several."""
    _mean_and_band(axes, times, values, color=color_of(run), label=label, linewidth=1)
    axes.set_xlabel("epoch, rescaled to the paper's scale factor")


def points(
    axes: Axes, x: Float[np.ndarray, "points"], values: Float[np.ndarray, "points seeds"], run: int, label: str
) -> None:
    """Means over the seeds with standard deviations where there are several, joined by a thin line."""
    error = _deviation(values)
    color = color_of(run)
    axes.errorbar(x, values.mean(1), error, fmt="o-", color=color, markersize=4, linewidth=0.8, label=label)


def zoom_into_order(axes: Axes) -> None:
    """Limits the axes of courses of J^2 to the ordered phase."""
    ordered = [np.asarray(line.get_xdata())[np.asarray(line.get_ydata()) <= 1] for line in axes.get_lines()]
    axes.set(xlim=(0, np.max(np.concatenate(ordered), initial=1)), ylim=(0.2, 1.05), xlabel="")
    axes.tick_params(labelsize=7)
    axes.set_title("ordered phase", fontsize=7)


def diagram_path(
    axes: Axes, j0: Float[np.ndarray, "entries"], j_squared: Float[np.ndarray, "entries"], color: str, label: str
) -> None:
    """One way through the (J0/J, 1/J) plane, with its end."""
    j = np.sqrt(j_squared[np.isfinite(j_squared)])
    x = j0[: len(j)] / j
    axes.plot(x, 1 / j, color=color, label=label, linewidth=1)
    axes.plot(x[-1], 1 / j[-1], "s", color=color, markeredgecolor="white", markersize=6)


def edge(axes: Axes, j0_over_j: Float[np.ndarray, "columns"], j: Float[np.ndarray, "columns"]) -> None:
    """The edge of Eq. 3 in the (J0/J, 1/J) plane, with the name of each side."""
    known = np.isfinite(j)
    axes.plot(j0_over_j[known], 1 / j[known], color=EDGE, label="edge of chaos (Eq. 3)")
    axes.set(xlabel="$J_0/J$", ylabel="$1/J$")
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


def relaxation(
    axes: Axes,
    clock: Float[np.ndarray, "seeds epochs"],
    held: Float[np.ndarray, "seeds epochs"],
    fits: Sequence[tuple[float, float]],
    recommended: Sequence[float],
) -> None:
    """The decay that holds the edge against the clock s, with (end, amplitude) of each seed's fit, and what follows."""
    for number, (s, decay, (end, amplitude), value) in enumerate(zip(clock, held, fits, recommended, strict=True)):
        labels = ("measured", "fit", "recommended") if number == 0 else (None, None, None)
        axes.plot(s, decay, "o", color=TRAIN, markersize=3, label=labels[0])
        axes.plot(s, end + amplitude * np.exp(-s), color=MARK, linewidth=1, label=labels[1])
        axes.plot(1.08 * s[-1], value, "<", color=TEST, markersize=6, label=labels[2])
    axes.set(xlabel="$s = \\sum \\delta$", ylabel="$\\lambda$")


def kernels_against_step(
    axes: Axes,
    step: Int[np.ndarray, "entries"],
    j_squared: Float[np.ndarray, "entries kernels"],
    names: Sequence[str],
) -> None:
    """J^2 of each kernel against the step, with the edge of a tanh network at J0 near 0."""
    for number, (course_of_one, name) in enumerate(zip(j_squared.T, names, strict=True)):
        axes.plot(step, course_of_one, color=color_of(number), label=name)
    axes.axhline(1, color=EDGE, linewidth=1, linestyle="--", label="edge of chaos (tanh)")
    axes.set(xlabel="step", ylabel="$J^2$")
    axes.legend()


def scores(
    axes: Axes,
    weight_decay: Float[np.ndarray, "runs"],
    values: Float[np.ndarray, "runs seeds"],
    marks: Mapping[str, float],
) -> None:
    """A score against weight decay, mean and standard deviation over the seeds, with marked decays as lines."""
    error = _deviation(values)
    axes.errorbar(weight_decay, values.mean(1), error, fmt="o-", color=TEST, markersize=4, linewidth=0.8)
    for (label, value), color in zip(marks.items(), (EDGE, PREDICTION), strict=False):
        if np.isfinite(value):
            axes.axvline(value, color=color, linestyle="--", linewidth=1, label=f"{label}: {value:.2g}")
    least = weight_decay[weight_decay > 0].min()
    axes.set_xscale("symlog", linthresh=least, linscale=0.5)
    axes.set_xlim(-least / 3, 1.5 * weight_decay.max())
    if np.isfinite(list(marks.values())).any():
        axes.legend()
