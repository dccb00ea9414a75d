import numpy as np
import pytest
import scipy.stats

from edgechaos import analysis
from edgechaos.analysis import intervals as module


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30, 300])
def test_student_is_scipys(freedom):
    assert module.student(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-4)


def test_interval_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(3, 2, size=8)
    found = analysis.interval([*values, np.nan])
    expected = scipy.stats.t.interval(0.95, 7, values.mean(), scipy.stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-4)
    assert found.num_seeds == 8


def test_interval_holds_the_truth_19_times_out_of_20():
    draws = np.random.default_rng(1).normal(size=(2000, 3))
    half = module.student(2) * draws.std(1, ddof=1) / np.sqrt(3)
    covered = np.mean(np.abs(draws.mean(1)) <= half)
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000))
    first = analysis.interval(draws[0].tolist())
    assert first.high - first.mean == pytest.approx(half[0])


def test_one_seed_decides_nothing_without_an_error_of_its_own():
    assert analysis.verdict(analysis.interval([1.0]), (0.9, 1.1)) == analysis.UNDECIDED
    assert analysis.verdict(analysis.interval([1.0], 0.01), (0.9, 1.1)) == analysis.REPRODUCED
    assert analysis.verdict(analysis.interval([1.0], 0.06), (0.9, 1.1)) == analysis.UNDECIDED
    assert analysis.verdict(analysis.interval([2.0], 0.1), (0.9, 1.1)) == analysis.CONTRADICTED
    assert analysis.verdict(analysis.interval([np.nan]), (0.9, 1.1)) == analysis.MISSING
    assert analysis.verdict(analysis.interval([5.0, 5.1, 5.2]), (1.0, np.inf)) == analysis.REPRODUCED


@pytest.mark.parametrize("mean", [1.02, 1.3])
def test_so_many_seeds_decide(mean):
    rng = np.random.default_rng(2)
    draws = rng.normal(mean, 0.15, size=400)
    allowed = (0.9, 1.1)
    few = draws[:3]
    few = mean + 0.15 * (few - few.mean()) / few.std(ddof=1)
    number = analysis.seeds_to_decide(few.tolist(), allowed)
    assert number is not None
    for seeds, decided in ((number, True), (number - 1, False)):
        some = draws[:seeds]
        some = mean + 0.15 * (some - some.mean()) / some.std(ddof=1)
        is_undecided = analysis.verdict(analysis.interval(some.tolist()), allowed) == analysis.UNDECIDED
        assert is_undecided != decided


def test_no_number_of_seeds_decides_on_the_border():
    assert analysis.seeds_to_decide([1.0, 1.2], (0.9, 1.1)) is None
    assert analysis.seeds_to_decide([1.0], (0.9, 1.1)) is None
