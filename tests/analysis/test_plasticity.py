import numpy as np
import pytest

from edgechaos import analysis
from edgechaos.analysis import plasticity

WAYS = ("no_decay", "decay_0.001", "decay_0.1", "shrink_and_perturb", "hold_at_edge")
SEEDS = np.array([-0.002, 0.0, 0.002])


def made_up(no_decay=-0.1, hold=0.0, noise=SEEDS, tasks=20):
    """Accuracy that goes from 0.8 in a straight line by the given change from the first five to the last five tasks."""
    changes = {"no_decay": no_decay, "decay_0.001": -0.03, "decay_0.1": -0.3, "shrink_and_perturb": 0.01}
    changes["hold_at_edge"] = hold
    clock = (np.arange(tasks) - 2) / (tasks - 5)
    accuracy = np.array([[0.8 + (changes[way] + seed) * clock for seed in noise] for way in WAYS])
    arrays = {"kind": np.array(["permuted"]), "way": np.array(WAYS), "accuracy": accuracy[None]}
    for number, name in enumerate(("loss", "j_squared", "saturated", "stuck")):
        arrays[name] = np.broadcast_to(number + np.arange(tasks) / tasks, accuracy[None].shape)
    return arrays


def verdicts(arrays):
    return {row["way"]: row["verdict"] for row in plasticity.rows(arrays) if row["claim"]}


def test_changes_are_those_put_in():
    found = plasticity.compare(made_up())
    np.testing.assert_allclose(found["change_at_permuted_no_decay"], -0.1 + SEEDS, atol=1e-9)
    np.testing.assert_allclose(found["change_at_permuted_hold_at_edge"], SEEDS, atol=1e-9)
    np.testing.assert_allclose(found["first_at_permuted_no_decay"], 0.8, atol=1e-9)
    # Student's 4.303 for two degrees of freedom
    half = 4.303 * 0.002 / 3**0.5
    np.testing.assert_allclose(found["change_low_at_permuted_no_decay"], -0.1 - half, rtol=1e-4)
    np.testing.assert_allclose(found["change_high_at_permuted_no_decay"], -0.1 + half, rtol=1e-4)
    np.testing.assert_allclose(found["j_squared_at_permuted_hold_at_edge"], 1 + 19 / 20)
    np.testing.assert_allclose(found["stuck_at_permuted_hold_at_edge"], 3 + 19 / 20)


def test_all_numbers_are_predicted_or_left_open_and_have_a_meaning():
    expected, found = plasticity.expect(("permuted",), WAYS), plasticity.compare(made_up())
    assert expected.keys() == found.keys()
    assert {name.partition("_at_")[0] for name in expected} == plasticity.NUMBERS.keys()
    known = {name: value for name, value in expected.items() if np.isfinite(value)}
    assert known == {
        "change_high_at_permuted_no_decay": -0.01,
        "change_low_at_permuted_hold_at_edge": -0.01,
        "j_squared_at_permuted_hold_at_edge": 1,
        "lead_at_permuted_no_decay": 2,
        "lead_at_permuted_best_decay": -1,
    }


@pytest.mark.parametrize(
    ("no_decay", "hold", "expected"),
    [
        (-0.1, 0.0, (analysis.REPRODUCED, analysis.REPRODUCED)),
        (0.0, 0.0, (analysis.CONTRADICTED, analysis.REPRODUCED)),  # nothing is lost that could be kept
        (0.1, 0.1, (analysis.CONTRADICTED, analysis.REPRODUCED)),
        (-0.1, -0.1, (analysis.REPRODUCED, analysis.CONTRADICTED)),  # the hold loses as much
        (-0.012, -0.008, (analysis.UNDECIDED, analysis.UNDECIDED)),
    ],
)
def test_verdict_on_the_claim_and_on_its_alternatives(no_decay, hold, expected):
    assert verdicts(made_up(no_decay, hold)) == dict(zip(("no_decay", "hold_at_edge"), expected, strict=True))


def test_one_seed_decides_nothing():
    assert set(verdicts(made_up(-0.5, 0.5, noise=SEEDS[:1])).values()) == {analysis.UNDECIDED}
    found = plasticity.compare(made_up(noise=SEEDS[:1]))
    assert np.isnan(found["lead_at_permuted_no_decay"])


def test_leads_are_in_standard_errors_of_the_difference():
    """The best of the two fixed decays loses 0.03; both means have an error of 0.002 / sqrt(3) at the end."""
    found = plasticity.compare(made_up())
    error = 0.002 * (2 / 3) ** 0.5
    np.testing.assert_allclose(found["lead_at_permuted_no_decay"], 0.1 / error, rtol=1e-6)
    np.testing.assert_allclose(found["lead_at_permuted_best_decay"], 0.03 / error, rtol=1e-6)
    behind = plasticity.compare(made_up(no_decay=0.1))
    np.testing.assert_allclose(behind["lead_at_permuted_no_decay"], -0.1 / error, rtol=1e-6)


def test_what_diverged_is_not_measured_and_no_best_decay():
    arrays = made_up()
    arrays["accuracy"][0, [0, 1], 0, -1] = np.nan  # a seed without decay and one of the better decay
    found = plasticity.compare(arrays)
    assert np.isnan(found["lead_at_permuted_no_decay"])
    error = 0.002 * (2 / 3) ** 0.5
    np.testing.assert_allclose(found["lead_at_permuted_best_decay"], 0.3 / error, rtol=1e-6)
    arrays["accuracy"][0, 0] = np.nan
    assert verdicts(arrays)["no_decay"] == analysis.MISSING


def test_without_positive_decays_there_is_no_best():
    arrays = made_up()
    chosen = [0, 4]
    few = {name: values[:, chosen] for name, values in arrays.items() if values.ndim > 1}
    few |= {"kind": arrays["kind"], "way": arrays["way"][chosen]}
    found = plasticity.compare(few)
    assert np.isnan(found["lead_at_permuted_best_decay"])
    assert np.isfinite(found["lead_at_permuted_no_decay"])


def test_rows_have_both_ends():
    row = plasticity.rows(made_up())[0]
    assert (row["kind"], row["way"], row["claim"]) == ("permuted", "no_decay", "falls")
    assert row["first"] == pytest.approx(0.8)
    assert row["last"] == pytest.approx(0.7)
    assert row["change"] == pytest.approx(-0.1)
    assert row["loss"] == pytest.approx(0.95)
