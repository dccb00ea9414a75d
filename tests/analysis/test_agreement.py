import numpy as np
import pytest

from edgechaos.analysis import agreement

COLUMNS, ROWS = np.linspace(-1, 2, 13), np.arange(1, 11) / 5


def arrays(**changes):
    """A diagram whose every cell below 1/J = 1 is chaotic, as chi says, at twice the predicted distance."""
    inverse = np.repeat(ROWS[:, None], len(COLUMNS), axis=1)
    chaotic = inverse < 1.05
    made = {
        "j0_over_j": COLUMNS,
        "inverse_j": ROWS,
        "chi": 1 / inverse**2 * np.where(chaotic, 1.05, 1.0),
        "predicted": np.where(chaotic, 0.5, 0.0),
        "distance": np.where(chaotic, 10.0, 0.0)[None],
        "settled": np.ones((1, *inverse.shape), bool),
        "edge": np.ones(len(COLUMNS)),
        "cuts": np.array([0.0]),
        "cut_inverse_j": ROWS,
        "exponent": (1.1 - ROWS)[None, None],
        "predicted_exponent": (1.0 - ROWS)[None],
    }
    return {**made, **changes}


def test_perfect_agreement():
    numbers = agreement.compare(arrays(), 100, 1e-3)
    assert numbers["agreement"] == pytest.approx([1.0])
    assert numbers["median_distance_error"] == pytest.approx([1.0])  # 10 / sqrt(100) is twice 0.5
    assert numbers["median_exponent_error"] == pytest.approx([0.1])


def test_one_cell_that_disagrees():
    distance = arrays()["distance"].copy()
    distance[0, -1, 0] = 5.0  # chi = 1/4 there
    numbers = agreement.compare(arrays(distance=distance), 100, 1e-3)
    assert numbers["agreement"] == pytest.approx([1 - 1 / 130])
    away = np.abs(arrays()["chi"] - 1) > 0.1
    assert numbers["agreement_away_from_edge"] == pytest.approx([1 - 1 / away.sum()])


def test_boundary_lies_half_a_cell_beyond_the_last_chaotic_row():
    assert agreement.expect(arrays())["boundary_j_at_0"] == 1
    assert agreement.boundaries(arrays(), 1e-3)["boundary_j_at_0"] == pytest.approx([1 / 1.1])


def test_zero_of_the_exponent():
    assert agreement.expect(arrays())["zero_exponent_j_at_0"] == 1
    assert agreement.zero_exponents(arrays())["zero_exponent_j_at_0"] == pytest.approx([1 / 1.1])
    never = agreement.zero_exponents(arrays(exponent=np.full((1, 1, 10), -1.0)))
    assert np.isnan(never["zero_exponent_j_at_0"]).all()


def test_prediction_and_measurement_have_the_same_names():
    assert list(agreement.expect(arrays())) == list(agreement.compare(arrays(), 100, 1e-3))


def test_theory_of_a_grid():
    """At J0 = 0 the edge is J = 1, and below it nothing is apart."""
    found = agreement.theory_of(np.array([0.0, 0.5]), np.array([0.5, 2.0]))
    np.testing.assert_allclose(found["edge"], 1, rtol=1e-6)
    assert (found["chi"][0] > 1).all()
    np.testing.assert_allclose(found["chi"][1, 0], 0.25)
    np.testing.assert_array_equal(found["predicted"][1], 0)
    assert (found["predicted"][0] > 0).all()
    assert found["converged"].shape == (2, 2)
