"""What `recommend` refuses: bad numbers, data from which nothing follows, and probes that do not tell enough."""

import numpy as np
from jaxtyping import Float

from edgechaos import errors, training
from edgechaos.data.dataset import Dataset

PROBE_EPOCHS, HOLD_EPOCHS = 5, 20
_LEAST_GROWTH, _ERRORS = 1e-3, 5  # of J^2 over the probe, and how many standard errors, that tell D


def check_numbers(learning_rate: float, momentum: float, batch_size: int, num_samples: int) -> None:
    """Raises a ValueError for a number out of range."""
    errors.require_positive("learning_rate", learning_rate)
    errors.require("momentum", momentum, lambda entries: (entries >= 0) & (entries < 1), "in [0, 1)")
    if not 1 <= batch_size <= num_samples:
        raise ValueError(f"batch_size = {batch_size}: must be in [1, {num_samples}], the size of the training set")


def check_data(dataset: Dataset) -> None:
    """Raises a ValueError for data of another shape, labels out of range, or data from which nothing can be learned."""
    images, labels = np.asarray(dataset.train_images), np.asarray(dataset.train_labels)
    if images.ndim != 2:
        raise ValueError(f"train_images {list(images.shape)}: must be [samples, N]; flatten each sample")
    if labels.min() < 0 or labels.max() >= dataset.num_classes:
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"train_labels: {bad} is not in 0 ... {dataset.num_classes - 1}, the classes of num_classes")
    if (labels == labels[0]).all():
        raise ValueError(f"train_labels: all are {labels[0]}; with one class there is nothing to learn")
    if (images == images[0]).all():
        raise ValueError("train_images: all samples are equal; there is nothing to learn from them")


def check_growth(ordered: Float[np.ndarray, "entries"], constant_d: float, error: float, learning_rate: float) -> None:
    """Raises a ValueError, with a learning rate to try, if the growth of J^2 in the probe is within its noise."""
    growth = float(ordered[-1] - ordered[0])
    if growth < _LEAST_GROWTH or not constant_d > _ERRORS * error:
        larger = 0.05 / growth if growth > 0.0005 else 100
        raise ValueError(
            f"learning_rate = {learning_rate:g}: J^2 grows by {growth:.2g} in "
            f"the {PROBE_EPOCHS} epochs of the probe, too "
            f"little to measure D ({constant_d:.3g} +- {error:.2g}); try {learning_rate * max(larger, 2):.2g}"
        )


def check_held(
    decays: Float[np.ndarray, "epochs"], j_squared: Float[np.ndarray, "entries"], rate: float, constant_d: float
) -> None:
    """Raises a ValueError if the held epochs do not tell a decay."""
    if not np.isfinite(decays).all() or not np.isfinite(j_squared).all():
        raise ValueError(f"learning_rate = {rate:g}: training held at J = 1 diverges; try {rate / 8:.2g}")
    if not decays[-(len(decays) // 4) :].mean() > 0:
        raise ValueError(
            f"learning_rate = {rate:g}: the hold needed no weight decay in the "
            f"last of its {HOLD_EPOCHS} epochs at J = 1, "
            f"although D is {constant_d:.3g} in the ordered phase; the epochs "
            "are too few at this learning rate, or J^2 "
            f"does not grow there; try {8 * rate:.2g}"
        )


def check_probe(probe: training.Metrics, learning_rate: float) -> None:
    """Raises a ValueError, with a learning rate to try, unless three entries beyond the first epoch are ordered."""
    growth = probe.j_squared[1] - probe.j_squared[0]
    if not np.isfinite(probe.train_loss).all():
        raise ValueError(f"learning_rate = {learning_rate:g}: the probe diverges; try {learning_rate / 8:.2g}")
    if (probe.j_squared[1:4] >= 1).any():
        fitting = learning_rate * 0.4 / (PROBE_EPOCHS * growth)
        raise ValueError(
            f"learning_rate = {learning_rate:g}: J^2 leaves the ordered phase within the probe's first epochs "
            f"(it is {probe.j_squared[1]:.3g} after the first); try {fitting:.2g}"
        )
