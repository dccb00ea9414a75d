import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from edgechaos.training import calibration
from edgechaos.training.calibration import LARGEST, LEAST, calibrate, fit_inverse_temperature


def problem(scale, num_samples=3000, num_classes=10, share_right=0.6, seed=0):
    """Logits of a given size whose largest is right for a share of the samples, and at random elsewhere."""
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(num_samples, num_classes))).astype(np.float32)
    right = rng.uniform(size=num_samples) < share_right
    return logits, np.where(right, logits.argmax(1), rng.integers(num_classes, size=num_samples)).astype(np.int32)


def loss(inverse, logits, labels):
    """Mean cross-entropy in float64."""
    scaled = inverse * logits.astype(np.float64)
    return (special.logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]).mean()


def by_scipy(logits, labels):
    found = optimize.minimize_scalar(
        lambda logarithm: loss(np.exp(logarithm), logits, labels),
        bounds=np.log([LEAST, LARGEST]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return np.exp(found.x)


@pytest.mark.parametrize("num_classes", [2, 10])
@pytest.mark.parametrize("share_right", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("scale", [0.01, 0.3, 1, 4, 30])
def test_fit_is_that_of_scipy(scale, share_right, num_classes):
    if num_classes == 2 and share_right == 0.3:
        share_right = 0.4  # right in 7 of 10
    logits, labels = problem(scale, num_classes=num_classes, share_right=share_right)
    fitted = float(fit_inverse_temperature(jnp.asarray(logits), jnp.asarray(labels)))
    assert fitted == pytest.approx(by_scipy(logits, labels), rel=1e-5)


def test_loss_is_judged_on_the_half_that_was_not_fitted():
    logits, labels = problem(3, num_samples=41)
    even, odd = (logits[::2], labels[::2]), (logits[1::2], labels[1::2])
    found = calibrate(logits, labels)
    crossed = (loss(by_scipy(*even), *odd) + loss(by_scipy(*odd), *even)) / 2
    own = (loss(by_scipy(*even), *even) + loss(by_scipy(*odd), *odd)) / 2
    assert float(found.loss) == pytest.approx(crossed, rel=1e-5)
    assert abs(crossed - own) > 1e-3  # else this would not tell the two apart
    assert float(found.inverse_temperature) == pytest.approx((by_scipy(*even) + by_scipy(*odd)) / 2, rel=1e-5)
    assert float(found.logit_rms) == pytest.approx(np.sqrt((logits.astype(float) ** 2).mean()), rel=1e-5)


def test_a_factor_of_the_logits_changes_nothing_but_the_temperature():
    logits, labels = problem(1)
    one, other = calibrate(logits, labels), calibrate(7 * logits, labels)
    assert float(one.loss) == pytest.approx(float(other.loss), rel=1e-5)
    assert float(one.inverse_temperature) == pytest.approx(7 * float(other.inverse_temperature), rel=1e-5)


IDENTITY = np.eye(3, dtype=np.float32)
SURE = np.array([[np.inf, 0], [0, np.inf], [np.inf, 0], [0, np.inf]], np.float32)


@pytest.mark.parametrize(
    ("logits", "labels", "inverse", "expected"),
    [
        (5 * IDENTITY, [0, 1, 2], LARGEST, 0),  # perfectly separated
        (1e4 * IDENTITY, [0, 1, 2], LARGEST, 0),
        (1e-30 * IDENTITY, [0, 1, 2], LARGEST, np.log(3)),
        (-5 * IDENTITY, [0, 1, 2], LEAST, np.log(3)),  # always wrong
        (0 * IDENTITY, [0, 1, 2], 1, np.log(3)),  # constant: all temperatures are as good
        (IDENTITY[:1].repeat(4, 0), [1, 2, 1, 2], LEAST, np.log(3)),  # the same for all, and never right
        (SURE, [0, 1, 0, 1], 1, 0),  # infinite, and right
        (SURE, [1, 0, 1, 0], LEAST, LEAST * 1e30),  # infinite, and wrong
        (-SURE, [0, 1, 0, 1], LEAST, LEAST * 1e30),
        (np.full((2, 2), np.inf, np.float32), [0, 1], 1, np.log(2)),
        (IDENTITY[:1], [0], LARGEST, 0),  # one sample, which is both halves
    ],
)
def test_where_there_is_no_finite_optimum_it_is_the_boundary_and_a_number(logits, labels, inverse, expected):
    found = calibrate(logits, np.array(labels, np.int32))
    assert float(found.inverse_temperature) == pytest.approx(inverse)
    # a thousandth of a logit is what the least inverse temperature leaves
    assert float(found.loss) == pytest.approx(expected, rel=1e-2, abs=1e-6)
    assert np.isfinite(found.logit_rms)


def test_boundaries_are_exact():
    separated = calibrate(5 * IDENTITY, np.arange(3, dtype=np.int32))
    wrong = calibrate(-5 * IDENTITY, np.arange(3, dtype=np.int32))
    np.testing.assert_array_equal(
        [separated.inverse_temperature, wrong.inverse_temperature], np.array([LARGEST, LEAST], np.float32)
    )


def test_logits_that_are_no_numbers_stay_so():
    assert np.isnan(calibrate(np.full((4, 2), np.nan, np.float32), np.zeros(4, np.int32)).loss)


def test_one_after_the_other_is_all_at_once():
    """Under vmap the members take different numbers of steps."""
    problems = [problem(scale, num_samples=200, seed=seed) for seed, scale in enumerate((0.01, 1, 100))]
    logits, labels = (np.stack(values) for values in zip(*problems, strict=True))
    together = jax.vmap(calibration.calibrate)(jnp.asarray(logits), jnp.asarray(labels))
    alone = [calibrate(*one) for one in problems]
    np.testing.assert_allclose(together.loss, [one.loss for one in alone], rtol=1e-5)
    np.testing.assert_allclose(together.inverse_temperature, [one.inverse_temperature for one in alone], rtol=1e-5)
