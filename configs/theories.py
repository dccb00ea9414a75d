"""Drift or random walk, and does the weight decay depend on eta? Learning rates over a factor 16 with a grid of decays.

python -m experiments.theories                                        full: 54 runs, one seed: 2 hours on one core
python -m experiments.theories --config=configs/theories.py:quick     three learning rates, too short
python -m experiments.theories --config=configs/theories.py:digits    scikit-learn's digits: seconds

The largest learning rate is at 8 times Fig. 2's scale factor, beyond the law.
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged

LEARNING_RATES = (0.01, 0.02, 0.04, 0.08, 0.16)
WEIGHT_DECAYS = (0.0, 3e-5, 6e-5, 1.2e-4, 2.4e-4, 4.8e-4)


def _sweep(rates: tuple[float, ...], decays: tuple[float, ...], epochs: int) -> dict[str, tuple]:
    """All decays for each learning rate, for `epochs` epochs, and for as many rescaled ones as the largest has."""
    lengths = {(eta, length) for eta in rates for length in (epochs, round(epochs * max(rates) / eta))}
    rows = [(eta, length, decay) for eta, length in sorted(lengths) for decay in decays]
    return dict(zip(("learning_rate", "epochs", "weight_decay"), zip(*rows, strict=True), strict=True))


def _quick(config: ml_collections.ConfigDict) -> None:
    """Three learning rates, three decays, short."""
    config.sweep = _sweep((0.04, 0.08, 0.16), (0.0, 9e-5, 3e-4), 8)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: decays 10 times as large, three seeds."""
    config.update(DIGITS, num_seeds=3)
    config.sweep = _sweep(LEARNING_RATES, tuple(10 * value for value in WEIGHT_DECAYS), 60)


VARIANTS = {"full": unchanged, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep=_sweep(LEARNING_RATES, WEIGHT_DECAYS, 32), sweep_mode="zip", keep_kernels_at=())
    return choose(variant, VARIANTS, config)
