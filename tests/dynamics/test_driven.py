"""Driven maps, exponents as a loss, and frames that are orthonormalised now and then."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import edgechaos as ec
from edgechaos.dynamics import frames

KEY = jax.random.key(7)


def recurrent(j, num_neurons, seed=0):
    """x' = tanh(W x + u), a network without a readout."""
    kernel = ec.init_kernel(jax.random.key(seed), num_neurons, j=j)
    return (lambda x, u: jnp.tanh(x @ kernel + u)), kernel


def test_no_drive_and_a_drive_of_zeros_are_the_same():
    step, kernel = recurrent(1.6, 40)
    x0 = jax.random.normal(KEY, (2, 40))
    free = ec.lyapunov_exponent(lambda x: jnp.tanh(x @ kernel), x0, KEY, 100, 20)
    driven = ec.lyapunov_exponent(step, x0, KEY, 100, 20, inputs=jnp.zeros((120, 40)))
    np.testing.assert_allclose(driven.history, free.history, rtol=1e-2, atol=1e-3)  # chaos amplifies rounding
    one = ec.lyapunov_spectrum(lambda x: jnp.tanh(x @ kernel), x0, 3, 100, 20)
    other = ec.lyapunov_spectrum(step, x0, 3, 100, 20, inputs=jnp.zeros(120))
    np.testing.assert_allclose(other.exponent, one.exponent, atol=0.02)


def test_conditional_exponents_against_the_product_of_jacobians():
    """In float64, by NumPy: QR of the Jacobians of the driven trajectory, one after the other."""
    with jax.enable_x64(True):
        step, kernel = recurrent(1.5, 12)
        kernel = np.asarray(kernel, float)
        step = lambda x, u: jnp.tanh(x @ kernel + u)  # noqa: E731
        drive = np.random.default_rng(0).normal(size=(330, 12))
        found = ec.lyapunov_spectrum(step, jnp.zeros(12), 4, 300, 30, inputs=jnp.asarray(drive))
        largest = ec.lyapunov_exponent(step, jnp.zeros(12), KEY, 300, 30, inputs=jnp.asarray(drive))
    x, frame, growth = np.zeros(12), np.linalg.qr(np.random.default_rng(1).normal(size=(12, 4)))[0], []
    for u in drive:
        x = np.tanh(x @ kernel + u)
        frame, triangle = np.linalg.qr((1 - x[:, None] ** 2) * (kernel.T @ frame))
        growth.append(np.log(np.abs(np.diag(triangle))))
    # both frames have 30 iterations to forget where they began, at gaps of 0.1 and more per iteration
    expected = np.mean(growth[30:], axis=0)
    np.testing.assert_allclose(found.exponent, expected, atol=0.01)
    assert float(largest.exponent) == pytest.approx(expected[0], abs=0.02)


def test_a_drive_puts_an_end_to_chaos():
    """Strong input saturates tanh: the conditional exponent of a chaotic network turns negative."""
    step, _ = recurrent(1.8, 200)
    x0 = jax.random.normal(KEY, (200,))
    exponents = [
        float(ec.lyapunov_exponent(step, x0, KEY, 300, 100, strength * jax.random.normal(KEY, (400, 200))).exponent)
        for strength in (0.0, 0.5, 4.0)
    ]
    assert exponents[0] > 0.1
    assert exponents[0] > exponents[1] > exponents[2]
    assert exponents[2] < 0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (jnp.ones((9, 3)), r"inputs = array of float32\[9, 3\]: must be one for each iteration, \[2 \+ 8, ...\]"),
        (jnp.full((10, 3), jnp.nan), "inputs = nan: must be finite"),
    ],
)
def test_bad_drive_is_one_clear_error(inputs, message):
    for function in (
        lambda: ec.lyapunov_exponent(lambda x, u: x + u, jnp.ones(3), KEY, 8, 2, inputs=inputs),
        lambda: ec.lyapunov_spectrum(lambda x, u: x + u, jnp.ones(3), 2, 8, 2, inputs=inputs),
    ):
        with pytest.raises(ValueError, match=message):
            function()


@pytest.mark.parametrize("j", [0.3, 0.6])
def test_gradient_flossing_pushes_exponents_towards_0(j):
    """Some steps of Adam on the squares of four exponents of a driven network, from deep order and from order."""
    _, kernel = recurrent(j, 24)
    drive = 0.3 * jax.random.normal(KEY, (50, 24))

    def exponents(kernel):
        step = lambda x, u: jnp.tanh(x @ kernel + u)  # noqa: E731
        return ec.lyapunov_spectrum(step, jnp.full(24, 0.1), 4, 40, 10, inputs=drive).exponent

    optimizer = optax.adam(0.02)

    @jax.jit
    def update(kernel, state):
        gradient = jax.grad(lambda kernel: (exponents(kernel) ** 2).sum())(kernel)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(kernel, updates), state

    before, state = exponents(kernel), optimizer.init(kernel)
    for _ in range(30):
        kernel, state = update(kernel, state)
    after = exponents(kernel)
    assert jnp.abs(before).max() > 0.2
    assert jnp.abs(after).max() < jnp.abs(before).max() / 3


def squares_of_short_trajectories(kernel, key, num_iterations):
    """Sum of the squares of two exponents, over 16 starts."""
    starts = jax.random.normal(key, (16, len(kernel)))
    exponents = ec.lyapunov_spectrum(lambda x: jnp.tanh(x @ kernel), starts, 2, num_iterations).exponent
    return (exponents.mean(0) ** 2).sum()


def test_gradient_flossing_of_short_trajectories():
    """20 short steps bring exponents of 10 iterations near 0 at J = 3, in each of five kernels; random steps do not."""

    @jax.jit
    @jax.vmap
    def sizes(seed):
        def size(kernel):
            return squares_of_short_trajectories(kernel, KEY, 10) ** 0.5

        def floss(kernel, _):
            gradient = jax.grad(size)(kernel)
            return kernel - 0.05 * gradient / jnp.linalg.norm(gradient), None

        def stray(kernel, key):
            direction = jax.random.normal(key, kernel.shape)
            return kernel - 0.05 * direction / jnp.linalg.norm(direction), None

        kernel, keys = ec.init_kernel(jax.random.key(seed), 32, j=3.0), jax.random.split(KEY, 20)
        flossed, strayed = (jax.lax.scan(step, kernel, keys)[0] for step in (floss, stray))
        return size(kernel), size(flossed), size(strayed)

    before, flossed, strayed = (np.asarray(one) for one in sizes(jnp.arange(5)))
    assert (before > 0.2).all()
    assert (flossed < before / 3).all()
    assert flossed.mean() < before.mean() / 5
    assert (strayed > before / 1.5).all()


def test_gradients_of_chaotic_trajectories_grow_with_their_length():
    """The limit of it: the gradient through 60 iterations at J = 3 is hundreds of times that through 10."""
    kernel, x0 = ec.init_kernel(jax.random.key(0), 32, j=3.0), jax.random.normal(KEY, (8, 32))

    def exponent(kernel, num_iterations):
        return ec.lyapunov_exponent(lambda x: jnp.tanh(x @ kernel), x0, KEY, num_iterations).exponent.mean()

    short, long = (jnp.linalg.norm(jax.jit(jax.grad(exponent), static_argnums=1)(kernel, n)) for n in (10, 60))
    assert long > 300 * short


def test_gradient_of_a_spectrum_is_that_of_finite_differences():
    """Of the sum of all exponents, ln |det J|: the derivative by a gain g of x' = g A x is 2 / g; also under vmap."""
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)), jnp.float32)

    def total(gain):
        return ec.lyapunov_spectrum(lambda x: gain * x @ matrix, jnp.zeros(3), 3, 40).exponent.sum()

    gains = jnp.array([0.5, 2.0])
    np.testing.assert_allclose(jax.vmap(jax.grad(total))(gains), 3 / gains, rtol=1e-3)


def reference(columns):
    """Q and ln |diag R| in float64, signs so that the diagonal is positive."""
    frame, triangle = np.linalg.qr(np.asarray(columns, float))
    return frame * np.sign(np.diag(triangle)), np.log(np.abs(np.diag(triangle)))


@pytest.mark.parametrize("condition", [1.0, 30.0, 1e3, 1e5])
def test_all_factorisations_agree_with_numpy(condition):
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=(size, 8)))[0] for size in (100, 8))
    columns = jnp.asarray(1e15 * left @ np.diag(np.geomspace(1, 1 / condition, 8)) @ right.T, jnp.float32)
    exact, exact_logarithms = frames.orthonormalise(columns.T)
    frame, logarithms = frames.factorise(columns.T)
    eps, (expected, expected_logarithms) = float(np.finfo(np.float32).eps), reference(columns)
    # rounding of the columns themselves moves the smallest entry by condition x eps
    tolerance = 20 * eps * (condition + 40)
    np.testing.assert_allclose(np.asarray(exact @ exact.T), np.eye(8), atol=20 * eps)
    np.testing.assert_allclose(exact_logarithms, expected_logarithms, atol=tolerance)
    np.testing.assert_allclose(logarithms + frames.volumes(frame), expected_logarithms, atol=tolerance)
    # each row of the frame lies in the span of the columns up to its own, and no two are alike
    coefficients = np.asarray(frame, float) @ expected
    np.testing.assert_allclose(np.triu(coefficients, 1), 0, atol=tolerance)
    np.testing.assert_allclose(coefficients @ expected.T, frame, atol=tolerance)
    assert float(jnp.abs(frame).max()) == pytest.approx(1, abs=tolerance)
    assert np.linalg.cond(frame) < 20
    # the volumes square the condition, and leave what is beyond it to Householder
    loose = 20 * eps * min(condition, 1e3) ** 2
    np.testing.assert_allclose(frames.volumes(columns.T), expected_logarithms, atol=tolerance + loose)


@pytest.mark.parametrize(("num_iterations", "wanted_every"), [(6, 1), (6, 6), (200, 3), (200, 200)])
def test_frames_that_are_not_orthonormal_leave_exponents_as_they_are(num_iterations, wanted_every):
    """All 60 exponents of a tanh network in float32 beside a loop of QR in float64, and the growth up to each place."""
    rng = np.random.default_rng(5)
    wide, frame = rng.normal(size=(60, 60)) * 1.1 / 60**0.5, rng.normal(size=(60, 60))
    kernel, begin = jnp.asarray(wide, jnp.float32), frames.start_frame(jnp.asarray(frame.T, jnp.float32))

    def iterate(carry, wanted):
        new, push = jax.linearize(lambda x: jnp.tanh(x @ kernel), carry[0])
        frame, growth = frames.push_frame(carry[1], push, jnp.dtype("float32"), wanted)
        return (new, frame), growth

    wanted = np.arange(num_iterations)[::-1] % wanted_every == 0
    (_, last), growth = jax.lax.scan(iterate, (jnp.full(60, 0.3), begin), jnp.asarray(wanted))
    growth = frames.complete(growth, last)
    found, known = np.cumsum(frames.spread(growth), axis=0), np.asarray(growth.span) > 0

    x, (frame, _), courses = np.full(60, 0.3), np.linalg.qr(frame), []
    for _ in range(num_iterations):
        x = np.tanh(x @ wide)
        frame, logarithms = reference(((1 - x**2)[:, None] * wide.T) @ frame)
        courses.append(logarithms)
    expected = np.cumsum(courses, axis=0)
    assert int(growth.span.sum()) == num_iterations
    assert known.sum() >= (wanted.sum() + 1) // 2
    error = np.abs(found - expected)
    # up to 1 % of the slowest growth at each factorisation, some of them one way; of all others next to nothing
    assert error[known, :-5].max() < 0.01 + 1e-4 * num_iterations
    assert error[known].max() < 0.04 + 6e-3 * num_iterations
    assert (error[-1] < 2e-3 * np.abs(expected[-1]) + 1e-2).all()
    if num_iterations >= 64:  # far below what the exponents are known to
        batches = np.diff(expected, axis=0)[-192:].reshape(32, 6, 60).mean(1)
        assert (error[-1] / num_iterations < 0.2 * batches.std(0, ddof=1) / 32**0.5).all()


def test_vanished_and_equal_columns_are_minus_infinity_or_rounding():
    columns = jnp.ones((5, 3)).at[:, 2].set(0)
    frame, logarithms = frames.factorise(columns.T)
    assert np.isfinite(frame).all()
    assert float(logarithms[0]) == pytest.approx(np.log(5) / 2)
    assert logarithms[1] < -10
    assert logarithms[2] == -np.inf


def test_the_frame_is_left_alone_as_long_as_growth_allows():
    """Rates of 1 and 0: rows become alike at 1 per iteration; a factor 1e4 is reached after 9.2."""

    def longest(rates, count):
        frame = frames.start_frame(jax.random.normal(KEY, (len(rates), len(rates))))
        factors = jnp.exp(jnp.array(rates))

        def push(frame, _):
            frame, _ = frames.push_frame(frame, lambda v: factors * v, jnp.dtype("float32"), jnp.array(False))
            return frame, frame.age

        return 1 + int(jax.lax.scan(push, frame, length=count)[1][count // 2 :].max())  # the rates are known by then

    assert longest([1.0, 0.0], 600) == 9
    assert longest([0.0, 0.0], 200) == 16
    assert longest([20.0, -20.0], 4) == 1


def test_growth_is_shared_out_over_the_iterations_since():
    growth = frames.Growth(jnp.array([[2.0], [0.0], [0.0], [6.0]]), jnp.array([1, 0, 0, 3]))
    np.testing.assert_array_equal(frames.spread(growth), [[2], [2], [2], [2]])


def test_low_precision_maps_have_a_spectrum():
    found = ec.lyapunov_spectrum(
        lambda x: jnp.array([0.5, 0.25], jnp.bfloat16) * x, jnp.ones(2, jnp.bfloat16), 2, 64, 8
    )
    np.testing.assert_allclose(found.exponent, np.log([0.5, 0.25]), rtol=0.02)
