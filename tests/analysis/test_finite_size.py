import numpy as np
import pytest

from edgechaos.analysis import finite_size as analysis
from edgechaos.analysis.surrogates import crossing, reach

SIZES, SCALED = np.array([64, 256, 1024]), np.linspace(-3, 12, 31)


def draws(edge):
    """Exponents (J - 1)^2 less that at J_c, (J_c - 1) sqrt(N) about `edge` of each size."""
    edges = np.reshape(edge, (3, 1, 1)) + 0.5 * np.random.default_rng(0).standard_normal((3, 20, 1))
    exponent = (np.sign(SCALED) * SCALED**2 - edges**2) / SIZES[:, None, None] / 2
    mean_field = np.maximum(SCALED, 0) ** 2 / SIZES[:, None] / 2
    arrays = {"size": SIZES, "scaled_j": SCALED, "exponent": exponent, "standard_error": 0 * exponent}
    arrays |= {"early_distance": np.exp(exponent), "distance": np.maximum(exponent, 0)}
    return arrays | {"predicted_exponent": mean_field, "predicted_distance": mean_field}


@pytest.fixture
def made():
    """Draws of the law 1 + 4 / sqrt(N)."""
    return draws([4, 4, 4])


def test_boundary_approach_and_collapse_are_found(made):
    found = {name: values[0] for name, values in analysis.compare(made, np.full(3, 10**6), 4.0).items()}
    for size in SIZES:
        error = found[f"critical_j_error_at_{size}"]
        assert abs(found[f"critical_j_at_{size}"] - 1 - 4 / size**0.5) < 4 * error
        assert error == pytest.approx(0.5 / 20**0.5 / size**0.5, rel=0.5)
    assert abs(found["approach_exponent"] - 0.5) < 4 * found["approach_exponent_error"] < 0.2
    assert abs(found["approach"] - 4) < 4 * found["approach_error"]
    assert found["excess"] == pytest.approx(1, abs=0.03)
    assert found["collapse_range"] < 0.6


def test_another_law_is_told():
    """Edges that approach 1 as 1 / N: the exponent is not 1/2, and the shares do not collapse."""
    found = {name: values[0] for name, values in analysis.compare(draws([8, 4, 2]), np.full(3, 10**6), 4.0).items()}
    assert abs(found["approach_exponent"] - 1) < 4 * found["approach_exponent_error"] < 0.4
    assert found["collapse_range"] > 0.9


def test_draws_that_a_size_does_not_have_do_not_count(made):
    whole = analysis.compare(made, np.full(3, 10**6), 4.0)
    padded = {
        name: np.concatenate([values, np.full_like(values, np.nan)], axis=1) if values.ndim == 3 else values
        for name, values in made.items()
    }
    for name, value in analysis.compare(padded, np.full(3, 10**6), 4.0).items():
        np.testing.assert_allclose(value, whole[name], err_msg=name)


def test_boundary_of_what_comes_and_goes():
    holds = np.array([[False, True, False, True, True]])
    assert analysis.boundary(holds, np.arange(5.0))[0] == 1.5


def test_crossing_and_reach_of_theories():
    j = np.sqrt([[0.8], [1.0], [1.2], [1.4]])
    chaos = np.array([0.0, 0.0, 0.0, 1.0]).reshape(4, 1, 1, 1)
    arrays = {"surrogate": np.array(["trained"]), "j": j, "radius": j**2 + 0.1, "share_chaos": chaos}
    found = crossing(arrays)
    np.testing.assert_allclose([found["j_squared_unstable"][0], found["j_squared_chaotic"][0]], [0.9, 1.3])
    exponent, error = np.array([[-0.1], [0.0], [0.1], [0.2]]), np.array([[0.0], [0.0], [0.02], [0.0]])
    theories = {"plain": [9, 9, 0.13, 0.3], "norms": [9, 9, 0.11, 0.3], "effective": [9, 9, 0.119, 0.209]}
    arrays |= {f"theory_{name}": np.array(values)[:, None] for name, values in theories.items()}
    reached = reach(arrays, exponent, error)
    assert [float(reached[f"within_{name}"][0]) for name in theories] == [0.0, 0.5, 1.0]
