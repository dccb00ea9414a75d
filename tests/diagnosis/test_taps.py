import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import edgechaos as ec
from edgechaos.diagnosis.taps import matches

KEY = jax.random.key(5)
WIDTH = 16


class Block(linen.Module):
    """A transformer's block with normalisation first."""

    @linen.compact
    def __call__(self, x, deterministic):
        y = linen.LayerNorm(name="before_attention")(x)
        x = x + linen.MultiHeadDotProductAttention(num_heads=2, name="attention")(y, deterministic=deterministic)
        y = linen.LayerNorm(name="before_perceptron")(x)
        y = linen.gelu(linen.Dense(4 * WIDTH, name="up")(y))
        y = linen.Dropout(0.5)(linen.Dense(WIDTH, name="down")(y), deterministic=deterministic)
        return x + y


class Transformer(linen.Module):
    @linen.compact
    def __call__(self, tokens, deterministic=True):
        x = linen.Embed(11, WIDTH, name="embed")(tokens)
        for layer in range(2):
            x = Block(name=f"block_{layer}")(x, deterministic)
        return linen.Dense(3, name="head")(x.mean(1))


TOKENS = jax.random.randint(KEY, (3, 5), 0, 11)
STREAM = ("block_*", "block_*/before_perceptron:in")
BRANCHES = ("block_*/attention", "block_*/down")


def test_transformer_of_linen():
    """Rows in the order of computation, whose norms are those of the whole Jacobian."""
    model = Transformer()
    variables = model.init(KEY, TOKENS)
    taps = ec.tap(model, STREAM, BRANCHES, start="embed", variables=variables)
    profile = ec.jacobian_profile(taps, TOKENS, KEY, num_probes=4000)
    assert profile.names == (
        "embed",
        "block_0/attention",
        "block_0/before_perceptron:in",
        "block_0/down",
        "block_0",
        "block_1/attention",
        "block_1/before_perceptron:in",
        "block_1/down",
        "block_1",
    )
    assert profile.stream == (True, False, True, False, True, False, True, False, True)

    def blocks(embedded):
        first = Block().apply({"params": variables["params"]["block_0"]}, embedded, True)
        return first, Block().apply({"params": variables["params"]["block_1"]}, first, True)

    embedded = variables["params"]["embed"]["embedding"][TOKENS]
    jacobians = jax.vmap(jax.jacobian(blocks))(embedded)
    expected = [float((one**2).sum() / len(TOKENS) / (5 * WIDTH)) for one in jacobians]
    # 12,000 probes of sums of squares: relative sqrt(2 / 12,000) and less
    np.testing.assert_allclose(profile.apjn[jnp.array([4, 8])], expected, rtol=4 * np.sqrt(2 / 12_000))
    # a branch's end is compared with the stream before it, and the stream after it with the same
    apjn = np.asarray(profile.apjn)
    np.testing.assert_allclose(profile.chi[2:4], [apjn[3] / apjn[2], apjn[4] / apjn[2]], rtol=1e-5)
    assert str(profile).count("(branch)") == 4


def test_depth_law_is_that_of_the_stream_alone():
    model = Transformer()
    variables = model.init(KEY, TOKENS)
    with_branches = ec.tap(model, STREAM, BRANCHES, "embed", variables)
    without = ec.tap(model, STREAM, (), "embed", variables)
    one, other = (ec.jacobian_profile(taps, TOKENS, KEY) for taps in (with_branches, without))
    assert one.depth_law() == other.depth_law()
    np.testing.assert_allclose(one.apjn[jnp.array(one.stream)], other.apjn, rtol=1e-6)


def test_options_reach_the_model_and_jit_works():
    model = Transformer()
    variables = model.init(KEY, TOKENS)
    options = {"deterministic": False, "rngs": {"dropout": KEY}}

    @jax.jit
    def profile(variables):
        return ec.jacobian_profile(ec.tap(model, "block_*", (), "embed", variables, **options), TOKENS, KEY)

    exact = ec.jacobian_profile(ec.tap(model, "block_*", (), "embed", variables), TOKENS, KEY)
    assert profile(variables).names == exact.names == ("embed", "block_0", "block_1")
    assert not np.allclose(profile(variables).apjn, exact.apjn, rtol=1e-3)


class Perceptron(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(3)])
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.dropout(x)


def test_perceptron_of_nnx():
    """The same as its layers written out; neither the model nor its class is left changed."""
    model = Perceptron(nnx.Rngs(0))
    before, call = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model, nnx.Param))), nnx.Linear.__call__
    count = int(model.dropout.rngs.count[...])
    x = jax.random.normal(KEY, (4, WIDTH))
    profile = ec.jacobian_profile(ec.tap(model, "layers/*"), x, KEY, num_probes=2000)
    assert profile.names == ("input", "layers/0", "layers/1", "layers/2")

    def layer(index):
        return lambda h: (jnp.tanh(h) if index else h) @ model.layers[index].kernel[...]

    written = ec.jacobian_profile([layer(index) for index in range(3)], x, jax.random.key(9), num_probes=2000)
    np.testing.assert_allclose(profile.apjn, written.apjn, rtol=6 * np.sqrt(2 / 8000))
    assert nnx.Linear.__call__ is call
    assert "__call__" in vars(Perceptron)
    assert int(model.dropout.rngs.count[...]) == count
    jax.tree.map(np.testing.assert_array_equal, before, nnx.to_pure_dict(nnx.state(model, nnx.Param)))


class Doubled(nnx.Linear):
    def __call__(self, inputs, out_sharding=None):
        return 2 * super().__call__(inputs, out_sharding)


def test_inherited_calls_are_shown_once():
    model = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)), Doubled(4, 4, rngs=nnx.Rngs(0)))
    profile = ec.jacobian_profile(ec.tap(model, "layers/*"), jnp.ones((2, 4)), KEY)
    assert profile.names == ("input", "layers/0", "layers/1")


class Equinoxlike:
    """As equinox.nn.Sequential: an object with a list of layers."""

    def __init__(self, *layers):
        self.layers = layers


def double(x):
    return 2 * x


def test_lists_of_layers():
    layers = [double, jnp.tanh, double]
    x = jnp.zeros((3, 4))
    for model in (layers, Equinoxlike(*layers)):
        profile = ec.jacobian_profile(ec.tap(model, "*double"), x, KEY)
        assert profile.names == ("input", "0_double", "2_double")
        np.testing.assert_allclose(profile.apjn, [1, 4, 16])


def test_layers_called_twice_have_numbers():
    class Twice(linen.Module):
        @linen.compact
        def __call__(self, x):
            layer = linen.Dense(4, name="layer")
            return layer(jnp.tanh(layer(x)))

    variables = Twice().init(KEY, jnp.ones((2, 4)))
    profile = ec.jacobian_profile(ec.tap(Twice(), "layer", variables=variables), jnp.ones((2, 4)), KEY)
    assert profile.names == ("input", "layer", "layer#2")


def test_patterns_stay_between_slashes():
    assert matches("block_1", ("block_*",))
    assert not matches("block_1/attention", ("block_*",))
    assert matches("block_1/attention", ("none", "block_[01]/att*"))
    assert not matches("block_1:in", ("block_*",))
    assert matches("block_1:in", ("block_*:in",))


class Scanned(linen.Module):
    @linen.compact
    def __call__(self, x):
        def body(layer, carry, _):
            return layer(carry), None

        return linen.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)(
            linen.Dense(4, name="layer"), x, None
        )[0]


def _scanned(start="input"):
    variables = Scanned().init(KEY, jnp.ones((2, 4)))
    return ec.jacobian_profile(ec.tap(Scanned(), "layer", (), start, variables), jnp.ones((2, 4)), KEY)


class Normalised(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.BatchNorm(use_running_average=False, name="norm")(x)


def _normalised():
    variables = Normalised().init(KEY, jnp.ones((2, 4)))
    taps = ec.tap(Normalised(), "norm", variables=variables, mutable=["batch_stats"])
    return ec.jacobian_profile(taps, jax.random.normal(KEY, (6, 4)), KEY)


X = jnp.ones((2, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.tap(linen.Dense(3), "*"), "variables = None: a linen module needs its variables"),
        (lambda: ec.tap(3, "*"), "model = int: must be a module of flax, or a list of callables"),
        (lambda: ec.tap([], "*"), "model = list: must be"),
        (
            lambda: ec.jacobian_profile(ec.tap([double], "*tanh"), X, KEY),
            r"'\*tanh' matches nothing in the model; there are input, 0_double:in, 0_double",
        ),
        (
            lambda: ec.jacobian_profile(ec.tap([double, jnp.tanh], "0_double", start="1_tanh"), X, KEY),
            "no tapped tensor comes after '1_tanh'",
        ),
        (
            lambda: ec.jacobian_profile(ec.tap([double], "*double"), X.astype(int), KEY),
            "x = array of int32: must be real numbers, or `start` must name",
        ),
        (lambda: ec.jacobian_profile(ec.tap([lambda h: h - h.mean(0)], "0*"), X, KEY), "mixes samples"),
        (lambda: ec.jacobian_profile(ec.tap([double], "0*"), X, KEY, names=["a"]), "a tap has names of its own"),
        (lambda: ec.jacobian_profile(ec.tap([jnp.log], "0*"), 0 * X, KEY), "not finite"),
        (_scanned, "a scan"),
        (_normalised, "'norm' mixes samples"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
