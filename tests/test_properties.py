"""What must hold for every input, on inputs that hypothesis makes up; the same ones at each run."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import edgechaos as ec
from configs import fig6
from edgechaos import analysis, files
from edgechaos.data import mnist_family, npz
from edgechaos.diagnosis import weights
from edgechaos.errors import UserError
from edgechaos.runs import fields
from edgechaos.runs.config import TRAINING_FIELDS, TrainingConfig
from edgechaos.training.hold import _MOST_DECAY, _MOST_STEPS, _control

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-3, 3), st.floats(), st.text(max_size=2)), max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
REAL = st.floats(-1e3, 1e3, allow_subnormal=False)
POSITIVE = st.floats(1e-3, 1e3)


def outcome(function, *arguments):
    """(result, ''), or (None, what a UserError says); any other error is one too many."""
    try:
        return function(*arguments), ""
    except UserError as error:
        return None, str(error)


@given(field=st.sampled_from(sorted(TRAINING_FIELDS)), value=VALUES)
def test_any_value_is_taken_or_named(field, value):
    given_config = fig6.get_config("digits").to_dict() | {field: value}
    validated, message = outcome(fields.validate, given_config, TrainingConfig)
    if validated is None:
        assert field in message or (field, "seed = ") == ("num_seeds", message[:7])
        return
    for name, one in TRAINING_FIELDS.items():
        assert type(getattr(validated, name)) is one.type
        assert one.allows(getattr(validated, name))


@given(
    sweep=st.dictionaries(
        st.one_of(st.sampled_from(["learning_rate", "momentum", "batch_size", "epochs"]), st.text(max_size=5)),
        st.one_of(VALUES, st.lists(st.floats(), max_size=3).map(tuple)),
        max_size=3,
    ),
    mode=st.sampled_from(["product", "zip"]),
)
def test_any_sweep_is_taken_or_named(sweep, mode):
    given_config = fig6.get_config("digits").to_dict() | {"sweep": sweep, "sweep_mode": mode}
    validated, message = outcome(fields.validate, given_config, TrainingConfig)
    if validated is None:
        assert "sweep" in message
        return
    for name, values in validated.sweep.items():
        assert all(TRAINING_FIELDS[name].allows(value) for value in values)


@given(slope=REAL, intercept=REAL, entries=st.integers(3, 30))
def test_a_line_is_fitted_as_it_is(slope, intercept, entries):
    line = intercept + slope * np.arange(entries)
    size = abs(intercept) + abs(slope) * entries
    found = ec.fit_slope(line, entries - 1)
    assert float(found.slope) == pytest.approx(slope, abs=1e-5 * size + 1e-6)
    assert float(found.intercept) == pytest.approx(intercept, abs=1e-5 * size + 1e-6)
    on_host = analysis.fit_line(np.arange(float(entries)), line)
    assert on_host.slope == pytest.approx(slope, abs=1e-9 * size + 1e-9)


@given(power=st.floats(-3, 3), factor=POSITIVE, x=st.lists(POSITIVE, min_size=3, max_size=9, unique=True))
def test_a_power_law_is_fitted_whatever_the_units(power, factor, x):
    x = np.array(x)
    if np.ptp(np.log(x)) < 1e-3:
        return
    found, error = analysis.power_law(x, factor * x**power)
    assert found == pytest.approx(power, abs=1e-6)
    assert error < 1e-6


KERNELS = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**31 - 1))


def kernel_of(rows, columns, seed):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@given(made=KERNELS, factor=st.floats(-10, 10), shift=st.floats(-10, 10))
def test_order_parameters_are_mean_and_variance(made, factor, shift):
    """They know nothing of the order of the entries, and scale and shift as a mean and a variance do."""
    kernel = kernel_of(*made)
    place, n_in = ec.order_parameters(jnp.asarray(kernel)), kernel.shape[0]
    shuffled = np.random.default_rng(0).permutation(kernel.ravel()).reshape(kernel.shape)
    other = ec.order_parameters(jnp.asarray(shuffled))
    assert float(other.j0) == pytest.approx(float(place.j0), abs=1e-4)
    assert float(other.j_squared) == pytest.approx(float(place.j_squared), rel=1e-4)
    changed = ec.order_parameters(jnp.asarray(factor * kernel + shift, jnp.float32))
    assert float(changed.j0) == pytest.approx(factor * float(place.j0) + n_in * shift, abs=1e-2)
    expected = factor**2 * float(place.j_squared)
    assert float(changed.j_squared) == pytest.approx(expected, rel=1e-2, abs=1e-2 * n_in * abs(shift * factor) + 1e-3)


@given(j0=st.floats(-20, 20), j=st.floats(0.01, 50))
def test_fixed_point_of_tanh_is_a_state(j0, j):
    state = ec.fixed_point(j0, j)
    assert abs(float(state.mu)) <= 1
    assert float(state.mu) ** 2 <= float(state.q0) + 1e-5
    assert 0 <= float(state.q0) <= 1
    chi = float(ec.chi(j0, j))
    assert 0 <= chi <= 1.001 * j**2
    if j < 0.99 and abs(j0) < 0.99:
        assert chi == pytest.approx(j**2, rel=1e-4)
    mirrored = float(ec.fixed_point(abs(j0), j).q0)  # what x_t -> (-1)^t x_t makes of J0 < 0
    assert -1e-5 <= float(ec.overlap(j0, j)) <= mirrored + 1e-5


@given(ratios=st.lists(st.floats(0, 1.5), min_size=2, max_size=6))
def test_the_edge_is_at_1_and_bends_upwards(ratios):
    ratios = np.sort(np.array(ratios + [1.0] * (6 - len(ratios)), np.float32))
    edge = np.asarray(ec.edge_of_chaos(ratios))
    np.testing.assert_allclose(edge[ratios < 0.999], 1, rtol=1e-4)
    assert (np.diff(edge) >= -1e-4 * edge[1:]).all()


STATES = st.tuples(
    st.floats(1e-4, 1e4),
    st.floats(-10, 10),
    st.floats(-0.1, 0.1),
    st.integers(1, 20),
    st.integers(0, 5),
)


@given(made=STATES, j_squared=st.floats(1e-6, 1e6), target=st.floats(0.01, 100), two_sided=st.booleans())
def test_the_controller_is_bounded_and_finite(made, j_squared, target, two_sided):
    state = state_of(*made)
    later = _control(state, jnp.full(1, j_squared), target, two_sided)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(later))
    most = np.float32(_MOST_DECAY)
    assert (-most if two_sided else 0) <= float(later.decay[0]) <= most
    assert 1 <= int(later.interval) <= _MOST_STEPS
    assert float(later.mean_square_decay[0]) >= 0


@given(growth=st.floats(1e-6, 0.05), low=st.floats(0.3, 3), high=st.floats(0.3, 3))
def test_more_variance_means_no_less_decay(growth, low, high):
    """At one free growth, between two settled measurements."""
    low, high = sorted((low, high))

    def settled(j_squared):
        """The decay that follows when the free growth is `growth` at J^2, whatever the decay took before."""
        state = state_of(j_squared - growth, growth, 0.0, 1, 2)
        return float(_control(state, jnp.full(1, j_squared), 1.0, False).decay[0]) * j_squared

    assert settled(high) >= settled(low) * (1 - 1e-2) - 1e-6


def state_of(j_squared, growth, decay, interval, num_measurements):
    one, whole = jnp.ones(1), jnp.ones((), jnp.int32)
    start = ec.hold_at_edge().init({"kernel": jnp.eye(2)})
    return start._replace(
        j_squared=j_squared * one,
        growth=growth * one,
        decay=decay * one,
        interval=interval * whole,
        num_measurements=num_measurements * whole,
        scale=abs(growth) * one,
    )


@given(
    learning_rate=st.floats(1e-4, 1),
    momentum=st.floats(0, 0.95),
    batch_size=st.integers(1, 512),
    weight_decay=st.floats(1e-8, 1e-2),
)
def test_a_conversion_there_and_back_is_none(learning_rate, momentum, batch_size, weight_decay):
    setting = ec.Setting(learning_rate, momentum, batch_size)
    for convention in ("keras_l2", "torch_sgd", "optax_decayed_weights", "adamw"):
        there = ec.convert_weight_decay(weight_decay, "paper", convention, setting)
        back = ec.convert_weight_decay(there, convention, "paper", setting)
        assert back == pytest.approx(weight_decay, rel=1e-5)


@given(initial=POSITIVE, slope=st.floats(1e-4, 10), rate=st.floats(0, 1), epochs=st.floats(0, 1e4))
def test_growth_in_closed_form_stays_between_its_ends(initial, slope, rate, epochs):
    value = float(ec.j_squared_after(epochs, initial, slope, rate))
    assert math.isfinite(value)
    ends = sorted((initial, slope / rate if rate > 0 else math.inf))
    assert ends[0] * 0.999 - 1e-4 <= value <= ends[1] * 1.001 + 1e-4


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Arrays longer than what zipfile reads ahead, so that a reader may stop before it has met the CRC."""
    folder = tmp_path_factory.mktemp("intact")
    files.write_npz(folder / "a.npz", {"x": np.arange(1800.0).reshape(3, 600), "y": np.ones((3, 4), np.float32)})
    assert (folder / "a.npz").read_bytes()[ROWS : ROWS + 6] == b"3, 600"
    return folder / "a.npz"


ROWS = 116  # where the shape of the first array begins
HEADERS = st.one_of(st.integers(0, 300), st.integers(-600, -1))  # of the first array and of the last, and the directory


@example(place=ROWS, bit=1, cut=False)  # 1 row instead of 3
@given(place=st.one_of(HEADERS, st.integers(0, 10**6)), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_to_an_npz_is_seen_or_does_not_matter(intact, tmp_path, place, bit, cut):
    """A flip in a field that no reader needs (a time stamp, say) may leave the arrays as they are."""
    content = bytearray(intact.read_bytes())
    place %= len(content)
    if cut:
        content = content[:place]
    else:
        content[place] ^= 1 << bit
    path, expected = tmp_path / "damaged.npz", dict(np.load(intact, allow_pickle=False))
    path.write_bytes(content)
    for read in (files.read_npz, weights.read_weights):
        found, message = outcome(read, path)
        if found is None:
            assert str(path) in message
            continue
        # a name in the directory at the end has no check of its own
        assert len(found) == len(expected)
        for one, other in zip(found.values(), expected.values(), strict=True):
            if read is weights.read_weights and isinstance(one, weights.Unread):
                continue  # its name says no more that it is an array, which the report says
            np.testing.assert_array_equal(one, other)


@given(
    content=st.binary(max_size=200), magic=st.sampled_from([b"", b"PK\3\4", b"\x93NUMPY\1\0", b"\2\0\0\0\0\0\0\0{}"])
)
def test_any_bytes_as_a_file_are_refused_in_a_sentence(tmp_path, content, magic):
    for name, read in (
        ("a.npz", files.read_npz),
        ("b.npz", npz.load),
        ("c.safetensors", weights.read_weights),
        ("d.npz", weights.read_weights),
    ):
        path = tmp_path / name
        path.write_bytes(magic + content)
        assert "\n" not in outcome(read, path)[1]


NUMBERS = st.integers(-1, 12)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I8", "U16", "complex"]),
        "shape": st.lists(st.one_of(st.integers(0, 3), st.integers(-1, 2**40), st.floats(0, 2)), max_size=2),
        "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2),
    }
)
BYTES = {"F32": 4, "F16": 2, "I8": 1, "U16": 2}


def fits(entry, size):
    """Whether an array is where the format wants it: as many bytes as its type and shape say, within the file."""
    (first, last), shape = entry["data_offsets"], entry["shape"]
    whole = all(isinstance(length, int) and length >= 0 for length in shape)
    within = 0 <= first <= last <= size
    return entry["dtype"] in BYTES and whole and within and last - first == BYTES[entry["dtype"]] * math.prod(shape)


@given(entry=ENTRIES, fitting=st.booleans(), data=st.binary(max_size=12), lost=st.integers(0, 2))
def test_any_header_of_safetensors_is_followed_or_refused(tmp_path, entry, fitting, data, lost):
    if fitting and entry["dtype"] in BYTES and all(isinstance(one, int) for one in entry["shape"]):
        last = entry["data_offsets"][0] + BYTES[entry["dtype"]] * math.prod(entry["shape"])
        entry = {**entry, "data_offsets": [entry["data_offsets"][0], last]}
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes((len(header) + (1000 if lost == 1 else 0)).to_bytes(8, "little") + header + data)
    found, message = outcome(weights.read_weights, path)
    if lost == 1 or not fits(entry, len(data)) or entry["dtype"] == "U16":  # which is not read, with a reason
        assert str(path) in message
        assert "\n" not in message
        return
    assert found["a"].shape == tuple(entry["shape"])
    assert found["a"].tobytes() == data[slice(*entry["data_offsets"])]


@given(
    magic=st.sampled_from([b"\0\0\x08", b"\0\0\x08", b"\0\0\x0d", b"\1\0\x08"]),
    shape=st.lists(st.one_of(st.integers(0, 4), st.sampled_from([2**16, 2**31])), max_size=4),
    wrong=st.sampled_from([0, 0, 1, -1, -100]),
)
@example(magic=b"\0\0\x08", shape=[2**16] * 4, wrong=-300)
@example(magic=b"\0\0\x08", shape=[2, 2], wrong=-6)
def test_any_header_of_idx_is_followed_or_refused(magic, shape, wrong):
    """Sizes beyond the file are refused, also where their product is 2^64, which is 0 in 64 bits."""
    count = math.prod(shape)
    payload = np.random.default_rng(0).integers(256, size=min(count, 300), dtype=np.uint8).tobytes()
    header = magic + bytes([len(shape)]) + np.array(shape, ">u4").tobytes()
    content = header + payload
    content = content + b"x" * wrong if wrong > 0 else content[: len(content) + wrong]
    found, message = outcome(mnist_family.parse_idx, content)
    if magic != b"\0\0\x08" or wrong or count != len(payload):
        assert message.startswith(("not an IDX file", "the IDX header announces"))
        return
    assert found.shape == tuple(shape)
    assert found.tobytes() == payload
