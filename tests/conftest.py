"""Shapes and types of every public function are checked while the tests run."""

from jaxtyping import install_import_hook

with install_import_hook("edgechaos", "beartype.beartype"):
    import edgechaos  # noqa: F401

from collections.abc import Iterator

import jax
import pytest

from edgechaos.data.dataset import Dataset
from tests.problems import make_dataset


@pytest.fixture
def small_dataset() -> Dataset:
    return make_dataset()


@pytest.fixture
def double() -> Iterator[None]:
    """The test runs in float64."""
    with jax.enable_x64(True):
        yield
