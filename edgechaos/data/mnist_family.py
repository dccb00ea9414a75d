"""The MNIST family as a TFDS builder that needs no TensorFlow: official addresses, checksums, and the IDX format."""

import contextlib
import gzip
import hashlib
import io
import math
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgechaos.errors import UserError, extra

with extra("experiments"):
    import tensorflow_datasets as tfds

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
_LARGEST = 2**26  # bytes; the largest of the files has 47 MB


class IdxFile(NamedTuple):
    """What is known of one official file: size and SHA-256 of the .gz, SHA-256 of its content ('': not known)."""

    gz_size: int
    gz_sha256: str
    content_sha256: str


class IdxSource(NamedTuple):
    """Where a data set officially lives, and what its four files must be."""

    url: str
    files: Mapping[str, IdxFile]


# The .gz checksums are those that TFDS publishes; the content checksums were taken from files that match them.
SOURCES: dict[str, IdxSource] = {
    "fashion_mnist": IdxSource(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            TRAIN_IMAGES: IdxFile(
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            TRAIN_LABELS: IdxFile(
                29515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            TEST_IMAGES: IdxFile(
                4422102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            TEST_LABELS: IdxFile(
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
    "mnist": IdxSource(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        {
            TRAIN_IMAGES: IdxFile(
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            TRAIN_LABELS: IdxFile(
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            TEST_IMAGES: IdxFile(
                1648877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            TEST_LABELS: IdxFile(
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    "kmnist": IdxSource(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            TRAIN_IMAGES: IdxFile(18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", ""),
            TRAIN_LABELS: IdxFile(29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", ""),
            TEST_IMAGES: IdxFile(3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", ""),
            TEST_LABELS: IdxFile(5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", ""),
        },
    ),
}


def parse_idx(content: bytes) -> np.ndarray:
    """Reads an uncompressed IDX file of unsigned bytes: zero, zero, type 8, rank, big-endian sizes, payload.

    Raises:
      UserError: not such a file, or its payload is shorter or longer than its header says.
    """
    start = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < start or content[:3] != b"\x00\x00\x08":
        raise UserError("not an IDX file of unsigned bytes")
    shape = tuple(np.frombuffer(content[4:start], ">u4").astype(int).tolist())
    expected, found = math.prod(shape), len(content) - start
    if expected != found:
        raise UserError(f"the IDX header announces {expected} bytes of data, but the file has {found}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_verified(path: Path, known: IdxFile) -> np.ndarray:
    """Reads an IDX file, gzipped or not, and checks it against the official checksum of the archive or its content.

    Raises:
      UserError: the file is damaged or is not the official one.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
        content = raw
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(raw)) as packed:
                content = packed.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"'{path}' is a damaged gzip file ({error}); replace or remove it") from error
    if max(len(raw), len(content)) > _LARGEST:
        raise UserError(f"'{path}' is not the official file: it holds more than {_LARGEST} bytes; replace or remove it")
    content_sha256 = hashlib.sha256(content).hexdigest()
    if content_sha256 != known.content_sha256 and hashlib.sha256(raw).hexdigest() != known.gz_sha256:
        raise UserError(
            f"'{path}' is not the official file: SHA-256 of its content is {content_sha256}, "
            f"expected {known.content_sha256 or f'an archive of SHA-256 {known.gz_sha256}'}; replace or remove it"
        )
    return parse_idx(content)


class IdxImages(tfds.core.GeneratorBasedBuilder):
    """Images of 28 x 28 bytes with labels 0 to 9, in the order of the source files; one config for each data set."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in SOURCES]  # noqa: RUF012 (TFDS's own convention)
    url_infos = {  # noqa: RUF012 (TFDS looks its checksums up here)
        f"{source.url}{name}.gz": tfds.download.checksums.UrlInfo(file.gz_size, file.gz_sha256, f"{name}.gz")
        for source in SOURCES.values()
        for name, file in source.files.items()
    }

    def __init__(self, *, local_files: Mapping[str, Path] | None = None, **kwargs):
        """Takes the four files from `local_files` (by official name) where given, else from the official address."""
        self._local_files = local_files
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        """Declares features and that examples keep their order."""
        features = {
            "image": tfds.features.Tensor(shape=(28, 28), dtype=np.uint8),
            "label": tfds.features.Scalar(dtype=np.uint8),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Verifies the four files before anything is generated from them."""
        source = SOURCES[self.builder_config.name]
        paths = self._local_files or dl_manager.download({name: f"{source.url}{name}.gz" for name in FILES})
        arrays = {name: read_verified(Path(paths[name]), source.files[name]) for name in FILES}
        return {
            "train": self._generate_examples(arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS]),
            "test": self._generate_examples(arrays[TEST_IMAGES], arrays[TEST_LABELS]),
        }

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
        """Yields (index, example)."""
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": label}


def _check_reachable(url: str, seconds: float = 15.0) -> None:
    """Raises the network's own error at once; TFDS would retry for minutes (proxy settings are honoured)."""
    # an answer of any kind, a refusal of HEAD too, shows that there is someone to ask
    with (
        contextlib.suppress(urllib.error.HTTPError),
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds),
    ):
        pass


def build(name: str, directory: Path, local_files: Mapping[str, Path] | None = None) -> dict[str, np.ndarray]:
    """Prepares data set `name` in `directory` and reads it back.

    Returns:
      uint8 arrays train_images [S, 784], train_labels [S], test_images [T, 784], test_labels [T].

    Raises:
      UserError: a local file is damaged or not the official one.
      Exception: whatever the download raised.
    """
    if not local_files:
        _check_reachable(f"{SOURCES[name].url}{TEST_LABELS}.gz")
    tfds.display_progress_bar(False)
    builder = IdxImages(config=name, data_dir=directory / "prepared", local_files=local_files)
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints its own folder names
        builder.download_and_prepare(download_dir=directory / "downloads")
    arrays = {}
    for split in ("train", "test"):
        examples = builder.as_data_source(split=split)
        examples = examples.__getitems__(range(len(examples)))
        arrays[f"{split}_images"] = np.stack([example["image"].reshape(-1) for example in examples])
        arrays[f"{split}_labels"] = np.array([example["label"] for example in examples], np.uint8)
    return arrays
