"""Assumptions on the entries of a kernel, against SciPy, numpy's SVD and corrcoef, and their own null distributions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import edgechaos as ec
from edgechaos.diagnosis import entries


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 0.1 + 0.02


def examined(matrix):
    return entries.examine(matrix, entries.moments(matrix), True)


def singular(matrix):
    squares = np.linalg.svd(matrix - matrix.mean(), compute_uv=False) ** 2
    return squares[:4] / squares.sum()


def low_rank(shape, seed=1):
    """Normal entries and, beside them, two directions of the size of all of them."""
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(shape[0], 2)), rng.normal(size=(2, shape[1]))
    return normal(shape) + 0.1 * (left * [1, 0.7]) @ right


@pytest.mark.parametrize(
    "draw", [lambda rng: rng.normal(size=(90, 70)), lambda rng: rng.laplace(size=5000), lambda rng: rng.uniform(size=9)]
)
def test_moments_are_those_of_scipy(draw):
    values = draw(np.random.default_rng(0))
    found = entries.moments(values)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.variance == pytest.approx(values.var(), rel=1e-12)
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, axis=None), rel=1e-9)
    assert np.isnan(entries.moments(np.ones(5)).kurtosis)


@pytest.mark.parametrize("pieces", ["whole", "mapped"])
@pytest.mark.parametrize("shape", [(200, 80), (80, 200), (120, 120), (3, 50), (2, 2)])
def test_singular_values_and_symmetry_are_those_of_numpy(monkeypatch, shape, pieces):
    """Also in pieces of a few rows, as for a kernel that is too large to be kept."""
    if pieces == "mapped":
        monkeypatch.setattr(entries, "_PIECE", 7 * shape[1])
        monkeypatch.setattr(entries, "_WHOLE", 0)
    matrix = low_rank(shape)
    for one in (matrix, np.asfortranarray(matrix), matrix.astype(np.float32)):
        found = examined(one)
        np.testing.assert_allclose(found.norm_shares[:2], singular(matrix)[:2], rtol=2e-3)  # what stands out
        assert len(found.norm_shares) == min(4, *shape)
        np.testing.assert_array_less(found.norm_shares, singular(matrix) + 1e-5)  # bounds from below
        np.testing.assert_allclose(found.norm_shares, singular(matrix), rtol=0.05)
        if shape[0] == shape[1]:
            apart = ~np.eye(len(matrix), dtype=bool)
            expected = np.corrcoef(matrix[apart], matrix.T[apart])[0, 1] if len(matrix) > 2 else found.symmetry
            assert found.symmetry == pytest.approx(expected, abs=1e-5)
        else:
            assert np.isnan(found.symmetry)


def test_symmetric_and_antisymmetric_kernels():
    matrix = normal((60, 60)) - 0.02
    assert examined(matrix + matrix.T).symmetry == pytest.approx(1, abs=1e-5)
    assert examined(matrix - matrix.T).symmetry == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize("shape", [(20, 20), (100, 100), (300, 40), (12, 500)])
def test_independent_entries_hardly_ever_fail(shape):
    """Normal, uniform and truncated entries, as the usual initialisers draw them: none of 300 has a caveat."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        for values in (rng.normal(size=shape), rng.uniform(-1, 1, shape), np.clip(rng.normal(size=shape), -2, 2)):
            assert entries.caveats(examined(values), *shape) == ()


def test_largest_share_is_the_law_of_johnstone():
    """Its center and width, by 200 draws of 100 x 40: mean mu - 1.2 sigma, standard deviation 1.27 sigma."""
    shape = (100, 40)
    drawn = np.array([np.linalg.norm(np.random.default_rng(i).normal(size=shape), 2) ** 2 for i in range(200)])
    root_n, root_m = 99**0.5, 40**0.5
    scaled = (drawn - (root_n + root_m) ** 2) / ((root_n + root_m) * (1 / root_n + 1 / root_m) ** (1 / 3))
    assert scaled.mean() == pytest.approx(-1.2065, abs=3 * 1.27 / 200**0.5)
    assert scaled.std() == pytest.approx(1.2680, rel=0.2)
    limit = entries.largest_share(*shape) * 100 * 40
    assert (limit - (root_n + root_m) ** 2) * scaled[0] == pytest.approx(7 * (drawn[0] - (root_n + root_m) ** 2))
    assert entries.largest_share(1, 1) == 1


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.random.default_rng(0).standard_t(5, size=(200, 200)), "heavy tails, excess kurtosis"),
        (low_rank((200, 100)), "% of the norm in one singular value, 3.4% if independent"),
        (normal((200, 200)) + 0.5 * normal((200, 200)).T, "W_ij and W_ji correlate by 0.80"),
    ],
)
def test_each_clear_failure_is_a_caveat_of_the_row(matrix, said):
    report = ec.phase_report({"w": matrix})
    (row,) = report.rows
    assert any(said in caveat for caveat in row.caveats)
    assert said in str(report)
    assert row.state  # it is judged all the same


def test_numbers_are_in_the_dictionary():
    stack = np.stack([normal((30, 30)), low_rank((30, 30))])
    first, second, other = ec.phase_report({"experts": {"w": stack}, "v": normal((30, 20))}).to_dict()["rows"]
    assert first["kurtosis"] == pytest.approx(stats.kurtosis(stack[0], axis=None), rel=1e-9)
    np.testing.assert_allclose(second["norm_shares"][:2], singular(stack[1])[:2], rtol=2e-3)
    assert first["caveats"] == []
    assert second["caveats"]
    assert isinstance(first["symmetry"], float)
    assert other["symmetry"] is None


def test_low_precision_and_large_and_small_entries_are_standardised():
    exact = examined(low_rank((64, 64)))
    for matrix in (
        jnp.asarray(low_rank((64, 64)), jnp.bfloat16),
        1e60 * low_rank((64, 64)),
        1e-60 * low_rank((64, 64)),
    ):
        found = examined(np.asarray(matrix))
        np.testing.assert_allclose(found.norm_shares, exact.norm_shares, rtol=0.01)
        assert found.symmetry == pytest.approx(exact.symmetry, abs=0.01)
