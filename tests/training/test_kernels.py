import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import edgechaos as ec
from edgechaos.training.kernels import Kernel, KernelAxes, NoKernel, read_kernel

KEY = jax.random.key(0)


def read(path, shape, **options):
    return read_kernel(path, np.zeros(shape, np.float32), **options)


@pytest.mark.parametrize(
    ("path", "shape", "num_inputs", "num_outputs", "num_layers"),
    [
        ("Dense_0/kernel", (5, 7), 5, 7, 1),
        ("w", (5, 7), 5, 7, 1),
        ("attention/query/kernel", (512, 8, 64), 512, 512, 1),
        ("MultiHeadDotProductAttention_0/key/kernel", (64, 2, 8), 64, 16, 1),
        ("value/kernel", (64, 8, 8), 64, 64, 1),
        ("out/kernel", (8, 8, 64), 64, 64, 1),
        ("attention/out/kernel", (8, 64, 512), 512, 512, 1),
        ("attention/query/kernel/value", (64, 8, 8), 64, 64, 1),
        ("layers/attention/query/kernel", (12, 512, 8, 64), 512, 512, 12),
        ("decoder/layers/self_attention/query/kernel", (256, 12, 8, 32), 256, 256, 12),
        ("decoder/layers/self_attention/out/kernel", (8, 12, 32, 256), 256, 256, 12),
        ("layers/attention/out/kernel", (12, 8, 64, 512), 512, 512, 12),
        ("layers/attention/q_proj/kernel", (12, 256, 256), 256, 256, 12),
        ("ScanBlock_0/Dense_0/kernel", (12, 256, 256), 256, 256, 12),
        ("layers/linear/kernel", (4, 6, 7), 6, 7, 4),
        ("moe/experts/wi", (8, 256, 1024), 256, 1024, 8),
        ("layers/moe/experts/wo", (2, 8, 1024, 256), 1024, 256, 16),
        ("Conv_0/kernel", (5, 64, 64), 320, 64, 1),
        ("Conv_0/kernel", (3, 3, 8, 16), 72, 16, 1),
        ("w", (3, 3, 8, 16), 72, 16, 1),
        ("Conv_0/kernel", (1, 7, 8, 16), 56, 16, 1),
        ("scan/Conv_0/kernel", (12, 3, 3, 64, 64), 576, 64, 12),
        ("Conv_0/kernel", (3, 3, 3, 8, 16), 216, 16, 1),
        ("patch_embedding/kernel", (16, 16, 3, 192), 768, 192, 1),
    ],
)
def test_inputs_and_outputs_are_told_by_name_and_shape(path, shape, num_inputs, num_outputs, num_layers):
    found = read(path, shape)
    assert isinstance(found, Kernel)
    assert (found.num_inputs, found.num_outputs, len(found.names)) == (num_inputs, num_outputs, num_layers)


@pytest.mark.parametrize(
    ("path", "shape", "reason"),
    [
        ("Dense_0/bias", (7,), "bias or scale"),
        ("attention/query/bias", (8, 8), "bias or scale"),
        ("layers/dense/bias", (12, 12), "bias or scale"),
        ("layers/LayerNorm_0/scale", (12, 12), "bias or scale"),
        ("layers/norm/weight", (12, 12), "bias or scale"),
        ("step", (), "a single number"),
        ("wte", (1000, 256), "an embedding"),
        ("tok_emb/weight", (1000, 256), "an embedding"),
        ("token_embed/embedding", (64, 64), "an embedding"),
        ("model.embed_tokens.weight", (64, 64), "an embedding"),
        ("transformer.wpe.weight", (64, 64), "an embedding"),
        ("DepthwiseConv_0/kernel", (3, 3, 1, 256), "a depthwise convolution"),
        ("cls", (1, 1, 64), "a single vector"),
    ],
)
def test_what_is_no_kernel(path, shape, reason):
    found = read(path, shape)
    assert isinstance(found, NoKernel)
    assert reason in found.reason
    assert not found.is_unclear


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("w", (5, 64, 64)),
        ("query/kernel", (4, 4, 2, 2)),
        ("Conv_0/kernel", (3, 3, 1, 256)),
        ("w", (2, 3, 4, 5, 6)),
        ("qkv/kernel", (12, 64, 3, 64)),
    ],
)
def test_what_cannot_be_told_says_what_to_give(path, shape):
    found = read(path, shape)
    assert isinstance(found, NoKernel)
    assert found.is_unclear
    assert f"give axes={{'{path}': KernelAxes(reduction_axis, output_axis)}}" in found.reason
    row = ec.phase_report({path: np.random.default_rng(0).normal(size=shape)}).rows[0]
    assert (row.state, row.reason) == ("", found.reason)


def test_torch_layout():
    assert read("fc.weight", (7, 5), layout="out_in").num_inputs == 5
    assert read("conv1.weight", (16, 8, 3, 3), layout="out_in").num_inputs == 72
    assert read("experts.w1", (8, 7, 5), layout="out_in").num_inputs == 5
    assert read("conv.weight", (16, 1, 3, 3), layout="out_in").is_unclear


def test_given_axes_are_taken():
    axes = {"w*": KernelAxes((1,), (2,)), "v": optax.contrib.MuonDimensionNumbers(0, (1, -1)), "u": None}
    assert read("w1", (5, 6, 7), axes=axes) == Kernel("w1", (5, 6, 7), (-2,), (-1,))
    assert read("v", (5, 6, 7), axes=axes).num_outputs == 42
    assert "as axes says" in read("u", (5, 6), axes=axes).reason
    assert read("t", (5, 6), axes=axes).num_inputs == 5
    assert read("t", (5, 6), axes=lambda path, shape: KernelAxes(1, 0)).num_inputs == 6
    for bad in (KernelAxes(0, 0), KernelAxes(0, 3), KernelAxes((), 1)):
        with pytest.raises(ValueError, match=r"axes of 'w' \(5, 6\): .* must be different axes of it"):
            read("w", (5, 6), axes={"w": bad})
    with pytest.raises(ValueError, match="axes: 'x' matches none of w"):
        ec.hold_at_edge(axes={"x": None}).init({"w": jnp.eye(3)})


class Transformer(linen.Module):
    """One block, or a scan over several."""

    depth: int = 0

    @linen.compact
    def __call__(self, x):
        if self.depth:
            blocks = linen.scan(
                Transformer, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.depth
            )
            return blocks(name="blocks")(x)
        y = linen.MultiHeadDotProductAttention(num_heads=8, qkv_features=64)(linen.LayerNorm()(x))
        y = linen.Dense(64)(linen.tanh(linen.Dense(256)(x + y)))
        return x + y, None


def held(params, num_steps=40, **options):
    """Parameters and state after steps without a gradient."""
    optimizer = optax.chain(optax.sgd(0.1), ec.hold_at_edge(**options))
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(num_steps):
        updates, state = update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state[-1]


@pytest.mark.parametrize("depth", [0, 3])
def test_a_transformer_is_held_layer_by_layer(depth):
    """J^2 = 9 at the start: the attention's kernels are square, [64, 8, 8] and [8, 8, 64]."""
    params = jax.tree.map(lambda leaf: 3 * leaf, Transformer(depth).init(KEY, jnp.ones((2, 5, 64)))["params"])
    later, state = held(params)
    assert state.j_squared.shape == (4 * max(depth, 1),)
    np.testing.assert_allclose(state.j_squared, 1, atol=0.02)
    block = later["blocks"] if depth else later
    attention = block["MultiHeadDotProductAttention_0"]
    for name in ("query", "key", "value", "out"):
        layers = np.asarray(attention[name]["kernel"]).reshape(max(depth, 1), 64, 64)
        np.testing.assert_allclose(64 * layers.var((1, 2)), 1, atol=0.02)
    was = params["blocks"] if depth else params
    np.testing.assert_array_equal(block["LayerNorm_0"]["scale"], was["LayerNorm_0"]["scale"])
    np.testing.assert_array_equal(attention["query"]["bias"], was["MultiHeadDotProductAttention_0"]["query"]["bias"])
    assert (np.abs(block["Dense_0"]["kernel"]) < np.abs(was["Dense_0"]["kernel"])).all()


def test_layers_of_a_stack_have_decays_of_their_own():
    one = ec.init_kernel(KEY, 30, j=1.0)
    params = {"layers": {"dense": {"kernel": jnp.stack([0.5 * one, 2 * one, 1.5 * one])}}}
    later, state = held(params)
    places = [float(ec.order_parameters(kernel).j_squared) for kernel in later["layers"]["dense"]["kernel"]]
    np.testing.assert_allclose(places, [0.25 * float(ec.order_parameters(one).j_squared), 1, 1], atol=0.02)
    np.testing.assert_allclose(state.j_squared, places, atol=0.01)
    np.testing.assert_array_equal(later["layers"]["dense"]["kernel"][0], params["layers"]["dense"]["kernel"][0])


def test_nnx_attention_is_read_like_linens():
    attention = nnx.MultiHeadAttention(num_heads=8, in_features=64, decode=False, rngs=nnx.Rngs(0))
    _, state = held(nnx.state(attention, nnx.Param), 1)
    assert state.j_squared.shape == (4,)
    rows = {row.path: row for row in ec.phase_report(attention).rows}
    for name in ("query", "key", "value", "out"):
        kernel = np.asarray(getattr(attention, name).kernel[...]).reshape(64, 64)
        assert rows[f"{name}/kernel"].kind == "square"
        assert rows[f"{name}/kernel"].j_squared == pytest.approx(64 * kernel.var(), rel=1e-5)


def test_report_hold_and_monitor_agree_on_a_stack():
    stack = jnp.stack(
        [ec.init_kernel(key, 24, j=j) for key, j in zip(jax.random.split(KEY, 2), (0.7, 1.4), strict=True)]
    )
    params = {"experts": {"w": stack}, "wte": jnp.ones((30, 24))}
    expected = [float(ec.order_parameters(one).j_squared) for one in stack]
    rows = ec.phase_report(params).rows
    assert [row.path for row in rows] == ["experts/w[0]", "experts/w[1]", "wte"]
    assert [row.shape for row in rows[:2]] == [(24, 24)] * 2
    np.testing.assert_allclose([row.j_squared for row in rows[:2]], expected, rtol=1e-5)
    np.testing.assert_allclose(held(params, 1)[1].j_squared, expected, rtol=1e-5)
    monitor = ec.monitor(every=1)
    _, state = monitor.update(params, monitor.init(params), params)
    trajectory = ec.monitored(state, params)
    assert trajectory.names == ("experts/w[0]", "experts/w[1]")
    np.testing.assert_allclose(trajectory.j_squared[0], expected, rtol=1e-5)
    report = ec.phase_report(params, inputs={"experts/w[1]": np.ones((5, 24))})
    assert [np.isfinite(row.saturated) for row in report.rows] == [False, True, False]


def test_what_may_be_a_kernel_is_told_not_left_out_silently():
    params = {"w": jnp.ones((5, 64, 64)), "hidden": jnp.eye(4)}
    with pytest.warns(UserWarning, match=r"hold_at_edge: 'w' is not held: its axes cannot be told .*give axes="):
        ec.hold_at_edge().init(params)
    with pytest.raises(ValueError, match=r"hold_at_edge: 'w': its axes cannot be told .*give axes="):
        ec.hold_at_edge(select="*").init(params)
    state = ec.hold_at_edge(axes={"w": KernelAxes(1, 2)}).init(params)
    assert state.decay.shape == (6,)


def test_select_takes_glob_patterns():
    params = {
        name: {"kernel": 2 * ec.init_kernel(KEY, 10, j=1.0), "bias": jnp.ones(10)}
        for name in ("hidden_0", "hidden_1", "out")
    }
    assert held(params, 1, select="hidden_*/kernel")[1].decay.shape == (2,)
    later, state = held(params, select=("hidden_0/*", "*"))
    assert state.decay.shape == (1,)
    assert (jnp.abs(later["out"]["kernel"]) < jnp.abs(params["out"]["kernel"])).all()
    np.testing.assert_array_equal(later["out"]["bias"], 1)
    with pytest.raises(
        ValueError, match=r"select matches no kernel \('hidden'\); give select, a glob .*'hidden_0/kernel'"
    ):
        ec.hold_at_edge(select="hidden").init(params)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.hold_at_edge(float("inf")), "target = inf: must be > 0 and finite"),
        (lambda: ec.hold_at_edge().init({}), "there are no parameters"),
        (lambda: ec.hold_at_edge().init({"w": 1e30 * jnp.ones((3, 3))}), "J.2 of 'w' is not a number: .*too large"),
        (lambda: ec.hold_at_edge().init({"w": jnp.full((3, 3), jnp.nan)}), "J.2 of 'w' is not a number"),
        (
            lambda: ec.held_weight_decay(ec.hold_at_edge().init({"w": jnp.eye(3)}), 0.0),
            "learning_rate = 0.0: must be > 0",
        ),
        (
            lambda: ec.held_weight_decay(ec.hold_at_edge().init({"w": jnp.eye(3)}), 0.1, 1.0),
            r"momentum = 1.0: must be in \[0, 1",
        ),
        (
            lambda: ec.held_weight_decay(ec.hold_at_edge().init({"w": jnp.eye(3)}), optax.constant_schedule(0.1)),
            "its present value",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("activation", ["tanh", "erf"])
@pytest.mark.parametrize("j0", [8.0, -30.0])
def test_deep_order_is_order_where_the_edge_is_not_known(activation, j0):
    """At J0 = 8 J and beyond chi is below the smallest number on the way to the edge."""
    row = ec.phase_report({"w": ec.init_kernel(KEY, 400, j0=j0, j=0.9)}, activation).rows[0]
    assert (row.state, row.reason) == ("ordered", "")
    assert row.chi < 1e-6


def test_an_edge_beyond_every_j_is_order():
    row = ec.phase_report({"w": ec.init_kernel(KEY, 400, j0=4.8, j=1.2)}).rows[0]
    assert (row.state, row.edge_j_squared) == ("ordered", np.inf)
    assert (
        ec.phase_report({"w": ec.init_kernel(KEY, 400, j0=4.8, j=1.2)}).to_dict()["rows"][0]["edge_j_squared"] is None
    )


def test_decay_of_the_optimizers_leaves_biases_of_any_shape_alone():
    params = {"query": {"kernel": jnp.ones((4, 2, 2)), "bias": jnp.ones((2, 2))}}
    optimizer = ec.sgd(0.1, weight_decay=0.5)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    assert (updates["query"]["kernel"] < 0).all()
    np.testing.assert_array_equal(updates["query"]["bias"], 0)
