import pytest

from configs import fig2
from edgechaos.errors import UserError
from edgechaos.runs import fields
from experiments.fig2 import Config


def good():
    return fig2.get_config("digits").to_dict()


@pytest.mark.parametrize("variant", [None, *fig2.VARIANTS])
def test_every_variant_is_valid(variant):
    fields.validate(fig2.get_config(variant).to_dict(), Config)


def test_default_variant_is_the_papers_run():
    chosen = fig2.get_config()
    assert chosen == fig2.get_config("paper")
    numbers = (chosen.learning_rate, chosen.momentum, chosen.batch_size, chosen.epochs, chosen.init_j0, chosen.init_j)
    assert numbers == (0.02, 0.5, 32, 501, 0.0, 0.5)
    assert (chosen.map_num_neurons, chosen.map_num_iterations) == (2500, 100)


@pytest.mark.parametrize("word", ["papper", "", "full"])
def test_unknown_variant_lists_the_known_ones(word):
    with pytest.raises(UserError, match=rf"variant = '{word}': must be one of paper, scaled, quick, digits"):
        fig2.get_config(word)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learning_rate", 0.0, r"learning_rate = 0.0: must be > 0"),
        ("learning_rate", -0.1, r"learning_rate = -0.1: must be > 0"),
        ("learning_rate", float("nan"), r"learning_rate = nan: must be > 0"),
        ("learning_rate", "fast", r"learning_rate = 'fast': must be > 0, not a str"),
        ("momentum", 1.0, r"momentum = 1.0: must be in \[0, 1\)"),
        ("momentum", -0.5, r"momentum = -0.5: must be in \[0, 1\)"),
        ("batch_size", 0, r"batch_size = 0: must be an integer >= 1"),
        ("batch_size", 2.5, r"batch_size = 2.5: must be an integer >= 1, not a float"),
        ("batch_size", True, r"batch_size = True: must be an integer >= 1, not a bool"),
        ("weight_decay", -1e-5, r"weight_decay = -1e-05: must be >= 0"),
        ("weight_decay_mode", "couple", r"must be one of coupled, decoupled; did you mean 'coupled'"),
        ("epochs", 0, r"epochs = 0: must be an integer >= 1"),
        ("activation", "tan", r"activation = 'tan': must be one of tanh; did you mean 'tanh'"),
        ("dataset", "fashionmnist", r"did you mean 'fashion_mnist'"),
        ("optimizer", "sdg", r"optimizer = 'sdg': must be one of sgd, adam; did you mean 'sgd'"),
        ("init_j", -0.5, r"init_j = -0.5: must be >= 0"),
        ("init_j0", float("inf"), r"init_j0 = inf: must be a finite number"),
        ("num_seeds", 0, r"num_seeds = 0"),
        ("seed", -1, r"seed = -1"),
        ("seed", 2**31, r"seed = 2147483648: must be in \[0, 2147483647\]"),
        ("checkpoint_seconds", -1.0, r"checkpoint_seconds = -1.0: must be >= 0"),
        ("map_num_neurons", 1, r"map_num_neurons = 1: must be an integer >= 2"),
    ],
)
def test_bad_value_is_named_with_its_range(field, value, message):
    with pytest.raises(UserError, match=message):
        fields.validate({**good(), field: value}, Config)


def test_unknown_and_missing_fields():
    with pytest.raises(UserError, match=r"config field 'learning_rat' does not exist; did you mean 'learning_rate'\?"):
        fields.validate({**good(), "learning_rat": 0.1}, Config)
    incomplete = good()
    del incomplete["momentum"]
    with pytest.raises(UserError, match=r"config field 'momentum' is missing; it must be in \[0, 1\)"):
        fields.validate(incomplete, Config)


@pytest.mark.parametrize("batch_size", [1438, 60_000])
def test_batch_larger_than_the_training_set(batch_size):
    with pytest.raises(UserError, match=rf"batch_size = {batch_size}: must be in \[1, 1437\]"):
        fields.validate_batch_size(batch_size, 1437)


def test_whole_numbers_pass_as_reals():
    assert isinstance(fields.validate({**good(), "learning_rate": 1}, Config).learning_rate, float)


def test_adam_takes_no_momentum():
    with pytest.raises(UserError, match=r"momentum = 0.5: must be 0 with optimizer = 'adam'"):
        fields.validate({**fig2.get_config().to_dict(), "optimizer": "adam"}, Config)
