import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from matplotlib.figure import Figure

import edgechaos as ec
from edgechaos.diagnosis.weights import read_weights
from edgechaos.errors import UserError
from tests.processes import ROOT

N = 300


def kernel(j, j0=0.0, seed=0, dtype=np.float32):
    return np.asarray(ec.init_kernel(jax.random.key(seed), N, j0, j)).astype(dtype)


def row(params, path, **options):
    (found,) = [one for one in ec.phase_report(params, **options).rows if one.path == path]
    return found


@pytest.mark.parametrize(
    ("j", "state"), [(0.5, "ordered"), (0.97, "ordered"), (1.03, "edge"), (1.5, "chaotic"), (2.0, "chaotic")]
)
def test_square_kernels_are_placed_by_the_edge(j, state):
    found = row({"w": kernel(j)}, "w")
    assert (found.kind, found.state, found.reason) == ("square", state, "")
    assert found.j_squared == pytest.approx(N * kernel(j).astype(float).var(), rel=1e-5)
    assert found.j0 == pytest.approx(N * kernel(j).astype(float).mean(), abs=1e-4)
    assert found.chi == pytest.approx(float(ec.chi(found.j0, found.j_squared**0.5)), rel=1e-5)


def test_edge_is_a_band_of_two_standard_errors_where_no_size_is_known():
    """Of kernels drawn at J = 1 that are not square, 95 % are within it."""
    states = []
    for seed in range(40):
        found = row({"w": kernel(1.0, seed=seed)[:, 1:]}, "w")
        states.append(found.state)
        assert np.isnan(found.effective_size)
    assert 34 <= states.count("edge") <= 40


def test_edge_of_a_square_kernel_reaches_to_where_chaos_begins():
    """In kernels of this N between J = 1 and J_c, and in a trained-like one of few directions further on."""
    found = row({"w": kernel(1.1)}, "w")
    assert found.effective_size == pytest.approx(N, rel=0.15)
    assert found.critical_j_squared == pytest.approx((1 + 4.7 / found.effective_size**0.5) ** 2 / found.gain, rel=1e-3)
    assert (found.state, 1.1**2 < found.critical_j_squared < 1.5**2) == ("edge", True)
    rng = np.random.default_rng(0)
    low = rng.standard_normal((N, 12)) @ rng.standard_normal((12, N)) * 1.5 / (12 * N) ** 0.5
    shuffled = rng.permutation(low.ravel()).reshape(N, N)
    assert [row({"w": one.astype(np.float32)}, "w").state for one in (low, shuffled)] == ["edge", "chaotic"]
    assert "chaos from J^2 = " in str(ec.phase_report({"w": low.astype(np.float32)}))


def test_the_edge_bends_with_j0():
    found = row({"w": kernel(2.0, 2.6)}, "w")
    assert found.edge_j_squared == pytest.approx(
        float(ec.edge_of_chaos(found.j0 / found.j_squared**0.5)) ** 2, rel=1e-5
    )
    assert found.state == "ordered"  # though J > 1


@pytest.mark.parametrize(("activation", "edge"), [("tanh", 1.0), ("erf", np.pi / 4)])
def test_edge_without_a_mean_is_that_of_the_solver(activation, edge):
    found = row({"w": kernel(0.8)}, "w", activation=activation)
    assert found.edge_j_squared == pytest.approx(edge, rel=1e-6)
    assert float(ec.edge_of_chaos(found.j0 / found.j_squared**0.5, activation)) ** 2 == pytest.approx(edge, rel=1e-3)


def test_relu_has_an_edge_of_its_own():
    found = row({"w": kernel(1.2)}, "w", activation="relu")
    assert found.edge_j_squared == pytest.approx(2, rel=0.05)  # sigma_w^2 = 2 without a mean
    assert found.state == "ordered"


def test_a_rectangular_kernel_is_a_layer_of_a_deep_network():
    wide = np.random.default_rng(0).normal(size=(400, 100)) * 1.3 / 20
    found = row({"w": wide}, "w")
    assert (found.kind, found.state) == ("rectangular", "chaotic")
    assert found.reason == "as a layer of a deep network, as at initialisation"
    # chi_1 of Poole et al. and Schoenholz et al.: sigma_w^2 int Dz phi'(sqrt(q) z)^2 at its fixed point without biases
    j = found.j_squared**0.5
    q = float(ec.fixed_point(0.0, j).q0)
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    expected = j**2 * (weight / weight.sum() * np.cosh(j * q**0.5 * z) ** -4).sum()
    assert found.chi == pytest.approx(expected, rel=2e-3)  # and J0 is that of 400 x 100 entries, not 0


def test_layouts_and_convolutions():
    wide = np.random.default_rng(0).normal(size=(400, 100))
    assert row({"w": wide}, "w").j_squared == pytest.approx(row({"w": wide.T}, "w", layout="out_in").j_squared)
    flax_kernel = np.random.default_rng(1).normal(size=(3, 3, 8, 16))
    one = row({"w": flax_kernel}, "w")
    other = row({"w": flax_kernel.transpose(3, 2, 0, 1)}, "w", layout="out_in")
    assert one.kind == other.kind == "convolution"
    assert one.j_squared == pytest.approx(72 * flax_kernel.var(), rel=1e-5)
    assert other.j_squared == pytest.approx(one.j_squared, rel=1e-5)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (np.ones(5), "bias or scale"),
        (np.float32(3), "a single number"),
        (np.ones((4, 4), int), "int64, not real numbers"),
        (np.ones((0, 4)), "empty"),
        (np.full((4, 4), np.nan), "NaN or infinite entries"),
        (np.ones((4, 4)), "no variance to judge by"),
        (1e9 * np.eye(4), "outside the theory's range"),
    ],
)
def test_what_is_not_judged_has_a_reason(leaf, reason):
    found = row({"w": leaf}, "w")
    assert (found.state, found.reason) == ("", reason)
    assert reason in str(ec.phase_report({"w": leaf}))


def test_embeddings_are_not_judged():
    assert "looked up" in row({"token_embed": {"embedding": kernel(1.0)}}, "token_embed/embedding").reason


class Two(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(jnp.tanh(linen.Dense(7)(x)))


def test_linen_and_nnx_parameters():
    params = Two().init(jax.random.key(0), jnp.ones((1, 7)))
    assert {one.path for one in ec.phase_report(params).rows if one.state} == {
        "params/Dense_0/kernel",
        "params/Dense_1/kernel",
    }
    module = nnx.Linear(6, 6, rngs=nnx.Rngs(0))
    for form in (module, nnx.state(module)):
        report = ec.phase_report(form)
        assert {one.path for one in report.rows} == {"kernel", "bias"}
        assert row(form, "kernel").j_squared == pytest.approx(6 * float(module.kernel[...].var()), rel=1e-5)


def test_bfloat16_is_summed_in_float32():
    exact, coarse = kernel(0.9), jnp.asarray(kernel(0.9)).astype(jnp.bfloat16)
    assert row({"w": coarse}, "w").j_squared == pytest.approx(row({"w": exact}, "w").j_squared, rel=1e-3)


def test_saturated_share_of_given_inputs():
    inputs = np.random.default_rng(0).normal(size=(500, N))
    found = row({"w": kernel(2.0)}, "w", inputs={"w": inputs})
    fields = inputs @ kernel(2.0)
    assert found.saturated == pytest.approx((np.cosh(fields) ** -2.0 < 0.1).mean(), abs=1e-3)
    assert "% saturated" in str(ec.phase_report({"w": kernel(2.0)}, inputs={"w": inputs}))
    dead = row({"w": kernel(2.0)}, "w", activation="relu", inputs={"w": inputs}).saturated
    assert dead == pytest.approx(0.5, abs=0.02)


def test_dictionary_is_plain_and_picture_has_every_judged_layer():
    params = {"a": kernel(0.5), "b": {"kernel": kernel(1.5), "bias": np.zeros(N)}}
    report = ec.phase_report(params)
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [one["path"] for one in content["rows"]] == ["a", "b/bias", "b/kernel"]
    assert content["rows"][1]["chi"] is None
    axes = Figure().subplots()
    report.plot(axes)
    assert axes.get_legend_handles_labels()[1] == ["edge of chaos (Eq. 3)", "a", "b/kernel"]


def test_picture_for_a_function_is_that_of_its_name():
    """Also for one that has the name of nothing known, or of something else."""
    lines = []
    for activation in ("erf", jax.scipy.special.erf, lambda h: jax.scipy.special.erf(h)):
        axes = Figure().subplots()
        ec.phase_report({"w": kernel(0.5)}, activation).plot(axes)
        lines.append(np.asarray(axes.lines[0].get_ydata(), float))
    np.testing.assert_array_equal(lines[0], lines[1])
    np.testing.assert_allclose(lines[0], lines[2], rtol=1e-5)


ONE = {"w": kernel(1.0)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ec.phase_report({}), "params: there is no array in it"),
        (lambda: ec.phase_report(ONE, "tahn"), "activation = 'tahn': must be one of tanh"),
        (lambda: ec.phase_report(ONE, layout="io"), "layout = 'io': must be one of by_name, in_out, out_in"),
        (lambda: ec.phase_report(ONE, normalised="v*"), r"normalised: 'v\*' matches no kernel; there are w"),
        (lambda: ec.phase_report(ONE, learning_rate=0.0), "learning_rate = 0.0: must be > 0"),
        (
            lambda: ec.phase_report(ONE, inputs={"v": np.ones((2, N))}),
            "inputs: there is no 'v'; there are w",
        ),
        (
            lambda: ec.phase_report(ONE, inputs={"w": np.ones((2, 3))}),
            r"must be \[samples, 300\], not \(2, 3\)",
        ),
        (
            lambda: ec.phase_report({**ONE, "s": np.float32(1), "b": np.ones(3)}, inputs={"s": np.ones((2, 1))}),
            "inputs: 's' is no kernel",
        ),
        (
            lambda: ec.phase_report(ONE, inputs={"w": np.full((2, N), np.nan)}),
            r"inputs\['w'\] = nan: must be finite",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def write_safetensors(path, arrays, types) -> None:
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in arrays.items():
        first, data = len(data), data + array.tobytes()
        header[name] = {"dtype": types[name], "shape": array.shape, "data_offsets": [first, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_files_are_read_as_what_was_written(tmp_path):
    arrays: dict[str, np.ndarray] = {
        "a": kernel(0.5),
        "b": np.asarray(jnp.asarray(kernel(1.5)).astype(jnp.bfloat16)),
        "n": np.arange(6).reshape(2, 3),
        "empty": np.zeros((0, 3)),
    }
    types: dict = {"a": "F32", "b": "BF16", "n": "I64", "empty": "F64"}
    write_safetensors(tmp_path / "w.safetensors", arrays, types)
    np.savez(tmp_path / "w.npz", a=arrays["a"])
    read = read_weights(tmp_path / "w.safetensors")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    rows = [ec.phase_report(params).to_dict()["rows"] for params in (tmp_path / "w.npz", {"a": arrays["a"]})]
    both = ec.phase_report(str(tmp_path / "w.safetensors")).to_dict()["rows"]
    assert rows[0] == rows[1] == both[:1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:5],
        lambda content: content[:40],
        lambda content: content[:-4],
        lambda content: (10**12).to_bytes(8, "little") + content[8:],
        lambda content: content.replace(b'"F32"', b'"F99"'),
        lambda content: content.replace(b"[0, 36]", b"[9, 45]"),
        lambda content: content.replace(b"[3, 3]", b"[3, 4]"),
        lambda content: content.replace(b'"shape"', b'"shade"'),
        lambda content: content.replace(b"{", b"[", 1),
    ],
)
def test_damaged_safetensors_is_told(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"a": np.ones((3, 3), np.float32)}, {"a": "F32"})
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    with pytest.raises(UserError, match="is incomplete, or its content is not what its name says"):
        read_weights(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not a file"):
        read_weights(tmp_path / "none.npz")
    (tmp_path / "w.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"must be an \.npz or a \.safetensors file"):
        read_weights(tmp_path / "w.pt")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(UserError, match="has no array that can be read; 'a' is pickled Python objects"):
        read_weights(tmp_path / "objects.npz")


def command(*arguments):
    line = [sys.executable, "-m", "experiments.phase_report", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_command_prints_writes_and_draws(tmp_path):
    np.savez(tmp_path / "w.npz", **{"a/kernel": kernel(1.5), "a/bias": np.zeros(N)})
    files = tmp_path / "report.json", tmp_path / "report.png"
    result = command(f"--params={tmp_path / 'w.npz'}", f"--json={files[0]}", f"--figure={files[1]}")
    assert result.returncode == 0, result.stderr
    assert "chaotic" in result.stdout
    assert json.loads(files[0].read_text()) == ec.phase_report(tmp_path / "w.npz").to_dict()
    assert files[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--params=none.npz",), "'none.npz' is not a file"),
        (("--params=README.md",), "must be an .npz"),
        (("--params=x.npz", "--figure=x.jpg"), "figure = 'x.jpg': must end in .png"),
        ((), "params"),
    ],
)
def test_command_says_what_is_wrong(arguments, message):
    result = command(*arguments)
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
