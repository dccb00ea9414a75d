import functools
import gzip
import hashlib
import http.server
import multiprocessing
import struct
import sys
import threading
import urllib.error

import numpy as np
import pytest
import tensorflow_datasets as tfds

from edgechaos import data
from edgechaos.data import mnist_family, sources
from edgechaos.errors import UserError
from edgechaos.files import write_npz

# the official .gz files carry name and time in their headers; Debian's do not, the rest of the bytes is the same
OFFICIAL_TIMES = {
    mnist_family.TRAIN_IMAGES: 1504176606,
    mnist_family.TRAIN_LABELS: 1504176606,
    mnist_family.TEST_IMAGES: 1504176627,
    mnist_family.TEST_LABELS: 1504176627,
}


CHECK_REACHABLE = mnist_family._check_reachable  # the tests put a stand-in in its place


def idx_bytes(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def source(monkeypatch):
    """A tiny stand-in for the official files, with its own checksums; nothing is downloaded and no Debian folder."""
    rng = np.random.default_rng(0)
    contents = {}
    for images, labels, size in (
        (mnist_family.TRAIN_IMAGES, mnist_family.TRAIN_LABELS, 50),
        (mnist_family.TEST_IMAGES, mnist_family.TEST_LABELS, 20),
    ):
        contents[images] = idx_bytes(rng.integers(256, size=(size, 28, 28), dtype=np.uint8))
        contents[labels] = idx_bytes(rng.integers(10, size=size, dtype=np.uint8))
    files = {
        name: mnist_family.IdxFile(
            0, hashlib.sha256(gzip.compress(content, mtime=0)).hexdigest(), hashlib.sha256(content).hexdigest()
        )
        for name, content in contents.items()
    }
    monkeypatch.setitem(mnist_family.SOURCES, "fashion_mnist", mnist_family.IdxSource("http://localhost/", files))
    monkeypatch.setattr(sources, "DEBIAN_FOLDERS", {})

    def unreachable(url):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(mnist_family, "_check_reachable", unreachable)
    return contents


def place(folder, contents, compress=False):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("compress", [False, True])
def test_local_files_arrive_in_order_and_scaled(source, tmp_path, compress, caplog):
    caplog.set_level("INFO")
    place(tmp_path, source, compress)
    dataset = data.load("fashion_mnist", tmp_path)
    assert f"preparing from '{tmp_path}'" in caplog.text
    expected = mnist_family.parse_idx(source[mnist_family.TRAIN_IMAGES]).reshape(50, 784) / np.float32(255)
    np.testing.assert_array_equal(dataset.train_images, expected.astype(np.float32))
    np.testing.assert_array_equal(dataset.test_labels, mnist_family.parse_idx(source[mnist_family.TEST_LABELS]))
    assert dataset.train_images.dtype == np.float32
    assert dataset.train_labels.dtype == np.int32


def test_content_tells_compression_not_the_name(source, tmp_path):
    place(tmp_path, source)
    (tmp_path / mnist_family.TEST_LABELS).write_bytes(gzip.compress(source[mnist_family.TEST_LABELS]))
    assert len(data.load("fashion_mnist", tmp_path).test_labels) == 20


def test_second_call_needs_the_cache_alone(source, tmp_path, caplog):
    caplog.set_level("INFO")
    place(tmp_path, source)
    first = data.load("fashion_mnist", tmp_path)
    for name in source:
        (tmp_path / name).unlink()
    second = data.load("fashion_mnist", tmp_path)
    assert "from the cache" in caplog.text
    np.testing.assert_array_equal(first.train_images, second.train_images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fashion_mnist.lock", "fashion_mnist.npz"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "pickled", "empty"])
def test_damaged_cache_is_prepared_again(source, tmp_path, damage, caplog):
    place(tmp_path, source)
    first = data.load("fashion_mnist", tmp_path)
    cache = tmp_path / "fashion_mnist.npz"
    raw = bytearray(cache.read_bytes())
    if damage == "truncated":
        raw = raw[: len(raw) // 2]
    elif damage == "flipped":
        raw[len(raw) // 2] ^= 1
    elif damage == "empty":
        raw = bytearray()
    if damage == "pickled":
        write_npz(cache, dict.fromkeys((*sources.ARRAYS, "sha256"), np.array([{}], object)))
    else:
        cache.write_bytes(raw)
    second = data.load("fashion_mnist", tmp_path)
    assert "preparing it again" in caplog.text
    np.testing.assert_array_equal(first.train_images, second.train_images)


def test_wrong_arrays_with_an_old_digest_are_not_taken(source, tmp_path, caplog):
    place(tmp_path, source)
    first = data.load("fashion_mnist", tmp_path)
    cache = tmp_path / "fashion_mnist.npz"
    with np.load(cache) as file:
        arrays = dict(file.items())
    arrays["train_labels"] = arrays["train_labels"][::-1]
    write_npz(cache, arrays)
    second = data.load("fashion_mnist", tmp_path)
    assert "wrong SHA-256" in caplog.text
    np.testing.assert_array_equal(first.train_labels, second.train_labels)


def damaged(content, damage):
    if damage == "another":
        return content[:-1] + bytes([content[-1] ^ 1])
    packed = gzip.compress(content)
    return packed[: len(packed) // 2] if damage == "truncated gzip" else content[:-5]


@pytest.mark.parametrize("damage", ["another", "truncated gzip", "truncated"])
def test_damaged_local_file_is_named_and_leaves_nothing(source, tmp_path, damage):
    place(tmp_path, source)
    broken = tmp_path / mnist_family.TRAIN_LABELS
    broken.write_bytes(damaged(source[mnist_family.TRAIN_LABELS], damage))
    with pytest.raises(UserError, match=rf"{broken}.*(not the official file|damaged gzip)"):
        data.load("fashion_mnist", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*source, "fashion_mnist.lock"}


def test_a_gzip_file_that_would_fill_the_memory_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_family, "_LARGEST", 100_000)
    place(tmp_path, source)
    broken = tmp_path / mnist_family.TRAIN_LABELS
    broken.write_bytes(gzip.compress(bytes(200_000)))
    with pytest.raises(UserError, match=rf"'{broken}' is not the official file: it holds more than 100000 bytes"):
        data.load("fashion_mnist", tmp_path)


def test_a_missing_package_is_said_before_a_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "edgechaos.data.mnist_family", None)
    monkeypatch.delattr("edgechaos.data.mnist_family")
    with pytest.raises(ModuleNotFoundError):
        data.load("fashion_mnist", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_no_source_names_three_ways_and_leaves_nothing(source, tmp_path):
    place(tmp_path, {mnist_family.TRAIN_LABELS: source[mnist_family.TRAIN_LABELS]})  # one file is not enough
    with pytest.raises(UserError) as raised:
        data.load("fashion_mnist", tmp_path)
    message = str(raised.value)
    for way in (
        f"IDX files, gzipped or not, into '{tmp_path}'",
        "apt-get install dataset-fashion-mnist",
        "no network in tests",
    ):
        assert way in message
    assert {path.name for path in tmp_path.iterdir()} == {mnist_family.TRAIN_LABELS, "fashion_mnist.lock"}


def load_sum(folder, source, queue):
    mnist_family.SOURCES["fashion_mnist"] = source
    queue.put(data.load("fashion_mnist", folder).train_images.sum())


@pytest.fixture
def server(source, monkeypatch, tmp_path_factory):
    """Serves the stand-in archives; their names and checksums are told to TFDS as the official ones are."""
    folder = tmp_path_factory.mktemp("served")
    place(folder, source, compress=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{served.server_port}/"
        files = {}
        for name, known in mnist_family.SOURCES["fashion_mnist"].files.items():
            files[name] = known._replace(gz_size=(folder / f"{name}.gz").stat().st_size)
            info = tfds.download.checksums.UrlInfo(files[name].gz_size, known.gz_sha256, f"{name}.gz")
            monkeypatch.setitem(mnist_family.IdxImages.url_infos, f"{url}{name}.gz", info)
        monkeypatch.setitem(mnist_family.SOURCES, "fashion_mnist", mnist_family.IdxSource(url, files))
        monkeypatch.setattr(mnist_family, "_check_reachable", CHECK_REACHABLE)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield folder
        served.shutdown()


def test_download_is_the_last_resort(server, source, tmp_path, caplog):
    caplog.set_level("INFO")
    dataset = data.load("fashion_mnist", tmp_path)
    assert "preparing from the download http://127.0.0.1" in caplog.text
    np.testing.assert_array_equal(dataset.train_labels, mnist_family.parse_idx(source[mnist_family.TRAIN_LABELS]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fashion_mnist.lock", "fashion_mnist.npz"]


def test_download_with_a_wrong_checksum_is_refused(server, source, tmp_path):
    content = bytearray(source[mnist_family.TRAIN_IMAGES])
    content[-1] ^= 1
    (server / f"{mnist_family.TRAIN_IMAGES}.gz").write_bytes(gzip.compress(bytes(content), mtime=0))
    with pytest.raises(UserError, match="which failed just now"):
        data.load("fashion_mnist", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fashion_mnist.lock"]


def test_dead_address_fails_at_once(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(urllib.error.URLError):
        CHECK_REACHABLE("http://127.0.0.1:9/", seconds=5)


def test_folder_that_cannot_be_written_is_read(source, tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    place(folder, source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    writable = sources.writable_directory

    def read_only(path, field):  # root may write anywhere, so that a mode would not do
        if path == folder:
            raise UserError("read-only")
        return writable(path, field)

    monkeypatch.setattr(sources, "writable_directory", read_only)
    assert len(data.load("fashion_mnist", folder).train_labels) == 50
    assert {path.name for path in folder.iterdir()} == set(source)
    assert (tmp_path / "own" / "edgechaos" / "data" / "fashion_mnist.npz").exists()


def test_two_processes_prepare_at_once(source, tmp_path):
    place(tmp_path, source)
    context = multiprocessing.get_context("spawn")  # a fork has no threads, which the readers of TFDS wait for
    queue = context.Queue()
    arguments = tmp_path, mnist_family.SOURCES["fashion_mnist"], queue
    processes = [context.Process(target=load_sum, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    sums = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sums[0] == sums[1] == data.load("fashion_mnist", tmp_path).train_images.sum()


def test_digits_split_is_fixed_and_whole():
    dataset = data.load("digits")
    assert dataset.train_images.shape == (1437, 64)
    assert dataset.test_images.shape == (360, 64)
    assert dataset.train_images.min() == 0
    assert dataset.train_images.max() == 1
    np.testing.assert_array_equal(dataset.train_labels[:8], data.load("digits").train_labels[:8])
    counts = np.bincount(np.concatenate([dataset.train_labels, dataset.test_labels]))
    np.testing.assert_array_equal(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", ""])
def test_unknown_name(name):
    with pytest.raises(UserError, match=r"no such data set; there are fashion_mnist, mnist, kmnist, digits"):
        data.load(name)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x0d\1\0\0\0\1\0", b"\0\0\x08\1\0\0\0\5abc", b"\0\0\x08\1\0\0\0\1abc", b"\0\0\x08\2\0\0\0\1abc"],
)
def test_not_an_idx_file(content):
    with pytest.raises(UserError, match=r"not an IDX file|the IDX header announces"):
        mnist_family.parse_idx(content)


@pytest.mark.skipif(
    not sources.DEBIAN_FOLDERS["fashion_mnist"].is_dir(), reason="needs the package dataset-fashion-mnist"
)
@pytest.mark.parametrize("name", mnist_family.FILES)
def test_content_checksums_belong_to_the_official_archives(name):
    """Debian's archive with the official header is the official archive, and its content has our checksum."""
    packed = (sources.DEBIAN_FOLDERS["fashion_mnist"] / f"{name}.gz").read_bytes()
    header = b"\x1f\x8b\x08\x08" + struct.pack("<I", OFFICIAL_TIMES[name]) + b"\x00\x03" + name.encode() + b"\0"
    official = header + packed[10:]
    known = mnist_family.SOURCES["fashion_mnist"].files[name]
    assert len(official) == known.gz_size
    assert hashlib.sha256(official).hexdigest() == known.gz_sha256
    assert hashlib.sha256(gzip.decompress(official)).hexdigest() == known.content_sha256
