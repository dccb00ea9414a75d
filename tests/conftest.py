"""Shapes and types of every public function are checked while the tests run."""

from jaxtyping import install_import_hook

with install_import_hook("edgechaos", "beartype.beartype"):
    import edgechaos  # noqa: F401

import pytest

from edgechaos.dataset import Dataset
from tests.problems import make_dataset


@pytest.fixture
def small_dataset() -> Dataset:
    return make_dataset()
