import numpy as np
import pytest

from edgechaos import analysis
from edgechaos.analysis import History, optimum

EPOCHS = np.arange(450)


def runs(places, depth=0.2, noise=0.0):
    """Runs whose J^2 grows from 0.2 to 2, with a parabola in J^2 that is least at each run's own place."""
    rng = np.random.default_rng(0)
    j_squared = np.tile(np.linspace(0.2, 2, len(EPOCHS)), (len(places), 1))
    values = 1 + depth * (j_squared - np.array(places)[:, None]) ** 2
    return j_squared, values + noise * rng.standard_normal(values.shape)


def test_least_value_and_its_range_are_those_put_in():
    found = analysis.along_runs(*runs([1.0, 1.0, 1.0], noise=0.002))
    assert found.j_squared == pytest.approx(1, abs=0.05)
    assert found.low <= found.j_squared <= found.high
    # 0.2 (J^2 - 1)^2 = 0.01 at 1 +- 0.224
    np.testing.assert_allclose([found.least, found.largest], [1 - 0.2236, 1 + 0.2236], atol=0.02)
    assert found.value == pytest.approx(1, abs=0.002)


def test_interval_is_that_of_a_mean_over_seeds():
    """The least of a mean of equal parabolas is the mean of their places."""
    places = np.random.default_rng(1).normal(1, 0.2, size=40)
    found = analysis.along_runs(*runs(places))
    expected = 1.96 * places.std(ddof=1) / np.sqrt(40)
    assert found.j_squared == pytest.approx(places.mean(), abs=0.01)
    assert found.high - found.low == pytest.approx(2 * expected, rel=0.2)


def test_interval_without_the_edge_does_not_hold_it():
    found = analysis.along_runs(*runs(np.random.default_rng(2).normal(1.3, 0.1, size=10)))
    assert 1 < found.low < 1.3 < found.high + 0.1


@pytest.mark.parametrize("place", [0.1, 1.9, 2.5])
def test_least_near_an_end_has_no_place(place):
    found = analysis.along_runs(*runs([place, place]))
    assert np.isnan(found.j_squared)
    assert np.isnan(found.low)
    assert found.least == pytest.approx(0.2, abs=0.03) or found.largest == pytest.approx(2, abs=0.03)


def test_run_that_diverged_or_has_no_such_quantity_has_none():
    j_squared, values = runs([1.0, 1.0])
    values[0, -1] = np.nan
    assert np.isnan(analysis.along_runs(j_squared, values)).all()
    history = History({"test_loss": values, "test_accuracy": 1 - values}, 100)
    assert np.isnan(optimum.values_of(history, "calibrated_loss")).all()
    np.testing.assert_allclose(optimum.values_of(history, "error_rate"), values)


def test_smoothing_is_a_centred_mean():
    values = np.random.default_rng(0).standard_normal((2, 501))
    found = optimum.smoothed(values)
    assert found.shape == (2, 491)
    np.testing.assert_allclose(found[1, 7], values[1, 7:18].mean())
