import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.integrate import solve_ivp
from scipy.stats import linregress

import edgechaos as ec
from edgechaos import analysis
from edgechaos.runs.config import TrainingConfig, growth_of
from edgechaos.theory import scaling


def test_fit_slope_is_least_squares():
    rng = np.random.default_rng(0)
    j_squared = 0.25 + 0.014 * np.arange(80) + 0.01 * rng.normal(size=80)
    reference = linregress(np.arange(51), j_squared[:51])
    with jax.enable_x64(True):
        fit = ec.fit_slope(jnp.asarray(j_squared), 50)
    np.testing.assert_allclose(fit.slope, reference.slope, rtol=1e-12)
    np.testing.assert_allclose(fit.intercept, reference.intercept, rtol=1e-12)
    np.testing.assert_allclose(fit.standard_error, reference.stderr, rtol=1e-10)


def test_fit_slope_covers_the_truth_as_often_as_it_claims():
    keys = jax.random.split(jax.random.key(0), 2000)
    trajectories = 0.5 * jnp.arange(21)[None] + jax.vmap(lambda key: jax.random.normal(key, (21,)))(keys)
    fits = jax.vmap(lambda trajectory: ec.fit_slope(trajectory, 20))(trajectories)
    inside = jnp.abs(fits.slope - 0.5) < fits.standard_error
    # Student's t with 19 degrees of freedom covers 0.670 within one standard error; 4 binomial errors of 2000
    assert abs(inside.mean() - 0.670) < 4 * np.sqrt(0.67 * 0.33 / 2000)


@pytest.mark.parametrize("num_epochs", [1, 5, 9])
def test_fit_slope_refuses_a_range_it_does_not_have(num_epochs):
    with pytest.raises(ValueError, match=rf"num_epochs = {num_epochs}: must be in \[2, 4\]"):
        ec.fit_slope(jnp.zeros(5), num_epochs)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.027, 0.3])
def test_course_solves_its_differential_equation(rate):
    slope, initial, epochs = 0.0137, 0.25, np.array([0.0, 1.0, 50.0, 500.0])
    solution = solve_ivp(lambda _, y: slope - rate * y, (0, 500), [initial], t_eval=epochs, rtol=1e-10, atol=1e-12)
    with jax.enable_x64(True):
        trajectory = ec.j_squared_after(jnp.asarray(epochs), initial, slope, rate)
    np.testing.assert_allclose(trajectory, solution.y[0], rtol=1e-7)


@pytest.mark.parametrize("rate", [0.0, 1e-12, 1e-9, 1e-7, 0.005])
def test_epochs_to_inverts_the_course(rate):
    target = 1.1
    epochs = ec.epochs_to(target, 0.25, 0.0137, rate)
    np.testing.assert_allclose(ec.j_squared_after(epochs, 0.25, 0.0137, rate), target, rtol=1e-5)


def test_epochs_to_takes_arrays_that_broadcast():
    targets, rates = np.array([[0.5], [1.0], [0.1]]), np.array([0.0, 0.005, 0.02])
    found = np.asarray(ec.epochs_to(targets, 0.25, 0.0137, rates))
    assert found.shape == (3, 3)
    for row, target in enumerate(targets[:, 0]):
        for column, rate in enumerate(rates):
            np.testing.assert_allclose(found[row, column], ec.epochs_to(target, 0.25, 0.0137, rate), rtol=1e-6)
    np.testing.assert_array_equal(np.isinf(found), [[False, False, False], [False, False, True], [True, True, True]])


def test_epochs_to_an_unreachable_target_is_infinite():
    assert ec.epochs_to(1.0, 0.25, 0.0137, 0.02) == jnp.inf  # relaxes to 0.685
    assert ec.epochs_to(1.0, 0.25, 0.0, 0.0) == jnp.inf


def test_equation_9_from_the_recorded_slopes():
    """The paper prints 0.00005; its recorded eta sweep gives D = 10.96."""
    assert float(ec.weight_decay_at_edge(10.96, 60_000)) == pytest.approx(0.00005, rel=0.1)


def test_decay_at_edge_holds_the_course_at_the_edge():
    constant_d, num_samples = 10.96, 60_000
    scale = ec.scale_factor(0.02, 0.5, 32)
    rate = ec.relaxation_rate(scale, num_samples, ec.weight_decay_at_edge(constant_d, num_samples, j_squared=1.5))
    np.testing.assert_allclose(ec.j_squared_after(1e6, 0.25, constant_d * scale, rate), 1.5, rtol=1e-5)


def test_verdict_finds_the_member_that_does_not_follow():
    scale = jnp.array([1e-4, 2e-4, 5e-4, 1e-3, 2e-3])
    factors = np.array([1.0, 1.02, 0.99, 1.0, 1.5])
    verdict = ec.scaling_verdict(11 * scale * factors, scale)
    np.testing.assert_array_equal(verdict.follows, [True, True, True, True, False])
    np.testing.assert_allclose(verdict.constant_d, 11, rtol=1e-6)
    np.testing.assert_allclose(verdict.deviation, factors - 1, atol=1e-6)


def test_verdict_leaves_out_what_was_not_measured():
    verdict = ec.scaling_verdict(jnp.array([0.1, jnp.nan, 0.3]), jnp.array([0.01, 0.02, 0.03]))
    np.testing.assert_allclose(verdict.constant_d, 10, rtol=1e-6)
    np.testing.assert_array_equal(verdict.follows, [True, False, True])


def test_error_of_d_covers_the_truth():
    """D by the median of 29 slopes with 3 % noise, 2,000 times: about 68 % within one standard error."""
    scale = jnp.logspace(-5, -2, 29)
    noise = 1 + 0.03 * jax.random.normal(jax.random.key(0), (2000, 29))
    verdicts = jax.vmap(lambda factors: ec.scaling_verdict(11 * scale * factors, scale))(noise)
    inside = jnp.abs(verdicts.constant_d - 11) < verdicts.standard_error
    assert 0.6 < float(inside.mean()) < 0.76


@pytest.mark.parametrize("schedule", scaling.SCHEDULES)
def test_clock_of_a_schedule_is_the_integral_of_its_factor(schedule):
    for epochs in (0.0, 3.0, 17.5, 40.0):
        area, _ = integrate.quad(lambda e: float(scaling.schedule_factor(schedule, e / 40)), 0, epochs)
        assert scaling.elapsed_epochs(schedule, epochs, 40) == pytest.approx(area, abs=1e-5)
        if epochs < 40:
            assert scaling.epochs_until(schedule, area, 40) == pytest.approx(epochs, abs=1e-4)


def test_a_clock_that_stops_never_gets_there():
    assert scaling.epochs_until("cosine", 20.1, 40) == np.inf
    assert scaling.epochs_until("linear", np.inf, 40) == np.inf
    assert scaling.epochs_until("constant", 100.0, 40) == 100.0


@pytest.mark.parametrize("schedule", scaling.SCHEDULES)
def test_prediction_and_measurement_under_a_schedule(schedule):
    """dJ^2/de = f(e) (A - r J^2) step by step, against the closed form; and A measured back from it."""
    config = TrainingConfig(schedule=schedule, epochs=60, weight_decay=2e-5)
    scale, num_samples = 0.00125, 60_000
    slope, rate = 10.96 * scale, 4 * num_samples * 2e-5 * scale
    j_squared, trajectory = 0.25, [0.25]
    for step in range(60 * 200):
        factor = float({"constant": 1, "linear": 1 - (step + 0.5) / 12_000}.get(schedule, 0))
        if schedule == "cosine":
            factor = (1 + np.cos(np.pi * (step + 0.5) / 12_000)) / 2
        j_squared += factor * (slope - rate * j_squared) / 200
        if step % 200 == 199:
            trajectory.append(j_squared)
    np.testing.assert_allclose(growth_of(config, num_samples).trajectory(), trajectory, rtol=1e-4)
    columns = {
        name: np.array([getattr(config, name)]) for name in ("learning_rate", "momentum", "batch_size", "schedule")
    }
    columns |= {"weight_decay": np.array([0.0]), "epochs": np.array([60]), "seed": np.array([0])}
    line = 0.25 + slope * scaling.elapsed_epochs(schedule, np.arange(61.0), 60)
    others = dict.fromkeys(("j_squared", "test_loss", "test_accuracy"), line[None])
    history = analysis.History({**columns, **others, "seconds": np.array([1.0])}, num_samples)
    measured = analysis.measure(history)
    assert measured["slope_a"][0] == pytest.approx(slope, rel=1e-6)
    assert measured["constant_d"][0] == pytest.approx(10.96, rel=1e-6)
    free = dataclasses.replace(config, weight_decay=0.0)
    predicted = analysis.predict(growth_of(free, num_samples), scale, 1.0)
    if schedule == "constant":
        assert predicted["epoch_at_edge"] == pytest.approx(measured["epoch_at_edge"][0], rel=1e-3)
    else:  # half the learning rate on the mean
        assert np.isinf(predicted["epoch_at_edge"])
        assert np.isnan(measured["epoch_at_edge"][0])


def test_no_prediction_for_another_loss():
    assert np.isnan(growth_of(TrainingConfig(loss="squared_error"), 60_000).slope)
    assert growth_of(TrainingConfig(), 60_000).slope == pytest.approx(0.0137)


def test_fit_slope_takes_lists_and_half_precision():
    assert float(ec.fit_slope([0.0, 1.0, 2.0, 3.0], 3).slope) == pytest.approx(1)
    # squares of 150 epochs sum to 3e5, beyond what float16 holds
    line = (0.25 + 0.01 * jnp.arange(151)).astype(jnp.float16)
    assert float(ec.fit_slope(line, 150).slope) == pytest.approx(0.01, rel=1e-3)


def test_falling_slopes_follow_nothing():
    assert not ec.scaling_verdict(jnp.array([-1.0, -2.0, -3.0]), jnp.array([1.0, 2.0, 3.0])).follows.any()


@pytest.mark.parametrize(("slope", "scale"), [([], []), ([1.0, 2.0], [1.0]), ([[1.0]], [[1.0]])])
def test_a_verdict_needs_members(slope, scale):
    with pytest.raises(ValueError, match=r"must be \[members\], at least one"):
        ec.scaling_verdict(slope, scale)


def test_epochs_to_a_target_behind_is_infinite_and_below_is_reached_by_decay():
    assert float(ec.epochs_to(0.1, 0.25, 0.01)) == np.inf
    assert float(ec.epochs_to(0.25, 0.25, -0.01)) == 0
    assert float(ec.epochs_to(0.1, 0.25, -0.01)) == pytest.approx(15)
    epochs = ec.epochs_to(0.5, 1.0, 0.01, 0.05)  # relaxes from 1 down to 0.2
    np.testing.assert_allclose(ec.j_squared_after(epochs, 1.0, 0.01, 0.05), 0.5, rtol=1e-5)
    assert float(ec.epochs_to(0.1, 1.0, 0.01, 0.05)) == np.inf
