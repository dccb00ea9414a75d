import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import edgechaos as ec
from edgechaos import training
from edgechaos.dynamics.tangents import push, random_tangent
from tests.problems import make_dataset

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("double")


def quadratic(hessian):
    return lambda w: w @ jnp.asarray(hessian) @ w / 2


def random_orthogonal(size):
    return np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]


@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(-1, 3, 30),
        np.array([-50.0, *np.linspace(0, 2, 29)]),  # the largest in modulus is negative
        -np.linspace(1, 20, 30),  # all are
        np.full(30, 2.0),  # any vector is an eigenvector
        np.zeros(30),
        np.array([-3.0]),
    ],
)
def test_sharpness_of_a_quadratic_is_its_largest_eigenvalue(eigenvalues):
    turn = random_orthogonal(len(eigenvalues))
    loss = quadratic(turn @ np.diag(eigenvalues) @ turn.T)
    found = training.sharpness(loss, jnp.ones(len(eigenvalues)), KEY, 40)
    assert float(found.value) == pytest.approx(eigenvalues.max(), rel=1e-9, abs=1e-12)
    assert float(found.residual) < 1e-7


def small_network():
    """A network of 12 neurons after some epochs, the loss of its training set, and the dense Hessian."""
    dataset, spec = make_dataset(), training.Spec(3, 10)
    state = training.init_state(KEY, spec, 12)
    for _ in range(5):
        state, _ = training.train_epoch(state, KEY, training.Hyperparameters(0.5, 0.5), dataset, spec)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), state.params)

    def loss(params):
        return training.evaluate(params, dataset.train_images, dataset.train_labels, spec)[0]

    flat, unravel = ravel_pytree(params)
    return params, loss, np.asarray(jax.hessian(lambda flat: loss(unravel(flat)))(flat))


def test_sharpness_of_a_network_is_that_of_its_dense_hessian():
    params, loss, hessian = small_network()
    values = np.linalg.eigvalsh(hessian)
    assert values[0] < -0.01 < 0.1 < values[-1]
    found = jax.jit(lambda params, key: training.sharpness(loss, params, key, 30))(params, jax.random.key(7))
    assert float(found.value) == pytest.approx(values[-1], rel=1e-6)
    assert float(found.residual) < 1e-3 * values[-1]
    # of the loss turned over it is the least one, whose modulus is smaller
    turned = training.sharpness(lambda params: -loss(params), params, KEY, 60)
    assert float(turned.value) == pytest.approx(-values[0], rel=1e-4)


def test_the_residual_tells_how_far_off_few_iterations_are():
    eigenvalues = np.linspace(0, 1, 200)
    for number in (1, 2, 5, 20):
        found = training.sharpness(quadratic(np.diag(eigenvalues)), jnp.ones(200), KEY, number)
        nearest = np.abs(eigenvalues - float(found.value)).min()
        assert nearest <= float(found.residual) + 1e-12
        assert float(found.value) <= 1 + 1e-12
    assert float(found.residual) < 0.05


def heavy_ball_radius(eta, alpha, curvature):
    """Largest modulus of the eigenvalues of (w, v) -> (w + v', v' = alpha v - eta h w)."""
    matrices = [np.array([[1 - eta * h, alpha], [-eta * h, alpha]]) for h in curvature]
    return max(np.abs(np.linalg.eigvals(matrix)).max() for matrix in matrices)


def exponent_on(curvature, eta, alpha, num_iterations=2000):
    """Growth per step of a tangent of SGD with momentum on a quadratic, after as many steps before."""
    optimizer = ec.sgd(eta, alpha)

    def step(pair):
        weights, state = pair
        updates, state = optimizer.update({"kernel": curvature * weights["kernel"]}, state, weights)
        return {"kernel": weights["kernel"] + updates["kernel"]}, state

    weights = {"kernel": jnp.zeros((len(curvature), 1))}
    curvature = jnp.asarray(curvature)[:, None]
    pair = weights, optimizer.init(weights)

    def iterate(carry, _):
        pushed = push(step, *carry)
        return (pushed.state, pushed.tangent), pushed.growth

    carry, _ = jax.lax.scan(iterate, (pair, random_tangent(KEY, pair)), length=num_iterations)
    return float(jax.lax.scan(iterate, carry, length=num_iterations)[1].mean())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97, 1.03, 2.0])
def test_exponent_on_a_quadratic_is_the_logarithm_of_the_spectral_radius(alpha, share):
    """Stable and unstable learning rates, real and complex roots."""
    largest, eta = 4.0, share * 2 * (1 + alpha) / 4.0
    expected = np.log(heavy_ball_radius(eta, alpha, [1.0, largest]))
    # complex roots turn the tangent, and its length oscillates by a factor
    assert exponent_on([1.0, largest], eta, alpha) == pytest.approx(expected, abs=4e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_exponent_changes_its_sign_where_the_sharpness_is_the_stable_one(alpha):
    eta = 0.1
    edge = float(training.stable_sharpness(eta, alpha))
    assert edge == pytest.approx(2 * (1 + alpha) / eta)
    below, at, above = (exponent_on([edge / 2, share * edge], eta, alpha) for share in (0.99, 1.0, 1.01))
    assert below < -1e-3
    assert at == pytest.approx(0, abs=1e-6)
    assert above > 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: training.stable_sharpness(0.0), r"learning_rate = 0.0: must be > 0"),
        (lambda: training.stable_sharpness(0.1, 1.0), r"momentum = 1.0: must be in \[0, 1\)"),
        (
            lambda: training.sharpness(lambda w: w.sum(), jnp.ones(2), KEY, 0),
            r"num_iterations = 0: must be >= 1",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
