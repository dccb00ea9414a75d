"""Fig. 3: J^2 grows linearly in the ordered phase, and its slope is proportional to eta, 1 / (1 - alpha) and 1 / B.

python -m experiments.fig3                                    paper: 501 epochs of (a), 28 runs up to J^2 = 1: 3 hours
python -m experiments.fig3 --config=configs/fig3.py:scaled    larger scale factors, up to J^2 = 1, 3 seeds: 0.6 hours
python -m experiments.fig3 --config=configs/fig3.py:quick     three values each way, moved along the law
python -m experiments.fig3 --config=configs/fig3.py:digits    scikit-learn's digits: seconds

To expect: D = 10.96 within 1 % over the learning rates (the authors' record), and a drift upwards at large momentum.
"""

import math

import ml_collections

from configs.common import DIGITS, choose, training_fields, unchanged
from edgechaos.theory import paper
from edgechaos.theory.scaling import scale_factor

LEARNING_RATES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1)
MOMENTA = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95)  # 0 is among the learning rates
BATCH_SIZES = (4, 8, 16, 24, 64, 128, 192, 256, 512)  # 32 is among the learning rates


def _runs(*runs: tuple[float, float, int]) -> dict[str, tuple]:
    """The sweep of (eta, alpha, B) triples."""
    return dict(zip(("learning_rate", "momentum", "batch_size"), zip(*runs, strict=True), strict=True))


def _epochs_to_edge(learning_rate: float, momentum: float, batch_size: int) -> int:
    """A tenth more than Eq. 5 says that J^2 needs from 0.25 to 1."""
    return math.ceil(1.1 * 0.75 / (paper.CONSTANT_D * float(scale_factor(learning_rate, momentum, batch_size))))


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Each run as long as the ordered phase lasts, which is affordable for the larger scale factors; three seeds.

    They reach from 1/4 to 4 times that of Fig. 2, where D is constant, but for alpha = 0.9 (5 times), beyond the law.
    """
    runs = [(0.04, 0.5, 32), *((eta, 0.0, 32) for eta in (0.01, 0.02, 0.03, 0.05, 0.07, 0.1))]
    runs += [*((0.02, alpha, 32) for alpha in (0.3, 0.5, 0.7, 0.8, 0.9)), *((0.02, 0.0, size) for size in (8, 16, 64))]
    config.update(sweep={**_runs(*runs), "epochs": tuple(_epochs_to_edge(*run) for run in runs)}, num_seeds=3)


def _quick(config: ml_collections.ConfigDict) -> None:
    """Larger batches, whose epochs are faster, and larger learning rates, which need fewer of them."""
    runs = [(0.16, 0.5, 64), *((eta, 0.0, 128) for eta in (0.08, 0.16, 0.32))]
    runs += [*((0.08, alpha, 128) for alpha in (0.5, 0.8)), *((0.08, 0.0, size) for size in (64, 256))]
    config.update(sweep=_runs(*runs), epochs=12)
    del config.sweep["epochs"]


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64, whose D is another and whose growth is no line: 50 epochs of each run."""
    config.update(DIGITS, epochs=50)
    del config.sweep["epochs"]


VARIANTS = {"paper": unchanged, "scaled": _scaled, "quick": _quick, "digits": _digits}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    runs = [(0.02, 0.5, 32), *((eta, 0.0, 32) for eta in LEARNING_RATES)]  # that of (a) first
    runs += [*((0.01, alpha, 32) for alpha in MOMENTA), *((0.01, 0.0, size) for size in BATCH_SIZES)]
    lengths = (501, *(_epochs_to_edge(*run) for run in runs[1:]))
    config.update(sweep={**_runs(*runs), "epochs": lengths}, sweep_mode="zip", epochs=501, keep_kernels_at=())
    return choose(variant, VARIANTS, config)
