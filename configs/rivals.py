"""Ways to choose weight decay, side by side: test accuracy and loss, J^2 at the end, and the epochs that it took.

python -m experiments.rivals                                     paper: eta 0.02, 501 epochs, one seed: 4 hours
python -m experiments.rivals --config=configs/rivals.py:scaled   4 times the scale factor, 126 epochs, 3 seeds: 2 hours
python -m experiments.rivals --config=configs/rivals.py:quick    three of them, 40 epochs
python -m experiments.rivals --config=configs/rivals.py:digits   scikit-learn's digits: seconds
python -m experiments.rivals --config=configs/rivals.py:theories learning rates over a factor 16: 2 hours
python -m experiments.rivals --config=configs/rivals.py:theories-digits

The first eight fixed decays are the paper's grid, from which the best is taken; then Eq. 9's, hold_at_edge, the hard
sphere, CPR and norm control. Last the decay that the hold of the first seed ends with, and the best of 8, 16 and 32
trials of Optuna (with the first seed, by a validation split), each trained with by all seeds.
"""

import ml_collections

from configs.common import DIGITS, choose, training_fields

GRID = (0.0, 1e-5, 5e-5, 9e-5, 1.5e-4, 3e-4, 5e-4, 1e-3)
EQ_9 = 4.6e-5  # 10.96 / (4 x 60,000), two digits
CONSTRAINTS = ("hold_at_edge", "hard_sphere", "constrained_parameters", "norm_control")


def _sweep(decays: tuple[float, ...], constraints: tuple[str, ...]) -> dict[str, tuple]:
    """Fixed decays without a constraint, then each constraint without a decay."""
    return {
        "weight_decay": (*decays, *(0.0 for _ in constraints)),
        "constraint": (*("none" for _ in decays), *constraints),
    }


def _over_learning_rates(rates: tuple[float, ...], decays: tuple[float, ...], epochs: int) -> dict[str, tuple]:
    """All decays for each learning rate, for `epochs` epochs, and for as many rescaled ones as the largest has."""
    lengths = {(eta, length) for eta in rates for length in (epochs, round(epochs * max(rates) / eta))}
    rows = [(eta, length, decay) for eta, length in sorted(lengths) for decay in decays]
    return dict(zip(("learning_rate", "epochs", "weight_decay"), zip(*rows, strict=True), strict=True))


def _theories(config: ml_collections.ConfigDict) -> None:
    """Learning rates over a factor 16 with a grid of decays; the largest is at 8 times Fig. 2's scale factor."""
    decays = (0.0, 3e-5, 6e-5, 1.2e-4, 2.4e-4, 4.8e-4)
    config.trials = ()
    config.sweep = _over_learning_rates((0.01, 0.02, 0.04, 0.08, 0.16), decays, 32)


def _theories_digits(config: ml_collections.ConfigDict) -> None:
    """The same on scikit-learn's digits."""
    decays = tuple(10 * value for value in (0.0, 3e-5, 6e-5, 1.2e-4, 2.4e-4, 4.8e-4))
    config.update(DIGITS, trials=(), num_seeds=3)
    config.sweep = _over_learning_rates((0.01, 0.02, 0.04, 0.08, 0.16), decays, 60)


def _paper(config: ml_collections.ConfigDict) -> None:
    """At the paper's scale factor."""


def _scaled(config: ml_collections.ConfigDict) -> None:
    """Four times the scale factor, three seeds."""
    config.update(learning_rate=4 * 0.02, epochs=126, num_seeds=3)


def _quick(config: ml_collections.ConfigDict) -> None:
    """No decay, 9e-5 and the hold, too short to settle."""
    few = _sweep((0.0, 9e-5), ("hold_at_edge",))
    config.update(sweep=few, trials=(), learning_rate=8 * 0.02, batch_size=2 * 32, epochs=40)


def _digits(config: ml_collections.ConfigDict) -> None:
    """scikit-learn's digits, N = 64: decays 10 times as large, none of them Eq. 9's."""
    grid = tuple(10 * value for value in GRID)
    config.update(DIGITS, trials=(4, 8), learning_rate=0.08, epochs=100, num_seeds=3)
    config.sweep = _sweep(grid, CONSTRAINTS)


VARIANTS = {
    "paper": _paper,
    "scaled": _scaled,
    "quick": _quick,
    "digits": _digits,
    "theories": _theories,
    "theories-digits": _theories_digits,
}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config of one variant."""
    config = training_fields()
    config.update(sweep=_sweep((*GRID, EQ_9), CONSTRAINTS), sweep_mode="zip", epochs=501, keep_kernels_at=())
    config.trials = (8, 16, 32)
    return choose(variant, VARIANTS, config)
