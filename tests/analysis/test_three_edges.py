import numpy as np
import pytest

from edgechaos.analysis import CONTRADICTED, MISSING, REPRODUCED, UNDECIDED
from edgechaos.analysis import three_edges as analysis

RATES, SEEDS, WINDOWS = (0.02, 0.04), 3, 14
TIME = 8.0 * np.arange(WINDOWS + 1)


def made_up(stability=1.0, exponent=1.0, noise=0.0, sign=1):
    """Runs whose J^2 grows from 0.25 to 2.35, and whose other edges are passed at a J^2 of their own."""
    rng = np.random.default_rng(0)
    grown = 1 + 0.02 * rng.standard_normal((len(RATES), SEEDS, 1))
    j_squared = 0.25 + 0.15 * grown * TIME / 8
    between = (j_squared[..., 1:] + j_squared[..., :-1]) / 2
    stable = 3 / np.array(RATES)
    shape = len(RATES), SEEDS, WINDOWS
    return {
        "learning_rate": np.array(RATES),
        "scale_factor": np.array([1.0, 2.0]),
        "stable_sharpness": stable,
        "time": TIME,
        "window_time": (TIME[1:] + TIME[:-1]) / 2,
        "window_steps": np.array([8 * 1875, 4 * 1875]),
        "j_squared": j_squared,
        "sharpness": stable[:, None, None] * (1 + sign * (j_squared - stability)),
        "exponent": 1e-3 * sign * (between - exponent) + noise * rng.standard_normal(shape),
    }


def test_passages_and_what_stands_at_the_edge():
    found = analysis.compare(made_up(stability=1.3, exponent=0.7))
    assert found.keys() == {analysis.name_at(name, rate) for rate in RATES for name in analysis.NUMBERS}
    for rate, factor in zip(RATES, (1, 2), strict=True):
        at = {name: found[analysis.name_at(name, rate)] for name in analysis.NUMBERS}
        np.testing.assert_allclose(at["sharpness_j_squared"], 1.3, atol=1e-9)
        np.testing.assert_allclose(at["exponent_j_squared"], 0.7, atol=1e-9)
        np.testing.assert_allclose(at["edge_sharpness"], 0.7, atol=1e-9)
        np.testing.assert_allclose(at["edge_exponent"], 3e-4, atol=1e-12)
        np.testing.assert_allclose(at["edge_exponent_per_epoch"], 3e-4 * 1875, atol=1e-9)
        assert (at["exponent_epoch"] < at["edge_epoch"]).all()
        np.testing.assert_allclose(at["edge_epoch"], 40, rtol=0.1)
        growth = analysis.growth_per_rescaled_epoch(made_up())[RATES.index(rate)]
        np.testing.assert_allclose(growth, made_up()["exponent"][RATES.index(rate)] * 1875 / factor)


def test_numbers_are_those_expected_where_the_edges_coincide():
    found, expected = analysis.compare(made_up()), analysis.expect(RATES, 40.0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-9 if "epoch_at" not in name else 2)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", analysis.EDGES)
def test_one_rule_tells_edges_that_coincide_from_others(name, sign):
    arrays = made_up(sign=sign)
    assert analysis.verdict(arrays, 0, name) == (REPRODUCED if sign == 1 else CONTRADICTED)
    other = made_up(stability=1.5, exponent=1.5, sign=sign)
    assert analysis.verdict(other, 0, name) == CONTRADICTED
    assert analysis.verdict(other, 0, name, 1.5) == (REPRODUCED if sign == 1 else CONTRADICTED)
    assert analysis.verdict(other, 0, name, 3.0) == MISSING


def test_noise_and_few_seeds_decide_nothing():
    assert analysis.verdict(made_up(noise=3e-3), 1, "exponent") == UNDECIDED
    one = {name: values[:, :1] if values.ndim == 3 else values for name, values in made_up().items()}
    assert analysis.verdict(one, 0, "sharpness") == UNDECIDED


def test_what_is_never_passed_has_no_place():
    arrays = made_up(stability=9.0, exponent=-9.0)
    found = analysis.compare(arrays)
    for name in ("sharpness_epoch", "sharpness_j_squared", "exponent_epoch", "exponent_j_squared"):
        assert np.isnan(found[analysis.name_at(name, 0.02)]).all()
    assert [analysis.verdict(arrays, 0, name) for name in analysis.EDGES] == [CONTRADICTED, CONTRADICTED]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-1, 1, -1, 1], 0.5),
        ([3, 1, -1, 1], 1.5),
        ([-2, -1, 0, 1], 2.0),
        ([-1, np.nan, 1, 1], np.nan),
        ([-1, 1, np.nan, np.nan], 0.5),
        ([1, 1, 2, 1], np.nan),
    ],
)
def test_first_passage(values, expected):
    assert analysis.first_passage(np.arange(4.0), np.array(values, float)) == pytest.approx(expected, nan_ok=True)


def test_a_run_that_diverges_leaves_the_others():
    arrays = made_up()
    for name in ("j_squared", "sharpness", "exponent"):
        arrays[name][0, 1, 2:] = np.nan
    found = analysis.compare(arrays)["edge_sharpness_at_0.02"]
    assert np.isnan(found).tolist() == [False, True, False]
    assert analysis.verdict(arrays, 0, "sharpness") == MISSING
    assert analysis.verdict(arrays, 1, "sharpness") == REPRODUCED


def test_rows_have_intervals_and_verdicts():
    arrays = made_up(stability=1.5)
    first, second = analysis.rows(arrays, analysis.compare(arrays))
    assert (first["learning_rate"], second["scale_factor"]) == (0.02, 2.0)
    assert first["sharpness_j_squared"]["mean"] == pytest.approx(1.5)
    edge = second["edge_epoch"]
    assert edge["low"] < edge["mean"] < edge["high"]
    assert edge["seeds"] == SEEDS
    assert (first["sharpness_verdict"], first["exponent_verdict"]) == (CONTRADICTED, REPRODUCED)
