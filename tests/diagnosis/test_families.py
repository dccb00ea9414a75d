"""What each array of well-known models is taken for, by names and shapes alone; nothing of their size is allocated."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import edgechaos as ec
from edgechaos.diagnosis import roles
from edgechaos.diagnosis.weights import read_weights
from edgechaos.training.kernels import Kernel, read_kernel
from edgechaos.training.names import layouts

FAMILIES = sorted((Path(__file__).parent / "families").glob("*.txt"))
ROLES = {
    roles.LOGITS: "logits",
    roles.FUSED: "fused",
    roles.READOUT: "readout",
    roles.NORMALISED: "normalised",
}
REASONS = ("bias or scale", "embedding", "single vector", "depthwise")


def fixture(path):
    """Name -> shape, and name -> what it is taken for; columns are two spaces apart."""
    columns = re.findall(r"^([^#\s]\S*) +(\d[\d ]*?) {2,}(\S.*)$", path.read_text(), re.MULTILINE)
    shapes = {name: tuple(map(int, shape.split())) for name, shape, _ in columns}
    return shapes, {name: expected for name, _, expected in columns}


def taken_for(arrays):
    """What the report takes each array for, in the words of the fixtures."""
    shapes = {name: array.shape for name, array in arrays.items()}
    of = layouts(shapes)
    found = {name: read_kernel(name, array, layout=of[name]) for name, array in arrays.items()}
    kernels = {name: one for name, one in found.items() if isinstance(one, Kernel)}
    reasons = roles.unjudged(kernels, shapes)

    def words(name, one):
        if not isinstance(one, Kernel):
            return next((reason for reason in REASONS if reason in one.reason), "unclear")
        layers = f" x {len(one.names)}" if one.stack else ""
        return f"{one.num_inputs} -> {one.num_outputs}{layers}, {ROLES.get(reasons.get(name, ''), 'judged')}"

    return {name: words(name, one) for name, one in found.items()}


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_names_of_the_family(path):
    shapes, expected = fixture(path)
    assert taken_for({name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}) == expected


def test_there_is_a_fixture_for_each_family():
    assert len(FAMILIES) == 17
    for path in FAMILIES:
        assert len(fixture(path)[0]) == len(path.read_text().splitlines()) - 1 >= 5


def header_only(path, shapes):
    """A .safetensors file whose arrays are a hole of zeros, which takes no room on the disk."""
    header, first = {}, 0
    for name, shape in shapes.items():
        last = first + 4 * int(np.prod(shape))
        header[name], first = {"dtype": "F32", "shape": shape, "data_offsets": [first, last]}, last
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + first)
    return path


def test_names_of_a_file_are_taken_for_the_same(tmp_path):
    """Llama 3 8B: a block and the embeddings, 5 GB, of which only the header is looked at."""
    shapes, expected = fixture(Path(__file__).parent / "families" / "llama.txt")
    assert taken_for(read_weights(header_only(tmp_path / "w.safetensors", shapes))) == expected


def small(name, factor):
    """Normal arrays in the shapes of a family, each axis divided by a factor; scales are 1."""
    shapes, expected = fixture(Path(__file__).parent / "families" / f"{name}.txt")
    rng, params = np.random.default_rng(0), {}
    for path, shape in shapes.items():
        less = tuple(size // factor if size >= factor else size for size in shape)
        params[path] = rng.normal(size=less).astype(np.float32) if len(less) > 1 else np.ones(less, np.float32)
    return params, expected


def test_report_of_a_transformer_says_what_weights_cannot_know():
    params, expected = small("gpt2", 16)
    report = ec.phase_report(params, "relu")
    rows = {row.path: row for row in report.rows}
    assert {path for path, row in rows.items() if row.state} == {
        path for path, words in expected.items() if words.endswith("judged")
    }
    assert rows["h.0.attn.c_proj.weight"].reason == "as at initialisation"  # square
    assert rows["h.0.mlp.c_fc.weight"].reason == "as a layer of a deep network, as at initialisation"
    assert rows["h.0.attn.c_attn.weight"].reason == roles.FUSED
    assert rows["h.0.attn.c_attn.weight"].j_squared == pytest.approx(48, rel=0.1)  # 48 inputs, of variance 1
    assert rows["lm_head.weight"].reason == roles.READOUT
    assert "weights do not show normalisation" in str(report).splitlines()[-2]
    assert "weights do not show" not in str(ec.phase_report({"w": params["h.0.attn.c_proj.weight"]}))


def test_rows_before_a_normalisation_give_the_effective_learning_rate():
    params, _ = small("resnet", 4)
    rows = {row.path: row for row in ec.phase_report(params, "relu", learning_rate=0.1).rows}
    row = rows["layer1.0.conv2.weight"]
    assert (row.state, row.reason) == ("", roles.NORMALISED)
    assert row.j_squared == pytest.approx(16 * 9 * params[row.path].var(), rel=1e-5)
    assert row.effective_learning_rate == pytest.approx(0.1 / (params[row.path] ** 2).sum(), rel=1e-5)
    assert np.isnan(rows["fc.weight"].effective_learning_rate)
    assert "eta / |W|^2 = " in str(ec.phase_report(params, "relu", learning_rate=0.1))
    assert "eta / |W|^2" not in str(ec.phase_report(params, "relu"))
    assert ec.phase_report(params, "relu").to_dict()["rows"][0]["effective_learning_rate"] is None


def test_which_kernels_are_normalised_can_be_said():
    params, _ = small("resnet", 4)
    nothing = ec.phase_report(params, "relu", normalised=()).rows
    assert not [row for row in nothing if row.reason == roles.NORMALISED]
    given = {row.path for row in ec.phase_report(params, normalised=("fc*", "conv1*")).rows if row.state == ""}
    assert {"fc.weight", "conv1.weight"} <= given
    assert "layer1.0.conv2.weight" not in given
