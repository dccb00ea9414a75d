"""What surrogates of trained kernels say: numbers of each kernel, and how far theories reach."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped

from edgechaos.dynamics.attractors import KINDS
from edgechaos.dynamics.surrogates import SURROGATES

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
THEORIES = {
    "plain": "mean-field theory at (J0, J)",
    "norms": "mean-field theory with the norms of inputs and outputs",
    "effective": "mean-field theory with these norms, at the kernel's effective size",
}
# which theory a surrogate should follow, where it has no structure beyond that
FOLLOWS = {
    **dict.fromkeys(("gaussian", "shuffled", "symmetry", "within_inputs", "bases", "right_rotated"), "plain"),
    **dict.fromkeys(("within_outputs", "norms", "signs"), "norms"),
    **dict.fromkeys(("left_rotated", "permuted", "trained"), "effective"),
}
TOLERANCE = 0.05  # of the exponent, beside its standard error
MEASURED = {
    "exponent": "largest Lyapunov exponent, mean over the states",
    "exponent_error": "standard error over the states",
    "distance": "asymptotic |x - x'| / sqrt(N), median over the states",
    "chi": "growth of the squared length of a random difference in the asymptotic state",
    **{f"share_{kind}": f"share of states that settle in: {kind}" for kind in KINDS},
    "surrogate_j": "J of the surrogate",
    "surrogate_size": "N_eff of the surrogate",
}
ARRAYS = {
    "label": "[kernel] epoch-E, or edge for the kernel nearest to J = 1",
    "surrogate": "[surrogate] names",
    "epoch": "[kernel, member] epochs behind the kernel",
    "j0": "[kernel, member] J0",
    "j": "[kernel, member] J",
    "gain": "[kernel, member] J^2 weighted by the norms of inputs and outputs",
    "size": "[kernel, member] N_eff, the effective size",
    "rank": "[kernel, member] effective rank of what training added",
    "radius": "[kernel, member] largest modulus of an eigenvalue",
    **{f"theory_{name}": f"[kernel, member] exponent: {text}" for name, text in THEORIES.items()},
    **{name: f"[kernel, member, surrogate, draw] {text}" for name, text in MEASURED.items()},
}
NUMBERS = {
    **{f"exponent_{name}": f"exponent of the surrogate that keeps {one.keeps}" for name, one in SURROGATES.items()},
    **{f"distance_{name}": f"distance / sqrt(N) of: {name}" for name in ("trained", "shuffled")},
    "j": "J of the kernel",
    "size": "effective size N_eff; predicted: that of independent entries",
    "rank": "effective rank of what training added",
    "radius": "largest modulus of an eigenvalue",
    "chaotic": "share of states and seeds that are chaotic",
    **{
        f"within_{name}": f"share of kernels with J > 1 whose exponent is that of the {text}, within its error or 5 %; "
        "target: 1"
        for name, text in THEORIES.items()
    },
    **{
        f"ratio_{name}": f"mean of measured over predicted exponent at J > 1.5: {text}"
        for name, text in THEORIES.items()
    },
    "j_squared_unstable": "J^2 at which the spectral radius is 1, where the state 0 loses its stability",
    "j_squared_chaotic": "J^2 beyond which all kernels of a seed are chaotic",
}


def expect(arrays: Arrays, num_neurons: int) -> dict[str, float]:
    """What the theories say of each kernel and its surrogates; the target is that the effective one holds everywhere.

    Args:
      arrays: those of `ARRAYS` that are not measured.
      num_neurons: N.
    """
    numbers: dict[str, float] = {}
    for kernel, label in enumerate(arrays["label"]):
        for name in arrays["surrogate"]:
            theory = FOLLOWS.get(str(name))
            value = float(arrays[f"theory_{theory}"][kernel].mean()) if theory else np.nan
            numbers[f"exponent_{name}_at_{label}"] = value
        for name in ("j", "rank", "radius", "chaotic", "distance_trained", "distance_shuffled"):
            numbers[f"{name}_at_{label}"] = np.nan
        numbers[f"size_at_{label}"] = float(num_neurons)
    numbers |= {f"within_{name}": 1.0 for name in THEORIES} | {f"ratio_{name}": 1.0 for name in THEORIES}
    return numbers | {"j_squared_unstable": 1.0, "j_squared_chaotic": 1.0}


def compare(arrays: Arrays) -> dict[str, Float[np.ndarray, "members"]]:
    """The same numbers as measured, by member; draws are averaged."""
    names = [str(name) for name in arrays["surrogate"]]
    trained = names.index("trained")
    numbers: dict[str, np.ndarray] = {}
    for kernel, label in enumerate(arrays["label"]):
        for index, name in enumerate(names):
            numbers[f"exponent_{name}_at_{label}"] = np.nanmean(arrays["exponent"][kernel, :, index], axis=-1)
            if name in ("trained", "shuffled"):
                numbers[f"distance_{name}_at_{label}"] = np.nanmean(arrays["distance"][kernel, :, index], axis=-1)
        numbers |= {f"{name}_at_{label}": arrays[name][kernel] for name in ("j", "size", "rank", "radius")}
        numbers[f"chaotic_at_{label}"] = arrays["share_chaos"][kernel, :, trained, 0]
    exponent, error = (arrays[name][:, :, trained, 0] for name in ("exponent", "exponent_error"))
    return numbers | reach(arrays, exponent, error) | crossing(arrays)


def reach(
    arrays: Arrays, exponent: Float[np.ndarray, "kernels members"], error: Float[np.ndarray, "kernels members"]
) -> dict[str, Float[np.ndarray, "members"]]:
    """How often each theory tells the trained exponent beyond J = 1, and by which factor it is off; by member."""
    beyond, far = arrays["j"] > 1, arrays["j"] > 1.5
    allowed = np.maximum(error, TOLERANCE * np.abs(exponent))
    numbers = {}
    for name in THEORIES:
        predicted = arrays[f"theory_{name}"]
        numbers[f"within_{name}"] = _mean_where(np.abs(exponent - predicted) <= allowed, beyond)
        numbers[f"ratio_{name}"] = _mean_where(exponent / np.where(predicted > 0, predicted, np.nan), far)
    return numbers


def crossing(arrays: Arrays) -> dict[str, Float[np.ndarray, "members"]]:
    """J^2 at which the spectral radius passes 1, and beyond which all kernels are chaotic; NaN if none, by member."""
    trained = [str(name) for name in arrays["surrogate"]].index("trained")
    chaotic = arrays["share_chaos"][:, :, trained, 0] > 0.5
    unstable, chaos = [], []
    for member in range(arrays["j"].shape[1]):
        order = np.argsort(arrays["j"][:, member])
        square, radius = arrays["j"][order, member] ** 2, arrays["radius"][order, member]
        unstable.append(_first_crossing(square, radius, 1.0))
        chaos.append(_beyond(square, chaotic[order, member]))
    return {"j_squared_unstable": np.array(unstable), "j_squared_chaotic": np.array(chaos)}


def _mean_where(values: Float[np.ndarray, "kernels members"], chosen: np.ndarray) -> Float[np.ndarray, "members"]:
    """Mean over the chosen kernels of each member; NaN where there is none."""
    known = chosen & np.isfinite(values)
    return np.array([np.mean(v[k]) if k.any() else np.nan for v, k in zip(values.T, known.T, strict=True)])


def _first_crossing(x: Float[np.ndarray, "points"], y: Float[np.ndarray, "points"], level: float) -> float:
    """x, interpolated, at which y first reaches a level from below; NaN if it does not."""
    above = np.flatnonzero(y >= level)
    if not len(above) or above[0] == 0:
        return np.nan
    after = int(above[0])
    share = (level - y[after - 1]) / (y[after] - y[after - 1])
    return float(x[after - 1] + share * (x[after] - x[after - 1]))


def _beyond(x: Float[np.ndarray, "points"], holds: Shaped[np.ndarray, "points"]) -> float:
    """x half way between the last point at which something does not hold and the next; NaN if there is none."""
    fails = np.flatnonzero(~holds)
    if not len(fails) or fails[-1] + 1 == len(x):
        return np.nan
    return float((x[fails[-1]] + x[fails[-1] + 1]) / 2)
