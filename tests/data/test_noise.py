import dataclasses

import numpy as np
import pytest

from edgechaos.data import validation_split, with_label_noise
from tests.problems import make_dataset

CLASSES, SAMPLES = 5, 20_000


@pytest.fixture(scope="module")
def dataset():
    return make_dataset(num_samples=SAMPLES, num_neurons=2, num_classes=CLASSES)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_share_of_wrong_labels_and_where_they_go(dataset, share):
    """Each pair of a class and another one has share / (classes - 1) of the class, within four standard errors."""
    before, after = dataset.train_labels, with_label_noise(dataset, share, seed=3).train_labels
    assert abs((before != after).mean() - share) < 4 * np.sqrt(share * (1 - share) / SAMPLES)
    for right in range(CLASSES):
        among = after[before == right]
        for wrong in set(range(CLASSES)) - {right}:
            expected = share / (CLASSES - 1)
            assert abs((among == wrong).mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(among))


def test_a_label_that_is_replaced_has_another_class(dataset):
    """With a share next to 1 almost all are; had a replacement kept its class, a fifth of them would be right."""
    after = with_label_noise(dataset, 0.9999, seed=0).train_labels
    assert (after == dataset.train_labels).sum() < 20
    assert after.min() == 0
    assert after.max() == CLASSES - 1
    assert after.dtype == np.int32


def test_nothing_else_changes(dataset):
    before = {field.name: np.array(getattr(dataset, field.name)) for field in dataclasses.fields(dataset)}
    noisy = with_label_noise(dataset, 0.5, seed=1)
    assert noisy.test_labels is dataset.test_labels
    assert noisy.test_images is dataset.test_images
    assert noisy.train_images is dataset.train_images
    assert noisy.num_classes == CLASSES
    for name, values in before.items():  # also not in place
        np.testing.assert_array_equal(getattr(dataset, name), values)


def test_without_noise_the_arrays_are_the_same(dataset):
    assert with_label_noise(dataset, 0.0, seed=1).train_labels is dataset.train_labels


def test_the_seed_decides(dataset):
    first, again, other = (with_label_noise(dataset, 0.3, seed).train_labels for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    wrong, elsewhere = first != dataset.train_labels, other != dataset.train_labels
    # independent of each other: 0.3^2 of the samples are wrong in both
    assert abs((wrong & elsewhere).mean() - 0.09) < 4 * np.sqrt(0.09 * 0.91 / SAMPLES)


def test_wrong_labels_are_in_both_parts_of_a_split_of_the_same_seed(dataset):
    noisy = with_label_noise(dataset, 0.3, seed=2)
    # the index of a sample stands in its image
    numbers = np.arange(2 * SAMPLES, dtype=np.float32).reshape(SAMPLES, 2) // 2
    marked = dataclasses.replace(noisy, train_images=numbers)
    split = validation_split(marked, seed=2)
    for images, labels in ((split.train_images, split.train_labels), (split.test_images, split.test_labels)):
        wrong = labels != dataset.train_labels[images[:, 0].astype(int)]
        assert abs(wrong.mean() - 0.3) < 4 * np.sqrt(0.21 / len(labels))


@pytest.mark.parametrize("share", [-0.1, 1.0, np.nan])
def test_share_out_of_range_is_refused(dataset, share):
    with pytest.raises(ValueError, match=rf"share = {share}: must be in \[0, 1\)"):
        with_label_noise(dataset, share, seed=0)


def test_a_single_class_has_no_other():
    with pytest.raises(ValueError, match="num_classes = 1: must be at least 2"):
        with_label_noise(make_dataset(num_classes=1), 0.5, seed=0)
