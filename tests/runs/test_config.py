import dataclasses

import pytest

from edgechaos.runs.config import AXES, FORMER, SHARED, STATIC, TRACED, TrainingConfig, hyperparameters_of, spec_of
from edgechaos.theory import paper, scaling
from edgechaos.training import Hyperparameters, Spec


def names_of(kind):
    return {field.name for field in dataclasses.fields(kind)}


def test_a_program_is_compiled_for_every_static_field():
    """A field that is declared and forgotten in training, or the other way round."""
    assert names_of(Spec) == {"num_classes", *STATIC, *SHARED}
    assert names_of(Hyperparameters) == {"num_epochs", *TRACED}


def test_roles_are_what_a_run_makes_of_them():
    assert set(AXES) == {*TRACED, *STATIC, "epochs"}
    words = {"optimizer": "sgd", "constraint": "none", "schedule": "constant", "loss": "cross_entropy"}
    assert {**words, "target": 1.0, "label_noise": 0.0} == FORMER


def test_spec_and_numbers_are_those_of_the_config():
    config = TrainingConfig(batch_size=7, activation="relu", loss="squared_error", learning_rate=0.3, epochs=9)
    spec = spec_of(config, 3, constraint="hard_sphere")
    for name in (*STATIC, *SHARED):
        assert getattr(spec, name) == ("hard_sphere" if name == "constraint" else getattr(config, name))
    assert hyperparameters_of(config, weight_decay=0.1) == Hyperparameters(0.3, 0.5, 0.1, num_epochs=9.0, target=1.0)


def test_defaults_are_the_papers_run():
    config = TrainingConfig()
    scale = scaling.scale_factor(config.learning_rate, config.momentum, config.batch_size)
    assert scale == pytest.approx(paper.SCALE_FACTOR) == pytest.approx(0.00125)
    assert (config.constant_d, config.epochs, config.init_j) == (10.96, 501, 0.5)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig().epochs = 3  # type: ignore[misc]
