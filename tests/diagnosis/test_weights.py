import io
import json
import os
import shlex
import subprocess
import sys
import tracemalloc

import flax.serialization
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import edgechaos as ec
from edgechaos.diagnosis.command import write_report
from edgechaos.diagnosis.weights import Unread, read_weights
from edgechaos.errors import UserError
from tests.processes import ROOT

TREE = {"hidden": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3), "bias": np.ones(3, np.float32)}}


def write(path, header, data=b""):
    """A .safetensors file with any header: a dictionary, or text as it is."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(kind, shape, first, last):
    return {"dtype": kind, "shape": shape, "data_offsets": [first, last]}


ONE = entry("F32", [2, 2], 0, 16)
ZEROS = bytes(16)


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "U16", "U32", "U64", "C64", "F4", "F6_E2M3"])
def test_types_that_are_not_read_are_skipped_with_the_reason(tmp_path, kind):
    size = {"U16": 16, "U32": 32, "U64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6}.get(kind, 8) * 4 // 8
    header = {"good": ONE, "other": entry(kind, [2, 2], 16, 16 + size)}
    path = write(tmp_path / "w.safetensors", header, np.eye(2, dtype=np.float32).tobytes() + bytes(size))
    read = read_weights(path)
    np.testing.assert_array_equal(read["good"], np.eye(2))
    assert read["other"] == Unread((2, 2), f"{kind}, a type that is not read")
    report = ec.phase_report(path)
    assert [row.state != "" for row in report.rows] == [True, False]
    assert f"not judged  ({kind}, a type that is not read)" in str(report)


def test_arrays_stay_on_disk(tmp_path):
    """Reading 64 MiB allocates a header; a report holds one array of 4 MiB, as float32, and its squares."""
    count, side = 16, 1024
    size = 4 * side * side
    header = {f"layer_{i:02}": entry("F32", [side, side], i * size, (i + 1) * size) for i in range(count)}
    data = np.random.default_rng(0).normal(size=(count, side, side)).astype(np.float32)
    path = write(tmp_path / "w.safetensors", header, data.tobytes())
    tracemalloc.start()
    try:
        read = read_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        report = ec.phase_report(path)
        assert tracemalloc.get_traced_memory()[1] < 0.3 * count * size
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read["layer_07"], data[7])
    assert len(report.rows) == count
    assert isinstance(read["layer_07"], np.ndarray)
    assert not read["layer_07"].flags.owndata


def test_data_need_not_be_aligned(tmp_path):
    """The header's length and the arrays' sizes are arbitrary."""
    numbers = np.array([1.5, -2.5], np.float64)
    path = write(
        tmp_path / "w.safetensors",
        {"a": entry("U8", [3], 0, 3), "b": entry("F64", [2], 3, 19)},
        b"abc" + numbers.tobytes(),
    )
    np.testing.assert_array_equal(read_weights(path)["b"], numbers)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("[" * 100_000, "recursion"),
        ('{"a": ' * 100_000, "recursion"),
        ("[]", "not a JSON object"),
        ("\udcff{}", "Expecting value"),
        ('{"a": 1, "a": 2}', "a name twice"),
        ({"a": ONE, "b": entry("F32", [2, 2], 8, 24)}, "share bytes"),
        ({f"{i}": ONE for i in range(4000)}, "share bytes"),
        ({"a": entry("F32", [2, 2], 0, 17)}, "does not fit its 17 bytes"),
        ({"a": entry("F32", [2.0, 2], 0, 16)}, "not a whole number"),
        ({"a": entry("F32", [True, 4], 0, 16)}, "not a whole number"),
        ({"a": entry("F32", [-2, -2], 0, 16)}, "not a whole number"),
        ({"a": entry("F32", 4, 0, 16)}, "int"),
        ({"a": entry("F32", [0, 10**30], 0, 0)}, ""),
        ({"a": 3}, "int"),
        ({"a": {}}, "dtype"),
        ({"a": entry("F99", [4], 0, 4)}, "F99, which is not known"),
        ({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, "list"),
    ],
)
def test_hostile_headers_are_refused_in_a_sentence(tmp_path, header, reason):
    path = write(tmp_path / "w.safetensors", header, bytes(24))
    with pytest.raises(
        UserError, match=f"'.*w.safetensors' cannot be read: it is incomplete, or its content is not .*{reason}"
    ) as caught:
        read_weights(path)
    assert not any(word in str(caught.value) for word in ("damaged", "remove"))
    assert str(caught.value).isprintable()


def test_names_are_shown_harmlessly(tmp_path):
    names = ["\x1b[2Jclear", "two\nrows", "\ud800lone", "right\u202eleft", "größe"]
    header = {name: entry("F32", [2, 2], 16 * i, 16 * i + 16) for i, name in enumerate(names)}
    report = ec.phase_report(write(tmp_path / "w.safetensors", json.dumps(header), bytes(80)))
    text = str(report)
    text.encode()
    assert len(text.split("\n")) == 6
    assert [row.path for row in report.rows] == [
        "\\ud800lone",
        "\\x1b[2Jclear",
        "größe",
        "right\\u202eleft",
        "two\\nrows",
    ]
    same = {"a\n": ONE, "a\\n": entry("F32", [2, 2], 16, 32)}
    with pytest.raises(UserError, match="are printed in the same way"):
        read_weights(write(tmp_path / "same.safetensors", same, bytes(32)))


def test_names_are_printed_on_any_terminal(tmp_path, monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    write_report(write(tmp_path / "w.safetensors", {"größe": ONE}, ZEROS), None, None)
    sys.stdout.flush()
    assert b"gr\\xf6\\xdfe" in content.getvalue()


def test_several_files_with_an_index(tmp_path):
    for part, value in (("one", 1.0), ("two", 2.0)):
        write(tmp_path / f"{part}.safetensors", {part: ONE}, np.full(4, value, np.float32).tobytes())
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"one": "one.safetensors", "two": "two.safetensors"}}))
    read = read_weights(index)
    assert {name: array.mean() for name, array in read.items() if isinstance(array, np.ndarray)} == {"one": 1, "two": 2}
    wrong: tuple[tuple[object, str], ...] = (
        ("../one.safetensors", "which is not a .safetensors file in the same folder"),
        ("three.safetensors", "which does not exist; download all parts"),
        ("two.safetensors", "says that 'one' is in 'two.safetensors', but it is not there"),
        (3, "must say for each name in which file"),
    )
    for name, message in wrong:
        index.write_text(json.dumps({"weight_map": {"one": name}}))
        with pytest.raises(UserError, match=message):
            read_weights(index)
    index.write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(index)


def same_as_tree(read, separator="/"):
    assert read.keys() == {f"hidden{separator}kernel", f"hidden{separator}bias"}
    np.testing.assert_array_equal(read[f"hidden{separator}kernel"], TREE["hidden"]["kernel"])


def test_msgpack_of_flax(tmp_path):
    path = tmp_path / "w.msgpack"
    path.write_bytes(flax.serialization.to_bytes(TREE))
    same_as_tree(read_weights(path))
    path.write_bytes(flax.serialization.to_bytes({**TREE, "step": 3, "low": jnp.ones(2, jnp.bfloat16)}))
    read = read_weights(path)
    assert read["step"] == Unread((), "int, no array")
    assert isinstance(read["low"], np.ndarray)
    content = path.read_bytes()
    for damaged in (b"", content[:-5], b"\xc1" + content, b"\x91" * 5000):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            read_weights(path)


def test_folders_of_orbax(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "params", TREE)
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(3, args=ocp.args.StandardSave(TREE))
    same_as_tree(read_weights(tmp_path / "run" / "3"))
    same_as_tree(read_weights(tmp_path / "params"))
    with pytest.raises(UserError, match="holds no checkpoint of Orbax; give the folder of one step"):
        read_weights(tmp_path / "run")
    with ocp.CheckpointManager(tmp_path / "two") as manager:
        both = ocp.args.Composite(one=ocp.args.StandardSave(TREE), two=ocp.args.StandardSave(TREE))
        manager.save(0, args=both)
    with pytest.raises(UserError, match=r"several checkpoints of Orbax \(one, two\); name one"):
        read_weights(tmp_path / "two" / "0")


def test_npz_with_objects_and_other_members(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, good=np.eye(2), objects=np.array([{}], object))
    read = read_weights(path)
    np.testing.assert_array_equal(read["good"], np.eye(2))
    assert read["objects"] == Unread((1,), "pickled Python objects, which are never loaded")


def test_npz_that_would_fill_the_memory_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(2**29, np.uint8))
    with pytest.raises(UserError, match=r"would fill 0\.5 GiB, more than 200 times its size, so it was not unpacked"):
        read_weights(tmp_path / "w.npz")


def test_damaged_npz_is_told_whatever_is_damaged(tmp_path):
    """Single bits of the headers: never another exception, never another content, never the advice to remove it."""
    path = tmp_path / "w.npz"
    array = np.random.default_rng(0).normal(size=(3, 20, 7))
    np.savez(path, a=array, b=array[0])
    content = path.read_bytes()
    rng, messages = np.random.default_rng(1), []
    places = [*range(300), *range(len(content) - 200, len(content))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read = read_weights(path)
        except UserError as error:
            messages.append(str(error).replace(str(path), ""))
        else:
            for found in read.values():  # a bit of a date, an attribute, or of a name, which has no CRC
                assert isinstance(found, Unread) or found.tobytes() in (array.tobytes(), array[0].tobytes())
                assert isinstance(found, Unread) or found.shape in (array.shape, array[0].shape)
    assert len(messages) > 0.5 * len(places)
    assert not [message for message in messages if "remove" in message or "damaged" in message]
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(path)


def test_pickles_are_refused_with_the_conversion(tmp_path):
    path = tmp_path / "a model.pt"
    path.write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(UserError, match="a program, and is not run") as caught:
        read_weights(path)
    line = str(caught.value).split("\n")[-1]
    command = shlex.split(line)
    assert command[:2] == ["python", "-c"]
    compile(command[2], "conversion", "exec")
    assert command[3:] == [str(path), "a model.safetensors"]
    assert "weights_only=True" in command[2]


def test_home_and_names_that_no_system_takes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "w.npz", a=np.eye(2))
    assert len(ec.phase_report("~/w.npz").rows) == 1
    with pytest.raises(UserError, match=r"' cannot be looked up \(File name too long\)") as caught:
        ec.phase_report("x" * 5000)
    assert "(5000 characters)" in str(caught.value)
    assert len(str(caught.value)) < 200
    with pytest.raises(UserError, match="cannot be looked up"):
        ec.phase_report("~nosuchuser/w.npz")
    with pytest.raises(UserError, match="is not a file"):
        ec.phase_report("w\0.npz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_not_called_damaged(tmp_path):
    path = write(tmp_path / "w.safetensors", {"a": ONE}, ZEROS)
    path.chmod(0)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        read_weights(path)


def test_peak_of_a_whole_process(tmp_path):
    """At most 1.3 GiB for a file of 1 GiB, interpreter and compiler counted; and what sixteen kernels of 4 MiB take.

    The first is a hole of zeros in three arrays, which takes no room on the disk. The second comes after sixteen small
    kernels, with which the theory is compiled, since a compiler takes more memory than all of them; from then on the
    peak is counted anew.
    """
    third, size = 2**30 // 3 // 4096 * 4096, 4 * 2**20
    hole = write(
        tmp_path / "hole.safetensors",
        {f"{i}": entry("F32", [third // 4096, 1024], i * third, (i + 1) * third) for i in range(3)},
    )
    os.truncate(hole, hole.stat().st_size + 3 * third)
    data = np.random.default_rng(0).normal(size=2**20).astype(np.float32).tobytes()
    small, large = (
        write(
            tmp_path / f"{width}.safetensors",
            {f"{i:02}": entry("F32", [width, width], 4 * width**2 * i, 4 * width**2 * (i + 1)) for i in range(16)},
            data[: 4 * width**2] * 16,
        )
        for width in (64, 1024)
    )
    code = (
        "import re, sys, edgechaos as ec; [ec.phase_report(path) for path in sys.argv[2:]]; "
        "memory = lambda name: 1024 * int(re.search(name + r':\\s+(\\d+)', open('/proc/self/status').read())[1]); "
        "open('/proc/self/clear_refs', 'w').write('5'); before = memory('VmRSS') if sys.argv[2:] else 0; "
        "ec.phase_report(sys.argv[1]); print(memory('VmHWM') - before)"
    )

    def peak(*paths):
        command = [sys.executable, "-c", code, *paths]
        return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    assert peak(large, small) < 8 * size  # one kernel and its pieces in float64, never the sixteen
    assert peak(hole) < 1.3 * 2**30
