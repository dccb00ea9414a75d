import errno
import shutil

import jax
import numpy as np
import pytest

from edgechaos.errors import UserError
from edgechaos.runs import checkpoints


def tree(value):
    return {"state": (np.full((3, 4), value, np.float32), np.int32(value)), "history": np.arange(5.0)}


def restore(folder):
    restored = checkpoints.restore(folder, tree(0), "mine")
    assert restored is not None
    return restored


def save(folder, *steps):
    for step in steps:
        checkpoints.save(folder, step, tree(step), "mine")


def value_of(restored):
    return int(restored["state"][1])


def test_round_trip_keeps_bits_types_and_the_last_two(tmp_path):
    save(tmp_path / "checkpoint", 1, 2, 3)
    restored = restore(tmp_path / "checkpoint")
    assert value_of(restored) == 3
    np.testing.assert_array_equal(restored["state"][0], tree(3)["state"][0])
    assert restored["state"][0].dtype == np.float32
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["2.npz", "3.npz"]


def test_nothing_saved(tmp_path):
    assert checkpoints.restore(tmp_path / "checkpoint", tree(0), "mine") is None


@pytest.mark.parametrize("place", np.linspace(0, 1, 24, endpoint=False))
@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damaged_one_is_kept_aside_and_the_one_before_is_taken(tmp_path, damage, place, caplog):
    folder = tmp_path / "checkpoint"
    save(folder, 1, 2)
    raw = bytearray((folder / "2.npz").read_bytes())
    at = int(place * len(raw))
    raw[at] ^= 1
    (folder / "2.npz").write_bytes(raw if damage == "flip" else raw[:at])
    restored = restore(folder)
    # a flipped bit may lie in a part of the file that no array needs: then the content must be right
    if value_of(restored) == 2:
        assert damage == "flip"
        jax.tree.map(np.testing.assert_array_equal, restored, tree(2))
    else:
        assert value_of(restored) == 1
        assert "the checkpoint of epoch 2 is damaged" in caplog.text
        assert (tmp_path / "damaged-checkpoint-2.npz").exists()


def wrapped():
    try:
        raise OSError(errno.EMFILE, "Too many open files")
    except OSError as error:
        return RuntimeError("a library's own words"), error


BAD_MOMENTS = [
    (MemoryError(), None, "not enough memory"),
    (OSError(errno.ESTALE, "Stale file handle"), None, "Stale file handle"),
    (ValueError("NOT_FOUND: Error opening file: ... [OS error 24: EMFILE Too many open files]"), None, "Too many open"),
    (*wrapped(), "Too many open files"),
]


@pytest.mark.parametrize(("error", "cause", "reason"), BAD_MOMENTS)
def test_a_bad_moment_sets_no_checkpoint_aside(tmp_path, monkeypatch, error, cause, reason):
    folder = tmp_path / "checkpoint"
    save(folder, 1, 2)

    def fail(*_):
        raise error from cause

    for module, name in ((checkpoints, "_read"), (checkpoints.os, "listdir")):
        monkeypatch.setattr(module, name, fail)
        with pytest.raises(UserError, match=rf"cannot be read at the moment \({reason}.*\); correct this"):
            checkpoints.restore(folder, tree(0), "mine")
        monkeypatch.undo()
    assert value_of(restore(folder)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_all_damaged_means_from_scratch(tmp_path):
    folder = tmp_path / "checkpoint"
    save(folder, 1, 2)
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert checkpoints.restore(folder, tree(0), "mine") is None
    assert {path.name for path in tmp_path.glob("damaged*")} == {"damaged-checkpoint-1.npz", "damaged-checkpoint-2.npz"}


def test_checkpoint_of_another_configuration_is_not_taken(tmp_path, caplog):
    save(tmp_path / "checkpoint", 1)
    assert checkpoints.restore(tmp_path / "checkpoint", tree(0), "yours") is None
    assert "it belongs to another configuration" in caplog.text


def test_arrays_of_another_shape_type_or_name_are_not_taken(tmp_path, caplog):
    save(tmp_path / "checkpoint", 1)
    for other in ({"history": np.arange(6.0)}, {"history": np.arange(5.0, dtype=np.float32)}, {"more": np.arange(5.0)}):
        shutil.copytree(tmp_path / "checkpoint", tmp_path / "copy", dirs_exist_ok=True)
        assert checkpoints.restore(tmp_path / "copy", {**tree(0), **other}, "mine") is None
        assert "the checkpoint of epoch 1 is damaged" in caplog.text
        caplog.clear()
