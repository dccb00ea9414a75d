"""From histories to numbers: predictions and measurements, fits, and whether trajectories collapse."""

from edgechaos.analysis.collapse import closed_form, collapse_ranges, rescaled_epochs, verdicts
from edgechaos.analysis.fits import Line, best_of, fit_line, power_law, weight_decay_that_ends_at
from edgechaos.analysis.history import (
    elapsed,
    final_mean,
    last_and_largest,
    last_mean,
    members_of,
    scale_factors,
    seeds_of,
    weight_decay_course,
)
from edgechaos.analysis.numbers import (
    MEANING,
    epoch_at,
    known_mean,
    mean,
    measure,
    predict,
    predicted_course,
    spread,
    summary,
    table,
)

__all__ = [
    "MEANING",
    "Line",
    "best_of",
    "closed_form",
    "collapse_ranges",
    "elapsed",
    "epoch_at",
    "final_mean",
    "fit_line",
    "known_mean",
    "last_and_largest",
    "last_mean",
    "mean",
    "measure",
    "members_of",
    "power_law",
    "predict",
    "predicted_course",
    "rescaled_epochs",
    "scale_factors",
    "seeds_of",
    "spread",
    "summary",
    "table",
    "verdicts",
    "weight_decay_course",
    "weight_decay_that_ends_at",
]
