import multiprocessing
import threading

import numpy as np
import pytest

from edgechaos import files
from edgechaos.errors import UserError


def test_failed_write_leaves_the_old_content_and_no_litter(tmp_path):
    path = tmp_path / "data"
    files.atomic_write(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"  # a reader at this moment, or a power cut
        raise OSError("disk full")

    with pytest.raises(UserError, match=rf"'{path}' could not be written \(disk full\)"):
        files.atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_npz_round_trip(tmp_path):
    arrays = {"a": np.arange(3), "b": np.float32(2.5)}
    files.write_npz(tmp_path / "x.npz", arrays)
    read = files.read_npz(tmp_path / "x.npz")
    assert read.keys() == arrays.keys()
    np.testing.assert_array_equal(read["a"], arrays["a"])


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "pickle"])
def test_damaged_npz_is_named(tmp_path, damage):
    path = tmp_path / "x.npz"
    files.write_npz(path, {"a": np.zeros(1000)})
    raw = bytearray(path.read_bytes())
    if damage == "pickle":
        np.savez(path, a=np.array([{}], object))
    else:
        raw[len(raw) // 2] ^= 255
        path.write_bytes({"flip": raw, "truncate": raw[:300], "empty": b""}[damage])
    with pytest.raises(UserError, match=f"'{path}' is damaged"):
        files.read_npz(path)


def hold(path, held, done):
    with files.exclusive_lock(path, wait=False):
        held.set()
        done.wait(60)


def test_lock_names_its_holder_and_ends_with_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "lock", held, done))
    process.start()
    assert held.wait(60)
    refused = pytest.raises(UserError, match=rf"in use by another run \(process {process.pid}\)")
    with refused, files.exclusive_lock(tmp_path / "lock", wait=False):
        pass
    process.kill()
    process.join()
    with files.exclusive_lock(tmp_path / "lock", wait=False):
        pass


def test_a_lock_is_waited_for(tmp_path):
    inside = threading.Event()

    def enter():
        with files.exclusive_lock(tmp_path / "lock", wait=True):
            inside.set()

    waiting = threading.Thread(target=enter)
    with files.exclusive_lock(tmp_path / "lock", wait=False):
        waiting.start()
        assert not inside.wait(0.3)
    assert inside.wait(60)
    waiting.join()


def test_unusable_directory_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"workdir = '.*file/below' cannot be written to"):
        files.writable_directory(tmp_path / "file" / "below", "workdir")
