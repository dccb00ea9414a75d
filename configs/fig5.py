"""Fig. 5: scale factors in ratios c = 1/4 ... 4 (1/16 ... 1 of that of Fig. 2), epochs in proportion to 1 / c.

python -m experiments.fig5                                    paper: 8,001 to 501 epochs, 2.8 hours on 2 cores
python -m experiments.fig5 --config=configs/fig5.py:scaled    c = 1 ... 16 instead: 40 minutes
python -m experiments.fig5 --config=configs/fig5.py:quick     c = 8 and 16, less than half of each run
python -m experiments.fig5 --config=configs/fig5.py:digits    scikit-learn's digits: seconds
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged


def _sweep(*runs: tuple[int, float, float]) -> dict[str, tuple]:
    """The sweep of (epochs, eta, alpha) triples."""
    return dict(zip(("epochs", "learning_rate", "momentum"), zip(*runs, strict=True), strict=True))


PAPER = ((8001, 0.0025, 0.0), (4001, 0.005, 0.0), (2001, 0.01, 0.0), (1001, 0.01, 0.5), (501, 0.02, 0.5))


def _scaled(config: ml_collections.ConfigDict) -> None:
    """The same ratios at 4 times the scale factors, the largest at which D is still that of Fig. 2."""
    runs = ((2001, 0.01, 0.0), (1001, 0.02, 0.0), (501, 0.04, 0.0), (251, 0.04, 0.5), (126, 0.08, 0.5))
    config.update(sweep=_sweep(*runs))


def _quick(config: ml_collections.ConfigDict) -> None:
    """The two shortest of the scaled runs, and the first half of them."""
    config.update(sweep=_sweep((100, 0.04, 0.5), (50, 0.08, 0.5)))


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64, a quarter of the epochs."""
    config.update(DIGITS, sweep=_sweep(*((epochs // 4, eta, alpha) for epochs, eta, alpha in PAPER)))


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep=_sweep(*PAPER), sweep_mode="zip", keep_kernels_at=())
    return choose(variant, VARIANTS, config)
