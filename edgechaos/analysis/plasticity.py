"""Whether a network loses its plasticity over a sequence of tasks, and whether a hold keeps it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from edgechaos.analysis.fits import behind
from edgechaos.analysis.intervals import interval, verdict

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]

NO_DECAY, HOLD = "no_decay", "hold_at_edge"
FEW = 5  # tasks at the beginning and at the end
TOLERANCE = 0.01  # a hundredth of all samples, of which seeds differ by less; losses of plasticity are several
# way -> the claim, and where its change of accuracy must lie
CLAIMS = {NO_DECAY: ("falls", (-np.inf, -TOLERANCE)), HOLD: ("does not fall", (-TOLERANCE, np.inf))}

MEASURED = {
    "accuracy": "share in [0, 1]: of the test set in a permuted task, of the training set in a random one",
    "loss": "cross-entropy there",
    "j_squared": "J^2 of the hidden kernel",
    "saturated": "share of hidden units with |tanh| > 0.99, mean over the samples there",
    "stuck": "share of hidden units that are saturated on more than 95 % of the samples",
}
ARRAYS = {
    "kind": "[kind] kinds of tasks",
    "way": "[way] what is done against growing weights",
    **{name: f"[kind, way, seed, task] {text}; at the end of the task" for name, text in MEASURED.items()},
}
NUMBERS = {
    "first": "accuracy, mean of the first five tasks",
    "change": "accuracy of the last five tasks less that of the first five",
    "change_low": "low end of its 95 % interval over the seeds; the claim: with hold_at_edge above -0.01",
    "change_high": "high end of the same; the claim: without decay below -0.01",
    "j_squared": "J^2 after the last task",
    "saturated": "share of saturated hidden units after the last task",
    "stuck": "share of hidden units that are saturated on more than 95 % of the samples, after the last task",
    "lead": "standard errors by which hold_at_edge leads in accuracy of the last five tasks; target: >= 2 over no "
    "decay, >= -1 over the best fixed decay",
}


def expect(kinds: Sequence[str], ways: Sequence[str]) -> dict[str, float]:
    """What the claim says, that plasticity is lost without decay and kept at the edge; NaN for what it leaves open."""
    names = [name for name in NUMBERS if name != "lead"]
    numbers = {f"{name}_at_{kind}_{way}": np.nan for kind in kinds for way in ways for name in names}
    for kind in kinds:
        numbers[f"change_high_at_{kind}_{NO_DECAY}"] = -TOLERANCE
        numbers[f"change_low_at_{kind}_{HOLD}"] = -TOLERANCE
        numbers |= {f"j_squared_at_{kind}_{way}": 1.0 for way in ways if way in (HOLD, "hard_sphere")}
        numbers |= {f"lead_at_{kind}_{NO_DECAY}": 2.0, f"lead_at_{kind}_best_decay": -1.0}
    return numbers


def first(accuracy: Float[np.ndarray, "*runs tasks"]) -> Float[np.ndarray, "*runs"]:
    """Mean over the first five tasks."""
    return np.asarray(accuracy[..., :FEW].mean(-1))


def last(accuracy: Float[np.ndarray, "*runs tasks"]) -> Float[np.ndarray, "*runs"]:
    """Mean over the last five tasks.

    >>> last(np.arange(12.0))
    array(9.)
    """
    return np.asarray(accuracy[..., -FEW:].mean(-1))


def change(accuracy: Float[np.ndarray, "*runs tasks"]) -> Float[np.ndarray, "*runs"]:
    """Of the last five tasks, less that of the first five."""
    return last(accuracy) - first(accuracy)


def compare(arrays: Arrays) -> dict[str, Float[np.ndarray, "seeds"]]:
    """The numbers of `expect` as measured, by seed or one for all."""
    numbers: dict[str, np.ndarray] = {}
    for place, kind in enumerate(arrays["kind"]):
        accuracy = arrays["accuracy"][place]
        for index, way in enumerate(arrays["way"]):
            changes = change(accuracy[index])
            found = interval(changes.tolist())
            of_way = {"first": first(accuracy[index]), "change": changes}
            of_way |= {"change_low": np.array([found.low]), "change_high": np.array([found.high])}
            of_way |= {name: arrays[name][place, index, :, -1] for name in ("j_squared", "saturated", "stuck")}
            numbers |= {f"{name}_at_{kind}_{way}": values for name, values in of_way.items()}
        numbers |= {f"lead_at_{kind}_{name}": np.array([value]) for name, value in leads(arrays, accuracy).items()}
    return numbers


def leads(arrays: Arrays, accuracy: Float[np.ndarray, "ways seeds tasks"]) -> dict[str, float]:
    """Standard errors by which the hold leads at the end: over no decay, and over the best of the fixed decays.

    NaN where there is one seed only or no such way, or where the hold has diverged.
    """
    ways, ends = arrays["way"].tolist(), last(accuracy)
    held = ends[ways.index(HOLD)]
    fixed = [index for index, way in enumerate(ways) if way.startswith("decay_") and np.isfinite(ends[index]).all()]
    numbers = {NO_DECAY: behind(ends[ways.index(NO_DECAY)], held), "best_decay": np.nan}
    if fixed:
        numbers["best_decay"] = behind(ends[max(fixed, key=lambda index: ends[index].mean())], held)
    return numbers


def rows(arrays: Arrays) -> list[dict[str, Any]]:
    """A row for each kind and way: accuracy at both ends, its change with the interval, and the verdict on a claim."""
    table: list[dict[str, Any]] = []
    for place, kind in enumerate(arrays["kind"]):
        for index, way in enumerate(arrays["way"]):
            accuracy = arrays["accuracy"][place, index]
            found = interval(change(accuracy).tolist())
            claim, allowed = CLAIMS.get(str(way), ("", (-np.inf, np.inf)))
            row: dict[str, Any] = {"kind": str(kind), "way": str(way)}
            row |= {"first": float(first(accuracy).mean()), "last": float(last(accuracy).mean())}
            row |= {"change": found.mean, "change_low": found.low, "change_high": found.high}
            row |= {name: float(arrays[name][place, index, :, -1].mean()) for name in MEASURED if name != "accuracy"}
            table.append(row | {"claim": claim, "verdict": verdict(found, allowed) if claim else ""})
    return table
