"""Theory against measurement for trained kernels (Fig. 7): numbers of each kernel, NAME_at_KERNEL."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Shaped

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
Value = TypeVar("Value")
ARRAYS = {
    "label": "[kernel] epoch-E, or edge for the kernel nearest to J = 1",
    "epoch": "[kernel, member] epochs behind the kernel",
    "j0": "[kernel, member] J0",
    "j": "[kernel, member] J",
    "distance": "[kernel, control, member, image] |x - x'|; control 0: the kernel, 1: its entries shuffled",
    "late_distance": "[kernel, control, member, image, perturbation] the same after late_iterations",
    "exponent": "[kernel, control, member] largest Lyapunov exponent, mean over 16 images",
    "jacobian_norm": "[kernel, control, member] Eq. 1's left-hand side, mean over 16 images",
    "input_share": "[kernel, control, member] share of the variance of ln(distance) that the image accounts for",
    "late_input_share": "[kernel, control, member] the same after late_iterations",
    "f_ratio": "[kernel, control, member] variance of the images' means over what perturbations give them",
    "over_inputs": "[kernel, control, member] standard deviation of ln(distance) over images",
    "over_perturbations": "[kernel, control, member] the same over perturbations of one image",
    "predicted_distance": "[kernel, member] of the mean-field theory at (J0, J)",
    "predicted_exponent": "[kernel, member] the same",
    "predicted_norm": "[kernel, member] sqrt(chi)",
}
NUMBERS = {
    "distance": "median |x - x'| over the test images",
    "shuffled_distance": "the same after shuffling the kernel's entries",
    "late_distance": "the same as distance after late_iterations",
    "shuffled_late_distance": "the same as shuffled_distance after late_iterations",
    "exponent": "largest Lyapunov exponent per iteration",
    "shuffled_exponent": "the same after shuffling",
    "jacobian_norm": "Eq. 1's left-hand side at the mean asymptotic state; predicted: sqrt(chi)",
    "shuffled_jacobian_norm": "the same after shuffling",
    "input_share": "share of the variance of ln(distance) that the image accounts for; 0: a property of the weights",
    "late_input_share": "the same after late_iterations",
    "j": "J of the kernel",
    "epoch": "epochs behind the kernel",
}
_PREFIXES = ("", "shuffled_")  # of the two controls


def expect(arrays: Arrays) -> dict[str, float]:
    """The mean-field theory at each kernel's (J0, J), whether its entries are shuffled or not.

    Args:
      arrays: those of `ARRAYS` that are labels and predictions.
    """

    def numbers(kernel: int) -> dict[str, float]:
        distance, exponent, norm = (
            float(arrays[f"predicted_{name}"][kernel].mean()) for name in ("distance", "exponent", "norm")
        )
        theory = {"distance": distance, "late_distance": distance, "exponent": exponent, "jacobian_norm": norm}
        both = {f"{prefix}{name}": value for prefix in _PREFIXES for name, value in theory.items()}
        return {"epoch": np.nan, "j": np.nan, **both, "input_share": 0.0, "late_input_share": 0.0}

    return _by_kernel(arrays, numbers)


def compare(arrays: Arrays) -> dict[str, Float[np.ndarray, "members"]]:
    """The same numbers as measured.

    Args:
      arrays: those of `ARRAYS`; `dynamics.trained.measure_kernels` measures them.
    """

    def numbers(kernel: int) -> dict[str, np.ndarray]:
        found = {"epoch": np.asarray(arrays["epoch"][kernel], float), "j": arrays["j"][kernel]}
        for control, prefix in enumerate(_PREFIXES):
            found[f"{prefix}distance"] = np.median(arrays["distance"][kernel, control], axis=-1)
            found[f"{prefix}late_distance"] = np.median(arrays["late_distance"][kernel, control], axis=(-2, -1))
            found |= {f"{prefix}{name}": arrays[name][kernel, control] for name in ("exponent", "jacobian_norm")}
        return found | {name: arrays[name][kernel, 0] for name in ("input_share", "late_input_share")}

    return _by_kernel(arrays, numbers)


def _by_kernel(arrays: Arrays, numbers: Callable[[int], dict[str, Value]]) -> dict[str, Value]:
    """The numbers of all kernels, each name with its kernel's label."""
    labels = enumerate(arrays["label"])
    return {f"{name}_at_{label}": value for kernel, label in labels for name, value in numbers(kernel).items()}
