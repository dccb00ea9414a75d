import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos.diagnosis.depth import depth_law
from edgechaos.diagnosis.jacobians import _check_blocks

KEY = jax.random.key(3)
N = 400


def layers(phi, sigma_w_squared, depth, num_neurons=N, key=KEY):
    """phi(h W) with var(W) = sigma_w^2 / N."""
    kernels = [ec.init_kernel(one, num_neurons, j=sigma_w_squared**0.5) for one in jax.random.split(key, depth)]
    return [lambda h, kernel=kernel: phi(h @ kernel) for kernel in kernels]


def inputs(size, num_samples=16, num_neurons=N, key=KEY):
    return size * jax.random.normal(key, (num_samples, num_neurons))


@pytest.mark.parametrize(
    ("name", "sigma_w_squared"), [("tanh", 0.8), ("tanh", 2.25), ("erf", 0.6), ("erf", 2.0), ("relu", 2.0)]
)
def test_chi_is_that_of_the_theory(name, sigma_w_squared):
    """Behind a transient of 5 layers; a layer of N neurons scatters by up to sqrt(2 / N), 20 of them by that / 4.5."""
    state = ec.fixed_point(0.0, sigma_w_squared**0.5, name)
    q0 = float(state.q0) if 0 < float(state.q0) < np.inf else 1e-6
    phi = {"tanh": jnp.tanh, "erf": jax.scipy.special.erf, "relu": jax.nn.relu}[name]
    profile = ec.jacobian_profile(layers(phi, sigma_w_squared, 25), inputs(q0**0.5), KEY)
    expected = float(ec.chi(0.0, sigma_w_squared**0.5, name))
    # the fourth moment of relu's slopes, kept or cut, adds a variance of 1 / N to that of the weights, 2 / N
    deviation = np.sqrt((3 if name == "relu" else 2) / N / 20)
    assert float(profile.chi[5:].mean()) == pytest.approx(expected, rel=3 * deviation)
    if name == "tanh":
        law = profile.depth_law()
        assert law.law == "exponential"
        assert law.value == pytest.approx(np.log(expected), abs=3 * law.error + 1 / N)  # ln of a mean, mean of a ln


def test_tanh_at_its_edge_falls_by_a_power_law():
    """At sigma_w^2 = 1 the variance falls as 1 / (2 l), chi = 1 - 1 / l, and apjn as 1 / l."""
    law = ec.jacobian_profile(layers(jnp.tanh, 1.0, 40, 500), inputs(1.0, num_neurons=500), KEY).depth_law()
    assert law.law == "power law"
    assert law.value == pytest.approx(-1, abs=3 * law.error)
    assert law.error < 0.15


def test_linear_maps_are_exact():
    """Multiples of orthogonal matrices: no probe and no sample deviates."""
    factors = [2.0, 0.25, 3.0]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    blocks = [functools.partial(jnp.matmul, b=factor * turn) for factor in factors]
    profile = ec.jacobian_profile(blocks, inputs(1.0, 4, 30), KEY)
    np.testing.assert_allclose(profile.chi, np.square(factors), rtol=1e-5)
    np.testing.assert_allclose(profile.apjn, [1, 4, 0.25, 2.25], rtol=1e-5)
    np.testing.assert_allclose(profile.standard_error, 0, atol=1e-5)
    np.testing.assert_allclose(profile.cosine, profile.cosine[0], rtol=1e-4)


def test_against_the_whole_jacobian_of_a_tiny_network():
    blocks = [*layers(jnp.tanh, 1.5, 2, 6), lambda h: h[:, :4] ** 2, lambda h: h.reshape(-1, 2, 2) * 3]
    x = inputs(1.0, 3, 6)
    profile = ec.jacobian_profile(blocks, x, KEY, num_probes=20_000)
    expected = [1.0]
    for depth in range(1, len(blocks) + 1):

        def network(one, depth=depth):
            h = one[None]
            for block in blocks[:depth]:
                h = block(h)
            return h[0]

        jacobians = jax.vmap(jax.jacobian(network))(x)
        expected.append(float((jacobians**2).sum() / len(x) / network(x[0]).size))
    # 3 samples are the whole population here, so that the probes alone deviate: relative sqrt(2 / 60,000) and less
    np.testing.assert_allclose(profile.apjn, expected, rtol=4 * np.sqrt(2 / 60_000))
    np.testing.assert_allclose(profile.chi, np.divide(expected[1:], expected[:-1]), rtol=4 * np.sqrt(2 / 60_000))


def test_errors_are_those_of_repetitions():
    """Under jit and vmap: 200 draws of inputs and probes scatter by their standard errors; also for one sample."""
    blocks = layers(jnp.tanh, 2.0, 4, 50)
    for num_samples in (24, 1):
        fixed = inputs(1.0, 1, 50)

        def draw(key, num_samples=num_samples, fixed=fixed):
            x = inputs(1.0, num_samples, 50, key) if num_samples > 1 else fixed
            return ec.jacobian_profile(blocks, x, key, num_probes=4 if num_samples > 1 else 24)

        found = jax.jit(jax.vmap(draw))(jax.random.split(KEY, 200))
        for value, error in ((found.chi, found.standard_error), (found.apjn[:, 1:], found.apjn_error[:, 1:])):
            scores = (value - value.mean(0)) / error
            # 24 draws know their own error to 15 %, which makes the score's deviation sqrt(23 / 21) = 1.05
            np.testing.assert_allclose(scores.std(0), 1.05, atol=0.2)


def test_numerator_and_denominator_share_their_draws():
    """Inputs of very different gain: apjn is uncertain, but a last block that doubles all has chi = 4 exactly."""
    profile = ec.jacobian_profile([lambda h: h**3, lambda h: 2 * h], inputs(1.0, 32, 20), KEY)
    assert profile.apjn_error[2] > 0.05 * profile.apjn[2]
    assert float(profile.chi[1]) == pytest.approx(4, rel=1e-5)
    assert profile.standard_error[1] < 1e-5


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_depth_neither_overflows_nor_underflows(factor):
    blocks = [lambda h: jax.lax.stop_gradient(h) + factor * (h - jax.lax.stop_gradient(h))] * 100
    profile = ec.jacobian_profile(blocks, inputs(1.0, 4, 8), KEY)
    np.testing.assert_allclose(profile.chi, factor**2, rtol=1e-3)
    assert float(profile.log_apjn[-1]) == pytest.approx(200 * np.log(factor), rel=1e-5)
    assert profile.depth_law().law == "exponential"
    json.dumps(profile.to_dict(), allow_nan=False)


@pytest.mark.usefixtures("double")
def test_float64_and_low_precision():
    x = inputs(1.0, 4, 30).astype(jnp.float64)
    for dtype, tolerance in ((jnp.float64, 1e-12), (jnp.float32, 1e-5), (jnp.bfloat16, 0.03), (jnp.float16, 3e-3)):
        profile = ec.jacobian_profile([lambda h: 3 * h, lambda h: h / 8], x.astype(dtype), KEY)
        assert profile.apjn.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
        np.testing.assert_allclose(profile.apjn, [1, 9, 9 / 64], rtol=tolerance)


def normalised(h):
    h = h - h.mean(-1, keepdims=True)
    return h / jnp.sqrt((h**2).mean(-1, keepdims=True))


def residual(branch, depth, num_neurons=300, j=1.0, key=KEY):
    kernels = [ec.init_kernel(one, num_neurons, j=j) for one in jax.random.split(key, depth)]
    return [lambda h, kernel=kernel: h + branch(h) @ kernel for kernel in kernels]


def test_residual_blocks_with_layer_norm_grow_by_a_power_law():
    """J^2 = 2: a branch adds 1 to the variance 1 + l of the stream, so chi = 1 + 1 / (1 + l), and apjn = 1 + l."""
    blocks = residual(lambda h: jax.nn.relu(normalised(h)), 60, j=2**0.5)
    law = ec.jacobian_profile(blocks, inputs(1.0, num_neurons=300), KEY).depth_law()
    assert law.law == "power law"
    assert law.value == pytest.approx(1, abs=3 * law.error)


def test_residual_blocks_without_it_grow_exponentially():
    """chi = 1 + J^2 / 2 of relu in each block."""
    profile = ec.jacobian_profile(residual(jax.nn.relu, 60, j=0.5), inputs(1.0, num_neurons=300), KEY)
    law = profile.depth_law()
    assert law.law == "exponential"
    assert law.value == pytest.approx(np.log(1.125), abs=3 * law.error)
    # a random block of weight 1/9 in the whole scatters by 2 / 9 of sqrt(3 / N) and less, 60 of them by that / 7.7
    assert float(profile.chi.mean()) == pytest.approx(1.125, abs=3 * 1.125 * 2 / 9 * np.sqrt(3 / 300 / 60))


def test_tanh_in_place_of_layer_norm_grows_as_a_stretched_exponential():
    """q grows by E tanh^2, chi = 1 + E sech^4 = 1 + (4/3) / sqrt(2 pi q): ln apjn ~ 8 / (3 sqrt(2 pi)) sqrt(l)."""
    z = np.linspace(-8, 8, 4001)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    q, expected = 1.0, [0.0]
    for _ in range(100):
        expected.append(expected[-1] + np.log(1 + weight @ np.cosh(q**0.5 * z) ** -4))
        q += weight @ np.tanh(q**0.5 * z) ** 2
    profile = ec.jacobian_profile(residual(jnp.tanh, 100), inputs(1.0, num_neurons=300), KEY)
    law, theory = profile.depth_law(), depth_law(np.array(expected))
    assert law.law == theory.law == "stretched exponential"
    assert law.value == pytest.approx(theory.value, abs=3 * law.error)
    relative = float(profile.apjn_error[-1] / profile.apjn[-1])
    assert float(profile.log_apjn[-1]) == pytest.approx(expected[-1], abs=3 * relative)


def pairs(angle, num_neurons, key=KEY):
    """Two inputs of length sqrt(N) at an angle."""
    one, other = jax.random.normal(key, (2, num_neurons))
    one, other = one / jnp.linalg.norm(one), other / jnp.linalg.norm(other)
    other = other - one * (one @ other)
    other = other / jnp.linalg.norm(other)
    return jnp.stack([one, jnp.cos(angle) * one + jnp.sin(angle) * other]) * num_neurons**0.5


def test_small_angles_change_as_the_tangents_do():
    """tanh at sigma_w^2 = 4: an angle of 1e-4 grows by sqrt(chi) per layer as long as it is small."""
    x = pairs(1e-4, N) * float(ec.fixed_point(0.0, 2.0).q0) ** 0.5
    profile = ec.jacobian_profile(layers(jnp.tanh, 4.0, 30), x, KEY)
    law = profile.angle_law()
    assert float(profile.angles[0, 0]) == pytest.approx(1e-4, rel=0.01)
    assert law.law == "exponential"
    assert law.value == pytest.approx(np.log(float(ec.chi(0.0, 2.0))) / 2, abs=3 * law.error)
    # a vector's logarithm scatters by sqrt(2 / N) / 2 at each layer for its weights, and by as much for the slopes
    assert law.error < 2 * np.sqrt(1 / N / 30)


def test_relu_turns_all_inputs_together_by_a_power_law():
    """theta' = theta - theta^2 / (3 pi) for small angles of the arc cosine kernel: theta ~ 3 pi / l."""
    profile = ec.jacobian_profile(layers(jax.nn.relu, 2.0, 60, 700), inputs(1.0, 16, 700), KEY)
    theta = [np.pi / 2]
    for _ in range(60):
        theta.append(np.arccos((np.sin(theta[-1]) + (np.pi - theta[-1]) * np.cos(theta[-1])) / np.pi))
    theory, law = depth_law(np.log(theta)), profile.angle_law()
    assert theory.law == "power law"
    # the network's disorder is the same for all 16 inputs: it may leave the root of the depth beside the power
    (power,) = [one for one in (law, *law.candidates) if one.law == "power law"]
    assert not [one for one in (law, *law.candidates) if one.law in ("exponential", "flat")]
    assert power.value == pytest.approx(theory.value, abs=3 * power.error)


def test_equal_inputs_and_single_ones_have_no_law_of_the_angle():
    blocks = layers(jnp.tanh, 1.0, 6, 20)
    equal = ec.jacobian_profile(blocks, jnp.ones((2, 20)), KEY)
    np.testing.assert_allclose(equal.cosine, 1)
    single = ec.jacobian_profile(blocks, jnp.ones((1, 20)), KEY)
    assert np.isnan(single.cosine).all()
    for profile in (equal, single):
        assert profile.angle_law().law == "undecided"
        assert json.loads(json.dumps(profile.to_dict(), allow_nan=False))["rows"][0]["chi"] is None


def test_table_dictionary_and_picture():
    profile = ec.jacobian_profile(
        layers(jnp.tanh, 2.25, 8, 100), inputs(0.8, 4, 100), KEY, names=[f"layer_{i}" for i in range(8)]
    )
    lines = str(profile).split("\n")
    assert len(lines) == 1 + 9 + 2
    assert lines[2].startswith("layer_0 ")
    assert lines[-2].startswith("apjn: ")
    content = json.loads(json.dumps(profile.to_dict(), allow_nan=False))
    assert [row["name"] for row in content["rows"]] == ["input", *(f"layer_{i}" for i in range(8))]
    assert content["rows"][3]["chi"] == pytest.approx(float(profile.chi[2]))
    axes = Figure().subplots()
    profile.plot(axes)
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), np.log10(profile.apjn), rtol=1e-4, atol=1e-6)
    batch = jax.vmap(lambda key: ec.jacobian_profile([jnp.tanh], jnp.ones((2, 3)), key))(jax.random.split(KEY, 2))
    assert str(batch).startswith("JacobianProfile(")


def test_what_does_not_depend_on_the_input():
    profile = ec.jacobian_profile([jnp.tanh, jnp.zeros_like, jnp.tanh], jnp.ones((2, 5)), KEY)
    np.testing.assert_array_equal(profile.apjn[2:], 0)
    np.testing.assert_array_equal(np.isnan(profile.chi), [False, False, True])
    assert profile.depth_law().law == "undecided"


ONES = jnp.ones((4, 3))


@pytest.mark.parametrize(
    ("blocks", "x", "options", "message"),
    [
        ([], ONES, {}, "blocks: the list is empty"),
        ([jnp.tanh], ONES, {"num_probes": 0}, "num_probes = 0: must be >= 1"),
        ([jnp.tanh], ONES.at[1, 1].set(jnp.nan), {}, "x = nan: must be finite"),
        ([jnp.tanh], ONES.astype(int), {}, r"x = array of int32\[4, 3\]: must be real numbers"),
        ([jnp.tanh], ONES.astype(complex), {}, r"x = array of complex64\[4, 3\]: must be real numbers"),
        ([jnp.tanh], jnp.ones((0, 3)), {}, r"x = array of float32\[0, 3\]: must be \[samples, ...\]"),
        ([jnp.tanh], ONES, {"names": ["a", "b"]}, "names: there are 2 for 1 blocks"),
        ([jnp.tanh, lambda h: h[:2]], ONES, {}, r"blocks: '1' turns 4 samples into an array of shape \[2, 3\]"),
        ([lambda h: h.sum()], ONES, {}, r"blocks: '0' turns 4 samples into an array of shape \[\]"),
        ([lambda h: (h, h)], ONES, {}, "blocks: '0' must give an array of real numbers"),
        ([lambda h: h.astype(int)], ONES, {}, "blocks: '0' must give an array of real numbers"),
        ([jnp.log], 0 * ONES, {}, "blocks: '0 log' gives numbers or derivatives that are not finite"),
        ([jnp.sqrt], 0 * ONES, {}, "blocks: '0 sqrt' gives numbers or derivatives that are not finite"),
        ([jnp.tanh, lambda h: h - h.mean(0)], ONES, {}, "blocks: '1' mixes samples"),
        ([lambda h: h[::-1]], ONES[:2], {}, "blocks: '0' mixes samples"),
    ],
)
def test_bad_input_is_one_clear_error(blocks, x, options, message):
    with pytest.raises(ValueError, match=message):
        ec.jacobian_profile(blocks, x, KEY, **options)


def test_number_without_samples_is_refused():
    with pytest.raises(ValueError, match=r"must be \[samples, \.\.\.\]"):
        _check_blocks([jnp.tanh], jnp.ones(()), None)


@pytest.mark.parametrize(
    ("logarithms", "law", "value"),
    [
        (0.3 * np.arange(20.0), "exponential", 0.3),
        (-0.7 * np.log(np.arange(20) + 2.0), "power law", -0.7),
        (1.3 * np.sqrt(np.arange(20) + 1.0), "stretched exponential", 1.3),
        (np.zeros(20), "flat", 0),
    ],
)
def test_laws_without_noise(logarithms, law, value):
    found = depth_law(logarithms)
    assert found.law == law
    assert found.value == pytest.approx(value, rel=2e-3, abs=1e-9)  # the offset is looked for on a grid


def test_noise_makes_a_law_undecided_and_never_another():
    """40 blocks of growth 0.1 each: decided at noise 0.01, undecided at 1, and the right law among those named."""
    rng = np.random.default_rng(0)
    for noise, fewest in ((0.01, 99), (1.0, 0)):
        found = [depth_law(np.cumsum(0.1 + noise * rng.normal(size=40))) for _ in range(100)]
        assert sum(one.law == "exponential" for one in found) >= fewest
        assert sum(one.law not in ("exponential", "undecided") for one in found) <= 5
    assert {one.law for one in found} >= {"undecided"}
    assert len(found[0].candidates) > 1 or found[0].law != "undecided"


@pytest.mark.parametrize("law", ["exponential", "stretched exponential", "power law"])
def test_laws_in_noise(law):
    """60 blocks whose growth scatters by 18 % and by 0.06: nearly never another law, and mostly the right one."""
    depth, rng = np.arange(61.0), np.random.default_rng(4)
    logarithms = {
        "exponential": 0.15 * depth,
        "stretched exponential": 1.2 * np.sqrt(depth + 1),
        "power law": np.log(depth + 1),
    }[law]
    found = []
    for _ in range(100):
        growths = np.diff(logarithms) * (1 + 0.18 * rng.normal(size=60)) + 0.06 * rng.normal(size=60)
        found.append(depth_law(np.cumsum(np.append(0, growths))).law)
    assert found.count(law) + found.count("undecided") >= 95
    assert found.count(law) >= (30 if law == "stretched exponential" else 80)  # between the two others


def test_errors_of_rate_and_exponent_are_those_of_repetitions():
    rng = np.random.default_rng(1)
    for mean, value in ((np.full(60, 0.2), 0.2), (2 * np.diff(np.log(np.arange(61) + 1.0)), 2.0)):
        found = [depth_law(np.cumsum(np.append(0, mean + 0.02 * rng.normal(size=60)))) for _ in range(200)]
        scores = [(one.value - value) / one.error for one in found if one.law != "undecided"]
        assert len(scores) > 150
        # an exponent's offset is a second parameter of a curved fit, whose errors are those of its linearisation
        assert 0.8 < np.std(scores) < 1.3


def test_flat_needs_a_bound():
    """Little noise excludes a factor of 2 over the depth; much does not."""
    rng = np.random.default_rng(2)
    assert depth_law(np.cumsum(0.01 * rng.normal(size=30))).law == "flat"
    wide = depth_law(np.cumsum(1.0 * rng.normal(size=30)))
    assert wide.law == "undecided"
    assert "flat" in str(wide)


def test_few_blocks_and_infinite_numbers_are_undecided():
    for logarithms in (np.arange(4.0), np.array([0, 1, -np.inf, 1, 2, 3, 4])):
        found = depth_law(logarithms)
        assert found.law == "undecided"
        assert found.to_dict()["value"] is None
        assert "fewer than 5 blocks" in str(found)
