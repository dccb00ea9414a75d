import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from configs import theories as configs
from edgechaos import analysis
from edgechaos.analysis import History, decays
from experiments import theories

EPOCHS = 40


def history_of(edge_power, growth_power, num_seeds=2):
    """A made-up sweep in which the decay that ends at 1, and is best, goes as eta^edge_power."""
    sweep = configs._sweep((0.01, 0.02, 0.04, 0.08), (0.0, 3e-5, 6e-5, 1.2e-4, 2.4e-4, 4.8e-4), EPOCHS)
    eta, epochs, decay = (
        np.repeat(np.array(sweep[name]), num_seeds) for name in ("learning_rate", "epochs", "weight_decay")
    )
    entries = epochs.max() + 1
    at_edge = 1e-4 * (eta / 0.03) ** edge_power
    slope = 0.2 * eta**growth_power
    grown = 0.25 + slope[:, None] * np.arange(entries)
    settled = np.where(decay[:, None] > 0, at_edge[:, None] / np.maximum(decay[:, None], 1e-9), grown)
    accuracy = 0.9 - 0.01 * np.log(np.maximum(decay, 1e-6) / at_edge) ** 2
    known = np.arange(entries) <= epochs[:, None]
    trajectories = {
        "j_squared": settled,
        "test_accuracy": np.repeat(accuracy[:, None], entries, axis=1),
        "test_loss": np.repeat(1 - accuracy[:, None], entries, axis=1),
    }
    arrays = {
        **{name: np.where(known, values, np.nan) for name, values in trajectories.items()},
        "learning_rate": eta,
        "epochs": epochs,
        "weight_decay": decay,
        "momentum": np.full(len(eta), 0.5),
        "batch_size": np.full(len(eta), 32),
        "seed": np.tile(np.arange(num_seeds), len(eta) // num_seeds),
        "seconds": np.ones(len(eta)),
    }
    return History(arrays, 60_000)


@pytest.mark.parametrize("power", [0.0, -1.0])
@pytest.mark.parametrize("growth", [1.0, 2.0])
def test_exponents_are_those_put_in(power, growth):
    found = theories.compare(history_of(power, growth))
    assert found["growth_exponent"][0] == pytest.approx(growth, abs=0.02)
    for what in ("edge", "best", "loss"):
        for name in (f"{what}_exponent_epochs", f"{what}_exponent_rescaled"):
            assert found[name][0] == pytest.approx(power, abs=0.05), name


def test_growth_is_that_of_one_run_per_learning_rate():
    """A shorter run is the beginning of a longer one with the same seed: no measurement of its own, and too short."""
    history = history_of(0.0, 1.0)
    short = ~decays.lengths(history)["rescaled"]
    expected = theories.compare(history)
    history["j_squared"][short] = 0.25 + 3 * (history["j_squared"][short] - 0.25)
    found = theories.compare(history)
    for name in ("growth_exponent", "growth_exponent_error"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6)


def test_both_lengths_are_in_the_sweep_and_the_largest_rate_is_in_both():
    history = history_of(0.0, 1.0)
    chosen = decays.lengths(history)
    assert set(history["epochs"][chosen["epochs"]]) == {EPOCHS}
    assert set(history["epochs"][chosen["rescaled"]]) == {40, 80, 160, 320}
    both = history["learning_rate"][chosen["epochs"] & chosen["rescaled"]]
    assert set(both) == {0.08}


def test_a_sweep_that_has_only_begun_can_be_drawn():
    history = history_of(0.0, 1.0)
    for name in ("j_squared", "test_accuracy", "test_loss"):
        history[name][:, 1:] = np.nan
    figure = Figure()
    theories.draw(figure, history)
    figure.savefig(io.BytesIO(), format="png")


def test_power_law_of_noise_has_an_error_that_holds():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 16, 8)
    found = [analysis.power_law(x, x**-0.5 * np.exp(0.1 * rng.normal(size=8))) for _ in range(300)]
    pulls = [(exponent + 0.5) / error for exponent, error in found]
    assert np.mean(pulls) == pytest.approx(0, abs=0.25)
    assert np.std(pulls) == pytest.approx(1.2, abs=0.3)  # Student's t of 6 degrees of freedom has 1.22


def test_power_law_needs_three_points():
    assert np.isnan(analysis.power_law(np.array([1.0, 2.0]), np.array([1.0, 2.0]))).all()
