import errno
import shutil
import sys
import types

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
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["2", "3"]


def test_nothing_saved(tmp_path):
    assert checkpoints.restore(tmp_path / "checkpoint", tree(0), "mine") is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_one_is_kept_aside_and_the_one_before_is_taken(tmp_path, damage, caplog):
    folder = tmp_path / "checkpoint"
    save(folder, 1, 2)
    largest = max((path for path in (folder / "2").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    raw = bytearray(largest.read_bytes())
    if damage == "remove":
        for path in (folder / "2" / "arrays").rglob("*"):
            if path.is_file():
                path.unlink()
    else:
        raw[len(raw) // 2] ^= 1
        largest.write_bytes(raw if damage == "flip" else raw[: len(raw) // 2])
    restored = restore(folder)
    # a flipped bit may lie in a part of the file that no array needs: then the content must be right
    if value_of(restored) == 2:
        np.testing.assert_array_equal(restored["state"][0], tree(2)["state"][0])
    else:
        assert value_of(restored) == 1
        assert "the checkpoint of epoch 2 is damaged" in caplog.text
        assert (tmp_path / "damaged-checkpoint-2").is_dir()


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

    for name in ("_read", "_manager"):
        monkeypatch.setattr(checkpoints, name, fail)
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
    assert {path.name for path in tmp_path.glob("damaged*")} == {"damaged-checkpoint-1", "damaged-checkpoint-2"}


def test_checkpoint_of_another_configuration_is_not_taken(tmp_path, caplog):
    save(tmp_path / "checkpoint", 1)
    assert checkpoints.restore(tmp_path / "checkpoint", tree(0), "yours") is None
    assert "it belongs to another configuration" in caplog.text


def test_content_that_does_not_match_its_digest_is_not_taken(tmp_path, caplog):
    """Arrays of the same names, shapes and types, intact in themselves, that are not those of the digest."""
    save(tmp_path / "checkpoint", 1)
    checkpoints.save(tmp_path / "other", 1, tree(7), "mine")
    shutil.rmtree(tmp_path / "checkpoint" / "1" / "arrays")
    shutil.copytree(tmp_path / "other" / "1" / "arrays", tmp_path / "checkpoint" / "1" / "arrays")
    assert checkpoints.restore(tmp_path / "checkpoint", tree(0), "mine") is None
    assert "does not match its SHA-256" in caplog.text


def test_threads_of_a_failed_save_are_silent_and_others_are_not(monkeypatch):
    told: list[types.SimpleNamespace] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with pytest.raises(OSError, match="full"), checkpoints._quiet_threads():
        raise OSError("full")
    for error in (RuntimeError("Event loop is closed"), ValueError("else")):
        sys.unraisablehook(types.SimpleNamespace(exc_value=error))
    assert [str(unraisable.exc_value) for unraisable in told] == ["else"]
