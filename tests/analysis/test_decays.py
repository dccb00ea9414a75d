import numpy as np
import pytest

from edgechaos import analysis
from edgechaos.analysis import History, decays


def test_weight_decay_at_the_edge_is_interpolated_in_the_logarithms():
    """J^2 = (lambda* / lambda)^(1/2), with two lambda*."""
    decay = np.array([0.0, 1e-5, 1e-4, 1e-3])
    stars = np.array([8e-5, 9e-5])
    j_squared = np.concatenate([np.full((1, 2), 4.0), np.sqrt(stars / decay[1:, None])])
    np.testing.assert_allclose(analysis.weight_decay_that_ends_at(1.0, decay, j_squared), stars)
    assert np.isnan(analysis.weight_decay_that_ends_at(100.0, decay, j_squared)).all()


def test_best_score_and_those_within_its_error():
    values = np.array([0.0, 1.0, 2.0, 3.0])
    noise = np.array([-0.01, 0.0, 0.01])
    scores = np.array([0.5, 0.895, 0.9, 0.85])[:, None] + noise
    # standard error of a difference: 0.01 sqrt(2 / 3) = 0.008
    assert analysis.best_of(values, scores) == (2.0, 1.0, 2.0)
    assert analysis.best_of(values, scores[:, 1:2]) == (2.0, 2.0, 2.0)


def test_closed_form_solves_the_balance_of_appendix_c():
    columns = {"learning_rate": 0.02, "momentum": 0.5, "batch_size": 32, "weight_decay": 9e-5}
    arrays = {name: np.array([value]) for name, value in columns.items()} | {"j_squared": np.full((1, 2001), 0.25)}
    trajectory = analysis.closed_form(History(arrays, 60_000), 0, 10.96)
    assert trajectory[0] == pytest.approx(0.25)
    assert trajectory[-1] == pytest.approx(10.96 / (4 * 60_000 * 9e-5), rel=1e-4)
    slope = trajectory[1] - trajectory[0]
    assert slope == pytest.approx(10.96 * 0.00125 - 4 * 60_000 * 9e-5 * 0.00125 * 0.25, rel=0.02)


def test_three_accuracies_of_a_run():
    """Each seed's own: mean of the last twentieth (2 of 40 entries), last entry, largest entry."""
    accuracy = np.full((4, 40), 0.5)
    accuracy[0, -2:] = 0.6, 0.8
    accuracy[1, 3] = 0.95
    accuracy[2, -1] = 0.7
    accuracy[3] = np.nan  # diverged
    history = {
        "weight_decay": np.array([0.0, 0.0, 1e-4, 1e-4]),
        "seed": np.array([0, 1, 0, 1]),
        "epochs": np.full(4, 39),
        "test_accuracy": accuracy,
        **dict.fromkeys(("j_squared", "test_loss", "calibrated_test_loss"), np.ones((4, 40))),
    }
    decay, values = decays.ends(History(history, 60_000))
    np.testing.assert_array_equal(decay, [0, 1e-4])
    np.testing.assert_allclose(values["accuracy"], [[0.7, 0.5], [0.6, np.nan]])
    np.testing.assert_allclose(values["last_accuracy"], [[0.8, 0.5], [0.7, np.nan]])
    np.testing.assert_allclose(values["largest_accuracy"], [[0.8, 0.95], [0.7, np.nan]])
    rows = decays.rows(History(history, 60_000))
    assert rows[0]["last_accuracy_deviation"] == pytest.approx(0.3 / 2**0.5)


def test_the_largest_of_noisy_numbers_is_biased():
    """Runs that all have an accuracy of 0.5 and noise of 0.01: the largest of 200 lies 2.7 deviations above it."""
    noise = 0.5 + 0.01 * np.random.default_rng(0).normal(size=(50, 200))
    history = History({"epochs": np.full(50, 199), "seed": np.arange(50), "a": noise}, 1)
    assert history.last("a").mean() == pytest.approx(0.5, abs=0.005)
    assert history.largest("a").mean() == pytest.approx(0.5275, abs=0.002)


def test_members_are_split_by_setting_in_the_order_of_the_sweep():
    """What Eq. 9 is checked with: the decay that ends at 1 is found in each setting by itself."""
    ends = {0.2: 8e-5, 0.1: 9e-5}
    rows = [(eta, decay, seed) for eta in ends for decay in (5e-5, 2e-4) for seed in (0, 1)]
    eta, decay, seed = (np.array(column) for column in zip(*rows, strict=True))
    j_squared = np.sqrt(np.array([ends[one] for one in eta]) / decay)[:, None] * np.ones(3)
    arrays = {"learning_rate": eta, "weight_decay": decay, "seed": seed, "epochs": np.full(8, 2)}
    history = History({**arrays, "j_squared": j_squared}, 60_000)
    found = {
        setting: analysis.weight_decay_that_ends_at(1.0, some.column("weight_decay"), some.final("j_squared"))
        for setting, some in history.split_by("learning_rate")
    }
    assert list(found) == [(0.2,), (0.1,)]
    for (one,), values in found.items():
        np.testing.assert_allclose(values, ends[one])


def test_runs_that_differ_in_one_field_alone():
    columns = {"a": np.array([1, 2, 3, 1, 1]), "b": np.array([5, 5, 5, 6, 5]), "c": np.array([7, 7, 7, 7, 8])}
    history = History({**columns, "seed": np.zeros(5, int)}, 1)
    np.testing.assert_array_equal(history.varied("a", "abc"), [0, 1, 2])
    np.testing.assert_array_equal(history.varied("b", "abc"), [0, 3])


def test_what_a_hold_took_at_the_end():
    """delta is 1e-6 a step in the first half of the epochs, 3e-6 in the second; lambda = delta (1 - alpha) / 2 eta."""
    clock = np.concatenate([[0.0], np.cumsum(np.repeat([1e-6, 3e-6], 8) * 4)])[None]
    columns = {"learning_rate": 0.02, "momentum": 0.5, "batch_size": 16}
    arrays = {name: np.array([value]) for name, value in columns.items()}
    history = History({**arrays, "clock": clock, "j_squared": clock}, 60)  # ceil(60 / 16) = 4 steps
    assert decays.held_at_end(history, 0) == pytest.approx(3e-6 * 0.5 / 0.04)


def test_best_decay_and_the_accuracy_with_it():
    found = decays.best(np.array([0.0, 1e-4, 1e-3]), np.array([[0.8, 0.82], [0.9, 0.92], [0.7, 0.72]]))
    assert found["best_weight_decay"][0] == 1e-4
    np.testing.assert_array_equal(found["best_accuracy"], [0.9, 0.92])
    np.testing.assert_array_equal(found["accuracy_without_decay"], [0.8, 0.82])


@pytest.mark.parametrize(
    ("weight_decay", "ends", "drawn"),
    [
        ([0.0, 1e-5, 9e-5, 5e-4, 1e-3], [4.0, 3.0, 1.1, 0.3, 0.1], [0, 2, 3]),
        ([9e-5], [1.1], [0]),
        ([0, 1], [4, 1], [0, 1]),
    ],
)
def test_runs_that_are_drawn(weight_decay, ends, drawn):
    """Without decay, nearest to the edge, and the second largest decay; each once, however few there are."""
    columns = {"weight_decay": np.array(weight_decay, float), "seed": np.zeros(len(ends), int)}
    j_squared = np.repeat(np.array(ends, float)[:, None], 41, axis=1)
    history = History({**columns, "j_squared": j_squared, "epochs": np.full(len(ends), 40)}, 60_000)
    assert decays.three_runs(history) == drawn
