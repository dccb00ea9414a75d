import errno
import multiprocessing
import os
import stat
import threading
import zipfile

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


def test_one_bit_of_a_shape_is_noticed(tmp_path):
    """A shorter array than the member holds would be read without meeting the CRC at the member's end."""
    path = tmp_path / "x.npz"
    files.write_npz(path, {"a": np.random.default_rng(0).random((3, 100, 151))})
    content = path.read_bytes()
    assert content.count(b"(3, 100, 151)") == 1
    path.write_bytes(content.replace(b"(3, 100, 151)", b"(1, 100, 151)"))
    with pytest.raises(UserError, match=f"'{path}' is damaged"):
        files.read_npz(path)


def test_any_bit_of_the_headers_is_noticed_or_does_not_matter(tmp_path):
    path = tmp_path / "x.npz"
    array = np.random.default_rng(0).random((3, 20, 7))
    files.write_npz(path, {"a": array})
    content = path.read_bytes()
    noticed = 0
    for place in (*range(300), *range(len(content) - 100, len(content))):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                (found,) = files.read_npz(path).values()
            except UserError as error:
                noticed += "is damaged" in str(error)
                continue
            np.testing.assert_array_equal(found, array)  # a date, or an attribute
    assert noticed > 1500


@pytest.mark.parametrize("content", ["npy", "text", "sparse", "huge"])
def test_what_is_no_archive_of_plain_arrays_is_refused(tmp_path, content):
    path = tmp_path / "x.npz"
    if content == "npy":
        np.save(tmp_path / "x.npy", np.ones(3))
        (tmp_path / "x.npy").rename(path)
    elif content == "sparse":
        np.savez_compressed(path, a=np.zeros(2**29, np.uint8))
    else:
        shape = b"(10000000000000,)" if content == "huge" else b"(3,)"
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b"}"
        body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy" if content == "huge" else "readme.txt", body)
    with pytest.raises(UserError, match="would fill 0.5 GiB" if content == "sparse" else "is damaged"):
        files.read_npz(path)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_a_bad_moment_is_not_called_damage(tmp_path, monkeypatch, error):
    path = tmp_path / "x.npz"
    files.write_npz(path, {"a": np.ones(3)})

    def fail(*_):
        raise error

    monkeypatch.setattr(files, "read_zipped", fail)
    with pytest.raises(UserError, match=r"cannot be read \((not enough memory|Too many open files)\); correct this"):
        files.read_npz(path)


def test_names_from_a_file_are_shown_harmlessly(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("\x1b[2J\nerror: none", b"")
    with pytest.raises(UserError, match="is damaged") as caught:
        files.read_npz(tmp_path / "x.npz")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_links_in_the_place_of_locks_and_parts_are_not_followed(tmp_path, make):
    """An unpacked folder of a stranger may hold links that lead to files of the user."""
    target, folder = tmp_path / "keys", tmp_path / "run"
    target.write_text("precious")
    folder.mkdir()
    getattr(folder / ".lock", make)(target)
    getattr(folder / ".data.partial", make)(target)
    refused = pytest.raises(UserError, match=r"\.lock' must be a plain file")
    with refused, files.exclusive_lock(folder / ".lock", wait=False):
        pass
    files.atomic_write(folder / "data", lambda file: file.write(b"new"))
    assert target.read_text() == "precious"
    assert (folder / "data").read_bytes() == b"new"
    assert not (folder / "data").is_symlink()


def test_a_lock_that_names_no_process_is_quoted_harmlessly(tmp_path):
    with files.exclusive_lock(tmp_path / "lock", wait=False):
        (tmp_path / "lock").write_text("\x1b[2J" * 100)
        refused = pytest.raises(UserError, match=r"another run \(process unknown\)")
        with refused, files.exclusive_lock(tmp_path / "lock", wait=False):
            pass


def test_file_and_folder_are_on_disk_in_this_order(tmp_path, monkeypatch):
    """A power cut must not lose a rename that deletions rely on."""
    synced, sync = [], os.fsync

    def record(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, (tmp_path / "data").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    files.atomic_write(tmp_path / "data", lambda file: file.write(b"new"))
    assert synced == [("file", False), ("folder", True)]


def test_a_home_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="workdir = '~nosuchuser/x': there is no such home folder"):
        files.writable_directory("~nosuchuser/x", "workdir")

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(files.Path, "home", nobody)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        files.user_cache()
