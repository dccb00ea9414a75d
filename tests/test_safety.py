"""Files from a stranger are data: nothing that is read can run code."""

import ast
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
    path for room in ("edgechaos", "experiments", "configs", "benchmarks") for path in (ROOT / room).rglob("*.py")
]
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"yaml", "torch"}  # whose load runs what it finds


def dangers(code):
    """What could run code from a file: modules, built-in functions and arguments, by name."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= MODULES & {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            room, names = (node.module or "").partition(".")[0], {name.name for name in node.names}
            found |= MODULES & {room}
            found |= {f"{room}.{name}" for name in names if room in LOADERS and "load" in name}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= MODULES & {node.value.partition(".")[0]}  # as an argument of import_module
        elif isinstance(node, ast.Name):
            found |= BUILTINS & {node.id}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and "load" in node.attr:
            found |= {f"{node.value.id}.{node.attr}" for _ in LOADERS & {node.value.id}}
        if isinstance(node, ast.Call):
            given = {argument.arg: argument.value for argument in node.keywords}
            called = ast.unparse(node.func)
            allowed = given.get("allow_pickle")
            refused = isinstance(allowed, ast.Constant) and allowed.value is False
            if (allowed is not None or called in ("np.load", "numpy.load", "np.lib.format.read_array")) and not refused:
                found.add(f"{called} without allow_pickle=False")
    return found


def test_sources_of_all_rooms_are_looked_at():
    assert {path.parent.name for path in SOURCES} > {"edgechaos", "data", "diagnosis", "runs", "shared", "configs"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_source_unpickles_or_evaluates(path):
    assert not dangers(path.read_text())


@pytest.mark.parametrize(
    "code",
    [
        "import cloudpickle as harmless",
        "from joblib import load",
        "import pickle; getattr(pickle, 'loads')",
        "importlib.import_module('dill')",
        "__import__('os')",
        "getter = eval",
        "torch.load(path)",
        "from torch import load",
        "yaml.unsafe_load(text)",
        "np.load(path)",
        "np.load(path, None, True)",
        "np.load(path, allow_pickle=flag)",
        "read(path, allow_pickle=1)",
    ],
)
def test_dangers_are_seen(code):
    assert dangers(code)


@pytest.mark.parametrize(
    "code", ["jax.eval_shape(f, x)", "np.load(path, allow_pickle=False)", "'a pickle of torch.load'"]
)
def test_what_is_harmless_is_not(code):
    assert not dangers(code)


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
    with pytest.raises(UserError, match=r"is damaged|pickled Python objects, which are never loaded"):
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


def test_config_of_a_work_directory_is_data(tmp_path, monkeypatch):
    """What looks like code in config.json is a value that differs, and is quoted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{\"seed\": \"__import__('os').system('touch gone')\"}")
    np.savez(tmp_path / "history.npz", a=1)
    with pytest.raises(UserError, match="holds a run of another config"), runs.work_directory(tmp_path, {"seed": 0}):
        pass
    assert not list(tmp_path.glob("gone*"))
