"""Figure panels: arrays in, Axes out, with the prediction drawn beside the measurement."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from edgechaos.files import atomic_write

# Okabe and Ito's colours, told apart by colour-blind readers
TRAIN, TEST, EDGE, PREDICTION, MARK = "#0072B2", "#D55E00", "#C00000", "#555555", "#009E73"


COLORS = ("#56B4E9", TRAIN, "#CC79A7", TEST, MARK, "#E69F00")


PRINTED, FONT = 7.1, 7.2  # a page's two columns in inches, and the size of letters there in points


STYLE: dict[Any, Any] = {
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "figure.titlesize": "medium",
    "legend.fontsize": "small",
    "legend.title_fontsize": "small",
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextlib.contextmanager
def figure(width: float, height: float, title: str, *paths: Path) -> Iterator[Figure]:
    """An empty figure in the common style, written to `paths` at the end of the block, each file in one piece.

    Letters are as large as makes them legible where the figure is printed over two columns.

    Args:
      width: inches.
      height: inches.
      title: above all panels.
      *paths: the suffix tells the format; a .pdf has its fonts embedded.
    """
    with mpl.rc_context({**STYLE, "font.size": FONT * width / PRINTED}):
        new = Figure(figsize=(width, height), layout="constrained")
        new.suptitle(title)
        yield new
        for path in paths:
            atomic_write(path, functools.partial(new.savefig, format=path.suffix[1:], dpi=200))


def color_of(run: int) -> str:
    """The color of the run with this number."""
    return COLORS[run % len(COLORS)]


def deviation(values: Float[np.ndarray, "points seeds"]) -> Float[np.ndarray, "points"] | None:
    """Standard deviation over the seeds, where there are several."""
    return values.std(1, ddof=1) if values.shape[1] > 1 else None
