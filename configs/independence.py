"""Does the decay that ends at the edge depend on eta, alpha and B? Eq. 9 says no; the paper did not test it.

python -m experiments.independence                                           full:  6 settings, 3 decays: 2 hours
python -m experiments.independence --config=configs/independence.py:scaled   4 times the scale factors: 40 minutes
python -m experiments.independence --config=configs/independence.py:quick    two settings, two decays, too short
python -m experiments.independence --config=configs/independence.py:digits   scikit-learn's digits: seconds

Every run takes the same number of rescaled epochs, eta epochs / ((1 - alpha) B), so that all relax equally far.
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged
from edgechaos.theory import paper
from edgechaos.theory.scaling import scale_factor

# (eta, alpha, B): Fig. 6's, the same scale factor by other means, half and twice of it
SETTINGS = ((0.02, 0.5, 32), (0.04, 0.5, 64), (0.01, 0.75, 32), (0.01, 0.5, 32), (0.04, 0.5, 32), (0.02, 0.5, 16))
WEIGHT_DECAYS = (6e-5, 9e-5, 1.35e-4)


def _sweep(
    settings: tuple[tuple[float, float, int], ...], decays: tuple[float, ...], rescaled: float
) -> dict[str, tuple]:
    """All decays for each setting, for `rescaled` epochs of the scale factor of Fig. 2."""
    rows = [
        (eta, alpha, size, decay, round(rescaled * paper.SCALE_FACTOR / float(scale_factor(eta, alpha, size))))
        for eta, alpha, size in settings
        for decay in decays
    ]
    names = ("learning_rate", "momentum", "batch_size", "weight_decay", "epochs")
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factors; the two largest settings are at 8 times that of Fig. 2, beyond the law."""
    faster = tuple((4 * eta, alpha, size) for eta, alpha, size in SETTINGS)
    config.update(sweep=_sweep(faster, WEIGHT_DECAYS, 501))


def _quick(config: ml_collections.ConfigDict) -> None:
    """Two settings at eight times the scale factor, two decays."""
    config.update(sweep=_sweep(((0.16, 0.5, 64), (0.32, 0.5, 128)), (9e-5, 3e-4), 160))


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: another D and S, so decays 15 times as large."""
    config.update(DIGITS, sweep=_sweep(SETTINGS, tuple(15 * value for value in WEIGHT_DECAYS), 300))


VARIANTS = {"full": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep=_sweep(SETTINGS, WEIGHT_DECAYS, 501), sweep_mode="zip", keep_kernels_at=())
    return choose(variant, VARIANTS, config)
