import numpy as np
import pytest

from configs import fig2
from edgechaos import analysis
from edgechaos.analysis import History
from edgechaos.runs import cost
from edgechaos.runs.config import from_record, growth_of


def synthetic(weight_decay=0.0, epochs=120, slope=0.0137):
    """A history that follows Eq. 4 exactly, with least test loss at epoch 60."""
    scale, num_samples = 0.00125, 60_000
    rate = 4 * num_samples * weight_decay * scale
    j_squared = [0.25]
    for _ in range(epochs):
        j_squared.append(j_squared[-1] + slope - rate * j_squared[-1])
    trajectory = np.array([j_squared])
    loss = (0.3 + 1e-4 * (np.arange(epochs + 1) - 60.0) ** 2)[None]
    columns = {"learning_rate": 0.02, "momentum": 0.5, "batch_size": 32, "weight_decay": weight_decay, "seed": 0}
    history = {name: np.array([value]) for name, value in columns.items()}
    metrics = {"j_squared": trajectory, "test_loss": loss, "test_accuracy": 1 - loss}
    return History({**history, **metrics, "seconds": np.array([9.0])}, num_samples)


def test_numbers_of_a_line():
    measured = analysis.measure(synthetic())
    expected = {
        "slope_a": 0.0137,
        "fitted_slope": 0.0137,
        "intercept_c": 0.25,
        "constant_d": 10.96,
        "fit_epochs": 54,  # the last before J^2 = 1
        "epoch_at_edge": 0.75 / 0.0137,
        "optimal_epoch": 60,
        "j_squared_at_optimal_epoch": 0.25 + 60 * 0.0137,
        "least_test_loss": 0.3,
        "best_test_accuracy": 0.7,
        "final_test_accuracy": 0.7 - 0.36,
        "final_j_squared": 0.25 + 120 * 0.0137,
        "seconds": 9.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(measured[name], [value], rtol=1e-4, err_msg=name)


def test_growth_is_found_behind_weight_decay():
    measured = analysis.measure(synthetic(weight_decay=9e-5))
    # the discrete trajectory lags its line within the fit by less than 2 %
    np.testing.assert_allclose(measured["slope_a"], 0.0137, rtol=0.02)
    assert measured["fitted_slope"][0] < 0.8 * 0.0137


def test_fit_ends_at_the_edge():
    assert analysis.measure(synthetic(slope=0.048))["fit_epochs"] == 15


def test_numbers_that_do_not_exist_are_nan():
    measured = analysis.measure(synthetic(epochs=1))
    for name in ("slope_a", "constant_d", "epoch_at_edge"):
        assert np.isnan(measured[name]).all()
    assert np.isnan(analysis.spread(measured)["final_j_squared"])


def test_prediction_of_the_papers_run():
    predicted = analysis.predict(growth_of(from_record(fig2.get_config().to_dict()), 60_000), 0.00125, 700.0)
    assert predicted["slope_a"] == pytest.approx(0.0137)
    assert predicted["epoch_at_edge"] == pytest.approx(0.75 / 0.0137, rel=1e-5)
    assert predicted["final_j_squared"] == pytest.approx(0.25 + 501 * 0.0137, rel=1e-5)
    assert predicted.keys() == analysis.measure(synthetic()).keys()


def test_prediction_without_a_known_d_is_silent():
    config = from_record(fig2.get_config("digits").to_dict() | {"constant_d": 0.0})
    predicted = analysis.predict(growth_of(config, 1437), 0.00125, 1.0)
    assert np.isnan(predicted["slope_a"])
    assert "slope_a" not in analysis.table({"predicted": predicted})


def test_operations_of_an_epoch():
    """Forward and weight gradient of the hidden layer; forward, weight and input gradient of the output layer."""
    hidden, output = 60_000 * 784 * 784, 60_000 * 784 * 10
    assert cost.epoch_operations(60_000, 784, 10) == 2 * (2 * hidden + 3 * output)


def test_behind_by_hand():
    scores, best = np.array([0.8, 0.9]), np.array([0.9, 1.1])
    assert analysis.behind(scores, best) == pytest.approx(0.15 / np.sqrt((0.005 + 0.02) / 2))
    assert analysis.behind(best, best) == 0
    assert analysis.behind(np.ones(3), np.ones(3)) == 0
    assert analysis.behind(np.ones(3), np.full(3, 2.0)) == np.inf
