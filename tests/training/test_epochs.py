import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edgechaos import training
from edgechaos.training.epochs import Hyperparameters, Spec
from edgechaos.training.order import order_parameters
from tests.problems import make_dataset

SPEC = Spec(num_classes=3, batch_size=16)  # 70 samples: four full batches and one of 6
HYPERPARAMETERS = Hyperparameters(0.3, 0.6, 1e-3)
KEY = jax.random.key(5)


def softmax_loss(params, images, labels):
    """Losses, hits and gradient of the batch mean by hand, in float64."""
    hidden = np.tanh(images @ params["hidden"]["kernel"])
    logits = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    slope = shares.copy()
    slope[rows, labels] -= 1
    slope /= len(labels)
    back = slope @ params["output"]["kernel"].T * (1 - hidden**2)
    gradient = {
        "hidden": {"kernel": images.T @ back},
        "output": {"kernel": hidden.T @ slope, "bias": slope.sum(0)},
    }
    return -np.log(shares[rows, labels]), logits.argmax(1) == labels, gradient


def squared_loss(params, images, labels):
    """The same for the mean square of the difference from one-hot labels."""
    hidden = np.tanh(images @ params["hidden"]["kernel"])
    logits = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    gap = logits - np.eye(logits.shape[1])[labels]
    slope = 2 * gap / gap.size
    back = slope @ params["output"]["kernel"].T * (1 - hidden**2)
    gradient = {
        "hidden": {"kernel": images.T @ back},
        "output": {"kernel": hidden.T @ slope, "bias": slope.sum(0)},
    }
    return (gap**2).mean(1), logits.argmax(1) == labels, gradient


def numpy_epoch(state, dataset, key, loss_of=softmax_loss, rate_of=lambda step: 0.3, epoch=0):
    """One epoch of Eq. 6 in a NumPy loop, with the shuffle of the same key."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    velocity = jax.tree.map(np.zeros_like, params)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(dataset.train_labels)))
    losses, hits = [], []
    for step, first in enumerate(range(0, len(order), SPEC.batch_size)):
        batch = order[first : first + SPEC.batch_size]
        loss, hit, gradient = loss_of(params, dataset.train_images[batch], dataset.train_labels[batch])
        losses.extend(loss)
        hits.extend(hit)
        rate = rate_of(step)
        velocity = jax.tree.map(
            lambda v, g, w, rate=rate: 0.6 * v - rate * (g + 2 * 1e-3 * w * (w.ndim == 2)), velocity, gradient, params
        )
        params = jax.tree.map(np.add, params, velocity)
    return params, np.mean(losses), np.mean(hits)


def test_epoch_is_the_numpy_loop_with_the_last_smaller_batch(small_dataset):
    state = training.init_state(KEY, SPEC, 12)
    after, (loss, accuracy) = training.train_epoch(state, KEY, HYPERPARAMETERS, small_dataset, SPEC)
    params, expected_loss, expected_accuracy = numpy_epoch(state, small_dataset, KEY)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5), after.params, params
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected_accuracy, rtol=1e-6)
    assert int(after.epoch) == 1


def test_squared_error_is_the_mean_over_classes_and_samples(small_dataset):
    spec = dataclasses.replace(SPEC, loss="squared_error")
    state = training.init_state(KEY, spec, 12)
    after, (loss, accuracy) = training.train_epoch(state, KEY, HYPERPARAMETERS, small_dataset, spec)
    params, expected_loss, expected_accuracy = numpy_epoch(state, small_dataset, KEY, squared_loss)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5), after.params, params
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected_accuracy, rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [("linear", lambda share: 1 - share), ("cosine", lambda share: (1 + np.cos(np.pi * share)) / 2)],
)
@pytest.mark.parametrize("epoch", [0, 2])
def test_schedule_is_a_function_of_the_steps_in_the_state(small_dataset, schedule, factor, epoch):
    """Five steps per epoch, the smaller batch included, in a run of three epochs."""
    spec = dataclasses.replace(SPEC, schedule=schedule)
    numbers = dataclasses.replace(HYPERPARAMETERS, num_epochs=3.0)
    state = training.init_state(KEY, spec, 12)
    state = dataclasses.replace(state, epoch=jnp.asarray(epoch, jnp.int32))
    after, _ = training.train_epoch(state, KEY, numbers, small_dataset, spec)
    params, *_ = numpy_epoch(
        state, small_dataset, KEY, rate_of=lambda step: 0.3 * factor((5 * epoch + step) / 15), epoch=epoch
    )
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5), after.params, params
    )
    constant, _ = training.train_epoch(state, KEY, HYPERPARAMETERS, small_dataset, SPEC)
    kernel, other = (one.params["hidden"]["kernel"] for one in (after, constant))
    assert not np.allclose(kernel, other, rtol=1e-3)


def test_schedule_spans_the_run_that_it_is_part_of(small_dataset):
    """As a whole, epoch by epoch, and as a member beside one of another length."""
    spec = dataclasses.replace(SPEC, schedule="cosine")
    _, history = jax.jit(training.make_train(small_dataset, spec, 3))(KEY, HYPERPARAMETERS)
    numbers = dataclasses.replace(HYPERPARAMETERS, num_epochs=3.0)
    state, metrics = training.start(KEY, numbers, small_dataset, spec)
    both = Hyperparameters(*(jnp.array(pair) for pair in ((0.3, 0.3), (0.6, 0.6), (1e-3, 1e-3), (7.0, 3.0))))
    keys = jnp.stack([KEY, KEY])
    members, _ = training.start_members(keys, both, small_dataset, spec)
    for epoch in range(1, 4):
        state, metrics = training.advance(state, KEY, numbers, small_dataset, spec)
        members, of_members = training.advance_members(members, keys, both, small_dataset, spec)
        np.testing.assert_allclose(metrics.j_squared, history.j_squared[epoch], rtol=1e-5)
        np.testing.assert_allclose(of_members.j_squared[1], history.j_squared[epoch], rtol=1e-5)
    assert abs(of_members.j_squared[0] / of_members.j_squared[1] - 1) > 1e-3


def test_schedule_without_a_length_is_refused(small_dataset):
    spec = dataclasses.replace(SPEC, schedule="cosine")
    state = training.init_state(KEY, spec, 12)
    with pytest.raises(ValueError, match=r"num_epochs: schedule = 'cosine' needs the length of the run"):
        training.train_epoch(state, KEY, HYPERPARAMETERS, small_dataset, spec)


def test_every_epoch_has_its_own_order_and_the_key_decides_it(small_dataset):
    def loss(key, epoch):
        state = training.init_state(KEY, SPEC, 12)
        state = dataclasses.replace(state, epoch=jnp.asarray(epoch, jnp.int32))
        return float(training.train_epoch(state, key, HYPERPARAMETERS, small_dataset, SPEC)[1][0])

    other = jax.random.key(6)
    assert len({loss(KEY, 0), loss(KEY, 1), loss(other, 0)}) == 3
    assert loss(KEY, 1) == loss(KEY, 1)


@pytest.mark.parametrize("num_test", [23, 2000, 4100])
def test_evaluation_in_chunks_is_the_whole(num_test):
    dataset = make_dataset(num_test=num_test)
    params = training.init_state(KEY, SPEC, 12).params
    loss, accuracy, logits = training.evaluate(params, dataset.test_images, dataset.test_labels, SPEC)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    losses, hits, _ = softmax_loss(exact, dataset.test_images, dataset.test_labels)
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(accuracy, hits.mean(), rtol=1e-6)
    hidden = np.tanh(dataset.test_images @ exact["hidden"]["kernel"])
    np.testing.assert_allclose(logits, hidden @ exact["output"]["kernel"] + exact["output"]["bias"], atol=1e-5)


def test_history_entries(small_dataset):
    """Entry 0 evaluates the initial network; J0 and J^2 are those of the hidden kernel."""
    state, first = training.start(KEY, HYPERPARAMETERS, small_dataset, SPEC)
    expected = training.evaluate(state.params, small_dataset.train_images, small_dataset.train_labels, SPEC)[:2]
    np.testing.assert_allclose([first.train_loss, first.train_accuracy], expected, rtol=1e-6)
    kernel = np.asarray(state.params["hidden"]["kernel"], np.float64)
    np.testing.assert_allclose(first.j_squared, 12 * kernel.var(), rtol=1e-5)
    np.testing.assert_allclose(first.j0, 12 * kernel.mean(), rtol=1e-4, atol=1e-6)


def test_run_is_the_epochs_one_after_the_other(small_dataset):
    _, history = jax.jit(training.make_train(small_dataset, SPEC, 3))(KEY, HYPERPARAMETERS)
    state, metrics = training.start(KEY, HYPERPARAMETERS, small_dataset, SPEC)
    for epoch in range(4):
        for values, expected in zip(jax.tree.leaves(metrics), jax.tree.leaves(history), strict=True):
            np.testing.assert_allclose(values, expected[epoch], rtol=1e-4, atol=1e-5)
        state, metrics = training.advance(state, KEY, HYPERPARAMETERS, small_dataset, SPEC)


def test_run_is_a_function_to_vmap_over_keys_and_hyperparameters(small_dataset):
    train = training.make_train(small_dataset, SPEC, 2)
    keys = jax.random.split(KEY, 3)
    numbers = Hyperparameters(jnp.array([0.1, 0.2, 0.3]), jnp.array([0.0, 0.5, 0.9]), jnp.array([0.0, 0.0, 1e-2]))
    _, batched = jax.jit(jax.vmap(train))(keys, numbers)
    for member in range(3):
        _, alone = jax.jit(train)(keys[member], jax.tree.map(lambda values, m=member: values[m], numbers))
        np.testing.assert_allclose(batched.test_loss[member], alone.test_loss, rtol=1e-3)


def test_member_does_not_depend_on_its_neighbours(small_dataset):
    keys = jax.vmap(jax.random.key)(jnp.array([3, 4, 5]))

    def trajectory(members):
        numbers = Hyperparameters(*(jnp.full(len(members), value) for value in (0.3, 0.6, 1e-3)))
        state, _ = training.start_members(keys[members], numbers, small_dataset, SPEC)
        for _ in range(3):
            state, metrics = training.advance_members(state, keys[members], numbers, small_dataset, SPEC)
        return metrics.j_squared

    together = trajectory(np.array([0, 1, 2]))
    np.testing.assert_array_equal(trajectory(np.array([2, 0, 1])), together[np.array([2, 0, 1])])
    np.testing.assert_allclose(trajectory(np.array([1])), together[1:2], rtol=1e-6)


def test_new_numbers_and_a_restored_state_do_not_compile_again(small_dataset):
    keys = jax.vmap(jax.random.key)(jnp.array([0]))
    spec = dataclasses.replace(SPEC, batch_size=35)
    before = training.advance_members._cache_size()  # type: ignore[attr-defined]
    dataset = jax.device_put(small_dataset)
    for eta in (0.1, 0.2, 0.3):
        numbers = Hyperparameters(*(jnp.full(1, value) for value in (eta, 0.5, 0.0)))
        state, _ = training.start_members(keys, numbers, dataset, spec)
        state, _ = training.advance_members(state, keys, numbers, dataset, spec)
        restored = jax.device_put(jax.tree.map(np.asarray, state))
        training.advance_members(restored, keys, numbers, dataset, spec)
    assert training.advance_members._cache_size() == before + 1  # type: ignore[attr-defined]


def test_growth_of_j_squared_is_its_exact_change_per_step(small_dataset):
    """J^2 grows by n (2 cov(W, V) + var(V)) in a step, with V of Eq. 6 by hand."""
    state = training.init_state(KEY, SPEC, 12)
    images, labels = small_dataset.train_images[:16], small_dataset.train_labels[:16]
    after, _ = training.train_step(state, HYPERPARAMETERS, jnp.asarray(images), jnp.asarray(labels), SPEC)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    w = params["hidden"]["kernel"]
    v = -0.3 * (softmax_loss(params, images, labels)[2]["hidden"]["kernel"] + 2 * 1e-3 * w)
    expected = 12 * (2 * ((w - w.mean()) * (v - v.mean())).mean() + v.var())
    before, now = (order_parameters(s.params["hidden"]["kernel"]).j_squared for s in (state, after))
    # J^2 of about 0.25 is known to 1e-7 or so, its change to a few of that
    np.testing.assert_allclose(now - before, expected, atol=5e-7)
    assert abs(expected) > 1e-4
