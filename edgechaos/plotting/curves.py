"""Figure panels: arrays in, Axes out, with the prediction drawn beside the measurement."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from edgechaos.plotting.style import EDGE, MARK, PREDICTION, TEST, TRAIN, color_of, deviation


def _mean_and_band(
    axes: Axes, x: Shaped[np.ndarray, "entries"], values: Float[np.ndarray, "members entries"], **style: Any
) -> None:
    """Mean over the members where there is one, with a band of one standard deviation where there are several."""
    shown = np.isfinite(values).any(0)
    mean = np.nanmean(values[:, shown], axis=0)
    axes.plot(x[shown], mean, **style)
    if len(values) > 1:
        with warnings.catch_warnings():  # one seed may have more entries than the others
            warnings.simplefilter("ignore", RuntimeWarning)
            spread = np.nan_to_num(np.nanstd(values[:, shown], axis=0, ddof=1))
        axes.fill_between(x[shown], mean - spread, mean + spread, color=style["color"], alpha=0.25, linewidth=0)


def trajectory(axes: Axes, values: Float[np.ndarray, "members epochs"], color: str, label: str) -> None:
    """Mean over the members against epoch, with a band of one standard deviation where there are several."""
    epochs = np.arange(values.shape[1])
    _mean_and_band(axes, epochs, values, color=color, label=label)
    axes.set(xlabel="epoch", xlim=(0, max(len(epochs) - 1, 1)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def by_task(axes: Axes, values: Mapping[str, Float[np.ndarray, "seeds tasks"]]) -> None:
    """Named values against the number of the task, from 1 on: means over the seeds with bands, as trajectories have."""
    for run, (name, some) in enumerate(values.items()):
        _mean_and_band(axes, np.arange(1, some.shape[1] + 1), some, color=color_of(run), label=name)
    axes.set_xlabel("task")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def line_fit(
    axes: Axes, slope: float, intercept: float, times: Float[np.ndarray, "epochs"], label: str = "line fit (Eq. 4)"
) -> None:
    """The line J^2 = intercept + slope * time over its epochs, broad, below what it was fitted to."""
    axes.plot(intercept + slope * times, color=MARK, label=label, linewidth=3, alpha=0.6)


def edge_line(axes: Axes, value: float = 1.0, label: str | None = "edge of chaos") -> None:
    """The edge at a height of its own, behind what is measured."""
    axes.axhline(value, color=EDGE, linestyle="--", linewidth=1, label=label, zorder=1)


def rows(axes: Axes, names: Sequence[str], values: Float[np.ndarray, "rows seeds"]) -> None:
    """Named rows, the first on top: each seed as a small dot, the mean with its standard deviation."""
    places = np.arange(len(names))
    axes.plot(values, places, ".", color="0.7", markersize=4)
    error = deviation(values)
    axes.errorbar(values.mean(1), places, xerr=error, fmt="o", color=TEST, markersize=5)
    axes.set_yticks(places, names)
    axes.xaxis.set_major_locator(MaxNLocator(4))
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
        axes.plot(learning_rate[known], series[known], "o^s"[number], color=color_of(number), markersize=5, label=name)
    first = next(iter(values.values()))
    known = np.isfinite(first) & (first > 0)
    if known.any():
        middle = np.exp(np.log(learning_rate[known]).mean()), np.exp(np.log(first[known]).mean())
        line = np.array([learning_rate.min(), learning_rate.max()])
        for (name, power), style in zip(exponents.items(), ("-", ":"), strict=True):
            axes.plot(line, middle[1] * (line / middle[0]) ** power, style, color=PREDICTION, linewidth=1, label=name)
    axes.set(xlabel="$\\eta$", xscale="log", xlim=(learning_rate.min() / 1.3, 1.3 * learning_rate.max()))
    if any(np.size(line.get_xdata()) for line in axes.lines):
        axes.set_yscale("log")  # an axis without a value has no logarithmic ticks
        axes.legend()


def mark_epochs(axes: Axes, marks: Mapping[str, tuple[float, str, str]]) -> None:
    """Vertical lines at label -> (epoch, colour, line style); an epoch that is not finite is left out."""
    for label, (epoch, color, linestyle) in marks.items():
        if np.isfinite(epoch) and epoch <= axes.get_xlim()[1]:
            axes.axvline(epoch, color=color, linestyle=linestyle, linewidth=1, label=label)


def scaling(
    above: Axes,
    below: Axes,
    x: Float[np.ndarray, "runs"],
    slope: Float[np.ndarray, "runs seeds"],
    predicted: Float[np.ndarray, "runs"],
) -> None:
    """Slope A against a hyperparameter as it enters Eq. 5, with that line, and relative residuals below."""
    mean = slope.mean(1)
    error = deviation(slope)
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


def rescaled_trajectory(
    axes: Axes, times: Float[np.ndarray, "entries"], values: Float[np.ndarray, "seeds entries"], run: int, label: str
) -> None:
    """Mean over the seeds against the rescaled epoch, with a band of one standard deviation where there are several."""
    _mean_and_band(axes, times, values, color=color_of(run), label=label, linewidth=1)
    axes.set_xlabel("epoch, rescaled to the paper's scale factor")


def points(
    axes: Axes, x: Float[np.ndarray, "points"], values: Float[np.ndarray, "points seeds"], run: int, label: str
) -> None:
    """Means over the seeds with standard deviations where there are several, joined by a thin line."""
    error = deviation(values)
    color = color_of(run)
    axes.errorbar(x, values.mean(1), error, fmt="o-", color=color, markersize=4, linewidth=0.8, label=label)


def zoom_into_ordered_phase(axes: Axes) -> None:
    """Limits the axes of trajectories of J^2 to the ordered phase."""
    ordered = [np.asarray(line.get_xdata())[np.asarray(line.get_ydata()) <= 1] for line in axes.get_lines()]
    axes.set(xlim=(0, np.max(np.concatenate(ordered), initial=1)), ylim=(0.2, 1.05), xlabel="")
    axes.tick_params(labelsize=7)
    axes.set_title("ordered phase", fontsize="small")


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
    for number, (values, name) in enumerate(zip(j_squared.T, names, strict=True)):
        axes.plot(step, values, color=color_of(number), label=name)
    edge_line(axes, label="edge of chaos (tanh)")
    axes.set(xlabel="step", ylabel="$J^2$")
    axes.legend()


def scores(
    axes: Axes,
    weight_decay: Float[np.ndarray, "runs"],
    values: Mapping[str, Float[np.ndarray, "runs seeds"]],
    marks: Mapping[str, float],
) -> None:
    """Scores against weight decay, means and standard deviations over the seeds, with marked decays as lines."""
    for (name, score), style, color in zip(values.items(), ("s:", "o-", "^:"), (MARK, TEST, TRAIN), strict=False):
        axes.errorbar(
            weight_decay,
            score.mean(1),
            deviation(score),
            fmt=style,
            color=color,
            markersize=4,
            linewidth=0.8,
            label=name,
        )
    for (label, value), color in zip(marks.items(), (EDGE, PREDICTION), strict=False):
        if np.isfinite(value):
            axes.axvline(value, color=color, linestyle="--", linewidth=1, label=f"{label}: {value:.2g}")
    least = weight_decay[weight_decay > 0].min()
    axes.set_xscale("symlog", linthresh=least, linscale=0.5)
    axes.set_xlim(-least / 3, 1.5 * weight_decay.max())
    axes.legend()


def profile(
    axes: Axes,
    depth: Float[np.ndarray, "rows"],
    logarithm: Float[np.ndarray, "rows"],
    relative_error: Float[np.ndarray, "rows"],
    color: str = TEST,
    label: str = "stream",
) -> None:
    """Averaged partial Jacobian norm against depth, with a band of two standard errors; dashed where it stays 1."""
    decades = logarithm / np.log(10)  # the numbers themselves may be beyond the largest
    band = 2 * np.nan_to_num(relative_error) / np.log(10)
    axes.plot(depth, decades, color=color, marker=".", label=label)
    axes.fill_between(depth, decades - band, decades + band, color=color, alpha=0.25, linewidth=0)
    axes.axhline(0, color=PREDICTION, linestyle="--", linewidth=1, zorder=1)
    axes.set(xlabel="depth", ylabel="$\\log_{10}$ of $E\\,|dh_l/dh_0|^2 / N_l$")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def branches(axes: Axes, depth: Float[np.ndarray, "rows"], logarithm: Float[np.ndarray, "rows"]) -> None:
    """The same of the ends of residual branches, as points."""
    if len(depth):
        axes.plot(depth, logarithm / np.log(10), "x", color=TRAIN, label="ends of branches")
        axes.legend()
