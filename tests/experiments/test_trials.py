import numpy as np
import pytest

from edgechaos.data import validation_split
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from experiments.shared import trials
from tests.problems import make_dataset


def accuracy(decay):
    """Best at 1e-4."""
    return 0.9 - 0.01 * np.log10(decay / 1e-4) ** 2


def test_search_comes_near_the_best(tmp_path):
    decays, scores = trials.search(tmp_path / "trials.npz", 32, 0, accuracy)
    assert len(decays) == 32
    assert ((decays >= trials.RANGE[0]) & (decays <= trials.RANGE[1])).all()
    np.testing.assert_allclose(scores, accuracy(decays))
    best = dict(trials.best_after((8, 32), decays, scores))
    assert abs(np.log10(best[32] / 1e-4)) <= abs(np.log10(best[8] / 1e-4))
    assert best[32] == pytest.approx(1e-4, rel=0.3)


def test_search_goes_on_where_it_stopped(tmp_path):
    whole = trials.search(tmp_path / "whole.npz", 20, 3, accuracy)
    asked = []

    def objective(decay):
        asked.append(decay)
        if len(asked) == 12:
            raise KeyboardInterrupt
        return accuracy(decay)

    with pytest.raises(KeyboardInterrupt):
        trials.search(tmp_path / "some.npz", 20, 3, objective)
    assert len(read_npz(tmp_path / "some.npz")["accuracy"]) == 11
    np.testing.assert_array_equal(trials.search(tmp_path / "some.npz", 20, 3, objective), whole)
    assert len(asked) == 21


def test_damaged_trials_are_refused(tmp_path):
    trials.search(tmp_path / "trials.npz", 3, 0, accuracy)
    content = bytearray((tmp_path / "trials.npz").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "trials.npz").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        trials.search(tmp_path / "trials.npz", 3, 0, accuracy)


def test_trials_of_another_search_are_refused(tmp_path):
    trials.search(tmp_path / "trials.npz", 3, 0, accuracy)
    with pytest.raises(UserError, match=r"trial 1 had the decay 0\.\S+, but this search asks for 4"):
        trials.search(tmp_path / "trials.npz", 3, 1, accuracy)


def test_validation_split_takes_a_sixth_and_loses_nothing():
    dataset = make_dataset(num_samples=60, num_neurons=9)
    split = validation_split(dataset, 0)
    assert (len(split.train_labels), len(split.test_labels)) == (50, 10)
    both = np.concatenate([split.train_images, split.test_images])
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(np.asarray(dataset.train_images), axis=0))
    for images, labels in ((split.train_images, split.train_labels), (split.test_images, split.test_labels)):
        for image, label in zip(images, labels, strict=True):
            assert label == dataset.train_labels[(dataset.train_images == image).all(1)][0]
