import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edgechaos import training
from edgechaos.training import tasks
from edgechaos.training.epochs import Hyperparameters
from edgechaos.training.order import order_parameters
from tests.problems import make_dataset

KEY, OTHER = jax.random.key(5), jax.random.key(6)
SPEC = training.Spec(num_classes=3, batch_size=16)
NUMBERS = Hyperparameters(0.3, 0.6, 1e-3)
KEPT = tasks.Renewal()


@pytest.fixture
def images():
    """Every pixel is told by its value, the same in all images of a set; test images have minus that."""
    dataset = make_dataset()
    pixels = np.arange(12, dtype=np.float32)
    train, test = np.tile(pixels, (70, 1)), np.tile(-pixels, (23, 1))
    return dataclasses.replace(dataset, train_images=train, test_images=test)


def as_arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_pixels_are_permuted_in_the_same_way_in_all_images(images):
    task = tasks.permuted_pixels(KEY, images)
    sequence = np.asarray(task.train_images[0])
    np.testing.assert_array_equal(np.sort(sequence), np.arange(12))
    np.testing.assert_array_equal(task.train_images, np.tile(sequence, (70, 1)))
    np.testing.assert_array_equal(task.test_images, np.tile(-sequence, (23, 1)))
    np.testing.assert_array_equal(task.train_labels, images.train_labels)
    np.testing.assert_array_equal(task.test_labels, images.test_labels)


def test_random_labels_are_uniform_and_independent_of_the_images():
    dataset = make_dataset(num_samples=9000)
    task = tasks.random_labels(KEY, dataset)
    shares = np.bincount(np.asarray(task.train_labels), minlength=3) / 9000
    error = np.sqrt(2 / 9 / 9000)
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * error)
    assert abs((task.train_labels == dataset.train_labels).mean() - 1 / 3) < 4 * error
    # how well they were learned is told by the same samples
    np.testing.assert_array_equal(task.test_labels, task.train_labels)
    np.testing.assert_array_equal(task.test_images, dataset.train_images)


@pytest.mark.parametrize("kind", tasks.TASKS)
def test_tasks_differ_by_number_and_seed_and_nothing_else(images, kind, monkeypatch):
    """What `learn_task` trains on, as the training itself sees it."""
    seen = []

    def record(state, key, numbers, dataset, spec):
        seen.append(np.concatenate([np.asarray(dataset.train_images[0]), np.asarray(dataset.train_labels)]))
        return state, None

    monkeypatch.setattr(tasks, "train_epoch", record)
    with jax.disable_jit():
        for key, number, decay in ((KEY, 0, 0.0), (KEY, 1, 0.0), (KEY, 2, 0.0), (OTHER, 0, 0.0), (KEY, 1, 0.1)):
            state = tasks.start_tasks(key, SPEC, 12)
            numbers = dataclasses.replace(NUMBERS, weight_decay=decay)
            tasks.learn_task(state, key, numbers, KEPT, number, images, SPEC, kind, num_epochs=1)
    assert len({one.tobytes() for one in seen}) == 4
    np.testing.assert_array_equal(seen[4], seen[1])


@pytest.mark.parametrize(("shrink", "perturb"), [(0.4, 0.1), (0.0, 1.0), (1.0, 0.0)])
def test_shrink_and_perturb_beside_numpy(shrink, perturb):
    params, fresh = (training.init_state(key, SPEC, 12).params for key in (KEY, OTHER))
    found = tasks.shrink_and_perturb(params, fresh, tasks.Renewal(shrink, perturb))
    for after, before, new in zip(*map(as_arrays, (found, params, fresh)), strict=True):
        np.testing.assert_allclose(after, np.float32(shrink) * before + np.float32(perturb) * new, rtol=1e-6)
    if (shrink, perturb) == (1, 0):
        for after, before in zip(as_arrays(found), as_arrays(params), strict=True):
            assert after.tobytes() == before.tobytes()


def test_saturation_of_a_hand_made_layer():
    """Four units on 40 samples: never saturated; on all; on 39, more than 95 %; on 38, just 95 %."""
    neurons = np.full((40, 4), 0.98, np.float32)
    neurons[:, 1] = -0.995
    neurons[:39, 2] = 1.0
    neurons[:38, 3] = 0.991
    share, stuck = tasks.saturation(neurons)
    assert float(share) == pytest.approx((40 + 39 + 38) / 160)
    assert float(stuck) == pytest.approx(2 / 4)


def learned(renewal, num_tasks=1, kind="permuted", **changes):
    """State and metrics after some tasks of three epochs each."""
    dataset, numbers = make_dataset(), dataclasses.replace(NUMBERS, **changes)
    state = tasks.start_tasks(KEY, SPEC, 12)
    for number in range(num_tasks):
        state, metrics = tasks.learn_task(state, KEY, numbers, renewal, number, dataset, SPEC, kind, 3)
    return state, metrics


@pytest.mark.parametrize("kind", tasks.TASKS)
def test_learning_is_that_of_the_epochs_and_goes_on_from_task_to_task(kind):
    """Weights, momentum and the count of epochs, which decides the order of the samples."""
    keys = tasks._keys(KEY)
    state = training.init_state(keys.start, SPEC, 12)
    for number in range(2):
        task = tasks.TASKS[kind](jax.random.fold_in(keys.tasks, number), make_dataset())
        for _ in range(3):
            state, _ = training.train_epoch(state, keys.order, NUMBERS, task, SPEC)
    found, metrics = learned(KEPT, num_tasks=2, kind=kind)
    assert int(found.epoch) == 6
    for ours, expected in zip(as_arrays(found), as_arrays(state), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    kernel, output = (state.params[name]["kernel"] for name in ("hidden", "output"))
    hidden = np.tanh(np.asarray(task.test_images) @ kernel)
    logits = np.asarray(hidden @ output + state.params["output"]["bias"], np.float64)
    chosen = logits[np.arange(len(logits)), task.test_labels]
    assert float(metrics.accuracy) == pytest.approx((logits.argmax(1) == task.test_labels).mean())
    assert float(metrics.loss) == pytest.approx((np.log(np.exp(logits).sum(1)) - chosen).mean(), rel=1e-4)
    assert float(metrics.j_squared) == pytest.approx(12 * float(np.asarray(kernel).var()), rel=1e-4)
    assert float(metrics.saturated) == pytest.approx((np.abs(hidden) > 0.99).mean())


def test_renewal_comes_after_the_measurement_and_changes_parameters_alone():
    kept, metrics = learned(KEPT)
    renewed, same = learned(tasks.Renewal(0.4, 0.1))
    fresh, _ = learned(tasks.Renewal(0.0, 1.0))
    jax.tree.map(np.testing.assert_array_equal, metrics, same)
    jax.tree.map(np.testing.assert_array_equal, kept.optimizer_state, renewed.optimizer_state)
    for after, before, new in zip(*(as_arrays(state.params) for state in (renewed, kept, fresh)), strict=True):
        np.testing.assert_allclose(after, 0.4 * before + 0.1 * new, rtol=1e-4, atol=1e-6)
    # fresh weights are those of the initialisation, and others than those of the start
    kernel, start = (state.params["hidden"]["kernel"] for state in (fresh, tasks.start_tasks(KEY, SPEC, 12)))
    assert float(order_parameters(kernel).j_squared) == pytest.approx(0.25, rel=4 * 2**0.5 / 12)
    assert np.abs(np.corrcoef(np.ravel(kernel), np.ravel(start))[0, 1]) < 4 / 12


def test_accuracy_of_what_diverged_is_not_a_number():
    _, metrics = learned(KEPT, learning_rate=1e30)
    assert np.isnan(metrics.accuracy)
    assert not np.isfinite(metrics.loss)


def members(keys, decay, renewal=KEPT, spec=SPEC):
    """All metrics of some members, [member, task]."""
    numbers = Hyperparameters(*(jnp.full(len(keys), value) for value in (0.3, 0.6, decay)))
    renewal = jax.tree.map(lambda value: jnp.full(len(keys), value), renewal)
    dataset = jax.device_put(make_dataset())
    return tasks.learn_tasks(keys, numbers, renewal, dataset, spec, "permuted", num_tasks=3, num_epochs=2)


def test_members_together_are_those_alone_and_compile_once():
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    together = members(keys, 1e-3)
    assert together.accuracy.shape == (3, 3)
    for member in range(3):
        alone = members(keys[member : member + 1], 1e-3)
        np.testing.assert_allclose(alone.loss[0], together.loss[member], rtol=1e-3)
        np.testing.assert_allclose(alone.j_squared[0], together.j_squared[member], rtol=1e-4)
    assert len(np.unique(together.loss)) == 9
    before = tasks._learn_members._cache_size()  # type: ignore[attr-defined]
    members(keys, 1e-2, tasks.Renewal(0.4, 0.1))
    assert tasks._learn_members._cache_size() == before  # type: ignore[attr-defined]


@pytest.mark.parametrize("constraint", ["hold_at_edge", "hard_sphere"])
def test_a_constraint_goes_on_holding_over_the_tasks(constraint):
    spec = dataclasses.replace(SPEC, constraint=constraint)
    key = KEY[None]
    free, held = members(key, 0.0), members(key, 0.0, spec=spec)
    assert free.j_squared[0, -1] > 1.5
    np.testing.assert_allclose(held.j_squared[0, 1:], 1, atol=0.05)
