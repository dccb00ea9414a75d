"""From histories to numbers: predictions and measurements, fits, and whether trajectories collapse."""

from edgechaos.analysis import agreement, decays, trained
from edgechaos.analysis.collapse import (
    closed_form,
    collapse_ranges,
    law_numbers,
    rescaled_epochs,
    rows_by_run,
    verdicts,
)
from edgechaos.analysis.fits import (
    Line,
    behind,
    best_of,
    deviation,
    fit_line,
    peak,
    power_law,
    weight_decay_that_ends_at,
)
from edgechaos.analysis.history import History, last_mean
from edgechaos.analysis.numbers import (
    NUMBERS,
    epoch_at,
    known_mean,
    mean,
    measure,
    predict,
    spread,
    summary,
    table,
)

__all__ = [
    "NUMBERS",
    "History",
    "Line",
    "agreement",
    "behind",
    "best_of",
    "closed_form",
    "collapse_ranges",
    "decays",
    "deviation",
    "epoch_at",
    "fit_line",
    "known_mean",
    "last_mean",
    "law_numbers",
    "mean",
    "measure",
    "peak",
    "power_law",
    "predict",
    "rescaled_epochs",
    "rows_by_run",
    "spread",
    "summary",
    "table",
    "trained",
    "verdicts",
    "weight_decay_that_ends_at",
]
