"""Files from a stranger are data: nothing that is read can run code."""

import re
from typing import Any

import numpy as np
import pytest

from edgechaos import files, runs
from edgechaos.data import npz
from edgechaos.diagnosis import weights
from edgechaos.errors import UserError
from edgechaos.runs.members import MemberSequence
from tests.processes import ROOT

SOURCES = [
    path for folder in ("edgechaos", "experiments", "configs", "benchmarks") for path in (ROOT / folder).rglob("*.py")
]
FORBIDDEN = r"\beval\(|\bexec\(|\b(import|from) (pickle|dill|marshal|shelve)\b|allow_pickle=True|yaml\.(unsafe_)?load\("


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_source_unpickles_or_evaluates(path):
    code = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.S)
    assert not re.search(FORBIDDEN, code)


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


@pytest.mark.parametrize("read", [files.read_npz, npz.load, weights.read_weights], ids=lambda read: read.__module__)
def test_objects_in_an_npz_are_refused_and_not_unpickled(tmp_path, read):
    bomb = np.array([Bomb(tmp_path / "gone off")], object)
    np.savez(tmp_path / "a.npz", x_train=bomb, y_train=bomb, x_test=bomb, y_test=bomb)
    with pytest.raises(UserError, match=r"is damaged|is incomplete|pickled Python objects, which are never loaded"):
        read(tmp_path / "a.npz")
    assert not (tmp_path / "gone off").exists()
    np.load(tmp_path / "a.npz", allow_pickle=True)["x_train"]
    assert (tmp_path / "gone off").exists()  # it would have


def test_objects_in_kept_kernels_are_refused(tmp_path):
    (tmp_path / "kernels").mkdir()
    np.savez(tmp_path / "kernels" / "edge-0.npz", kernel=np.array([Bomb(tmp_path / "gone off")], object), epoch=1)
    with pytest.raises(UserError, match="is damaged"):
        runs.read_kernels(tmp_path, MemberSequence(np.arange(1), np.zeros(1, int)))
    with pytest.raises(UserError, match="is damaged"), runs.work_directory(tmp_path, {}):
        pass
    assert not (tmp_path / "gone off").exists()


def test_members_of_an_archive_stay_in_it(tmp_path):
    """An .npz is a zip; names that lead out of its folder are names of arrays and nothing else."""
    inner = tmp_path / "inner"
    inner.mkdir()
    arrays: dict[str, Any] = {"../outside": np.ones(2), "/etc/edgechaos": np.ones(2)}
    np.savez(inner / "a.npz", **arrays)
    assert set(files.read_npz(inner / "a.npz")) == {"../outside", "/etc/edgechaos"}
    assert list(tmp_path.iterdir()) == [inner]


def test_config_of_a_work_directory_is_data(tmp_path):
    """What looks like code in config.json is a value that differs, and is quoted."""
    (tmp_path / "config.json").write_text("{\"seed\": \"__import__('os').system('touch gone')\"}")
    np.savez(tmp_path / "history.npz", a=1)
    with pytest.raises(UserError, match="holds a run of another config"), runs.work_directory(tmp_path, {"seed": 0}):
        pass
    assert not list(tmp_path.glob("gone*"))
